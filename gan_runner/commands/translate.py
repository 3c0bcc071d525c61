"""The job of `gan-translate`: images into images with a run's generator."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from omegaconf import DictConfig

from gan_runner.config.command_line import typed_overrides
from gan_runner.config.validation import validate
from gan_runner.data.pairs import Direction
from gan_runner.ranges import CountOrZero
from gan_runner.runs.saved import SavedRun
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "input": str,
    "output": str,
    "checkpoint": Literal["last", "best"] | CountOrZero,
    "device": str,
    "direction": Direction | None,
    "trust": Sequence[str] | str,
}


def translate_job(config: DictConfig) -> None:
    """Translate every image of a folder with a run's generator (its moving average, if it has one).

    Raises:
        UserError: a setting is wrong, `run` is not a run of pairs, or `output` is not empty.
    """
    validate(config, SETTINGS, (), typed_overrides())
    choose_device(config.device, "device")  # what is wrong with it is told first
    run = SavedRun(config.run, config.trust)
    checkpoint = run.checkpoint_for(str(config.checkpoint))
    count = run.translate_folder(config.input, config.output, checkpoint, config.device, config.direction)
    log.info("%s images with the %s checkpoint: %s", f"{count:,}", checkpoint, config.output)
