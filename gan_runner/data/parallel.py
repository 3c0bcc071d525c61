"""Work on many pictures at once, with a line in the log now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self, TypeVar

from gan_runner.data.resources import cores


class Sliceable(Protocol):
    """A list, an array or a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: slice, /) -> Self: ...


Items = TypeVar("Items", bound=Sliceable)
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

CHUNK = 256
"""Pictures a thread takes on at a time: few enough to see progress, enough to make handing over cheap."""

_SECONDS_BETWEEN_LINES = 10.0


def in_chunks(work: Callable[[Items], Result], items: Items, doing: str) -> Iterator[tuple[int, Result]]:
    """Do `work` on chunks of `items` in threads and hand out the results in order.

    Threads suffice, because Pillow lets go of the interpreter lock while it decodes and resizes.

    Args:
        work: takes up to `CHUNK` neighbouring items.
        items: what to work on.
        doing: what the log says is going on, such as "decoded".

    Yields:
        Where in `items` the chunk starts, and what `work` made of it.
    """
    starts = range(0, len(items), CHUNK)
    pool = ThreadPoolExecutor(cores())
    told = time.monotonic()
    try:
        results = pool.map(lambda start: work(items[start : start + CHUNK]), starts)
        for start, result in zip(starts, results, strict=True):
            yield start, result
            if time.monotonic() - told > _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                _log.info("%s %s of %s pictures", doing, f"{start + CHUNK:,}", f"{len(items):,}")
    finally:
        # An interrupt must not wait for the chunks that nobody will look at.
        pool.shutdown(cancel_futures=True)
