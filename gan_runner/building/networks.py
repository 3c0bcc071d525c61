"""Networks held to the weights that they are to have before they take memory, for a folder may ask for any size."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

import gan_runner
from gan_runner.building.making import asked_for, make_network
from gan_runner.errors import UserError
from gan_runner.models.conditional import (
    ClassifyingDiscriminator,
    ConcatenationDiscriminator,
    ConditionalGenerator,
    ProjectionDiscriminator,
)
from gan_runner.models.packing import Packed
from gan_runner.objectives.classifiers import CLASSIFIERS

_TOLD_THE_CLASS: Mapping[str, Callable[..., nn.Module]] = {
    "projection": ProjectionDiscriminator,
    "concatenation": ConcatenationDiscriminator,
    **{
        name: partial(ClassifyingDiscriminator, answers_per_class=loss.answers_per_class)
        for name, loss in CLASSIFIERS.items()
    },
}
_REGISTRATIONS = 4  # of a parameter at the most, as it is made, initialised and normalised


def is_ours(node: Mapping[str, Any]) -> bool:
    """Whether a node's class or function is this package's, whose networks can be made without memory."""
    return str(node["_target_"]).startswith(f"{gan_runner.__name__}.")


def make_player(
    which: Literal["generator", "discriminator"],
    node: Mapping[str, Any],
    key: str,
    game: Mapping[str, Any],
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
) -> nn.Module:
    """Make an untrained G or D as a game has it: of packs of images, or beside the class of each.

    Args:
        which: the player.
        node: the network's.
        key: the node's, for messages.
        game: the game's settings, of which `packing`, `conditioning` and `embedding_dim` are looked at, if it has them.
        image_shape: channels, height and width.
        classes: names of the data's classes.

    Raises:
        UserError: the network cannot be made, or not be given the class.
    """
    if conditioning_of(game, classes) and not asked_for(node, {"num_classes": len(classes)}):

        def make_it(image_shape: tuple[int, int, int], **instead: object) -> nn.Module:
            return make_network({**node, **instead}, key, image_shape, classes)

        if which == "discriminator":
            return _TOLD_THE_CLASS[game["conditioning"]](make_it, image_shape, len(classes))
        latent_dim, embedding_dim = _latent_dim_of(node, key), game["embedding_dim"]
        return ConditionalGenerator(make_it, image_shape, latent_dim, len(classes), embedding_dim)
    packing = packing_of(game) if which == "discriminator" else 1
    channels, height, width = image_shape
    net = make_network(node, key, (packing * channels, height, width), classes)
    return net if packing == 1 else Packed(net, packing)


def packing_of(game: Mapping[str, Any]) -> int:
    """Images that D judges at a time, by a game's settings."""
    return int(game.get("packing", 1))


def conditioning_of(game: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """The settings by which a game gives its networks the class; {} if it does not, or the data have none."""
    if game.get("conditioning") is None or not classes:
        return {}
    return {name: game[name] for name in ("conditioning", "embedding_dim")}


def _latent_dim_of(node: Mapping[str, Any], key: str) -> int:
    """The size of a generator's latent, which the class is joined with."""
    if isinstance(latent_dim := node.get("latent_dim"), int):
        return latent_dim
    raise UserError(
        f"{key} ({node['_target_']}) has no setting latent_dim, which this game enlarges by game.embedding_dim to "
        "give it the class beside the latent.",
        "Give it a parameter latent_dim, with latent_dim: ${model.latent_dim} in its YAML file; or a parameter "
        "num_classes, and a forward(latents, label).",
    )


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
