"""How many threads a run computes on, and whether other processes slow them down.

The threads of one operation wait for the slowest of them, so that one that shares its core holds up all of them: a run
is quickest on as many threads as have a core to themselves. Sums come in another order on another number of threads, so
that the last bits of all that is computed depend on it.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gan_runner.machine.cores import cores
from gan_runner.machine.load import METER, Load
from gan_runner.training.distributed import ALONE, World

log = logging.getLogger(__name__)

_SHARED = 0.3  # of a core that others may take before its thread is better left out
_SLOWED = 1.5  # times the quickest pace: slower than that is worth a word
_WINDOW = 15.0  # seconds of training that a pace is measured over,
_ITERATIONS = 5  # in so many iterations at least
_AGREE = 2  # measurements in a row that have to agree before anything is said or changed
_SET_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@functools.cache
def default_threads() -> int:
    """As many threads as PyTorch takes by itself: one for each core, or as the user's environment says."""
    threads = torch.get_num_threads()
    return threads if _is_set_by_user() else min(threads, cores())


def _is_set_by_user() -> bool:
    return any(os.environ.get(name) for name in _SET_BY_USER)


def free_threads(most: int, load: Load | None, all_cores: int) -> int:
    """How many threads would have a core to themselves; at least 1.

    Args:
        most: threads where nobody else computes.
        load: what other processes take; None where nobody knows.
        all_cores: cores that this process may use, by quotas too. Fewer threads than that are one for every physical
            core, of which each counts twice or more.
    """
    if load is None:
        return most
    return max(1, min(most, math.floor(room_for_threads(most, load, all_cores))))


def room_for_threads(most: int, load: Load, all_cores: int) -> float:
    """How many threads would have nearly a whole core each; see `free_threads`."""
    return (load.cores - load.taken) * min(1.0, most / all_cores) + _SHARED


def choose_threads(
    setting: int | Literal["auto"],
    device: torch.device,
    before: Mapping[str, Any] | None,
    world: World = ALONE,
) -> None:
    """Set the number of threads that this process computes on, and say so where that is not all that it could.

    A number insists. `auto` takes what a resumed run had before, or what the user's environment says, or as many
    as have a core to themselves now.

    Args:
        setting: `trainer.threads`.
        device: where the run computes.
        before: what a checkpoint says of the run that is to be resumed; None for a new run.
        world: who trains; several processes keep what they were given, and so does another number of them than before.
    """
    most = default_threads()
    had = int(before["threads"]) if before and int(before.get("processes", 1)) == world.size else None
    if setting != "auto":
        threads = setting
        if had is not None and had != threads:
            log.warning(
                "This run was computed on %s, and is resumed with %d: its last bits may differ.", named(had), threads
            )
    elif had is not None:
        threads = had if had <= max(most, cores()) else most
        if threads != had:
            log.warning("This run computed on %d threads, and there are %d here: its last bits may differ.", had, most)
        elif threads != most:
            log.info("Computing on %s, as this run did before.", named(threads))
    elif before is not None or world.size > 1 or device.type != "cpu" or _is_set_by_user():
        threads = most
    else:
        load = METER.look()
        threads = free_threads(most, load, cores())
        if load is not None and threads < most:
            log.info(
                "Other processes take %.1f of %d cores: computing on %s. To insist on more: trainer.threads=%d.",
                *(load.taken, load.cores, named(threads), most),
            )
    torch.set_num_threads(threads)


def named(threads: int) -> str:
    """A number of threads in words."""
    return f"{threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class Window:
    """What was measured over some seconds of training.

    Attributes:
        pace: seconds of an update, the median.
        times: how many times as long that is as at the run's quickest on so many threads.
        load: what other processes took.
        free: threads that would have had a core to themselves.
        crowded: whether the others took cores that the run's threads needed.
    """

    pace: float
    times: float
    load: Load
    free: int
    crowded: bool


