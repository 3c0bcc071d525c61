"""Generated images as an array that a notebook displays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gan_runner.record.pictures import Pixels, grid, grid_by_class, near_square, png_bytes

_MOST_SHOWN = 400  # images in a notebook's grid


class GeneratedImages(np.ndarray[Any, np.dtype[np.uint8]]):
    """Images, uint8 [N, H, W, C] in 0..255, C being 1, 3 (RGB) or 4 (RGBA): an array that a notebook shows as a grid.

    Attributes:
        label: the class that each was drawn as, int64 [N]; None of a generator that is given none, and of what has been
            computed or cut from such an array.
        classes: names of the classes; () where label is None.
    """

    label: NDArray[np.int64] | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, pixels: Pixels, label: NDArray[np.int64] | None = None, classes: Sequence[str] = ()) -> Self:
        """The same bytes as `GeneratedImages`."""
        images = pixels.view(cls)
        images.label, images.classes = label, tuple(classes)
        return images

    def __array_finalize__(self, _: object) -> None:
        """A derived array may hold other images."""
        self.label, self.classes = None, ()

    def _repr_png_(self) -> bytes | None:
        """The grid that a notebook shows; None for what is no longer a batch of images."""
        if self.ndim != 4 or self.dtype != np.uint8 or self.shape[-1] not in (1, 3, 4) or 0 in self.shape:
            return None
        shown = np.asarray(self[:_MOST_SHOWN])
        if self.label is not None:
            return png_bytes(grid_by_class(shown, self.label[:_MOST_SHOWN], self.classes))
        return png_bytes(grid(shown, near_square(len(shown))))
