"""Handwritten digits that ship inside the package: 1,797 of them, grey, 8x8."""

from __future__ import annotations

import functools
from importlib import resources

import numpy as np
import torch
from torch.nn.functional import pad

from gan_runner.data.decoding import ImageSize, height_and_width
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.splits import Split, rows_of
from gan_runner.ranges import Count, FractionBelowOne

_HIGHEST = 16


def load(
    image_size: ImageSize | None, limit: Count | None, split: Split = "train", holdout: FractionBelowOne = 0.0
) -> InMemoryImages:
    """Load the test set of UCI's optical recognition of handwritten digits (Alpaydin and Kaynak 1998).

    Args:
        image_size: height and width in pixels to draw the digits at, smoothly and with a margin, because they
            touch the edge of their 8x8 grid; None keeps the grid, without a margin.
        limit: number of training digits to take, see `rows_within_limit`; None takes all.
        split: the digits that train, or those that are held out.
        holdout: the share to hold out, every k-th digit; see `gan_runner.data.splits`.

    Raises:
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    return _drawn(None if image_size is None else height_and_width(image_size), limit, split, holdout)


@functools.lru_cache(maxsize=2)  # what a run trains on and the whole set, for the jobs of a sweep that follow
def _drawn(image_size: tuple[int, int] | None, limit: int | None, split: Split, holdout: float) -> InMemoryImages:
    with resources.files("gan_runner.data").joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        values, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
    images = (values.float() * (255 / _HIGHEST)).round().to(torch.uint8)[:, None]
    if image_size is not None:
        images = pad(images, (1, 1, 1, 1))
    rows = rows_of(len(images), holdout, split, "digits")
    kept = limit if split == "train" else None
    return prepared("digits", images[rows], labels[rows].long(), tuple("0123456789"), image_size, kept)
