"""How a player's learning rate changes over a run, as a factor of the configured `lr`."""

from __future__ import annotations

import math
from typing import Protocol

from gan_runner.ranges import Fraction, NonNegative


class LearningRate(Protocol):
    """A factor for the learning rate.

    It is asked for once a turn of the schedule, before the player's first update in it: with `schedule.d_steps=5`, D's
    five updates of a turn are made at the rate of the first.
    """

    def factor(self, updates: int, progress: float) -> float:
        """Give the factor before the player's next update.

        Args:
            updates: how many updates this player has made.
            progress: the share of the run that is done, in [0, 1].
        """
        ...


class Constant:
    """The configured learning rate throughout."""

    def factor(self, updates: int, progress: float) -> float:
        """Always 1."""
        return 1.0


class Linear:
    """In a straight line from 1 at the start to `end` at the end of the run, after `hold` of it at 1."""

    def __init__(self, hold: Fraction, end: NonNegative) -> None:
        self.hold = hold
        self.end = end

    def factor(self, updates: int, progress: float) -> float:
        """1 + (end - 1) * (progress - hold) / (1 - hold), and 1 before `hold`."""
        if progress <= self.hold:
            return 1.0
        return 1.0 + (self.end - 1.0) * (progress - self.hold) / (1.0 - self.hold)


class Cosine:
    """Along half a cosine from 1 to `end` (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts)."""

    def __init__(self, end: NonNegative) -> None:
        self.end = end

    def factor(self, updates: int, progress: float) -> float:
        """End + (1 - end) * (1 + cos(pi * progress)) / 2."""
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))


class TimeDecay:
    """1 / (1 + decay * updates): what Keras' optimizers did with `decay=`."""

    def __init__(self, decay: NonNegative) -> None:
        self.decay = decay

    def factor(self, updates: int, progress: float) -> float:
        """1 / (1 + decay * updates)."""
        return 1.0 / (1.0 + self.decay * updates)
