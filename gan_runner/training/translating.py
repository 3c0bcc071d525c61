"""Translate images with a trained generator, as gan-translate, Python and exported folders do: folders, and arrays."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_runner import files
from gan_runner.data.batch import as_float
from gan_runner.data.decoding import Channels, Pixels, drawn, read_picture
from gan_runner.data.folder_listing import listing_of
from gan_runner.data.pairs import Direction
from gan_runner.data.parallel import in_chunks
from gan_runner.data.unread import Unread, told, unread
from gan_runner.errors import UserError, printable
from gan_runner.machine.files import at_home
from gan_runner.record.images import GeneratedImages
from gan_runner.record.pictures import save_atomically, to_uint8
from gan_runner.training.sampler import Sampler

log = logging.getLogger(__name__)

_NAMED = 20  # at most so many unreadable images are named


@dataclass(frozen=True)
class Found:
    """The images to translate.

    Attributes:
        typed: the value of `input`.
        folder: the folder that contains them.
        names: their paths relative to it.
    """

    typed: str
    folder: Path
    names: Sequence[str]

    @property
    def results(self) -> list[str]:
        """The path of each result in the output folder: the input's path, ending in .png.

        If two inputs differ only in their endings, or in upper and lower case, their results keep the old ending before
        the new one.
        """
        whole: set[str] = set()
        while True:
            found = [name if name in whole else os.path.splitext(name)[0] for name in self.names]
            counts = Counter(map(str.casefold, found))
            alike = {name for name, result in zip(self.names, found, strict=True) if counts[result.casefold()] > 1}
            if alike <= whole:
                return [f"{name}.png" for name in found]
            whole |= alike


def found_at(path: str) -> Found:
    """The images at a path: that file, or all images below that folder.

    Raises:
        UserError: the path does not exist, or the folder has no image.
    """
    place = Path(at_home(path))
    if place.is_file():
        return Found(path, place.parent, [place.name])
    if not place.is_dir():
        raise UserError(f"input is {printable(path)}, but there is no such folder or file.", "Try input=FOLDER.")
    names = listing_of(place, "input").pictures
    if not names:
        raise UserError(
            f"input is {printable(path)}, but that folder has no images.", "Put PNG, JPEG or WebP files there."
        )
    return Found(path, place, names)


def is_backwards(direction: Direction | None, own: Direction, both_ways: bool, where: str) -> bool:
    """Whether a generator is asked to draw the other way round than its data do.

    Args:
        direction: AtoB or BtoA; None is that of the data.
        own: that of the data.
        both_ways: whether the generator draws both ways.
        where: names it in messages: "run is DIR".

    Raises:
        UserError: it draws only in the other direction, or there is no such direction.
    """
    if direction is not None and direction not in get_args(Direction):
        raise UserError(f"direction is {printable(direction)}, but must be AtoB or BtoA.", f"Try direction={own}.")
    if direction in (None, own):
        return False
    if not both_ways:
        raise UserError(
            f"direction is {direction}, but {where}, which draws {own} alone.",
            f"Try direction={own}, or train with data.direction={direction}, or with game=cycle, which draws both.",
        )
    return True


class Translator:
    """A generator that translates images.

    Images are translated one by one, so each result is the same, bit for bit, whatever else is translated.

    Args:
        sampler: draws with the generator.
        source: channels, height and width of the images that it draws from.
    """

    def __init__(self, sampler: Sampler, source: tuple[int, int, int]) -> None:
        self._sampler = sampler
        self._source = source

    def read(self, path: Path) -> Pixels:
        """Read an image, scaled and cropped as the run's data are: uint8 [C, H, W].

        Raises:
            Exception: see `gan_runner.data.decoding.read_picture`.
        """
        channels, *size = self._source
        return read_picture(path, (size[0], size[1]), _as_channels(channels))

    def fitted(self, image: Pixels) -> Pixels:
        """An array, uint8 [H, W, C], scaled and cropped as by `read`."""
        channels, *size = self._source
        opened = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image))
        return drawn(opened, (size[0], size[1]), _as_channels(channels))

    def __call__(self, source: Pixels) -> Pixels:
        """Translate an image, uint8 [C', H, W]; returns uint8 [H, W, C]."""
        batch: Tensor = as_float(torch.from_numpy(np.array(source))[None])
        pixels: Pixels = to_uint8(self._sampler.from_source(batch))[0]
        return pixels


def _as_channels(channels: int) -> Channels:
    assert channels in (1, 3, 4), "as data are checked"
    return channels  # type: ignore[return-value]


def translate_folder(translator: Translator, found: Found, output: Path) -> int:
    """Translate every image that can be read, and write the results; the others are named in warnings.

    Args:
        translator: the generator.
        found: the images.
        output: a new or empty folder.

    Returns:
        How many were written.

    Raises:
        UserError: no image can be read, or the output cannot be written.
    """
    results = dict(zip(found.names, found.results, strict=True))

    def read(names: Sequence[str]) -> list[tuple[str, Pixels | Unread]]:
        return [(name, _read(translator, found.folder, name)) for name in names]

    broken: list[Unread] = []
    count = 0
    for _, chunk in in_chunks(read, list(found.names), "translated"):
        for name, source in chunk:
            if isinstance(source, Unread):
                broken.append(source)
                if len(broken) <= _NAMED:
                    log.warning("Left out: %s", " ".join(told([source], 1)))
                continue
            pixels = translator(source)
            path = output / results[name]
            files.make_folders_to(path, f"output={output}")
            save_atomically(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), path)
            count += 1
    if len(broken) > _NAMED:
        log.warning("Left out: %s images in all.", f"{len(broken):,}")
    if not count:
        raise UserError(
            f"input is {printable(found.typed)}, but none of its images can be read.", "Try another folder or file."
        )
    return count


def _read(translator: Translator, folder: Path, name: str) -> Pixels | Unread:
    try:
        return translator.read(folder / name)
    except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error
        return unread(folder, name, error)


def translated(translator: Translator, images: Pixels) -> GeneratedImages:
    """Translate arrays, uint8 [N, H, W, C] of any size, C being 1, 3 or 4.

    Raises:
        UserError: the array has another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        raise UserError(
            f"images are {images.dtype} {list(images.shape)}, but must be uint8 [N, H, W, C], C being 1, 3 or 4.",
            "Convert them: 0 is black and 255 is white.",
        )
    return GeneratedImages.of(np.stack([translator(translator.fitted(image)) for image in images]))


def check_folder(output: str) -> Path:
    """A new or empty folder to write to.

    Raises:
        UserError: the path exists and is not an empty folder.
    """
    path = Path(output)
    if os.path.lexists(path) and not files.is_empty_folder(path):
        raise UserError(
            f"output={output} exists already, and nothing is overwritten.",
            "Choose another folder for output, or move that one away.",
        )
    return path
