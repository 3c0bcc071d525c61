"""Penalties that count only now and then, in updates of their own."""

from __future__ import annotations

from collections.abc import Iterable


def main_share(intervals: Iterable[int]) -> float:
    """The share of D's updates that are made against its loss, where each lazy penalty has some of its own.

    1 / (1 + sum of 1 / k over the lazy penalties' intervals k), which is k / (k + 1) for a single one.

    Args:
        intervals: of all penalties; an interval of 1 is no update of its own.
    """
    return 1.0 / (1.0 + sum(1.0 / interval for interval in intervals if interval > 1))


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
