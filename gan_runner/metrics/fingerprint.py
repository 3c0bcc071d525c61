"""What a metric was measured on, so that only comparable values are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Fingerprint:
    """Everything that changes a metric's value for the same generator.

    Attributes:
        data: name and fingerprint of the training images.
        held_out: those of the held-out ones, or `none`.
        extractor: its name and fingerprint.
        neighbours: the k of nearest neighbours.
        real: how many real images the generated ones were compared with.
        generated: how many generated images.
        split: which real images those were, `train` or `test`.
        seed: of the latents, and of noise.
        metrics_seed: of what is drawn in measuring.
        average: whether the moving average of G drew; None for images whose maker is not known.
        checkpoint: `best` or `last`, or the iteration that was asked for; None for images whose maker is not known.
    """

    data: str
    held_out: str
    extractor: str
    neighbours: int
    real: int
    generated: int
    split: str
    seed: int
    metrics_seed: int
    average: bool | None
    checkpoint: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The inverse of `as_dict`; what it does not know is left aside."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})

    def __str__(self) -> str:
        """All of it in one line."""
        return "  ".join(f"{name}={value}" for name, value in self.as_dict().items() if value is not None)

    def differences(self, other: Fingerprint) -> list[str]:
        """How two measurements differ apart from the generator, in words; unknown values are no difference."""
        pairs = [(field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return [
            f"{name} is {mine} and {theirs}"
            for name, mine, theirs in pairs
            if mine != theirs and None not in (mine, theirs)
        ]
