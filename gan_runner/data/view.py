"""A data set made of another one, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from gan_runner.data.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class View:
    """An `ImageSet` that has all that another one has; a subclass changes some of it.

    Attributes:
        images: the other set.
    """

    images: ImageSet

    @property
    def name(self) -> str:
        """See `ImageSet`."""
        return self.images.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `ImageSet`."""
        return self.images.shape

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Tensor | None:
        """See `ImageSet`."""
        return self.images.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """See `ImageSet`."""
        return self.images.classes

    @property
    def fingerprint(self) -> str:
        """See `ImageSet`."""
        return self.images.fingerprint

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.images.pixels(indices)

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`."""
        return self.images.conditions(indices)
