"""Images of two domains without partners: those that are drawn, and those that they are drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor

from gan_runner.data.batch import IMAGE_LABEL, SOURCE, SOURCE_LABEL, TRUTH, Batch
from gan_runner.data.decoding import Channels, ImageSize
from gan_runner.data.halves import halves
from gan_runner.data.image_set import ImageSet, labels_as_condition
from gan_runner.data.pairs import Direction, Transform, named_set
from gan_runner.data.splits import Split
from gan_runner.data.transforms import inverted, slanted, thickened
from gan_runner.data.view import View
from gan_runner.errors import UserError, printable
from gan_runner.ranges import Count, FractionBelowOne, Positive


def load(
    dataset: Literal["digits", "emoji", "mnist", "fashion_mnist", "idx", "image_folder"] | ImageSet,
    transform: Literal["slant", "thickness", "dark_on_light"],
    direction: Direction,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    channels: Channels,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
    slope: Positive = 0.4,
    radius: Count = 1,
) -> Unpaired:
    """Make two domains of another set's images: A as they are, and B as `transform` makes them.

    Every second training image is A's, and the others are B's, so that no image trains on both sides. Held-out images
    are on both, so that the true partner of each is known.

    Args:
        dataset: the other set: its name, or the set itself.
        transform: see `gan_runner.data.transforms`.
        direction: AtoB draws B from A, BtoA the other way round.
        root: where the set's files lie, if it is one that has files.
        download: download its files into `root` if they are missing, for data sets that have a download.
        image_size: height and width in pixels; None keeps what the set has.
        channels: of emoji and image_folder; the others are grey.
        limit: number of training images of both domains together; None keeps all.
        split: the images that train, or those that are held out.
        holdout: the share to hold out of a set without test images; see `gan_runner.data.splits`.
        slope: of `slanted`.
        radius: of `thickened`.

    Raises:
        NoTestSplitError: the test split is asked for, and the set has none.
        UserError: the set cannot be had, or is too small to be divided.
    """
    changes: dict[str, tuple[Transform, float]] = {
        "slant": (partial(slanted, slope=slope), slope),
        "thickness": (partial(thickened, radius=radius), radius),
        "dark_on_light": (inverted, 0),
    }
    change, setting = changes[transform]
    images = named_set(
        dataset,
        split,
        {"root": root, "download": download, "image_size": image_size}
        | {"channels": channels, "limit": limit, "holdout": holdout},
    )
    if len(images) < 2:
        raise UserError(
            f"data.limit leaves {len(images)} image of {images.name}, and two domains need one each.",
            "Try data.limit=1000, or null for all.",
        )
    as_they_are, to_change = (images, images) if split == "test" else halves(images)
    sides = [as_they_are, Changed(to_change, change, f"{transform} {setting:g}")]
    sources, drawn = sides if direction == "AtoB" else sides[::-1]
    return Unpaired(f"{images.name}_{transform}", drawn, sources, partners=split == "test")


@dataclass(frozen=True, eq=False)
class Changed(View):
    """An `ImageSet` whose images are those of another, changed when they are asked for.

    Attributes:
        images: the other set.
        change: what becomes of its images.
        made_by: tells changes apart, by their names and settings.
    """

    change: Callable[[Tensor], Tensor]
    made_by: str

    @property
    def name(self) -> str:
        """See `ImageSet`."""
        return f"{self.images.name}_{self.made_by.partition(' ')[0]}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the other set's own, and of the change."""
        return hashlib.sha256(f"{self.images.fingerprint} {self.made_by}".encode()).hexdigest()[:16]

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.change(self.images.pixels(indices))


