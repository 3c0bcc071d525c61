"""The lock that a run holds on its folder while it trains."""

from __future__ import annotations

from pathlib import Path

from gan_runner.machine.locks import Lock


def lock_of(run: Path) -> Lock:
    """The lock of a run's folder, not taken yet."""
    return Lock(run / ".hydra" / "lock")


def is_training(run: Path) -> bool:
    """Whether some process trains in a run's folder."""
    return lock_of(run).held_elsewhere()
