"""The files of runs, sweeps and data sets: the only place that opens, lists, replaces and removes them.

A folder may be untrusted or damaged. So no link in it is followed, nothing but a regular file is
opened, for a FIFO or a device could keep its reader waiting for ever, and every file that is read as a whole has a
largest size. What is written appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from gan_runner.errors import UserError
from gan_runner.machine import files as machine

MEGABYTE = 2**20

_WITH_HOLES = 64 * MEGABYTE  # of a file in which holes do no harm
_MOST_HOLES = 8  # times the room that a file takes on the disk; file systems that compress may save some
_LARGEST_TO_COPY = 1024 * MEGABYTE
_LINK = "it is a link"
_SPECIAL = "it is not a regular file"


def _refusal(path: str | Path, why: str) -> OSError:
    return OSError(errno.EINVAL, why, str(path))


def _check_kind(path: str | Path, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _refusal(path, _LINK)
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, _SPECIAL)


# ---- reading --------------------------------------------------------------------------------------------


def opened(path: str | Path, *, below: Path | None = None, links: bool = False) -> BinaryIO:
    """Open a regular file to read it, without waiting for anybody.

    Args:
        path: the file.
        below: a folder above it; no folder between the two may be a link.
        links: whether the file may be a link to a regular file, as those of a user's own data may.

    Raises:
        OSError: it cannot be read, is a link, or is not a regular file.
    """
    if below is not None:
        for parent in _between(below, Path(path)):
            if parent.is_symlink():
                raise _refusal(parent, _LINK)
    _check_kind(path, os.stat(path, follow_symlinks=links))  # opening alone may set a device to work
    flags = os.O_RDONLY | machine.BINARY | machine.WITHOUT_WAITING | (0 if links else machine.NOT_FOLLOWING)
    descriptor = os.open(path, flags)
    try:
        _check_kind(path, os.fstat(descriptor))  # another kind of file may have come in its place by now
        return cast("BinaryIO", os.fdopen(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise


def _between(folder: Path, path: Path) -> list[Path]:
    """The folders on the way from a folder to something below it."""
    parents = []
    for parent in path.parents:
        if parent == folder:
            break
        parents.append(parent)
    return parents


def read(path: str | Path, most: int, *, below: Path | None = None) -> bytes:
    """Read a whole file of at most so many bytes.

    Raises:
        OSError: as `opened` raises it, or the file is larger.
    """

    def content_so_far() -> bytes:
        with opened(path, below=below) as file:
            return file.read(most + 1)

    content = machine.once_more(content_so_far)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // MEGABYTE} MB", str(path))
    return content


def is_file(path: Path) -> bool:
    """Whether the path is a regular file and not a link."""
    return _has_kind(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Whether the path is a folder and not a link."""
    return _has_kind(path, stat.S_ISDIR)


def stays_below(name: str) -> bool:
    """Whether a path leads from a folder to that folder or below it, links left aside."""
    path = Path(name)
    return not path.anchor and ".." not in path.parts and "\0" not in name


def folder_below(folder: Path, name: str) -> Path | None:
    """The folder of a name that may come from others; None where it lies elsewhere, is a link or behind one."""
    path = folder / name
    there = stays_below(name) and all(map(is_folder, (path, *_between(folder, path))))
    return path if there else None


def is_empty_folder(path: Path) -> bool:
    """Whether the path is an empty folder and not a link."""
    if not is_folder(path):
        return False
    with os.scandir(path) as entries:
        return next(entries, None) is None


