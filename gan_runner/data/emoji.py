"""Emoji that ship inside the package: 1,520 small images in colour of eight kinds, 32x32."""

from __future__ import annotations

import functools
from importlib import resources

import torch
from PIL import Image

from gan_runner.data.decoding import Channels, ImageSize, drawn, height_and_width
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.splits import Split, rows_of
from gan_runner.ranges import Count, FractionBelowOne

FILE = "emoji.webp"
"""All of them on one sheet, class by class, row by row; made by `benchmarks.ship_emoji`."""

SIZE = 32  # pixels
COLUMNS = 40  # of the sheet

CLASSES = {
    "smileys": 169,
    "animals": 159,
    "food": 131,
    "travel": 218,
    "activities": 85,
    "objects": 264,
    "symbols": 224,
    "flags": 270,
}
"""How many there are of each, in the order of the sheet."""


def load(
    image_size: ImageSize | None,
    channels: Channels,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> InMemoryImages:
    """Load the Noto emoji (Google, Apache-2.0) of everything but people.

    Args:
        image_size: height and width in pixels to draw them at; None keeps 32.
        channels: 3 shows them on white, 4 adds how opaque each pixel is, 1 makes them grey.
        limit: number of training images to take, as many of every class; None takes all.
        split: the images that train, or those that are held out.
        holdout: the share to hold out, every k-th image; see `gan_runner.data.splits`.

    Raises:
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    return _drawn(None if image_size is None else height_and_width(image_size), channels, limit, split, holdout)


@functools.lru_cache(maxsize=2)  # what a run trains on and the whole set, for the jobs of a sweep that follow
def _drawn(
    image_size: tuple[int, int] | None, channels: Channels, limit: int | None, split: Split, holdout: float
) -> InMemoryImages:
    with resources.files("gan_runner.data").joinpath(FILE).open("rb") as file, Image.open(file) as stored:
        sheet = drawn(stored, None, channels)
    cells = sheet.reshape(channels, -1, SIZE, COLUMNS, SIZE).transpose(1, 3, 0, 2, 4).reshape(-1, channels, SIZE, SIZE)
    counts = torch.tensor(list(CLASSES.values()))
    labels = torch.arange(len(CLASSES)).repeat_interleave(counts)
    rows = rows_of(len(labels), holdout, split, "emoji")
    kept = limit if split == "train" else None
    return prepared("emoji", torch.from_numpy(cells)[rows], labels[rows], tuple(CLASSES), image_size, kept)
