"""Random numbers that latents and labels share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_runner.errors import UserError


def _normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def _tail_first(mean: float, std: float, low: float, high: float) -> tuple[float, float, float]:
    """The interval's ends in standard deviations from the mean, the lower one first, and by what they are scaled back.

    Float32 has digits to spare near a probability of 0 and none near 1: an upper tail is seen in the mirror.
    """
    start, end = (low - mean) / std, (high - mean) / std
    return (-end, -start, -std) if start > 0 else (start, end, std)


def refuse_unreachable(mean: float, std: float, low: float, high: float) -> None:
    """Refuse an interval in which a normal distribution has no draws that float32 could tell apart.

    Raises:
        UserError: it lies 13 standard deviations from the mean, or further.
    """
    _, end, _ = _tail_first(mean, std, low, high)
    if _normal_cdf(end) < torch.finfo(torch.float32).tiny:
        raise UserError(
            f"A normal distribution of mean {mean:g} and std {std:g} has nothing between low={low:g} and high={high:g}"
            f", {-end:.0f} standard deviations away.",
            "Try a larger std, or low and high nearer to the mean.",
        )


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
    values and the device is never waited for. The interval is one that `refuse_unreachable` lets pass.

    Returns:
        float32 tensor of `shape`, every value in [low, high].
    """
    start, end, std = _tail_first(mean, std, low, high)
    below, above = _normal_cdf(start), _normal_cdf(end)
    uniform = torch.rand(shape, device=device, generator=generator).mul_(above - below).add_(below)
    # Rounding can put a draw a hair outside its interval, hence the clamp.
    normal: Tensor = torch.special.ndtri(uniform)
    return normal.mul_(std).add_(mean).clamp_(low, high)
