"""Alarms: how training of a GAN fails while its losses look normal.

An alarm looks at what a log point has measured anyway, and costs nothing in between. A symptom that lasts
becomes an alarm once, and can become one again after it has gone away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any, Literal, Protocol

from gan_runner import tags
from gan_runner.contracts import described, what_it_is
from gan_runner.errors import UserError
from gan_runner.health import advice
from gan_runner.health.advice import Help, Settings, Usual
from gan_runner.health.symptoms import Moment, Observation, Point, Symptom
from gan_runner.ranges import CountOrZero, Positive, UpToAThousand
from gan_runner.trees import numbers


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


class Health(Protocol):
    """A choice of the `health` group: what looks at every log point, raises alarms, and says what follows from one.

    Attributes:
        on_alarm: "warn" says so and continues, "stop" ends the run as failed, "rollback" goes back to the last
            checkpoint from before the symptom with a lower learning rate.
        rollback_rate: factor on both learning rates at a rollback.
        max_rollbacks: after so many the run stops.
        pictures: images from fixed latents that are measured for it at a log point.
        raised: all alarms so far.
    """

    on_alarm: Literal["warn", "stop", "rollback"]
    rollback_rate: float
    max_rollbacks: int
    pictures: int
    raised: list[Alarm]

    @property
    def unusual(self) -> str:
        """What is set to an unusual value, in words, with values to try; "" where nothing is."""
        ...

    @property
    def suspects(self) -> list[int]:
        """The past iterations that coming alarms may name as the beginning of their symptoms."""
        ...

    def look(self, point: Point, now: Moment, not_finite: Observation | None) -> tuple[dict[str, float], list[Alarm]]:
        """Look at a log point.

        Args:
            point: what was measured, by tag, and what it is compared with.
            now: the log point's place in the run.
            not_finite: what became NaN or infinite, or None.

        Returns:
            1 or 0 for each symptom by tag, as it is present or not, which stays as it was where the point has
            nothing to judge it by, without those of some runs that were never judged; and the alarms that are new.
        """
        ...

    def forget(self) -> None:
        """Start again, as after a rollback: what was seen belongs to weights that are gone."""

    def forget_what_was_judged(self) -> None:
        """Let symptoms of an evaluation's values start again, as where another evaluation measures from now on."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""


@dataclass
class _Course:
    """The state of a symptom."""

    since: Moment | None = None
    raised: bool = False


NOT_FINITE = "not_finite"
_NOT_FINITE_HELPS = (advice.slower_d, advice.slower_g, advice.full_precision, advice.hard_labels)


