"""The game of pix2pix (Isola et al. 2017, arXiv:1611.07004): G draws one image of a pair from the other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.data.batch import SOURCE
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial
from gan_runner.games.drawing import Examples
from gan_runner.games.game import Outcome
from gan_runner.objectives.augment import Augmentation
from gan_runner.objectives.latents import Nothing
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several
from gan_runner.ranges import NonNegative


class Paired(Adversarial):
    """G turns the source image of a pair into the other one; D sees both images of a pair as channels of one input.

        G minimises  adversarial + l1_weight * mean |G(source) - truth|     (equation 4)

    Generated images use the sources of the real batch, in D's update and in G's. Penalties differentiate D with respect
    to the image, not the source. Augmentation changes both images of a pair alike.

    Args:
        loss: see `Adversarial`.
        penalty: see `Adversarial`.
        augment: see `Adversarial`.
        source_shape: [C, H, W] of the source images; None if the data set has no pairs.
        l1_weight: weight of the mean distance to the true image.

    Raises:
        UserError: the data set has no pairs.
    """

    g_sees_data = True
    gives_source = True  # to its networks

    def __init__(
        self,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None,
        source_shape: tuple[int, int, int] | None,
        l1_weight: NonNegative,
    ) -> None:
        if source_shape is None:
            raise UserError(
                "game=paired learns to draw one image of a pair from the other, but this data set has no pairs.",
                "Try data=paired, which makes pairs from another data set, data=paired_folder, or game=adversarial.",
            )
        super().__init__(Nothing(), loss, penalty, augment)
        self.l1_weight = l1_weight

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`; G is given the source image and nothing else."""
        source = conditions[SOURCE]
        return Batch(g(source), {SOURCE: source})

    def judge(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """D's logits for images, each together with its source image."""
        logits: Tensor = d(images, conditions[SOURCE])
        return logits

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """See `Game`; the adversarial loss, and the distance to the true images as `l1`."""
        assert real is not None, "this game's G sees data"
        drawn = self.generate(g, latents, real.conditions)
        outcome = self.against(d, drawn, real)
        distance = (drawn.images - real.images).abs().mean(dtype=torch.float32)
        terms = {**outcome.terms, "l1": self.l1_weight * distance}
        return Outcome(terms, {**outcome.measured, "l1/g": distance.detach()})

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """The source images of `count` real pairs."""
        return {SOURCE: examples(count).conditions[SOURCE]}
