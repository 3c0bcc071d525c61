"""The class-conditional game (Mirza and Osindero 2014, arXiv:1411.1784): G and D are given a class label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from gan_runner.contracts import described
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial, Answer
from gan_runner.games.drawing import Examples
from gan_runner.games.game import checked_logits
from gan_runner.objectives.augment import Augmentation
from gan_runner.objectives.classifiers import CLASSIFIERS
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several
from gan_runner.ranges import Count, NonNegative, Positive

Conditioning = Literal["projection", "concatenation", "ac_gan", "adc_gan"]
_CONCATENATION = (
    "D is given the class at its first layer alone and follows it less closely than by projection, which published "
    "comparisons found better (Miyato and Koyama 2018)."
)
_UNCONDITIONAL = (
    "A part of what D and G minimise does not look at the class. It is meant for classes with few images; where all "
    "have many, images follow their class less."
)


class Conditional(Adversarial):
    """G is given a latent and a class, D an image and its class.

    Generated images take the classes of the real batch, in D's update and in G's, so that D learns nothing from class
    frequencies. Penalties are of D at (image, class), and a loss that compares does so within a class.

    The networks are wrapped by `gan_runner.models.conditional`, unless a network takes `num_classes`: it is
    then called with the class, int64 [B], as a second argument.

    Args:
        latent: where G's input comes from, besides the class.
        loss: see `Adversarial`.
        penalty: see `Adversarial`.
        augment: see `Adversarial`.
        num_classes: classes of the data.
        conditioning: how D is given the class, or that it has a classifier (see `objectives.classifiers`).
        embedding_dim: size of the embedding of a class that is joined with G's latent.
        classifier_weight: factor on the classifier's terms, beside an adversarial one of 1.
        unconditional: a, the weight of a second game without classes, whose logit is projection's unconditional part;
            the two are weighted 1 / (1 + a) and a / (1 + a). So few images of a class do not have to teach D and G
            alone what an image looks like (after Khorram et al. 2024, arXiv:2402.17065, who have it at a lower
            resolution).

    Raises:
        UserError: the data have no classes, or this conditioning has no unconditional part.
    """

    g_sees_data = True  # for the classes

    def __init__(
        self,
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None,
        num_classes: int,
        conditioning: Conditioning,
        embedding_dim: Count,
        classifier_weight: Positive = 1.0,  # a run from before there were these goes on without
        unconditional: NonNegative = 0.0,
    ) -> None:
        if not num_classes:
            raise UserError(
                "game=conditional draws images by class, but these data have no classes.",
                "For a folder, put the images of each class into a folder of its own; or try data=digits, or "
                "game=adversarial.",
            )
        if unconditional and conditioning != "projection":
            raise UserError(
                f"game.unconditional is {unconditional:g}, but game.conditioning is {conditioning}, which has no "
                "unconditional part beside a conditional one.",
                "Try game.conditioning=projection, or game.unconditional=0.",
            )
        super().__init__(latent, loss, penalty, augment)
        self.classifier = CLASSIFIERS[conditioning]() if conditioning in CLASSIFIERS else None
        self.classifier_weight = classifier_weight
        self.unconditional = unconditional
        self.num_classes = num_classes
        self.conditioning = conditioning
        self.embedding_dim = embedding_dim

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`; of the conditions, G is given only the class, `label`."""
        label = conditions["label"]
        return Batch(g(latents, label), {"label": label})

    def judge(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """D's logits for images of the class `label`."""
        logits: Tensor = d(images, conditions["label"])
        return logits

    @property
    def caveats(self) -> list[str]:
        """What to know of the settings before training, each beginning with the setting."""
        said = [f"game.unconditional={self.unconditional:g}: {_UNCONDITIONAL}"] if self.unconditional else []
        if self.classifier is not None:
            said.append(f"game.conditioning={self.conditioning}: {self.classifier.caveat}")
        elif self.conditioning == "concatenation":
            said.append(f"game.conditioning={self.conditioning}: {_CONCATENATION}")
        return said

    def ask(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Answer:
        """See `Adversarial`; besides the logits the classifier's, or those of the unconditional part."""
        if self.classifier is not None:
            logits, further = self._of(d, "with_classes")(images)
        elif self.unconditional:
            logits, further = self._of(d, "with_unconditional")(images, conditions["label"])
            further = checked_logits(further, len(images))
        else:
            return super().ask(d, images, conditions)
        return Answer(checked_logits(logits, len(images)), conditions, further)

    def _of(self, d: nn.Module, method: str) -> Callable[..., tuple[Tensor, Tensor]]:
        """A method of D's, which a network of the user's own that takes `num_classes` may lack."""
        found: Callable[..., tuple[Tensor, Tensor]] | None = getattr(d, method, None)
        if found is None:
            key, what = (
                (f"game.conditioning is {self.conditioning}", "what a classifier says of an image")
                if self.classifier is not None
                else (f"game.unconditional is {self.unconditional:g}", "logits that do not depend on the class")
            )
            raise UserError(
                f"{key}, which needs {what} besides D's logits, but model.discriminator ({described(d)}) has no "
                f"method {method}.",
                "Give it one, as those of gan_runner.models.conditional are; or try game.conditioning=projection "
                "game.unconditional=0.",
            )
        return found

    def d_adversarial(self, real: Answer, fake: Answer) -> dict[str, Tensor]:
        """See `Adversarial`."""
        terms = super().d_adversarial(real, fake)
        if real.further is None or fake.further is None:
            return terms
        if self.classifier is not None:
            loss = self.classifier.d(real.further, real.conditions["label"], fake.further, fake.conditions["label"])
            return {**terms, "classifier": self.classifier_weight * loss}
        return self._shared(terms, self.loss.d(real.further, fake.further))

    def g_adversarial(self, fake: Answer, real: Answer | None) -> dict[str, Tensor]:
        """See `Adversarial`."""
        terms = super().g_adversarial(fake, real)
        if fake.further is None:
            return terms
        if self.classifier is not None:
            return {
                **terms,
                "classifier": self.classifier_weight * self.classifier.g(fake.further, fake.conditions["label"]),
            }
        if real is None or real.further is None:
            return self._shared(terms, self.loss.g(fake.further))
        return self._shared(terms, self.loss.g(fake.further, real.further))

    def _shared(self, terms: Mapping[str, Tensor], unconditional: Tensor) -> dict[str, Tensor]:
        whole = 1 + self.unconditional
        weighted = {name: term / whole for name, term in terms.items()}
        return {**weighted, "unconditional": self.unconditional / whole * unconditional}

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """One class per row: all in turn, or some at even distances if there are more classes than rows."""
        row, rows, classes = torch.arange(count) // columns, -(-count // columns), self.num_classes
        return {"label": row % classes if rows >= classes else row * classes // rows}
