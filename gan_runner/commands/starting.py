"""From Hydra's job to the start of a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gan_runner.config.command_line import command_line, shown, typed_overrides
from gan_runner.config.composing import default_of
from gan_runner.record.sweep_folder import SweepFolder
from gan_runner.runs.start import Start


def start_of_job(config: DictConfig) -> Start:
    """The start of the run for Hydra's current job.

    Args:
        config: as composed by Hydra for the job.
    """
    hydra, overrides = HydraConfig.get(), typed_overrides()
    job = hydra.mode is RunMode.MULTIRUN
    return Start(
        config=config,
        hydra=cast("DictConfig", HydraConfig.instance().cfg),
        folder=shown(Path(hydra.runtime.output_dir)),
        overrides=overrides,
        choices=dict(hydra.runtime.choices),
        command=command_line(),
        default_of=partial(default_of, str(hydra.job.config_name), overrides, cast("DictConfig", hydra)),
        job=job,
        swept=SweepFolder(Path(hydra.sweep.dir)).read().swept if job else (),
    )
