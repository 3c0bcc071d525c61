"""A sweep's record besides its jobs' folders: sweep.json, with the overrides and the state of each job.

The jobs of a sweep may be processes of their own, on machines of their own: each updates its entry under a lock, and
the file is replaced as a whole, so that it is readable after a kill at any moment. PyTorch is not imported here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from hashlib import sha1
from pathlib import Path
from typing import Any

from gan_runner import files
from gan_runner.errors import UserError
from gan_runner.files import refusals_explained, set_aside, write_text
from gan_runner.machine.files import is_name_everywhere, once_more
from gan_runner.machine.locks import Lock
from gan_runner.override import values_by_key
from gan_runner.record.data_folder import DataFolder, Plain, mapping
from gan_runner.record.run_lock import is_training

log = logging.getLogger(__name__)

FILE = "sweep.json"
_OWN = ".sweep"  # locks, the request to stop, and the jobs' progress
_LONGEST_NAME = 100  # paths on Windows end at 260
_LONGEST_WAIT = 60.0  # seconds for another job to write sweep.json, which takes it milliseconds
_MOST_JOBS = 100_000
_LARGEST = 64 * files.MEGABYTE  # of sweep.json, which has about 1 kB a job, and of summaries

GONE_THROUGH = ("finished", "pruned")
"""The states of jobs that are not run again."""


@dataclass
class Job:
    """One job of a sweep.

    Attributes:
        name: its name, which is its folder below the sweep's.
        overrides: the overrides of its config.
        state: waiting, running, finished, pruned, interrupted or failed.
        hash: of its composed config, once it has started.
        seconds: of training, in all starts.
        objective: the best that was measured.
        error: why it failed.
        folder: as `name`.
        start: the start of the sweep that planned or ran it last.
        number: its number in that start.
        ran: whether that start has trained it.
        gpu: its GPU, if there are several.
    """

    name: str
    overrides: list[str]
    state: str = "waiting"
    hash: str | None = None
    seconds: float | None = None
    objective: float | None = None
    error: str | None = None
    folder: str = ""
    start: str | None = None
    number: int | None = None
    ran: bool = False
    gpu: int | None = None


@dataclass
class Sweep:
    """What sweep.json holds.

    Attributes:
        jobs: in the order in which they were planned.
        arguments: what was typed to start it, its folder left out.
        swept: the keys that differ between jobs.
        settings: the config that its jobs share, by dotted key.
        start: names the start that is going on, or was the last.
        started: when that was, in seconds since 1970.
        total: how many jobs there will be; None where a sweeper that searches does not say.
        vouched: the names of parts that the user vouches for, where in this start the folder alone has said what its
            jobs are; None where all of that was typed.
    """

    jobs: list[Job] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    swept: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    started: float = 0.0
    total: int | None = None
    vouched: list[str] | None = None

    def count(self, state: str) -> int:
        """Jobs in a state."""
        return sum(job.state == state for job in self.jobs)

    def failures(self) -> dict[str, list[Job]]:
        """The failed jobs, by reason."""
        failures: dict[str, list[Job]] = {}
        for job in self.jobs:
            if job.state == "failed":
                failures.setdefault(str(job.error), []).append(job)
        return failures

    def point(self, overrides: Sequence[str]) -> dict[str, str]:
        """A job's position in the grid: the value of each swept key, as text."""
        given = values_by_key(overrides)
        return {key: given.get(key, str(self.settings.get(key))) for key in self.swept}

    def claim(self, number: int, overrides: Sequence[str], folder: Path, name: str | None = None) -> Job:
        """The job of a number in this start: one at the same point that this start has not had, or a new one.

        Args:
            number: counts the jobs of this start.
            overrides: the job's.
            folder: the sweep's.
            name: where the job's folder was chosen by somebody else.
        """
        for job in self.jobs:
            if (job.start, job.number) == (self.start, number):
                if name in (None, job.name):
                    return job
                self.jobs.remove(job)  # planned under the name that it would have had
                break
        point = self.point(overrides)
        for job in self.jobs:
            if job.start != self.start and (job.name == name if name else self.point(job.overrides) == point):
                job.start, job.number, job.ran, job.overrides = self.start, number, False, list(overrides)
                return job
        name = name or self._new_name(number, overrides)
        job = Job(name, list(overrides), folder=name, start=self.start, number=number)
        job.state = _state_on_disk(folder / name, "waiting")  # of a sweep.json that is lost, or as good as new
        _add_numbers(job, folder)
        self.jobs.append(job)
        return job

    def _new_name(self, number: int, overrides: Sequence[str]) -> str:
        swept = sorted(f"{key}={value}" for key, value in values_by_key(overrides).items() if key in self.swept)
        name = folder_name(number, ",".join(swept))
        taken = {job.name.casefold() for job in self.jobs}  # macOS and Windows take a and A for the same
        names = itertools.chain([name], (f"{name}-{another}" for another in itertools.count(2)))
        return next(each for each in names if each.casefold() not in taken)

    def progress(self) -> str:
        """The progress of the sweep, in a line."""
        total = max(self.total or 0, len(self.jobs))
        counts = [f"{self.count('finished')} of {total} done"]
        counts += [
            f"{self.count(state)} {state}"
            for state in ("pruned", "failed", "interrupted", "running")
            if self.count(state)
        ]
        mine = [job for job in self.jobs if job.start == self.start]
        done = sum(job.ran and job.state in (*GONE_THROUGH, "failed") for job in mine)
        left = sum(job.state in ("waiting", "running") for job in mine) + max(0, total - len(self.jobs))
        taken = time.time() - self.started  # by the clock, for jobs run on other machines; it may have been set back
        if done and left and taken > 0:
            counts.append(f"about {_duration(taken / done * left)} left")
        return f"Sweep: {', '.join(counts)}."


