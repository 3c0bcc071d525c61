"""Initial weights of a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Initialiser = Callable[[Tensor], object]

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def initialise(net: nn.Module, first: Initialiser | None, rest: Initialiser | None) -> None:
    """Set the weights of `net` in place and its biases to zero.

    Args:
        net: its linear and convolutional layers, in the order of their registration, are set.
        first: for the first layer's weight; None leaves PyTorch's own.
        rest: for every other layer's weight; None leaves PyTorch's own.
    """
    layers = [module for module in net.modules() if isinstance(module, _WEIGHTED)]
    for layer, set_weight in zip(layers, [first] + [rest] * (len(layers) - 1), strict=True):
        if set_weight is None:
            continue
        set_weight(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
