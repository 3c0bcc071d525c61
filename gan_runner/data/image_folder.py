"""A folder of pictures: PNG, JPEG, WebP or BMP, nested or not, of any sizes."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_runner.bars import Bar
from gan_runner.data.decoding import FORMATS, SUFFIXES, Channels, Pixels, check_header, check_room, read_picture
from gan_runner.data.image_set import labels_as_condition, within_limit
from gan_runner.data.locations import SHIPPED, existing_folder, opened
from gan_runner.data.parallel import counting, in_chunks
from gan_runner.data.splits import Split, rows_of
from gan_runner.errors import UserError, printable
from gan_runner.machine.cores import cores
from gan_runner.ranges import Count, FractionBelowOne

_log = logging.getLogger(__name__)

READ_ALL_UP_TO = 20_000
"""Pictures in a folder of at most this many are read whole, to be checked and for the fingerprint."""

_BROKEN_IN_A_ROW = 100
_COPIES = 8  # of a picture, in bytes a pixel: what its decoding and scaling take beside each other
_PIECE = 2**20  # bytes to hash at a time, so that an interrupt is heeded soon


def load(
    root: str,
    image_size: Count,
    channels: Channels,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> FolderImages:
    """Find the pictures below a folder, in the order of their names.

    The folders directly below `root` are the classes; where there are none, the set has no labels, and neither
    where pictures lie beside them, which a warning says. Broken pictures are named in a warning and left out.

    Args:
        root: the folder; `~` is the home folder.
        image_size: height and width in pixels that each picture is scaled and cropped to.
        channels: 1 for grey, 3 for colour.
        limit: look at the first so many training files only; None looks at all.
        split: the pictures that train, or those that are held out.
        holdout: the share to hold out, every k-th file by name; see `gan_runner.data.splits`.

    Raises:
        UserError: there is no such folder, it cannot be read, or it holds no picture that can.
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    folder = existing_folder(root)
    found = _picture_files(folder)
    if found:
        found = [found[row] for row in rows_of(len(found), holdout, split, "image_folder").tolist()]
        found = found[: within_limit(len(found), limit if split == "train" else None)]
    check_room(_COPIES * cores(), channels, image_size)
    files = _usable(folder, found, image_size, channels)
    if not files:
        raise UserError(
            f"data.root is {root}, but no picture below it can be used: "
            f"{len(found):,} files end in {', '.join(sorted(SUFFIXES))}"
            + (", and none of them can be read." if found else "."),
            f"Put {', '.join(FORMATS)} pictures there, or try {SHIPPED}",
        )
    return FolderImages(folder, files, image_size, channels)


