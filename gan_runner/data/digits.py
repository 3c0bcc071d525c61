"""Handwritten digits that ship inside the package: 1,797 of them, grey, 8x8."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch
from torch.nn.functional import pad

from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.ranges import Count

_HIGHEST = 16


def load(image_size: Count | None, limit: Count | None) -> InMemoryImages:
    """Load the test set of UCI's optical recognition of handwritten digits (Alpaydin and Kaynak 1998).

    Args:
        image_size: height and width in pixels to draw the digits at, smoothly and with a margin, because they
            touch the edge of their 8x8 grid; None keeps the grid, without a margin.
        limit: number of digits to take, from the first; None takes all.
    """
    with resources.files("gan_runner.data").joinpath("digits.npz").open("rb") as file:
        stored = np.load(file)
        values, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
    images = (values.float() * (255 / _HIGHEST)).round().to(torch.uint8)[:, None]
    if image_size is not None:
        images = pad(images, (1, 1, 1, 1))
    return prepared("digits", images, labels.long(), tuple("0123456789"), image_size, limit)
