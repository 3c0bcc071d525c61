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
        seconds: time spent training, all starts together, up to the last turn.
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
        self.d_steps += turn.d_steps
        self.g_steps += turn.g_steps
        self.images += turn.d_steps * batch_size

    @property
    def moment(self) -> Moment:
        """The counters that an alarm's patience uses."""
        return Moment(self.iteration, self.d_steps, self.g_steps)

    def images_played(self, settings: Trainer) -> int:
        """Images that updates were made by: real ones in D's, generated ones in G's."""
        return self.d_steps * settings.batch_size + self.g_steps * settings.g_batch_size


_FEWEST_IMAGES, _FEWEST_EPOCHS = 128_000, 10  # real images shown to D, and epochs, that trainer.epochs=auto comes to
_FIRST_LOOK = (
    8  # the iteration of the first samples and the first evaluation; the next follow at twice as many each time
)


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
        auto = max(_FEWEST_EPOCHS, math.ceil(_FEWEST_IMAGES / self._images_per_epoch))
        self.epochs_in_all = auto if settings.epochs == "auto" else settings.epochs
        self._images = self.epochs_in_all * self._images_per_epoch
        self._images_per_turn = images_per_turn if d_steps_per_turn is not None else None

    def too_short(self, in_minutes: int | None = None) -> str | None:
        """A warning that a run of this length is too short for good samples.

        Args:
            in_minutes: the estimated number of iterations in `trainer.minutes`, known after the first seconds.

        Returns:
            None if the run is long enough, or if the number of iterations is not known yet.
        """
        images, iterations = self._images, self._settings.iterations or in_minutes
        if iterations is not None:
            images = iterations * (self._images_per_turn or self._settings.batch_size)
        elif self._settings.minutes is not None:
            return None
        if images >= _FEWEST_IMAGES // 2:
            return None
        seen = f"{images:,}" if in_minutes is None else f"about {float(f'{images:.2g}'):,.0f}"
        return f"Short run: D sees {seen} real images; samples are seldom good before {_FEWEST_IMAGES:,}."

    def iterations(self, progress: Progress) -> int | None:
        """How many iterations a run that has come so far will have had in the end; None where nobody can tell yet."""
        if self._settings.iterations is not None:
            return self._settings.iterations
        if self._settings.minutes is not None:
            share = self.share_done(progress)
            return math.ceil(progress.iteration / share) if share and progress.iteration > _FIRST_LOOK else None
        if self._images_per_turn is None:
            return None
        return progress.iteration + math.ceil(max(0, self._images - progress.images) / self._images_per_turn)

    def epochs(self, progress: Progress) -> float:
        """Epochs so far."""
        return progress.images / self._images_per_epoch

    def share_done(self, progress: Progress) -> float:
        """How much of the run is done, in [0, 1]."""
        if self._settings.iterations is not None:
            return min(1.0, progress.iteration / self._settings.iterations)
        if self._settings.minutes is not None:
            return min(1.0, progress.seconds / (60 * self._settings.minutes))
        return min(1.0, progress.images / self._images)

    def looks(self, every: int, iterations: int) -> int:
        """How often samples, or an evaluation, are due; see `intervals`, to which the early ones are added."""
        one_interval = every
        if self._settings.intervals_in == "epochs":
            one_interval = every * self._images_per_epoch // (self._images_per_turn or self._settings.batch_size)
        early = math.log2(max(1, min(one_interval - 1, iterations) / _FIRST_LOOK) * 2)
        return self.intervals(every, iterations) + (
            int(early) if min(one_interval - 1, iterations) >= _FIRST_LOOK else 0
        )

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

        def early(every: int) -> bool:
            so_far = now.iteration if settings.intervals_in == "iterations" else self.epochs(now)
            return so_far < every and now.iteration >= _FIRST_LOOK and now.iteration.bit_count() == 1

        samples = last or interval_ended(settings.sample_every) or (epoch_ended and epoch == 1)
        samples = samples or early(settings.sample_every)
        evaluation = self._evaluate_every is not None and (last or interval_ended(self._evaluate_every))
        evaluated_early = self._evaluate_every is not None and not evaluation and early(self._evaluate_every)
        checkpoint = last or interval_ended(settings.checkpoint_every)
        to_log = now.iteration % settings.log_every == 0 or epoch_ended
        evaluation = evaluation or evaluated_early
        log = to_log or samples or evaluation or checkpoint
        return Due(epoch_ended, log, samples, evaluation, checkpoint, evaluated_early)


@dataclass(frozen=True)
class Due:
    """What is due after a turn: whether an epoch has ended, what is to be done, and whether an evaluation is early."""

    epoch_ended: bool
    log: bool
    samples: bool
    evaluation: bool
    checkpoint: bool
    early: bool = False


_WARM_UP = 3  # iterations that are no measure of the others
_LOOK = 3.0  # seconds into a start at which it says how long it will take


def duration(seconds: float) -> str:
    """Write a duration in words: "2 h 5 min", "3 min 20 s"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def about(seconds: float) -> str:
    """Name a time in one unit, or two from an hour on: "40 s", "4 min", "2 h 5 min"."""
    return duration(seconds) if seconds < 60 else duration(60 * math.ceil(seconds / 60)).removesuffix(" 0 s")


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
        self._told = False

    @property
    def seconds(self) -> float:
        """Time spent training, all starts together."""
        return self._progress.seconds + time.monotonic() - self._started

    @property
    def minutes_since_saved(self) -> float:
        """Time since the last checkpoint."""
        return (time.monotonic() - self._saved) / 60

    def turn_played(self) -> None:
        """Add the time since the last turn to the counters."""
        now = time.monotonic()
        self._progress.seconds += now - self._started
        self._started = now
        if self._first is None and self._progress.iteration > self._begun + _WARM_UP:
            self._first = (self._progress.iteration, now)

    def pace(self) -> tuple[int, float] | None:
        """Iterations of this start and the seconds they took, evaluations included; None while nobody can tell.

        The first iterations, which warm up, are left out.
        """
        if self._first is None or self._progress.iteration == self._first[0]:
            return None
        return self._progress.iteration - self._first[0], time.monotonic() - self._first[1]

    def first_pace(self) -> tuple[int, float] | None:
        """The pace, once, a few seconds into a start; None at all other moments."""
        if self._told or (pace := self.pace()) is None or pace[1] < _LOOK:
            return None
        self._told = True
        return pace

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
