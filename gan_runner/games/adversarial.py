"""What the players play: which terms D and G minimise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from gan_runner.errors import UserError
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty

Terms = dict[str, Tensor]


def total(terms: Terms) -> Tensor:
    """What a player minimises: the sum of its terms, 0-d."""
    return reduce(torch.add, terms.values())


@dataclass(frozen=True)
class Judgement:
    """What D made of a batch.

    Attributes:
        terms: named 0-d losses; the player minimises their sum.
        real_logits: D's logits for real images, [B].
        fake_logits: D's logits for generated images, [B].
    """

    terms: Terms
    real_logits: Tensor
    fake_logits: Tensor


class Adversarial:
    """The game of Goodfellow et al. (2014, arXiv:1406.2661): G draws, D tells real from drawn."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty | None,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.latent = latent
        self.loss = loss
        self.penalty = penalty

    def d_terms(self, real: Tensor, fake: Tensor) -> Judgement:
        """D's terms on real and generated images, [B, C, H, W] each in [-1, 1], judged as one joined batch."""
        logits = self.discriminator(torch.cat([real, fake])).float()
        check_logits(logits, len(real) + len(fake))
        real_logits, fake_logits = logits.split([len(real), len(fake)])
        terms = {"adversarial": self.loss.d(real_logits, fake_logits)}
        if self.penalty is not None:
            terms["penalty"] = self.penalty(self.discriminator, real, fake)
        return Judgement(terms, real_logits, fake_logits)

    def g_terms(self, z: Tensor) -> tuple[Terms, Tensor]:
        """G's terms on latents [B, latent_dim], and D's logits [B] for what G drew from them."""
        fake_logits = self.discriminator(self.generator(z)).float()
        return {"adversarial": self.loss.g(fake_logits)}, fake_logits

    # The names of what `read_d` measures, in their order.
    d_readings = (
        "loss/d",
        "penalty/d",
        "accuracy/d_real",
        "accuracy/d_fake",
        "probability/real",
        "probability/fake",
    )

    @property
    def g_readings(self) -> tuple[str, ...]:
        """The names of what `read_g` measures, in their order.

        Where the sign of a logit means nothing, generated images alone tell nothing about D's accuracy.
        """
        return ("loss/g", "probability/fake") + ("accuracy/d_fake",) * self.loss.classifies

    def read_d(self, judgement: Judgement) -> Sequence[Tensor]:
        """Measure a step of D, 0-d each: D is judged by what the images are, never by their targets.

        Where the sign of a logit means nothing (a critic), the chance that a real image scores above a
        generated one (the area under the ROC curve) stands in for both accuracies.
        """
        real, fake = judgement.real_logits.detach(), judgement.fake_logits.detach()
        loss = total(judgement.terms)
        penalty = judgement.terms.get("penalty", torch.zeros_like(loss))
        if self.loss.classifies:
            accuracies = [(real > 0).mean(dtype=torch.float32), (fake <= 0).mean(dtype=torch.float32)]
        else:
            accuracies = [area_under_roc(real, fake)] * 2
        return [loss, penalty, *accuracies, real.sigmoid().mean(), fake.sigmoid().mean()]

    def read_g(self, terms: Terms, fake_logits: Tensor) -> Sequence[Tensor]:
        """Measure a step of G, 0-d each."""
        fake = fake_logits.detach()
        accuracy = [(fake <= 0).mean(dtype=torch.float32)] * self.loss.classifies
        return [total(terms), fake.sigmoid().mean(), *accuracy]


def check_logits(logits: Tensor, count: int) -> None:
    """Refuse answers of another shape than [count]: against targets [count] they would make a square, and no error.

    Raises:
        UserError: D, a part of the user's own, does not give one logit for each image.
    """
    if logits.shape != (count,):
        shape = "x".join(map(str, logits.shape))
        raise UserError(
            f"model.discriminator gives {shape} for {count} images, but must give one logit each.",
            "Let its forward return a tensor of shape [B].",
        )


def accuracy_of(means: Mapping[str, float]) -> float:
    """D's accuracy over real and generated images, which count alike, from the two by their names."""
    return 0.5 * (means["accuracy/d_real"] + means["accuracy/d_fake"])


def area_under_roc(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Chance that a real image, [N] scores, scores above a generated one, [M] scores; a tie counts a half."""
    difference = real_scores[:, None] - fake_scores[None, :]
    return 0.5 * (difference.sign().mean() + 1.0)
