"""Random numbers that latents and labels share."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def truncated_normal(
    shape: tuple[int, ...],
    *,
    mean: float,
    std: float,
    low: float,
    high: float,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw from N(mean, std^2) restricted to [low, high], by inverting the distribution function.

    Every draw costs one uniform number and none is thrown away, so the shape never depends on the
    values and the device is never waited for.

    Returns:
        float32 tensor of `shape`, every value in [low, high].
    """
    start, end = (low - mean) / std, (high - mean) / std
    if start > 0:
        # Float32 has digits to spare near a probability of 0 and none near 1: an upper tail is drawn in the mirror.
        start, end, std = -end, -start, -std
    below, above = _normal_cdf(start), _normal_cdf(end)
    uniform = torch.rand(shape, device=device, generator=generator).mul_(above - below).add_(below)
    # Rounding can put a draw a hair outside its interval, hence the clamp.
    normal: Tensor = torch.special.ndtri(uniform)
    return normal.mul_(std).add_(mean).clamp_(low, high)
