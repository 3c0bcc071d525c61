"""The game of Goodfellow et al. (2014, arXiv:1406.2661): G generates images, D classifies them as real or generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_runner import tags
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games.drawing import FromLatents
from gan_runner.games.game import Outcome, area_under_roc, checked_logits
from gan_runner.objectives.augment import AdaptiveChance, Augmentation, View
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several, due, interval_of, parts_of
from gan_runner.ranges import Count


class Adversarial(FromLatents):
    """G maps latents to images, and D images to logits, without further inputs.

    Games with further inputs override `generate`, `judge` and `grid_conditions`.

    Args:
        latent: where G's input comes from.
        loss: what both minimise.
        penalty: one or several further terms of D's, or None.
        augment: transforms real and generated images before D sees them; None leaves them as they are.
        packing: images that D judges at a time.
    """

    g_sees_data = False  # unless the loss compares with real images, or a subclass says so

    def __init__(
        self,
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None = None,
        packing: Count = 1,
    ) -> None:
        if isinstance(augment, AdaptiveChance) and not loss.classifies:
            raise UserError(
                "augment is adapted by the sign of D's logits, but this loss gives the sign no meaning.",
                "Try augment=diffaugment, or loss=nonsaturating.",
            )
        super().__init__(latent)
        self.loss = loss
        self.penalties = parts_of(penalty)
        self.augment = augment
        self.packing = packing
        self.classifies = loss.classifies
        self._paired = bool(getattr(loss, "paired", False))
        self.g_sees_data = self.g_sees_data or self._paired

    def judge(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """D's logits for images under conditions, [B] or a map [B, ...], as D gives them."""
        logits: Tensor = d(images)
        return logits

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """D's terms on real and generated images, judged as one joined batch.

        D's accuracy counts real against generated, never the targets. If the sign of a logit has no meaning (a
        critic), the area under the ROC curve (the probability that a real image scores above a generated one) is used
        for both accuracies.
        """
        shown = self._view(real.images)
        conditions = {name: torch.cat([real.conditions[name], value]) for name, value in fake.conditions.items()}
        logits = self._logits(d, shown(torch.cat([real.images, fake.images])), conditions)
        real_logits, fake_logits = logits.split([len(real) // self.packing, len(fake) // self.packing])
        measured: dict[str, Tensor] = {}
        if self.augment is not None:
            self.augment.adapt(real_logits.detach(), len(real))
            if isinstance(self.augment, AdaptiveChance):
                measured["augment/p"] = self.augment.p.clone()
        terms = {"adversarial": self.loss.d(real_logits, fake_logits)}
        for name in (name for name, part in self.penalties.items() if interval_of(part) == 1):
            terms[name] = self._penalty(name, d, real, fake, shown)
            measured[_tag(name)] = terms[name].detach()
        return Outcome(terms, measured | self._measured(real_logits.detach(), fake_logits.detach()))

    def d_lazy_phase(self, update: int) -> tuple[str, ...]:
        """The penalties with an update of their own after D's update number `update`, counted from 0."""
        return tuple(due(self.penalties, update))

    def d_lazy_terms(self, d: nn.Module, real: Batch, fake: Batch, names: Sequence[str]) -> dict[str, Tensor]:
        """Those penalties, each multiplied by its interval."""
        shown = self._view(real.images)
        return {name: interval_of(self.penalties[name]) * self._penalty(name, d, real, fake, shown) for name in names}

    def _penalty(self, name: str, d: nn.Module, real: Batch, fake: Batch, shown: View) -> Tensor:
        """A penalty on D as a function of the images, differentiated through the augmentation."""

        def critic(images: Tensor) -> Tensor:
            conditions = {
                name: value.repeat(len(images) // len(real), *[1] * (value.dim() - 1))
                for name, value in real.conditions.items()
            }
            return self._logits(d, shown(images), conditions)

        return self.penalties[name](critic, real.images, fake.images)

    def _view(self, images: Tensor) -> View:
        return self.augment.draw(images) if self.augment is not None else _as_they_are

    def _logits(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        return checked_logits(self.judge(d, images, conditions), len(images) // self.packing)

    def _measured(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        if not self.loss.classifies:
            area = area_under_roc(*(logits.reshape(len(logits), -1).mean(1) for logits in (real, fake)))
            return {tags.ACCURACY_REAL: area, tags.ACCURACY_FAKE: area}
        return {
            tags.ACCURACY_REAL: (real > 0).mean(dtype=torch.float32),
            tags.ACCURACY_FAKE: (fake <= 0).mean(dtype=torch.float32),
            tags.PROBABILITY_REAL: real.sigmoid().mean(),
            tags.PROBABILITY_FAKE: fake.sigmoid().mean(),
        }

    def g_terms(self, d: nn.Module, g: nn.Module, latents: Tensor, real: Batch | None) -> Outcome:
        """G's terms on samples from latents, with real images if the loss compares with them.

        If the sign of a logit has no meaning, generated images alone give no accuracy of D.
        """
        drawn = self.generate(g, latents, real.conditions if real is not None else {})
        shown = self._view(drawn.images)
        fake_logits = self._logits(d, shown(drawn.images), drawn.conditions)
        if self._paired:
            assert real is not None, "a loss that compares needs real images"
            loss = self.loss.g(fake_logits, self._logits(d, shown(real.images), real.conditions))
        else:
            loss = self.loss.g(fake_logits)
        measured = {}
        if self.loss.classifies:
            fake = fake_logits.detach()
            measured[tags.PROBABILITY_FAKE] = fake.sigmoid().mean()
            measured[tags.ACCURACY_FAKE] = (fake <= 0).mean(dtype=torch.float32)
        return Outcome({"adversarial": loss}, measured)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: the strength of the augmentation."""
        augment: object = self.augment
        return dict(augment.state_dict()) if isinstance(augment, nn.Module) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        augment: object = self.augment
        if isinstance(augment, nn.Module):
            augment.load_state_dict(dict(state))


def _as_they_are(images: Tensor) -> Tensor:
    return images


def _tag(name: str) -> str:
    """The tag of a penalty: a single one is `penalty/d`."""
    return "penalty/d" if name == "penalty" else f"penalty/{name}"
