"""Images as Pillow sees them, made into pixels of one shape."""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, features
from torch import Tensor

from gan_runner.data import locations
from gan_runner.data.parallel import in_chunks
from gan_runner.data.resources import megabytes, round_size, spare_memory
from gan_runner.errors import UserError, either
from gan_runner.ranges import Count

Channels = Literal[1, 3, 4]
"""Grey, colour, or colour with how opaque each pixel is."""

ImageSize: TypeAlias = Count | tuple[Count, Count]
"""Pixels: one number for height and width, or both."""

Pixels: TypeAlias = NDArray[np.uint8]
Result = TypeVar("Result")

_MODES: Mapping[int, str] = {1: "L", 3: "RGB", 4: "RGBA"}

_SUFFIXES: Mapping[str, str] = {
    "PNG": ".png .apng",
    "JPEG": ".jpg .jpeg .jpe .jfif",
    "WEBP": ".webp",
    "BMP": ".bmp .dib",
    "GIF": ".gif",
    "TIFF": ".tif .tiff",
    "PPM": ".ppm .pgm .pbm .pnm",
} | {
    name: suffixes
    for name, feature, suffixes in (
        ("AVIF", "avif", ".avif"),
        ("JPEG2000", "jpg_2000", ".jp2 .j2k .j2c .jpx .jpf"),
    )
    if features.check(feature)
}

FORMATS = tuple(_SUFFIXES)
"""What Pillow is to read; AVIF and JPEG 2000 are not in every build of it."""

SUFFIXES = frozenset(" ".join(_SUFFIXES.values()).split())

MOST_PIXELS = 2**26
"""What an image may have to be decoded, after what a JPEG leaves out."""

_BYTES_A_PIXEL = 12  # that decoding takes, at the most

_MOST_BYTES = 2**30  # in a file
_MOST_BYTES_TO_COPY = 2**27  # of a PNG file whose texts are left out


class Range(NamedTuple):
    """The values that are drawn black and white in images of more than 8 bits; `whole`: they are integers."""

    black: float
    white: float
    whole: bool = True

    def in_eight_bits(self, values: NDArray[np.generic]) -> Pixels:
        """The upper 8 bits where the range is all that so many bits hold; NaN is black."""
        exact = np.float32 if values.dtype.itemsize <= 2 or not self.whole else np.float64
        scaled: NDArray[np.floating] = values.astype(exact)
        np.subtract(scaled, self.black, out=scaled)
        np.multiply(scaled, 256 / (self.white + self.whole - self.black), out=scaled)
        np.nan_to_num(scaled, copy=False)
        return scaled.clip(0, 255, out=scaled).astype(np.uint8)


Ranges: TypeAlias = Mapping[str, Range]
"""The range of deep images by the first letter of Pillow's mode: I, which are integers, and F, which are floats."""

DEFAULT_RANGES: Ranges = {"I": Range(0, 65535), "F": Range(0, 1, whole=False)}


class Facts(NamedTuple):
    """What the header of an image says.

    Attributes:
        width: in pixels, before anything is scaled; as it is shown, where the image has been decoded, for only then a
            camera's rotation mark is known for sure.
        height: in pixels.
        mode: Pillow's name for what a pixel is.
        several: whether there are more images in the file, as in an animation.
        transparent: whether it says how opaque its pixels are.
    """

    width: int
    height: int
    mode: str
    several: bool
    transparent: bool


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


# An image larger than Pillow thinks wise is refused by us, by name; so is what it warns of in files that can be read.
warnings.filterwarnings("ignore", module=r"PIL\.")


