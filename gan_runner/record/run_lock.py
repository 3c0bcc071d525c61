"""The lock that a run holds on its folder while it trains."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


def lock_of(run: Path) -> FileLock:
    """The lock of a run's folder, not taken yet."""
    return FileLock(run / ".hydra" / "lock")


def is_training(run: Path) -> bool:
    """Whether some process trains in a run's folder."""
    lock = lock_of(run)
    if not Path(lock.lock_file).is_file():
        return False
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return False
    lock.release()
    return False
