"""Games: G's inputs, D's inputs, the loss terms of each network and what is measured.

Optimizers, schedules and runs are elsewhere: the networks are passed in at every call.
"""

from gan_runner.games.adversarial import Adversarial
from gan_runner.games.conditional import Conditional
from gan_runner.games.contrast import Contrast
from gan_runner.games.cycle import Cycle
from gan_runner.games.drawing import Drawing, DrawsBackwards, Examples, FromLatents, draws_from_latents_alone
from gan_runner.games.game import (
    DrawsBesideReal,
    Game,
    Outcome,
    WithLazyTerms,
    accuracy_of,
    area_under_roc,
    checked_logits,
    drawn_beside,
    total,
)
from gan_runner.games.paired import Paired

__all__ = [
    "Adversarial",
    "Conditional",
    "Contrast",
    "Cycle",
    "Drawing",
    "DrawsBackwards",
    "DrawsBesideReal",
    "Examples",
    "FromLatents",
    "Game",
    "Outcome",
    "Paired",
    "WithLazyTerms",
    "accuracy_of",
    "area_under_roc",
    "checked_logits",
    "drawn_beside",
    "draws_from_latents_alone",
    "total",
]
