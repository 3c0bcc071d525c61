"""Numbers by class of images that were drawn by class: does each show the class that was asked for, and how well?

Beside each stands what real images score that the extractor has not learned. A classifier that recognises generated
images better than real ones is no good sign: G then draws the typical ones of a class and leaves out the rest
(Ravuri and Vinyals 2019, arXiv:1905.10887).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from torch import Tensor

from gan_runner import tags
from gan_runner.data.image_set import ImageSet
from gan_runner.metrics import distances, neighbours
from gan_runner.metrics.features import Extractor, Features, even_rows
from gan_runner.ranges import Count


class Judging(Protocol):
    """What images by class are judged with: of `FeatureMetrics`, once they know the data."""

    @property
    def extractor(self) -> Extractor:
        """Sees features, and tells the classes apart."""

    @property
    def training(self) -> ImageSet:
        """What the generator learns from."""

    @property
    def reference(self) -> ImageSet:
        """The real images that generated ones are compared with."""

    @property
    def unseen(self) -> ImageSet | None:
        """Real images that the extractor has not learned; None where there are none."""

    @property
    def fewest(self) -> int:
        """Images that a distance needs at least."""

    neighbours: int


@dataclass(frozen=True)
class OfOneClass:
    """What is known of the images of one class; None where there are too few of it.

    Attributes:
        count: images.
        accuracy: share that the extractor's classifier takes for the class.
        frechet: distance to the real training images of the class.
        coverage: share of these with a image nearby (Naeem et al. 2020).
        spread: variance of the features, as a share of that of these.
    """

    count: int
    accuracy: float | None
    frechet: float | None
    coverage: float | None
    spread: float | None


NOTHING = OfOneClass(0, None, None, None, None)


@dataclass(frozen=True)
class ByClass:
    """Samples by class, with real images to compare with.

    Attributes:
        names: of the classes.
        drawn: of each class.
        real: of each class, of real images that the extractor has not learned; () where there are none.
        recognised: of the images that were asked for as a row's class, how many were taken for a column's, [C, C].
        counts: training images of each class.
        findings: what looks wrong, a sentence each.
    """

    names: Sequence[str]
    drawn: Sequence[OfOneClass]
    real: Sequence[OfOneClass]
    recognised: Sequence[Sequence[int]]
    counts: Sequence[int]
    findings: Sequence[str] = ()

    @property
    def accuracy(self) -> float:
        """Share of the generated images that are recognised as the requested class."""
        return _pooled(self.drawn)

    @property
    def real_accuracy(self) -> float | None:
        """The same of real images, with each class as often as among the generated ones."""
        if not self.real:
            return None
        both = [(d.count, r.accuracy) for d, r in zip(self.drawn, self.real, strict=True) if r.accuracy is not None]
        total = sum(count for count, _ in both)
        return sum(count * accuracy for count, accuracy in both) / total if total else None

    @property
    def judged(self) -> dict[str, float]:
        """What alarms look at, by tag (see `gan_runner.tags`); without what is not known."""
        total = sum(each.count for each in self.drawn)
        # Beside real images, of the classes that there are real images of: the others may be easier or harder.
        both = [(d, r) for d, r in zip(self.drawn, self.real, strict=False) if d.count and r.accuracy is not None]
        compared = [drawn for drawn, _ in both] or self.drawn
        count = sum(each.count for each in compared)
        found = {
            tags.CLASS_ACCURACY: _pooled(compared),
            tags.CLASS_CHANCE: math.fsum(each.count / count * each.count / total for each in compared),
            tags.CLASS_SHARES_OFF: self._shares_off(total),
        }
        if both and (real := self.real_accuracy) is not None:
            # Each class of real ones counts as often as it is drawn: they say as much as so many that come as often.
            as_many = 1 / math.fsum((drawn.count / count) ** 2 / beside.count for drawn, beside in both)
            variance = max(real * (1 - real), 1 / min(count, as_many))
            error = math.sqrt(variance * (1 / count + 1 / as_many))  # of the difference between the two accuracies
            found |= {tags.CLASS_ACCURACY_REAL: real, tags.CLASS_ERROR: error}
        spreads = {name: each.spread for name, each in zip(self.names, self.drawn, strict=True)}
        known = {f"{tags.CLASS_SPREAD}/{name}": spread for name, spread in spreads.items() if spread is not None}
        return found | known | ({tags.CLASS_SPREAD: min(known.values())} if known else {})

    def _shares_off(self, total: Count) -> float:
        """Share of the images that would have to be of other classes for the data's shares, beyond what chance does."""
        of_data = [count / sum(self.counts) for count in self.counts]
        off = 0.5 * math.fsum(abs(each.count / total - share) for each, share in zip(self.drawn, of_data, strict=True))
        # Of classes that are drawn at random, as often as the data have them: the mean of |normal| is sqrt(2 / pi).
        by_chance = 0.5 * math.fsum(math.sqrt(2 / math.pi * share * (1 - share) / total) for share in of_data)
        return max(0.0, off - by_chance)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "accuracy": self.accuracy,
            "real_accuracy": self.real_accuracy,
            "findings": list(self.findings),
            "recognised": [list(row) for row in self.recognised],
            "classes": {
                name: {"generated": asdict(drawn), "real": asdict(real)}
                for name, drawn, real in zip(
                    self.names, self.drawn, self.real or [NOTHING] * len(self.names), strict=True
                )
            },
        }


