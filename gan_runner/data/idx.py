"""IDX files, the format of MNIST: a few bytes of header, then the numbers."""

from __future__ import annotations

import gzip
import logging
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from gan_runner.data import other_forms
from gan_runner.data.decoding import ImageSize
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.locations import SHIPPED, damaged, existing_folder, opened
from gan_runner.data.notes import tell
from gan_runner.data.resources import megabytes, spare_memory
from gan_runner.data.splits import Split, rows_of
from gan_runner.data.unread import came_instead
from gan_runner.errors import UserError, printable
from gan_runner.machine.shell import quoted
from gan_runner.ranges import Count, FractionBelowOne

_UNSIGNED_BYTES = 0x08
_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_NAMES_SHOWN = 5


def load(
    root: str,
    image_size: ImageSize | None,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
    prefix: str | None = None,
    transpose: bool = False,
) -> InMemoryImages:
    """Load the images, and the labels where there are some, of a folder of IDX files.

    The images are in `PREFIX-images-idx3-ubyte`, the labels in the file named the same but for `labels-idx1`. A dot
    may stand before `idx`, and `.gz` may follow; a file may lie in a folder of its own name. The test split is in
    files whose names have `t10k` or `test` where the others have `train`, unless a share of the training images is held
    out. Classes are the values that occur among the training labels, in ascending order, and are named by them.

    Args:
        root: the folder; `~` is the home folder.
        image_size: height and width in pixels to draw the images at; None keeps them as they are.
        limit: number of training images to take, see `rows_within_limit`; None takes all.
        split: the images that train, or those for tests.
        holdout: the share of the training images to hold out, every k-th; see `gan_runner.data.splits`.
        prefix: what the names of the training files start with, such as `emnist-letters-train`; None is `train`, or
            else the prefix of the only set in the folder.
        transpose: swap rows and columns of every image, as those of EMNIST need it.

    Raises:
        UserError: there is no such folder, no such file in it, or a file is damaged.
        NoTestSplitError: the test split is asked for, there are no test files, and nothing is held out.
    """
    folder = existing_folder(root)
    prefix = _training_prefix(root, folder, prefix)
    tests = _test_prefix(folder, prefix) if split == "test" and holdout == 0 else None
    pixels, numbers = _read_set(root, folder, prefix if tests is None else tests)
    classes: tuple[str, ...] = ()
    if numbers is not None:
        values = numbers if tests is None else _training_labels(root, folder, prefix, numbers)
        numbers, classes = _by_class(root, numbers, values.unique())
    if tests is None:
        rows = rows_of(len(pixels), holdout, split, "idx")
        pixels, numbers = pixels[rows], None if numbers is None else numbers[rows]
    if transpose:
        pixels = pixels.mT.contiguous()
    elif split == "train" and "emnist" in prefix.lower():
        tell(["data: EMNIST's images lie on their side; data.transpose=true turns them upright."], logging.INFO)
    return prepared("idx", pixels, numbers, classes, image_size, limit if split == "train" else None)


def _read_set(root: str, folder: Path, prefix: str) -> tuple[Tensor, Tensor | None]:
    images, labels = pair(folder, prefix)
    assert images is not None, "the prefix is that of a file of images"
    return read_pair(root, images, labels)


def _training_labels(root: str, folder: Path, prefix: str, otherwise: Tensor) -> Tensor:
    """The labels that training images have, int64 [N]; `otherwise` where they have none."""
    labels = _file(folder, prefix, "labels")
    if labels is None:
        return otherwise
    try:
        return read_idx(labels, 1).long()
    except ValueError as error:
        raise damaged(root, str(error)) from error


def _by_class(root: str, labels: Tensor, values: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """The rank of each label, int64 [N], among the ascending values that training labels have, and their names."""
    classes = torch.searchsorted(values, labels).clamp(max=len(values) - 1)
    if (strange := labels[values[classes] != labels]).numel():
        raise damaged(root, f"the test images have the label {int(strange[0])}, which no training image has")
    return classes, tuple(str(value) for value in values.tolist())


def _test_prefix(folder: Path, training: str) -> str | None:
    """What the names of the test files start with; None where there are none besides those that train."""
    return next((prefix for prefix in _test_prefixes(training) if _file(folder, prefix, "images")), None)


def _test_prefixes(training: str) -> list[str]:
    before, train, after = training.rpartition("train")
    return [f"{before}{test}{after}" for test in ("t10k", "test")] if train else []


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
            if instead := came_instead(packed):
                raise ValueError(f"{path} {instead}")
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
        raise ValueError(f"{path} continues beyond the {header + size:,} bytes that its header promises")
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
    return next((file for name in names if (file := _regular(folder / name))), None)


def _regular(path: Path) -> Path | None:
    """The file of this path, or the file of the same name inside a folder of that name, as Kaggle packs them."""
    # Unlike Path.is_file, this takes a folder that may not be read for one without the file.
    return next((file for file in (path, path / path.name) if os.path.isfile(file)), None)


def prefixes(folder: Path) -> list[str]:
    """What the names of the sets of a folder start with, sorted; those of test files only where they lie alone."""
    marks = [f"*images[-.]idx3-ubyte{packing}" for packing in ("", ".gz")]
    files = {path.name for mark in marks for path in folder.glob(mark) if _regular(path)}
    found = {name[: name.index("images")].rstrip("-") for name in files}
    return sorted(found - {test for prefix in found for test in _test_prefixes(prefix)})


def _training_prefix(root: str, folder: Path, asked: str | None) -> str:
    prefix = "train" if asked is None else asked
    if _file(folder, prefix, "images"):
        return prefix
    found = prefixes(folder)
    if asked is None and len(found) == 1:
        return found[0]
    some = ", ".join(printable(name or "images") for name in found[:_NAMES_SHOWN])
    if len(found) > _NAMES_SHOWN:
        some += f" and {len(found) - _NAMES_SHOWN} more"
    if asked is not None:
        there = f": the sets there are {some}" if found else ""
        raise UserError(
            f"data.prefix is {asked}, but {root} holds no {printable(asked)}-images-idx3-ubyte{there}.",
            f"Try data.prefix={quoted(found[0])}." if found else f"Try data.root=FOLDER with another one, or {SHIPPED}",
        )
    if found:
        turned = " data.transpose=true" if "emnist" in found[0].lower() else ""
        raise UserError(
            f"data.root is {root}, but it holds several sets: {some}.",
            f"Name the one to train on by the beginning of its file names: data.prefix={quoted(found[0])}{turned}",
        )
    raise other_forms.what_lies_there("idx", root) or UserError(
        f"data.root is {root}, but it holds no file named *images-idx3-ubyte, where one file of images is needed.",
        f"Name it train-images-idx3-ubyte(.gz), try data.root=FOLDER with another one, or {SHIPPED}",
    )
