"""How good the pictures are: one function a metric, and when they are all measured.

A metric takes real and generated images, float32 [N, C, H, W] in [-1, 1] on one device, and gives a number.
To add one, write such a function in a file here and name it in a YAML file of conf/evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from gan_runner.errors import UserError
from gan_runner.ranges import Count, TwoOrMore

Metric = Callable[[Tensor, Tensor], Tensor]


class Evaluation:
    """What is measured, how often, and which number says that a checkpoint is the best.

    Args:
        every: epochs or iterations (as `trainer.intervals_in` says) between two evaluations.
        num_images: real images, and generated ones, that each metric sees.
        metrics: each metric by the name under which it is logged.
        objective: the metric that decides which checkpoint is the best.
        goal: whether the objective is better when it is lower or higher.

    Raises:
        UserError: the objective is none of the metrics.
    """

    def __init__(
        self,
        every: Count,
        num_images: TwoOrMore,
        metrics: Mapping[str, Metric],
        objective: str,
        goal: Literal["lower", "higher"],
    ) -> None:
        if objective not in metrics:
            raise UserError(
                f"evaluation.objective is {objective}, but must be one of the metrics: {', '.join(metrics)}.",
                f"Try evaluation.objective={next(iter(metrics), 'sliced_wasserstein')}.",
            )
        self.every = every
        self.num_images = num_images
        self.objective = f"metric/{objective}"
        self.tags = [f"metric/{name}" for name in metrics]
        self._metrics = metrics
        self._lower_is_better = goal == "lower"
        # What two values of the objective must have in common to be compared.
        self.yardstick: dict[str, str | int] = {"objective": objective, "goal": goal, "num_images": num_images}

    def measure(self, real: Tensor, fake: Tensor) -> dict[str, float]:
        """Give every metric's number by its tag; waits for the device."""
        return {f"metric/{name}": float(metric(real, fake)) for name, metric in self._metrics.items()}

    def improves(self, value: float, best: float | None) -> bool:
        """Whether an objective beats the best so far; NaN never does."""
        if best is None:
            return value == value
        return self.to_minimise(value) < self.to_minimise(best)

    def to_minimise(self, value: float) -> float:
        """Turn the objective so that lower is better whatever the goal, as sweepers that search are told it."""
        return value if self._lower_is_better else -value
