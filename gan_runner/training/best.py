"""The best value of the evaluation's objective so far."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gan_runner.metrics import Evaluation, NoEvaluation

log = logging.getLogger(__name__)


class Best:
    """Remembers the last evaluation, and the best one.

    Attributes:
        metrics: the last evaluation's numbers by tag; {} before the first.
        measured_at: when that was.
        found: {"value": the objective, "iteration": when}; None before the first finite one.
        since: evaluations since then, or since the first one.
    """

    def __init__(self, evaluation: Evaluation | NoEvaluation) -> None:
        self._evaluation = evaluation
        self.metrics: dict[str, float] = {}
        self.measured_at: int | None = None
        self.found: dict[str, float] | None = None
        self.since = 0

    @property
    def gives_up(self) -> bool:
        """Whether the run should stop early: there was no new best for so many evaluations."""
        after = self._evaluation.stop_after
        return after is not None and self.since >= after

    def offer(self, metrics: dict[str, float], iteration: int, *, early: bool = False) -> bool:
        """Record an evaluation's metrics; returns whether they are the best so far.

        Args:
            metrics: the numbers by tag.
            iteration: at which they were measured.
            early: whether this is before the first interval between evaluations has ended: no reason to give up yet.
        """
        self.metrics, self.measured_at = metrics, iteration
        if self._evaluation.objective is None:
            return False
        value = metrics[self._evaluation.objective]
        self.since += not early
        if not self._evaluation.improves(value, self.found["value"] if self.found else None):
            return False
        self.found = {"value": value, "iteration": iteration}
        self.since = 0
        return True

    def measured_otherwise(self, state: Mapping[str, Any]) -> bool:
        """Whether a checkpoint's metrics were measured by another evaluation, so that they cannot be compared."""
        return bool(state["fingerprint"] != self._evaluation.fingerprint)

    def forget(self) -> None:
        """Forget which evaluation was the best."""
        self.found, self.since = None, 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        found = {"found": self.found, "metrics": self.metrics, "measured_at": self.measured_at, "since": self.since}
        return found | {"fingerprint": self._evaluation.fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; values of another evaluation are not compared with."""
        found = state["found"]
        self.found = found and {"value": float(found["value"]), "iteration": int(found["iteration"])}
        self.metrics = {tag: float(value) for tag, value in state["metrics"].items()}
        self.since = state["since"]
        measured_at = state.get("measured_at")
        self.measured_at = None if measured_at is None else int(measured_at)
        if self.found is not None and self.measured_otherwise(state):
            self.forget()
            log.info("The best so far was measured by another evaluation; the search for it begins again.")
