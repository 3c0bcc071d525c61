"""Whether processes can be started that wait for each other."""

from __future__ import annotations

import multiprocessing


def semaphores() -> bool:
    """Whether this system gives semaphores that processes share, which on Linux lie in /dev/shm."""
    try:
        multiprocessing.get_context().Semaphore()
    except (ImportError, OSError):
        return False
    return True
