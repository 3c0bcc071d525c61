"""Some images of a data set, which are a data set themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from gan_runner.data.view import View


@dataclass(frozen=True, eq=False)
class SomeImages(View):
    """Some images of a set, itself an `ImageSet`.

    Attributes:
        images: the whole set.
        rows: which of its images, int64 [n], n at least 1.
    """

    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def labels(self) -> Tensor | None:
        """See `ImageSet`."""
        return None if self.images.labels is None else self.images.labels[self.rows]

    @cached_property
    def fingerprint(self) -> str:
        """Of the whole set's, and of which images these are."""
        said = self.images.fingerprint.encode() + self.rows.numpy().tobytes()
        return hashlib.sha256(said).hexdigest()[:16]

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.images.pixels(self.rows[indices])

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`."""
        return self.images.conditions(self.rows[indices])
