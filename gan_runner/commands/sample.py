"""The job of `gan-sample`: draw images from a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from gan_runner.config.command_line import typed_overrides
from gan_runner.config.validation import validate
from gan_runner.override import values_by_key
from gan_runner.ranges import Count, CountOrZero, Seed
from gan_runner.record.links import check_way_to
from gan_runner.record.pictures import check_output, free_name, write_samples
from gan_runner.runs.saved import SavedRun
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "num": Count,
    "classes": Sequence[str | int] | str | int | None,
    "output": str,
    "checkpoint": Literal["last", "best"] | CountOrZero,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


def sample_job(config: DictConfig) -> None:
    """Draw `num` images with a run's generator, or its moving average, and write them.

    Raises:
        UserError: a setting is wrong, `run` is no run's folder, or something is at `output` already.
    """
    validate(config, SETTINGS, (), typed_overrides())
    choose_device(config.device, "device")  # so that its errors come first
    run = SavedRun(config.run, config.trust)
    checkpoint = config.checkpoint = run.checkpoint_for(str(config.checkpoint))
    output = config.output
    if "output" not in values_by_key(typed_overrides()):
        output = free_name(output)
    check_output(output)
    check_way_to(Path(output), run.folder, "output")
    classes = config.classes if isinstance(config.classes, str | int | None) else list(config.classes)
    images = run.sample(config.num, config.seed, checkpoint, config.device, classes)
    write_samples(images, output, images.label, images.classes)
    log.info("%d images from the %s checkpoint: %s", config.num, checkpoint, output)
