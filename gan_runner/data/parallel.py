"""Work on many images at once, in threads, and how far it has come.

Threads suffice, because Pillow lets go of the interpreter lock while it decodes and resizes. They need no server, share
memory, know no signals and end with the run, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, Self, TypeVar

from gan_runner.bars import Bar, on_a_terminal
from gan_runner.machine.cores import cores


class Sliceable(Protocol):
    """A list, an array or a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Self: ...


Item = TypeVar("Item")
Items = TypeVar("Items", bound=Sliceable)
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

CHUNK = 8
"""Images a thread takes on at a time: few enough to see progress and to stop soon, enough that this costs nothing."""

_AHEAD = 4  # chunks for each thread
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_TO_END = 0.5


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int) -> Iterator[Result]:
    """Do `work` on items in threads, ahead of whoever takes the results, and hand these out in the items' order.

    Nothing waits for the threads: not who is interrupted while waiting for a result, nor who lets go of the iterator,
    nor, for more than a second, the interpreter when it ends.

    Args:
        work: called in several threads at once. What it raises is raised here, in place of its result.
        items: what to work on; may be endless.
        threads: how many, at least 1.
        ahead: items that are taken on before the first result is handed out, at least 1.
    """
    tasks: SimpleQueue[tuple[Future[Result], Item] | None] = SimpleQueue()
    for _ in range(threads):
        thread = threading.Thread(target=_serve, args=(work, tasks), daemon=True)
        _tasks_of[thread] = tasks
        thread.start()
    taken_on: deque[Future[Result]] = deque()
    try:
        for item in items:
            taken_on.append(Future())
            tasks.put((taken_on[-1], item))
            if len(taken_on) == ahead:
                yield taken_on.popleft().result()
        while taken_on:
            yield taken_on.popleft().result()
    finally:
        for future in taken_on:
            future.cancel()
        for _ in range(threads):
            tasks.put(None)


def in_chunks(work: Callable[[Items], Result], items: Items, doing: str) -> Iterator[tuple[int, Result]]:
    """Do `work` on chunks of `items` in threads, hand out the results in order, and show how far that is.

    Args:
        work: takes up to `CHUNK` neighbouring items.
        items: what to work on.
        doing: what the user reads is going on, such as "decoded".

    Yields:
        Where in `items` the chunk starts, and what `work` made of it.
    """
    starts = range(0, len(items), CHUNK)
    chunks = (items[start : start + CHUNK] for start in starts)
    with counting(len(items), doing) as done:
        for start, result in zip(starts, in_order(work, chunks, cores(), _AHEAD * cores()), strict=True):
            yield start, result
            done(min(CHUNK, len(items) - start))


@contextlib.contextmanager
def counting(total: int, doing: str) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` images have been dealt with.

    On a terminal this is a bar with the rate and the time that is left, elsewhere a line in the log now and then.

    Yields:
        What to call with the number of images that were dealt with since the last call.
    """
    looked_at = on_a_terminal()
    count, told = 0, time.monotonic()

    def done(more: int) -> None:
        nonlocal count, told
        count += more
        bar.update(more)
        if not looked_at and time.monotonic() - told > _SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            _log.info("%s %s of %s images", doing, f"{count:,}", f"{total:,}")

    with Bar(
        total=total,
        desc=doing,
        unit=" images",
        disable=not looked_at,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        yield done


_tasks_of: weakref.WeakKeyDictionary[threading.Thread, SimpleQueue[Any]] = weakref.WeakKeyDictionary()
_leaving = threading.Event()


def _serve(work: Callable[[Item], Result], tasks: SimpleQueue[tuple[Future[Result], Item] | None]) -> None:
    """What a thread does: work on what it is given until it is given nothing."""
    while (task := tasks.get()) is not None and not _leaving.is_set():
        future, item = task
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work(item)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)


@atexit.register
def _let_threads_end() -> None:
    """Wait for the threads a moment, since they hold tensors.

    A thread that lets go of a tensor while the interpreter is being taken down aborts the process. One that takes
    longer is inside Pillow, and ends there unharmed.
    """
    _leaving.set()
    until = time.monotonic() + _SECONDS_TO_END
    threads = list(_tasks_of.items())
    for _, tasks in threads:
        tasks.put(None)
    for thread, _ in threads:
        thread.join(max(0.0, until - time.monotonic()))
