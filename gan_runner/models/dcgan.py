"""Convolutional networks in the style of DCGAN (Radford et al. 2016, arXiv:1511.06434), for any aspect ratio.

The default widths are those of the published Keras recipe at 28x28, which doubles the size twice. Larger images get
further doublings, so that G starts from 8x8 at most, and D as many further halvings; with two doublings whatever the
size, the dense layer would grow with the image. Larger images may also have wider networks. Strided layers pad
as Keras' `same` does, but mirrored: Keras pads the far edge and PyTorch the near one, so that a network here equals
the published one on flipped images.
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

_DOUBLINGS = 2  # at least, as many as the recipe has
_LARGEST_BASE = 8  # height and width that G starts from


class Generator(nn.Module):
    """Latents to images: a dense layer, transposed convolutions that double the size, then some that keep it.

    Args:
        image_shape: (channels, height, width) of the images to draw; height and width are multiples of 4 up to 32,
            of 8 up to 64, of 16 up to 128, and so on.
        latent_dim: size of a latent.
        widths: channels after the dense layer, after each of the first two doublings, and after each layer that
            keeps the size. A last transposed convolution makes the image.
        norm_momentum: share of a new batch in batch norm's running statistics (Keras' momentum is 1 minus it).
        norm_eps: added to batch norm's variance.
        first_weights: sets the dense layer's weights.
        weights: sets the other layers' weights.
        widening: factor on the first three widths for images that ask for further doublings. Of these, each has half
            the width of the one before, but no less than half of the second doubling's without the factor.

    Raises:
        UserError: the image's height or width is no such multiple, or `widths` is too short.
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
        widening: Positive = 1.0,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        doublings = _doublings(height, width)
        _check_size(height, width, doublings)
        if len(widths) < _DOUBLINGS + 1:
            raise UserError(
                f"model.generator.widths is {list(widths)}: a dcgan needs the dense layer's width and one for each "
                f"of its first {_DOUBLINGS} doublings.",
                f"Give {_DOUBLINGS + 1} widths or more, or leave model.generator.widths out.",
            )
        first = _for_size(widths[_DOUBLINGS::-1], doublings - _DOUBLINGS, widening)[::-1]
        widths = [*first, *widths[_DOUBLINGS + 1 :]]
        self.base = (height // 2**doublings, width // 2**doublings, widths[0])
        features = math.prod(self.base)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, features),
            nn.BatchNorm1d(features, eps=norm_eps, momentum=norm_momentum),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if index < doublings else 1
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
        # The dense layer's units are in Keras' order, pixels before channels: channels-last without a copy.
        base = self.dense(z).view(-1, *self.base).permute(0, 3, 1, 2)
        images: Tensor = self.layers(base)
        return images


class Discriminator(nn.Module):
    """Images to logits: 3x3 convolutions with LeakyReLU and dropout, then one dense layer.

    Args:
        image_shape: (channels, height, width) of the images to judge.
        widths: channels after each convolution; all but the last halve the size. Images for which G doubles the size
            more than twice get as many further convolutions that halve it, first of all.
        dropout: chance that a value is left out in training, after each convolution.
        slope: LeakyReLU's slope below zero.
        first_weights: sets the first convolution's weights.
        weights: sets the other layers' weights.
        widening: factor on the widths for images that get further convolutions. Of these, each has half the width of
            the one behind it, but no less than half of the first of `widths` without the factor.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        widths: Sequence[Count],
        dropout: FractionBelowOne,
        slope: NonNegative,
        first_weights: Initialiser | None,
        weights: Initialiser | None,
        widening: Positive = 1.0,
    ) -> None:
        super().__init__()
        if not widths:
            raise UserError(
                "model.discriminator.widths is [], but a dcgan's D needs a convolution.",
                "Give one width or more, or leave model.discriminator.widths out.",
            )
        before, height, width = image_shape
        widths = _for_size(widths, _doublings(height, width) - _DOUBLINGS, widening)
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


def _doublings(height: int, width: int) -> int:
    """How often the size doubles on the way to an image, from a base that is small enough."""
    bases = -(-max(height, width) // _LARGEST_BASE)
    return max(_DOUBLINGS, (bases - 1).bit_length())


def _for_size(widths: Sequence[int], further: int, widening: float) -> list[int]:
    """Widths from the image inwards, for images that ask for `further` doublings or halvings beyond the first two."""
    if not further:
        return list(widths)
    least = max(1, widths[0] // 2)
    wider = [max(1, round(widening * width)) for width in widths]
    for _ in range(further):
        wider.insert(0, max(least, wider[0] // 2))
    return wider


def _check_size(height: int, width: int, doublings: int) -> None:
    multiple = 2**doublings
    if height % multiple == 0 and width % multiple == 0:
        return
    below = max(multiple, height // multiple * multiple)
    nearest = (max(multiple, round(length / multiple) * multiple) for length in (height, width))
    times = "twice" if doublings == _DOUBLINGS else f"{doublings} times"
    raise UserError(
        f"model=dcgan cannot draw {height}x{width} images: it doubles its size {times}, so height and width must be "
        f"multiples of {multiple}.",
        f"data.image_size is {height}. Try data.image_size={below} or {below + multiple}."
        if height == width
        else "Try 'data.image_size=[{},{}]', which scales and crops them.".format(*nearest),
    )
