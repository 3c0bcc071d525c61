"""The terminal, or what replaces it: a broken pipe, a closed stream, a console with a limited character set."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from gan_runner.bars import on_a_screen


class Coloured(logging.Formatter):
    """The message only; warnings and errors are coloured on a terminal, unless NO_COLOR is set."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._colours = _COLOURS if not os.environ.get("NO_COLOR") and on_a_screen() else {}

    def format(self, record: logging.LogRecord) -> str:
        """Return the message in the colour of its level."""
        text, colour = super().format(record), self._colours.get(record.levelno)
        return text if colour is None else f"\033[{colour}m{text}\033[0m"


_COLOURS = {logging.WARNING: 33, logging.ERROR: 31}  # yellow, red


class BelowError(logging.Filter):
    """Drops errors: conf/config.yaml sends them to stderr and everything else to stdout."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message goes to stdout."""
        return record.levelno < logging.ERROR


class NotRepeated(logging.Filter):
    """Drops errors that another job of the sweep has printed already."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is new."""
        return not getattr(record, "repeated", False)


@contextlib.contextmanager
def any_console() -> Iterator[None]:
    """While a command runs, closed streams write nowhere, unencodable characters are escaped, broken pipes ignored."""
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
                with contextlib.suppress(OSError):  # or Python would fail to flush it at exit, and return 120
                    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _open_closed_streams() -> None:
    """Open the null device for each closed descriptor of 0 to 2: else the next opened file would get our output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False, encoding="utf-8"))  # noqa: SIM115
