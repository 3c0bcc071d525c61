"""The terminal, or what stands in its place: a pipe that broke, a closed stream, a console that knows few letters."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator


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
