"""Images that any program wrote: a folder of image files, or an `.npz` or `.npy` of one array."""

from __future__ import annotations

import logging
import math
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.decoding import DEFAULT_RANGES, FORMATS, Channels, Facts, Pixels, check_header, examined, resized
from gan_runner.data.folder_findings import may_hold_pictures
from gan_runner.data.folder_listing import Listing, listing_of
from gan_runner.data.parallel import in_chunks
from gan_runner.data.unread import Unread, by_ending, counted, names, told, unread
from gan_runner.errors import UserError, either, printable
from gan_runner.files import opened
from gan_runner.machine.files import at_home
from gan_runner.machine.shell import quoted

_log = logging.getLogger(__name__)

Seen = TypeVar("Seen")

_LARGEST = 2**32  # bytes of decoded images
_KINDS = {1: "grey", 3: "RGB", 4: "RGBA"}  # by the number of channels
_GREY = frozenset({"1", "L", "LA", "La"})  # Pillow's modes of grey images
_SIZES_NAMED = 4
_ARRAY = "arr_0"
_CHUNK = 2**20  # bytes that are unpacked at once


@dataclass(frozen=True)
class Samples:
    """Images of another program.

    Attributes:
        images: uint8 [N, C, H, W], N at least 1, of the shape that the real ones have.
        sizes: heights and widths that they had before they were scaled and cropped to that.
        files: of a folder the file of each; empty for an array.
    """

    images: Tensor
    sizes: frozenset[tuple[int, int]]
    files: Sequence[Path] = ()


def read_samples(path: str, shape: tuple[int, int, int]) -> Tensor:
    """Read generated images, which have to be of the shape that the real ones have.

    Args:
        path: a folder of images, nested or not, of every format that data are read from (see `data.decoding`), in
            the order of their paths; an `.npz` whose `arr_0` is uint8 [N, H, W, C] in 0 to 255; or an `.npy` of such
            an array; `~` is the home folder. Colour images all of whose pixels are grey do for grey ones.
        shape: channels, height and width of the real images.

    Returns:
        uint8 [N, C, H, W], N at least 1.

    Raises:
        UserError: there is nothing of the kind, or its images are of another shape, type or range.
    """
    return _read(path, shape, scaled=False).images


def read_samples_of_any_size(path: str, shape: tuple[int, int, int]) -> Samples:
    """Read generated images, scaled and cropped to the size of the real ones, as data are; see `read_samples`.

    Raises:
        UserError: see `read_samples`, but for images of another size.
    """
    return _read(path, shape, scaled=True)


def _read(path: str, shape: tuple[int, int, int], *, scaled: bool) -> Samples:
    place = Path(at_home(path))
    if place.is_dir():
        found = _read_folder(path, place, shape, scaled=scaled)
    elif place.is_file() and place.suffix in (".npz", ".npy"):
        found = _read_array(path, place, shape, scaled=scaled)
    else:
        what = "that is a file of another kind" if place.exists() else "there is no such file or folder"
        raise UserError(
            f"samples is {path}, but {what}.", "Give a folder of images, or a file that ends in .npz or .npy."
        )
    if (most := int(found.images.max())) <= 1:
        raise _unlike(
            path,
            f"no pixel is above {most}, where they go from 0 to 255",
            "Multiply the images by 255 before they are written, or draw from a network that has learned something.",
        )
    return found


def _read_folder(path: str, folder: Path, shape: tuple[int, int, int], *, scaled: bool) -> Samples:
    listing = listing_of(folder, "samples")
    if not listing.pictures:
        raise _nothing_there(path, folder, listing)
    _check_size(path, len(listing.pictures), shape)
    facts = _headers(path, folder, listing.pictures)
    _tell_what_is_read(path, listing)
    if not scaled:
        _check_sizes(path, {name: (each.width, each.height) for name, each in facts.items()}, shape)
    if deep := [name for name, each in facts.items() if each.mode[0] in DEFAULT_RANGES]:
        raise _unlike(
            path,
            f"{_of_all(deep, facts)} more than 8 bits a channel, where the real images have 8",
            "Write the images with 8 bits, from 0 to 255.",
        )
    if shape[0] == 3 and all(each.mode in _GREY for each in facts.values()):
        raise _unlike(path, "all its images are grey, where the real images are in colour", _in_kind(3))
    images = _decoded(path, folder, facts, shape, scaled=scaled)
    sizes = frozenset((each.height, each.width) for each in facts.values())
    return Samples(images, sizes, [folder / name for name in facts])


def _headers(path: str, folder: Path, files: Sequence[str]) -> dict[str, Facts]:
    """What the header of each image says."""

    def look(some: Sequence[str]) -> list[Facts | Unread]:
        return [_or_unread(folder, name, check_header) for name in some]

    looked = [each for _, chunk in in_chunks(look, files, "looked at") for each in chunk]
    _refuse_unread(path, [each for each in looked if isinstance(each, Unread)])
    return {name: each for name, each in zip(files, looked, strict=True) if isinstance(each, Facts)}


