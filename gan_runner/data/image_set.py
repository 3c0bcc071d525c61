"""What a set of images is, whatever format it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from gan_runner.contracts import what_it_is
from gan_runner.data.batch import SOURCE, Batch
from gan_runner.data.decoding import ImageSize, height_and_width, resized
from gan_runner.data.notes import tell
from gan_runner.errors import UserError
from gan_runner.ranges import Count


class ImageSet(Protocol):
    """Real images of one shape, each known by its index, with or without a class each."""

    @property
    def name(self) -> str:
        """The set's name, such as `digits`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""

    def __len__(self) -> int:
        """Number of images, at least 1."""

    @property
    def labels(self) -> Tensor | None:
        """The class of each image, int64 [N] in [0, len(classes)); None for a set without classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, () for a set without."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digits that change when the content does."""

    def pixels(self, indices: Tensor) -> Tensor:
        """The images with these indices.

        Args:
            indices: int64 [n] on the CPU, each in [0, N), in any order, repeats allowed.

        Returns:
            uint8 [n, C, H, W] on the CPU.
        """

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """What else is known of the images with these indices; always the same names.

        Such as {"label": int64 [n]}, or for pairs of images {"source": uint8 [n, C', H, W]}.
        """


@runtime_checkable
class InOneReading(Protocol):
    """A set that has its images and their conditions from one reading, such as pairs that share a file."""

    def batch(self, indices: Tensor) -> Batch:
        """What `ImageSet.pixels` and `ImageSet.conditions` give."""
        ...


def batch_of(images: ImageSet, indices: Tensor) -> Batch:
    """The images of a set with these indices, int64 [n], with their conditions."""
    if isinstance(images, InOneReading):
        return images.batch(indices)
    return Batch(images.pixels(indices), images.conditions(indices))


