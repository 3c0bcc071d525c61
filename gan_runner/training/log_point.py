"""What a log point records: everything that was measured since the last one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gan_runner import tags
from gan_runner.games import accuracy_of
from gan_runner.metrics.log_point_metrics import LogPointMetrics
from gan_runner.training.experiment import Experiment
from gan_runner.training.meters import Reading
from gan_runner.training.progress import Progress
from gan_runner.training.sampler import Inputs, Sampler
from gan_runner.trees import numbers

# The initial weights' share in an average of G up to which it stands for what G has learned.
_GROWN = 0.01


class LogPoint:
    """Measures log points.

    Made before the first update, it measures the untrained G too, to compare with; a resumed run has that from its
    checkpoint.

    Args:
        experiment: what is trained.
        fixed: inputs of images, by which G is judged.
    """

    def __init__(self, experiment: Experiment, fixed: Inputs) -> None:
        self._experiment = experiment
        self._fixed = fixed
        self._comparison = LogPointMetrics(experiment.examples(experiment.watch.pictures).images)
        self._untrained = self._comparison.measure(experiment.sampler_of_g.pictures(fixed))
        self.look_away(Progress())

    def look_away(self, progress: Progress) -> None:
        """Restart the means, so that the next log point covers only what follows."""
        step = self._experiment.step
        self._d_seen, self._g_seen = step.read_d(), step.read_g()
        self._looked, self._images_seen = time.perf_counter(), progress.images_played(self._experiment.settings)

    @property
    def references(self) -> dict[str, float]:
        """Reference values that are not recorded: those of the real images, and of the untrained G."""
        untrained = {f"{tags.UNTRAINED}{name}": value for name, value in self._untrained.items()}
        return self._comparison.data | untrained

    def measure(self, progress: Progress) -> dict[str, float]:
        """Everything that a log point records, by tag; waits for the device."""
        step, players = self._experiment.step, self._experiment.players
        d_now, g_now = step.read_d(), step.read_g()
        # D's own measurements come last, for they are of the same images for all its scalars.
        point = g_now.means_since(self._g_seen) | d_now.means_since(self._d_seen)
        self._d_seen, self._g_seen = d_now, g_now
        if tags.ACCURACY_REAL in point:
            point[tags.ACCURACY_D] = accuracy_of(point)
        if not all(math.isfinite(value) for tag, value in point.items() if tag.startswith(tags.LOSS)):
            # NaN is neither above nor below 0, so it counts as neither right nor wrong.
            point |= {tag: math.nan for tag in point if tag.startswith(tags.ACCURACY)}
        for letter, player in players.by_letter().items():
            if f"{tags.LOSS}{letter}" in point:
                point[f"{tags.GRAD_NORM}{letter}"] = float(player.gradient_norm())
            point[f"{tags.LEARNING_RATE}{letter}"] = player.rate
        pictures = self._sampler(progress.g_steps).pictures(self._fixed)
        point |= _relative(self._comparison.measure(pictures), self._untrained)
        point |= self._experiment.schedule.status()
        point[tags.SPEED] = self._speed(progress)
        return point

    def _sampler(self, g_steps: int) -> Sampler:
        """Draws with the average of G once G's initial weights no longer dominate it; with G before."""
        average = self._experiment.players.average
        grown = average is not None and average.share_of_start(g_steps) <= _GROWN
        return self._experiment.sampler_to_watch if grown else self._experiment.sampler_of_g

    def _speed(self, progress: Progress) -> float:
        now, images = time.perf_counter(), progress.images_played(self._experiment.settings)
        speed = (images - self._images_seen) / (now - self._looked)
        self._images_seen, self._looked = images, now
        return speed

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the totals at the last log point, and what the untrained G measured."""
        return {
            "d": asdict(self._d_seen),
            "g": asdict(self._g_seen),
            "images": self._images_seen,
            "untrained": dict(self._untrained),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self._d_seen, self._g_seen = (
            Reading(numbers(seen["totals"]), float(seen["updates"])) for seen in (state["d"], state["g"])
        )
        self._images_seen = state["images"]
        self._untrained = numbers(state["untrained"])


def _relative(measured: Mapping[str, float], untrained: Mapping[str, float]) -> dict[str, float]:
    """What `LogPointMetrics` measured, by tag, the distance as a share of the untrained G's: NaN where that is 0."""
    start = untrained["distance"]
    distance = measured["distance"] / start if start else math.nan
    return {f"{tags.HEALTH}{name}": value for name, value in measured.items()} | {tags.DISTANCE: distance}
