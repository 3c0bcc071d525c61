"""The signals that have a run save and end, and what becomes of one when the run has ended."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator

log = logging.getLogger(__name__)


def _there(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# What a cluster sends before it takes a job's machine away, as sbatch --signal or submitit have asked it to.
PREEMPTING = _there("SIGUSR1", "SIGUSR2")
STOPPING = (*_there("SIGINT", "SIGTERM", "SIGHUP"), *PREEMPTING)


@contextlib.contextmanager
def preemption_waits() -> Iterator[None]:
    """In here a signal of preemption waits, but for where a run can save."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PREEMPTING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def hand_on_preemption(number: int | None) -> None:
    """Give the launcher of a job what has preempted it, if it listens: submitit queues the job again, and leaves.

    Args:
        number: the signal that has stopped the job; None if none has. One that waits is given too.

    Raises:
        SystemExit: the job is queued again.
    """
    listened_for = [each for each in PREEMPTING if callable(signal.getsignal(each))]
    if number in listened_for:
        signal.raise_signal(number)  # it waits
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, listened_for)
    except Exception as error:
        log.warning("The job is not queued again: %s", error)
