"""Confidence intervals over few repetitions, and the number of real images that corresponds to a score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gan_runner.ranges import TwoOrMore

CONFIDENCE = 0.95
_STEPS = 2000  # points of the curve that a score is compared with


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the repetitions.
        low: lower end.
        high: upper end.
    """

    mean: float
    low: float
    high: float


def interval(values: Sequence[float] | Tensor, confidence: float = CONFIDENCE) -> Interval:
    """Student's t interval of a mean, or of a mean difference if the values are paired differences.

    Args:
        values: from independent repetitions, two or more.
        confidence: such as 0.95.
    """
    numbers = torch.as_tensor(values, dtype=torch.float64)
    mean = float(numbers.mean())
    half = t_quantile(confidence, len(numbers)) * float(numbers.std()) / math.sqrt(len(numbers))
    return Interval(mean, mean - half, mean + half)


def t_quantile(confidence: float, count: TwoOrMore) -> float:
    """The half width of Student's t interval of a mean of `count` values, in standard errors."""
    low, high = 0.0, 1.0
    while _within(high, count - 1) < confidence:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, count - 1) < confidence else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t) for whole degrees of freedom, by the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    squared = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= squared * k / (k + 1)
    part = math.sin(angle) * total
    return 2 / math.pi * (angle + part) if odd else part


@dataclass(frozen=True)
class Worth:
    """The number of added real images with the same effect, as a multiple of the kept real images.

    Attributes:
        ratio: best estimate, from 0 to `last`.
        low: lower end of the interval.
        high: upper end.
        harms: whether the images make the classifier significantly worse.
        last: the end of the curve; a larger worth cannot be measured.
    """

    ratio: float
    low: float
    high: float
    harms: bool
    last: float


@dataclass(frozen=True)
class Curve:
    """A learning curve: scores by the number of added real images, in paired repetitions.

    Between two points the score is interpolated linearly in log(1 + ratio), because it rises about evenly with the
    logarithm of the number of images.

    Attributes:
        ratios: added images as multiples of the kept ones, ascending from 0.
        scores: float64 [repetitions, points].
    """

    ratios: tuple[float, ...]
    scores: Tensor

    @cached_property
    def _places(self) -> Tensor:
        return torch.tensor(self.ratios, dtype=torch.float64).log1p()

    def at(self, places: Tensor) -> Tensor:
        """Interpolated scores of each repetition at points in log(1 + ratio), [repetitions, len(places)]."""
        right = torch.searchsorted(self._places, places.contiguous()).clamp(1, len(self._places) - 1)
        left = right - 1
        share = (places - self._places[left]) / (self._places[right] - self._places[left])
        return self.scores[:, left] * (1 - share) + self.scores[:, right] * share

    def worth(self, scores: Tensor, confidence: float = CONFIDENCE) -> Worth:
        """The number of added real images that gives the same scores.

        The estimate is where the mean curve, made monotone, reaches the mean of the scores. The interval contains every
        number of real images whose scores do not differ significantly in a paired t test (Fieller 1954).

        Args:
            scores: in the same repetitions, float64 [repetitions].
            confidence: of the interval.
        """
        last = self.ratios[-1]
        found = self._inverse(float(scores.mean()))
        end = float(self._places[-1])
        places = torch.linspace(0, end, _STEPS, dtype=torch.float64)
        places = torch.cat([places, torch.tensor([found], dtype=torch.float64)]).sort().values
        difference = scores[:, None] - self.at(places)
        mean, error = difference.mean(0), difference.std(0) / math.sqrt(len(scores))
        reach = t_quantile(confidence, len(scores)) * error + 1e-12
        alike = places[mean.abs() <= reach]
        if len(alike):
            low, high = float(alike[0]), float(alike[-1])
        else:  # below or above the whole curve, or crossing it between two points
            low = high = 0.0 if bool((mean < 0).all()) else end if bool((mean > 0).all()) else found
        ratio, low, high = (
            last if place >= end else math.expm1(place) for place in (min(max(found, low), high), low, high)
        )
        return Worth(ratio, low, high, bool(mean[0] < -reach[0]), last)

    def _inverse(self, score: float) -> float:
        """The first point at which the mean curve, made monotone, reaches a score; the last if it never does."""
        curve = rising(self.scores.mean(0).tolist())
        for number, value in enumerate(curve):
            if value >= score:
                if number == 0:
                    return 0.0
                before, (left, right) = curve[number - 1], self._places[number - 1 : number + 1].tolist()
                return float(left + (right - left) * (score - before) / (value - before))
        return float(self._places[-1])


def rising(values: Sequence[float]) -> list[float]:
    """Isotonic regression: the nearest non-decreasing sequence in least squares, by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]
