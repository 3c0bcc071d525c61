"""The translator of a run, from its config and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from gan_runner.building.making import named_by
from gan_runner.building.networks import draws_both_ways
from gan_runner.config.build import kind_of_checkpoint, plain, sampler_of_checkpoint
from gan_runner.data.pairs import Direction
from gan_runner.errors import UserError
from gan_runner.games import draws_from_latents_alone
from gan_runner.training.translating import Translator, is_backwards


def direction_of(config: DictConfig) -> Direction:
    """Which of the two images is drawn from which, by a run's data; AtoB if they do not say."""
    direction: Direction = config.data.get("direction", "AtoB")
    return direction


def translator_of_run(
    config: DictConfig, state: Mapping[str, Any], device: torch.device, where: str, direction: Direction | None = None
) -> Translator:
    """Make the translator of a run.

    Args:
        config: the run's config.
        state: its checkpoint.
        device: where to draw.
        where: names the run in messages: "run is DIR".
        direction: AtoB or BtoA; None is that of the run's data.

    Raises:
        UserError: the generator does not take images, or translates only in the other direction.
    """
    kind, game = kind_of_checkpoint(state["about"]), plain(config.game)
    if kind.source is None or draws_from_latents_alone(named_by(game)):
        raise UserError(
            f"{where}, whose generator does not take images.",
            "Use gan-sample for this run, or train one that does: game=paired or game=cycle.",
        )
    backwards = is_backwards(direction, direction_of(config), draws_both_ways(game), where)
    sampler = sampler_of_checkpoint(config, state, 0, device, backwards=backwards)
    return Translator(sampler, kind.shape if backwards else kind.source)
