"""What lies below a folder, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gan_runner.data.decoding import SUFFIXES
from gan_runner.data.unread import looks_like_picture
from gan_runner.errors import UserError

_OF_SYSTEMS = frozenset(
    {
        "__macosx",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
        "icon\r",
    }
)
"""What file managers, archivers and disks lay beside a user's files, small copies of images among it."""


class Listing(NamedTuple):
    """What lies below a folder, hidden files and those of the system left out; paths from there, with forward slashes.

    Attributes:
        pictures: files that end as images do that can be read, or have no ending and begin as such; sorted.
        others: all other files, by their ending in small letters.
        folders: all folders, each with a slash at its end.
    """

    pictures: Sequence[str]
    others: dict[str, list[str]]
    folders: Sequence[str]


def listing_of(root: Path, key: str = "data.root") -> Listing:
    """List what lies below a folder; links are followed, and each folder is looked into once.

    Args:
        root: the folder.
        key: the setting that names it.

    Raises:
        UserError: a folder cannot be read.
    """
    pictures: list[str] = []
    others: dict[str, list[str]] = {}
    visited: set[tuple[int, int]] = set()
    folders, all_folders = [""], []  # and not a call inside a call, for folders may lie deeper than those go
    while folders:
        folder = folders.pop()
        for entry in _entries(root / folder, visited, key):
            name = f"{folder}{entry.name}"
            if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                continue
            if _is_folder(entry):
                folders.append(f"{name}/")
                all_folders.append(f"{name}/")
                continue
            ending = os.path.splitext(entry.name)[1].lower().strip()
            if ending in SUFFIXES or (not ending and looks_like_picture(root / name)):
                pictures.append(name)
            else:
                others.setdefault(ending, []).append(name)
    return Listing(sorted(pictures), others, sorted(all_folders))


def _entries(folder: Path, visited: set[tuple[int, int]], key: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it was visited before, as a link that leads above itself would have it."""
    try:
        status = os.stat(folder)
        if (identity := (status.st_dev, status.st_ino)) in visited:
            return []
        visited.add(identity)
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{key} holds {folder}, which cannot be read: {error.strerror}.",
            f"Change the folder's permissions, or try {key}=FOLDER with another one.",
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads to itself
        return False
