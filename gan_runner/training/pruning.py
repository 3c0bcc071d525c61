"""Which jobs of a sweep are stopped early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Protocol

from gan_runner.ranges import Count, CountOrZero


class Pruning(Protocol):
    """A choice of the `pruning` group: which jobs of a sweep are stopped."""

    def hopeless(self, iteration: int, best: float, others: Sequence[float]) -> bool:
        """Whether to stop a job; asked after each of its evaluations.

        Args:
            iteration: where the job is.
            best: its best objective so far, lower is better.
            others: what finished jobs had at that iteration, turned alike; it may not be finite.
        """
        ...


class Median:
    """Gives up a job whose best objective so far is worse than the median of the others' at the same iteration.

    The rule of Optuna's MedianPruner, after the median stopping rule of Golovin et al. 2017 (Google Vizier).

    Args:
        jobs: finished jobs that it takes to judge by.
        after: iterations before which no job is judged.
    """

    def __init__(self, jobs: Count, after: CountOrZero) -> None:
        self._jobs = jobs
        self._after = after

    def hopeless(self, iteration: int, best: float, others: Sequence[float]) -> bool:
        """Whether to stop a job; what is not finite of the others is left out."""
        known = [value for value in others if math.isfinite(value)]
        return iteration >= self._after and len(known) >= self._jobs and best > median(known)