def ranges_of(found: Sequence[tuple[str, float, float]]) -> Ranges:
    """What to draw black and white in the deep images of a set, from the extremes of some of them.

    Integers of which none passes a quarter of 16 bits, as a camera's of 12 bits, are taken to have as many bits as the
    largest needs. Floats are taken to run from 0 to 1, from -1 to 1, from 0 to 255, or as far as they do.

    Args:
        found: what `extremes` gave.
    """
    ranges = dict(DEFAULT_RANGES)
    for kind in ranges:
        least = min((low for name, low, _ in found if name == kind), default=0.0)
        most = max((high for name, _, high in found if name == kind), default=0.0)
        if kind == "I":
            ranges[kind] = _integer_range(least, most)
        elif least < 0 or most > 1:
            usual = ((-1.0, 1.0), (0.0, 255.0))
            low, high = next((each for each in usual if each[0] <= least and most <= each[1]), (least, most))
            ranges[kind] = Range(low, high, whole=False)
    return ranges


def _integer_range(least: float, most: float) -> Range:
    if least < 0:
        return Range(least, most)
    if 0 < most < 2**14 or most > 65535:
        return Range(0, 2 ** int(most).bit_length() - 1)
    return Range(0, 65535)


def height_and_width(size: ImageSize) -> tuple[Count, Count]:
    """Both of what `data.image_size` gives."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def size_in_words(size: tuple[int, int]) -> str:
    """A height and a width as they are typed: 64, or [64,96]."""
    height, width = size
    return f"{height}" if height == width else f"[{height},{width}]"


def resized(images: Tensor, size: tuple[Count, Count]) -> Tensor:
    """Draw images at another size: antialiased, what is too long of a side cropped evenly.

    Args:
        images: uint8 [N, C, H, W], C 1, 3 or 4.
        size: the new height and width.

    Returns:
        uint8 [N, C, *size]; `images` itself where it has that size already.

    Raises:
        UserError: the images would not fit into memory.
    """
    count, channels, height, width = images.shape
    if (height, width) == size:
        return images
    check_room(count, channels, size)
    mode = _MODES[channels]

    def draw(some: Pixels) -> Pixels:
        rows = some.transpose(0, 2, 3, 1)
        return np.stack([_to_pixels(Image.frombytes(mode, (width, height), row.tobytes()), size) for row in rows])

    drawn = np.empty((count, channels, *size), dtype=np.uint8)
    for start, some in in_chunks(draw, images.numpy(), "resized"):
        drawn[start : start + len(some)] = some
    return torch.from_numpy(drawn)


def check_room(count: Count, channels: int, size: tuple[Count, Count]) -> None:
    """Refuse to hold `count` images of a size in memory where they take more of it than there is.

    Raises:
        UserError: with a size that fits.
    """
    height, width = size
    needed, spare = count * channels * height * width, spare_memory()
    if needed <= spare:
        return
    share = math.sqrt(spare / needed)
    fits = round_size(int(share * height)), round_size(int(share * width))
    raise UserError(
        f"data.image_size is {size_in_words(size)}, but {count:,} images of {channels}x{height}x{width} take "
        f"{megabytes(needed)}, and there are {megabytes(spare)} of memory for them.",
        f"Try data.image_size={size_in_words(fits)} or a smaller one.",
    )


def check_header(path: Path) -> Facts:
    """Look whether a file says it is an image that can be read, without decoding it.

    Raises:
        Exception: whatever Pillow makes of a file that is none, or of one too large to be meant.
    """
    with _content(path) as file:
        return _whatever_its_texts(file, _header)


def look_into(path: Path, look: Callable[[Image.Image], Result]) -> Result:
    """What a function makes of a file that Pillow has opened, of which it has read the header alone.

    Raises:
        Exception: see `check_header`.
    """

    def opened(file: BinaryIO) -> Result:
        with _picture(file) as picture:
            return look(picture)

    with _content(path) as file:
        return _whatever_its_texts(file, opened)


def read_picture(path: Path, size: tuple[Count, Count], channels: Channels, ranges: Ranges = DEFAULT_RANGES) -> Pixels:
    """Decode a image, scale it so that it covers what is to be drawn, and crop it evenly.

    No tensors here: a thread that is inside PyTorch when the interpreter ends takes the whole process with it.

    A camera's rotation mark is obeyed, and of several images in a file the first is read. Transparent parts show
    white; with four channels, of which the last says how opaque a pixel is, what nobody sees is white.

    Args:
        path: a file of one of `FORMATS`.
        size: height and width in pixels.
        channels: see `Channels`.
        ranges: what is drawn black and white in images of more than 8 bits; grey keeps its upper 8 of 16.

    Returns:
        uint8 [channels, *size].

    Raises:
        Exception: whatever Pillow makes of a broken file; its decoders raise many kinds.
    """
    return examined(path, size, channels, ranges)[1]


def examined(
    path: Path, size: tuple[Count, Count] | None, channels: Channels, ranges: Ranges = DEFAULT_RANGES
) -> tuple[Facts, Pixels]:
    """What the header of an image says, and the image as `read_picture` gives it; raises what that does.

    Of size None it stays as large as it is: uint8 [channels, height, width].
    """
    with _content(path) as file:
        return _whatever_its_texts(file, lambda content: _read(content, size, channels, ranges))


def facts_in(content: bytes) -> Facts:
    """What the header of an image that lies in memory says.

    Raises:
        Exception: whatever Pillow makes of what is none.
    """
    return _whatever_its_texts(io.BytesIO(content), _header)


def pixels_of(content: bytes, size: tuple[Count, Count], channels: Channels) -> Pixels:
    """An image that lies in memory as a file would, as `read_picture` gives it; raises what that does."""
    return _whatever_its_texts(io.BytesIO(content), lambda file: _read(file, size, channels, DEFAULT_RANGES))[1]


def shape_of_set(
    name: str, some: Sequence[Facts], size: tuple[Count, Count] | None, channels: Channels | None
) -> tuple[Channels, tuple[Count, Count]]:
    """Channels, height and width that the images of a set are drawn with.

    Args:
        name: the set's, for the error.
        some: what the headers of some of its images say.
        size: what is asked for; None is the size they all have.
        channels: what is asked for; None is 1 where they are grey, and 3 otherwise.

    Raises:
        UserError: they have several sizes, and none is asked for.
    """
    first = some[0]
    if channels is None:
        channels = 1 if all(facts.mode in ("L", "1") for facts in some) else 3
    if size is not None:
        return channels, size
    other = next((facts for facts in some if (facts.width, facts.height) != (first.width, first.height)), None)
    if other is not None:
        sizes = " and ".join(f"{facts.height}x{facts.width}" for facts in (first, other))
        raise UserError(
            f"data.image_size is null, but the images of {name} have several sizes, such as {sizes}.",
            "Try data.image_size=64, which scales and crops them.",
        )
    return channels, (first.height, first.width)


def extremes(path: Path) -> tuple[str, float, float] | None:
    """The kind of an image of more than 8 bits, I or F, and its least and its greatest value; None for any other.

    Raises:
        Exception: see `read_picture`.
    """
    with _content(path) as file, _picture(file) as picture:
        kind = picture.mode[0]
        if kind not in DEFAULT_RANGES or math.prod(picture.size) > MOST_PIXELS:
            return None
        with _being_decoded.taking(math.prod(picture.size)):
            values = np.asarray(picture)
            values = values[np.isfinite(values)]
            return (kind, float(values.min()), float(values.max())) if values.size else None


def _read(file: BinaryIO, size: tuple[int, int] | None, channels: Channels, ranges: Ranges) -> tuple[Facts, Pixels]:
    with _picture(file) as opened:
        facts = facts_of(opened)
        width, height = opened.size
        # What a JPEG decoder may hold of the whole image, however small it draws it.
        held = 2 * width * height * len(opened.getbands()) if opened.format == "JPEG" else 0
        # A large JPEG decodes several times faster at a fraction of its size; twice the target loses nothing.
        if size is not None:
            opened.draft(None, (2 * size[1], 2 * size[0]))
        needed = max(math.prod(opened.size), held // _BYTES_A_PIXEL)
        if needed > MOST_PIXELS:
            raise ValueError(f"it has {width:,} x {height:,} pixels, which are too many to decode")
        with _being_decoded.taking(needed):
            try:
                lying = opened.size
                pixels = drawn(opened, size, channels, ranges)
                if opened.size != lying:
                    facts = facts._replace(width=height, height=width)
                return facts, pixels
            finally:
                opened.close()  # which gives its memory back


def drawn(
    opened: Image.Image, size: tuple[Count, Count] | None, channels: Channels, ranges: Ranges = DEFAULT_RANGES
) -> Pixels:
    """A image that Pillow has opened, as `examined` gives it."""
    ImageOps.exif_transpose(opened, in_place=True)
    picture = _in_eight_bits(opened, ranges)
    return _to_pixels(_in_mode(picture if channels == 4 else _on_white(picture), _MODES[channels]), size)


@contextlib.contextmanager
def _content(path: Path) -> Iterator[BinaryIO]:
    with locations.opened(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {megabytes(_MOST_BYTES)}")
        yield file


@contextlib.contextmanager
def _picture(file: BinaryIO) -> Iterator[Image.Image]:
    """Open an image as far as its header, which is all that Pillow looks at for now."""
    file.seek(0)
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"it is not {either(FORMATS)}") from None  # Pillow names the open file
    with picture:
        yield picture


def _header(file: BinaryIO) -> Facts:
    with _picture(file) as picture:
        return facts_of(picture)


def facts_of(picture: Image.Image) -> Facts:
    """What the header of an opened image says."""
    # A JPEG with a second image is a camera's, which keeps a small one there.
    several = picture.format in ("GIF", "TIFF") and bool(getattr(picture, "is_animated", False))
    return Facts(*picture.size, picture.mode, several, picture.has_transparency_data)


def _whatever_its_texts(file: BinaryIO, look: Callable[[BinaryIO], Result]) -> Result:
    """Look at an image; at its pixels alone where Pillow refuses it for the texts in it."""
    try:
        return look(file)
    except ValueError as error:
        if not _is_about_text(error):
            raise
        return look(_without_texts(file))


def _is_about_text(error: ValueError) -> bool:
    return "PngImagePlugin.MAX_TEXT" in str(error) or "text chunks" in str(error)


def _without_texts(file: BinaryIO) -> BinaryIO:
    """A PNG file with nothing but what its pixels need; Pillow refuses whole images whose comments are long."""
    needed = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
    file.seek(0)
    kept = io.BytesIO()
    kept.write(file.read(8))
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind not in needed:
            file.seek(length + 4, os.SEEK_CUR)
        elif kept.tell() + length > _MOST_BYTES_TO_COPY:
            break
        else:
            kept.write(header + file.read(length + 4))
    return kept


def _in_eight_bits(picture: Image.Image, ranges: Ranges) -> Image.Image:
    """Deep grey as 8 bit grey, which Pillow's own conversion would clip instead of scale."""
    if (kind := picture.mode[0]) not in ranges:
        return picture
    return Image.fromarray(ranges[kind].in_eight_bits(np.asarray(picture)))


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    colours = _in_mode(picture, "RGBA")
    page = Image.new("RGB", colours.size, "white")
    page.paste(colours, mask=colours)
    return page


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """An image in a mode; itself where it is in that already, of which Pillow would make a copy."""
    if picture.mode == "LAB":  # which Pillow leaves to colour management
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        picture = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "LAB", "RGB")) or picture
    return picture if picture.mode == mode else picture.convert(mode)


def _to_pixels(picture: Image.Image, size: tuple[int, int] | None) -> Pixels:
    """Uint8 [C, H, W] of an image in mode L, RGB or RGBA, drawn at a size if there is one."""
    if size is not None:
        picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    if picture.mode == "RGBA":
        pixels = np.where(pixels[..., 3:] == 0, np.array([255, 255, 255, 0], np.uint8), pixels)
    return pixels.transpose(2, 0, 1)
