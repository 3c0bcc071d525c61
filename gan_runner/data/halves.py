"""The two halves of a data set without held-out images: one is compared with the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from torch import Tensor

from gan_runner.data.image_set import ImageSet
from gan_runner.data.stacked import StackedImages


@dataclass(frozen=True, eq=False)
class EverySecond:
    """Every second image of a set, itself an `ImageSet`.

    Attributes:
        images: the whole set, of two images or more.
        first: the row that it begins with.
    """

    images: ImageSet
    first: Literal[0, 1]

    @property
    def name(self) -> str:
        """See `ImageSet`."""
        return self.images.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`."""
        return self.images.shape

    def __len__(self) -> int:
        return (len(self.images) + 1 - self.first) // 2

    @cached_property
    def labels(self) -> Tensor | None:
        """See `ImageSet`."""
        labels = self.images.labels
        return None if labels is None else labels[self.first :: 2].contiguous()

    @property
    def classes(self) -> tuple[str, ...]:
        """See `ImageSet`."""
        return self.images.classes

    @cached_property
    def fingerprint(self) -> str:
        """Of the whole set's, and of which half this is."""
        said = f"{self.images.fingerprint} every second from {self.first}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.images.pixels(2 * indices + self.first)

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`."""
        return self.images.conditions(2 * indices + self.first)


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
