"""What generated images are compared with: real images, and the values of real images and of noise.

Beside each number stands what real images score that are not in the reference, and that the extractor has not
learned: no generator can be expected to do better. And what noise scores, or, of a number on copying, what the
training images themselves do. Both are of as many images as the generated ones are, because most numbers move
with the count, and both are kept (see `cache`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_runner.data.image_set import ImageSet
from gan_runner.metrics import cache
from gan_runner.metrics.feature_metrics import FeatureMetrics, Part, pictures
from gan_runner.metrics.features import even_rows
from gan_runner.ranges import Count, Seed

_log = logging.getLogger(__name__)

_AT_ONCE = 500


@dataclass(frozen=True)
class Reference:
    """Statistics of real images for the metrics.

    Attributes:
        statistics: what `FeatureMetrics.statistics` gave.
        count: real images in the reference.
        real: each number of other real images; None where there are none that would tell, such as a number on
            copying where nothing was held out.
        noise: each number of noise, or of copies.
        real_count: how many real images `real` is of.
        real_of: where these come from: `test`, or `train`, which are the training images outside the reference.
    """

    statistics: dict[str, Tensor]
    count: int
    real: dict[str, float | None]
    noise: dict[str, float]
    real_count: int
    real_of: str


def reference(metrics: FeatureMetrics, real: Count, generated: Count, seed: Seed) -> Reference:
    """Compute the statistics of real images, and the numbers of others and of noise, or take them from the cache.

    Args:
        metrics: bound to the data.
        real: how many images the reference has at most.
        generated: how many generated images the numbers are to stand beside; see `FeatureMetrics.comparable`.
        seed: of the noise.
    """
    images = metrics.reference
    real = min(real, len(images))
    said = [metrics.key, images.fingerprint, real]
    statistics = cache.kept(
        f"real_{images.name}_{cache.digest(said)}.pt",
        lambda: _on_cpu(metrics.statistics(reference_pictures(images, real))),
    )
    sets = [metrics.training.fingerprint, None if metrics.unseen is None else metrics.unseen.fingerprint]
    said += [sets, generated, seed, metrics.seed, sorted(metrics.names)]
    bounds = cache.kept(
        f"bounds_{images.name}_{cache.digest(said)}.pt", lambda: _bounds(metrics, statistics, generated, seed)
    )
    return Reference(statistics, real, **bounds)


def reference_pictures(images: ImageSet, count: Count) -> Iterator[Part]:
    """The images that generated ones are compared with, at even distances, in batches of uint8 [B, C, H, W]."""
    return pictures(images, even_rows(len(images), count))


def noise(shape: tuple[int, int, int], count: Count, seed: Seed) -> Iterator[Part]:
    """Images whose pixels are independent and of any level, in batches of uint8 [B, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, _AT_ONCE):
        size = (min(_AT_ONCE, count - start), *shape)
        yield Part(torch.randint(0, 256, size, generator=generator, dtype=torch.uint8))


def _bounds(metrics: FeatureMetrics, statistics: dict[str, Tensor], generated: int, seed: int) -> dict[str, Any]:
    _log.info("Real images and noise are measured for comparison, once.")
    real, count = metrics.of_real(statistics, generated)
    worst = metrics.measure(noise(metrics.reference.shape, generated, seed), statistics)
    if on_copying := metrics.on_copying:  # noise copies nothing, and the training images are nothing but copies
        training = metrics.training
        copies = metrics.measure(pictures(training, even_rows(len(training), generated)), statistics)
        worst |= {name: copies[name] for name in on_copying}
    of = "train" if metrics.held_out is None else "test"
    return {"real": real, "noise": worst, "real_count": count, "real_of": of}


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in tensors.items()}
