"""Sliced Wasserstein distance: how far apart two sets of images are as clouds of points."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_runner.ranges import Count


def sliced_wasserstein(real: Tensor, fake: Tensor, projections: Count, seed: int) -> Tensor:
    """Mean distance of the sets' shadows on random lines (Rabin et al. 2012, doi 10.1007/978-3-642-24785-9_37).

    In one dimension the optimal transport pairs the sorted points, so each line costs a sort. 0 for equal
    sets; 1 would be a shift of every shadow by 1, where pixels run from -1 to 1.

    Args:
        real: float32 [N, C, H, W] in [-1, 1].
        fake: of the same shape.
        projections: lines.
        seed: of the lines, so that every evaluation looks along the same ones.

    Returns:
        0-d, at least 0.
    """
    points = real.shape[1:].numel()
    generator = torch.Generator().manual_seed(seed)
    lines = torch.randn(points, projections, generator=generator).to(real.device)
    lines /= lines.norm(dim=0)
    shadows_real = (real.flatten(1) @ lines).sort(dim=0).values
    shadows_fake = (fake.flatten(1) @ lines).sort(dim=0).values
    return (shadows_real - shadows_fake).abs().mean()
