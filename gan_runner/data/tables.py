"""MNIST and its like as Keras and Kaggle hand them on: an `.npz` of arrays, and CSV files."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_runner.data.locations import damaged, opened
from gan_runner.data.resources import megabytes, spare_memory
from gan_runner.data.splits import Split
from gan_runner.data.unread import came_instead

_SIDE = 28
_PIXELS = _SIDE**2
_LONGEST_LINE = 2**16  # bytes of a first line, which may name 785 columns
_PIECE = 2**20


def find(folder: Path, name: str, split: Split) -> Path | None:
    """The file of a set in a folder: `mnist.npz`, `mnist_train.csv` or `train.csv`, `mnist_test.csv` or `test.csv`.

    A CSV file counts where it has columns for a label and 28x28 pixels.

    Args:
        folder: where to look.
        name: what `data=` calls the set; a hyphen may stand for an underscore in a file's name.
        split: of which images.
    """
    names = dict.fromkeys((name, name.replace("_", "-")))
    files = [folder / f"{each}.npz" for each in names] + _csv_files(folder, name, split)
    return next((file for file in files if os.path.isfile(file) and _is_such(file)), None)


def _is_such(file: Path) -> bool:
    return file.suffix == ".npz" or len(_first_line(file)) == _PIXELS + 1


def without_labels(folder: Path, name: str) -> Path | None:
    """The CSV file of test images without labels, as Kaggle's competition has it; None where there is none."""
    return next((file for file in _csv_files(folder, name, "test") if len(_first_line(file)) == _PIXELS), None)


def read(root: str, path: Path, split: Split) -> tuple[Tensor, Tensor]:
    """Read a file that `find` gave.

    Returns:
        uint8 [N, 1, H, W] and int64 [N].

    Raises:
        UserError: the file cannot be read, or does not hold such images with a label each.
    """
    try:
        if path.suffix == ".npz":
            pixels, labels = _read_npz(path, split)
        else:
            pixels, labels = _read_csv(path)
        if len(pixels) == 0 or len(pixels) != len(labels):
            raise ValueError(f"it has {len(pixels):,} images and {len(labels):,} labels")
    except Exception as error:  # zipfile and NumPy raise many kinds
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise damaged(root, f"{path} cannot be read: {reason}") from error
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(labels.astype(np.int64))


def _csv_files(folder: Path, name: str, split: Split) -> list[Path]:
    stems = dict.fromkeys((f"{name}_{split}", f"{name.replace('_', '-')}_{split}", split))
    return [file for stem in stems if os.path.isfile(file := folder / f"{stem}.csv")]


def _first_line(file: Path) -> Sequence[str]:
    try:
        with opened(file) as content:
            line = content.readline(_LONGEST_LINE).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return ()
    return [field.strip().strip("\"'").lower() for field in line.split(",")]


def _label_column(fields: Sequence[str], rows: NDArray[np.uint8]) -> int:
    """Which column has the labels.

    Where none is named so it is the first one, or the last, if one value comes there less than half as often: a pixel
    in a corner has the background's value almost always.
    """
    if named := [number for number, field in enumerate(fields) if field in ("label", "class")]:
        return named[0]
    first, last = (np.bincount(rows[:, column]).max() for column in (0, _PIXELS))
    return _PIXELS if 2 * last < first else 0


def _read_csv(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    fields = _first_line(path)
    with opened(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > (spare := spare_memory()):
            raise ValueError(f"it has {megabytes(size)}, and there are {megabytes(spare)} to read it into")
        named = not fields[0].isdigit()
        rows = np.loadtxt(file, np.uint8, delimiter=",", skiprows=int(named), quotechar='"', ndmin=2)
    if rows.shape[1] != _PIXELS + 1:
        raise ValueError(f"it has {rows.shape[1]} columns, where a label and {_PIXELS} pixels are needed")
    column = _label_column(fields, rows)
    return np.delete(rows, column, axis=1).reshape(-1, _SIDE, _SIDE), rows[:, column]


def _read_npz(path: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
    with opened(path) as file:
        if instead := came_instead(file):
            raise ValueError(f"it {instead}")
        with zipfile.ZipFile(file) as archive:
            lacking = {f"{part}_{split}.npy" for part in "xy"} - set(archive.namelist())
            if lacking:
                names = ", ".join(sorted(name.removesuffix(".npy") for name in lacking))
                raise ValueError(f"it lacks {names}, where Keras' file has x_train, y_train, x_test and y_test")
            pixels = _array(archive, f"x_{split}", 3)
            if pixels.dtype != np.uint8:
                raise ValueError(f"x_{split} holds {pixels.dtype}, where uint8 is needed")
            return pixels.view(np.uint8), _array(archive, f"y_{split}", 1)


def _array(archive: zipfile.ZipFile, name: str, dimensions: int) -> NDArray[np.generic]:
    """Read an array of whole numbers, no more of which is unpacked than its header says."""
    with archive.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):  # the headers of others may have gigabytes
            raise ValueError(f"{name} has the header of an array with named fields")
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.kind not in "iu" or len(shape) != dimensions:
            raise ValueError(
                f"{name} is {dtype} {list(shape)}, where {dimensions} dimensions of whole numbers are needed"
            )
        if (size := math.prod(shape) * dtype.itemsize) > (spare := spare_memory()):
            raise ValueError(f"{name} takes {megabytes(size)}, and there are {megabytes(spare)} to read it into")
        content = bytearray()
        while len(content) < size:
            if not (piece := member.read(min(_PIECE, size - len(content)))):
                raise ValueError(f"{name} ends early")
            content += piece
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
