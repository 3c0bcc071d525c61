"""The one way to draw pictures: fixed, fresh and evaluation pictures, and those that a command asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.games import Examples, Game
from gan_runner.seeds import generator_for

_BATCH = 256


@dataclass(frozen=True)
class Inputs:
    """What G draws pictures from.

    Attributes:
        latents: [N, latent_dim].
        conditions: of each picture; see `Batch`.
    """

    latents: Tensor
    conditions: Mapping[str, Tensor]

    def first(self, count: int) -> Inputs:
        """Those of the first `count` pictures."""
        return Inputs(self.latents[:count], {name: value[:count] for name, value in self.conditions.items()})


class Sampler:
    """Draws with a network by a game's rules, in evaluation mode and float32.

    Args:
        game: how G is asked to draw.
        net: what draws; see `Players.drawing_net`.
        examples: gives real images, for games that draw beside some.
        seed: the run's, or a command's own; what is drawn depends on it, and on no device.
        device: where the network lies.
    """

    def __init__(self, game: Game, net: nn.Module, examples: Examples, seed: int, device: torch.device) -> None:
        self._game = game
        self._net = net
        self._examples = examples
        self._seed = seed
        self._device = device

    def for_grid(self, purpose: str, count: int, columns: int, number: int = 0) -> Inputs:
        """Inputs for a grid of pictures.

        Args:
            purpose: what the pictures are for; different purposes never share latents.
            count: pictures.
            columns: pictures in a row of the grid.
            number: tells grids of one purpose apart, such as an iteration.
        """
        conditions = self._game.grid_conditions(count, columns, self._examples)
        return Inputs(self._latents(purpose, count, number), self._moved(conditions))

    def like_data(self, purpose: str, count: int) -> Inputs:
        """Inputs whose conditions come as often as in the data."""
        conditions = self._examples(count).conditions if self._conditional else {}
        return Inputs(self._latents(purpose, count), self._moved(conditions))

    @cached_property
    def _conditional(self) -> bool:
        """Whether G is given more than latents; if not, no real image need be brought for its sake."""
        return bool(self._game.grid_conditions(1, 1, self._examples))

    def draw(self, inputs: Inputs) -> list[Batch]:
        """Draw pictures, float32 [N, C, H, W] in [-1, 1], in batches."""
        was_training = self._net.training
        self._net.eval()
        drawn = []
        with torch.no_grad():
            for start in range(0, len(inputs.latents), _BATCH):
                rows = slice(start, start + _BATCH)
                conditions = {name: value[rows] for name, value in inputs.conditions.items()}
                drawn.append(self._game.generate(self._net, inputs.latents[rows], conditions))
        self._net.train(was_training)
        return drawn

    def pictures(self, inputs: Inputs) -> Tensor:
        """Draw pictures, float32 [N, C, H, W] in [-1, 1]."""
        return torch.cat([batch.images for batch in self.draw(inputs)])

    def _latents(self, purpose: str, count: int, number: int = 0) -> Tensor:
        generator = generator_for(self._seed, purpose, number)
        return self._game.latents(count, torch.device("cpu"), generator).to(self._device)

    def _moved(self, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self._device) for name, value in conditions.items()}
