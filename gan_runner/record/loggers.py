"""Loggers, which write runs for programs that display them: the interface of the `logger` group, and several at once.

A `Logger` holds settings; `Logger.open` starts what one start of a run writes to, a `RunLog`. The run's own folder
(metrics.jsonl, samples, checkpoints) does not depend on any logger.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from PIL import Image

from gan_runner import files
from gan_runner.contracts import hold_to
from gan_runner.errors import UserError
from gan_runner.files import write_text

log = logging.getLogger(__name__)

Scalar: TypeAlias = bool | int | float | str
Kind: TypeAlias = Literal["number", "truth", "text"]
Status: TypeAlias = Literal["finished", "failed", "interrupted"]

_ID = re.compile(r"\w{1,64}")
_LARGEST_ID_FILE = 10_000  # bytes
_MOST_WAITING = 10_000  # calls
_SECONDS_TO_CLOSE = 30.0


@dataclass(frozen=True)
class Hyperparameters:
    """A run's hyperparameters.

    Attributes:
        values: dotted key -> value, each of the kind that its column has in all runs.
        columns: key -> kind, of the settings to show; TensorBoard takes the columns of a folder from one of its runs.
        chosen: the keys among them that tell the runs apart; their columns come first.
    """

    values: Mapping[str, Scalar]
    columns: Mapping[str, Kind]
    chosen: Collection[str]


@dataclass(frozen=True)
class RunToLog:
    """One start of a run, as passed to a logger.

    Attributes:
        folder: the run's; it exists. A resumed run's may come from others: what is read of it is data.
        first_iteration: the first iteration that this start may log.
        last_logged: the last iteration that earlier starts logged: it may lie after `first_iteration`, where a start
            was cut short. None where there is no earlier log to continue: a run begins, or takes another course from
            an earlier checkpoint (`resume_from`).
        name: the name that people see.
        sweep: the name of the sweep that the run is a job of, if it is one.
    """

    folder: Path
    first_iteration: int = 1
    last_logged: int | None = None
    name: str = "run"
    sweep: str | None = None


class RunLog(Protocol):
    """What one start of a run writes to. `image` is called from another thread than the rest.

    A class that extends it need only write what it wants to log; all else does nothing.
    """

    def begin(self, hyperparameters: Hyperparameters, metrics: Sequence[str]) -> None:
        """Log the run's hyperparameters, before anything else.

        Args:
            hyperparameters: the run's; a resumed run may have others than before.
            metrics: scalar tags, the most telling first.
        """

    def describe(self, descriptions: Mapping[str, str]) -> None:
        """Log descriptions of scalars by tag, before their first values."""

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Log a point of each curve: tag -> value, which may be NaN or infinite."""

    def image(self, tag: str, picture: Image.Image, iteration: int) -> None:
        """Log an image, grey or RGB."""

    def text(self, tag: str, markdown: str, iteration: int) -> None:
        """Log a text, such as the config."""

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Log an alarm."""

    def end(self, status: Status) -> None:
        """Log how this start ended; an interrupted run, and a failed one too, may be resumed."""

    def close(self) -> None:
        """Write what is still in memory; nothing is logged after that."""


class Logger(Protocol):
    """A choice of the `logger` group.

    Attributes:
        images: whether it takes grids of samples.
        writes_outside: whether what it writes lies outside of the run's folder, here or on a server. Then a run's
            folder cannot choose it: whoever resumes the run types it again. And its failure does not end the run.
    """

    images: bool
    writes_outside: bool

    def open(self, run: RunToLog) -> RunLog:
        """Start to log.

        Raises:
            UserError: it cannot; nothing has been trained yet.
        """

    def view_commands(self, folder: Path, shown: Path) -> list[str]:
        """The commands that show what was logged.

        Args:
            folder: the run's or the sweep's.
            shown: the same, as the user would type it.
        """


class Several:
    """Several loggers at once.

    Args:
        parts: the loggers by name.

    Raises:
        UserError: there is none.
    """

    def __init__(self, parts: Mapping[str, Logger]) -> None:
        if not parts:
            raise UserError("logger is several, but logger.parts has none.", "Try 'logger=[tensorboard,mlflow]'.")
        self.parts = dict(parts)

    @property
    def images(self) -> bool:
        """Whether grids of samples go into the run's folder, beside `samples/`."""
        return any(part.images and not part.writes_outside for part in self.parts.values())

    @property
    def writes_outside(self) -> bool:
        """Whether all of them write elsewhere."""
        return all(part.writes_outside for part in self.parts.values())

    def open(self, run: RunToLog) -> RunLog:
        """Start all of them."""
        with contextlib.ExitStack() as opened:
            logs = []
            for part in self.parts.values():
                logs.append(opened_log(part, run))
                opened.callback(logs[-1].close)
            opened.pop_all()
        return _SeveralLogs(logs)

    def view_commands(self, folder: Path, shown: Path) -> list[str]:
        """What to type to look at each."""
        return [command for part in self.parts.values() for command in part.view_commands(folder, shown)]


