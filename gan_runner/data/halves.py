"""The two halves of a data set without held-out images: one is compared with the other."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal

import torch

from gan_runner.data.image_set import ImageSet
from gan_runner.data.some_images import SomeImages
from gan_runner.data.stacked import StackedImages


class EverySecond(SomeImages):
    """Every second image of a set, itself an `ImageSet`.

    Args:
        images: the whole set, of two images or more.
        first: the row that it begins with.
    """

    def __init__(self, images: ImageSet, first: Literal[0, 1]) -> None:
        super().__init__(images, torch.arange(first, len(images), 2))

    @cached_property
    def fingerprint(self) -> str:
        """Of the whole set's, and of which half this is."""
        said = f"{self.images.fingerprint} every second from {int(self.rows[0])}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def halves(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """The images in the even rows of a set and those in the odd ones; of stacks, stacks of one half of the source each.

    Even rows of the first so many are even rows of all, so `data.limit` moves no image from one half to the other.

    Args:
        images: two or more.
    """
    if not isinstance(images, StackedImages):
        return EverySecond(images, 0), EverySecond(images, 1)
    even, odd = (EverySecond(images.source, first) for first in (0, 1))
    return _restacked(images, even), _restacked(images, odd)


def _restacked(stacks: StackedImages, source: EverySecond) -> StackedImages:
    labels = source.labels
    assert labels is not None, "what is stacked has classes"
    return StackedImages(source, labels, stacks.layers % len(source))
