"""How a game's samples are drawn; the losses are in `game`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.objectives.latents import Latent

Examples = Callable[[int], Batch]
"""Gives so many real images with their conditions, float32 in [-1, 1], always the same ones."""


class Drawing(Protocol):
    """G's inputs, and how samples are drawn from them."""

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw G's random input, float32 [count, latent_dim]; from the device's own numbers without `generator`."""
        ...

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """Draw samples from G.

        Args:
            g: the generator, its average or a copy.
            latents: [B, latent_dim].
            conditions: of the real images in the same batch; see `Batch`.

        Returns:
            Images [B, C, H, W] in [-1, 1], with the conditions that they were drawn for.
        """
        ...

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """G's inputs besides latents for a grid of samples, such as one class per row. {} if G takes only latents.

        Args:
            count: samples in the grid, in reading order.
            columns: samples in a row.
            examples: gives real images, if the game needs them.
        """
        ...


@runtime_checkable
class DrawsBackwards(Protocol):
    """A game that draws images from sources, and sources from images."""

    def backwards(self) -> Drawing:
        """What draws sources, from images as the condition `source`."""
        ...


class FromLatents:
    """G maps latents to images, without further inputs.

    Args:
        latent: where G's input comes from.
    """

    def __init__(self, latent: Latent) -> None:
        self.latent = latent

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """See `Drawing`."""
        return self.latent.sample(count, device, generator)

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`."""
        return Batch(g(latents))

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """See `Drawing`."""
        return {}


def draws_from_latents_alone(game: object) -> bool:
    """Whether a class of games draws as `FromLatents` does, from latents only."""
    methods = ("latents", "generate", "grid_conditions")
    return all(getattr(game, name, None) is getattr(FromLatents, name) for name in methods)