def opened_log(logger: Logger, run: RunToLog) -> RunLog:
    """Start to log; where a logger writes outside of the run's folder, its failures end nothing from here on."""
    opened = hold_to(logger.open(run), RunLog, "what logger.open gives")
    return (
        _Guarded(opened, type(logger).__name__) if logger.writes_outside and not isinstance(logger, Several) else opened
    )


class _ToEach:
    """Passes every call on."""

    def _call(self, call: Callable[[RunLog], None]) -> None:
        raise NotImplementedError

    def begin(self, hyperparameters: Hyperparameters, metrics: Sequence[str]) -> None:
        self._call(lambda one: one.begin(hyperparameters, metrics))

    def describe(self, descriptions: Mapping[str, str]) -> None:
        self._call(lambda one: one.describe(descriptions))

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        self._call(lambda one: one.scalars(values, iteration))

    def image(self, tag: str, picture: Image.Image, iteration: int) -> None:
        self._call(lambda one: one.image(tag, picture, iteration))

    def text(self, tag: str, markdown: str, iteration: int) -> None:
        self._call(lambda one: one.text(tag, markdown, iteration))

    def alarm(self, name: str, message: str, iteration: int) -> None:
        self._call(lambda one: one.alarm(name, message, iteration))

    def end(self, status: Status) -> None:
        self._call(lambda one: one.end(status))

    def close(self) -> None:
        self._call(lambda one: one.close())


class _SeveralLogs(_ToEach):
    """Passes every call on to several logs; if one fails, the others are still called."""

    def __init__(self, logs: Sequence[RunLog]) -> None:
        self._logs = logs

    def _call(self, call: Callable[[RunLog], None]) -> None:
        with contextlib.ExitStack() as calls:
            for one in reversed(self._logs):
                calls.callback(call, one)


class _Guarded(_ToEach):
    """A log outside of the run's folder: its first failure is a warning, after which it is not used any more."""

    def __init__(self, guarded: RunLog, name: str) -> None:
        self._log = guarded
        self._name = name
        self._failed = False

    def _call(self, call: Callable[[RunLog], None]) -> None:
        if self._failed:
            return
        try:
            call(self._log)
        except Exception as error:
            self._failed = True
            why = " ".join(str(error).split())[:300] or type(error).__name__
            log.warning("%s has failed and is not used any more; the run continues: %s", self._name, why)
            log.debug("", exc_info=error)

    def close(self) -> None:
        if self._failed:
            with contextlib.suppress(Exception):
                self._log.close()
        super().close()


class InBackground:
    """Executes calls in order in a background thread, so that a slow server does not slow down training.

    After a call has failed the rest is dropped, and `do` and `close` raise what it raised.
    """

    def __init__(self) -> None:
        self._calls: queue.Queue[Callable[[], object] | None] = queue.Queue(_MOST_WAITING)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="logger", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._error is None:
                try:
                    call()
                except Exception as error:
                    self._error = error

    def do(self, call: Callable[[], object]) -> None:
        """Queue a call.

        Raises:
            Exception: an earlier call has failed, or thousands are waiting.
        """
        if self._error is not None:
            raise self._error
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            raise TimeoutError("it is too slow, and too many calls are waiting") from None

    def close(self) -> None:
        """Wait for all calls, for half a minute at most.

        Raises:
            Exception: one has failed, or half a minute is over.
        """
        with contextlib.suppress(queue.Full):
            self._calls.put_nowait(None)
        if self._error is None:
            self._thread.join(_SECONDS_TO_CLOSE)
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise TimeoutError(f"it has not taken everything within {_SECONDS_TO_CLOSE:g} seconds")


def require(module: str, extra: str, key: str) -> None:
    """Refuse a logger whose library is not installed; the library is not imported for that.

    Args:
        module: the library's.
        extra: of this package, that installs it.
        key: what was typed, such as "logger=mlflow".

    Raises:
        UserError: it is missing.
    """
    if find_spec(module) is None:
        raise UserError(
            f"{key} needs the package {module}, which is not installed.",
            f"In the clone of gan-runner, try pip install -e '.[{extra}]'",
        )


def kept_id(run: RunToLog, library: str) -> str | None:
    """The identifier under which a library knows the run, as the run's folder keeps it; None where there is none."""
    if run.last_logged is None:
        return None
    try:
        content = json.loads(files.read(_id_file(run.folder, library), _LARGEST_ID_FILE, below=run.folder))
    except (OSError, ValueError, RecursionError):
        return None
    found = content.get("run_id") if isinstance(content, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def keep_id(run: RunToLog, library: str, identifier: str) -> None:
    """Keep in the run's folder under which identifier a library knows it."""
    write_text(_id_file(run.folder, library), json.dumps({"run_id": identifier}) + "\n")


def _id_file(folder: Path, library: str) -> Path:
    return folder / f"{library}.json"
