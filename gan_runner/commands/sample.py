"""The job of `gan-sample`: pictures from a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from gan_runner.building.parts import only, trusting
from gan_runner.config.build import sampler_of_checkpoint
from gan_runner.config.checking import OF_PICTURES, check_stored
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.stored import read_stored
from gan_runner.config.validation import validate
from gan_runner.errors import too_little_memory_explained
from gan_runner.ranges import Count, CountOrZero, Seed
from gan_runner.record.links import check_way_to
from gan_runner.record.pictures import check_output, free_name, near_square, to_uint8, write_samples
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "num": Count,
    "output": str,
    "checkpoint": Literal["last", "best"] | CountOrZero,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


def sample_job(config: DictConfig) -> None:
    """Draw `num` pictures with a run's generator, or its moving average, and write them.

    Raises:
        UserError: a setting is wrong, `run` is no run's folder, or something is at `output` already.
    """
    validate(config, SETTINGS, (), typed_overrides(), _no_default)
    device = choose_device(config.device, "device")
    folder = RunFolder.of_run(config.run, "run")
    output = config.output
    if not any(override.startswith("output=") for override in typed_overrides()):
        output = free_name(output)
    check_output(output)
    parts = trusting(config.trust)
    stored = read_stored(Path(config.run), parts, "run")
    check_way_to(Path(output), Path(config.run), "output")
    state = folder.checkpoints.load(str(config.checkpoint), device)
    with only(parts), too_little_memory_explained("Try a smaller num, and another seed for each part."):
        check_stored(stored.config, OF_PICTURES, f"run is {config.run}")
        sampler = sampler_of_checkpoint(OmegaConf.create(stored.values), state, config.seed, device)
        inputs = sampler.for_grid("sampled latents", config.num, near_square(config.num))
        write_samples(to_uint8(sampler.pictures(inputs)), output)
    log.info("%d pictures: %s", config.num, output)


def _no_default(key: str) -> object:
    raise KeyError(key)
