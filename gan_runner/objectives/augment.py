"""Random changes of real and generated images before D sees them, so that few images last longer.

Both kinds are changed alike, and what changes generated ones lets gradients through, first and second ones. To add a
way of changing images, write a class with `draw` and `adapt` here and a YAML file in conf/augment.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from gan_runner.ranges import Count, Fraction, FractionBelowOne, NonNegative

View = Callable[[Tensor], Tensor]
"""Changes images, float [k * B, C, H, W]: image i in the way of image i modulo B, the same at every call."""


class Augmentation(Protocol):
    """Draws changes; a module, so that it can be moved to a device and kept in a checkpoint."""

    def draw(self, images: Tensor) -> View:
        """Draw a change for each image of a batch [B, C, H, W], of which the shape and the device are looked at."""
        ...

    def adapt(self, real_logits: Tensor, images: int) -> None:
        """Take note of D's logits [B, ...] for the changed real images of an update, and of how many they were."""
        ...


@dataclass(frozen=True)
class _Changes:
    """The five changes of `DiffAugment`, at any chance."""

    brightness: float
    saturation: float
    contrast: float
    translation: float
    cutout: float

    @torch.no_grad()
    def draw(self, images: Tensor, p: Tensor) -> View:
        """Draw changes with chance `p`, 0-d; see `Augmentation`."""
        count, _, height, width = images.shape
        applied = torch.rand(5, count, device=images.device) < p
        uniform = torch.rand(7, count, device=images.device)
        either_way = (2.0 * uniform[:3] - 1.0) * applied[:3]
        brightness, saturation, contrast = (
            size * share.view(-1, 1, 1, 1)
            for size, share in zip((self.brightness, self.saturation, self.contrast), either_way, strict=True)
        )
        rows, inside_rows = _moved(height, self.translation, uniform[3], applied[3])
        columns, inside_columns = _moved(width, self.translation, uniform[4], applied[3])
        cut_rows = _cut(height, self.cutout, uniform[5]) & applied[4][:, None]
        cut_columns = _cut(width, self.cutout, uniform[6])
        source = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)
        inside = inside_rows[:, :, None] & inside_columns[:, None, :]
        kept = (inside & ~(cut_rows[:, :, None] & cut_columns[:, None, :]))[:, None].float()

        def view(images: Tensor) -> Tensor:
            times = len(images) // count

            def tiled(by_image: Tensor) -> Tensor:
                return by_image.repeat(times, *[1] * (by_image.dim() - 1)) if times > 1 else by_image

            if self.brightness:
                images = images + tiled(brightness)
            if self.saturation:
                images = images + tiled(saturation) * (images - images.mean(1, keepdim=True))
            if self.contrast:
                images = images + tiled(contrast) * (images - images.mean((1, 2, 3), keepdim=True))
            if self.translation:
                places = tiled(source).expand(-1, images.shape[1], -1)
                images = images.flatten(2).gather(2, places).view(images.shape)
            if self.translation or self.cutout:
                images = images * tiled(kept)
            return images

        return view


class DiffAugment(nn.Module):
    """Changes of colour, translation and cutout (Zhao et al. 2020, arXiv:2006.10738, appendix A).

    Each of the five touches an image with chance `p`, by itself, in this order. What a translation brings in, and what
    a cutout takes out, is 0: the middle of the range of pixels. Of a grey image, saturation changes nothing.

    Args:
        p: chance of each change; 1 is the paper's.
        brightness: added to an image, by up to this much either way.
        saturation: share by which a pixel's distance from its own grey grows or shrinks at most.
        contrast: share by which a pixel's distance from the image's mean grows or shrinks at most.
        translation: share of the height and of the width by which an image moves at most.
        cutout: share of the height and of the width that the square left out has; it may lie across an edge.
    """

    p: Tensor

    def __init__(
        self,
        p: Fraction,
        brightness: NonNegative,
        saturation: Fraction,
        contrast: Fraction,
        translation: FractionBelowOne,
        cutout: Fraction,
    ) -> None:
        super().__init__()
        # On the device, so that a recorded step sees it change.
        self.register_buffer("p", torch.tensor(float(p)), persistent=False)
        self._changes = _Changes(brightness, saturation, contrast, translation, cutout)

    def draw(self, images: Tensor) -> View:
        """See `Augmentation`."""
        return self._changes.draw(images, self.p)

    def adapt(self, real_logits: Tensor, images: int) -> None:
        """The chance stays as it is."""


