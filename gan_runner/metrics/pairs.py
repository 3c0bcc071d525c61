"""How near images that are drawn from others come to the true ones, and what comes to stand in their place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gan_runner.arithmetic import exact
from gan_runner.data import Batch, ImageSet
from gan_runner.data.batch import (
    CYCLED,
    CYCLED_TARGET,
    DRAWN_SOURCE,
    NOISY_CYCLED,
    NOISY_CYCLED_TARGET,
    SOURCE,
    TARGET,
    TRUTH,
)
from gan_runner.data.image_set import kind_of
from gan_runner.data.transforms import with_channels
from gan_runner.errors import UserError
from gan_runner.metrics.number import Number
from gan_runner.ranges import Count

_WINDOW, _SIGMA = 11, 1.5  # pixels; of the Gaussian in which structures are compared
_K1, _K2 = 0.01, 0.03
_LEVEL = 1 / 127.5  # one of 256, for images in [-1, 1]
_AT_ONCE = 32  # images, so that memory need not hold many windows of large ones

UNCHANGED, MEAN = "source", "mean"
"""The baselines: each image's source, unchanged, and the mean of all real images, the same for every source."""


OF_TRUTH = {"l1": 0.0, "l1_back": 0.0, "ssim": 1.0, "ssim_back": 1.0}
"""What the numbers that compare with the true images are for those themselves."""

OF_CYCLES = "cycle"
"""How the names of numbers begin that look at images drawn back, which stand-ins for images do not change."""


def ssim(images: Tensor, truth: Tensor) -> Tensor:
    """The structural similarity of images (Wang et al. 2004, equation 13, Gaussian windows of 11 pixels).

    Smaller images have smaller windows. Channels are compared each by itself.

    Args:
        images: [B, C, H, W] in [-1, 1].
        truth: likewise.

    Returns:
        [B] in [-1, 1], 1 where both are the same.
    """
    parts = zip(images.split(_AT_ONCE), truth.split(_AT_ONCE), strict=True)
    return torch.cat([_ssim(exact(some), exact(others)) for some, others in parts]).to(images)


def _ssim(images: Tensor, truth: Tensor) -> Tensor:
    """The same of a few, in float64: a variance is a small difference of large numbers here."""
    size = min(_WINDOW, *images.shape[2:])
    places = torch.arange(size, device=images.device, dtype=images.dtype) - (size - 1) / 2
    window = torch.exp(-places.square() / (2 * _SIGMA**2))
    window = window / window.sum()

    def around(levels: Tensor) -> Tensor:
        return conv2d(conv2d(levels, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))

    x, y = (((levels + 1) / 2).flatten(0, 1)[:, None] for levels in (images, truth))  # the constants are for [0, 1]
    mean_x, mean_y = around(x), around(y)
    variance_x, variance_y = around(x * x) - mean_x.square(), around(y * y) - mean_y.square()
    covariance = around(x * y) - mean_x * mean_y
    c1, c2 = _K1**2, _K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    alike: Tensor = luminance * structure  # [B * C, 1, h, w]
    by_picture: Tensor = alike.unflatten(0, images.shape[:2]).flatten(1).mean(1)
    return by_picture


def baselines(fake: Iterable[Batch], mean: Tensor) -> dict[str, list[Batch]]:
    """What would stand in the place of images that are drawn from sources.

    Args:
        fake: images that were drawn, with their sources and true pictures.
        mean: the mean real image, [C, H, W].

    Returns:
        `UNCHANGED` and `MEAN`, each as many images with the same sources and true ones; of two domains without pairs
        `UNCHANGED` alone, in both directions.
    """
    fake = list(fake)
    unchanged = [_unchanged(batch) for batch in fake]
    if any(TARGET in batch.conditions for batch in fake):
        return {UNCHANGED: unchanged}
    same = [Batch(mean.to(batch.images).expand_as(batch.images), batch.conditions) for batch in fake]
    return {UNCHANGED: unchanged, MEAN: same}


