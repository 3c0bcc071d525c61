"""The class-conditional game (Mirza and Osindero 2014, arXiv:1411.1784): G and D are given a class label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial
from gan_runner.games.drawing import Examples
from gan_runner.objectives.augment import Augmentation
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty, Several
from gan_runner.ranges import Count

Conditioning = Literal["projection", "concatenation"]


class Conditional(Adversarial):
    """G is given a latent and a class, D an image and its class.

    Generated images take the classes of the real batch, in D's update and in G's, so that D learns nothing from class
    frequencies. Penalties are of D at (image, class), and a loss that compares does so within a class.

    The networks are wrapped by `gan_runner.models.conditional`, unless a network takes `num_classes`: it is
    then called with the class, int64 [B], as a second argument.

    Args:
        latent: where G's input comes from, besides the class.
        loss: see `Adversarial`.
        penalty: see `Adversarial`.
        augment: see `Adversarial`.
        num_classes: classes of the data.
        conditioning: how D is given the class.
        embedding_dim: size of the embedding of a class that is joined with G's latent.

    Raises:
        UserError: the data have no classes.
    """

    g_sees_data = True  # for the classes

    def __init__(
        self,
        latent: Latent,
        loss: AdversarialLoss,
        penalty: Penalty | Several | None,
        augment: Augmentation | None,
        num_classes: int,
        conditioning: Conditioning,
        embedding_dim: Count,
    ) -> None:
        if not num_classes:
            raise UserError(
                "game=conditional draws images by class, but these data have no classes.",
                "For a folder, put the images of each class into a folder of its own; or try data=digits, or "
                "game=adversarial.",
            )
        super().__init__(latent, loss, penalty, augment)
        self.num_classes = num_classes
        self.conditioning = conditioning
        self.embedding_dim = embedding_dim

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        """See `Drawing`; of the conditions, G is given only the class, `label`."""
        label = conditions["label"]
        return Batch(g(latents, label), {"label": label})

    def judge(self, d: nn.Module, images: Tensor, conditions: Mapping[str, Tensor]) -> Tensor:
        """D's logits for images of the class `label`."""
        logits: Tensor = d(images, conditions["label"])
        return logits

    def grid_conditions(self, count: int, columns: int, examples: Examples) -> dict[str, Tensor]:
        """One class per row: all in turn, or some at even distances if there are more classes than rows."""
        row, rows, classes = torch.arange(count) // columns, -(-count // columns), self.num_classes
        return {"label": row % classes if rows >= classes else row * classes // rows}
