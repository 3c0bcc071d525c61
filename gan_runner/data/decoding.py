"""Pictures as Pillow sees them, made into pixels of one shape."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gan_runner.ranges import Count

Channels = Literal[1, 3]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


def resized(images: Tensor, size: Count) -> Tensor:
    """Draw images at another size: antialiased, the longer side cropped evenly to make them square.

    Args:
        images: uint8 [N, C, H, W], C 1 or 3.
        size: the new height and width.

    Returns:
        uint8 [N, C, size, size]; `images` itself where it has that size already.
    """
    count, channels, height, width = images.shape
    if (height, width) == (size, size):
        return images
    mode = {1: "L", 3: "RGB"}[channels]
    drawn = torch.empty((count, channels, size, size), dtype=torch.uint8)
    for row, pixels in enumerate(images.permute(0, 2, 3, 1).contiguous().numpy()):
        drawn[row] = _to_pixels(Image.frombytes(mode, (width, height), pixels.tobytes()), size)
    return drawn


def check_header(path: Path) -> None:
    """Look whether a file says it is a picture that can be read, without decoding it.

    Raises:
        Exception: whatever Pillow makes of a file that is none, or of one too large to be meant.
    """
    with Image.open(path, formats=FORMATS):
        pass


def read_picture(path: Path, size: Count, channels: Channels) -> Tensor:
    """Decode a picture, scale it so that it covers a square, and crop it evenly.

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
    with Image.open(path, formats=FORMATS) as opened:
        # A large JPEG decodes several times faster at a fraction of its size; twice the target loses nothing.
        opened.draft(None, (2 * size, 2 * size))
        picture = _on_white(_in_eight_bits(ImageOps.exif_transpose(opened)))
        return _to_pixels(picture.convert("L" if channels == 1 else "RGB"), size)


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """16 bit grey as 8 bit grey, which Pillow's own conversion would clip instead of scale."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    colours = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)


def _to_pixels(picture: Image.Image, size: int) -> Tensor:
    """Uint8 [C, size, size] of a picture in mode L or RGB."""
    fitted = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(fitted))
    return pixels.reshape(size, size, -1).permute(2, 0, 1)
