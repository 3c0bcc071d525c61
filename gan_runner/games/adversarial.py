"""The game of Goodfellow et al. (2014, arXiv:1406.2661): G generates images, D classifies them as real or generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Answer:
    """D's output for a batch of images.

    Attributes:
        logits: [B], or a map [B, ...].
        conditions: D's further inputs; see `Batch`.
        further: further outputs of D for each image, such as a classifier's logits, [B, ...]; None without any.
    """

    logits: Tensor
    conditions: Mapping[str, Tensor]
    further: Tensor | None = None

    def split(self, first: Count, packing: Count) -> tuple[Answer, Answer]:
        """Split into the outputs for the first images and for the rest.

        Args:
            first: number of images in the first part.
            packing: images that D judges at a time.
        """

        def parts(values: Tensor, first: int) -> tuple[Tensor, Tensor]:
            one, other = values.split([first, len(values) - first])
            return one, other

        conditions = {name: parts(value, first) for name, value in self.conditions.items()}
        logits = parts(self.logits, first // packing)
        further = (None, None) if self.further is None else parts(self.further, first)
        one, other = (
            Answer(logits[which], {name: pair[which] for name, pair in conditions.items()}, further[which])
            for which in (0, 1)
        )
        return one, other


class Adversarial(FromLatents):
    """G maps latents to images, and D images to logits, without further inputs.

    Games with further inputs override `generate`, `judge` and `grid_conditions`; games in which D gives more than
    logits, `ask`, `d_adversarial` and `g_adversarial`.

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

    def ask(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Answer:
        """Everything that the losses need of D for these images."""
        return Answer(self._logits(d, images, conditions), conditions)

    def d_adversarial(self, real: Answer, fake: Answer) -> dict[str, Tensor]:
        """D's loss terms without penalties."""
        return {"adversarial": self.loss.d(real.logits, fake.logits)}

    def g_adversarial(self, fake: Answer, real: Answer | None) -> dict[str, Tensor]:
        """G's loss terms; `real` is D's output for real images, given if the loss is `paired`."""
        return {"adversarial": self.loss.g(fake.logits) if real is None else self.loss.g(fake.logits, real.logits)}

    def d_terms(self, d: nn.Module, real: Batch, fake: Batch) -> Outcome:
        """D's terms on real and generated images, judged as one joined batch.

        D's accuracy counts real against generated, never the targets. If the sign of a logit has no meaning (a
        critic), the area under the ROC curve (the probability that a real image scores above a generated one) is used
        for both accuracies.
        """
        shown = self._view(real.images)
        conditions = {name: torch.cat([real.conditions[name], value]) for name, value in fake.conditions.items()}
        answer = self.ask(d, shown(torch.cat([real.images, fake.images])), _seen(conditions, shown))
        of_real, of_fake = answer.split(len(real), self.packing)
        measured: dict[str, Tensor] = {}
        if self.augment is not None:
            self.augment.adapt(of_real.logits.detach(), len(real))
            if isinstance(self.augment, AdaptiveChance):
                measured["augment/p"] = self.augment.p.clone()
        terms = self.d_adversarial(of_real, of_fake)
        for name in (name for name, part in self.penalties.items() if interval_of(part) == 1):
            terms[name] = self._penalty(name, d, real, fake, shown)
            measured[_tag(name)] = terms[name].detach()
        return Outcome(terms, measured | self._measured(of_real.logits.detach(), of_fake.logits.detach()))

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
            return self._logits(d, shown(images), _seen(conditions, shown))

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
        return self.against(d, self.generate(g, latents, real.conditions if real is not None else {}), real)

    def against(self, d: nn.Module, drawn: Batch, real: Batch | None) -> Outcome:
        """G's terms on what it has drawn, as `g_terms` gives them."""
        shown = self._view(drawn.images)
        of_fake, of_real = self.ask(d, shown(drawn.images), _seen(drawn.conditions, shown)), None
        if self._paired:
            assert real is not None, "a loss that compares needs real images"
            of_real = self.ask(d, shown(real.images), _seen(real.conditions, shown))
        terms = self.g_adversarial(of_fake, of_real)
        measured = {}
        if self.loss.classifies:
            fake = of_fake.logits.detach()
            measured[tags.PROBABILITY_FAKE] = fake.sigmoid().mean()
            measured[tags.ACCURACY_FAKE] = (fake <= 0).mean(dtype=torch.float32)
        return Outcome(terms, measured)

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint: the strength of the augmentation."""
        augment: object = self.augment
        return dict(augment.state_dict()) if isinstance(augment, nn.Module) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        augment: object = self.augment
        if isinstance(augment, nn.Module):
            augment.load_state_dict(dict(state))


def _seen(conditions: Mapping[str, Tensor], shown: View) -> dict[str, Tensor]:
    """Conditions as D sees them: images among them, [B, C, H, W], are transformed as those that they belong to."""
    return {
        name: shown(value) if value.dim() == 4 and value.is_floating_point() else value
        for name, value in conditions.items()
    }


def _as_they_are(images: Tensor) -> Tensor:
    return images


def _tag(name: str) -> str:
    """The tag of a penalty: a single one is `penalty/d`."""
    return "penalty/d" if name == "penalty" else f"penalty/{name}"
