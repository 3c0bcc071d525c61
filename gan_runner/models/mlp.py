"""Fully connected networks (Goodfellow et al. 2014, arXiv:1406.2661, section 5), for images of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from gan_runner.models.initial_weights import Initialiser, initialise
from gan_runner.models.layers import Dropout, Smoothing
from gan_runner.models.spectral_norm import normalise_spectrally
from gan_runner.ranges import Count, FractionBelowOne

Activation = Callable[[], nn.Module]


class Generator(nn.Module):
    """Latents to images through fully connected layers; tanh ends it.

    Args:
        image_shape: (channels, height, width) of the images to draw.
        latent_dim: size of a latent.
        widths: units of each hidden layer, from the latent on.
        activation: makes the module after each hidden layer.
        first_weights: sets the first layer's weights.
        weights: sets the other layers' weights.
        smoothing: average neighbouring pixels before tanh (`Smoothing`). Each pixel has weights of its own, so that
            without it images stay grainy long after their shapes are right.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: Count,
        widths: Sequence[Count],
        activation: Activation,
        first_weights: Initialiser | None,
        weights: Initialiser | None,
        smoothing: bool = False,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        sizes = [latent_dim, *widths]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), activation()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], math.prod(image_shape)))
        self.output = nn.Sequential(*[Smoothing()] * smoothing, nn.Tanh())
        initialise(self, first_weights, weights)

    def forward(self, z: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] in [-1, 1] for each latent [B, latent_dim]."""
        images: Tensor = self.output(self.layers(z).view(-1, *self.image_shape))
        return images


class Discriminator(nn.Module):
    """Images to logits through fully connected layers, with dropout after each hidden one.

    Args:
        image_shape: (channels, height, width) of the images to judge.
        widths: units of each hidden layer, from the image on.
        dropout: chance that a hidden unit is left out in training.
        activation: makes the module after each hidden layer.
        first_weights: sets the first layer's weights.
        weights: sets the other layers' weights.
        spectral_norm: divide every layer's weight by its largest singular value (arXiv:1802.05957).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        widths: Sequence[Count],
        dropout: FractionBelowOne,
        activation: Activation,
        first_weights: Initialiser | None,
        weights: Initialiser | None,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        sizes = [math.prod(image_shape), *widths]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), activation(), Dropout(dropout)]
        layers += [nn.Linear(sizes[-1], 1)]
        self.layers = nn.Sequential(*layers)
        initialise(self, first_weights, weights)
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, images: Tensor) -> Tensor:
        """Give a logit [B] for each image [B, C, H, W]: above 0 it looks real, below 0 generated."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)
