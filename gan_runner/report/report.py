"""From the folders of runs to the comparison: a table, summary.csv and compare.html."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_runner.bars import folded
from gan_runner.errors import UserError
from gan_runner.files import opened, write_text
from gan_runner.record.data_folder import text
from gan_runner.report.comparison import Comparable, comparable_sets
from gan_runner.report.page import MARK, as_page
from gan_runner.report.runs import RunRecord, runs_at, runs_of_sweep
from gan_runner.report.tables import FIRST_COLUMNS, as_csv, as_text
from gan_runner.report.thumbnails import Thumbnails

_PAGE, _TABLE = "compare.html", "summary.csv"
_MOST_ROWS = 40  # of the table in the terminal
_MOST_PROBLEMS = 10
# bytes at the start of a file that show that gan-compare has written it
_BEGINNING = 1000


@dataclass(frozen=True)
class Report:
    """Runs compared.

    Attributes:
        title: what is compared, in a line.
        sets: what can be compared.
        problems: what could not be read besides the runs' own problems.
    """

    title: str
    sets: list[Comparable]
    problems: list[str]

    @classmethod
    def of_sweep(cls, folder: str | Path) -> Report:
        """Compare all runs of a sweep, also unfinished ones.

        Raises:
            UserError: there is no such folder, or no run in it.
        """
        runs, problems = runs_of_sweep(Path(folder))
        title = "/".join(Path(folder).resolve().parts[-2:])  # such as DATE/TIME
        return cls(text(title), comparable_sets(runs), problems)

    @classmethod
    def of_runs(cls, folders: Sequence[str]) -> Report:
        """Compare runs by their folders.

        Raises:
            UserError: one of them is not the folder of a run.
        """
        runs = runs_at(folders)
        return cls(f"{len(runs)} runs", comparable_sets(runs), [])

    def write(self, folder: Path, thumbnails: Thumbnails) -> tuple[Path, Path]:
        """Write summary.csv and compare.html, in the place of earlier ones.

        Args:
            folder: the output folder; made if it does not exist.
            thumbnails: how many samples are shown, and how large.

        Returns:
            The paths of the two.

        Raises:
            UserError: a file of that name was not written by gan-compare, or cannot be written.
        """
        table, page = folder / _TABLE, folder / _PAGE
        _refuse_what_is_not_ours(table, FIRST_COLUMNS)
        _refuse_what_is_not_ours(page, MARK)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"output is {folder}, but that is not a folder, and cannot be made.", "Choose another output."
            ) from error
        made = time.strftime("%Y-%m-%d %H:%M")
        content = as_page(self.title, made, self.sets, self.all_problems, thumbnails)
        for path, written in ((table, as_csv(self.sets)), (page, content)):
            write_text(path, written)
        return table, page

    def as_text(self, width: int, *, failures: bool = True) -> str:
        """The table for the terminal, one for each set, and what failed.

        Args:
            width: of the terminal, in characters.
            failures: whether to say what failed and why.
        """
        parts = []
        if len(self.sets) > 1:
            parts.append(f"These runs form {len(self.sets)} sets that cannot be compared with each other.")
        for one in self.sets:
            count = len(one.runs)
            title = folded(f"{count} run{'' if count == 1 else 's'} of {one.title}", width)
            lines = [title, as_text(one, _MOST_ROWS, width)]
            parts.append("\n".join([*lines, *one.notes]))
        failed = [run for one in self.sets for run in one.runs if run.status == "failed"]
        if failed and failures:
            parts.append(_listed("Failed:", [f"{run.name}: {run.error or 'no reason given'}" for run in failed], width))
        problems = self.all_problems()
        if problems:
            parts.append(_listed("Missing or unreadable:", problems, width))
        return "\n\n".join(parts)

    def all_problems(self) -> list[str]:
        """What could not be read, a line each: of the sweep, and of every run."""
        runs: list[RunRecord] = [run for one in self.sets for run in one.runs]
        return [*self.problems, *(f"{run.name}: {problem}" for run in runs for problem in run.problems)]


def _refuse_what_is_not_ours(path: Path, mark: str) -> None:
    if not os.path.lexists(path):
        return
    try:
        with opened(path) as file:
            ours = mark.encode() in file.read(_BEGINNING)
    except OSError:
        ours = False
    if not ours:
        raise UserError(
            f"{path} exists already, and is not a file of gan-compare's.",
            "Give another folder for it, such as output=comparison, or move it away.",
        )


def _listed(title: str, lines: Sequence[str], width: int) -> str:
    kept = [line if len(line) <= 2 * width else f"{line[: 2 * width - 1]}…" for line in lines[:_MOST_PROBLEMS]]
    more = [f"... and {len(lines) - len(kept)} more"] if len(lines) > len(kept) else []
    return "\n  ".join([title, *kept, *more])
