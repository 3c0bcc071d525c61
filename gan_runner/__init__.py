"""A Hydra-configured experiment runner for generative adversarial networks.

`train`, `sweep`, `load` and `load_sweep` are the commands in Python; see docs/python.md. What a file of your own may
import stands here too, and is found when it is first asked for: PyTorch takes its time to load,
and `gan-run --help` needs none of it. docs/extending.md shows each in use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_runner.data.batch import Batch as Batch
    from gan_runner.data.image_set import ImageSet as ImageSet
    from gan_runner.data.image_set import InMemoryImages as InMemoryImages
    from gan_runner.errors import UserError as UserError
    from gan_runner.games.adversarial import Adversarial as Adversarial
    from gan_runner.games.drawing import Examples as Examples
    from gan_runner.games.game import Game as Game
    from gan_runner.games.game import Outcome as Outcome
    from gan_runner.games.game import checked_logits as checked_logits
    from gan_runner.health.symptoms import Moment as Moment
    from gan_runner.health.symptoms import Observation as Observation
    from gan_runner.health.symptoms import Symptom as Symptom
    from gan_runner.health.watch import Alarm as Alarm
    from gan_runner.health.watch import Health as Health
    from gan_runner.metrics.evaluation import Metric as Metric
    from gan_runner.metrics.number import Number as Number
    from gan_runner.objectives.latents import Latent as Latent
    from gan_runner.objectives.losses import AdversarialLoss as AdversarialLoss
    from gan_runner.objectives.penalties import Penalty as Penalty
    from gan_runner.objectives.targets import Labels as Labels
    from gan_runner.optim.learning_rates import LearningRate as LearningRate
    from gan_runner.ranges import Count as Count
    from gan_runner.ranges import CountOrZero as CountOrZero
    from gan_runner.ranges import Fraction as Fraction
    from gan_runner.ranges import FractionBelowOne as FractionBelowOne
    from gan_runner.ranges import NonNegative as NonNegative
    from gan_runner.ranges import Positive as Positive
    from gan_runner.ranges import Seed as Seed
    from gan_runner.ranges import TwoOrMore as TwoOrMore
    from gan_runner.record.images import GeneratedImages as GeneratedImages
    from gan_runner.record.loggers import Hyperparameters as Hyperparameters
    from gan_runner.record.loggers import Logger as Logger
    from gan_runner.record.loggers import RunLog as RunLog
    from gan_runner.record.loggers import RunToLog as RunToLog
    from gan_runner.runs.in_python import SavedSweep as SavedSweep
    from gan_runner.runs.in_python import sweep as sweep
    from gan_runner.runs.in_python import train as train
    from gan_runner.runs.loading import load as load
    from gan_runner.runs.loading import load_sweep as load_sweep
    from gan_runner.runs.oversampling import GanSampler as GanSampler
    from gan_runner.runs.saved import SavedRun as SavedRun
    from gan_runner.training.pruning import Pruning as Pruning
    from gan_runner.training.schedules import EpochLength as EpochLength
    from gan_runner.training.schedules import Schedule as Schedule
    from gan_runner.training.schedules import Scores as Scores
    from gan_runner.training.schedules import Turn as Turn

CONFIG_MODULE = "gan_runner.conf"
"""Where the package keeps its configuration groups."""

_HOMES = {
    "data.batch": ["Batch"],
    "data.image_set": ["ImageSet", "InMemoryImages"],
    "errors": ["UserError"],
    "games.adversarial": ["Adversarial"],
    "games.drawing": ["Examples"],
    "games.game": ["Game", "Outcome", "checked_logits"],
    "health.symptoms": ["Moment", "Observation", "Symptom"],
    "health.watch": ["Alarm", "Health"],
    "metrics.evaluation": ["Metric"],
    "metrics.number": ["Number"],
    "objectives.latents": ["Latent"],
    "objectives.losses": ["AdversarialLoss"],
    "objectives.penalties": ["Penalty"],
    "objectives.targets": ["Labels"],
    "optim.learning_rates": ["LearningRate"],
    "ranges": [
        *("Count", "CountOrZero", "Fraction", "FractionBelowOne", "NonNegative", "Positive", "Seed", "TwoOrMore"),
    ],
    "record.images": ["GeneratedImages"],
    "record.loggers": ["Hyperparameters", "Logger", "RunLog", "RunToLog"],
    "runs.in_python": ["SavedSweep", "sweep", "train"],
    "runs.loading": ["load", "load_sweep"],
    "runs.oversampling": ["GanSampler"],
    "runs.saved": ["SavedRun"],
    "training.pruning": ["Pruning"],
    "training.schedules": ["EpochLength", "Schedule", "Scores", "Turn"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["CONFIG_MODULE", *_HOME_OF]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = found  # asked for once
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
