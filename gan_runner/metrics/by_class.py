"""Numbers by class of images that were drawn by class: does each show the class that was asked for, and how well?

Beside each stands what real images score that the extractor has not learned. A classifier that recognises generated
images better than real ones is no good sign: G then draws the typical ones of a class and leaves out the rest
(Ravuri and Vinyals 2019, arXiv:1905.10887).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from gan_runner.data.image_set import ImageSet
from gan_runner.metrics import distances, neighbours
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import Features, even_rows
from gan_runner.ranges import Count

# Set by planted faults and healthy runs on the shipped digits (tests/metrics/test_by_class.py).
IGNORED = 0.5
"""Classes count as ignored up to this part of the way from chance to the accuracy on real images."""
COLLAPSED = 0.15
"""A class counts as collapsed where its features vary less than this share of what those of its real images do."""
EASIER = 0.02
"""Classes count as too easy where accuracy is higher than on real images by more than this, and than chance gives."""
_ERRORS = 3.0  # standard errors that are still chance


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
    """

    names: Sequence[str]
    drawn: Sequence[OfOneClass]
    real: Sequence[OfOneClass]
    recognised: Sequence[Sequence[int]]

    @property
    def accuracy(self) -> float:
        """Share of the generated images that are taken for the class that was asked for."""
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
    def findings(self) -> list[str]:
        """What looks wrong, a sentence each."""
        found, real = [], self.real_accuracy
        total = sum(each.count for each in self.drawn)
        chance = sum((each.count / total) ** 2 for each in self.drawn)
        if real is not None and self.accuracy < chance + IGNORED * (real - chance):
            found.append(
                f"Classes are ignored: {self.accuracy:.1%} of the images are taken for the class that was asked for, "
                f"where chance gives {chance:.1%} and real images have {real:.1%}."
            )
        found += [
            f"Class {name} has collapsed: its images vary {each.spread:.1%} as much as the real ones of that class."
            for name, each in zip(self.names, self.drawn, strict=True)
            if each.spread is not None and each.spread < COLLAPSED
        ]
        if real is not None and self.accuracy > real + max(EASIER, _ERRORS * self._error(real)):
            found.append(
                f"Classes are easier to recognise than in real images, {self.accuracy:.1%} against {real:.1%}: G "
                "draws the typical images of a class and leaves out others. See the coverage of each class."
            )
        return found

    def _error(self, rate: float) -> float:
        """Standard error of the difference between the two accuracies."""
        counts = [sum(each.count for each in part) for part in (self.drawn, self.real)]
        return math.sqrt(max(rate * (1 - rate), 1 / min(counts)) * sum(1 / count for count in counts))

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "accuracy": self.accuracy,
            "real_accuracy": self.real_accuracy,
            "findings": self.findings,
            "recognised": [list(row) for row in self.recognised],
            "classes": {
                name: {"generated": asdict(drawn), "real": asdict(real)}
                for name, drawn, real in zip(
                    self.names, self.drawn, self.real or [NOTHING] * len(self.names), strict=True
                )
            },
        }


def by_class(seen: Features, label: Tensor, metrics: FeatureMetrics, most: Count) -> ByClass | None:
    """Measure images that were drawn by class.

    Args:
        seen: what the extractor sees in them.
        label: the class that each was drawn as, int64 [N].
        metrics: bound to the data.
        most: real images to compare with, at most.

    Returns:
        The numbers; None where the extractor does not tell the classes of the data apart.
    """
    names = metrics.training.classes
    if seen.probabilities is None or seen.probabilities.shape[1] != len(names) or metrics.reference.labels is None:
        return None
    reference, reference_label, _ = _features(metrics.reference, most, metrics)
    drawn = seen.probabilities.argmax(1).cpu()
    label = label.cpu()
    recognised = (label * len(names) + drawn).bincount(minlength=len(names) ** 2).view(len(names), -1)

    def of_each(vectors: Tensor, taken_for: Tensor, classes: Tensor) -> list[OfOneClass]:
        found = []
        for number in range(len(names)):
            mine = classes == number
            against = reference[reference_label == number]
            found.append(_of_one(vectors[mine], taken_for[mine] == number, against, metrics))
        return found

    real: list[OfOneClass] = []
    if metrics.unseen is not None and metrics.unseen.labels is not None:
        others, others_label, taken = _features(metrics.unseen, len(label), metrics)
        real = of_each(others, taken, others_label)
    return ByClass(names, of_each(seen.vectors.cpu(), drawn, label), real, recognised.tolist())


def _features(images: ImageSet, most: Count, metrics: FeatureMetrics) -> tuple[Tensor, Tensor, Tensor]:
    """Features of up to so many images of a set with classes, the class of each, and what each is taken for."""
    assert images.labels is not None
    rows = images.labels.argsort(stable=True)[even_rows(len(images), most)]  # as often of each class as there
    seen = metrics.extractor(images.pixels(rows))
    assert seen.probabilities is not None
    return seen.vectors.cpu(), images.labels[rows], seen.probabilities.argmax(1).cpu()


def _of_one(vectors: Tensor, right: Tensor, real: Tensor, metrics: FeatureMetrics) -> OfOneClass:
    count, accuracy = len(vectors), float(right.double().mean()) if len(right) else None
    if min(count, len(real)) < metrics.fewest:
        return OfOneClass(count, accuracy, None, None, None)
    (mean, covariance), (real_mean, real_covariance) = map(distances.moments, (vectors, real))
    around = neighbours.balls(real, metrics.neighbours)
    coverage = neighbours.fidelity_and_coverage(around, vectors, metrics.neighbours)["coverage"]
    spread = float(covariance.trace() / real_covariance.trace().clamp(min=1e-12))
    frechet = float(distances.frechet_distance(real_mean, real_covariance, mean, covariance).clamp(min=0))
    return OfOneClass(count, accuracy, frechet, coverage, spread)


def _pooled(classes: Sequence[OfOneClass]) -> float:
    right = sum(each.count * (each.accuracy or 0.0) for each in classes)
    return right / sum(each.count for each in classes)
