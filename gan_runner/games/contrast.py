"""The game of FastCUT (Park et al. 2020, arXiv:2007.15651): images of one domain into another's, without pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from gan_runner.data import Batch
from gan_runner.data.batch import SOURCE, TARGET
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial
from gan_runner.games.drawing import Examples
from gan_runner.games.game import Outcome
from gan_runner.objectives.augment import Augmentation
from gan_runner.objectives.latents import Nothing
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several
from gan_runner.ranges import Count, NonNegative, Positive

Shape = tuple[int, int, int]


@runtime_checkable
class PatchFeatures(Protocol):
    """A generator that tells what its encoder sees at places of an image."""

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """Features at several layers, [B, C, h, w] each."""
        ...

    def embedded(self, layer: int, features: Tensor) -> Tensor:
        """Features of one layer, [..., C], as vectors to compare, [..., dim]."""
        ...


class Contrast(Adversarial):
    """G draws images from sources; a patch that is drawn has to be more like its own place in the source than others.

        G minimises  adversarial + contrast_weight * mean over layers of InfoNCE    (equations 3 and 4)

    of the features that G's own encoder has at places of the image, in comparison with those at the same place of the
    source, among all chosen places of that source. D judges images alone.

    Args:
        loss: see `Adversarial`.
        penalty: see `Adversarial`.
        augment: see `Adversarial`.
        domains: shapes of images and of sources, (C, H, W); None where the data are no two domains.
        contrast_weight: of the comparison of patches.
        temperature: by which cosines are divided.
        patches: places of each layer, at most; all where there are fewer.
        mirrored: half of the time the source is mirrored for the comparison, and its features are mirrored back.

    Raises:
        UserError: the data are no two domains, or have other channels, so that no encoder sees both.
    """

    g_sees_data = True
    gives_source = True  # to its generator
    d_gets_source = False
    compares_patches = True  # by a generator with heads for them

    def __init__(
        self,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None,
        domains: tuple[Shape, Shape] | None,
        contrast_weight: NonNegative,
        temperature: Positive,
        patches: Count,
        mirrored: bool,
    ) -> None:
        if domains is None:
            raise UserError(
                "game=contrast learns to draw the images of one domain from another's, but this data set has no two "
                "domains.",
                "Try data=unpaired, which makes them from another data set, data=unpaired_folders, or for pairs "
                "game=paired.",
            )
        if domains[0][0] != domains[1][0]:
            raise UserError(
                f"The two domains have {domains[1][0]} and {domains[0][0]} channels, but game=contrast has one encoder "
                "see both.",
                "Give both as many, by data.channels.",
            )
        super().__init__(Nothing(), loss, penalty, augment)
        self.contrast_weight = contrast_weight
        self.temperature = temperature
        self.patches = patches
        self.mirrored = mirrored

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`; the image to draw from is all that G is given."""
        return Batch(g(conditions[SOURCE]), conditions)

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """See `Game`; of images alone."""
        return super().d_terms(d, Batch(real.images), Batch(fake.images))

    def d_lazy_terms(self, d: nn.Module, real: Batch, fake: Batch, names: Sequence[str]) -> dict[str, Tensor]:
        """See `WithLazyTerms`."""
        return super().d_lazy_terms(d, Batch(real.images), Batch(fake.images), names)

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """See `Game`; of D's part and of the comparison of patches."""
        assert real is not None, "this game's G sees data"
        drawn = self.generate(g, latents, real.conditions)
        outcome = self.against(d, Batch(drawn.images), Batch(real.images))
        contrast = self._contrast(g, drawn.images, real.conditions[SOURCE])
        terms = {**outcome.terms, "contrast": self.contrast_weight * contrast}
        return Outcome(terms, {**outcome.measured, "contrast/g": contrast.detach()})

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """As many real sources, and real images beside them."""
        real = examples(count)
        return {**real.conditions, TARGET: real.images}

    def _contrast(self, g: nn.Module, images: Tensor, source: Tensor) -> Tensor:
        assert isinstance(g, PatchFeatures)
        mirror = torch.rand((), device=source.device) < 0.5 if self.mirrored else None
        with torch.no_grad():  # no gradient reaches what is compared with
            seen = source if mirror is None else torch.where(mirror, source.flip(3), source)
            keys = [each if mirror is None else torch.where(mirror, each.flip(3), each) for each in g.maps(seen)]
        losses = []
        for layer, (queries, key) in enumerate(zip(g.maps(images), keys, strict=True)):
            places = torch.randperm(key.shape[2] * key.shape[3], device=key.device)[: self.patches]
            chosen = (each.flatten(2).index_select(2, places).transpose(1, 2) for each in (queries, key.detach()))
            query, truth = (normalize(g.embedded(layer, each).float(), dim=-1) for each in chosen)
            losses.append(info_nce(query, truth.detach(), self.temperature))
        return torch.stack(losses).mean()


def info_nce(queries: Tensor, keys: Tensor, temperature: Positive) -> Tensor:
    """How hard it is to find each query's own key among the keys of its image, in nats, a mean (van den Oord 2018).

    Args:
        queries: unit vectors, [B, N, dim].
        keys: likewise; the one in a query's row is its own.
        temperature: by which cosines are divided.
    """
    logits = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return cross_entropy(logits.flatten(0, 1), own.flatten())