class ClassJudge:
    """Judges images that were drawn by class, and keeps its measurements of real ones.

    Args:
        metrics: bound to the data, whose classes its extractor tells apart; see `tells_classes`.
        most: real images to compare with, at most.
        unseen: real images that stand beside them, at most.
        distances: whether to give the Fréchet distance and the coverage of each class, and `recognised`, too.
    """

    def __init__(self, metrics: Judging, most: Count, unseen: Count, *, distances: bool) -> None:
        self._metrics = metrics
        self._distances = distances
        self._names = metrics.training.classes
        assert metrics.training.labels is not None, "data whose classes are told apart have labels"
        self._counts = metrics.training.labels.bincount(minlength=len(self._names)).tolist()
        reference, label, _ = _features(metrics.reference, most, metrics)
        self._reference = [reference[label == number] for number in range(len(self._names))]
        self._real: list[OfOneClass] = []
        if metrics.unseen is not None and metrics.unseen.labels is not None:
            vectors, label, taken_for = _features(metrics.unseen, unseen, metrics)
            self._real = self._of_each(vectors, taken_for, label)

    def judge(self, seen: Features, label: Tensor) -> ByClass:
        """Measure images that were drawn by class.

        Args:
            seen: what the extractor sees in them.
            label: the class that each was drawn as, int64 [N].
        """
        assert seen.probabilities is not None, "it tells classes apart"
        taken_for, label = seen.probabilities.argmax(1).cpu(), label.cpu()
        drawn = self._of_each(seen.vectors.cpu(), taken_for, label)
        recognised: list[list[int]] = []
        if self._distances:
            count = len(self._names)
            recognised = (label * count + taken_for).bincount(minlength=count**2).view(count, -1).tolist()
        return ByClass(self._names, drawn, self._real, recognised, self._counts)

    def _of_each(self, vectors: Tensor, taken_for: Tensor, label: Tensor) -> list[OfOneClass]:
        found = []
        for number, reference in enumerate(self._reference):
            mine = label == number
            found.append(self._of_one(vectors[mine], taken_for[mine] == number, reference))
        return found

    def _of_one(self, vectors: Tensor, right: Tensor, real: Tensor) -> OfOneClass:
        count, accuracy = len(vectors), float(right.double().mean()) if len(right) else None
        if min(count, len(real)) < self._metrics.fewest:
            return OfOneClass(count, accuracy, None, None, None)
        spread = float(_variance(vectors) / _variance(real).clamp(min=1e-12))
        if not self._distances:
            return OfOneClass(count, accuracy, None, None, spread)
        frechet = distances.frechet_distance(*distances.moments(real), *distances.moments(vectors)).clamp(min=0)
        around = neighbours.balls(real, self._metrics.neighbours)
        coverage = neighbours.fidelity_and_coverage(around, vectors, self._metrics.neighbours)["coverage"]
        return OfOneClass(count, accuracy, float(frechet), coverage, spread)


def tells_classes(metrics: Judging) -> bool:
    """Whether the extractor tells the classes of the data apart: one that knows no or other classes does not."""
    labelled = metrics.training.labels is not None and metrics.reference.labels is not None
    return labelled and metrics.extractor.classes == len(metrics.training.classes)


def by_class(seen: Features, label: Tensor, metrics: Judging, most: Count) -> ByClass | None:
    """Measure images that were drawn by class.

    Args:
        seen: what the extractor sees in them.
        label: the class that each was drawn as, int64 [N].
        metrics: bound to the data.
        most: real images to compare with, at most.

    Returns:
        The numbers; None where the extractor does not tell the classes of the data apart.
    """
    if not tells_classes(metrics):
        return None
    return ClassJudge(metrics, most, len(label), distances=True).judge(seen, label)


def _variance(vectors: Tensor) -> Tensor:
    """The trace of the covariance of features [N, dim], 0-d, float64."""
    return vectors.double().var(0).sum()


def _features(images: ImageSet, most: Count, metrics: Judging) -> tuple[Tensor, Tensor, Tensor]:
    """Features of up to so many images of a set with classes, the class of each, and what each is taken for."""
    assert images.labels is not None
    rows = images.labels.argsort(stable=True)[even_rows(len(images), most)]  # as often of each class as there
    seen = metrics.extractor(images.pixels(rows))
    assert seen.probabilities is not None
    return seen.vectors.cpu(), images.labels[rows], seen.probabilities.argmax(1).cpu()


def _pooled(classes: Sequence[OfOneClass]) -> float:
    right = sum(each.count * (each.accuracy or 0.0) for each in classes)
    return right / sum(each.count for each in classes)
