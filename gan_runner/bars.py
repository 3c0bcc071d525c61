"""Progress bars, and what is printed beside them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

from tqdm import tqdm

from gan_runner import launched

_COMMAND = re.compile(r" *(\S.*: )?(gan-\w+|tensorboard|mlflow|wandb|pip|torchrun) ")
_SECOND_COLUMN = re.compile(r" +\S(?: ?\S)*  +(?=\S)")  # of a row of a table that is indented


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar that does not end a run where nobody is left to look at it, as behind a pipe that broke."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # type: ignore[override]
        """See `tqdm.display`: whether it was shown, without which `close` leaves the cursor at the end of the line."""
        with contextlib.suppress(OSError, ValueError):
            return bool(super().display(msg, pos))
        return False

    def clear(self, nolock: bool = False) -> None:
        """See `tqdm.clear`."""
        with contextlib.suppress(OSError, ValueError):
            super().clear(nolock)

    def close(self) -> None:
        """See `tqdm.close`."""
        with contextlib.suppress(OSError, ValueError):
            super().close()


class AboveBars(logging.StreamHandler[TextIO]):
    """A console that prints messages above the bars that are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(self.format(record), self.stream)


class Quiet(logging.Filter):
    """Keeps what a job of a sweep says off the console while a table shows how all jobs stand."""

    _least = logging.NOTSET

    @classmethod
    @contextlib.contextmanager
    def below(cls, level: int) -> Iterator[None]:
        """In here the console shows nothing of a lower level."""
        before, cls._least = cls._least, level
        try:
            yield
        finally:
            cls._least = before

    @classmethod
    def shows(cls, level: int) -> bool:
        """Whether the console shows what is of a level."""
        return level >= cls._least

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this is shown."""
        return self.shows(record.levelno)


def say(text: str, file: TextIO | None = None) -> None:
    """Print text above the bars that are shown; nothing happens where nobody is left to read it.

    Args:
        text: one or more lines; on a terminal, longer ones than it is wide are folded between words.
        file: standard output unless it is given.
    """
    file = sys.stdout if file is None else file
    with contextlib.suppress(OSError, ValueError), Bar.external_write_mode(file=file):
        print(folded(text, _columns()) if file.isatty() else text, file=file, flush=True)


def folded(text: str, width: int) -> str:
    """Fold lines that are longer than the width between words; a command stays whole, for it is to be copied."""
    return "\n".join(
        line if len(line) <= width or _COMMAND.match(line) else _fold(line, width) for line in text.split("\n")
    )


def _fold(line: str, width: int) -> str:
    column = _SECOND_COLUMN.match(line)
    indent = " " * (len(column[0]) if column else len(line) - len(line.lstrip()) + 2)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _columns() -> int:
    return shutil.get_terminal_size().columns


def on_a_terminal() -> bool:
    """Whether somebody may be looking at standard error; nobody is where it is closed, or another process speaks."""
    try:
        return sys.stderr.isatty() and launched.rank() == 0
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def on_a_screen() -> bool:
    """Whether standard output and standard error are a terminal that can move its cursor."""
    try:
        return on_a_terminal() and sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    except (AttributeError, ValueError):
        return False
