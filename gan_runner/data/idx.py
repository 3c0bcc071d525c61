"""IDX files, the format of MNIST: a few bytes of header, then the numbers."""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.locations import SHIPPED, damaged, existing_folder
from gan_runner.data.splits import Split, rows_of
from gan_runner.errors import UserError
from gan_runner.ranges import Count, FractionBelowOne

_UNSIGNED_BYTES = 0x08
_GZIP = b"\x1f\x8b"


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
        limit: number of training images to take, from the first; None takes all.
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
        pixels = _read_dimensions(images, 3)[:, None]
        numbers = None if labels is None else _read_dimensions(labels, 1).long()
    except (ValueError, OSError, zlib.error) as error:
        raise damaged(root, str(error)) from error
    if numbers is not None and len(numbers) != len(pixels):
        raise damaged(root, f"{labels} holds {len(numbers):,} labels for the {len(pixels):,} images of {images}")
    return pixels, numbers


def read_idx(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Returns:
        uint8, of the shape that the file states.

    Raises:
        ValueError: the file is no such file, or not a whole one; the message names it.
        OSError: the file cannot be read.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{path} is no IDX file: it does not open with two zero bytes, a type and a rank")
    if content[2] != _UNSIGNED_BYTES:
        raise ValueError(f"{path} holds numbers of type 0x{content[2]:02x}, where unsigned bytes, 0x08, are needed")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], dtype=">u4").tolist() if len(content) >= header else [0]
    expected = header + math.prod(shape)
    if len(content) < expected:
        raise ValueError(f"{path} ends after {len(content):,} of {expected:,} bytes")
    if len(content) > expected:
        raise ValueError(f"{path} goes on for {len(content):,} bytes, where its header promises {expected:,}")
    return torch.tensor(np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape))


def _read_dimensions(path: Path, dimensions: int) -> Tensor:
    numbers = read_idx(path)
    if numbers.dim() != dimensions:
        raise ValueError(f"{path} has {numbers.dim()} dimensions, where {dimensions} are needed")
    if numbers.numel() == 0:
        raise ValueError(f"{path} is empty: its dimensions are {list(numbers.shape)}")
    return numbers


def _content(path: Path) -> bytes:
    """What is in a file, unpacked if it is gzipped; where that breaks off, as much as there is."""
    raw = path.read_bytes()
    if not raw.startswith(_GZIP):
        return raw
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(raw)
    except zlib.error as error:
        raise ValueError(f"{path} cannot be unpacked: {error}") from error


def _file(folder: Path, prefix: str, content: str) -> Path | None:
    """The file of `content`, images or labels, under whichever of its names it goes; unpacked ones first."""
    rank = {"images": 3, "labels": 1}[content]
    stem = f"{prefix}-{content}" if prefix else content
    names = [f"{stem}{mark}idx{rank}-ubyte{packing}" for packing in ("", ".gz") for mark in "-."]
    # Unlike Path.is_file, this takes a folder that may not be read for one without the file.
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def _only_images(root: str, folder: Path) -> Path:
    found = sorted(folder.glob("*images[-.]idx3-ubyte")) or sorted(folder.glob("*images[-.]idx3-ubyte.gz"))
    if len(found) == 1:
        return found[0]
    names = "no file named *images-idx3-ubyte" if not found else f"several: {', '.join(p.name for p in found)}"
    raise UserError(
        f"data.root is {root}, but it holds {names}, where one file of images is needed.",
        f"Name it train-images-idx3-ubyte(.gz), try data.root=FOLDER with another one, or {SHIPPED}",
    )
