"""Adversarial losses: what D and what G minimise, as a pair that belongs together.

A loss takes logits, never probabilities: sigmoid and logarithm are one stable expression. They are one number
an image, [B], or a map of patches each, [B, ...]; a mean runs over all of them, and targets are drawn by image.
To add a loss, write a class with `d` and `g` here and a YAML file in conf/loss. A class whose constructor takes
`labels` gets the config's targets; for any other, labels other than `hard` are refused, since they would have no
effect.
"""

from __future__ import annotations

import logging
from typing import ClassVar, Protocol

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_runner.errors import UserError
from gan_runner.objectives.targets import Labels

log = logging.getLogger(__name__)


class AdversarialLoss(Protocol):
    """A pair of losses over logits [B, ...]; each returns a 0-d tensor to be minimised.

    One whose `g` compares logits of generated images with those of as many real ones says `paired = True`, and its `g`
    is given both.
    """

    #: Whether the sign of a logit says "real" (positive) or "generated" (negative).
    classifies: bool

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D's loss from its logits for real and for generated images."""
        ...

    def g(self, fake_logits: Tensor, *real_logits: Tensor) -> Tensor:
        """G's loss from D's logits for what G has generated and, where the loss is `paired`, for real images."""
        ...


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each logit: -t log s(x) - (1 - t) log(1 - s(x)) = softplus(x) - t x.

    Holds for any real target t, also outside [0, 1], where it has no lower bound.

    Args:
        logits: [B, ...].
        targets: [B, ...], or of a shape that spreads over it.

    Returns:
        [B, ...].
    """
    return softplus(logits) - targets * logits


def _by_image(targets: Tensor, logits: Tensor) -> Tensor:
    """Targets [B] in a shape that gives each image's own to all of its logits [B, ...]."""
    return targets.view(-1, *[1] * (logits.dim() - 1))


class _TaughtByTargets:
    """Targets for D and G."""

    classifies: ClassVar[bool] = True
    paired: ClassVar[bool] = False
    #: Whether G has targets of its own, `labels.generator`.
    takes_generator_labels: ClassVar[bool] = True

    labels: Labels

    def _real_targets(self, logits: Tensor) -> Tensor:
        return _by_image(self.labels.real(len(logits), logits.device), logits)

    def _fake_targets(self, logits: Tensor) -> Tensor:
        return _by_image(self.labels.fake(len(logits), logits.device), logits)

    def _generator_targets(self, logits: Tensor) -> Tensor:
        return _by_image(self.labels.generator(len(logits), logits.device), logits)


class _ClassifierLoss(_TaughtByTargets):
    """D as a classifier of real against generated, taught by targets.

    Args:
        labels: the targets.
        joined: D's loss is the mean over real and generated images in one batch, as Keras' train_on_batch
            gives it (ln 2 for an undecided D), not the sum of two means (2 ln 2).
    """

    def __init__(self, labels: Labels, joined: bool) -> None:
        if labels.highest > 1:
            log.warning(
                "labels go up to %g: above 1 the cross-entropy of a sure answer has no lower bound, so that the loss "
                "can fall without end.",
                labels.highest,
            )
        self.labels = labels
        self.joined = joined

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log D(x) - log(1 - D(G(z))) for hard labels (Goodfellow et al. 2014, equation 1)."""
        real = cross_entropy(real_logits, self._real_targets(real_logits))
        fake = cross_entropy(fake_logits, self._fake_targets(fake_logits))
        if self.joined:
            return (real.sum() + fake.sum()) / (real.numel() + fake.numel())
        return real.mean() + fake.mean()


class NonSaturating(_ClassifierLoss):
    """G maximises log D(G(z)); its gradient is strong while D is confident (Goodfellow et al. 2014, section 3)."""

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-log D(G(z)) for hard labels."""
        return cross_entropy(fake_logits, self._generator_targets(fake_logits)).mean()


class Minimax(_ClassifierLoss):
    """G minimises log(1 - D(G(z))): the game of equation 1 as written, whose gradient vanishes while D is confident."""

    takes_generator_labels = False  # G plays against D's

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """log(1 - D(G(z))) for hard labels: D's own loss on generated images, with its sign turned."""
        targets = self.labels.against_generator(len(fake_logits), fake_logits.device)
        return -cross_entropy(fake_logits, _by_image(targets, fake_logits)).mean()


class LeastSquares(_TaughtByTargets):
    """Squared errors from the targets, which do not saturate (Mao et al. 2017, arXiv:1611.04076, eq. 9).

    The paper's D is the logit plus 1/2 here: targets of 1 and 0 then lie on either side of a logit of 0, whose sign
    goes on saying what an image is. D's last bias makes up for the half, so the game is the same.

    Args:
        labels: the targets; hard ones are the paper's a = 0, b = c = 1.
    """

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2 for hard labels, each a mean."""
        real = _half_square(real_logits, self._real_targets(real_logits))
        fake = _half_square(fake_logits, self._fake_targets(fake_logits))
        return real.mean() + fake.mean()

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """1/2 (D(G(z)) - 1)^2 for hard labels, a mean."""
        return _half_square(fake_logits, self._generator_targets(fake_logits)).mean()


def _half_square(logits: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (logits + 0.5 - targets).square()


class Hinge:
    """D pushes logits past a margin of 1 and no further; it takes no targets (Lim and Ye 2017, arXiv:1705.02894)."""

    classifies: ClassVar[bool] = True
    paired: ClassVar[bool] = False

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), each a mean over its images."""
        return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-D(G(z)), a mean."""
        return -fake_logits.mean()


class Wasserstein:
    """D is a critic, whose scores measure a distance (Arjovsky et al. 2017, arXiv:1701.07875, eq. 2).

    That holds for a critic of bounded slope: without a penalty or spectral normalisation its loss falls without end.
    """

    wants_bounded_slope: ClassVar[bool] = True
    classifies: ClassVar[bool] = False
    paired: ClassVar[bool] = False

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D(G(z)) - D(x), each a mean: the distance with its sign turned."""
        return fake_logits.mean() - real_logits.mean()

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-D(G(z)), a mean."""
        return -fake_logits.mean()


class Relativistic:
    """D says how much more real a real image is than a generated one (Jolicoeur-Martineau 2019, arXiv:1807.00734).

    Each real image is set against one generated image, as in R3GAN (Huang et al. 2024, arXiv:2501.05441,
    equation 2 with f(t) = -softplus(-t)), so that no generated image can be lost sight of for the others. Only
    differences count: a logit alone has no sign to go by. D is of the opposite sign in that equation; here real
    images score higher, as in the authors' code.
    """

    classifies: ClassVar[bool] = False
    paired: ClassVar[bool] = True

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """-log s(D(x) - D(G(z))), a mean over pairs; s is the sigmoid."""
        return softplus(_lead(fake_logits, real_logits)).mean()

    def g(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """-log s(D(G(z)) - D(x)), a mean over pairs."""
        if real_logits is None:
            raise TypeError("a paired loss needs D's logits for real images in G's step too")
        return softplus(_lead(real_logits, fake_logits)).mean()


def _lead(ahead: Tensor, behind: Tensor) -> Tensor:
    """How far the first of each pair of logits is ahead.

    Raises:
        UserError: there are not as many of the one as of the other.
    """
    if ahead.shape != behind.shape:
        raise UserError(
            f"This loss pairs real images with generated ones, but D gives logits of {tuple(ahead.shape)} for the one "
            f"kind and of {tuple(behind.shape)} for the other.",
            "Give trainer.g_batch_size the value of trainer.batch_size, or try loss=nonsaturating.",
        )
    return ahead - behind
