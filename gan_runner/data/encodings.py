"""How files of images are written, apart from what the images show: format, size, compression, metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, runtime_checkable

from PIL import Image, JpegImagePlugin
from torch import Tensor

from gan_runner.data.decoding import look_into
from gan_runner.data.image_set import ImageSet
from gan_runner.data.parallel import in_chunks
from gan_runner.data.some_images import SomeImages

_OF_THE_FORMAT = frozenset(
    (
        *("jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression", "adobe_transform"),
        *("transparency", "background", "version", "extension", "duration", "loop", "timestamp", "interlace"),
        *("compression", "default_image", "blend", "disposal"),
    )
)
"""What Pillow tells of a file that is not about its image or where it comes from."""
_ALWAYS_LOSSY = {"JPEG2000", "AVIF"}
_OF_WEBP = 64  # bytes at the beginning of a WebP file, which say whether it is lossless


class Encoding(NamedTuple):
    """How a file is written.

    Attributes:
        format: such as PNG.
        mode: Pillow's name for what a pixel is; P is a palette.
        size: width and height in pixels.
        loss: how details are lost, such as a JPEG's quantisation tables; "" where none are.
        metadata: names of what else is in it, such as exif, sorted.
    """

    format: str
    mode: str
    size: tuple[int, int]
    loss: str
    metadata: tuple[str, ...]


@runtime_checkable
class OfFiles(Protocol):
    """A set of images each of which is a file."""

    def paths(self, indices: Tensor) -> list[Path]:
        """The files of the images with these indices, int64 [n]."""
        ...


def files_behind(images: ImageSet, indices: Tensor) -> list[Path]:
    """The files of some images of a set, int64 [n]; [] where not each is one."""
    if isinstance(images, SomeImages):
        return files_behind(images.images, images.rows[indices])
    return images.paths(indices) if isinstance(images, OfFiles) else []


def encodings_of(files: Sequence[Path]) -> list[Encoding]:
    """How files are written; those that cannot be read are left out."""

    def look(some: Sequence[Path]) -> list[Encoding]:
        found = []
        for path in some:
            try:
                found.append(look_into(path, _encoding))
            except Exception:  # Pillow's decoders raise many kinds; who reads the images says what is wrong
                continue
        return found

    return [each for _, chunk in in_chunks(look, files, "looked into") for each in chunk]


def _encoding(picture: Image.Image) -> Encoding:
    metadata = sorted(str(name).lower() for name in picture.info if name not in _OF_THE_FORMAT)
    return Encoding(str(picture.format), picture.mode, picture.size, _loss(picture), tuple(metadata))


def _loss(picture: Image.Image) -> str:
    if isinstance(picture, JpegImagePlugin.JpegImageFile):
        sampling = JpegImagePlugin.get_sampling(picture)
        tables = [list(table) for _, table in sorted(picture.quantization.items())]
        return f"tables {tables}, chroma {sampling}"
    if picture.format == "WEBP":
        return "" if _is_lossless(picture) else "lossy"
    return "lossy" if picture.format in _ALWAYS_LOSSY else ""


def _is_lossless(webp: Image.Image) -> bool:
    file: BinaryIO = webp.fp  # type: ignore[attr-defined]
    file.seek(0)
    return b"VP8L" in file.read(_OF_WEBP)
