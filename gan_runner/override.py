"""One override of a config, as it is typed: where its sign, its key and its value are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Override:
    """One word that sets a key.

    Attributes:
        sign: "+", "++" or "~" before the key, or "".
        key: such as "trainer.epochs" or "penalty@penalty.parts.r1".
        value: the text behind the equals sign; None where there is no such sign.
    """

    sign: str
    key: str
    value: str | None

    @classmethod
    def of(cls, word: str) -> Self:
        """Take a word apart."""
        front, equals, value = word.partition("=")
        key = front.lstrip("+~")
        return cls(front[: len(front) - len(key)], key, value if equals else None)

    def __str__(self) -> str:
        return f"{self.sign}{self.key}" + (f"={self.value}" if self.value is not None else "")

    @property
    def takes_away(self) -> bool:
        """Whether it takes its key away rather than setting it."""
        return "~" in self.sign


def key_of(word: str) -> str:
    """The key of an override."""
    return Override.of(word).key


def values_by_key(words: Iterable[str]) -> dict[str, str]:
    """The keys that overrides set, not those that they take away, and the text of the last value of each."""
    return {one.key: one.value or "" for one in map(Override.of, words) if not one.takes_away}
