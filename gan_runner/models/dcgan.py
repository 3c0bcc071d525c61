"""Convolutional players in the manner of DCGAN (Radford et al. 2016, arXiv:1511.06434), for square or oblong images.

The default widths are those of the published Keras recipe at 28x28; the same two classes draw 32x32 and 64x64,
in grey or colour. Strided layers pad as `same` does in Keras, seen in a mirror: Keras pads the far edge where
PyTorch pads the near one, so that a network here is the published one looking at flipped images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gan_runner.errors import UserError
from gan_runner.models.initial_weights import Initialiser, initialise
from gan_runner.models.layers import ConvTranspose2d, Dropout, Flatten
from gan_runner.ranges import Count, Fraction, FractionBelowOne, NonNegative, Positive

_DOUBLINGS = 2


class Generator(nn.Module):
    """Latents to images: a dense layer, two transposed convolutions that double the size, then some that do not.

    Args:
        image_shape: (channels, height, width) of the images to draw; height and width are multiples of 4.
        latent_dim: size of a latent.
        widths: channels after the dense layer, after each of the two doublings, and after each layer that
            keeps the size; a last transposed convolution makes the image.
        norm_momentum: share of a new batch in batch norm's running statistics (Keras' momentum is 1 minus it).
        norm_eps: added to batch norm's variance.
        first_weights: sets the dense layer's weights.
        weights: sets the other layers' weights.

    Raises:
        UserError: the image's height or width is no multiple of 4, or `widths` is too short.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: Count,
        widths: Sequence[Count],
        norm_momentum: Fraction,
        norm_eps: Positive,
        first_weights: Initialiser | None,
        weights: Initialiser | None,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        _check_size(height, width)
        if len(widths) < _DOUBLINGS + 1:
            raise UserError(
                f"model.generator.widths is {list(widths)}: a dcgan needs the dense layer's width and one for each "
                f"of its {_DOUBLINGS} doublings.",
                f"Give {_DOUBLINGS + 1} widths or more, or leave model.generator.widths out.",
            )
        self.base = (height // 2**_DOUBLINGS, width // 2**_DOUBLINGS, widths[0])
        features = math.prod(self.base)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, features),
            nn.BatchNorm1d(features, eps=norm_eps, momentum=norm_momentum),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if index < _DOUBLINGS else 1
            layers += [
                ConvTranspose2d(before, after, 3, stride, padding=1, output_padding=stride - 1),
                nn.BatchNorm2d(after, eps=norm_eps, momentum=norm_momentum),
                nn.ReLU(),
            ]
        layers += [ConvTranspose2d(widths[-1], channels, 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise(self, first_weights, weights)

    def forward(self, z: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] in [-1, 1] for each latent [B, latent_dim]."""
        # Keras' order of the dense layer's units, pixels before channels, is channels-last without a copy.
        base = self.dense(z).view(-1, *self.base).permute(0, 3, 1, 2)
        images: Tensor = self.layers(base)
        return images


class Discriminator(nn.Module):
    """Images to logits: 3x3 convolutions with LeakyReLU and dropout, then one dense layer.

    Args:
        image_shape: (channels, height, width) of the images to judge.
        widths: channels after each convolution; all but the last halve the size.
        dropout: chance that a value is left out in training, after each convolution.
        slope: LeakyReLU's slope below zero.
        first_weights: sets the first convolution's weights.
        weights: sets the other layers' weights.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        widths: Sequence[Count],
        dropout: FractionBelowOne,
        slope: NonNegative,
        first_weights: Initialiser | None,
        weights: Initialiser | None,
    ) -> None:
        super().__init__()
        before, height, width = image_shape
        layers: list[nn.Module] = []
        for index, after in enumerate(widths):
            stride = 2 if index < len(widths) - 1 else 1
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.LeakyReLU(slope), Dropout(dropout)]
            before, height, width = after, -(-height // stride), -(-width // stride)
        layers += [Flatten(), nn.Linear(before * height * width, 1)]
        self.layers = nn.Sequential(*layers)
        initialise(self, first_weights, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Give a logit [B] for each image [B, C, H, W]: above 0 it looks real, below 0 generated."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)


def _check_size(height: int, width: int) -> None:
    multiple = 2**_DOUBLINGS
    if height % multiple == 0 and width % multiple == 0:
        return
    below = max(multiple, height // multiple * multiple)
    raise UserError(
        f"model=dcgan cannot draw {height}x{width} images: it doubles its size twice, so height and width must be "
        f"multiples of {multiple}.",
        f"data.image_size is {height}. Try data.image_size={below} or {below + multiple}.",
    )
