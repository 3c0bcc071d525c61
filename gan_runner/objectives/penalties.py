"""Terms added to D's loss that regularise its gradient.

A penalty judges D as a function of images, whatever lies between them and D's first layer: augmentations, or the
packing of several images into one. Where D answers a map of patches, its answer to an image is the map's mean.
To add one, write a class here and a YAML file in conf/penalty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from gan_runner.errors import UserError
from gan_runner.ranges import Count, NonNegative, Positive

Critic = Callable[[Tensor], Tensor]
"""Maps images [k * B, C, H, W], of which every B stand for the batch at hand, to logits [k * B, ...]."""


class Penalty(Protocol):
    """A 0-d term for D to minimise along with its loss.

    It may have an `interval`: updates of D from one in which the penalty counts to the next (see `parts_of`).
    """

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Judge `critic` at real and generated images [B, C, H, W]."""
        ...


class R1:
    """Penalise D's gradient norm at real images (Mescheder et al. 2018, arXiv:1801.04406, equation 9).

        gamma / 2 * mean over real x of || d critic(x) / dx ||^2

    Args:
        gamma: strength; the paper uses 10, and larger images want more.
        interval: see `Penalty`.
    """

    def __init__(self, gamma: NonNegative, interval: Count = 1) -> None:
        self.gamma = gamma
        self.interval = interval

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the penalty, 0-d; `fake` is not looked at."""
        return _times_mean_squared_slope(0.5 * self.gamma, critic, real)


class R2:
    """Penalise D's gradient norm at generated images (Mescheder et al. 2018, arXiv:1801.04406, equation 10).

        gamma / 2 * mean over generated x of || d critic(x) / dx ||^2

    Args:
        gamma: strength.
        interval: see `Penalty`.
    """

    def __init__(self, gamma: NonNegative, interval: Count = 1) -> None:
        self.gamma = gamma
        self.interval = interval

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the penalty, 0-d; `real` is not looked at."""
        return _times_mean_squared_slope(0.5 * self.gamma, critic, fake)


class R1R2:
    """R1 and R2 in one pass: the pair that the relativistic loss of R3GAN wants (Huang et al. 2024, arXiv:2501.05441).

    Args:
        gamma: strength of each; it wants tuning by data set and size.
        interval: see `Penalty`.
    """

    def __init__(self, gamma: NonNegative, interval: Count = 1) -> None:
        self.gamma = gamma
        self.interval = interval

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the sum of both penalties, 0-d, from as many generated images as real ones."""
        assert len(real) == len(fake)
        # A mean over both kinds is half the sum of a mean over each.
        return _times_mean_squared_slope(self.gamma, critic, torch.cat([real, fake]))


class GradientPenalty:
    """Pull D's gradient norm between real and generated images to 1 (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

        gamma * mean over x of (|| d critic(x) / dx || - 1)^2,  x = u real + (1 - u) generated,  u ~ U(0, 1)

    Args:
        gamma: strength, the paper's lambda; it uses 10.
        interval: see `Penalty`.
    """

    def __init__(self, gamma: NonNegative, interval: Count = 1) -> None:
        self.gamma = gamma
        self.interval = interval

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the penalty, 0-d, from as many generated images as real ones.

        Each image is mixed with one of the other kind by a share of its own, also where D judges several at a time.
        """
        share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
        between = torch.lerp(fake.detach().to(real.dtype), real, share)
        slope, answers = _slope(critic, between)
        norms = torch.linalg.vector_norm(slope.reshape(answers, -1), dim=1)
        penalty: Tensor = self.gamma * (norms - 1.0).square().mean()
        return penalty


class FiniteDifference:
    """Penalise the change of D's output when a little noise is added to an image: R1 without a second derivative.

    For small noise this is R1, and with `generated` R1 and R2, at the same gamma (Lin et al. 2025, arXiv:2501.08316,
    section 3.4)::

        gamma / (2 sigma^2) * mean over x of (critic(x) - critic(x + sigma e))^2,  e ~ N(0, 1) in each pixel

    What else is random in D would be taken for slope: dropout and the like make it meaningless. It computes in
    float32, since bfloat16 rounds away a difference this small.

    Args:
        gamma: strength, as that of R1.
        sigma: size of the noise in pixels of [-1, 1].
        generated: whether generated images count too.
        interval: see `Penalty`.
    """

    def __init__(self, gamma: NonNegative, sigma: Positive, generated: bool, interval: Count = 1) -> None:
        self.gamma = gamma
        self.sigma = sigma
        self.generated = generated
        self.interval = interval

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """Give the penalty, 0-d; `fake` is looked at where generated images count."""
        images = torch.cat([real, fake.detach().to(real.dtype)]) if self.generated else real
        kinds = 2 if self.generated else 1
        shifted = images + self.sigma * torch.randn_like(images)
        with torch.autocast(real.device.type, enabled=False):
            answers, shifted_answers = _by_picture(critic(torch.cat([images, shifted]))).chunk(2)
        penalty: Tensor = kinds * self.gamma / (2.0 * self.sigma**2) * (answers - shifted_answers).square().mean()
        return penalty


class Several:
    """Several penalties at once, each with its own strength and interval.

    Args:
        parts: the penalties by the names under which they are logged.

    Raises:
        UserError: a name is taken: D's loss is the term `adversarial`, and `penalty/d` is the tag of a single one.
    """

    def __init__(self, parts: Mapping[str, Penalty]) -> None:
        for taken in parts.keys() & {"adversarial", "d"}:
            raise UserError(
                f"penalty.parts has a penalty named {taken}, but that name is reserved.",
                f"Give it another name, such as penalty.parts.{taken}_penalty.",
            )
        self.parts = dict(parts)


def parts_of(penalty: Penalty | Several | None) -> dict[str, Penalty]:
    """The penalties by name: a single one is called `penalty`.

    Those whose interval is 1 are terms of D's loss. A lazy one, of interval k, is minimised by an update of its own
    after every k-th of D's (see `due`), k times as strong; for what that asks of the optimizer see
    `gan_runner.optim.lazy`.
    """
    if penalty is None:
        return {}
    return penalty.parts if isinstance(penalty, Several) else {"penalty": penalty}


def due(parts: Mapping[str, Penalty], update: int) -> list[str]:
    """The lazy penalties that are applied at D's update of this number, counted from 0."""
    return [name for name, part in parts.items() if interval_of(part) > 1 and update % interval_of(part) == 0]


def interval_of(penalty: Penalty) -> int:
    """D's updates between two applications of a penalty; 1, every update, if it does not say."""
    return int(getattr(penalty, "interval", 1))


def _slope(critic: Critic, images: Tensor) -> tuple[Tensor, int]:
    """The gradient of the logits with respect to the images, of their shape, and the number of logits."""
    images = _at_least_float32(images.detach()).requires_grad_()
    answers = _by_picture(critic(images))
    (slope,) = torch.autograd.grad(answers.sum(), images, create_graph=True)
    return slope, len(answers)


def _times_mean_squared_slope(factor: float, critic: Critic, images: Tensor) -> Tensor:
    slope, answers = _slope(critic, images)
    penalty: Tensor = factor * slope.square().sum() / answers
    return penalty


def _by_picture(logits: Tensor) -> Tensor:
    """One answer an image, [N]."""
    return _at_least_float32(logits).flatten(1).mean(1) if logits.dim() > 1 else logits


def _at_least_float32(tensor: Tensor) -> Tensor:
    """Cast from bfloat16 to float32, in which sums are accurate."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
