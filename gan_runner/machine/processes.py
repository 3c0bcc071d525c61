"""Processes of this program's own: whether they can wait for each other, and how they are started and interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Sequence


def semaphores() -> bool:
    """Whether this system gives semaphores that processes share, which on Linux lie in /dev/shm."""
    try:
        multiprocessing.get_context().Semaphore()
    except (ImportError, OSError):
        return False
    return True


def started_apart(command: Sequence[str], environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a program that a Ctrl-C here does not reach, its output and errors in one pipe of text lines."""
    apart: dict[str, int | bool] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        if hasattr(subprocess, "CREATE_NEW_PROCESS_GROUP")
        else {"start_new_session": True}
    )
    process: subprocess.Popen[str] = subprocess.Popen(
        list(command),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **apart,  # type: ignore[call-overload]
    )
    return process


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ask a program that was `started_apart` to stop: Ctrl-C, on Windows Ctrl-Break, the only one it can be sent."""
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
