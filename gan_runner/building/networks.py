"""Networks held to the weights that they are to have before they take memory, for a folder may ask for any size."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

import gan_runner
from gan_runner.building.making import asked_for, make_network, named_by
from gan_runner.data.image_set import Kind
from gan_runner.data.loader import SHARE_OF_FREE_MEMORY
from gan_runner.data.resources import free_memory, megabytes
from gan_runner.errors import UserError
from gan_runner.models.both_ways import Judges, Translators
from gan_runner.models.conditional import (
    ClassifyingDiscriminator,
    ConcatenationDiscriminator,
    ConditionalGenerator,
    PairDiscriminator,
    ProjectionDiscriminator,
)
from gan_runner.models.packing import Packed
from gan_runner.models.patch_features import WithPatchFeatures
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
    kind: Kind,
) -> nn.Module:
    """Make an untrained G or D as a game has it: of packs of images, or beside the class or the source of each.

    A network that takes `num_classes`, or `source_shape`, is called with the class, or the source; any other is wrapped
    as `gan_runner.models.conditional` has it.

    Args:
        which: the player.
        node: the network's.
        key: the node's, for messages.
        game: the game's settings, of which `packing` and those of `conditioning_of` are looked at, if it has them.
        kind: of the data.

    Raises:
        UserError: the network cannot be made, or not be given the class or the source.
    """

    def make_it(image_shape: tuple[int, int, int], **instead: object) -> nn.Module:
        return make_network({**node, **instead}, key, replace(kind, shape=image_shape))

    if "_target_" in game and draws_both_ways(game) and kind.source is not None:
        return _both_ways(which, node, key, kind, kind.source)
    given, of_data = conditioning_of(game, kind), {"num_classes": len(kind.classes), "source_shape": kind.source}
    takes = asked_for(node, of_data)
    if "source_shape" in given or "source_shape" in takes:
        _check_source(which, node, key, given=given, takes=takes)
        assert kind.source is not None, "a game that gives sources has refused data without"
        if takes or not _gets_source(which, game):
            net = make_it(kind.shape)
            return WithPatchFeatures(net) if which == "generator" and _compares_patches(game) else net
        return PairDiscriminator(make_it, kind.shape, kind.source)
    if given and not takes:
        if which == "discriminator":
            return _TOLD_THE_CLASS[given["conditioning"]](make_it, kind.shape, len(kind.classes))
        latent_dim, embedding_dim = _latent_dim_of(node, key), given["embedding_dim"]
        return ConditionalGenerator(make_it, kind.shape, latent_dim, len(kind.classes), embedding_dim)
    packing = packing_of(game) if which == "discriminator" else 1
    channels, height, width = kind.shape
    net = make_it((packing * channels, height, width))
    return net if packing == 1 else Packed(net, packing)


def _both_ways(
    which: Literal["generator", "discriminator"],
    node: Mapping[str, Any],
    key: str,
    kind: Kind,
    source: tuple[int, int, int],
) -> nn.Module:
    """Make two networks of a kind, of images and of sources, for a game that draws both from each other."""
    takes = asked_for(node, {"source_shape": source})
    _check_source(which, node, key, given={"source_shape": source}, takes=takes)
    there, back = (
        make_network(node, key, Kind(shape, (), other)) for shape, other in ((kind.shape, source), (source, kind.shape))
    )
    return Translators(there, back) if which == "generator" else Judges(there, back)


def _check_source(
    which: str, node: Mapping[str, Any], key: str, given: Mapping[str, object], takes: Mapping[str, object]
) -> None:
    """Refuse a game of pairs for networks of latents, and the other way round."""
    if "source_shape" not in given:
        raise UserError(
            f"{key} ({node['_target_']}) is for pairs of images, which this game gives no network.",
            "Try game=paired data=paired, or another model, such as model=dcgan.",
        )
    if which == "generator" and "source_shape" not in takes:
        raise UserError(
            f"{key} ({node['_target_']}) has no parameter source_shape, where this game needs a generator that draws "
            "from images.",
            "Try model=unet, or give it that parameter and a forward(source).",
        )


def packing_of(game: Mapping[str, Any]) -> int:
    """Images that D judges at a time, by a game's settings."""
    return int(game.get("packing", 1))


def conditioning_of(game: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The settings by which a game gives its networks what is known of an image; {} if it gives nothing.

    Args:
        game: its node, or what this gave of it before.
        kind: of the data.

    Returns:
        {"conditioning": ..., "embedding_dim": ...} for the class; {"source_shape": [C, H, W]} for a picture.
    """
    if "source_shape" in game or (kind.source and "_target_" in game and gives_source(game)):
        return {"source_shape": game.get("source_shape", list(kind.source or ()))}
    if game.get("conditioning") is None or not kind.classes:
        return {}
    return {name: game[name] for name in ("conditioning", "embedding_dim")}


def draws_both_ways(game: Mapping[str, Any]) -> bool:
    """Whether a game, by its node, draws images from sources and sources from images."""
    return bool(getattr(named_by(game), "both_ways", False))


def gives_source(game: Mapping[str, Any]) -> bool:
    """Whether a game, by its node, gives its networks the image that each is to be drawn from."""
    return bool(getattr(named_by(game), "gives_source", False))


def _gets_source(which: str, game: Mapping[str, Any]) -> bool:
    """Whether a player is given sources by a game, or by what `conditioning_of` kept of it, that gives them to G."""
    return which == "generator" or bool("_target_" not in game or getattr(named_by(game), "d_gets_source", True))


def _compares_patches(game: Mapping[str, Any]) -> bool:
    return "_target_" in game and bool(getattr(named_by(game), "compares_patches", False))


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


def check_room_to_draw(net: nn.Module, source: tuple[int, int, int], device: torch.device, told_by: str) -> None:
    """Refuse images that memory cannot hold while they are drawn: weights of convolutions do not tell their size.

    Args:
        net: the generator, of this package's layers.
        source: channels, height and width of the images that it draws from.
        device: where images are drawn.
        told_by: what their size is read from, for the message.

    Raises:
        UserError: one image would take more memory than there is.
    """
    values: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda layer, given, found: values.append(found.numel()))
        for layer in net.modules()
        if not list(layer.children())
    ]
    weights = {name: tensor.to("meta") for name, tensor in chain(net.named_parameters(), net.named_buffers())}
    with torch.no_grad():
        torch.func.functional_call(net, weights, (torch.empty(1, *source, device="meta"),))
    for hook in hooks:
        hook.remove()
    needed, allowed = 4 * sum(values), int(SHARE_OF_FREE_MEMORY[True] * free_memory(device))
    if needed > allowed:
        raise UserError(
            f"{told_by} says that its images are of {source[1]}x{source[2]} pixels. To draw one takes "
            f"{megabytes(needed)}, and {device} has {megabytes(allowed)} to give.",
            "Draw where there is more memory, or restore the file if its images are not as large.",
        )


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
