"""Adversarial losses: what D and what G minimise, as a pair that belongs together.

A loss takes logits, never probabilities: sigmoid and logarithm are one stable expression. To add one, write
a class with `d` and `g` here and a YAML file in conf/loss. A class whose constructor takes `labels` gets the
config's targets; for any other, labels other than `hard` are refused, since they would have no effect.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_runner.objectives.targets import Labels


class AdversarialLoss(Protocol):
    """A pair of losses over logits [B]; each returns a 0-d tensor to be minimised."""

    #: Whether the sign of a logit says "real" (positive) or "generated" (negative).
    classifies: bool

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D's loss from its logits for real and for generated images."""
        ...

    def g(self, fake_logits: Tensor) -> Tensor:
        """G's loss from D's logits for what G has generated."""
        ...


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each logit, [B]: -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x.

    Holds for any real target t, also outside [0, 1], where it has no lower bound.
    """
    return softplus(logits) - targets * logits


class _ClassifierLoss:
    """D as a classifier of real against generated, taught by targets.

    Args:
        labels: the targets.
        joined: D's loss is the mean over real and generated images in one batch, as Keras' train_on_batch
            gives it (ln 2 for an undecided D), not the sum of two means (2 ln 2).
    """

    classifies: ClassVar[bool] = True

    def __init__(self, labels: Labels, joined: bool) -> None:
        self.labels = labels
        self.joined = joined

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log D(x) - log(1 - D(G(z))) for hard labels (Goodfellow et al. 2014, equation 1)."""
        real = cross_entropy(real_logits, self.labels.real(len(real_logits), real_logits.device))
        fake = cross_entropy(fake_logits, self.labels.fake(len(fake_logits), fake_logits.device))
        if self.joined:
            return (real.sum() + fake.sum()) / (len(real) + len(fake))
        return real.mean() + fake.mean()


class NonSaturating(_ClassifierLoss):
    """G maximises log D(G(z)), so that its gradient is strong while D is sure (Goodfellow et al. 2014, section 3)."""

    def g(self, fake_logits: Tensor) -> Tensor:
        """-log D(G(z)) for hard labels."""
        return cross_entropy(fake_logits, self.labels.generator(len(fake_logits), fake_logits.device)).mean()


class Minimax(_ClassifierLoss):
    """G minimises log(1 - D(G(z))): the game of equation 1 as written, whose gradient fades while D is sure."""

    def g(self, fake_logits: Tensor) -> Tensor:
        """log(1 - D(G(z))) for hard labels: D's own loss on generated images, with its sign turned."""
        targets = self.labels.against_generator(len(fake_logits), fake_logits.device)
        return -cross_entropy(fake_logits, targets).mean()


class Hinge:
    """D pushes logits past a margin of 1 and no further; it takes no targets (Lim and Ye 2017, arXiv:1705.02894)."""

    classifies: ClassVar[bool] = True

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), each a mean over its images."""
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()

    def g(self, fake_logits: Tensor) -> Tensor:
        """-D(G(z)), a mean."""
        return -fake_logits.mean()
