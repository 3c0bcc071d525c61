"""Pictures that any program wrote: a folder of PNG files, or an `.npz` of one array."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.parallel import in_chunks
from gan_runner.errors import UserError
from gan_runner.files import opened
from gan_runner.machine.files import at_home
from gan_runner.record.pictures import opened_png

_LARGEST = 2**32  # bytes of decoded pictures
_CHANNELS = {"L": 1, "RGB": 3}
_ARRAY = "arr_0"
_CHUNK = 2**20  # bytes that are unpacked at once


def read_samples(path: str, shape: tuple[int, int, int]) -> Tensor:
    """Read generated pictures, which have to be of the shape that the real ones have.

    Args:
        path: a folder of grey or RGB PNG files, in the order of their names, or an `.npz` whose `arr_0` is uint8
            [N, H, W, C] in 0 to 255; `~` is the home folder.
        shape: channels, height and width of the real pictures.

    Returns:
        uint8 [N, C, H, W], N at least 1.

    Raises:
        UserError: there is nothing of the kind, or its pictures are of another shape, type or range.
    """
    place = Path(at_home(path))
    if place.is_dir():
        images = _read_folder(path, place, shape)
    elif place.is_file() and place.suffix == ".npz":
        images = _read_array(path, place, shape)
    else:
        what = "that is a file of another kind" if place.exists() else "there is no such file or folder"
        raise UserError(f"samples is {path}, but {what}.", "Give a folder of PNG files, or a file that ends in .npz.")
    if int(images.max()) <= 1:
        raise _unlike(
            path,
            f"no pixel is above {int(images.max())}, where they go from 0 to 255",
            "Multiply the pictures by 255 before they are written, or draw from a network that has learned something.",
        )
    return images


def _read_folder(path: str, folder: Path, shape: tuple[int, int, int]) -> Tensor:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".png" and not file.name.startswith("."))
    if not files:
        raise _unlike(path, "it holds no PNG files", "Give the folder that they lie in, or an .npz.")
    _check_size(path, len(files), shape)

    def read(some: Sequence[Path]) -> Tensor:
        return torch.stack([_read_png(path, file, shape) for file in some])

    return torch.cat([chunk for _, chunk in in_chunks(read, files, "read")])


def _read_png(path: str, file: Path, shape: tuple[int, int, int]) -> Tensor:
    try:
        with opened_png(file, links=True) as picture:
            channels = _CHANNELS.get(picture.mode)
            if channels is None:
                raise _unlike(
                    path,
                    f"{file.name} is a PNG of mode {picture.mode}, where grey (L) or RGB are needed",
                    f"Convert the pictures to {'RGB' if shape[0] == 3 else 'grey'} without transparency.",
                )
            _check_shape(path, file.name, (channels, picture.height, picture.width), shape)
            pixels = np.array(picture)
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise _unlike(path, f"{file.name} cannot be read: {error}", "Write the pictures anew, or remove it.") from error
    return torch.from_numpy(pixels).reshape(shape[1], shape[2], shape[0]).permute(2, 0, 1)


def _read_array(path: str, file: Path, shape: tuple[int, int, int]) -> Tensor:
    try:
        with opened(file, links=True) as content, zipfile.ZipFile(content) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename in (_ARRAY, f"{_ARRAY}.npy")]
            if len(entries) > 1:
                raise ValueError(f"it has {len(entries)} entries for {_ARRAY}")
            if entries:
                return _array(path, archive, entries[0], shape)
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds
        raise _unlike(path, f"it cannot be read: {error}", "Write it anew with numpy.savez(PATH, images).") from error
    raise _unlike(path, f"it has no array {_ARRAY}", "Write it with numpy.savez(PATH, images), without a name.")


def _array(path: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, shape: tuple[int, int, int]) -> Tensor:
    """Read an array of pictures, no more of which is unpacked than its header says, once that has been checked."""
    with archive.open(entry) as member:
        if np.lib.format.read_magic(member) != (1, 0):  # the headers of others may have gigabytes
            raise ValueError("it has the header of an array with named fields")
        found, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
        _check_array(path, found, dtype, shape)
        content = bytearray()
        while len(content) < math.prod(found):
            if not (chunk := member.read(min(_CHUNK, math.prod(found) - len(content)))):
                raise ValueError("it ends early")
            content += chunk
    pixels = np.frombuffer(content, np.uint8)
    return torch.from_numpy(pixels.reshape(found, order="F" if by_columns else "C")).permute(0, 3, 1, 2).contiguous()


def _check_array(path: str, found: tuple[int, ...], dtype: np.dtype[np.generic], shape: tuple[int, int, int]) -> None:
    layout = f"{_ARRAY} is {dtype} {list(found)}, where uint8 [N, height, width, channels] is needed"
    if dtype != np.uint8:
        remedy = "Save uint8 from 0 to 255; of floats in [-1, 1] that is numpy.rint(x * 127.5 + 127.5).astype('uint8')."
        raise _unlike(path, layout, remedy)
    if len(found) != 4:
        raise _unlike(path, layout, "Reshape the array; grey pictures have one channel at the end: x[..., None].")
    if found[1:] == shape and shape[0] != shape[2]:
        raise _unlike(path, layout, "Move the channels to the end: x.transpose(0, 2, 3, 1).")
    if found[0] == 0:
        raise _unlike(path, f"{_ARRAY} is empty", "Draw some pictures.")
    _check_shape(path, _ARRAY, (found[3], found[1], found[2]), shape)
    _check_size(path, found[0], shape)


def _check_shape(path: str, name: str, found: tuple[int, int, int], shape: tuple[int, int, int]) -> None:
    if found[0] != shape[0]:
        raise _unlike(
            path,
            f"{name} has {found[0]} channel{'s' * (found[0] != 1)}, where the real pictures have {shape[0]}",
            f"Write the pictures in {'RGB' if shape[0] == 3 else 'grey'}, or name the data that they were made after.",
        )
    if found[1:] != shape[1:]:
        raise _unlike(
            path,
            f"{name} is {found[1]}x{found[2]} pixels, where the real pictures are {shape[1]}x{shape[2]}",
            f"Try data.image_size={found[1]}, or name the data that they were made after.",
        )


def _check_size(path: str, count: int, shape: tuple[int, int, int]) -> None:
    if (needed := count * math.prod(shape)) > _LARGEST:
        raise _unlike(
            path,
            f"its {count:,} pictures take {needed / 1e9:,.1f} GB, where {_LARGEST / 1e9:,.1f} GB are read at most",
            f"Give {_LARGEST // math.prod(shape):,} pictures or fewer; more than 50,000 seldom change a number.",
        )


def _unlike(path: str, problem: str, remedy: str) -> UserError:
    return UserError(f"samples is {path}, but {problem}.", remedy)
