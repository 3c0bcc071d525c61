"""Generated images as an array that shows itself."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from gan_runner.record.pictures import Pixels, grid, near_square, png_bytes

_MOST_SHOWN = 400  # images in a notebook's grid


class GeneratedImages(np.ndarray[Any, np.dtype[np.uint8]]):
    """Images, uint8 [N, H, W, C] in 0..255, C being 1 (grey) or 3 (RGB): an array that a notebook shows as a grid."""

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """The same bytes, as such an array."""
        return pixels.view(cls)

    def _repr_png_(self) -> bytes | None:
        """The grid that a notebook shows; None for what is no longer a batch of images."""
        if self.ndim != 4 or self.dtype != np.uint8 or self.shape[-1] not in (1, 3) or 0 in self.shape:
            return None
        shown = np.asarray(self[:_MOST_SHOWN])
        return png_bytes(grid(shown, near_square(len(shown))))
