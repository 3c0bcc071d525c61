"""The signals that have a run save and end. Windows knows few of them, and cannot hold any back."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], Any]


def _there(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# What a cluster sends before it takes a job's machine away, as sbatch --signal or submitit have asked it to.
PREEMPTING = _there("SIGUSR1", "SIGUSR2")
# SIGHUP: the terminal was closed. SIGBREAK: Ctrl-Break, the only one that a Windows program can send to another.
STOPPING = (*_there("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"), *PREEMPTING)

_CAN_WAIT = hasattr(signal, "pthread_sigmask")


@contextlib.contextmanager
def handled(numbers: Collection[signal.Signals], handler: Handler) -> Iterator[list[signal.Signals]]:
    """In here `handler` gets these signals; gives those that it does get: none but in the main thread."""
    before: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, handler)
        yield list(before)
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


@contextlib.contextmanager
def held_back(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """In here these signals wait, where the system can have them wait."""
    if not _CAN_WAIT:
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def let_through(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """In here these signals do not wait."""
    if not _CAN_WAIT:
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def held_back_in_new_processes(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """In here processes are started that inherit these signals as waiting, until they let them through.

    This process goes on getting them: a thread takes them and hands them to the main one.
    """
    if not _CAN_WAIT:
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # Python starts it with the first process, and unblocks signals then
    with held_back(numbers):
        threading.Thread(target=_hand_on, args=(numbers,), daemon=True).start()
        yield


def _hand_on(numbers: Collection[signal.Signals]) -> NoReturn:
    """Take what waits in every other thread, and hand it to the main one as Python's handlers know it."""
    while True:
        _thread.interrupt_main(signal.Signals(signal.sigwait(numbers)))


def send_to_main_thread(number: signal.Signals) -> None:
    """Have the main thread handle a signal, out of a call of the system that it waits in where that can be done."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)
