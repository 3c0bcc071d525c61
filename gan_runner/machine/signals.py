"""The signals that have a run save and end. Windows knows few of them, and cannot hold any back.

A signal that is ignored when the program starts stays ignored: nohup does that to SIGHUP, and a script's `&` to SIGINT.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
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
_SECONDS_TO_UNWIND = 5.0


def not_ignored(numbers: Collection[signal.Signals]) -> list[signal.Signals]:
    """Those of these signals that this process does not ignore."""
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def end_at_once() -> None:
    """From here on these signals end the process at once, until something else handles them.

    To process 1, which a container's program is, the kernel delivers only signals that are handled.
    """
    for number in not_ignored(STOPPING):
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(128 + number)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """In here what `end_at_once` handles is raised instead, so that files that are half written are removed.

    SIGINT is a KeyboardInterrupt, as Python has it, and any other one a SystemExit. Whatever a library makes of that,
    the process has ended a few seconds later, or at the second signal.
    """
    with handled([number for number in STOPPING if signal.getsignal(number) is _end], _unwind):
        yield


def _unwind(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, _end)
    last = threading.Timer(_SECONDS_TO_UNWIND, _end, (number, None))
    last.daemon = True
    last.start()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


@contextlib.contextmanager
def handled(numbers: Collection[signal.Signals], handler: Handler) -> Iterator[list[signal.Signals]]:
    """In here `handler` gets these signals; gives those that it does get.

    Those are none but in the main thread, and none that is ignored.
    """
    before: dict[signal.Signals, Any] = {}
    try:
        for number in not_ignored(numbers):
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

    numbers = not_ignored(numbers)  # one that is ignored would come to whoever waits for it
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
