"""Alarms: what can be wrong with a GAN while its losses go on looking like losses.

An alarm looks at what a log point has measured anyway, and costs nothing in between. A symptom that lasts
becomes an alarm once, and can become one again after it has gone away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from gan_runner.games.game import accuracy_of
from gan_runner.ranges import Count, CountOrZero, Fraction, NonNegative, Positive, TwoOrMore

Point = Mapping[str, float]
# The running config as `events.flatten` gives it.
Settings = Mapping[str, Any]
# Makes an override of what is set; "" where it would change nothing.
Help = Callable[[Settings], str]


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


# ---- what usually helps ---------------------------------------------------------------------------------


def _changed(key: str, better: Callable[[float], float]) -> Help:
    """Set a number to a better one, where there is such a key."""

    def override(settings: Settings) -> str:
        now = settings.get(key)
        if not isinstance(now, int | float) or (value := better(now)) == now:
            return ""
        return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"

    return override


def _times(key: str, factor: float) -> Help:
    return _changed(key, lambda now: now * factor)


def _full_precision(settings: Settings) -> str:
    return "" if settings["trainer.precision"] == "fp32" else "trainer.precision=fp32"


def _nonsaturating(settings: Settings) -> str:
    return "" if settings["loss"] == "NonSaturating" else "loss=nonsaturating"


def _smooth_labels(settings: Settings) -> str:
    return "labels=smooth" if settings.get("labels.real.value") == 1 else ""


def _hard_labels(settings: Settings) -> str:
    return "labels=hard" if settings.get("labels.real", "Exactly") != "Exactly" else ""


_SLOWER_D = _times("optimizer.d.lr", 0.5)
_SLOWER_G = _times("optimizer.g.lr", 0.5)
_FASTER_D = _times("optimizer.d.lr", 2)
_MORE_DROPOUT = _changed("model.dropout", lambda now: max(now, 0.5))
_LESS_DROPOUT = _changed("model.dropout", lambda now: min(now, 0.1))


# ---- symptoms -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sighting:
    """A symptom as it shows at a log point.

    Attributes:
        what: what is wrong, in words with numbers.
        since: the iteration of the log point at which it began.
    """

    what: str
    since: int


class Symptom(Protocol):
    """Something that can be seen in the measurements of a log point.

    Attributes:
        patience: iterations that the symptom must last to be an alarm.
        tags: the measurements that it is judged by. While a player stands still, there are none of its own.
        helps: what usually helps.
    """

    patience: int
    tags: tuple[str, ...]
    helps: tuple[Help, ...]

    def seen_in(self, point: Point, iteration: int) -> Sighting | None:
        """Look for the symptom.

        Args:
            point: the last value of every one of its tags, of which one at least is new.
            iteration: the log point's.

        Returns:
            None where nothing is wrong.
        """
        ...


class Saturated:
    """D is nearly always right and G's gradient has vanished, so that G cannot learn (Arjovsky and Bottou 2017).

    Args:
        accuracy: D's accuracy from which it counts as nearly always right.
        gradient: norm of G's gradient up to which it counts as vanished.
        patience: see `Symptom`.
    """

    # While G alone plays, D stands still: right about real images as before, about generated ones as measured now.
    tags: tuple[str, ...] = ("accuracy/d_real", "accuracy/d_fake", "grad_norm/g")
    helps: tuple[Help, ...] = (_nonsaturating, _smooth_labels, _SLOWER_D, _MORE_DROPOUT)

    def __init__(self, accuracy: Fraction, gradient: NonNegative, patience: CountOrZero) -> None:
        self._accuracy = accuracy
        self._gradient = gradient
        self.patience = patience

    def seen_in(self, point: Point, iteration: int) -> Sighting | None:
        """See `Symptom`."""
        accuracy, gradient = accuracy_of(point), point["grad_norm/g"]
        if accuracy < self._accuracy or gradient > self._gradient:
            return None
        what = f"D is right {accuracy:.1%} of the time and G's gradient has vanished (norm {gradient:.2g})"
        return Sighting(what, iteration)


class CoinToss:
    """D cannot tell real from generated, so that its gradient teaches G nothing.

    Args:
        accuracy: D's accuracy up to which it is no better than a coin.
        patience: see `Symptom`.
    """

    tags: tuple[str, ...] = ("accuracy/d",)
    helps: tuple[Help, ...] = (_FASTER_D, _SLOWER_G, _times("schedule.d_steps", 2), _LESS_DROPOUT)

    def __init__(self, accuracy: Fraction, patience: CountOrZero) -> None:
        self._accuracy = accuracy
        self.patience = patience

    def seen_in(self, point: Point, iteration: int) -> Sighting | None:
        """See `Symptom`."""
        accuracy = point["accuracy/d"]
        if accuracy > self._accuracy:
            return None
        like_a_coin = "as a coin would be" if accuracy >= 1 - self._accuracy else "less often than a coin would be"
        return Sighting(f"D is right {accuracy:.1%} of the time, {like_a_coin}", iteration)


class Constant:
    """A loss has stopped moving.

    Args:
        tag: the loss that is watched.
        points: log points that are compared.
        spread: highest minus lowest of them, against their size, up to which they count as equal.
        patience: see `Symptom`.
    """

    helps: tuple[Help, ...] = (
        _SLOWER_D,
        _SLOWER_G,
        _nonsaturating,
        _changed("seed", lambda now: now + 1),
    )

    def __init__(self, tag: str, points: Count, spread: NonNegative, patience: CountOrZero) -> None:
        self.tags: tuple[str, ...] = (tag,)
        self._points = points
        self._spread = spread
        self._equal: deque[tuple[int, float]] = deque(maxlen=points)
        self.patience = patience

    def seen_in(self, point: Point, iteration: int) -> Sighting | None:
        """See `Symptom`."""
        (tag,) = self.tags
        self._equal.append((iteration, point[tag]))
        while self._equal and not self._stands_still():
            self._equal.popleft()
        if len(self._equal) < self._points:
            return None
        return Sighting(f"{tag} stands still at {point[tag]:.4g}", self._equal[0][0])

    def _stands_still(self) -> bool:
        values = [value for _, value in self._equal]
        return max(values) - min(values) <= self._spread * max(map(abs, values))

    @property
    def equal(self) -> list[tuple[int, float]]:
        """The newest log points that are equal, at most `points` of them: iteration and value, oldest first."""
        return list(self._equal)

    @equal.setter
    def equal(self, points: list[tuple[int, float]]) -> None:
        self._equal.clear()
        self._equal.extend((iteration, value) for iteration, value in points)


class Collapse:
    """G draws the same few pictures whatever its latent (mode collapse).

    Args:
        diversity: mean pairwise distance of generated images against that of real ones, up to which G counts
            as collapsed.
        patience: see `Symptom`.
    """

    tags: tuple[str, ...] = ("health/diversity",)
    helps: tuple[Help, ...] = (
        _SLOWER_D,
        _SLOWER_G,
        _smooth_labels,
        _MORE_DROPOUT,
        _times("trainer.batch_size", 2),
    )

    def __init__(self, diversity: Positive, patience: CountOrZero) -> None:
        self._diversity = diversity
        self.patience = patience

    def seen_in(self, point: Point, iteration: int) -> Sighting | None:
        """See `Symptom`."""
        diversity = point["health/diversity"]
        if not diversity <= self._diversity:
            return None
        return Sighting(f"pictures from different latents differ {diversity:.1%} as much as real ones do", iteration)


# ---- the watch ------------------------------------------------------------------------------------------


@dataclass
class _Course:
    """How a symptom has gone so far."""

    since: int | None = None
    raised: bool = False


NOT_FINITE = "not_finite"
_NOT_FINITE_HELPS = (_SLOWER_D, _SLOWER_G, _full_precision, _hard_labels)


class Watch:
    """Looks at every log point, and remembers how long each symptom has lasted.

    Losses and weights that are no finite numbers are watched for in any case: no later number means anything.

    Args:
        on_alarm: "warn" says so and goes on, "stop" ends the run as failed, "rollback" goes back to the last
            checkpoint from before the symptom with a lower learning rate.
        rollback_rate: factor on both learning rates at a rollback.
        max_rollbacks: after so many the run stops.
        pictures: pictures from fixed latents by which diversity is judged.
        symptoms: what to watch for, by name.
        settings: what the run is set to, without what has no effect; the remedies change it.
    """

    def __init__(
        self,
        on_alarm: Literal["warn", "stop", "rollback"],
        rollback_rate: Positive,
        max_rollbacks: CountOrZero,
        pictures: TwoOrMore,
        symptoms: Mapping[str, Symptom],
        settings: Settings,
    ) -> None:
        self.on_alarm = on_alarm
        self.rollback_rate = rollback_rate
        self.max_rollbacks = max_rollbacks
        self.pictures = pictures
        self._symptoms = symptoms
        self._settings = settings
        self._constants = {name: s for name, s in symptoms.items() if isinstance(s, Constant)}
        self.raised: list[Alarm] = []
        self.forget()

    def look(self, point: Point, iteration: int, not_finite: Sighting | None) -> tuple[dict[str, float], list[Alarm]]:
        """Look at a log point.

        Args:
            point: what was measured, by tag.
            iteration: the log point's.
            not_finite: what has left the finite numbers, or None.

        Returns:
            1 or 0 for each symptom by tag, as it is present or not, which stays as it was where the point has
            nothing to judge it by; and the alarms that are new.
        """
        seen = {f"health/{NOT_FINITE}": float(not_finite is not None)}
        new = []
        if not_finite is not None:
            new += self._follow(NOT_FINITE, 0, _NOT_FINITE_HELPS, not_finite, iteration)
        else:
            for name, symptom in self._symptoms.items():
                self._last |= {tag: point[tag] for tag in symptom.tags if tag in point}
                if point.keys() & set(symptom.tags) and self._last.keys() >= set(symptom.tags):
                    sighting = symptom.seen_in(self._last, iteration)
                    new += self._follow(name, symptom.patience, symptom.helps, sighting, iteration)
                seen[f"health/{name}"] = float(self._courses[name].since is not None)
        self.raised += new
        return seen, new

    def _follow(
        self, name: str, patience: int, helps: tuple[Help, ...], sighting: Sighting | None, iteration: int
    ) -> list[Alarm]:
        """Go on with a symptom's course; gives the alarm, if it has become one."""
        if sighting is None:
            self._courses[name] = _Course()
            return []
        course = self._courses[name]
        if course.since is None:
            course.since = sighting.since
        if course.raised or iteration - course.since < patience:
            return []
        course.raised = True
        message = f"{name}: {sighting.what}, since iteration {course.since}."
        if overrides := [override for help_ in helps if (override := help_(self._settings))]:
            message += f" What usually helps, one at a time: {'  '.join(overrides)}"
        return [Alarm(name, iteration, course.since, message)]

    @property
    def suspects(self) -> list[int]:
        """The past iterations that coming alarms may name as the beginning of their symptoms."""
        begun = [course.since for course in self._courses.values() if course.since is not None]
        return begun + [constant.equal[0][0] for constant in self._constants.values() if constant.equal]

    def forget(self) -> None:
        """Start anew, as after a rollback: what was seen belongs to weights that are gone."""
        self._courses = {name: _Course() for name in (*self._symptoms, NOT_FINITE)}
        self._last: dict[str, float] = {}
        for constant in self._constants.values():
            constant.equal = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        return {
            "courses": {name: asdict(course) for name, course in self._courses.items()},
            "raised": [asdict(alarm) for alarm in self.raised],
            "last": dict(self._last),
            "equal": {name: constant.equal for name, constant in self._constants.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; a symptom that is new to the config starts unseen."""
        for name, course in state["courses"].items():
            if name in self._courses:
                self._courses[name] = _Course(**course)
        self.raised = [Alarm(**alarm) for alarm in state["raised"]]
        self._last = dict(state["last"])
        for name, points in state["equal"].items():
            if name in self._constants:
                self._constants[name].equal = points
