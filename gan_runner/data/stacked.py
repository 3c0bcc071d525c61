"""Stacked digits: three random grey images of a labelled set in the channels of one, so that there are 1,000 modes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from gan_runner.data import digits, fashion_mnist, idx, mnist
from gan_runner.data.decoding import ImageSize
from gan_runner.data.image_set import ImageSet, labels_as_condition, within_limit
from gan_runner.data.splits import NoTestSplitError, Split
from gan_runner.errors import UserError
from gan_runner.ranges import Count, FractionBelowOne, Seed

_LAYERS = 3


def load(
    source: Literal["digits", "mnist", "fashion_mnist", "idx"] | ImageSet,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    count: Count,
    stack_seed: Seed,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
    prefix: str | None = None,
    transpose: bool = False,
) -> StackedImages:
    """Stack random images of another set (Metz et al. 2017, arXiv:1611.02163, section 3.3.1).

    Args:
        source: the other set: its name, or the set itself; grey, with a class for each image.
        root: where its files lie, if it is one that has files.
        download: download the files into `root` if they are missing; digits and idx have no download.
        image_size: height and width in pixels to draw the images at; None keeps them as they are.
        count: number of stacks.
        stack_seed: what the choice of images follows from; the same whatever the run's seed is.
        limit: number of training stacks to keep, from the first; None keeps all.
        split: stack the source's images that train, or those for tests.
        holdout: the share of the source's images to hold out where it has none for tests; see
            `gan_runner.data.splits`.
        prefix: of idx, see `gan_runner.data.idx`.
        transpose: of idx, see there.

    Raises:
        NoTestSplitError: the test split is asked for, and the source has none.
        UserError: the set cannot be had, is in colour or without classes.
    """
    if isinstance(source, str):
        images = _named(source, root, download, image_size, split, holdout, prefix, transpose)
    else:
        images = source
    if split == "test" and not isinstance(source, str):
        raise NoTestSplitError(
            f"data.split is test, but data.source is {images.name}, which was made without asking for its test split.",
            "Try data.split=train, or a source by its name.",
        )
    labels = images.labels
    if labels is None or images.shape[0] != 1:
        lack = "has no classes" if labels is None else f"has {images.shape[0]} channels"
        raise UserError(
            f"data.source is {images.name}, but that {lack}, where stacks need grey images with a class each.",
            "Try data.source=digits, or another labelled set of grey images.",
        )
    generator = torch.Generator().manual_seed(stack_seed)
    layers = torch.randint(len(images), (count, _LAYERS), generator=generator)
    return StackedImages(images, labels, layers[: within_limit(count, limit if split == "train" else None)])


def number_of(classes: Tensor, count: int) -> Tensor:
    """The mode of stacks by the classes of their layers.

    Args:
        classes: int64 [N, 3], each in [0, count).
        count: classes of the set that was stacked.

    Returns:
        int64 [N] in [0, count^3): of digits, the number that they read.
    """
    places = count ** torch.arange(_LAYERS - 1, -1, -1, device=classes.device)
    return (classes * places).sum(1)


def stacked_probabilities(layers: Tensor) -> Tensor:
    """How likely stacks are of each mode, where their layers are judged one by one.

    Args:
        layers: how likely each layer is of each class of the set that was stacked, [N, 3, classes].

    Returns:
        [N, classes^3], in the order of `number_of`.
    """
    first, *others = layers.unbind(1)
    for layer in others:
        first = (first.unsqueeze(2) * layer.unsqueeze(1)).flatten(1)
    return first


@dataclass(frozen=True, eq=False)
class StackedImages:
    """An `ImageSet` of stacks; a stack is made when it is asked for, since all of them would take much memory.

    Attributes:
        source: the grey images that are stacked.
        source_labels: the class of each, int64 [M].
        layers: their indices, int64 [N, 3], by channel.
    """

    source: ImageSet
    source_labels: Tensor
    layers: Tensor

    @property
    def name(self) -> str:
        """See `ImageSet`."""
        return f"stacked_{self.source.name}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`."""
        return _LAYERS, *self.source.shape[1:]

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def labels(self) -> Tensor:
        """The number of each stack; see `number_of`."""
        return number_of(self.source_labels[self.layers], len(self.source.classes))

    @cached_property
    def mode_frequencies(self) -> Tensor:
        """How often each mode comes among all stacks that there could be of the source, float64 [classes^3].

        So a set of few stacks, in which a mode happens to be missing, does not make it one that cannot be.
        """
        images_of = torch.bincount(self.source_labels, minlength=len(self.source.classes)).double()
        return stacked_probabilities((images_of / images_of.sum()).expand(1, _LAYERS, -1))[0]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """See `ImageSet`; `012` for the stack of a 0, a 1 and a 2."""
        names = self.source.classes
        joint = "" if all(len(name) == 1 for name in names) else "+"
        return tuple(joint.join(stack) for stack in product(names, repeat=_LAYERS))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the source's own and of what is stacked on what; computed at first use."""
        digest = hashlib.sha256(f"{self.source.fingerprint} {tuple(self.layers.shape)}".encode())
        digest.update(self.layers.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.source.pixels(self.layers[indices].flatten()).view(len(indices), *self.shape)

    def conditions(self, indices: Tensor) -> dict[str, Tensor]:
        """See `ImageSet`."""
        return labels_as_condition(self.labels, indices)


def _named(
    name: str,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    split: Split,
    holdout: FractionBelowOne,
    prefix: str | None,
    transpose: bool,
) -> ImageSet:
    match name:
        case "digits":
            return digits.load(image_size, None, split, holdout)
        case "idx":
            return idx.load(root, image_size, None, split, holdout, prefix, transpose)
        case "mnist":
            return mnist.load(root, download, image_size, None, split)
    return fashion_mnist.load(root, download, image_size, None, split)