class PaceWatch:
    """Detects whether other processes slow a run down.

    The pace is a median, so that a single long iteration, as after a machine has slept, does not count; evaluations,
    images and checkpoints are not in it. And others only slow a run down where they take cores that its threads need.

    Args:
        threads: that the run computes on.
        most: threads where nobody else computes.
        all_cores: see `free_threads`.
        look: measures what other processes have taken since it was last asked.
    """

    def __init__(self, threads: int, most: int, all_cores: int, look: Callable[[], Load | None]) -> None:
        self.threads = threads
        self.slowed: Window | None = None  # the latest one, while others slow the run down
        self._most = most
        self._cores = all_cores
        self._look = look
        self._quickest = math.inf
        self._latest: list[Window] = []
        self._begin_window()
        look()  # what was before is no matter

    def _begin_window(self) -> None:
        self._paces: list[float] = []
        self._seconds = 0.0

    def add(self, seconds: float, updates: int) -> bool:
        """Count a turn; gives whether others slow the run down from now on, or no longer do.

        Args:
            seconds: that it took.
            updates: of weights in it.
        """
        self._paces.append(seconds / updates)
        self._seconds += seconds
        if self._seconds < _WINDOW or len(self._paces) < _ITERATIONS:
            return False
        pace = statistics.median(self._paces)
        self._begin_window()
        if (load := self._look()) is None:
            return False
        self._quickest = min(self._quickest, pace)
        room = room_for_threads(self._most, load, self._cores)
        free = free_threads(self._most, load, self._cores)
        window = Window(pace, pace / self._quickest, load, free, crowded=room < self.threads)
        self._latest = [*self._latest, window][-_AGREE:]
        slowed = [each.crowded and each.times >= _SLOWED for each in self._latest]
        before = self.slowed is not None
        if len(slowed) == _AGREE and len(set(slowed)) == 1:
            self.slowed = window if slowed[0] else None
        return before is not (self.slowed is not None)

    @property
    def better(self) -> int:
        """On how many threads the run would be quicker, where the latest windows agree; else as many as now."""
        found = {window.free for window in self._latest}
        if len(self._latest) < _AGREE or len(found) > 1:
            return self.threads
        (free,) = found
        return free if free > self.threads or self.slowed is not None else self.threads


class Threads:
    """The threads that a run computes on, and the messages about them.

    Args:
        may_change: whether their number may follow what other processes leave (`trainer.adapt_threads`).
        watched: whether other processes are watched; where a GPU computes, or several processes, they are not.
    """

    def __init__(self, *, may_change: bool, watched: bool) -> None:
        self._may_change = may_change
        self._watched = watched
        self._set(torch.get_num_threads())
        self.changes: list[dict[str, int]] = [{"iteration": 0, "threads": self.number}]
        """From the iteration after which on, how many."""

    def _set(self, number: int) -> None:
        self.number = number
        self._watch = PaceWatch(number, default_threads(), cores(), METER.look) if self._watched else None

    def turn_took(self, seconds: float, updates: int) -> str | None:
        """Count a turn; gives what there is to say, where other processes have begun to slow the run down, or ended."""
        if self._watch is None or not self._watch.add(seconds, updates):
            return None
        return how_it_stands(self._watch.slowed, self.number, self._may_change)

    def change_at_checkpoint(self, iteration: int) -> str | None:
        """Compute on as many threads from now on as are best, where that is allowed; gives what there is to say."""
        if self._watch is None or not self._may_change or (better := self._watch.better) == self.number:
            return None
        torch.set_num_threads(better)
        self._set(better)
        self.changes.append({"iteration": iteration, "threads": better})
        return f"Computing on {named(better)} from iteration {iteration + 1} on (trainer.adapt_threads)."

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of them."""
        return {"threads": self.number, "thread_changes": self.changes}

    def go_on(self, about: Mapping[str, Any], iteration: int) -> None:
        """Restore their record from a checkpoint; their number was set before by `choose_threads`."""
        earlier = about.get("thread_changes") or [{"iteration": 0, "threads": about["threads"]}]
        self.changes = [dict(change) for change in earlier]
        if self.changes[-1]["threads"] != self.number:
            self.changes.append({"iteration": iteration, "threads": self.number})


def how_it_stands(slowed: Window | None, threads: int, may_change: bool) -> str:
    """A message that says by how much other processes slow the run down and what helps, or that they no longer do."""
    if slowed is None:
        return "Other processes no longer slow this run down."
    found = (
        f"Other processes take {slowed.load.taken:.1f} of {slowed.load.cores} cores: an iteration takes "
        f"{slowed.times:.1f} times as long as before."
    )
    if slowed.free >= threads:
        return f"{found} Ending them would help."
    if may_change:
        return f"{found} From the next checkpoint on, {named(slowed.free)} will compute."
    return f"{found} It would go faster resumed with trainer.threads={slowed.free}, or with trainer.adapt_threads=true."