class SweepFolder:
    """The folder of a sweep.

    Args:
        path: the folder; it exists, or `existing` says so.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sweep_lock: Lock | None = None

    @property
    def file(self) -> Path:
        """sweep.json."""
        return self.path / FILE

    def is_one(self) -> bool:
        """Whether a sweep has begun here."""
        return files.is_file(self.file) and files.is_folder(self.path / _OWN)

    # ---- the whole sweep --------------------------------------------------------------------------------

    def take(self) -> None:
        """Lock the folder against other sweeps, until it is released or this process ends.

        Raises:
            UserError: another sweep is going on here, or a job of one that was killed still trains.
        """
        with refusals_explained(self.path, "made"):
            self.path.mkdir(parents=True, exist_ok=True)
        files.made_folder(self.path / _OWN)
        lock = Lock(self.path / _OWN / "lock")
        try:
            unlocked = lock.take()
        except TimeoutError:
            raise UserError(
                f"hydra.sweep.dir is {self.path}, but another sweep is going on there.",
                "Wait until it has ended, or try another hydra.sweep.dir.",
            ) from None
        if unlocked is not None:
            log.warning("%s cannot be locked, so nothing keeps a second sweep out of it: %s.", self.path, unlocked)
        self._sweep_lock = lock
        for job in self.read().jobs:
            if job.state == "running" and is_training(self.path / job.folder):
                self.release()
                raise UserError(
                    f"hydra.sweep.dir is {self.path}, but its job {job.name} is still being trained by a process "
                    "that an earlier sweep has left behind.",
                    "Wait until it has ended, or end it.",
                )
        files.remove(self._wish)

    def release(self) -> None:
        """Unlock the folder."""
        if self._sweep_lock is not None:
            self._sweep_lock.release()

    def begin(self, sweep: Sweep) -> None:
        """Record a start: jobs that were running when the last one ended are interrupted."""
        sweep.start, sweep.started = uuid.uuid4().hex, time.time()
        self._settle(sweep)
        for job in sweep.jobs:
            if job.state in GONE_THROUGH and not read_summary(self.path / job.folder):
                job.state = "waiting"  # its folder has been taken away
        self.write(sweep)

    def end(self) -> Sweep:
        """Record that this start has ended, and return the sweep."""
        with self._changing() as sweep:
            self._settle(sweep)
        return sweep

    # ---- its jobs ---------------------------------------------------------------------------------------

    def read(self) -> Sweep:
        """Read sweep.json; a damaged one is renamed, and its content is restored from the jobs' folders."""
        if not os.path.lexists(self.file):
            return Sweep()
        try:
            with refusals_explained(self.file, "read"):
                content = json.loads(files.read(self.file, _LARGEST))
            return _as_sweep(content)
        except (ValueError, TypeError, RecursionError):
            log.warning("%s is damaged: it is renamed %s.", self.file, set_aside(self.file).name)
            return Sweep()

    def claim(self, number: int, overrides: Sequence[str], name: str | None = None) -> Job:
        """Find or make the job of a number in this start, which is `Sweep.claim` of the file."""
        with self._changing() as sweep:
            return sweep.claim(number, overrides, self.path, name)

    def job_started(self, number: int, hash_: str, gpus: int) -> Job:
        """Record that a job is training, on the GPU with the fewest jobs.

        Args:
            number: the job's, in this start.
            hash_: of its config.
            gpus: how many there are.
        """
        with self._changing() as sweep:
            job = _numbered(sweep, number)
            on = [other.gpu for other in sweep.jobs if other.state == "running"]
            job.state, job.hash, job.error, job.ran = "running", hash_, None, True
            job.gpu = min(range(gpus), key=on.count) if gpus > 1 else None
        return job

    def note_standing(self, number: int, standing: Mapping[str, Plain]) -> None:
        """Record a running job's progress, for the sweep's table."""
        with contextlib.suppress(OSError, UserError):  # the table alone misses it
            write_text(self.path / _standing_of(number), json.dumps(standing))

    def standings(self) -> dict[str, Mapping[str, Plain]]:
        """The progress of running jobs, by name; {} for jobs that have not recorded it."""
        sweep, folder = self.read(), DataFolder(self.path)
        return {
            job.name: mapping(folder.json(_standing_of(job.number)))
            for job in sweep.jobs
            if job.state == "running" and job.number is not None and job.start == sweep.start
        }

    def job_ended(self, number: int, state: str, error: str | None) -> Sweep:
        """Record how a job has ended, with the values of its summary, and return the sweep."""
        with self._changing() as sweep:
            job = _numbered(sweep, number)
            job.state = state
            _add_numbers(job, self.path)
            if state == "failed":
                job.error = error or str(read_summary(self.path / job.folder).get("error"))
        files.remove(self.path / _standing_of(number))
        return sweep

    def failed_so(self, problem: str) -> bool:
        """Whether a job of this start has failed for this reason."""
        sweep = self.read()
        return any(job.ran and job.start == sweep.start for job in sweep.failures().get(problem, []))

    def measured_at(self, tag: str, iteration: int, fingerprint: str) -> list[float]:
        """The values of finished jobs at an iteration.

        Args:
            tag: of the number.
            iteration: where.
            fingerprint: of the images that they must have trained on.
        """
        found = []
        for job in self.read().jobs:
            run = DataFolder(self.path / job.folder)
            data = mapping(run.json("summary.json").get("data"))
            if job.state == "finished" and data.get("fingerprint") == fingerprint:
                points = (point for point in run.json_lines("metrics.jsonl") if point.get("iteration") == iteration)
                found += [value for point in points if (value := _number(point.get(tag))) is not None]
        return found

    # ---- stopping ---------------------------------------------------------------------------------------

    @property
    def _wish(self) -> Path:
        return self.path / _OWN / "stop"

    def ask_to_stop(self) -> None:
        """Ask every running job to save and end, and waiting ones not to start."""
        with files.appending(self._wish):
            pass

    def asked_to_stop(self) -> bool:
        """Whether the jobs are to end."""
        return once_more(lambda: os.path.lexists(self._wish))

    def _settle(self, sweep: Sweep) -> None:
        """Jobs that are recorded as running but are not were interrupted, unless their summary says how they ended."""
        for job in sweep.jobs:
            job.gpu = None
            if job.state == "running" and not is_training(self.path / job.folder):
                job.state = _state_on_disk(self.path / job.folder, "interrupted")
                _add_numbers(job, self.path)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Sweep]:
        lock = Lock(self.path / _OWN / "file.lock")
        try:
            lock.take(_LONGEST_WAIT)  # a file system without locks is told by `take`
        except TimeoutError:
            raise UserError(
                f"{self.file} has been held by another process for {_LONGEST_WAIT:.0f} seconds.",
                "End the job that hangs, or see that the drive answers; then type gan-run -m sweep_resume=DIR.",
            ) from None
        try:
            sweep = self.read()
            yield sweep
            self.write(sweep)
        finally:
            lock.release()

    def write(self, sweep: Sweep) -> None:
        """Replace sweep.json."""
        write_text(self.file, json.dumps(asdict(sweep), indent=1, allow_nan=False) + "\n")


