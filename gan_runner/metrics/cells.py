"""A partition of images into clusters by their features, so that similar ones are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_runner.ranges import Count, Seed

_ROUNDS = 50


def k_means(points: Tensor, count: Count, seed: Seed) -> Tensor:
    """Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii 2007): centres that points lie near to.

    Args:
        points: [N, D], N at least `count`.
        count: centres.
        seed: of the first centres.

    Returns:
        float64 [count, D].
    """
    points = points.double()
    generator = torch.Generator().manual_seed(seed)
    centres = points[torch.randint(len(points), (1,), generator=generator).to(points.device)]
    while len(centres) < count:
        away = torch.cdist(points, centres).min(1).values.square().cpu()
        weights = away if away.sum() > 0 else torch.ones_like(away)  # fewer distinct points than centres
        centres = torch.cat([centres, points[torch.multinomial(weights, 1, generator=generator).to(points.device)]])
    cells = nearest_centre(points, centres)
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, cells, points)
        counts = cells.bincount(minlength=count)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        before, cells = cells, nearest_centre(points, centres)
        if torch.equal(before, cells):
            break
    return centres


def nearest_centre(points: Tensor, centres: Tensor) -> Tensor:
    """The number of the centre that each point is nearest to, int64 [N].

    Args:
        points: [N, D].
        centres: float64 [M, D].
    """
    return torch.cdist(points.double(), centres).argmin(1)
