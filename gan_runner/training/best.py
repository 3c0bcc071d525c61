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
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self.metrics: dict[str, float] = {}
        self.found: dict[str, float] | None = None

    def offer(self, metrics: dict[str, float], iteration: int) -> bool:
        """Take an evaluation's numbers; gives whether they are the best so far."""
        self.metrics = metrics
        if self._evaluation.objective is None:
            return False
        value = metrics[self._evaluation.objective]
        if not self._evaluation.improves(value, self.found["value"] if self.found else None):
            return False
        self.found = {"value": value, "iteration": iteration}
        return True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"found": self.found, "metrics": self.metrics, "fingerprint": self._evaluation.fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; values that were measured otherwise are not compared with."""
        self.found, self.metrics = state["found"], state["metrics"]
        if self.found is not None and state["fingerprint"] != self._evaluation.fingerprint:
            self.found = None
            log.info("The best so far was measured by another evaluation; the search for it begins anew.")
