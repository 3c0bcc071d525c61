"""How a few generated images compare with real ones and with each other, cheaply enough for every log point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_runner.data import Batch
from gan_runner.metrics.diversity import mean_pairwise_distance
from gan_runner.metrics.sliced_wasserstein import SlicedWasserstein

_LINES = 128  # enough for a number that is compared with itself through time
_NEAR = 0.1  # of a real image's usual distance to the nearest other one: what lies nearer is the same image


class LogPointMetrics:
    """Measures images against as many real ones.

    Args:
        real: float32 [N, C, H, W] in [-1, 1], N at least 2.
    """

    def __init__(self, real: Tensor) -> None:
        self._distance = SlicedWasserstein(_LINES, seed=0)
        self._real = self._distance.statistics([Batch(real)])
        distinct = _distinct(real)  # of few real images, some come again, as no two of a G's do
        self._variety = float(mean_pairwise_distance(distinct))
        self._apart = float(_nearest(distinct).median())
        self.data = {
            "data/contrast": self._variety / math.sqrt(real[0].numel()),
            "data/smoothness": neighbour_correlation(real),
        }

    @torch.no_grad()
    def measure(self, drawn: Tensor) -> dict[str, float]:
        """Return three numbers of images [N, C, H, W] in [-1, 1]; waits for the device.

        - "distance": sliced Wasserstein distance to the real ones.
        - "diversity": mean Euclidean distance between two of them, against that of real ones; NaN where those are all
          alike.
        - "repeats": share of them that lie nearer to another one than a tenth of what is usual (the median) for real
          ones.
        """
        near = _nearest(drawn) < _NEAR * self._apart
        return {
            "distance": self._distance.measure([Batch(drawn)], self._real)["sliced_wasserstein"],
            "diversity": float(mean_pairwise_distance(drawn)) / self._variety if self._variety else math.nan,
            "repeats": float(near.float().mean()),
        }


def neighbour_correlation(images: Tensor) -> float:
    """Correlation of pixels that lie side by side or one above the other, [N, C, H, W]; NaN where none differ.

    About 0 for noise, and near 1 for images of something.
    """
    images = images.double() - images.flatten()[0]  # so that equal pixels differ by exactly 0
    pairs = [(images[..., 1:], images[..., :-1]), (images[..., 1:, :], images[..., :-1, :])]
    one, other = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
    one, other = one - one.mean(), other - other.mean()
    return float((one @ other) / (one.norm() * other.norm()))


def _nearest(images: Tensor) -> Tensor:
    """Euclidean distance of each image, [N, ...], to the nearest other one, float64 [N]."""
    return _distances(images).fill_diagonal_(math.inf).min(1).values


def _distinct(images: Tensor) -> Tensor:
    """The first of every kind of equal images, in their order; two at the least."""
    repeats = (_distances(images) == 0).tril(-1).any(1)
    repeats[:2] &= bool((~repeats).sum() > 1)
    return images[~repeats]


def _distances(images: Tensor) -> Tensor:
    """Euclidean distances of images, [N, ...], to each other, float64 [N, N]; exactly 0 for equal ones."""
    points = images.flatten(1).double()
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
