"""Classes of images: how often each comes, and classes to draw that come as often, evenly, or as they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_runner.data.image_set import ImageSet
from gan_runner.errors import UserError, closest, printable
from gan_runner.machine.shell import quoted
from gan_runner.ranges import Count

LIKE_DATA = "like_data"
"""What is asked for where classes are to come as often as in the data."""

FEW = 50
"""Images of a class below which they may be too few to learn it from alone (Shahbazi et al. 2022, arXiv:2201.06578)."""

_NAMED = 20  # classes that a message names
_FEWEST_NAMED = 5


def class_counts(images: ImageSet) -> tuple[int, ...] | None:
    """How many images of each class a set has; None where more than the class is known of an image, or nothing is."""
    if images.labels is None or images.conditions(torch.tensor([0])).keys() != {"label"}:
        return None
    counts: list[int] = images.labels.bincount(minlength=len(images.classes)).tolist()
    return tuple(counts)


def with_few_images(names: Sequence[str], counts: Sequence[int]) -> str:
    """The classes with few images and how many each has, the fewest first, in words; "" where there are none."""
    few = sorted((count, number) for number, count in enumerate(counts) if count < FEW)
    named = [f"{printable(names[number])} ({count})" for count, number in few[:_FEWEST_NAMED]]
    return ", ".join(named) + f" and {len(few) - _FEWEST_NAMED} more" * (len(few) > _FEWEST_NAMED)


def as_often(counts: Sequence[int], count: Count) -> Tensor:
    """Classes of `count` images as often as a set has them, as nearly as whole numbers do: int64 [count], ascending.

    Args:
        counts: images of each class in the set, one above 0 at least.
        count: how many.
    """
    quotas = torch.tensor(counts, dtype=torch.float64) * (count / sum(counts))
    taken = quotas.floor().long()
    left = count - int(taken.sum())
    taken[(quotas - taken).argsort(descending=True, stable=True)[:left]] += 1
    return torch.arange(len(counts)).repeat_interleave(taken)


def evenly_many(classes: Sequence[int], count: Count) -> Tensor:
    """Classes of `count` images, as many of each of `classes` as even sharing allows, in their order: int64 [count]."""
    return torch.tensor(classes)[torch.arange(count) * len(classes) // count]


def classes_asked_for(asked: object, names: Sequence[str], key: str = "classes") -> list[int]:
    """The classes that somebody names.

    Args:
        asked: a class, or several, each by its name or, where none has that name, by its number from 0 on.
        names: of the classes.
        key: what they were given as, for messages.

    Raises:
        UserError: there is no such class.
    """
    several = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    if not several:
        raise UserError(f"{key} is [], but must name a class.", f"Leave {key} out for all of them.")
    return [class_named(each, names, key, "[{}]", (LIKE_DATA,)) for each in several]


def class_named(asked: object, names: Sequence[str], key: str, as_value: str, instead: Sequence[str] = ()) -> int:
    """The number of a class that somebody names.

    Args:
        asked: its name or, where no class has that name, its number from 0 on.
        names: of the classes.
        key: what it was given in, for messages.
        as_value: how the key's value is typed, with {} for the name of a class, for messages.
        instead: values of the key that name no class, for messages.

    Raises:
        UserError: there is no such class.
    """
    name = str(asked)
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    near = closest(name, [*names, *instead])
    value = near if near in instead else as_value.format(near or names[-1])
    shown = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
    raise UserError(
        f"{key} has {name}, but there are {len(names)} classes, 0 to {len(names) - 1}: {shown}.",
        f"Try {quoted(f'{key}={value}')}.",
    )