def _unchanged(batch: Batch) -> Batch:
    source, target = batch.conditions[SOURCE], batch.conditions.get(TARGET)
    conditions = dict(batch.conditions)
    if DRAWN_SOURCE in conditions and target is not None:
        back = with_channels(target, source.shape[1])
        conditions |= {DRAWN_SOURCE: back, CYCLED: source, CYCLED_TARGET: target}
        conditions |= {NOISY_CYCLED: source + _LEVEL, NOISY_CYCLED_TARGET: target + _LEVEL}
    return Batch(with_channels(source, batch.images.shape[1]), conditions)


def in_place_of(fake: Iterable[Batch], images: Tensor) -> list[Batch]:
    """Other images, [N, C, H, W], in the place of those that were drawn, in both directions where there are two."""
    found, start = [], 0
    for batch in fake:
        some = images[start : start + len(batch)].to(batch.images)
        conditions = dict(batch.conditions)
        if DRAWN_SOURCE in conditions:
            conditions[DRAWN_SOURCE] = with_channels(some, conditions[DRAWN_SOURCE].shape[1])
        found.append(Batch(some, conditions))
        start += len(batch)
    return found


def mean_picture(real: Iterable[Batch]) -> Tensor:
    """The mean of real images, [C, H, W]."""
    total, count = torch.zeros(()), 0
    for batch in real:
        total, count = total.to(batch.images.device) + batch.images.sum(0), count + len(batch)
    return total / count


class PairMetrics:
    """The distance of images from the true ones of their pairs, and how alike their structure is."""

    numbers: Mapping[str, Number] = {
        "l1": Number("lower", "mean distance from the true images, of pixels in [-1, 1]", title="L1 distance"),
        "ssim": Number("higher", "structural similarity to the true images (Wang et al. 2004)", title="SSIM"),
    }
    names = tuple(numbers)
    fewest = 1
    looks_at_held_out = True

    def __init__(self) -> None:
        self._training: ImageSet | None = None

    @property
    def reference(self) -> ImageSet:
        """See `OnData`."""
        assert self._training is not None, "bind comes first"
        return self._training

    def fingerprint(self) -> str:
        """See `OnData`."""
        return "l1 and ssim 2"

    def bind(
        self, training: ImageSet, held_out: ImageSet | None, device: torch.device, learn_from: ImageSet | None = None
    ) -> None:
        """See `OnData`.

        Raises:
            UserError: the data set has no pairs.
        """
        if kind_of(training).source is None:
            raise UserError(
                f"evaluation holds {type(self).__name__}, which compares with the true image of each pair, but "
                f"{training.name} has no pairs.",
                "Try evaluation=fast, or data=paired.",
            )
        self._training = training

    def statistics(self, real: Iterable[Batch]) -> dict[str, Tensor]:
        """Nothing: the true images come with those that are drawn."""
        return {}

    def measure(self, fake: Iterable[Batch], real: Mapping[str, Tensor]) -> dict[str, float]:
        """See `Metric`.

        Raises:
            UserError: the images were not drawn from sources.
        """
        distances: list[Tensor] = []
        similarities: list[Tensor] = []
        for batch in fake:
            if TRUTH not in batch.conditions:
                raise UserError(
                    f"evaluation holds {type(self).__name__}, which compares with the true image of each pair, but "
                    "this game draws from no images.",
                    "Try evaluation=fast, or game=paired.",
                )
            truth = batch.conditions[TRUTH]
            distances.append((batch.images - truth).abs().flatten(1).mean(1))
            similarities.append(ssim(batch.images, truth))
        return {"l1": float(torch.cat(distances).mean()), "ssim": float(torch.cat(similarities).mean())}

    def for_alarms(self, numbers: Mapping[str, float], images: Count) -> dict[str, float]:
        """Nothing that alarms look at."""
        return {}

    def of_real(self, statistics: Mapping[str, Tensor], most: Count) -> tuple[dict[str, float | None], int]:
        """Real images are the true ones."""
        return dict.fromkeys(self.names), 0
