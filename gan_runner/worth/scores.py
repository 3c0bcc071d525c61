"""Scores of a classifier from its counts of test images by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scores:
    """Scores of a classifier on test images.

    Attributes:
        accuracy: share of images that are classified correctly.
        recall: the same within each class; 0 for a class without images.
        f1: of each class, 2 TP / (2 TP + FP + FN); 0 if all three are 0.
    """

    accuracy: float
    recall: tuple[float, ...]
    f1: tuple[float, ...]

    @property
    def macro_f1(self) -> float:
        """Mean of the F1 of all classes."""
        return sum(self.f1) / len(self.f1)

    def f1_of(self, classes: Sequence[int]) -> float:
        """Mean of the F1 of some classes."""
        return sum(self.f1[number] for number in classes) / len(classes)


@dataclass(frozen=True)
class Counts:
    """What a classifier said of the test images, by class.

    Attributes:
        correct: images of each class that are classified correctly.
        predicted: images that are classified as each class, whatever their true class.
    """

    correct: Sequence[int]
    predicted: Sequence[int]


def scores_of(counts: Counts, tested: Sequence[int]) -> Scores:
    """Compute scores.

    Args:
        counts: of a classifier.
        tested: test images of each class, not all 0.
    """
    correct, predicted, there = (
        torch.tensor(each, dtype=torch.float64) for each in (counts.correct, counts.predicted, tested)
    )
    recall = correct / there.clamp(min=1)
    f1 = 2 * correct / (there + predicted).clamp(min=1)
    return Scores(float(correct.sum() / there.sum()), tuple(recall.tolist()), tuple(f1.tolist()))
