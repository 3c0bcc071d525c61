"""Terms added to D's loss that keep its slope in bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gan_runner.ranges import NonNegative

Critic = Callable[[Tensor], Tensor]


class Penalty(Protocol):
    """A 0-d term for D to minimise along with its loss."""

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Judge `critic` (images to logits [B]) at real and generated images [B, C, H, W]."""
        ...


class R1:
    """Penalise D's slope at real images (Mescheder et al. 2018, arXiv:1801.04406).

        gamma / 2 * mean over real x of || d critic(x) / dx ||^2

    Args:
        gamma: strength; the paper uses 10, and larger images want more.
    """

    def __init__(self, gamma: NonNegative) -> None:
        self.gamma = gamma

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the penalty, 0-d; `fake` is not looked at."""
        real = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
        return 0.5 * self.gamma * slope.square().sum() / len(real)
