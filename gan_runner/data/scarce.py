"""A set with fewer training images of some classes: what a run trains on, and what it never sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from gan_runner.data.classes import class_counts, class_named
from gan_runner.data.image_set import ImageSet, InMemoryImages
from gan_runner.data.some_images import SomeImages
from gan_runner.errors import UserError
from gan_runner.machine.shell import quoted
from gan_runner.ranges import Count
from gan_runner.seeds import generator_for

Share = Annotated[float, Gt(0), Lt(1)]
Scarce: TypeAlias = Mapping[str, Count] | Share | None
"""How many images to keep: of some classes by name or number, all of the others; or a share of every class."""


def with_scarce_classes(images: ImageSet, scarce: Scarce = None) -> ImageSet:
    """A set with as many images of each class as `data.scarce` keeps; the set itself where it is None.

    Raises:
        UserError: the set has no classes, has no such class, or has fewer images of it.
    """
    if scarce is None:
        return images
    return images_at(images, kept_and_held_back(images, scarce)[0])


def images_at(images: ImageSet, rows: Tensor) -> ImageSet:
    """The images in these rows of a set; in memory where the set is."""
    if isinstance(images, InMemoryImages):
        labels = None if images.labels is None else images.labels[rows]
        return InMemoryImages(images.name, images.images[rows], labels, images.classes)
    return SomeImages(images, rows)


def kept_and_held_back(images: ImageSet, scarce: Scarce, key: str = "data.scarce") -> tuple[Tensor, Tensor]:
    """The rows of a set that are kept, and the others.

    Which ones does not depend on a run's seed, and the images that a small number keeps are among those that a larger
    one keeps.

    Args:
        images: the whole set.
        scarce: how many to keep.
        key: what that was given as, for messages.

    Returns:
        int64 each, ascending.

    Raises:
        UserError: see `with_scarce_classes`.
    """
    kept = []
    for number, count in enumerate(counts_to_keep(images, scarce, key)):
        assert images.labels is not None
        of_class = (images.labels == number).nonzero().flatten()
        order = torch.randperm(len(of_class), generator=generator_for(0, "scarce classes", number))
        kept.append(of_class[order[:count]])
    rows = torch.cat(kept).sort().values
    others = torch.ones(len(images), dtype=torch.bool)
    others[rows] = False
    return rows, others.nonzero().flatten()


def counts_to_keep(images: ImageSet, scarce: Scarce, key: str = "data.scarce") -> list[int]:
    """How many images of each class are kept; see `kept_and_held_back`."""
    there = class_counts(images)
    if there is None:
        raise UserError(
            f"{key} is given, but data={images.name} has no classes.",
            f"Try a set with classes, such as a folder with a folder for each class, or leave {key} out.",
        )
    if scarce is None:
        return list(there)
    if isinstance(scarce, float):
        return [min(count, max(1, int(count * scarce))) for count in there]
    counts = list(there)
    said: dict[int, str] = {}
    for name, count in scarce.items():
        number = class_named(name, images.classes, key, f"{{{{{{}}: {count}}}}}")
        if number in said:
            raise UserError(
                f"{key} has both {said[number]} and {name}, which are one class.",
                f"Leave one out: {images.classes[number]} is class {number}.",
            )
        said[number] = str(name)
        if count > there[number]:
            raise UserError(
                f"{key} keeps {count:,} images of class {images.classes[number]}, but there are {there[number]:,}.",
                f"Try {quoted(f'{key}={{{name}: {max(1, there[number] // 2)}}}')}.",
            )
        counts[number] = count
    return counts
