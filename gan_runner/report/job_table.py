"""The table of a sweep's jobs that stays in place on a terminal while they train."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping, Sequence

from gan_runner.bars import Bar
from gan_runner.errors import printable
from gan_runner.record.data_folder import Plain, number, text
from gan_runner.record.sweep_folder import Job, Sweep, SweepFolder

_SECONDS_BETWEEN_LOOKS = 0.5
_MOST_ROWS = 16  # of jobs; tqdm shows at most 20 lines
_WIDEST = 24  # characters of a cell
_COLUMNS = ("state", "progress", "D accuracy", "best", "time left")


class JobTable:
    """Shows the state of each job of a sweep below all other output, until it is closed.

    Each line is a tqdm bar that shows only text, so that output through tqdm appears above the table.

    Args:
        folder: the sweep's, which is read twice a second.
    """

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._lines: list[Bar] = []
        self._closed = threading.Event()
        self._show()
        self._thread = threading.Thread(target=self._show_until_closed, daemon=True)
        self._thread.start()

    def _show_until_closed(self) -> None:
        while not self._closed.wait(_SECONDS_BETWEEN_LOOKS):
            self._show()

    def _show(self) -> None:
        width, height = shutil.get_terminal_size()
        sweep = self._folder.read()
        lines = table(sweep, self._folder.standings(), width - 1, max(1, min(_MOST_ROWS, height - 5)))
        while len(self._lines) < len(lines):
            self._lines.append(Bar(position=len(self._lines), bar_format="{desc}", leave=False, dynamic_ncols=True))
        for line, bar in zip(lines, self._lines, strict=False):
            bar.set_description_str(line)

    def close(self) -> None:
        """Remove the table."""
        self._closed.set()
        self._thread.join()
        for bar in reversed(self._lines):
            bar.close()


def table(sweep: Sweep, standings: Mapping[str, Mapping[str, Plain]], width: int, most: int) -> list[str]:
    """The lines of the table: a header, a row for each job, and the progress of the sweep.

    Args:
        sweep: its jobs.
        standings: the progress of running jobs by name: see `SweepFolder.standings`.
        width: of a line, in characters.
        most: the maximum number of rows; of more jobs, those around the running ones are shown.
    """
    states = [job.state for job in sweep.jobs]
    first = next((states.index(state) for state in ("running", "waiting") if state in states), len(states))
    begin = max(0, min(first - most // 2, len(sweep.jobs) - most))
    jobs = sweep.jobs[begin : begin + most]
    rows = [[*_varied(job, sweep), *_cells(job, standings.get(job.name, {}))] for job in jobs]
    header = [*(short_keys(sweep.swept) or ["job"]), *_COLUMNS]
    cells = [[_cut(printable(cell), _WIDEST) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in cells]
    left_out = len(sweep.jobs) - len(jobs)
    more = f" Shown: {len(jobs)} of {len(sweep.jobs)}." if left_out else ""
    return [_cut(line.rstrip(), width) for line in [*lines, sweep.progress() + more]]


def _varied(job: Job, sweep: Sweep) -> list[str]:
    return list(sweep.point(job.overrides).values()) or [job.name]


def _cells(job: Job, standing: Mapping[str, Plain]) -> list[str]:
    if job.state != "running":
        return [job.state, "", "", "" if job.objective is None else f"{job.objective:.4g}", ""]
    accuracy, best = number(standing.get("accuracy")), number(standing.get("best"))
    return [
        job.state,
        text(standing.get("where")),
        "" if accuracy is None else f"{accuracy:.0%}",
        "" if best is None else f"{best:.4g}",
        text(standing.get("left")),
    ]


def short_keys(keys: Sequence[str]) -> list[str]:
    """The shortest suffixes that distinguish the keys: "lr" of optimizer.lr; "d.lr" beside optimizer.g.lr."""

    def shortest(key: str) -> str:
        parts = key.split(".")
        ends = (".".join(parts[at:]) for at in range(len(parts) - 1, 0, -1))
        return next((end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1), key)

    return [shortest(key) for key in keys]


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else line[: longest - 1] + "…"
