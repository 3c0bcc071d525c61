"""How different generated images are from each other."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_pairwise_distance(images: Tensor) -> Tensor:
    """Mean Euclidean distance between two different images of a batch, [N, ...] with N at least 2; 0-d."""
    count = len(images)
    points = images.flatten(1).float()
    # Distances straight from differences: the usual shortcut through products loses equal images to rounding.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.sum() / (count * (count - 1))


def diversity(real: Tensor, fake: Tensor) -> Tensor:
    """Mean pairwise distance of generated images against that of real ones, 0-d.

    1 where they vary alike; near 0 when G draws the same picture whatever its latent (mode collapse).

    Args:
        real: [N, C, H, W], N at least 2.
        fake: [M, C, H, W], M at least 2.
    """
    return mean_pairwise_distance(fake) / mean_pairwise_distance(real)
