"""The interface of a game: the losses of D and G, for any networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gan_runner import tags
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games.drawing import Drawing

Terms = Mapping[str, Tensor]


def total(terms: Terms) -> Tensor:
    """The loss: the sum of the terms, 0-d."""
    return reduce(torch.add, terms.values())


@dataclass(frozen=True)
class Outcome:
    """The result of an update's forward pass.

    Attributes:
        terms: named and weighted 0-d losses, of which the network minimises the sum.
        measured: 0-d numbers by tag, such as "accuracy/d_real"; the log shows their means over updates. An update of D
            always measures the same tags, and so does one of G.
        drawn: of an update of G what it drew, without gradients, for D to be shown where G plays first; None where D's
            update has images drawn for itself.
    """

    terms: Terms
    measured: Mapping[str, Tensor]
    drawn: Batch | None = None


class Game(Drawing, Protocol):
    """The loss terms of D and G. The networks are passed in at every call."""

    #: Whether G's update is shown real images and conditions; if not, its batch is None.
    g_sees_data: bool
    #: Whether the sign of a logit says "real" (positive) or "generated" (negative).
    classifies: bool

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """D's loss on real and generated images; no gradient flows to G."""
        ...

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """G's loss.

        Args:
            d: the discriminator, whose weights are frozen.
            g: the generator.
            latents: [B, latent_dim].
            real: B real images with their conditions; None unless `g_sees_data`.
        """
        ...


@runtime_checkable
class WithLazyTerms(Protocol):
    """A game with additional updates of D at intervals, as for lazy regularisation."""

    def d_lazy_phase(self, update: int) -> tuple[str, ...]:
        """Names of the terms of the one that follows D's update of this number, the first being 0; () for most."""
        ...

    def d_lazy_terms(self, d: nn.Module, real: Batch, fake: Batch, names: Sequence[str]) -> Terms:
        """The terms of those names, at real images and generated ones."""
        ...


@runtime_checkable
class DrawsBesideReal(Protocol):
    """A game whose D is shown what is drawn from the real images themselves, not from their conditions alone."""

    def beside(self, g: nn.Module, latents: Tensor, real: Batch) -> Batch:
        """What D is shown beside real images; see `Drawing.generate`."""
        ...


def drawn_beside(game: Game, g: nn.Module, latents: Tensor, real: Batch) -> Batch:
    """What a game has G draw for D to be shown beside real images."""
    if isinstance(game, DrawsBesideReal):
        return game.beside(g, latents, real)
    return game.generate(g, latents, real.conditions)


def checked_logits(logits: Tensor, count: int) -> Tensor:
    """Refuse logits that are neither [B], one for each image, nor a map [B, ...] with two or more further axes.

    Raises:
        UserError: the user's own D returns something else.
    """
    if not isinstance(logits, Tensor) or not logits.shape or logits.shape[0] != count or logits.dim() == 2:
        shape = "x".join(map(str, logits.shape)) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"model.discriminator gives {shape} for {count} images, but must give one logit each.",
            "Let its forward return a tensor of shape [B], or a map of logits [B, h, w].",
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def accuracy_of(means: Mapping[str, float]) -> float:
    """D's accuracy, the mean of its accuracies on real and on generated images, from a mapping that has both."""
    return 0.5 * (means[tags.ACCURACY_REAL] + means[tags.ACCURACY_FAKE])


def area_under_roc(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Chance that a real image, [N] scores, scores above a generated one, [M] scores; a tie counts a half."""
    difference = real_scores[:, None] - fake_scores[None, :]
    return 0.5 * (difference.sign().mean() + 1.0)
