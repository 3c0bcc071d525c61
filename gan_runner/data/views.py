"""The ways in which an image may be shown to D: mirrored, and cropped at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gan_runner.data.batch import Batch
from gan_runner.ranges import FractionBelowOne


@dataclass(frozen=True)
class Views:
    """A number for each way to show an image, from 0 on; the images of a pair are shown alike.

    Attributes:
        flip: left and right may be swapped: half of the ways.
        margin: pixels of height and width by which an image is enlarged and then cropped again; every crop is a way.
    """

    flip: bool = False
    margin: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return (1 + self.flip) * (self.margin[0] + 1) * (self.margin[1] + 1)

    def show(self, batch: Batch, numbers: Tensor) -> Batch:
        """The batch as these ways show its images, uint8, and the images among their conditions.

        Args:
            batch: images with their conditions.
            numbers: of the ways, int64 [B].
        """
        places = torch.div(numbers, 1 + self.flip, rounding_mode="floor")
        if any(self.margin):
            columns = self.margin[1] + 1
            top, left = torch.div(places, columns, rounding_mode="floor"), places % columns
            batch = batch.map(lambda tensor: self._cropped(tensor, top, left) if tensor.dim() == 4 else tensor)
        return batch.mirrored(numbers % 2 == 1) if self.flip else batch

    def _cropped(self, images: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """Enlarge images, uint8 [B, C, H, W], and crop each to its size at rows `top` and columns `left`, [B]."""
        height, width = images.shape[2:]
        size = (height + self.margin[0], width + self.margin[1])
        enlarged = interpolate(images.float(), size, mode="bicubic", antialias=True)  # the cubic that Pillow has
        enlarged = enlarged.round_().clamp_(0, 255).to(torch.uint8)
        image = torch.arange(len(images), device=images.device)[:, None, None]
        rows = top[:, None, None] + torch.arange(height, device=images.device)[:, None]
        columns = left[:, None, None] + torch.arange(width, device=images.device)
        return enlarged.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


AS_STORED = Views()
"""The only way to show an image: as it is stored."""


def views_of(shape: tuple[int, int, int], flip: bool, random_crop: FractionBelowOne) -> Views:
    """The ways to show images of a shape.

    Args:
        shape: channels, height and width.
        flip: see `Views`.
        random_crop: the share by which images are enlarged.
    """
    _, height, width = shape
    return Views(flip, (round(random_crop * height), round(random_crop * width)))
