"""Alarms: what can be wrong with a GAN while its losses go on looking like losses.

An alarm looks at what a log point has measured anyway, and costs nothing in between. A symptom that lasts
becomes an alarm once, and can become one again after it has gone away.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from gan_runner.ranges import Count, CountOrZero, Fraction, NonNegative, Positive

Point = Mapping[str, float]


@dataclass(frozen=True)
class Alarm:
    """A symptom that has lasted.

    Attributes:
        name: the alarm's name, as under `health/`.
        iteration: when it was raised.
        since: when the symptom was first seen.
        message: what was seen, since when, and what usually helps.
    """

    name: str
    iteration: int
    since: int
    message: str


class Symptom(Protocol):
    """Something that can be seen in the measurements of a log point.

    Attributes:
        patience: iterations that the symptom must last to be an alarm.
        helps: what usually helps, as overrides to type.
    """

    patience: int
    helps: tuple[str, ...]

    def seen_in(self, point: Point) -> str:
        """What is wrong, in words with numbers; "" where nothing is."""
        ...


class Saturated:
    """D is nearly always right and G's gradient has vanished, so that G cannot learn (Arjovsky and Bottou 2017).

    Args:
        accuracy: D's accuracy from which it counts as nearly always right.
        gradient: norm of G's gradient up to which it counts as vanished.
        patience: see `Symptom`.
    """

    helps: tuple[str, ...] = ("loss=nonsaturating", "labels=smooth", "optimizer.d.lr=5e-5", "model.dropout=0.5")

    def __init__(self, accuracy: Fraction, gradient: NonNegative, patience: CountOrZero) -> None:
        self._accuracy = accuracy
        self._gradient = gradient
        self.patience = patience

    def seen_in(self, point: Point) -> str:
        """See `Symptom`."""
        accuracy, gradient = point.get("accuracy/d", 0.0), point.get("grad_norm/g", math.inf)
        if accuracy < self._accuracy or gradient > self._gradient:
            return ""
        return f"D is right {accuracy:.1%} of the time and G's gradient has vanished (norm {gradient:.2g})"


class CoinToss:
    """D cannot tell real from generated, so that its gradient teaches G nothing.

    Args:
        accuracy: D's accuracy up to which it is no better than a coin.
        patience: see `Symptom`.
    """

    helps: tuple[str, ...] = ("optimizer.d.lr=4e-4", "optimizer.g.lr=1e-4", "schedule.d_steps=2", "model.dropout=0.1")

    def __init__(self, accuracy: Fraction, patience: CountOrZero) -> None:
        self._accuracy = accuracy
        self.patience = patience

    def seen_in(self, point: Point) -> str:
        """See `Symptom`."""
        accuracy = point.get("accuracy/d", 1.0)
        return f"D is right {accuracy:.1%} of the time, as a coin would be" if accuracy <= self._accuracy else ""


class Constant:
    """A loss has stopped moving.

    Args:
        tag: the loss that is watched.
        points: log points that are compared.
        spread: highest minus lowest of them, against their size, up to which they count as equal.
        patience: see `Symptom`.
    """

    helps: tuple[str, ...] = ("optimizer.lr=2e-4", "loss=nonsaturating", "seed=1")

    def __init__(self, tag: str, points: Count, spread: NonNegative, patience: CountOrZero) -> None:
        self._tag = tag
        self._spread = spread
        self._recent: deque[float] = deque(maxlen=points)
        self.patience = patience

    def seen_in(self, point: Point) -> str:
        """See `Symptom`."""
        if self._tag not in point:
            return ""
        self._recent.append(point[self._tag])
        if len(self._recent) < (self._recent.maxlen or 0):
            return ""
        spread = max(self._recent) - min(self._recent)
        if not spread <= self._spread * max(abs(value) for value in self._recent):
            return ""
        return f"{self._tag} stands still at {self._recent[-1]:.4g}"

    @property
    def recent(self) -> list[float]:
        """The log points that are being compared."""
        return list(self._recent)

    @recent.setter
    def recent(self, values: list[float]) -> None:
        self._recent.clear()
        self._recent.extend(values)


class Collapse:
    """G draws the same few pictures whatever its latent (mode collapse).

    Args:
        diversity: mean pairwise distance of generated images against that of real ones, up to which G counts
            as collapsed.
        patience: see `Symptom`.
    """

    helps: tuple[str, ...] = ("optimizer.lr=1e-4", "labels=smooth", "model.dropout=0.5", "trainer.batch_size=256")

    def __init__(self, diversity: Positive, patience: CountOrZero) -> None:
        self._diversity = diversity
        self.patience = patience

    def seen_in(self, point: Point) -> str:
        """See `Symptom`."""
        diversity = point["health/diversity"]
        if diversity > self._diversity:
            return ""
        return f"pictures from different latents differ {diversity:.1%} as much as real ones do"


@dataclass
class _Course:
    """How a symptom has gone so far."""

    since: int | None = None
    raised: bool = False


NOT_FINITE = "not_finite"
NOT_FINITE_HELPS = ("optimizer.lr=1e-4", "trainer.precision=fp32", "labels=hard")


class Watch:
    """Looks at every log point, and remembers how long each symptom has lasted.

    Losses that are no finite numbers are watched for in any case: no later number means anything.

    Args:
        on_alarm: "warn" says so and goes on, "stop" ends the run as failed, "rollback" goes back to the last
            checkpoint with a lower learning rate.
        rollback_rate: factor on both learning rates at a rollback.
        max_rollbacks: after so many the run stops.
        pictures: pictures from fixed latents by which diversity is judged, at least 2.
        symptoms: what to watch for, by name.
    """

    def __init__(
        self,
        on_alarm: Literal["warn", "stop", "rollback"],
        rollback_rate: Positive,
        max_rollbacks: CountOrZero,
        pictures: Count,
        symptoms: Mapping[str, Symptom],
    ) -> None:
        self.on_alarm = on_alarm
        self.rollback_rate = rollback_rate
        self.max_rollbacks = max_rollbacks
        self.pictures = max(2, pictures)
        self._symptoms = symptoms
        self._courses = self._unseen()
        self.raised: list[Alarm] = []

    def look(self, point: Point, iteration: int, first_bad: int | None) -> tuple[dict[str, float], list[Alarm]]:
        """Look at a log point.

        Args:
            point: what was measured, by tag.
            iteration: the log point's.
            first_bad: the first iteration whose losses were not finite, or None.

        Returns:
            1 or 0 for each symptom by tag, as it is present or not; and the alarms that are new.
        """
        seen = {f"health/{NOT_FINITE}": float(first_bad is not None)}
        new = []
        if first_bad is not None:
            course = self._courses[NOT_FINITE]
            if not course.raised:
                course.since, course.raised = first_bad, True
                what = "a loss is no finite number"
                new.append(_alarm(NOT_FINITE, iteration, first_bad, what, NOT_FINITE_HELPS))
        else:
            for name, symptom in self._symptoms.items():
                what = symptom.seen_in(point)
                seen[f"health/{name}"] = float(bool(what))
                new += self._follow(name, symptom, what, iteration)
        self.raised += new
        return seen, new

    def _follow(self, name: str, symptom: Symptom, what: str, iteration: int) -> list[Alarm]:
        course = self._courses[name]
        if not what:
            self._courses[name] = _Course()
            return []
        if course.since is None:
            course.since = iteration
        if course.raised or iteration - course.since < symptom.patience:
            return []
        course.raised = True
        return [_alarm(name, iteration, course.since, what, symptom.helps)]

    def forget(self) -> None:
        """Start anew after a rollback: what was seen belongs to weights that are gone."""
        self._courses = self._unseen()
        for symptom in self._symptoms.values():
            if isinstance(symptom, Constant):
                symptom.recent = []

    def _unseen(self) -> dict[str, _Course]:
        return {name: _Course() for name in (*self._symptoms, NOT_FINITE)}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        return {
            "courses": {name: asdict(course) for name, course in self._courses.items()},
            "raised": [asdict(alarm) for alarm in self.raised],
            "recent": {name: s.recent for name, s in self._symptoms.items() if isinstance(s, Constant)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; a symptom that is new to the config starts unseen."""
        for name, course in state["courses"].items():
            if name in self._courses:
                self._courses[name] = _Course(**course)
        self.raised = [Alarm(**alarm) for alarm in state["raised"]]
        for name, values in state["recent"].items():
            symptom = self._symptoms.get(name)
            if isinstance(symptom, Constant):
                symptom.recent = values


def _alarm(name: str, iteration: int, since: int, what: str, helps: tuple[str, ...]) -> Alarm:
    message = f"{name}: {what}, since iteration {since}. What usually helps, one at a time: {'  '.join(helps)}"
    return Alarm(name, iteration, since, message)
