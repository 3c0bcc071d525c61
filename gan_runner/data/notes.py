"""What data sets say of their files while they are loaded: logged once, or not at all."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from gan_runner.bars import Bar

_log = logging.getLogger(__name__)
_silent: ContextVar[bool] = ContextVar("silent", default=False)
_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Say nothing of the data that are loaded in this context, because the user has been told before."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Print a line only once in this context, for commands that load the same data several times.

    A repeated line is logged at DEBUG: it is not printed, but goes to the log file of a run that is trained in between.
    """
    token = _told.set(set())
    try:
        yield
    finally:
        _told.reset(token)


def tell(lines: Sequence[str], level: int = logging.WARNING) -> None:
    """Log lines, above a bar where there is one."""
    if _silent.get():
        return
    told = _told.get()
    for line in lines:
        repeated = told is not None and line in told
        if told is not None:
            told.add(line)
        with Bar.external_write_mode():  # or the line would begin where the bar ends
            _log.log(logging.DEBUG if repeated else level, "%s", line)
