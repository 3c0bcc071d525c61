"""Games by their nodes: with the loss, latent, penalty and augmentation that each asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from gan_runner.building.making import asked_for, make, named_by
from gan_runner.contracts import hold_to
from gan_runner.data.image_set import Kind
from gan_runner.games import Drawing, FromLatents, Game, draws_from_latents_alone
from gan_runner.objectives.augment import AdaptiveChance, Augmentation
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several, parts_of
from gan_runner.objectives.targets import Labels
from gan_runner.training.distributed import ALONE, World

PARTS_OF_A_GAME = ("game", "latent", "loss", "labels", "penalty", "augment")
"""The groups that a game is made of."""


def make_game(
    nodes: Mapping[str, Any], kind: Kind, device: torch.device, world: World = ALONE, num_images: int = 0
) -> Game:
    """Make a game with what it asks for.

    Args:
        nodes: plain ones, by `PARTS_OF_A_GAME`; penalty and augment may be empty.
        kind: of the data.
        device: where it is played.
        world: who plays it.
        num_images: of the training set; 0 where nothing is trained.
    """
    offered: dict[str, Callable[[], object]] = {
        "latent": lambda: make_latent(nodes["latent"]),
        "loss": lambda: _make_loss(nodes),
        "penalty": lambda: make_penalty(nodes["penalty"]),
        "augment": lambda: _make_augment(nodes["augment"], device, world, num_images),
        "num_classes": lambda: len(kind.classes),
        "source_shape": lambda: kind.source if kind.partners else None,
        "domains": lambda: None if kind.partners or kind.source is None else (kind.shape, kind.source),
        "world": lambda: world,
    }
    given = {name: offered[name]() for name in asked_for(nodes["game"], offered)}
    game: Game = hold_to(make(nodes["game"], **given), Game, "game")
    return game


def parts_that_draw(game: Mapping[str, Any]) -> Sequence[str]:
    """The groups that a game's images are drawn with: its latents alone where it draws from those, else all of it.

    Args:
        game: its node.
    """
    return ("latent",) if draws_from_latents_alone(named_by(game)) else PARTS_OF_A_GAME


def make_drawing(nodes: Mapping[str, Any], kind: Kind, device: torch.device) -> Drawing:
    """Make what draws a game's samples.

    Args:
        nodes: plain ones, by `parts_that_draw`.
        kind: of the data.
        device: where images are drawn.
    """
    if "game" in nodes:
        return make_game(nodes, kind, device)
    return FromLatents(make_latent(nodes["latent"]))


def make_latent(node: Mapping[str, Any]) -> Latent:
    """Make the distribution of latents that a node describes."""
    latent: Latent = hold_to(make(node), Latent, "latent")
    return latent


def make_penalty(node: Mapping[str, Any]) -> Penalty | Several | None:
    """Make the penalty that a node describes, or several; None of an empty one."""
    if not node:
        return None
    penalty: Penalty | Several = make(node)
    for name, part in parts_of(penalty).items():
        hold_to(part, Penalty, "penalty" if name == "penalty" else f"penalty.parts.{name}")
    return penalty


def _make_augment(node: Mapping[str, Any], device: torch.device, world: World, num_images: int) -> Augmentation | None:
    if not node or (made := make(node, **asked_for(node, {"num_images": num_images}))) is None:
        return None
    augment: Augmentation = hold_to(made, Augmentation, "augment")
    if isinstance(augment, nn.Module):
        augment.to(device)
    if isinstance(augment, AdaptiveChance) and world.size > 1:
        augment.of_all = world.interleaved
    return augment


def _make_loss(nodes: Mapping[str, Any]) -> AdversarialLoss:
    """Make the loss, with the targets if it takes any."""
    node = nodes["loss"]
    if not takes_labels(node):
        return hold_to(cast("AdversarialLoss", make(node)), AdversarialLoss, "loss")
    labels = hold_to(cast("Labels", make(nodes["labels"])), Labels, "labels")
    return hold_to(cast("AdversarialLoss", make(node, labels=labels)), AdversarialLoss, "loss")


def takes_labels(loss: Mapping[str, Any]) -> bool:
    """Whether the loss that a node describes is taught by targets."""
    return bool(asked_for(loss, {"labels": None}))