class FolderImages:
    """Pictures on disk that are decoded whenever they are asked for (an `ImageSet`).

    A picture that turns out broken only then does not end a run: the next one in the order of names that can
    be read takes its place, always the same, and a warning names it once.

    Args:
        root: the folder that the names in `files` start from.
        files: relative paths with forward slashes.
        image_size: height and width in pixels.
        channels: 1 for grey, 3 for colour.
    """

    name = "image_folder"

    def __init__(self, root: Path, files: Sequence[str], image_size: Count, channels: Channels) -> None:
        self.shape = (channels, image_size, image_size)
        self._root = root
        self._files = files
        self._decode = partial(read_picture, size=image_size, channels=channels)
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self.labels, self.classes = _classes(files)
        self.fingerprint = self._hash()

    def __len__(self) -> int:
        return len(self._files)

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`; warns of pictures that turn out broken. Several threads may call it at once."""
        pixels = np.empty((len(indices), *self.shape), dtype=np.uint8)  # see read_picture
        for row, index in enumerate(indices.tolist()):
            pixels[row] = self._read_or_next(index)
        return torch.from_numpy(pixels)

    def conditions(self, indices: Tensor) -> dict[str, Tensor]:
        """See `ImageSet`."""
        return labels_as_condition(self.labels, indices)

    def _read_or_next(self, index: int) -> Pixels:
        broken: list[str] = []
        for candidate in range(index, index + _BROKEN_IN_A_ROW):
            path = self._root / self._files[candidate % len(self._files)]
            try:
                pixels = self._decode(path)
            except Exception as error:  # see _complaint_of
                broken.append(_complaint(path, error))
            else:
                self._tell(broken)
                return pixels
        raise UserError(
            f"data.root no longer holds what it did: {_BROKEN_IN_A_ROW} pictures in a row cannot be read, "
            f"the last with: {broken[-1]}.",
            "See that the folder is still there and whole, then go on with resume=DIR.",
        )

    def _tell(self, broken: Sequence[str]) -> None:
        """Warn of broken pictures, of each once."""
        with self._telling:
            for sentence in broken:
                if sentence not in self._told:
                    self._told.add(sentence)
                    _warn(f"{sentence}; the next picture takes its place.")

    def _hash(self) -> str:
        """A hash of the pictures' names, sizes in bytes and contents, and the shape they are drawn in.

        Of more than `READ_ALL_UP_TO` pictures, that many at even distances lend their contents.
        """
        digest = hashlib.sha256(repr(self.shape).encode())
        every = math.ceil(len(self._files) / READ_ALL_UP_TO)
        with counting(len(self._files), "hashed") as done:
            for number, name in enumerate(self._files):
                try:
                    self._hash_file(digest, name, contents=number % every == 0)
                except OSError as error:
                    raise UserError(
                        f"data.root no longer holds what it did: {name} cannot be read: {error.strerror or error}.",
                        "See that the folder is still there and that nobody changes it, then try again.",
                    ) from error
                done(1)
        return digest.hexdigest()[:16]

    def _hash_file(self, digest: hashlib._Hash, name: str, contents: bool) -> None:
        with opened(self._root / name) as file:
            digest.update(os.fsencode(name) + f"\0{os.fstat(file.fileno()).st_size}\0".encode())
            while contents and (piece := file.read(_PIECE)):
                digest.update(piece)


def _picture_files(root: Path) -> list[str]:
    """Sorted relative names of what ends like a picture below `root`; not of hidden files."""
    names = []
    visited: set[tuple[int, int]] = set()
    folders = [""]  # and not a call inside a call, for folders may lie deeper than those go
    while folders:
        folder = folders.pop()
        for entry in _entries(root / folder, visited):
            name = f"{folder}{entry.name}"
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(f"{name}/")
            elif os.path.splitext(name)[1].lower() in SUFFIXES:
                names.append(name)
    return sorted(names)


def _entries(folder: Path, visited: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
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
            f"data.root holds {folder}, which cannot be read: {error.strerror}.",
            "Change the folder's permissions, or try data.root=FOLDER with another one.",
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link that leads to itself
        return False


def _usable(root: Path, files: Sequence[str], size: int, channels: Channels) -> list[str]:
    """Those of `files` that are whole pictures, as far as is cheap to say; a warning names each other one."""
    decode = partial(read_picture, size=size, channels=channels)
    # Of very many, only the headers are read.
    check = decode if len(files) <= READ_ALL_UP_TO else check_header

    def complaints(names: Sequence[str]) -> list[str | None]:
        return [_complaint_of(check, root / name) for name in names]

    usable = []
    for start, told in in_chunks(complaints, files, "checked"):
        for name, complaint in zip(files[start : start + len(told)], told, strict=True):
            if complaint is None:
                usable.append(name)
            else:
                _warn(f"{complaint}; it is left out.")
    return usable


def _warn(sentence: str) -> None:
    with Bar.external_write_mode():  # or the line would begin where the bar ends
        _log.warning("%s", sentence)


def _complaint_of(check: Callable[[Path], object], path: Path) -> str | None:
    try:
        check(path)
    except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error
        return _complaint(path, error)
    return None


def _complaint(path: Path, error: Exception) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return f"{printable(path)} is no picture that can be read: {printable(reason)}"


def _classes(files: Sequence[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels and classes from the first folder in each name; none, and a warning, when a picture lies beside them."""
    folders = [name.split("/")[0] if "/" in name else None for name in files]
    classes = sorted({folder for folder in folders if folder is not None})
    if not classes:
        return None, ()
    if None in folders:
        loose = files[folders.index(None)]
        one, other = printable(loose), printable(classes[0])
        _warn(f"{one} lies beside folders such as {other}, so that no picture has a class.")
        return None, ()
    numbers: dict[str | None, int] = {folder: number for number, folder in enumerate(classes)}
    return torch.tensor([numbers[folder] for folder in folders]), tuple(map(printable, classes))
