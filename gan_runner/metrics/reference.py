"""What generated pictures are held against: real ones, and how good and how bad a number can be.

The floor of a number is what real pictures score that are not in the reference: no generator can be expected to
do better. The ceiling is what noise scores, or, of a number on copying, what the training pictures themselves do.
Both are of as many pictures as the generated ones are, because most numbers move with the count, and both are
kept (see `cache`).
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
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import even_rows
from gan_runner.ranges import Count, Seed

_log = logging.getLogger(__name__)

_AT_ONCE = 500


@dataclass(frozen=True)
class Part:
    """A batch of nothing but pictures."""

    images: Tensor


@dataclass(frozen=True)
class Reference:
    """Real pictures as the metrics know them.

    Attributes:
        statistics: what `FeatureMetrics.statistics` gave.
        count: real pictures in the reference.
        floor: each number of other real pictures; None where there are none that would tell, such as a number on
            copying where nothing was held out.
        ceiling: each number of noise, or of copies.
        floor_count: how many real pictures the floor is of; fewer than were asked for where there are no more.
        floor_of: where these come from: `test`, or `train`, which are the training pictures outside the reference.
    """

    statistics: dict[str, Tensor]
    count: int
    floor: dict[str, float | None]
    ceiling: dict[str, float]
    floor_count: int
    floor_of: str


def reference(
    metrics: FeatureMetrics, training: ImageSet, held_out: ImageSet | None, real: Count, generated: Count, seed: Seed
) -> Reference:
    """Compute the statistics of real pictures, the floor and the ceiling, or take them from the cache.

    Args:
        metrics: bound to these sets.
        training: the pictures that the generator learned from; the reference is of them, at even distances.
        held_out: real pictures that it did not learn from; None where there are none.
        real: how many pictures the reference has at most; where nothing is held out, half of the training pictures at
            most, for the others are the floor.
        generated: how many generated pictures the floor and the ceiling are for.
        seed: of the noise.
    """
    real = min(real, len(training) if held_out is not None else max(metrics.fewest, len(training) // 2))
    said = [metrics.key, training.fingerprint, real]
    statistics = cache.kept(
        f"real_{training.name}_{cache.digest(said)}.pt",
        lambda: _on_cpu(metrics.statistics(reference_pictures(training, real))),
    )
    others = None if held_out is None else held_out.fingerprint
    said += [others, generated, seed, metrics.seed, sorted(metrics.names)]
    bounds = cache.kept(
        f"bounds_{training.name}_{cache.digest(said)}.pt",
        lambda: _bounds(metrics, statistics, training, held_out, real, generated, seed),
    )
    return Reference(statistics, real, **bounds)


def reference_pictures(training: ImageSet, count: Count) -> Iterator[Part]:
    """The training pictures that generated ones are held against, in batches of uint8 [B, C, H, W]."""
    return pictures(training, even_rows(len(training), count))


def pictures(images: ImageSet, rows: Tensor) -> Iterator[Part]:
    """Pictures of a set in batches of uint8 [B, C, H, W]."""
    return (Part(images.pixels(part)) for part in rows.split(_AT_ONCE))


def noise(shape: tuple[int, int, int], count: Count, seed: Seed) -> Iterator[Part]:
    """Pictures whose pixels are independent and of any level, in batches of uint8 [B, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, count, _AT_ONCE):
        size = (min(_AT_ONCE, count - start), *shape)
        yield Part(torch.randint(0, 256, size, generator=generator, dtype=torch.uint8))


def _bounds(
    metrics: FeatureMetrics,
    statistics: dict[str, Tensor],
    training: ImageSet,
    held_out: ImageSet | None,
    real: int,
    generated: int,
    seed: int,
) -> dict[str, Any]:
    _log.info("Real pictures and noise are measured for comparison, once.")
    images, rows = _others(training, held_out, real)
    on_copying = [name for name, number in metrics.numbers.items() if number.needs in ("training", "held out")]
    floor: dict[str, float | None] = dict.fromkeys(metrics.names)
    count = min(len(rows), generated)
    if count >= metrics.fewest:
        floor |= metrics.measure(pictures(images, rows[even_rows(len(rows), count)]), statistics)
        if images is training:  # they are copies of themselves
            floor |= dict.fromkeys(on_copying)
    ceiling = metrics.measure(noise(training.shape, generated, seed), statistics)
    if on_copying:  # noise copies nothing, and the training pictures are nothing but copies
        copies = metrics.measure(pictures(training, even_rows(len(training), generated)), statistics)
        ceiling |= {name: copies[name] for name in on_copying}
    return {
        "floor": floor,
        "ceiling": ceiling,
        "floor_count": count,
        "floor_of": "train" if images is training else "test",
    }


def _others(training: ImageSet, held_out: ImageSet | None, real: int) -> tuple[ImageSet, Tensor]:
    """A set and the rows of it that are outside the reference."""
    if held_out is not None:
        return held_out, torch.arange(len(held_out))
    outside = torch.ones(len(training), dtype=torch.bool)
    outside[even_rows(len(training), real)] = False
    return training, outside.nonzero().flatten()


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in tensors.items()}