@dataclass(frozen=True)
class Kind:
    """What networks are built for: the shape of images, and what is known of each.

    Attributes:
        shape: channels, height and width of every image.
        classes: names of the classes; () where there are none.
        source: channels, height and width of the source images; None if there are none.
        partners: whether each image and its source belong together; if not, they are of two domains without pairs.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()
    source: tuple[int, int, int] | None = None
    partners: bool = True


def kind_of(images: ImageSet) -> Kind:
    """What kind of images a set has."""
    source = images.conditions(torch.tensor([0])).get(SOURCE)
    channels, height, width = source.shape[1:] if source is not None else images.shape
    shape = None if source is None else (channels, height, width)
    return Kind(images.shape, images.classes, shape, bool(getattr(images, "partners", True)))


def checked_images(images: ImageSet, target: str) -> ImageSet:
    """Give a set of images, if what it holds is what `ImageSet` says.

    Args:
        images: the set.
        target: the function or class that the config names for it.

    Raises:
        UserError: it is not; a data set of the user's own may be.
    """

    def refusal(what: str, must: str, remedy: str) -> UserError:
        return UserError(f"data ({target}) has {what}, but must have {must}.", remedy)

    count, shape = len(images), tuple(images.shape)
    if count < 1 or len(shape) != 3 or shape[0] not in (1, 3, 4):
        raise refusal(
            f"{count} images of shape {list(shape)}",
            "at least one, grey, in colour, or with transparency: [1, H, W], [3, H, W] or [4, H, W]",
            "Give images of shape [N, C, H, W].",
        )
    rows = torch.tensor([0, count - 1])
    pixels = images.pixels(rows)
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or tuple(pixels.shape) != (2, *shape):
        raise refusal(
            f"{what_it_is(pixels)} for two images",
            f"bytes from 0 to 255: a uint8 tensor of shape {[2, *shape]}",
            "Convert them once, such as (images * 255).round().to(torch.uint8) from [0, 1].",
        )
    labels = images.labels
    if labels is not None and (labels.dtype != torch.int64 or tuple(labels.shape) != (count,)):
        raise refusal(
            f"{what_it_is(labels)} as labels",
            f"one class an image, int64 of shape [{count}], or None",
            "Try labels.long(), or None.",
        )
    if labels is not None and not (labels.min() >= 0 and labels.max() < len(images.classes)):
        raise refusal(
            f"labels from {labels.min()} to {labels.max()} for {len(images.classes)} classes",
            "labels from 0 to the number of classes less one",
            "Name every class in `classes`.",
        )
    for name, value in images.conditions(rows).items():
        if not isinstance(value, Tensor) or len(value) != 2:
            raise refusal(
                f"{what_it_is(value)} as {name} for two images", "a row for each image", "Index it as the pixels are."
            )
        if name == SOURCE and not _are_pictures(value, shape):
            raise refusal(
                f"{what_it_is(value)} as {name} for two images of {list(shape)}",
                "images of the same height and width: uint8 [2, C, H, W] with 1, 3 or 4 channels",
                "Bring both images of a pair to one size.",
            )
    return images


def _are_pictures(value: Tensor, shape: tuple[int, ...]) -> bool:
    return (
        value.dtype == torch.uint8 and value.dim() == 4 and value.shape[1] in (1, 3, 4) and value.shape[2:] == shape[1:]
    )


def labels_as_condition(labels: Tensor | None, indices: Tensor) -> dict[str, Tensor]:
    """The condition of a set whose images have a class each, or none: {"label": int64 [n]} or {}."""
    return {} if labels is None else {"label": torch.index_select(labels, 0, indices)}


@dataclass(frozen=True, eq=False)
class InMemoryImages:
    """A set that lies decoded in memory.

    Attributes:
        name: see `ImageSet`.
        images: uint8 [N, C, H, W] on the CPU, N at least 1.
        labels: see `ImageSet`.
        classes: see `ImageSet`.
    """

    name: str
    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every pixel and label; computed at first use."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
        digest.update(self.images.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return torch.index_select(self.images, 0, indices)

    def conditions(self, indices: Tensor) -> dict[str, Tensor]:
        """See `ImageSet`."""
        return labels_as_condition(self.labels, indices)


def prepared(
    name: str,
    images: Tensor,
    labels: Tensor | None,
    classes: tuple[str, ...],
    image_size: ImageSize | None,
    limit: Count | None,
) -> InMemoryImages:
    """Make a set of images as a format stores them: `limit` of them, at the size that was asked for.

    Args:
        name: the set's name.
        images: uint8 [N, C, H, W], C 1, 3 or 4.
        labels: int64 [N], or None.
        classes: names of the classes.
        image_size: height and width to draw the images at; None keeps them as they are.
        limit: number of images to keep, see `rows_within_limit`; None keeps all.
    """
    if limit is not None:
        rows = rows_within_limit(len(images), labels, limit)
        images, labels = images[rows], None if labels is None else labels[rows]
    if image_size is not None:
        images = resized(images, height_and_width(image_size))
    return InMemoryImages(name, images, labels, classes)


def rows_within_limit(count: int, labels: Tensor | None, limit: Count) -> Tensor:
    """The rows that `data.limit` keeps.

    They are the first ones, unless these would lack classes: where a set is sorted by class, or a class is rare among
    the first, each class in turn gives its next image. What a limit keeps of a sorted set, a larger one keeps too.

    Args:
        count: images that there are.
        labels: the class of each, int64 [count]; None where they have none.
        limit: how many to keep.

    Returns:
        int64 [min(count, limit)], ascending.
    """
    kept = within_limit(count, limit)
    if labels is None or kept == count:
        return torch.arange(kept)
    classes = len(labels.unique())
    is_sorted = len(torch.unique_consecutive(labels)) == classes
    if not is_sorted and len(labels[:kept].unique()) == min(kept, classes):
        return torch.arange(kept)
    by_turn = torch.argsort(turns(labels) * (int(labels.max()) + 1) + labels)
    return by_turn[:kept].sort().values


def turns(label: Tensor) -> Tensor:
    """Of each image, how many before it are of its class; from int64 [N] to int64 [N]."""
    order = torch.argsort(label, stable=True)
    sizes = torch.unique_consecutive(label[order], return_counts=True)[1]
    found = torch.empty_like(label)
    found[order] = torch.arange(len(label)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return found


def within_limit(count: int, limit: Count | None) -> int:
    """How many of `count` images `data.limit` keeps; asking for more than there are is worth a warning."""
    if limit is None:
        return count
    if limit > count:
        tell([f"data.limit is {limit:,}, but there are {count:,} images: all are used."])
    return min(limit, count)
