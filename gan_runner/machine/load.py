"""How much of the processor other processes take."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

_SHORTEST = 0.5  # seconds; systems count in hundredths of a second
_BUSY = (
    "user",
    "nice",
    "system",
    "irq",
    "softirq",
    "steal",
)  # what systems count; steal: what other virtual machines took


@dataclass(frozen=True)
class Load:
    """What other processes took of the cores that this process may use, on average over some time.

    Attributes:
        cores: how many cores that were.
        taken: how many of them the others kept busy, in [0, cores].
    """

    cores: int
    taken: float


@dataclass(frozen=True)
class Reading:
    """Seconds of processor time since the system started, but for `at`, which is a moment.

    Attributes:
        at: when it was read.
        own: of this process, all its threads.
        busy: of all processes.
    """

    at: float
    cores: int
    own: float
    busy: float


class LoadMeter:
    """Measures the load from one look to the next; it takes no time of its own."""

    def __init__(self) -> None:
        self._before = read()
        self._load: Load | None = None

    def look(self) -> Load | None:
        """The load since the last look, or the same as then where that was a moment ago; None where nobody knows."""
        now = read()
        if now is None or self._before is None:
            return None
        if now.at - self._before.at >= _SHORTEST:
            self._load = load_between(self._before, now)
            self._before = now
        return self._load


def load_between(before: Reading, now: Reading) -> Load:
    """The load between two readings.

    Processes with a lower priority (nice) count as all others: the kernel shares cores out among sessions and control
    groups first, and a priority only counts within one.

    Args:
        before: the earlier reading.
        now: the later one.
    """
    others = now.busy - before.busy - (now.own - before.own)
    return Load(now.cores, min(float(now.cores), max(0.0, others / (now.at - before.at))))


def read() -> Reading | None:
    """What has been computed so far on the cores that this process may use; None where the system does not say."""
    try:
        every = psutil.cpu_times(percpu=True)
    except (OSError, RuntimeError, NotImplementedError):  # as in a container that shows nothing
        return None
    at, own = time.monotonic(), time.process_time()
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(len(every)))
    counted = [core for number, core in enumerate(every) if number in mine]
    if not counted:
        return None
    busy = sum(getattr(core, kind, 0.0) for core in counted for kind in _BUSY)
    return Reading(at, len(counted), own, busy)


METER = LoadMeter()
"""Measures since the process has started: this module is imported before anything that takes long."""
