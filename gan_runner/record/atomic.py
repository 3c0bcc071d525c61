"""Files that are written whole or not at all, and what the system refuses put into words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from gan_runner.errors import UserError
from gan_runner.machine.files import NOT_FOLLOWING, once_more, replace


@contextmanager
def refusals_explained(path: Path, doing: str = "written") -> Iterator[None]:
    """While a file is used: what the system refuses is the user's to put right, and has the file's name.

    Raises:
        UserError: the disk is full, or the folder is gone or closed to this.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        refused = error if isinstance(error, OSError) else error.__context__  # PyTorch hides it behind its own
        if not isinstance(refused, OSError) or refused.strerror is None:  # Pillow raises one for what it cannot draw
            raise
        raise UserError(
            f"{path} cannot be {doing}: {refused.strerror}.",
            "See that the disk has room and that the folder may be written to.",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to, which takes its place once all is written and on the disk.

    The file keeps the ending, by which Pillow and NumPy choose the format. Where `path` is a link, it is the link that
    is replaced, and not what it leads to.

    Raises:
        UserError: the system refuses: the disk is full, or the folder is gone or closed to writing.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with refusals_explained(path):
            temporary.unlink(missing_ok=True)  # a link laid there would be followed
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """Open a text file, in UTF-8, to add to its end; never what a link leads to, for folders are handed around.

    Raises:
        UserError: the system refuses, or a link lies there.
    """

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | NOT_FOLLOWING, 0o666)

    with refusals_explained(path), once_more(lambda: open(path, "a", encoding="utf-8", opener=opened)) as file:
        yield file


def made_folder(path: Path) -> Path:
    """Make a folder, its parents there already, and give it."""
    with refusals_explained(path, "made"):
        path.mkdir(exist_ok=True)
    return path


def set_aside(path: Path, why: str = "damaged") -> Path:
    """Give a file another name beside it that says why, and which no earlier one has; gives it back."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    with refusals_explained(path, "set aside"):
        replace(path, aside)
    return aside
