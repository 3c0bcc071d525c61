"""Train, load and sweep from a program or a notebook: the functions behind `gan_runner.train`, `load` and `sweep`."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_runner.errors import UserError
from gan_runner.files import folder_below, is_folder, unused_folder
from gan_runner.machine.processes import interrupt, started_apart
from gan_runner.override import values_by_key
from gan_runner.record.data_folder import DataFolder, items, mapping, number, text
from gan_runner.runs.composing import new_name, start_of
from gan_runner.runs.job import run_job
from gan_runner.runs.saved import SavedRun
from gan_runner.runs.surroundings import logging_to, one_at_a_time
from gan_runner.runs.tables import as_table
from gan_runner.runs.words import words_of


def train(*words: str, quiet: bool = False, **settings: object) -> SavedRun:
    """Train a run, as `gan-run` does with the same overrides, and return it.

    Ctrl-C, or a notebook's stop button, saves the run and returns it; its `status` is then `interrupted`.

    Args:
        *words: overrides, such as "model=dcgan" or "trainer.epochs=50".
        quiet: print nothing; the run's folder has its log in any case.
        **settings: overrides as keyword arguments: model="dcgan", trainer={"epochs": 50}.

    Returns:
        The run, opened.

    Raises:
        UserError: what the command would have printed.
        KeyboardInterrupt: it was stopped before anything could be saved.
    """
    given = words_of(words, settings)
    with one_at_a_time(), start_of(given) as start, logging_to(start.folder, printed=not quiet):
        try:
            run_job(start)
        except SystemExit as end:
            _unless_interrupted(end, start.folder)
        trust = start.config.trust
    return SavedRun(start.folder, trust if isinstance(trust, str) else list(trust))


def _unless_interrupted(end: SystemExit, folder: Path) -> None:
    """Ignore that a run exits after a signal: it has saved."""
    if end.code == 128 + signal.SIGINT and not (folder / "checkpoints/last.pt").is_file():
        raise KeyboardInterrupt from end
    if not isinstance(end.code, int) or end.code <= 128:
        raise UserError(
            "The run has ended early: a component of your own has called sys.exit.", f"See {folder}."
        ) from end


class SavedSweep:
    """The folder of a sweep, opened.

    Args:
        folder: such as "multirun/DATE/TIME".
        trust: your own modules that its runs' configs may name.

    Raises:
        UserError: there is no sweep in it.
    """

    def __init__(self, folder: str | Path, trust: Sequence[str] | str = ()) -> None:
        self.folder = Path(folder)
        self._trust = trust
        if not (self.folder / "sweep.json").exists():
            raise UserError(
                f"{folder} is not the folder of a sweep: it has no sweep.json.",
                "Try multirun/DATE/TIME, or gan_runner.load.",
            )

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """Its jobs as sweep.json has them: name, folder, overrides, state, objective, seconds, error."""
        found = items(DataFolder(self.folder).json("sweep.json").get("jobs"))
        return [
            {
                "name": text(job.get("name")),
                "folder": next((at for at in (job.get("folder"), job.get("name")) if at and isinstance(at, str)), ""),
                "overrides": [text(override) for override in items(job.get("overrides"))],
                "state": text(job.get("state")) or "unknown",
                "objective": number(job.get("objective")),
                "seconds": number(job.get("seconds")),
                "error": text(job.get("error")) or None,
            }
            for job in map(mapping, found)
            if job
        ]

    @property
    def runs(self) -> list[SavedRun]:
        """Its jobs that have saved a checkpoint, opened."""
        places = [folder_below(self.folder, job["folder"]) for job in self.jobs]
        return [
            SavedRun(path, self._trust, key="folder") for path in places if path and is_folder(path / "checkpoints")
        ]

    @property
    def table(self) -> Any:
        """One row per job: swept values, state, objective and seconds; a DataFrame if pandas is installed."""
        of_a_job = ("state", "objective", "seconds", "error")
        rows = [values_by_key(job["overrides"]) | {key: job[key] for key in of_a_job} for job in self.jobs]
        return as_table(rows)

    def resume(self, *words: str, quiet: bool = False) -> SavedSweep:
        """Resume unfinished jobs, as `gan-run -m sweep_resume=multirun/DATE/TIME` does."""
        return _run_sweep([f"sweep_resume={self.folder}", *words], self.folder, quiet, self._trust)

    def __repr__(self) -> str:
        states = [job["state"] for job in self.jobs]
        told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
        return f"<SavedSweep {self.folder}, {told or 'no jobs'}>"


def sweep(*words: str, quiet: bool = False, **settings: object) -> SavedSweep:
    """Train every combination of values, as `gan-run -m` does with the same overrides, in a process of its own.

    Ctrl-C, or a notebook's stop button, makes every job save and returns the sweep; its `resume` resumes it.

    Args:
        *words: overrides, with several values separated by commas: "optimizer.lr=1e-4,2e-4".
        quiet: print nothing.
        **settings: overrides as keyword arguments.

    Raises:
        UserError: nothing was trained, with what the command has printed.
    """
    given = words_of(words, settings)
    if "hydra.sweep.dir" in (asked := values_by_key(given)):
        folder = Path(asked["hydra.sweep.dir"])
    else:
        folder = unused_folder(new_name("multirun"))
        given.append(f"hydra.sweep.dir={folder}")
    return _run_sweep(given, folder, quiet, ())


def _run_sweep(words: Sequence[str], folder: Path, quiet: bool, trust: Sequence[str] | str) -> SavedSweep:
    process = started_apart([sys.executable, "-m", "gan_runner", "-m", *words])
    said: list[str] = []
    assert process.stdout is not None
    with process:
        while True:
            try:
                for line in process.stdout:
                    said.append(line)
                    if not quiet:
                        print(line, end="", flush=True)
                break
            except KeyboardInterrupt:
                interrupt(process)
    if not (folder / "sweep.json").exists():
        with contextlib.suppress(OSError):  # it is not empty, or does not exist
            folder.rmdir()
        problem, _, remedy = "".join(said).strip().partition("\n  ")
        raise UserError(problem or "The sweep has not started.", remedy or "Try the same overrides with gan-run -m.")
    return SavedSweep(folder, trust)
