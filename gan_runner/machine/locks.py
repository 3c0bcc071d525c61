"""Locks on folders that hold between processes, and between machines where a network drive passes them on."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from gan_runner.machine.files import once_more


class Lock:
    """A lock that a process holds until it releases it or ends, however it ends.

    Args:
        path: the lock's file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # filelock's own way out, a file whose existence is the lock, would outlive a process that was killed.
        self._lock = FileLock(path, fallback_to_soft=False)

    def take(self, seconds: float = 0.0) -> str | None:
        """Take the lock.

        Args:
            seconds: how long to wait for another process that holds it.

        Returns:
            Why nothing is locked, where the file system has no locks; else None.

        Raises:
            TimeoutError: another process holds it.
        """
        try:
            once_more(lambda: self._lock.acquire(timeout=seconds))
        except Timeout:
            raise TimeoutError(str(self.path)) from None
        except OSError as error:
            return error.strerror or str(error)
        return None

    def release(self) -> None:
        """Let others take it; nothing where it is not held."""
        self._lock.release()

    def held_elsewhere(self) -> bool:
        """Whether another process holds it, as far as the file system knows."""
        if not self.path.is_file():
            return False
        try:
            self.take()
        except TimeoutError:
            return True
        self.release()
        return False