def _decoded(
    path: str, folder: Path, facts: Mapping[str, Facts], shape: tuple[int, int, int], *, scaled: bool
) -> Tensor:
    """The pixels of images that are to be scaled, or that have the size of the real ones by their headers."""
    size = (shape[1], shape[2]) if scaled else None

    def read(name: str) -> Pixels | Unread:
        channels: Channels = 4 if shape[0] == 4 else 1 if facts[name].mode in _GREY else 3
        return _or_unread(folder, name, lambda file: examined(file, size, channels)[1])

    def read_some(some: Sequence[str]) -> list[Pixels | Unread]:
        return [read(name) for name in some]

    files, broken, coloured = list(facts), list[Unread](), list[str]()
    pixels = np.empty((len(files), *shape), np.uint8)
    for start, chunk in in_chunks(read_some, files, "read"):
        for row, seen in enumerate(chunk, start):
            if isinstance(seen, Unread):
                broken.append(seen)
            elif seen.shape[1:] != shape[1:]:  # as a camera's mark turns it
                _check_sizes(path, {files[row]: (seen.shape[2], seen.shape[1])}, shape)
            elif shape[0] == 1 and _has_colours(seen, axis=0):
                coloured.append(files[row])
            else:
                pixels[row] = seen[: shape[0]]  # a grey image fills all channels
    _refuse_unread(path, broken)
    if coloured:
        raise _unlike(path, f"{_of_all(coloured, facts)} colours, where the real images are grey", _in_kind(1))
    return torch.from_numpy(pixels)


def _has_colours(pixels: Pixels, axis: int) -> bool:
    """Whether channels differ; `axis` is theirs."""
    return bool((pixels != pixels.take([0], axis)).any())


def _or_unread(folder: Path, name: str, look: Callable[[Path], Seen]) -> Seen | Unread:
    try:
        return look(folder / name)
    except Exception as error:  # Pillow's decoders raise many kinds
        return unread(folder, name, error)


def _refuse_unread(path: str, broken: Sequence[Unread]) -> None:
    if broken:
        problem = " ".join(told(broken, 3)).rstrip(".")
        raise _unlike(path, f"not all its images can be read: {problem}", "Write them again, or remove them.")


def _of_all(some: Sequence[str], of: Collection[str]) -> str:
    """`3 of 200 images (a.png, b.png, ...) have`."""
    return f"{len(some):,} of {counted(len(of), 'image')} ({names(some)}) {'has' if len(some) == 1 else 'have'}"


def _in_kind(channels: int) -> str:
    return f"Write the images in {_KINDS[channels]}, or name the data that they were made after."


def _nothing_there(path: str, folder: Path, listing: Listing) -> UserError:
    lies_there = f"there are {by_ending(listing.others)}" if listing.others else "there are no files"
    arrays = listing.others.get(".npz", ())
    if len(arrays) == 1:
        remedy = f"Try samples={quoted(str(Path(path, arrays[0])))}"
    else:
        remedy = f"Give a folder of {either(FORMATS)} images, or a file that ends in .npz or .npy."
    return _unlike(path, f"it holds no images that can be read: {lies_there}", remedy)


def _tell_what_is_read(path: str, listing: Listing) -> None:
    endings: dict[str, list[str]] = {}
    for name in listing.pictures:
        endings.setdefault(Path(name).suffix.lower(), []).append(name)
    said = f"{path}: {counted(len(listing.pictures), 'image')} ({by_ending(endings)})"
    if folders := sorted({name.rpartition("/")[0] for name in listing.pictures} - {""}):
        said += f", also of {counted(len(folders), 'folder')} below ({names(folders)})"
    _log.info("%s.", printable(said))
    for line in may_hold_pictures(listing.others):
        _log.warning("%s", line)


def _read_array(path: str, file: Path, shape: tuple[int, int, int], *, scaled: bool) -> Samples:
    try:
        if file.suffix == ".npy":
            with opened(file, links=True) as content:
                return _array(path, content, file.name, shape, scaled=scaled)
        with opened(file, links=True) as content, zipfile.ZipFile(content) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename in (_ARRAY, f"{_ARRAY}.npy")]
            if len(entries) > 1:
                raise ValueError(f"it has {len(entries)} entries for {_ARRAY}")
            if entries:
                with archive.open(entries[0]) as member:
                    return _array(path, member, _ARRAY, shape, scaled=scaled)
    except UserError:
        raise
    except Exception as error:  # zipfile and NumPy raise many kinds
        how = "numpy.save(PATH, images)" if file.suffix == ".npy" else "numpy.savez(PATH, images)"
        raise _unlike(path, f"it cannot be read: {error}", f"Write it again with {how}.") from error
    raise _unlike(path, f"it has no array {_ARRAY}", "Write it with numpy.savez(PATH, images), without a name.")


