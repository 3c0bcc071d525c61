"""Samples by number and classes, as gan-sample, Python and exported folders draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from gan_runner.data.classes import LIKE_DATA, classes_asked_for, evenly_many
from gan_runner.errors import UserError
from gan_runner.record.images import GeneratedImages
from gan_runner.record.pictures import near_square, to_uint8
from gan_runner.training.sampler import Sampler

Asked: TypeAlias = Sequence[str | int] | str | int | None
"""Classes by their names or numbers, `like_data`, or None for all of them."""

PURPOSE = "sampled latents"


def drawn_images(sampler: Sampler, num: int, classes: Asked, names: Sequence[str], where: str) -> GeneratedImages:
    """Draw images from the latents of this purpose.

    Args:
        sampler: draws.
        num: images, at least 1.
        classes: of a generator that is given a class: one or several by name or number, each of which has as many
            images as even sharing allows, in their order; `like_data` as often as in the data, class after class;
            None all of them. The first image of every class has the same latent, and so on.
        names: of the data's classes.
        where: whose generator it is, for messages: "run is DIR".

    Raises:
        UserError: there is no such class, or the generator does not draw by class.
    """
    if not sampler.draws_by_class:
        if classes is not None:
            raise UserError(
                f"classes is {_as_words(classes)}, but the generator of {where.removeprefix('run is ')} does not "
                "draw by class.",
                "Leave classes out, or train a conditional one: game=conditional.",
            )
        inputs = sampler.for_grid(PURPOSE, num, near_square(num))
        return GeneratedImages.of(to_uint8(sampler.pictures(inputs)))
    if classes == LIKE_DATA:
        label = sampler.like_data(PURPOSE, num).conditions["label"].cpu().sort().values
    else:
        asked = range(len(names)) if classes is None else classes_asked_for(classes, names)
        label = evenly_many(asked, num)
    pictures = sampler.pictures(sampler.of_classes(PURPOSE, label))
    return GeneratedImages.of(to_uint8(pictures), label.numpy(), names)


def _as_words(classes: Asked) -> str:
    return str(classes) if isinstance(classes, str | int | None) else f"[{','.join(map(str, classes))}]"
