"""The job of `gan-compare`: runs side by side, in the terminal, as a CSV file and as one page."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from gan_runner.config.command_line import named_folders, typed_overrides
from gan_runner.config.validation import Reader, validate
from gan_runner.errors import UserError
from gan_runner.report.report import Report
from gan_runner.report.thumbnails import Thumbnails

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "sweep": str | None,
    "runs": str | Sequence[str] | None,
    "output": str | None,
}


def compare_job(config: DictConfig) -> None:
    """Compare the runs of a sweep, or the named ones; print a table, and write summary.csv and compare.html.

    Raises:
        UserError: a setting is wrong, there is nothing to compare, or the files cannot be written.
    """
    validate(config, SETTINGS, [Reader("pictures", Thumbnails)], typed_overrides())
    if (config.sweep is None) == (config.runs is None):
        given = "neither sweep nor runs is given" if config.sweep is None else "sweep and runs are both given"
        raise UserError(
            f"gan-compare needs sweep or runs, but {given}.",
            "Try sweep=multirun/DATE/TIME, or runs=A,B with the folders of runs.",
        )
    if config.sweep is not None:
        report, folder = Report.of_sweep(config.sweep), Path(config.sweep)
    else:
        runs = named_folders(config.runs)
        if not runs:
            raise UserError("runs is [], but must name a run.", "Try runs=A,B with the folders of runs.")
        report, folder = Report.of_runs(runs), Path()
    if config.output is not None:
        folder = Path(config.output)
    table, page = report.write(folder, Thumbnails(**config.pictures))
    width = shutil.get_terminal_size(fallback=(200, 50)).columns
    log.info("%s\n\nTable: %s\nPage: %s", report.as_text(width), table, page)
