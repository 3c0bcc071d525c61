"""Averages of weights over a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of G's weights (Yaz et al. 2019, arXiv:1806.04498).

    It draws better pictures than G itself.

    Args:
        net: the network as it is now, to be kept by this object; a copy of G.
        decay: share of the old average that stays at an update.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = net.eval().requires_grad_(False)
        self.decay = decay
        self._averages: list[Tensor] = list(self.net.parameters())

    def update(self, source: nn.Module) -> None:
        """Move towards the weights of `source`; its running statistics are taken over as they are."""
        torch._foreach_lerp_(self._averages, [p.detach() for p in source.parameters()], 1.0 - self.decay)
        for own, new in zip(self.net.buffers(), source.buffers(), strict=True):
            own.copy_(new)