class Unpaired:
    """An `ImageSet` of images, each beside an image of another domain that is not its partner.

    Which image of the other domain stands beside an image means nothing, and changes from pass to pass: a loader gives
    both domains an order of their own. The smaller domain begins again while the larger one goes on.

    Args:
        name: the set's name.
        images: the domain that is drawn.
        sources: the domain that it is drawn from.
        partners: images and sources of one index are partners after all, for judging alone.

    Raises:
        UserError: the domains have other sizes or classes.
    """

    labels: Tensor | None = None  # there are two of them: see `conditions`
    classes: tuple[str, ...] = ()

    def __init__(self, name: str, images: ImageSet, sources: ImageSet, partners: bool = False) -> None:
        self.name = name
        self.partners = partners
        if images.shape[1:] != sources.shape[1:]:
            raise UserError(
                f"The images to draw are of {_size(images)} pixels and those to draw from of {_size(sources)}, but the "
                "two domains need one size.",
                "Give both the same image_size.",
            )
        if images.classes and sources.classes and set(images.classes) != set(sources.classes):
            lonely = sorted(set(images.classes) ^ set(sources.classes))
            where = "drawn" if lonely[0] in images.classes else "drawn from"
            raise UserError(
                f"The two domains have other classes: {', '.join(map(printable, lonely[:5]))}"
                f"{' and others' * (len(lonely) > 5)} {'comes' if len(lonely) == 1 else 'come'} on one side alone "
                f"({printable(lonely[0])} among the images that are {where}).",
                "Let both sides have the same folders, or let the images lie side by side, without classes.",
            )
        #: Names of the classes that both domains have; () where one of them has none.
        self.class_names = images.classes if sources.classes else ()
        self.images = _with_classes(images, self.class_names)
        self.sources = _with_classes(sources, self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`; of the images that are drawn."""
        return self.images.shape

    def __len__(self) -> int:
        return max(len(self.images), len(self.sources))

    @property
    def in_both(self) -> int:
        """How many images each domain has at least."""
        return min(len(self.images), len(self.sources))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of both domains' own."""
        said = f"{self.images.fingerprint} from {self.sources.fingerprint} {self.partners}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def batch(self, indices: Tensor) -> Batch:
        """See `InOneReading`."""
        of_images, of_sources = indices % len(self.images), indices % len(self.sources)
        images = self.images.pixels(of_images)
        conditions = {SOURCE: self.sources.pixels(of_sources)}
        if self.partners:
            conditions[TRUTH] = images
        for name, side, rows in ((IMAGE_LABEL, self.images, of_images), (SOURCE_LABEL, self.sources, of_sources)):
            if side.labels is not None:
                conditions[name] = side.labels[rows]
        return Batch(images, conditions)

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.images.pixels(indices % len(self.images))

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`; `source` is an image of the other domain."""
        return self.batch(indices).conditions


@dataclass(frozen=True, eq=False)
class _Renumbered(View):
    """An `ImageSet` whose classes are numbered in another order, or no longer known.

    Attributes:
        images: the set.
        order: its classes in the new order; () for none.
    """

    order: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.order

    @cached_property
    def labels(self) -> Tensor | None:
        if self.images.labels is None or not self.classes:
            return None
        return torch.tensor([self.classes.index(name) for name in self.images.classes])[self.images.labels]

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        return labels_as_condition(self.labels, indices)


def _with_classes(images: ImageSet, classes: tuple[str, ...]) -> ImageSet:
    return images if tuple(images.classes) == classes else _Renumbered(images, classes)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Of two domains the one that is drawn, as an `ImageSet`, with the conditions of both.

    Attributes:
        both: the domains.
    """

    both: Unpaired

    @property
    def name(self) -> str:
        return self.both.name

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.both.shape

    def __len__(self) -> int:
        return len(self.both.images)

    @property
    def labels(self) -> Tensor | None:
        return self.both.images.labels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.both.images.classes

    @property
    def fingerprint(self) -> str:
        return self.both.images.fingerprint

    def pixels(self, indices: Tensor) -> Tensor:
        return self.both.pixels(indices)

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        return self.both.conditions(indices)


def domain_drawn(images: ImageSet) -> ImageSet:
    """Of two domains the one that is drawn, each image beside a source; any other set itself."""
    return _Drawn(images) if isinstance(images, Unpaired) else images


def _size(images: ImageSet) -> str:
    return "x".join(map(str, images.shape[1:]))
