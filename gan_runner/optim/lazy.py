"""Lazy regularisation: penalties that are applied every few updates, in updates of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations


def main_share(intervals: Iterable[int]) -> float:
    """The share of D's updates that minimise its loss, if lazy penalties have updates of their own.

    There is one more after every update whose number an interval divides, whichever penalties are due together:
    k / (k + 1) for a single interval k.

    Args:
        intervals: of all penalties; an interval of 1 is no update of its own.
    """
    lazy = {interval for interval in intervals if interval > 1}
    # The share of numbers that one of them divides, by inclusion and exclusion.
    subsets = (some for count in range(1, len(lazy) + 1) for some in combinations(lazy, count))
    further = math.fsum((1 if len(some) % 2 else -1) / math.lcm(*some) for some in subsets)
    return 1.0 / (1.0 + further)


def corrected(lr: float, betas: tuple[float, float], share: float) -> tuple[float, tuple[float, float]]:
    """Adam's rate and betas beside lazy penalties (Karras et al. 2020, arXiv:1912.04958, appendix B).

    A penalty's own updates move the weights too, and make the running means forget: at `lr * share` and
    `betas ** share` D moves and forgets by image as it would without them.

    Args:
        lr: learning rate.
        betas: decays of the running means of the gradient and of its square.
        share: see `main_share`; 1 changes nothing.
    """
    return lr * share, (betas[0] ** share, betas[1] ** share)
