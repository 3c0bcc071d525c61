"""How far a run has come, and what is due."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gan_runner.health.symptoms import Moment
from gan_runner.training.schedules import EpochLength, Turn
from gan_runner.training.settings import Trainer


@dataclass
class Progress:
    """The counters of a run.

    Attributes:
        iteration: turns played.
        images: real images shown to D.
        d_steps: updates of D.
        g_steps: updates of G.
        position: where in the stream of real images the next turn begins.
        seconds: time spent training, all starts together.
    """

    iteration: int = 0
    images: int = 0
    d_steps: int = 0
    g_steps: int = 0
    position: int = 0
    seconds: float = 0.0

    def advance(self, turn: Turn, batch_size: int) -> None:
        """Count a turn that has been played."""
        self.iteration += 1
        self.d_steps += turn.d_updates
        self.g_steps += turn.g_updates
        self.images += turn.d_updates * batch_size

    @property
    def moment(self) -> Moment:
        """The counters that an alarm's patience uses."""
        return Moment(self.iteration, self.d_steps, self.g_steps)

    def images_played(self, settings: Trainer) -> int:
        """Images that updates were made by: real ones in D's, generated ones in G's."""
        return self.d_steps * settings.batch_size + self.g_steps * settings.g_batch_size


class Timetable:
    """What is due when.

    An epoch is a length: as many images as there are in the data set, rounded down to whole turns, so 468 iterations
    for 60,000 images in batches of 128. It is no pass over the data, in which each image comes once: what is left of a
    pass comes first in the next epoch, which ends before its own pass does.

    Args:
        settings: the intervals and the length of the run.
        epoch: how long an epoch is.
        d_steps_per_turn: D's updates in a turn; None where that varies.
        evaluate_every: interval between two evaluations; None for none.
    """

    def __init__(
        self, settings: Trainer, epoch: EpochLength, d_steps_per_turn: int | None, evaluate_every: int | None
    ) -> None:
        self._settings = settings
        self._evaluate_every = evaluate_every
        images_per_turn = epoch.batch_size * (d_steps_per_turn or 1)
        self._images_per_epoch = max(1, epoch.count // images_per_turn) * images_per_turn
        self._images = settings.epochs * self._images_per_epoch
        self._images_per_turn = images_per_turn if d_steps_per_turn is not None else None

    def iterations(self, progress: Progress) -> int | None:
        """How many iterations a run that has come so far will have had in the end; None where the game decides."""
        if self._settings.iterations is not None or self._images_per_turn is None:
            return self._settings.iterations
        return progress.iteration + math.ceil(max(0, self._images - progress.images) / self._images_per_turn)

    def epochs(self, progress: Progress) -> float:
        """Epochs so far."""
        return progress.images / self._images_per_epoch

    def share_done(self, progress: Progress) -> float:
        """How much of the run is done, in [0, 1]."""
        if self._settings.iterations is not None:
            return min(1.0, progress.iteration / self._settings.iterations)
        return min(1.0, progress.images / self._images)

    def intervals(self, every: int, iterations: int) -> int:
        """How often something is due that is so at every so many epochs or iterations, and at the last one.

        Args:
            every: the interval, in what `trainer.intervals_in` says.
            iterations: the length of the run.
        """
        if self._settings.intervals_in == "iterations":
            return math.ceil(iterations / every)
        images = iterations * (self._images_per_turn or self._settings.batch_size)
        return math.ceil(images / self._images_per_epoch / every)

    def finished(self, progress: Progress) -> bool:
        """Whether the run is as long as it was asked to be."""
        return self.share_done(progress) >= 1.0

    def due(self, before: Progress, now: Progress) -> Due:
        """What is due after the turn that led from `before` to `now`."""
        settings, last = self._settings, self.finished(now)
        epoch = int(self.epochs(now))
        epoch_ended = epoch > int(self.epochs(before))

        def interval_ended(every: int) -> bool:
            if settings.intervals_in == "iterations":
                return now.iteration % every == 0
            return epoch_ended and epoch % every == 0

        samples = last or interval_ended(settings.sample_every) or (epoch_ended and epoch == 1)
        evaluation = self._evaluate_every is not None and (last or interval_ended(self._evaluate_every))
        checkpoint = last or interval_ended(settings.checkpoint_every)
        to_log = now.iteration % settings.log_every == 0 or epoch_ended
        return Due(epoch_ended, to_log or samples or evaluation or checkpoint, samples, evaluation, checkpoint)


@dataclass(frozen=True)
class Due:
    """What is due after a turn: whether an epoch has ended, and what is to be done."""

    epoch_ended: bool
    log: bool
    samples: bool
    evaluation: bool
    checkpoint: bool


_WARM_UP = 3  # iterations that are no measure of the others
_LOOKS = (3.0, 30.0)  # seconds into a start at which it says how long it will take


def duration(seconds: float) -> str:
    """Write a duration in words: "2 h 5 min", "3 min 20 s"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Clock:
    """The time that a run has taken, which a checkpoint keeps with its counters.

    Args:
        progress: the counters.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started = self._saved = time.monotonic()
        self._begun = progress.iteration
        self._first: tuple[int, float] | None = None
        self._looks = list(_LOOKS)

    @property
    def seconds(self) -> float:
        """Time spent training, all starts together."""
        return self._progress.seconds + time.monotonic() - self._started

    @property
    def minutes_since_saved(self) -> float:
        """Time since the last checkpoint."""
        return (time.monotonic() - self._saved) / 60

    def pace(self, iteration: int) -> tuple[int, float] | None:
        """Iterations of this start and the seconds they took, at a few times early in it; None otherwise.

        The first iterations, which warm up, are left out.
        """
        now = time.monotonic()
        if self._first is None and iteration > self._begun + _WARM_UP:
            self._first = (iteration, now)
        if (
            self._first is None
            or not self._looks
            or now - self._first[1] < self._looks[0]
            or iteration == self._first[0]
        ):
            return None
        self._looks.pop(0)
        return iteration - self._first[0], now - self._first[1]

    def note_saved(self) -> None:
        """A checkpoint is being written."""
        self._saved = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The counters, with the time so far."""
        return asdict(self._progress) | {"seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        for name, value in state.items():
            setattr(self._progress, name, value)
        self._started = time.monotonic()
        self._begun = self._progress.iteration
