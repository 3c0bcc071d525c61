"""What a number that a metric gives means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Number:
    """What a number is.

    Attributes:
        better: which end is good; None where neither is.
        says: what it says, in a few words.
        needs: what it cannot be computed without, besides images.
        title: what people call it, such as "Frechet distance"; "" is its name.
    """

    better: Literal["lower", "higher"] | None
    says: str
    needs: Literal["classes", "modes", "training", "held out"] | None = None
    title: str = ""

    def __str__(self) -> str:
        """Which way is better, and what it says: "Lower is better: ..."."""
        return f"{self.better.capitalize()} is better: {self.says}." if self.better else f"{self.says.capitalize()}."
