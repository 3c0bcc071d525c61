"""IDX files, the format of MNIST: a few bytes of header, then the numbers."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.locations import SHIPPED, damaged, existing_folder, opened
from gan_runner.data.resources import megabytes, spare_memory
from gan_runner.data.splits import Split, rows_of
from gan_runner.errors import UserError, printable
from gan_runner.ranges import Count, FractionBelowOne

_UNSIGNED_BYTES = 0x08
_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_NAMES_SHOWN = 5


_TEST_PREFIXES = ("t10k", "test")


def load(
    root: str, image_size: Count | None, limit: Count | None, split: Split = "train", holdout: FractionBelowOne = 0.0
) -> InMemoryImages:
    """Load the images, and the labels where there are some, of a folder of IDX files.

    The images are in `train-images-idx3-ubyte`, or else in the only file whose name ends in
    `images-idx3-ubyte`; the labels in the file named the same but for `labels-idx1`. A dot may stand before
    `idx`, and `.gz` may follow. The test split is in files whose names start with `t10k` or `test` instead of
    `train`, unless a share of the training images is held out.

    Args:
        root: the folder; `~` is the home folder.
        image_size: height and width in pixels to draw the images at; None keeps them as they are.
        limit: number of training images to take, see `rows_within_limit`; None takes all.
        split: the images that train, or those for tests.
        holdout: the share of the training images to hold out, every k-th; see `gan_runner.data.splits`.

    Raises:
        UserError: there is no such folder, no such file in it, or a file is damaged.
        NoTestSplitError: the test split is asked for, there are no test files, and nothing is held out.
    """
    folder = existing_folder(root)
    images = _file(folder, "train", "images") or _only_images(root, folder)
    tests = _test_images(folder, images) if split == "test" and holdout == 0 else None
    pixels, numbers = _read_with_labels(root, folder, tests or images)
    classes = () if numbers is None else tuple(str(number) for number in range(int(numbers.max()) + 1))
    if tests is None:
        rows = rows_of(len(pixels), holdout, split, "idx")
        pixels, numbers = pixels[rows], None if numbers is None else numbers[rows]
    return prepared("idx", pixels, numbers, classes, image_size, limit if split == "train" else None)


def _read_with_labels(root: str, folder: Path, images: Path) -> tuple[Tensor, Tensor | None]:
    prefix = images.name[: images.name.index("images")].rstrip("-")
    return read_pair(root, images, _file(folder, prefix, "labels"))


def _test_images(folder: Path, training: Path) -> Path | None:
    """The file of the test images, None where there is none besides the one that trains."""
    found = (_file(folder, prefix, "images") for prefix in _TEST_PREFIXES)
    return next((path for path in found if path not in (None, training)), None)


def pair(folder: Path, prefix: str) -> tuple[Path | None, Path | None]:
    """The files of the images and labels in a folder whose names start so, each None where there is none."""
    return _file(folder, prefix, "images"), _file(folder, prefix, "labels")


def read_pair(root: str, images: Path, labels: Path | None) -> tuple[Tensor, Tensor | None]:
    """Read a file of grey images and, where there is one, the file of their labels.

    Args:
        root: what `data.root` is, for errors to say.
        images: a file of three dimensions: image, row, column.
        labels: a file of one dimension.

    Returns:
        uint8 [N, 1, H, W] and int64 [N].

    Raises:
        UserError: a file is damaged, empty, of other dimensions, or the two differ in length.
    """
    try:
        pixels = read_idx(images, 3)[:, None]
        numbers = None if labels is None else read_idx(labels, 1, len(pixels)).long()
    except ValueError as error:
        raise damaged(root, str(error)) from error
    return pixels, numbers


def read_idx(path: Path, dimensions: Count, length: Count | None = None) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not.

    No more is read, unpacked or taken of memory than the header promises, and nothing where that is more than there is.

    Args:
        path: the file.
        dimensions: how many it must have.
        length: how long the first of them must be; None takes any.

    Returns:
        uint8, of the shape that the file states.

    Raises:
        ValueError: the file cannot be read, is no such file, or not a whole one, or is empty; the message names it.
    """
    try:
        with opened(path) as packed:
            zipped = packed.read(len(_GZIP)) == _GZIP
            packed.seek(0)
            return _numbers(path, cast("BinaryIO", gzip.open(packed)) if zipped else packed, dimensions, length)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error