class AdaptiveChance(nn.Module, ABC):
    """A chance of changes that follows D's overfitting (ADA; Karras et al. 2020, arXiv:2006.06676, section 3.1).

    Overfitting shows in how sure D is of real images, r = E[sign D(x)]. Every few updates, p rises where r is above
    the target and falls where it is below, by as much as would take it from 0 to 1 in `speed` images.

    It takes a loss after which a logit's sign tells real from generated. What is changed, a subclass says in `draw`.

    Args:
        p: chance of each change at the start.
        target: of r.
        every: updates of D between two changes of p.
        speed: real images shown to D.
    """

    p: Tensor
    signs: Tensor
    images: Tensor
    updates: Tensor

    def __init__(self, p: Fraction, target: Fraction, every: Count, speed: Count) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(float(p)))
        self.target = target
        self.every = every
        self.speed = speed
        for name in ("signs", "images", "updates"):  # since p changed last
            self.register_buffer(name, torch.zeros(()))
        # Where several processes share a batch: the logits of all from those of one.
        self.of_all: Callable[[Tensor], Tensor] | None = None

    @abstractmethod
    def draw(self, images: Tensor) -> View:
        """See `Augmentation`."""

    @torch.no_grad()
    def adapt(self, real_logits: Tensor, images: int) -> None:
        """See `Augmentation`; waits for nothing."""
        if self.of_all is not None:
            own, real_logits = len(real_logits), self.of_all(real_logits)
            images *= len(real_logits) // own
        self.signs += real_logits.sign().mean(dtype=torch.float32)
        self.images += images
        self.updates += 1
        due = self.updates >= self.every
        step = (self.signs / self.updates - self.target).sign() * self.images / self.speed
        self.p.copy_(torch.where(due, (self.p + step).clamp(0.0, 1.0), self.p))
        for seen in (self.signs, self.images, self.updates):
            seen *= ~due


class Adaptive(AdaptiveChance):
    """The changes of `DiffAugment`, with a chance that follows D's overfitting.

    Args:
        p: see `AdaptiveChance`; so are the last three.
        brightness: see `DiffAugment`; so are the next four.
        saturation: see there.
        contrast: see there.
        translation: see there.
        cutout: see there.
        target: see `AdaptiveChance`.
        every: see there.
        speed: see there.
    """

    def __init__(
        self,
        p: Fraction,
        brightness: NonNegative,
        saturation: Fraction,
        contrast: Fraction,
        translation: FractionBelowOne,
        cutout: Fraction,
        target: Fraction,
        every: Count,
        speed: Count,
    ) -> None:
        super().__init__(p, target, every, speed)
        self._changes = _Changes(brightness, saturation, contrast, translation, cutout)

    def draw(self, images: Tensor) -> View:
        """See `Augmentation`."""
        return self._changes.draw(images, self.p)


def where_few(few: Augmentation, at_most: Count, num_images: int) -> Augmentation | None:
    """An augmentation for small training sets; None, which shows images as they are, for larger ones.

    Args:
        few: the augmentation.
        at_most: images of a training set that counts as small.
        num_images: of the training set.
    """
    return few if num_images <= at_most else None


def _moved(size: int, share: float, uniform: Tensor, applied: Tensor) -> tuple[Tensor, Tensor]:
    """Where each line of moved images comes from, int64 [B, size], and whether that was inside the image, bool."""
    furthest = int(size * share + 0.5)
    by = ((uniform * (2 * furthest + 1)).floor().long() - furthest) * applied
    lines = torch.arange(size, device=uniform.device) - by[:, None]
    return lines % size, (lines >= 0) & (lines < size)


def _cut(size: int, share: float, uniform: Tensor) -> Tensor:
    """Which lines a cutout covers, bool [B, size]; its middle lies anywhere in the image."""
    length = int(size * share + 0.5)
    middle = (uniform * (size + 1 - length % 2)).floor().long()
    lines = torch.arange(size, device=uniform.device) - middle[:, None] + length // 2
    return (lines >= 0) & (lines < length)
