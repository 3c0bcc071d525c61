"""What a log point records: everything that was measured since the last one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from gan_runner.games import accuracy_of
from gan_runner.metrics.diversity import mean_pairwise_distance
from gan_runner.training.experiment import Experiment
from gan_runner.training.meters import Reading
from gan_runner.training.progress import Progress
from gan_runner.training.sampler import Inputs


class LogPoint:
    """Measures log points.

    Args:
        experiment: what is trained.
        fixed: inputs of pictures, by whose variety G is judged.
    """

    def __init__(self, experiment: Experiment, fixed: Inputs) -> None:
        self._experiment = experiment
        self._fixed = fixed
        self._real_distance = _distance(experiment.examples(experiment.watch.pictures).images)
        self.look_away(0)

    def look_away(self, images: int) -> None:
        """Let the next point tell only of what comes from now on, `images` real images into the run."""
        step = self._experiment.step
        self._d_seen, self._g_seen = step.read_d(), step.read_g()
        self._looked, self._images_seen = time.perf_counter(), images

    def measure(self, progress: Progress) -> dict[str, float]:
        """Everything that a log point records, by tag; waits for the device."""
        step, players = self._experiment.step, self._experiment.players
        d_now, g_now = step.read_d(), step.read_g()
        # D's own measurements come last, for they are of the same images for all its scalars.
        point = g_now.means_since(self._g_seen) | d_now.means_since(self._d_seen)
        self._d_seen, self._g_seen = d_now, g_now
        if "accuracy/d_real" in point:
            point["accuracy/d"] = accuracy_of(point)
        for letter, player in players.by_letter().items():
            if f"loss/{letter}" in point:
                point[f"grad_norm/{letter}"] = float(player.gradient_norm())
            point[f"learning_rate/{letter}"] = player.rate
        point["health/diversity"] = _distance(self._experiment.sampler.pictures(self._fixed)) / self._real_distance
        point |= self._experiment.schedule.status()
        point["speed/images_per_second"] = self._speed(progress.images)
        return point

    def _speed(self, images: int) -> float:
        now = time.perf_counter()
        speed = (images - self._images_seen) / (now - self._looked)
        self._images_seen, self._looked = images, now
        return speed

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the totals at the last log point."""
        return {"d": asdict(self._d_seen), "g": asdict(self._g_seen), "images": self._images_seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._d_seen, self._g_seen = Reading(**state["d"]), Reading(**state["g"])
        self._images_seen = state["images"]


def _distance(images: Tensor) -> float:
    with torch.no_grad():
        return float(mean_pairwise_distance(images))
