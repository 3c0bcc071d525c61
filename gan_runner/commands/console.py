"""The terminal, or what stands in its place: a pipe that broke, a closed stream, a console that knows few letters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from gan_runner.bars import on_a_terminal


class Coloured(logging.Formatter):
    """Messages alone, warnings and errors in colour where the terminal has it and NO_COLOR is not set."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        wanted = "NO_COLOR" not in os.environ and os.environ.get("TERM") not in (None, "dumb")
        self._colours = _COLOURS if wanted and on_a_terminal() and sys.stdout.isatty() else {}

    def format(self, record: logging.LogRecord) -> str:
        """The message, in the colour of its level."""
        text, colour = super().format(record), self._colours.get(record.levelno)
        return text if colour is None else f"\033[{colour}m{text}\033[0m"


_COLOURS = {logging.WARNING: 33, logging.ERROR: 31}  # yellow, red


class BelowError(logging.Filter):
    """Keeps errors out of a handler's output: conf/config.yaml has them go to stderr, the rest to stdout."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this is said on stdout."""
        return record.levelno < logging.ERROR


class NotRepeated(logging.Filter):
    """Keeps out of a handler's output what another job of the sweep has said already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this is said for the first time."""
        return not getattr(record, "repeated", False)


@contextlib.contextmanager
def any_console() -> Iterator[None]:
    """While a command runs: closed streams lead nowhere, unknown letters are replaced, broken pipes forgiven."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            try:
                stream.flush()
            except (OSError, ValueError):
                with contextlib.suppress(OSError):  # or Python would stumble over it once more, and exit with 120
                    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _open_closed_streams() -> None:
    """Give numbers 0 to 2 to the void where they are free: else the next file to be opened gets one, and our words."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8"))  # noqa: SIM115