def _array(path: str, member: IO[bytes], name: str, shape: tuple[int, int, int], *, scaled: bool) -> Samples:
    """Read an array of images, no more of which is unpacked than its header says, once that has been checked."""
    if np.lib.format.read_magic(member) != (1, 0):  # the headers of others may have gigabytes
        raise ValueError("it has the header of an array with named fields")
    found, by_columns, dtype = np.lib.format.read_array_header_1_0(member)
    _check_array(path, name, found, dtype, shape, scaled=scaled)
    content = bytearray()
    while len(content) < math.prod(found):
        if not (chunk := member.read(min(_CHUNK, math.prod(found) - len(content)))):
            raise ValueError("it ends early")
        content += chunk
    pixels = np.frombuffer(content, np.uint8).reshape(found, order="F" if by_columns else "C")
    if shape[0] == 1 and _has_colours(pixels, axis=3):
        raise _unlike(path, f"{name} has colours, where the real images are grey", _in_kind(1))
    images = torch.from_numpy(pixels[..., : shape[0]]).permute(0, 3, 1, 2).contiguous()
    return Samples(resized(images, (shape[1], shape[2])), frozenset({(found[1], found[2])}))


def _check_array(
    path: str,
    name: str,
    found: tuple[int, ...],
    dtype: np.dtype[np.generic],
    shape: tuple[int, int, int],
    *,
    scaled: bool,
) -> None:
    layout = f"{name} is {dtype} {list(found)}, where uint8 [N, height, width, channels] is needed"
    if dtype != np.uint8:
        remedy = "Save uint8 from 0 to 255; of floats in [-1, 1] that is numpy.rint(x * 127.5 + 127.5).astype('uint8')."
        raise _unlike(path, layout, remedy)
    if len(found) != 4:
        raise _unlike(path, layout, "Reshape the array; grey images have one channel at the end: x[..., None].")
    if found[1:] == shape and shape[0] != shape[2]:
        raise _unlike(path, layout, "Move the channels to the end: x.transpose(0, 2, 3, 1).")
    if found[0] == 0:
        raise _unlike(path, f"{name} is empty", "Draw some images.")
    if found[3] not in (1, 3, shape[0]) or found[3] < shape[0]:
        had = f"{found[3]} channel{'s' * (found[3] != 1)}"
        raise _unlike(path, f"{name} has {had}, where the real images have {shape[0]}", _in_kind(shape[0]))
    if not scaled:
        _check_sizes(path, {name: (found[2], found[1])}, shape)
    _check_size(path, found[0], (found[3], *shape[1:]))


def _check_sizes(path: str, sizes: Mapping[str, tuple[int, int]], shape: tuple[int, int, int]) -> None:
    """Refuse images that have not the size of the real ones.

    Args:
        path: what the user named.
        sizes: width and height by the name of the image, or of what holds all of them.
        shape: of the real images.
    """
    right = (shape[2], shape[1])
    if not (others := [name for name, size in sizes.items() if size != right]):
        return
    (width, height), *more = different = sorted(set(sizes.values()))
    if more:
        said = f"it holds images of {_sizes(different)} pixels ({len(others):,} differ: {names(others)})"
        remedy = f"Write all images at {_size(*right)} pixels, or remove those of other sizes."
    else:
        said = f"its images are of {_size(width, height)} pixels"
        how = f"Try data.image_size={width}" if width == height else f"Write them at {_size(*right)} pixels"
        remedy = f"{how}, or name the data that they were made after."
    raise _unlike(path, f"{said}, where the real images are of {_size(*right)}", remedy)


def _sizes(different: Sequence[tuple[int, int]]) -> str:
    """`28, 29 and 30`; of many, the smallest and the largest."""
    said = [_size(*size) for size in different]
    if len(said) > _SIZES_NAMED:
        return f"{len(said):,} sizes from {said[0]} to {said[-1]}"
    return f"{', '.join(said[:-1])} and {said[-1]}"


def _size(width: int, height: int) -> str:
    return f"{width}" if width == height else f"{width}x{height}"


def _check_size(path: str, count: int, shape: tuple[int, int, int]) -> None:
    if (needed := count * math.prod(shape)) > _LARGEST:
        raise _unlike(
            path,
            f"its {count:,} images take {needed / 1e9:,.1f} GB, where {_LARGEST / 1e9:,.1f} GB are read at most",
            f"Give {_LARGEST // math.prod(shape):,} images or fewer; more than 50,000 seldom change a number.",
        )


def _unlike(path: str, problem: str, remedy: str) -> UserError:
    return UserError(f"samples is {path}, but {problem}.", remedy)
