"""The game of CycleGAN (Zhu et al. 2017, arXiv:1703.10593): images of two domains into each other, without pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.data.batch import (
    CYCLED,
    CYCLED_TARGET,
    DRAWN_SOURCE,
    NOISY_CYCLED,
    NOISY_CYCLED_TARGET,
    SOURCE,
    TARGET,
)
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial
from gan_runner.games.drawing import Drawing, Examples
from gan_runner.games.game import Outcome
from gan_runner.objectives.augment import Augmentation
from gan_runner.objectives.image_pool import ImagePool, Sharing
from gan_runner.objectives.latents import Nothing
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several
from gan_runner.ranges import CountOrZero, NonNegative
from gan_runner.seeds import generator_for

Shape = tuple[int, int, int]

_OF_SOURCES = "of_sources"


@runtime_checkable
class Translating(Protocol):
    """Two generators in one module."""

    to_images: nn.Module
    to_sources: nn.Module


@runtime_checkable
class Judging(Protocol):
    """Two discriminators in one module."""

    of_images: nn.Module
    of_sources: nn.Module


class Cycle(Adversarial):
    """Two generators draw images from sources and sources from images; each domain has a discriminator.

    With G from sources a to images b and F back, both minimise

        adversarial + cycle_weight * (mean |F(G(a)) - a| + mean |G(F(b)) - b|)
                    + cycle_weight * identity_weight * (mean |G(b) - b| + mean |F(a) - a|)

    (equation 3 and section 5.2). Each discriminator plays the adversarial game of its domain, with its penalties and
    its augmentation, and is shown images of a pool.

    Args:
        loss: see `Adversarial`.
        penalty: see `Adversarial`.
        augment: see `Adversarial`.
        domains: shapes of images and of sources, (C, H, W); None where the data are no two domains.
        world: who plays together.
        cycle_weight: of the distance of images that were drawn there and back from what they were.
        identity_weight: of the change that a generator makes to an image of the domain that it draws, as a share of
            `cycle_weight`; 0 for none.
        pool: generated images of earlier updates that discriminators are shown some of; 0 for none.

    Raises:
        UserError: the data are no two domains, or have other channels and an `identity_weight`.
    """

    g_sees_data = True
    gives_source = True  # to its generators
    both_ways = True  # so that each player is two networks

    def __init__(
        self,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None,
        domains: tuple[Shape, Shape] | None,
        world: Sharing,
        cycle_weight: NonNegative,
        identity_weight: NonNegative,
        pool: CountOrZero,
    ) -> None:
        if domains is None:
            raise UserError(
                "game=cycle learns to draw the images of two domains from each other, but this data set has no two "
                "domains.",
                "Try data=unpaired, which makes them from another data set, data=unpaired_folders, or for pairs "
                "game=paired.",
            )
        if identity_weight and domains[0][0] != domains[1][0]:
            raise UserError(
                f"The two domains have {domains[1][0]} and {domains[0][0]} channels, so that no generator can be given "
                f"an image of the domain that it draws; but game.identity_weight is {identity_weight:g}.",
                "Try game.identity_weight=0.",
            )
        super().__init__(Nothing(), loss, penalty, augment)
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        names = ("images", "sources") if pool else ()
        self.pools = {name: ImagePool(pool, world) for name in names}

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`; with a `target` beside each source, sources are drawn from those, and all are drawn back."""
        assert isinstance(g, Translating)
        source = conditions[SOURCE]
        images = g.to_images(source)
        if TARGET not in conditions:
            return Batch(images, {SOURCE: source})
        back = g.to_sources(conditions[TARGET])
        around = {
            DRAWN_SOURCE: back,
            CYCLED: g.to_sources(images),
            CYCLED_TARGET: g.to_images(back),
            NOISY_CYCLED: g.to_sources(_with_noise(images)),
            NOISY_CYCLED_TARGET: g.to_images(_with_noise(back)),
        }
        return Batch(images, {**conditions, **around})

    def beside(self, g: nn.Module, latents: Tensor, real: Batch) -> Batch:
        """See `DrawsBesideReal`: images and sources, each drawn from the other domain's real ones."""
        assert isinstance(g, Translating)
        return Batch(g.to_images(real.conditions[SOURCE]), {DRAWN_SOURCE: g.to_sources(real.images)})

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """See `Game`; of both discriminators, who share no term. What is measured is the mean over both."""
        pooled = {
            "images": self._pooled("images", fake.images),
            "sources": self._pooled("sources", fake.conditions[DRAWN_SOURCE]),
        }
        return _both(
            super(Cycle, self).d_terms(judge, Batch(some), Batch(pooled[name]))
            for name, judge, some, _ in _sides(d, real, fake)
        )

    def d_lazy_terms(self, d: nn.Module, real: Batch, fake: Batch, names: Sequence[str]) -> dict[str, Tensor]:
        """See `WithLazyTerms`."""
        of_images, of_sources = (
            super(Cycle, self).d_lazy_terms(judge, Batch(some), Batch(drawn), names)
            for _, judge, some, drawn in _sides(d, real, fake)
        )
        return {**of_images, **{f"{name}_{_OF_SOURCES}": term for name, term in of_sources.items()}}

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """See `Game`; what is drawn is handed on, so that discriminators can be shown it."""
        assert real is not None, "this game's G sees data"
        assert isinstance(g, Translating)
        source, target = real.conditions[SOURCE], real.images
        if self.identity_weight:  # an image that is there already, in the same pass
            images, same_images = g.to_images(torch.cat([source, target])).chunk(2)
            sources, same_sources = g.to_sources(torch.cat([target, source])).chunk(2)
        else:
            images, sources = g.to_images(source), g.to_sources(target)
        drawn = Batch(images, {DRAWN_SOURCE: sources})
        outcome = _both(
            self.against(judge, Batch(some_drawn), Batch(some)) for _, judge, some, some_drawn in _sides(d, real, drawn)
        )
        cycle = _distance(g.to_sources(images), source) + _distance(g.to_images(sources), target)
        terms = {**outcome.terms, "cycle": self.cycle_weight * cycle}
        measured = {**outcome.measured, "cycle/g": cycle.detach() / 2}
        if self.identity_weight:
            identity = _distance(same_images, target) + _distance(same_sources, source)
            terms["identity"] = self.cycle_weight * self.identity_weight * identity
            measured["identity/g"] = identity.detach() / 2
        return Outcome(terms, measured, drawn.map(Tensor.detach))

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """As many real sources, and real images beside them."""
        real = examples(count)
        return {**real.conditions, TARGET: real.images}

    def backwards(self) -> Drawing:
        """What draws sources from images, as this draws images from sources."""
        return _Backwards(self)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: the strength of the augmentation, and the pools."""
        return super().state_dict() | {f"pool_{name}": pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        names = {f"pool_{name}": pool for name, pool in self.pools.items()}
        for name, pool in names.items():
            pool.load_state_dict(state[name])
        super().load_state_dict({name: value for name, value in state.items() if name not in names})

    def _pooled(self, name: str, drawn: Tensor) -> Tensor:
        return self.pools[name].shown(drawn) if self.pools else drawn


class _Backwards:
    """Draws as a game does, the other way round: the condition `source` is an image of the domain that it draws."""

    def __init__(self, game: Cycle) -> None:
        self._game = game

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        return self._game.latents(count, device, generator)

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        assert isinstance(g, Translating)
        return Batch(g.to_sources(conditions[SOURCE]), {SOURCE: conditions[SOURCE]})

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        return {SOURCE: examples(count).images}


def _sides(d: nn.Module, real: Batch, drawn: Batch) -> Iterable[tuple[str, nn.Module, Tensor, Tensor]]:
    """Each domain's name, its discriminator, its real images and those that were drawn."""
    assert isinstance(d, Judging)
    yield "images", d.of_images, real.images, drawn.images
    yield "sources", d.of_sources, real.conditions[SOURCE], drawn.conditions[DRAWN_SOURCE]


def _both(outcomes: Iterable[Outcome]) -> Outcome:
    """The terms of both domains, and the mean of what was measured of each."""
    images, sources = outcomes
    terms = {**images.terms, **{f"{name}_{_OF_SOURCES}": term for name, term in sources.terms.items()}}
    return Outcome(terms, {tag: (value + sources.measured[tag]) / 2 for tag, value in images.measured.items()})


def _with_noise(images: Tensor) -> Tensor:
    """Images whose every pixel is one level of 256 lighter or darker, by chance but always alike, [B, C, H, W]."""
    up = torch.randint(2, images.shape[1:], generator=generator_for(0, "noise of one level"))
    return (images + (2 * up - 1).to(images) / 127.5).clamp(-1, 1)


def _distance(images: Tensor, others: Tensor) -> Tensor:
    return (images - others).abs().mean(dtype=torch.float32)
