"""Sliced Wasserstein distance between two sets of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gan_runner.data import Batch
from gan_runner.metrics.number import Number
from gan_runner.ranges import Count, Seed
from gan_runner.seeds import generator_for


class SlicedWasserstein:
    """Mean distance of the sets' projections onto random lines (Rabin et al. 2012, doi 10.1007/978-3-642-24785-9_37).

    In one dimension the optimal transport pairs the sorted points, so each line costs a sort. 0 for equal
    sets; 1 would be a shift of every shadow by 1, where pixels run from -1 to 1.

    Args:
        projections: lines.
        seed: of the lines, so that every evaluation looks along the same ones.
    """

    numbers: ClassVar[Mapping[str, Number]] = {
        "sliced_wasserstein": Number("lower", "mean distance to the real images' shadows on random lines"),
    }
    names: ClassVar[tuple[str, ...]] = tuple(numbers)

    def __init__(self, projections: Count, seed: Seed) -> None:
        self._projections = projections
        self._seed = seed

    def fingerprint(self) -> str:
        """Changes whenever the number of the same images would."""
        return f"{self._projections}-{self._seed}"

    def statistics(self, real: Iterable[Batch]) -> dict[str, Tensor]:
        """The sorted projections of N real images, float32 [N, projections]."""
        return {"shadows": self._shadows(real)}

    def measure(self, fake: Iterable[Batch], real: Mapping[str, Tensor]) -> dict[str, float]:
        """See `Metric`; as many generated images as there were real ones."""
        return {"sliced_wasserstein": float((self._shadows(fake) - real["shadows"]).abs().mean())}

    def _shadows(self, batches: Iterable[Batch]) -> Tensor:
        shadows = []
        for batch in batches:
            points = batch.images.flatten(1)
            shadows.append(points @ self._lines(points.shape[1]).to(points.device))
        return torch.cat(shadows).sort(dim=0).values

    def _lines(self, points: int) -> Tensor:
        """Unit vectors, [points, projections]."""
        lines = torch.randn(points, self._projections, generator=generator_for(self._seed, "lines"))
        unit: Tensor = lines / lines.norm(dim=0)
        return unit