class Watch:
    """Looks at every log point, and remembers how long each symptom has lasted.

    Losses, gradients and weights that are NaN or infinite are watched for in any case: no later number means anything.

    Args:
        on_alarm: "warn" says so and continues, "stop" ends the run as failed, "rollback" goes back to the last
            checkpoint from before the symptom with a lower learning rate.
        rollback_rate: factor on both learning rates at a rollback.
        max_rollbacks: after so many the run stops.
        pictures: images from fixed latents by which G is judged.
        symptoms: what to watch for, by name; None instead of a symptom switches it off.
        usual: in which range settings usually lie; see `Usual`.
        settings: what the run is set to, without what has no effect; the remedies change it.

    Raises:
        UserError: something else is in a symptom's place, or one of the user's own lacks something.
    """

    def __init__(
        self,
        on_alarm: Literal["warn", "stop", "rollback"],
        rollback_rate: Positive,
        max_rollbacks: CountOrZero,
        pictures: UpToAThousand,
        symptoms: Mapping[str, Symptom | None],
        usual: Mapping[str, Any],
        settings: Settings,
    ) -> None:
        self.on_alarm = on_alarm
        self.rollback_rate = rollback_rate
        self.max_rollbacks = max_rollbacks
        self.pictures = pictures
        for name, symptom in symptoms.items():
            if not isinstance(symptom, Symptom | None):
                raise UserError(
                    f"health.symptoms.{name} is {symptom}, but must be a symptom, or null to switch it off.",
                    f"Try health.symptoms.{name}=null.",
                )
            missing = [each for each in ("tags", "patience") if symptom is not None and not hasattr(symptom, each)]
            if missing:
                raise UserError(
                    f"health.symptoms.{name} ({described(symptom)}) has no {' and no '.join(missing)}; a symptom must "
                    "have tags and patience.",
                    "Set them as gan_runner.Symptom describes them.",
                )
        self._usual = Usual(usual)
        self._settings = settings
        self._symptoms = {name: each for name, each in symptoms.items() if each is not None and self._counts(each)}
        self.raised: list[Alarm] = []
        self.forget()

    @property
    def unusual(self) -> str:
        """The settings with unusual values, in words, with values to try; "" if there are none."""
        return advice.unusual(self._settings, self._usual)

    def _counts(self, symptom: Symptom) -> bool:
        if not symptom.where:
            return True
        known = {key: value for key in symptom.where if isinstance(value := self._settings.get(key), int | float)}
        return not all(self._usual.allows(key, value) for key, value in known.items())

    def look(self, point: Point, now: Moment, not_finite: Observation | None) -> tuple[dict[str, float], list[Alarm]]:
        """Look at a log point; see `Health.look`."""
        seen = {f"{tags.HEALTH}{NOT_FINITE}": float(not_finite is not None)}
        new = []
        if not_finite is not None:
            new += self._follow(NOT_FINITE, not_finite, now, 0, _NOT_FINITE_HELPS)
        else:
            for name, symptom in self._symptoms.items():
                self._last |= {tag: point[tag] for tag in symptom.tags if tag in point}
                if point.keys() & set(symptom.tags) and self._last.keys() >= set(symptom.tags):
                    known = {tag: self._last[tag] for tag in symptom.tags} | dict(point)
                    observation = symptom.observe(known, now)
                    if not isinstance(observation, Observation | None):
                        raise UserError(
                            f"health.symptoms.{name} ({described(symptom)}) gives {what_it_is(observation)} from "
                            "observe, but must give an Observation, or None where nothing is wrong.",
                            "Return gan_runner.Observation(what), with what is wrong in words.",
                        )
                    since = self._courses[name].since or (observation and observation.since) or now
                    lasted = symptom.updates(now) - symptom.updates(since)
                    new += self._follow(name, observation, now, symptom.patience - lasted, symptom.helps)
                if not symptom.of_some_runs or self._last.keys() >= set(symptom.tags):
                    seen[f"{tags.HEALTH}{name}"] = float(self._courses[name].since is not None)
        self.raised += new
        return seen, new

    def _follow(
        self, name: str, observation: Observation | None, now: Moment, updates_left: int, helps: Sequence[Help]
    ) -> list[Alarm]:
        """Update the state of a symptom; gives the alarm, if it has become one."""
        if observation is None:
            self._courses[name] = _Course()
            return []
        course = self._courses[name]
        if course.since is None:
            course.since = observation.since or now
        if course.raised or updates_left > 0:
            return []
        course.raised = True
        since = course.since.iteration
        said = [
            f"{name}: {observation.what}, since iteration {since}.",
            advice.advise(helps, self._settings, self._usual),
        ]
        return [Alarm(name, now.iteration, since, " ".join(filter(None, said)))]

    @property
    def suspects(self) -> list[int]:
        """The past iterations that coming alarms may name as the beginning of their symptoms."""
        begun = [course.since.iteration for course in self._courses.values() if course.since is not None]
        return begun + [symptom.suspect for symptom in self._symptoms.values() if symptom.suspect is not None]

    def forget(self) -> None:
        """Reset, as after a rollback."""
        self._courses = {name: _Course() for name in (*self._symptoms, NOT_FINITE)}
        self._last: dict[str, float] = {}
        for symptom in self._symptoms.values():
            symptom.forget()

    def forget_what_was_judged(self) -> None:
        """Reset the symptoms of an evaluation's numbers, as when another evaluation measures them from now on."""
        for name, symptom in self._symptoms.items():
            if any(tag.startswith(tags.JUDGED) for tag in symptom.tags):
                symptom.forget()
                self._courses[name] = _Course()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        return {
            "courses": {
                name: {"since": course.since and list(astuple(course.since)), "raised": course.raised}
                for name, course in self._courses.items()
            },
            "raised": [asdict(alarm) for alarm in self.raised],
            "last": dict(self._last),
            "symptoms": {name: symptom.state_dict() for name, symptom in self._symptoms.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; a symptom that is new to the config starts unseen."""
        for name, course in state["courses"].items():
            if name in self._courses:
                self._courses[name] = _Course(course["since"] and Moment(*map(int, course["since"])), course["raised"])
        self.raised = [Alarm(**alarm) for alarm in state["raised"]]
        if not all(isinstance(alarm.iteration, int) and isinstance(alarm.name, str) for alarm in self.raised):
            raise ValueError("an alarm has a name and an iteration")
        self._last = numbers(state["last"])
        for name, kept in state["symptoms"].items():
            if name in self._symptoms:
                self._symptoms[name].load_state_dict(kept)
