"""How well a classifier tells classes apart, from how often it takes each class for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Scores:
    """What a classifier scores on test images.

    Attributes:
        accuracy: share of all images that it is right about.
        recall: of each class, the share that it is right about; 0 of a class without images.
        f1: of each class, 2 TP / (2 TP + FP + FN); 0 where all three are.
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
    """Scores from counts.

    Args:
        recognised: of the test images of a row's class, how many were taken for a column's, [C, C]; one at least.
    """
    counts = torch.tensor(recognised, dtype=torch.float64)
    right, there, taken = counts.diagonal(), counts.sum(1), counts.sum(0)
    recall = right / there.clamp(min=1)
    f1 = 2 * right / (there + taken).clamp(min=1)
    return Scores(float(right.sum() / counts.sum()), tuple(recall.tolist()), tuple(f1.tolist()))
