"""Checks that a run's or sweep's folder holds only files and folders, before anything in it is opened.

A link could lead what a run reads or writes to any file of the user's, and a FIFO or a device could keep it waiting for
ever. `gan_runner.files` refuses each of them where it is opened; here all are refused at once, and with one message,
also those that a library would open, such as TensorBoard's files. PyTorch is not imported here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gan_runner.errors import UserError

_FOLDERS_OF_A_RUN = (".hydra", "checkpoints", "samples")
_FILES_OF_A_RUN = re.compile(
    r"gan-run\.log|summary\.json|metrics(\.abandoned)?\.jsonl|(events\.out\.tfevents\.|evaluation-).*"
)
_MOST = 1_000_000  # files and folders of a sweep


def check_run(folder: Path, key: str) -> None:
    """Check the files that a run reads and writes in its folder; other files are ignored.

    Args:
        folder: the run's; it may itself be a link, because the user has named it.
        key: what it was typed as, for the message.

    Raises:
        UserError: something is neither a file nor a folder; or a folder cannot be looked into.
    """
    for entry in _entries(folder, key):
        if entry.name in _FOLDERS_OF_A_RUN or _FILES_OF_A_RUN.fullmatch(entry.name):
            _check(folder, entry, key)
        if entry.name in _FOLDERS_OF_A_RUN and entry.is_dir(follow_symlinks=False):
            for inner in _entries(Path(entry.path), key):
                _check(folder, inner, key)


def check_sweep(folder: Path, key: str) -> None:
    """Check everything in and below a sweep's folder, in which any name may be a job's.

    Args:
        folder: the sweep's; it may itself be a link, and it need not be there.
        key: what it was typed as, for the message.

    Raises:
        UserError: something is neither a file nor a folder; or a folder cannot be read; or there are too many files.
    """
    waiting, count = [folder] if folder.is_dir() else [], 0
    while waiting:
        for entry in _entries(waiting.pop(), key):
            _check(folder, entry, key)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            count += 1
        if count > _MOST:
            raise UserError(
                f"{key} is {folder}, but it holds more than {_MOST:,} files.", f"Try {key} with another folder."
            )


def check_way_to(path: Path, folder: Path, key: str) -> None:
    """Check the folders between a run's or sweep's folder and a path to be written below it.

    Args:
        path: the path to be written; outside of `folder` links are allowed, because the user has chosen the path.
        folder: the run's or the sweep's.
        key: what `path` was typed as, for the message.

    Raises:
        UserError: one of the folders is a link.
    """
    path, folder = (Path(os.path.abspath(each)) for each in (path, folder))
    if not path.is_relative_to(folder):
        return
    for place in [path, *path.parents][: len(path.parts) - len(folder.parts)]:
        if place.is_symlink():
            raise _unlike(f"{key} is {path}", place, f"a link to {os.path.realpath(place)}")


def _entries(folder: Path, key: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise UserError(
            f"{key} is {folder}, but that folder cannot be read: {error.strerror}.", "Restore its permissions."
        ) from error


def _check(folder: Path, entry: os.DirEntry[str], key: str) -> None:
    if entry.is_symlink():
        raise _unlike(f"{key} is {folder}", Path(entry.path), f"a link to {os.path.realpath(entry.path)}")
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file(follow_symlinks=False):
        raise _unlike(f"{key} is {folder}", Path(entry.path), "a FIFO, a socket or a device")


def _unlike(chosen: str, place: Path, what: str) -> UserError:
    return UserError(
        f"{chosen}, but {place} is {what}, and a run reads and writes only in its own folder.",
        "Replace it by the file or folder itself, or remove it.",
    )
