"""The job of `gan-export`: write a run's network for other programs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from omegaconf import DictConfig

from gan_runner.config.command_line import typed_overrides
from gan_runner.config.validation import validate
from gan_runner.override import values_by_key
from gan_runner.ranges import CountOrZero
from gan_runner.record.pictures import free_name
from gan_runner.runs.saved import SavedRun
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "output": str,
    "checkpoint": Literal["last", "best"] | CountOrZero,
    "what": Literal["generator", "discriminator"],
    "device": str,
    "trust": Sequence[str] | str,
}


def export_job(config: DictConfig) -> None:
    """Write a run's G, or its moving average, or its D, in the form that the output's ending names.

    Raises:
        UserError: a setting is wrong, `run` is no run's folder, something is at `output` already, or the network cannot
            be written in that form.
    """
    validate(config, SETTINGS, (), typed_overrides())
    choose_device(config.device, "device")  # so that its errors come first
    run = SavedRun(config.run, config.trust)
    config.checkpoint = run.checkpoint_for(str(config.checkpoint))  # part of the folder's name
    asked = "output" in values_by_key(typed_overrides())
    output = config.output if asked else free_name(config.output)
    log.info("%s: %s", output, run.export(output, config.checkpoint, config.what, config.device))
