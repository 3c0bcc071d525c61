"""The game of Goodfellow et al. (2014, arXiv:1406.2661): G draws, D tells real from drawn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.games.game import Examples, Outcome, area_under_roc, checked_logits
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty


class Adversarial:
    """G maps latents to images and knows nothing else; D looks at images alone.

    A game in which both are given more overrides `generate`, `judge` and `grid_conditions`.

    Args:
        latent: where G's input comes from.
        loss: what both minimise.
        penalty: a further term of D's, or None.
    """

    g_sees_data = False

    def __init__(self, latent: Latent, loss: AdversarialLoss, penalty: Penalty | None) -> None:
        self.latent = latent
        self.loss = loss
        self.penalty = penalty
        self.classifies = loss.classifies

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """See `Game`."""
        return self.latent.sample(count, device, generator)

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Game`."""
        return Batch(g(latents))

    def judge(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """D's logits for images under conditions, [B] or a map [B, ...], as D gives them."""
        logits: Tensor = d(images)
        return logits

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """See `Game`."""
        return {}

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """D's terms on real and generated images, judged as one joined batch.

        D is measured by what the images are, never by their targets. Where the sign of a logit means nothing (a
        critic), the chance that a real image scores above a generated one (the area under the ROC curve) stands in
        for both accuracies.
        """
        count = len(real) + len(fake)
        conditions = {name: torch.cat([real.conditions[name], value]) for name, value in fake.conditions.items()}
        logits = checked_logits(self.judge(d, torch.cat([real.images, fake.images]), conditions), count)
        real_logits, fake_logits = logits.split([len(real), len(fake)])
        terms = {"adversarial": self.loss.d(real_logits, fake_logits)}
        measured = {}
        if self.penalty is not None:
            terms["penalty"] = self.penalty(
                lambda images: checked_logits(self.judge(d, images, real.conditions), len(images)),
                real.images,
                fake.images,
            )
            measured["penalty/d"] = terms["penalty"]
        return Outcome(terms, measured | self._measured(real_logits.detach(), fake_logits.detach()))

    def _measured(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        if not self.loss.classifies:
            area = area_under_roc(*(logits.reshape(len(logits), -1).mean(1) for logits in (real, fake)))
            return {"accuracy/d_real": area, "accuracy/d_fake": area}
        return {
            "accuracy/d_real": (real > 0).mean(dtype=torch.float32),
            "accuracy/d_fake": (fake <= 0).mean(dtype=torch.float32),
            "probability/real": real.sigmoid().mean(),
            "probability/fake": fake.sigmoid().mean(),
        }

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """G's terms on what it draws from latents.

        Where the sign of a logit means nothing, generated images alone tell nothing about D.
        """
        drawn = self.generate(g, latents, real.conditions if real is not None else {})
        fake_logits = checked_logits(self.judge(d, drawn.images, drawn.conditions), len(latents))
        measured = {}
        if self.loss.classifies:
            fake = fake_logits.detach()
            measured["probability/fake"] = fake.sigmoid().mean()
            measured["accuracy/d_fake"] = (fake <= 0).mean(dtype=torch.float32)
        return Outcome({"adversarial": self.loss.g(fake_logits)}, measured)
