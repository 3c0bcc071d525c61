"""The best that a run has come to, by the evaluation's objective."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gan_runner.metrics import Evaluation

log = logging.getLogger(__name__)


class Best:
    """Remembers the last evaluation, and the best one.

    Attributes:
        metrics: the last evaluation's numbers by tag; {} before the first.
        found: {"value": the objective, "iteration": when}; None before the first finite one.
        since: evaluations since then, or since the first one.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self.metrics: dict[str, float] = {}
        self.found: dict[str, float] | None = None
        self.since = 0

    @property
    def gives_up(self) -> bool:
        """Whether the last best is so many evaluations ago that the run is to end."""
        after = self._evaluation.stop_after
        return after is not None and self.since >= after

    def offer(self, metrics: dict[str, float], iteration: int) -> bool:
        """Take an evaluation's numbers; gives whether they are the best so far."""
        self.metrics = metrics
        if self._evaluation.objective is None:
            return False
        value = metrics[self._evaluation.objective]
        self.since += 1
        if not self._evaluation.improves(value, self.found["value"] if self.found else None):
            return False
        self.found = {"value": value, "iteration": iteration}
        self.since = 0
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        measured_by = self._evaluation.fingerprint
        return {"found": self.found, "metrics": self.metrics, "since": self.since, "fingerprint": measured_by}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; values that were measured otherwise are not compared with."""
        self.found, self.metrics, self.since = state["found"], state["metrics"], state["since"]
        if self.found is not None and state["fingerprint"] != self._evaluation.fingerprint:
            self.found, self.since = None, 0
            log.info("The best so far was measured by another evaluation; the search for it begins anew.")
