"""How different generated images are from each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gan_runner.arithmetic import exact
from gan_runner.data import Batch
from gan_runner.metrics.number import Number

_ROWS = 1000  # of the table of distances that are held at a time


def mean_pairwise_distance(images: Tensor) -> Tensor:
    """Mean Euclidean distance between two different images of a batch, [N, ...] with N at least 2; 0-d."""
    count = len(images)
    # The shortcut |x - y|^2 = |x|^2 + |y|^2 - 2 xy is a matrix product, and loses little in float64. Seen from
    # one of the images, equal ones are all zero, and so exactly equal.
    points = exact(images.flatten(1))
    points = points - points[:1]
    squares = points.square().sum(1)
    total = points.new_zeros(())
    for rows, rows_squares in zip(points.split(_ROWS), squares.split(_ROWS), strict=True):
        distances = rows_squares[:, None] + squares[None, :] - 2.0 * (rows @ points.T)
        total += distances.clamp_(min=0.0).sqrt_().sum()
    return (total / (count * (count - 1))).float()


class Diversity:
    """Mean pairwise distance of generated images, in pixels, against that of real ones.

    1 where they vary alike; near 0 when G draws the same image whatever its latent (mode collapse).
    """

    numbers: ClassVar[Mapping[str, Number]] = {
        "diversity": Number(None, "as varied as the real images at 1, the same image over and over near 0"),
    }
    names: ClassVar[tuple[str, ...]] = tuple(numbers)

    def statistics(self, real: Iterable[Batch]) -> dict[str, Tensor]:
        """The real images' mean pairwise distance, 0-d; two images at least."""
        return {"distance": mean_pairwise_distance(torch.cat([batch.images for batch in real]))}

    def measure(self, fake: Iterable[Batch], real: Mapping[str, Tensor]) -> dict[str, float]:
        """See `Metric`."""
        distance = mean_pairwise_distance(torch.cat([batch.images for batch in fake]))
        return {"diversity": float(distance / real["distance"])}
