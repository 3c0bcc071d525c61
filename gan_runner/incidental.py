"""The settings that do not make a run another run: how it is started, computes and is shown, and where its images lie.

Whatever asks whether two configs train the same asks here: a sweep that goes on, a resume, the comparison of runs.
"""

from __future__ import annotations

OF_A_START = ("resume", "resume_force", "resume_from", "sweep_resume", "trust")
"""Keys of one start of a run or sweep."""

PLACES_OF_DATA = ("root", "other_root", "path")
"""Keys of data that name a file or folder."""

OF_A_PLACE = (*(f"data.{name}" for name in PLACES_OF_DATA), "data.download")
"""Keys that say where images lie; they are known by their fingerprint."""

_INCIDENTAL = (
    *OF_A_START,
    *OF_A_PLACE,
    *("data.resident", "data.workers"),  # how images come to the device
    *("trainer.device", "trainer.progress", "trainer.keep", "logger", "pruning", "hydra"),
)


def is_incidental(key: str) -> bool:
    """Whether a setting, by its dotted key, or a choice of a group does not make a run another run."""
    return is_below(key.partition("@")[0], _INCIDENTAL)


def is_below(key: str, parents: tuple[str, ...] | list[str]) -> bool:
    """Whether a dotted key is one of `parents` or lies below one."""
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)