def _numbers(path: Path, file: BinaryIO, dimensions: int, length: int | None) -> Tensor:
    start = _read(file, 4)
    if len(start) < 4 or start[:2] != b"\0\0":
        raise ValueError(f"{path} is no IDX file: it does not open with two zero bytes, a type and a rank")
    if start[2] != _UNSIGNED_BYTES:
        raise ValueError(f"{path} holds numbers of type 0x{start[2]:02x}, where unsigned bytes, 0x08, are needed")
    if start[3] != dimensions:
        raise ValueError(f"{path} has {start[3]} dimensions, where {dimensions} are needed")
    lengths = _read(file, 4 * dimensions)
    header = 4 + 4 * dimensions
    if len(lengths) < 4 * dimensions:
        raise ValueError(f"{path} ends after {4 + len(lengths)} of {header} bytes")
    shape = np.frombuffer(lengths, dtype=">u4").tolist()
    size = math.prod(shape)
    if size == 0:
        raise ValueError(f"{path} is empty: its dimensions are {shape}")
    if length is not None and shape[0] != length:
        raise ValueError(f"{path} has {shape[0]:,} entries, where {length:,} are needed")
    if size > (spare := spare_memory()):
        raise ValueError(f"{path} promises {megabytes(size)}, and there are {megabytes(spare)} to read it into")
    numbers = np.empty(size, dtype=np.uint8)
    filled = 0
    while piece := _piece(file, size - filled):
        numbers[filled : filled + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        filled += len(piece)
    if filled < size:
        raise ValueError(f"{path} ends after {header + filled:,} of {header + size:,} bytes")
    if _piece(file, 1):
        raise ValueError(f"{path} goes on beyond the {header + size:,} bytes that its header promises")
    return torch.from_numpy(numbers.reshape(shape))


def _read(file: BinaryIO, count: int) -> bytes:
    """So many bytes, or as many as there are."""
    content = b""
    while piece := _piece(file, count - len(content)):
        content += piece
    return content


def _piece(file: BinaryIO, most: int) -> bytes:
    """Some bytes, none at the end; few enough at a time that an interrupt is heeded soon."""
    try:
        piece: bytes = file.read1(min(most, _PIECE))  # type: ignore[attr-defined]
    except EOFError:  # a gzipped file breaks off, and all that there was has been read
        return b""
    return piece


def _file(folder: Path, prefix: str, content: str) -> Path | None:
    """The file of `content`, images or labels, under whichever of its names it goes; unpacked ones first."""
    rank = {"images": 3, "labels": 1}[content]
    stem = f"{prefix}-{content}" if prefix else content
    names = [f"{stem}{mark}idx{rank}-ubyte{packing}" for packing in ("", ".gz") for mark in "-."]
    # Unlike Path.is_file, this takes a folder that may not be read for one without the file.
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def _only_images(root: str, folder: Path) -> Path:
    found = _regular(folder.glob("*images[-.]idx3-ubyte")) or _regular(folder.glob("*images[-.]idx3-ubyte.gz"))
    if len(found) == 1:
        return found[0]
    some = ", ".join(printable(path.name) for path in found[:_NAMES_SHOWN])
    names = f"several: {some}" if found else "no file named *images-idx3-ubyte"
    raise UserError(
        f"data.root is {root}, but it holds {names}, where one file of images is needed.",
        f"Name it train-images-idx3-ubyte(.gz), try data.root=FOLDER with another one, or {SHIPPED}",
    )


def _regular(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if os.path.isfile(path))
