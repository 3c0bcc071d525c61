"""Pictures as Pillow sees them, made into pixels of one shape."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan_runner.data import locations
from gan_runner.data.parallel import in_chunks
from gan_runner.data.resources import megabytes, round_size, spare_memory
from gan_runner.errors import UserError, either
from gan_runner.ranges import Count

Channels = Literal[1, 3]
Pixels: TypeAlias = NDArray[np.uint8]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

MOST_PIXELS = 2**26
"""What a picture may have to be decoded, after what a JPEG leaves out."""

_BYTES_A_PIXEL = 12  # that decoding takes, at the most

_MOST_BYTES = 2**30  # in a file


class _Budget:
    """An amount of something for threads to share."""

    def __init__(self, amount: int) -> None:
        self._amount = self._left = amount
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold some of it, all of it at the most, as soon as the others leave that much."""
        amount = min(amount, self._amount)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_being_decoded = _Budget(MOST_PIXELS)


# A picture larger than Pillow thinks wise is refused by us, by name; so is what it warns of in files that can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


def resized(images: Tensor, size: Count) -> Tensor:
    """Draw images at another size: antialiased, the longer side cropped evenly to make them square.

    Args:
        images: uint8 [N, C, H, W], C 1 or 3.
        size: the new height and width.

    Returns:
        uint8 [N, C, size, size]; `images` itself where it has that size already.

    Raises:
        UserError: the images would not fit into memory.
    """
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    check_room(count, channels, size)
    mode = {1: "L", 3: "RGB"}[channels]

    def draw(some: Pixels) -> Pixels:
        rows = some.transpose(0, 2, 3, 1)
        return np.stack([_to_pixels(Image.frombytes(mode, (width, height), row.tobytes()), size) for row in rows])

    drawn = np.empty((count, channels, size, size), dtype=np.uint8)
    for start, some in in_chunks(draw, images.numpy(), "resized"):
        drawn[start : start + len(some)] = some
    return torch.from_numpy(drawn)


def check_room(count: Count, channels: int, size: Count) -> None:
    """Refuse to hold `count` images of a size in memory where they take more of it than there is.

    Raises:
        UserError: with a size that fits.
    """
    needed, spare = count * channels * size**2, spare_memory()
    if needed <= spare:
        return
    fits = round_size(math.isqrt(spare // (count * channels)))
    raise UserError(
        f"data.image_size is {size}, but {count:,} images of {channels}x{size}x{size} take {megabytes(needed)}, and "
        f"there are {megabytes(spare)} of memory for them.",
        f"Try data.image_size={fits} or a smaller one.",
    )


def check_header(path: Path) -> None:
    """Look whether a file says it is a picture that can be read, without decoding it.

    Raises:
        Exception: whatever Pillow makes of a file that is none, or of one too large to be meant.
    """
    with _picture(path):
        pass


def read_picture(path: Path, size: Count, channels: Channels) -> Pixels:
    """Decode a picture, scale it so that it covers a square, and crop it evenly.

    No tensors here: a thread that is inside PyTorch when the interpreter ends takes the whole process with it.

    A camera's rotation mark is obeyed, transparent parts show white, and 16 bit grey keeps its upper 8 bits.

    Args:
        path: a PNG, JPEG, WebP or BMP file.
        size: height and width in pixels.
        channels: 1 for grey, 3 for colour.

    Returns:
        uint8 [channels, size, size].

    Raises:
        Exception: whatever Pillow makes of a broken file; its decoders raise many kinds.
    """
    with _picture(path) as opened:
        width, height = opened.size
        # What a JPEG decoder may hold of the whole picture, however small it draws it.
        held = 2 * width * height * len(opened.getbands()) if opened.format == "JPEG" else 0
        # A large JPEG decodes several times faster at a fraction of its size; twice the target loses nothing.
        opened.draft(None, (2 * size, 2 * size))
        needed = max(math.prod(opened.size), held // _BYTES_A_PIXEL)
        if needed > MOST_PIXELS:
            raise ValueError(f"it has {width:,} x {height:,} pixels, which are too many to decode")
        with _being_decoded.taking(needed):
            try:
                return _drawn(opened, size, channels)
            finally:
                opened.close()  # which gives its memory back


def _drawn(opened: Image.Image, size: int, channels: Channels) -> Pixels:
    ImageOps.exif_transpose(opened, in_place=True)
    picture = _on_white(_in_eight_bits(opened))
    return _to_pixels(_in_mode(picture, "L" if channels == 1 else "RGB"), size)


@contextlib.contextmanager
def _picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture as far as its header, which is all that Pillow looks at for now."""
    with locations.opened(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {megabytes(_MOST_BYTES)}")
        try:
            picture = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            raise ValueError(f"it is not {either(FORMATS)}") from None  # Pillow names the open file
        with picture:
            yield picture


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """16 bit grey as 8 bit grey, which Pillow's own conversion would clip instead of scale."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    colours = _in_mode(picture, "RGBA")
    page = Image.new("RGB", colours.size, "white")
    page.paste(colours, mask=colours)
    return page


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """A picture in a mode; itself where it is in that already, of which Pillow would make a copy."""
    return picture if picture.mode == mode else picture.convert(mode)


def _to_pixels(picture: Image.Image, size: int) -> Pixels:
    """Uint8 [C, size, size] of a picture in mode L or RGB."""
    fitted = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(size, size, -1).transpose(2, 0, 1)
