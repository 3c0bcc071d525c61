"""Spectral normalisation: layers of D whose weights have a largest singular value of 1.

That bounds the slope of a linear layer by 1. Of a convolution the weight is taken as a matrix of output channels by
everything else, as published, which bounds its slope by the square root of how many places of the output an input
reaches: by 3 for a 3x3 kernel of stride 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

_FIRST_ITERATIONS = 15
_SMALLEST = 1e-12


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957, algorithm 1).

    A kernel counts as the matrix of its output channels by everything else. The singular vectors are followed by one
    power iteration whenever the weight is about to learn. `torch.nn.utils.parametrizations.spectral_norm` would
    follow them while the opponent moves as well, mixes number formats under autocast on a GPU, and turns a weight of
    zeros into NaN.

    Args:
        weight: as it is now, of two dimensions or more.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("u", normalize(torch.randn_like(matrix[:, 0]), dim=0, eps=_SMALLEST))
        self.register_buffer("v", normalize(torch.randn_like(matrix[0]), dim=0, eps=_SMALLEST))
        for _ in range(_FIRST_ITERATIONS):
            self._iterate(matrix)

    def forward(self, weight: Tensor) -> Tensor:
        """Give the weight with a largest singular value of 1, of the same shape."""
        # Where there are shapes alone ("meta"), autocast is unknown.
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training and weight.requires_grad and torch.is_grad_enabled():
                self._iterate(matrix.detach())
            # Copies, since the next iteration writes to what this step's backward pass still needs.
            u, v = self.u.clone(), self.v.clone()
            largest = torch.dot(u, torch.mv(matrix, v))
            return weight / largest.clamp_min(_SMALLEST)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        self.u.copy_(normalize(torch.mv(matrix, self.v), dim=0, eps=_SMALLEST))
        self.v.copy_(normalize(torch.mv(matrix.T, self.u), dim=0, eps=_SMALLEST))


def normalise_spectrally(net: nn.Module) -> None:
    """Normalise the weight of every linear and convolutional layer of `net` from now on."""
    for module in list(net.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))
