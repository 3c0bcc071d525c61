"""Scores of a classifier from its confusion matrix."""

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


def scores_of(recognised: Sequence[Sequence[int]]) -> Scores:
    """Compute scores from a confusion matrix.

    Args:
        recognised: counts of test images [C, C]: a row for each true class, a column for each predicted one. Not all
            are 0.
    """
    counts = torch.tensor(recognised, dtype=torch.float64)
    right, there, taken = counts.diagonal(), counts.sum(1), counts.sum(0)
    recall = right / there.clamp(min=1)
    f1 = 2 * right / (there + taken).clamp(min=1)
    return Scores(float(right.sum() / counts.sum()), tuple(recall.tolist()), tuple(f1.tolist()))
