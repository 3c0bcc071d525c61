"""The response to an alarm: warn, stop, or roll back to before the symptom."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from gan_runner.errors import UserError
from gan_runner.health.watch import NOT_FINITE, Alarm
from gan_runner.training.experiment import Experiment

log = logging.getLogger(__name__)

_TAKEN_BACK = ("players", "step", "schedule", "game")
_NOT_IN_A_MOMENT = "rollback"


class Rollback:
    """Keeps earlier states of a run, and restores one of them.

    Args:
        experiment: what is trained.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.count = 0
        self._moments: list[dict[str, Any]] = []  # oldest first

    def remember(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the current state to roll back to, and those earlier ones that a later alarm may need."""
        watch = self._experiment.watch
        if watch.on_alarm != "rollback":
            return
        self._moments.append({name: part for name, part in state().items() if name != _NOT_IN_A_MOMENT})
        wanted = [self._newest_before(iteration) for iteration in (*watch.suspects, math.inf)]
        self._moments = [moment for moment in self._moments if any(moment is each for each in wanted)]

    def remember_start(self, state: Callable[[], dict[str, Any]]) -> None:
        """Keep the state as it is now unless an earlier moment is kept, which a resumed run goes back to as before."""
        if not self._moments:
            self.remember(state)

    def _newest_before(self, iteration: float) -> dict[str, Any] | None:
        """The newest state from before an iteration; None if there is none."""
        return next((moment for moment in reversed(self._moments) if _iteration(moment) < iteration), None)

    def to_before(self, since: int, now: int) -> bool:
        """Restore the state from before a symptom began, with lower learning rates; False if no state is that old.

        Args:
            since: the iteration at which the symptom was first seen.
            now: the run's iteration, which goes on counting, as random numbers do, or the same would happen again.
        """
        moment = self._newest_before(since)
        if moment is None:
            return False
        self._moments = [each for each in self._moments if _iteration(each) < since]
        experiment = self._experiment
        players = experiment.players.by_letter().values()
        scales = [player.lr_scale * experiment.watch.rollback_rate for player in players]  # so that rollbacks add up
        state = copy.deepcopy(moment)  # what is loaded is trained on
        for name in _TAKEN_BACK:  # the schedule too, for it has read totals that are gone, and a game that adapts
            if name in state:
                getattr(experiment, name).load_state_dict(state[name])
        experiment.step.finite.restart(now)
        for player, scale in zip(players, scales, strict=True):
            player.lr_scale = scale
        experiment.watch.forget()
        self.count += 1
        log.warning(
            "Rolled back to iteration %d. The learning rates are %g times the configured ones.",
            _iteration(moment),
            experiment.players.generator.lr_scale,
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; see `shared_with`."""
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self.count = state["count"]
        self._moments = list(state.get("moments", []))

    def shared_with(self, state: dict[str, Any]) -> dict[str, Any]:
        """A copied state with the moments in it, which nothing changes and so nobody copies again."""
        state[_NOT_IN_A_MOMENT]["moments"] = list(self._moments)
        return state


def _iteration(moment: Mapping[str, Any]) -> int:
    return int(moment["progress"]["iteration"])


def respond(alarms: list[Alarm], experiment: Experiment, rollback: Rollback, now: int, saved: int | None) -> bool:
    """Do what health.on_alarm says; gives whether the players were rolled back.

    What became NaN or infinite stays so: that ends a run in any case.

    Args:
        alarms: the new ones.
        experiment: what is trained.
        rollback: its moments.
        now: the run's iteration.
        saved: the last checkpoint's iteration.

    Raises:
        UserError: the run is to stop.
    """
    watch = experiment.watch
    hopeless = any(alarm.name == NOT_FINITE for alarm in alarms)
    if not alarms or (watch.on_alarm == "warn" and not hopeless):
        return False
    since = min(alarm.since for alarm in alarms)
    facts = []
    if watch.on_alarm == "rollback":
        if rollback.count >= watch.max_rollbacks:
            facts.append(f"health.max_rollbacks is {watch.max_rollbacks}, and {rollback.count} were made.")
        elif rollback.to_before(since, now):
            return True
        else:
            facts.append(f"There is no checkpoint from before iteration {since} to roll back to.")
    if saved is None:
        facts.append("No checkpoint has been saved.")
    else:
        facts.append(f"The last checkpoint is of iteration {saved}.")
    if hopeless:
        alarm = next(alarm for alarm in alarms if alarm.name == NOT_FINITE)
        raise UserError(f"The run ends here, for no later number would mean anything: {alarm.message}", " ".join(facts))
    raise UserError(
        f"health.on_alarm is {watch.on_alarm}, and an alarm was raised: {alarms[0].message}",
        " ".join([*facts, "To train on all the same: health.on_alarm=warn."]),
    )
