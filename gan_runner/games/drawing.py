"""How a game's pictures are drawn, apart from what its players minimise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.objectives.latents import Latent

Examples = Callable[[int], Batch]
"""Gives so many real images with their conditions, float32 in [-1, 1], always the same ones."""


class Drawing(Protocol):
    """What G is given, and how it is asked to draw."""

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw G's random input, float32 [count, latent_dim]; from the device's own numbers without `generator`."""
        ...

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """Have G draw.

        Args:
            g: the generator, its average or a copy.
            latents: [B, latent_dim].
            conditions: of the real images beside which D will be shown these; see `Batch`.

        Returns:
            Images [B, C, H, W] in [-1, 1], with the conditions that they were drawn for.
        """
        ...

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """What G is given besides latents for a grid of pictures: one class a row, say. {} where G takes latents alone.

        Args:
            count: pictures in the grid, in reading order.
            columns: pictures in a row.
            examples: gives real images where the game needs some.
        """
        ...


class FromLatents:
    """G maps latents to images and knows nothing else.

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
    """Whether a class of games draws as `FromLatents` does, so that a latent is all that its drawing needs."""
    methods = ("latents", "generate", "grid_conditions")
    return all(getattr(game, name, None) is getattr(FromLatents, name) for name in methods)
