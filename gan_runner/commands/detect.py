"""The job of `gan-detect`: how well detectors tell a run's images from real ones."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from gan_runner.config.build import make
from gan_runner.config.command_line import typed_overrides
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.machine.shell import quoted
from gan_runner.record.links import check_way_to
from gan_runner.runs.detecting import Asked, detected, tell
from gan_runner.runs.saved import SavedRun
from gan_runner.runs.surroundings import one_at_a_time


def detect_job(config: DictConfig) -> None:
    """Train detectors, measure them and the run's own D, print a table, and write a JSON file into the run's folder.

    Raises:
        UserError: a setting is wrong, or the run, its data, another run or the samples are.
    """
    asked = Asked.of(config, typed_overrides())
    if config.run is None:
        raise UserError("gan-detect needs a run.", "Try gan-detect run=outputs/DATE/TIME.")
    run = SavedRun(config.run, asked.trust)
    checkpoint = run.checkpoint_for(asked.checkpoint)
    output = Path(run.folder, config.output or f"detection-{checkpoint}")
    if not output.parent.is_dir():
        raise UserError(
            f"output is {output}, but there is no folder {output.parent}.",
            f"Make it first: mkdir -p {quoted(str(output.parent))}",
        )
    check_way_to(output, run.folder, "output")
    with one_at_a_time(), too_little_memory_explained("Try a smaller num."):
        tell(f"{config.run}, the {checkpoint} checkpoint", detected(run, asked, make(config.metrics)), output)
