"""The targets that D is trained towards, and those that G is trained towards.

A target says what D should answer, not what an image is: D's accuracy never looks at one.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from gan_runner.contracts import hold_to
from gan_runner.objectives.distributions import refuse_unreachable, truncated_normal
from gan_runner.ranges import Fraction, Positive


class Target(Protocol):
    """A distribution over targets."""

    high: float

    def sample(self, n: int, device: torch.device) -> Tensor:
        """Draw `n` targets, float32 [n]."""
        ...


class Exactly:
    """The same target for every image: 1 and 0 are hard labels, 0.9 is a smoothed one."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.high = value

    def sample(self, n: int, device: torch.device) -> Tensor:
        """Give `n` equal targets, float32 [n]."""
        return torch.full((n,), self.value, device=device)


class NormalWithin:
    """A target an image, from N(mean, std^2) restricted to [low, high]."""

    def __init__(self, mean: float, std: Positive, low: float, high: float) -> None:
        refuse_unreachable(mean, std, low, high)
        self.mean = mean
        self.std = std
        self.low = low
        self.high = high

    def sample(self, n: int, device: torch.device) -> Tensor:
        """Draw `n` targets, float32 [n], every value in [low, high]."""
        return truncated_normal((n,), mean=self.mean, std=self.std, low=self.low, high=self.high, device=device)


class Labels:
    """The targets of one adversarial game.

    Args:
        real: what D is taught to answer to real images.
        fake: what D is taught to answer to generated images.
        generator: what G wants D to answer to generated images.
        flip: chance that an image gets the other kind's target in D's step (Chintala et al. 2016, "How to
            train a GAN").

    Raises:
        UserError: one of the targets is something else.
    """

    def __init__(self, real: Target, fake: Target, generator: Target, flip: Fraction) -> None:
        for name, target in {"real": real, "fake": fake, "generator": generator}.items():
            hold_to(target, Target, f"labels.{name}")
        self._real = real
        self._fake = fake
        self._generator = generator
        self._flip = flip

    @property
    def highest(self) -> float:
        """The highest target of all; above 1 the cross-entropy of a confident answer has no lower bound."""
        return max(self._real.high, self._fake.high, self._generator.high)

    def real(self, n: int, device: torch.device) -> Tensor:
        """Targets of `n` real images in D's step, float32 [n]."""
        return self._maybe_flipped(self._real, self._fake, n, device)

    def fake(self, n: int, device: torch.device) -> Tensor:
        """Targets of `n` generated images in D's step, float32 [n]."""
        return self._maybe_flipped(self._fake, self._real, n, device)

    def generator(self, n: int, device: torch.device) -> Tensor:
        """Targets of `n` generated images in G's step, float32 [n]."""
        return self._generator.sample(n, device)

    def against_generator(self, n: int, device: torch.device) -> Tensor:
        """D's targets of `n` generated images in G's step, for a zero-sum game, float32 [n]."""
        return self._fake.sample(n, device)

    def _maybe_flipped(self, own: Target, other: Target, n: int, device: torch.device) -> Tensor:
        targets = own.sample(n, device)
        if self._flip == 0:
            return targets
        flipped = torch.rand(n, device=device) < self._flip
        return torch.where(flipped, other.sample(n, device), targets)
