"""How well scores tell generated images from real ones."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

FALSE_ALARMS = 0.01
"""The share of real images that the threshold of `Scores.hits` lets count as generated."""

FEWEST_FOR_A_THRESHOLD = round(1 / FALSE_ALARMS)


@dataclass(frozen=True)
class Scores:
    """How well a detector does on some images.

    Attributes:
        auc: area under the ROC curve, the chance that a generated image scores above a real one; 0.5 is chance.
        average_precision: mean precision over the generated images, ranked with the real ones by their scores; of as
            many images of both kinds 0.5 is chance.
        hits: share of the generated images above a threshold that 1% of other real images exceed; None where there
            are fewer than 100 of those.
        false_alarms: share of the real images above that threshold; None as `hits`.
        accuracy: share that a threshold of 0 tells right, both kinds counting alike; 0.5 is chance. None for a
            detector whose sign means nothing.
        generated: images that were drawn.
        real: images that were not.
    """

    auc: float
    average_precision: float
    hits: float | None
    false_alarms: float | None
    accuracy: float | None
    generated: int
    real: int

    @property
    def deviation(self) -> float:
        """Standard deviation of `auc` where a detector cannot tell at all (Hanley and McNeil 1982)."""
        return math.sqrt((self.generated + self.real + 1) / (12 * self.generated * self.real))

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain values, for JSON."""
        return asdict(self)


def scores_of(generated: Tensor, real: Tensor, others: Tensor, *, by_sign: bool = True) -> Scores:
    """Score a detector by what it gives generated and real images.

    Args:
        generated: of the generated images, finite, [M], M at least 1; higher is more likely generated.
        real: of the real images, [N], N at least 1.
        others: of further real images, [K], which set the threshold alone.
        by_sign: whether the detector calls an image generated where it gives it more than 0.
    """
    generated, real, others = (values.double().cpu() for values in (generated, real, others))
    hits = false_alarms = None
    if len(others) >= FEWEST_FOR_A_THRESHOLD:
        threshold = others.sort(descending=True).values[int(FALSE_ALARMS * len(others))]
        hits, false_alarms = (float((values > threshold).double().mean()) for values in (generated, real))
    told = ((generated > 0).double().mean() + (real <= 0).double().mean()) / 2
    return Scores(
        auc=_auc(generated, real),
        average_precision=_average_precision(generated, real),
        hits=hits,
        false_alarms=false_alarms,
        accuracy=float(told) if by_sign else None,
        generated=len(generated),
        real=len(real),
    )


def _auc(generated: Tensor, real: Tensor) -> float:
    """By the generated images' ranks; ties count a half."""
    below, upto = (torch.searchsorted(real.sort().values, generated, right=right) for right in (False, True))
    return float((below + upto).double().mean() / (2 * len(real)))


def _average_precision(generated: Tensor, real: Tensor) -> float:
    """The sum over thresholds of the step in recall times the precision there; images with one score share a step."""
    values, place = torch.cat([generated, real]).unique(return_inverse=True)
    counts = [
        part.bincount(minlength=len(values)).flip(0).double() for part in place.split([len(generated), len(real)])
    ]
    found, taken = counts[0].cumsum(0), (counts[0] + counts[1]).cumsum(0)
    return float((counts[0] * found / taken).sum() / len(generated))
