"""Networks held to the weights that they are to have before they take memory, for a folder may ask for any size."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

import gan_runner
from gan_runner.building.making import make_network
from gan_runner.models.packing import Packed

_REGISTRATIONS = 4  # of a parameter at the most, as it is made, initialised and normalised


def is_ours(node: Mapping[str, Any]) -> bool:
    """Whether a node's class or function is this package's, whose networks can be made without memory."""
    return str(node["_target_"]).startswith(f"{gan_runner.__name__}.")


def make_packed(
    node: Mapping[str, Any], key: str, image_shape: tuple[int, int, int], classes: Sequence[str], packing: int
) -> nn.Module:
    """Make an untrained network of packs of images; see `make_network` for one of single images."""
    channels, height, width = image_shape
    net = make_network(node, key, (packing * channels, height, width), classes)
    return net if packing == 1 else Packed(net, packing)


def with_weights(make: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> nn.Module:
    """Make a network that has these tensors for its own, and takes no memory and no random numbers beside them.

    Args:
        make: makes it, of this package's layers.
        weights: by name.

    Raises:
        RuntimeError: the network has other names or shapes, or many more parameters.
    """
    # Tensors of this device have shapes alone.
    with torch.device("meta"), _at_most(_REGISTRATIONS * len(weights)):
        net = make()
    # A plain dict: PyTorch would note `assign` in the metadata of a checkpoint's own, and later put the loaded tensors
    # in the place of the parameters that the optimizer updates.
    net.load_state_dict(dict(weights), assign=True)
    return net


@contextlib.contextmanager
def _at_most(count: int) -> Iterator[None]:
    """In here a network of more parameters is refused while it is made: without memory it could grow without end."""
    thread, left = threading.get_ident(), count

    def note(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal left
        left -= threading.get_ident() == thread
        if left < 0:
            raise RuntimeError("it has many more parameters than there are weights")

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        handle.remove()
