"""Pairs of images: each image with another one that it is to be drawn from, the condition `source`."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

from gan_runner.data import digits, emoji, fashion_mnist, idx, image_folder, mnist
from gan_runner.data.batch import SOURCE, Batch
from gan_runner.data.decoding import Channels, ImageSize
from gan_runner.data.image_set import ImageSet, labels_as_condition
from gan_runner.data.splits import NoTestSplitError, Split
from gan_runner.data.transforms import edges, grey, hole, low_resolution
from gan_runner.data.view import View
from gan_runner.errors import UserError
from gan_runner.ranges import Count, Fraction, FractionBelowOne, TwoOrMore

Direction = Literal["AtoB", "BtoA"]
"""Which of the two images of a pair is drawn from which."""

Transform = Callable[[Tensor], Tensor]
"""Makes the image A of B: uint8 [N, C, H, W] to uint8 [N, C', H, W], each image by itself, always the same."""

_SETS: Mapping[str, Callable[..., ImageSet]] = {
    "digits": digits.load,
    "emoji": emoji.load,
    "mnist": mnist.load,
    "fashion_mnist": fashion_mnist.load,
    "idx": idx.load,
    "image_folder": image_folder.load,
}


def load(
    dataset: Literal["digits", "emoji", "mnist", "fashion_mnist", "idx", "image_folder"] | ImageSet,
    transform: Literal["edges", "grey", "low_resolution", "hole"],
    direction: Direction,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    channels: Channels,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
    threshold: Fraction = 0.25,
    factor: TwoOrMore = 4,
    missing: Fraction = 0.5,
) -> MadePairs:
    """Make pairs of another set's images: B is an image, A what `transform` makes of it.

    Args:
        dataset: the other set: its name, or the set itself.
        transform: see `gan_runner.data.transforms`.
        direction: AtoB draws the image from what was made of it, BtoA the other way round.
        root: where the set's files lie, if it is one that has files.
        download: download its files into `root` if they are missing, for data sets that have a download.
        image_size: height and width in pixels; None keeps what the set has.
        channels: of emoji and image_folder; the others are grey.
        limit: number of training images to keep; None keeps all.
        split: the images that train, or those that are held out.
        holdout: the share to hold out of a set without test images; see `gan_runner.data.splits`.
        threshold: of `edges`.
        factor: of `low_resolution`.
        missing: of `hole`.

    Raises:
        NoTestSplitError: the test split is asked for, and the set has none.
        UserError: the set cannot be had, or has no colours that `grey` could take away.
    """
    made_by: dict[str, Transform] = {
        "edges": partial(edges, threshold=threshold),
        "grey": grey,
        "low_resolution": partial(low_resolution, factor=factor),
        "hole": partial(hole, share=missing),
    }
    images = named_set(
        dataset,
        split,
        {"root": root, "download": download, "image_size": image_size}
        | {"channels": channels, "limit": limit, "holdout": holdout},
    )
    if transform == "grey" and images.shape[0] == 1:
        raise UserError(
            f"data.transform is grey, but the images of {images.name} are grey already.",
            "Try data.transform=edges, or data.dataset=emoji.",
        )
    return MadePairs(images, made_by[transform], f"{transform} {threshold} {factor} {missing}", direction)


def named_set(dataset: str | ImageSet, split: Split, settings: Mapping[str, object]) -> ImageSet:
    """The set that others are made of.

    Args:
        dataset: one of those of `load` by its name, or the set itself.
        split: the images that train, or those that are held out.
        settings: of the set, of which it is given those that it takes.

    Raises:
        NoTestSplitError: the test split is asked for, and the set has none.
        UserError: the set cannot be had.
    """
    if not isinstance(dataset, str):
        if split == "test":
            raise NoTestSplitError(
                f"data.split is test, but data.dataset is {dataset.name}, made without asking for its test split.",
                "Try data.split=train, or a set by its name.",
            )
        return dataset
    make = _SETS[dataset]
    offered = {**settings, "split": split}
    return make(**{name: offered[name] for name in inspect.signature(make).parameters if name in offered})


@dataclass(frozen=True, eq=False)
class MadePairs(View):
    """An `ImageSet` whose sources are made of its images, or the other way round, when they are asked for.

    Attributes:
        images: the set that they are made of.
        transform: see `Transform`.
        made_by: tells transforms apart, by their names and settings.
        direction: see `Direction`.
    """

    transform: Transform
    made_by: str
    direction: Direction

    @property
    def name(self) -> str:
        """See `ImageSet`."""
        return f"{self.images.name}_{self.made_by.partition(' ')[0]}"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`."""
        channels, height, width = self.batch(torch.tensor([0])).images.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the other set's own, of how the pairs are made, and of their direction."""
        said = f"{self.images.fingerprint} {self.made_by} {self.direction}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def batch(self, indices: Tensor) -> Batch:
        """See `InOneReading`."""
        image = self.images.pixels(indices)
        made = self.transform(image)
        drawn, source = (image, made) if self.direction == "AtoB" else (made, image)
        return Batch(drawn, {SOURCE: source, **labels_as_condition(self.labels, indices)})

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.batch(indices).images

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`; `source` is the image that each is drawn from."""
        return self.batch(indices).conditions
