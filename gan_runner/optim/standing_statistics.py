"""Batch norm's running statistics taken again, for weights that no training step has normalised with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    """The layers of a network that keep running statistics of what passes through them."""
    return [layer for layer in net.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


def ids_of_statistics(net: nn.Module) -> set[int]:
    """The `id` of every buffer that belongs to a batch norm of a network."""
    return {id(buffer) for layer in batch_norms(net) for buffer in layer.buffers(recurse=False)}


@torch.no_grad()
def take_statistics(net: nn.Module, draws: Iterable[Callable[[], object]]) -> None:
    """Set running means and variances to the plain averages over batches (standing statistics).

    As BigGAN does before it draws with averaged weights (Brock et al. 2019, arXiv:1809.11096, section 2 and appendix
    C.1). In the meantime each batch is normalised by itself; every other layer, dropout say, stays in evaluation mode.

    Args:
        net: the network, in evaluation mode and left in it.
        draws: each call passes one batch, of two images or more, through the network.
    """
    layers = batch_norms(net)
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # PyTorch's word for a plain average over all batches
            layer.train()
        for draw in draws:
            draw()
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