def _standing_of(number: int) -> str:
    return f"{_OWN}/job-{number}.json"


def folder_name(number: int, overrides: str) -> str:
    """Name a sweep job's folder by overrides, as far as a folder's name can hold them.

    Different overrides never get the same name: what is left out is told apart by a hash.

    Args:
        number: the job's number in the sweep, which names it where there are no overrides.
        overrides: such as "model.dropout=0.1,optimizer.lr=0.0001".
    """
    name = re.sub(r"[^\w.,=+-]+", "_", overrides)[:_LONGEST_NAME]
    if not is_name_everywhere(name):
        name = f"_{name}_"
    if name != overrides:
        name = f"{name}-{sha1(overrides.encode()).hexdigest()[:8]}"
    return name or str(number)


def read_summary(run: Path) -> dict[str, Any]:
    """The summary of a job's run; {} where there is none to be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        summary = json.loads(files.read(run / "summary.json", _LARGEST))
        if isinstance(summary, dict):
            return summary
    return {}


def _state_on_disk(run: Path, without: str) -> str:
    """How a job that is not running has ended, according to its summary.

    Args:
        run: its folder.
        without: the state if there is no summary.
    """
    status = read_summary(run).get("status")
    if status in (*GONE_THROUGH, "failed"):
        return str(status)
    return without if status is None else "interrupted"


def _add_numbers(job: Job, sweep: Path) -> None:
    summary = read_summary(sweep / job.folder)
    job.seconds, job.objective = _number(summary.get("seconds")), _number(summary.get("objective"))


def _numbered(sweep: Sweep, number: int) -> Job:
    return next(job for job in sweep.jobs if (job.start, job.number) == (sweep.start, number))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _as_sweep(content: Any) -> Sweep:
    """Check what was read, which may be damaged or untrusted; missing fields get their defaults.

    Raises:
        ValueError: it is not a sweep.
    """
    entries = content.get("jobs") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(entries) > _MOST_JOBS:
        raise ValueError("no list of jobs")
    jobs = [Job(**_fields(Job, entry, _OF_A_JOB)) for entry in entries]
    if not all(files.stays_below(job.folder) for job in jobs):
        raise ValueError("a job's folder lies in the sweep's")
    return Sweep(jobs, **_fields(Sweep, content, _OF_A_SWEEP))


def _fields(kind: type[Job] | type[Sweep], entry: object, fit: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    if not isinstance(entry, dict) or not all(fits(entry[name]) for name, fits in fit.items() if name in entry):
        raise ValueError("it is not as it was written")
    if missing := [each.name for each in fields(kind) if _is_needed(each) and each.name not in entry]:
        raise ValueError(f"no {missing[0]}")
    return {name: entry[name] for name in fit if name in entry}


def _is_needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_OF_A_JOB: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "state", "folder"), _is_text),
    **dict.fromkeys(("hash", "error", "start"), _or_none(_is_text)),
    **dict.fromkeys(("seconds", "objective"), _or_none(_is_number)),
    **dict.fromkeys(("number", "gpu"), _or_none(_is_count)),
    "overrides": _are_texts,
    "ran": lambda value: isinstance(value, bool),
}
_OF_A_SWEEP: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("arguments", "swept"), _are_texts),
    "settings": lambda value: isinstance(value, dict),
    "start": _is_text,
    "started": _is_number,
    "total": _or_none(_is_count),
    "vouched": _or_none(_are_texts),
}


def _duration(seconds: float) -> str:
    """A time in one unit: "40 s", "12 min", "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
