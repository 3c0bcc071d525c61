"""Where the generator's input z comes from: one class a distribution."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gan_runner.objectives.distributions import refuse_unreachable, truncated_normal
from gan_runner.ranges import Count, Positive


class Latent(Protocol):
    """A distribution over latents."""

    dim: int

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents, float32 [n, dim]; from the device's own random numbers without `generator`."""
        ...


class Nothing:
    """No latents at all, of size 0, for games that draw from something else."""

    dim = 0

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents of size 0, float32 [n, 0]."""
        return torch.zeros(n, 0, device=device)


class Normal:
    """z ~ N(0, std^2) in each of `dim` directions (Goodfellow et al. 2014, arXiv:1406.2661)."""

    def __init__(self, dim: Count, std: Positive) -> None:
        self.dim = dim
        self.std = std

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents, float32 [n, dim]."""
        return torch.randn(n, self.dim, device=device, generator=generator).mul_(self.std)


class TruncatedNormal:
    """z ~ N(0, std^2) restricted to [low, high]: latents without outliers."""

    def __init__(self, dim: Count, std: Positive, low: float, high: float) -> None:
        refuse_unreachable(0.0, std, low, high)
        self.dim = dim
        self.std = std
        self.low = low
        self.high = high

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents, float32 [n, dim], every value in [low, high]."""
        return truncated_normal(
            (n, self.dim),
            mean=0.0,
            std=self.std,
            low=self.low,
            high=self.high,
            device=device,
            generator=generator,
        )


class Uniform:
    """z ~ U(low, high) in each of `dim` directions (Radford et al. 2016, arXiv:1511.06434)."""

    def __init__(self, dim: Count, low: float, high: float) -> None:
        self.dim = dim
        self.low = low
        self.high = high

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents, float32 [n, dim], every value in [low, high)."""
        uniform = torch.rand(n, self.dim, device=device, generator=generator)
        return uniform.mul_(self.high - self.low).add_(self.low)