def _has_kind(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(os.lstat(path).st_mode)
    except (OSError, ValueError):  # the path has a null character, or is not valid text for this system
        return False


def listed(folder: Path, pattern: str, *, link: bool = False) -> list[Path]:
    """The regular files of a folder whose names match a pattern, sorted by name; none where there is no such folder.

    Args:
        folder: where they lie.
        pattern: such as "*.png".
        link: whether the folder may be a link, as one may that the user has named.
    """
    if not (folder.is_dir() if link else is_folder(folder)):
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    return [folder / name for name in sorted(fnmatch.filter(names, pattern))]


def refuse_holes(path: Path) -> None:
    """Refuse a large file nearly all of which is a hole that reads as zeros, and would fill the memory all the same.

    Raises:
        ValueError: it is one.
    """
    size, room = size_and_room(path)
    if size > _WITH_HOLES and size > _MOST_HOLES * room:
        raise ValueError("nearly all of it is a hole in the file, where weights would be")


def size_and_room(path: Path) -> tuple[int, int]:
    """Bytes of a file, and bytes that it takes on the disk: fewer where it has holes that read as zeros."""
    status = os.lstat(path)
    return status.st_size, machine.room_of(status)


# ---- writing --------------------------------------------------------------------------------------------


@contextmanager
def refusals_explained(path: Path, doing: str = "written") -> Iterator[None]:
    """While a file is used: what the system refuses is the user's to put right, and has the file's name.

    Raises:
        UserError: the disk is full, the folder is missing or not writable, or the path is something else than a file.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        refused = error if isinstance(error, OSError) else error.__context__  # PyTorch hides it behind its own
        if not isinstance(refused, OSError) or refused.strerror is None:  # Pillow raises one for what it cannot draw
            raise
        in_the_way = refused.strerror in (_LINK, _SPECIAL)
        raise UserError(
            f"{path} cannot be {doing}: {refused.strerror}.",
            "Take it away." if in_the_way else "See that the disk has room and that the folder may be written to.",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file to write to, which takes the place of `path` once all is written and on the disk.

    Where `path` is a link, it is the link that is replaced, and not what it leads to.

    Raises:
        UserError: the system refuses: the disk is full, or the folder is gone or closed to writing.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with refusals_explained(path):
            temporary.unlink(missing_ok=True)
            with _created(temporary) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            machine.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _created(path: Path) -> BinaryIO:
    """Open a file to write and to read that was not there before."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | machine.BINARY | machine.NOT_FOLLOWING
    return cast("BinaryIO", os.fdopen(os.open(path, flags, 0o666), "w+b"))


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file, in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def copy(source: Path, path: Path) -> None:
    """Write or replace a file with what another one holds."""
    with opened(source) as content, replacing(path) as file:
        shutil.copyfileobj(content, file, MEGABYTE)


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file, which is no link, a second name, in place of what had that; without hard links, make a copy."""
    temporary = path.with_name(f".writing-{path.name}")
    try:
        with refusals_explained(path):
            temporary.unlink(missing_ok=True)
            machine.link_or_copy(source, temporary)
            machine.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """Open a text file, in UTF-8, to add to its end, made if need be; what has another name too is copied first.

    Raises:
        UserError: the system refuses, or the path is a link, a FIFO, a socket or a device.
    """
    with refusals_explained(path), machine.once_more(lambda: _opened_to_append(path)) as file:
        yield file


@contextmanager
def continuing(path: Path, start: int) -> Iterator[BinaryIO]:
    """Open a file to write to from a byte on, made if need be; what it holds behind that byte is cut off.

    Raises:
        UserError: the system refuses, or the path is a link, a FIFO, a socket or a device.
    """
    flags = os.O_WRONLY | os.O_CREAT | machine.BINARY | machine.NOT_FOLLOWING | machine.WITHOUT_WAITING
    with refusals_explained(path), os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        _check_kind(path, os.fstat(file.fileno()))
        file.truncate(start)
        file.seek(start)
        yield file


def _opened_to_append(path: str | Path) -> TextIO:
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        _check_kind(path, status)
        if status.st_nlink > 1:  # another name of it, in a backup or anywhere else, keeps what it has
            if status.st_size > _LARGEST_TO_COPY:
                raise _refusal(path, "it has another name elsewhere, and is too large to be copied")
            copy(Path(path), Path(path))
    descriptor = os.open(
        path,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | machine.BINARY | machine.NOT_FOLLOWING | machine.WITHOUT_WAITING,
        0o666,
    )
    try:
        _check_kind(path, os.fstat(descriptor))
        return cast("TextIO", os.fdopen(descriptor, "a", encoding="utf-8"))
    except BaseException:
        os.close(descriptor)
        raise


class LogFile(logging.FileHandler):
    """Python's handler of a log file, which would follow a link and wait for a FIFO's reader."""

    def _open(self) -> TextIO:  # type: ignore[override]
        return _opened_to_append(self.baseFilename)


def made_folder(path: Path) -> Path:
    """Make a folder, its parents there already, and give it; a link to one is refused."""
    with refusals_explained(path, "made"):
        path.mkdir(exist_ok=True)
        if not is_folder(path):
            raise _refusal(path, _LINK)
    return path


def make_folders_to(output: Path, typed: str) -> None:
    """Make the folders on the way to what a command writes.

    Args:
        output: what it will write.
        typed: how that was typed, such as "output=a/b.png".

    Raises:
        UserError: they cannot be made.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{typed} cannot be written: {output.parent} is no folder, and cannot be made one.",
            f"Choose another path for {typed.partition('=')[0]}.",
        ) from error


def unused_folder(path: Path) -> Path:
    """Make a folder for a run or a sweep to begin in, with its parents: `path`, or where that is taken `path-2`.

    Raises:
        UserError: none can be made there.
    """
    for name in itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))):
        try:
            name.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"{name} cannot be made: {error.strerror}.",
                "Try hydra.run.dir=FOLDER (for a sweep hydra.sweep.dir=FOLDER) where files may be written.",
            ) from error
        return name
    raise AssertionError("never out of numbers")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder to write to, which is renamed to `path` at the end, or deleted after an error.

    Args:
        path: does not exist, or is an empty folder; its parent exists.

    Raises:
        UserError: the system refuses.
    """
    temporary = path.with_name(f".writing-{path.name}")
    with refusals_explained(path):
        if is_folder(temporary):  # of a process that was killed
            shutil.rmtree(temporary)
        temporary.mkdir()
    try:
        yield temporary
        with refusals_explained(path):
            with suppress(FileNotFoundError):
                path.rmdir()
            machine.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def set_aside(path: Path, why: str = "damaged") -> Path:
    """Give a file another name beside it that says why, and which no earlier one has; gives it back."""
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.{why}-{number}")):
        number += 1
    with refusals_explained(path, "set aside"):
        machine.replace(path, aside)
    return aside


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with refusals_explained(path, "removed"):
        path.unlink(missing_ok=True)
