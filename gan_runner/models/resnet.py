"""Residual networks in the style of R3GAN (Huang et al. 2024, arXiv:2501.05441), for images of about 28 to 64 pixels.

There is no normalisation: blocks start as the identity, and weights with a fixed variance. Both networks consist of
stages, each at half the size of the one before.

Blocks, their initialisation, learned basis and resampling are R3GAN's. Differences from the paper:

- A 3x3 convolution with a LeakyReLU and a bias is next to the pixels, instead of a 1x1 without either: then the stage
  at the image's own size, the most expensive one, needs no blocks.
- G ends with tanh. Without it, samples could leave the range of pixels, and D could recognise them by that.
- There is always a 1x1 convolution between two stages; R3GAN has none if their widths are equal.
- The coarsest stage is as small as halving gives from 4 pixels on: 7x7 for images of 28 pixels, where R3GAN's is 4x4.
- A 3x3 convolution mixes as many channels as `group` says: 8 in `model=resnet`, 16 in `resnet_large` and in R3GAN.
- In the training loop: G's update compares with the real images of D's last update; R3GAN draws others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from gan_runner.errors import UserError
from gan_runner.models.spectral_norm import normalise_spectrally
from gan_runner.ranges import Count, CountOrZero

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

_SLOPE = 0.2  # of LeakyReLU below zero
_EXPANSION = 2  # channels within a block, as a multiple of those between blocks
_SMALLEST = 4  # height and width of the coarsest stage at least
_MULTIPLE = 4  # of which height and width are, so that they can be halved twice
_RECTIFIED = nn.init.calculate_gain("leaky_relu", _SLOPE)


class Block(nn.Module):
    """x + [1x1 to twice the channels, LeakyReLU, grouped 3x3, LeakyReLU, 1x1 back].

    Args:
        channels: between blocks.
        group: channels in each group of the block's 3x3 convolution.
        gain: factor on the spread of the weights at the start.
        from_zero: the last layer begins at zero, and so the block as the identity.
    """

    def __init__(self, channels: int, group: int, gain: float, from_zero: bool) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        self.expand = nn.Conv2d(channels, inner, 1)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group)
        self.reduce = nn.Conv2d(inner, channels, 1, bias=False)
        self.activation = nn.LeakyReLU(_SLOPE)
        for layer in (self.expand, self.mix):
            _spread(layer, gain * _RECTIFIED)
        if from_zero:
            nn.init.zeros_(self.reduce.weight)
        else:
            _spread(self.reduce, gain)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, H, W] to the same shape."""
        y = self.mix(self.activation(self.expand(x)))
        step: Tensor = self.reduce(self.activation(y))
        return x + step


class Generator(nn.Module):
    """Latents to images: a learned basis, weighted by a linear map of the latent, refined stage by stage.

    Args:
        image_shape: (channels, height, width) of the images to draw; height and width are multiples of 4.
        latent_dim: size of a latent.
        widths: channels of each stage, from the image's on; the last holds for all that are coarser.
        blocks: residual blocks of each stage, likewise.
        group: channels that a 3x3 convolution mixes; divides twice every width.

    Raises:
        UserError: the image's size does not fit, or a width the group.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: Count,
        widths: Sequence[Count],
        blocks: Sequence[CountOrZero],
        group: Count,
    ) -> None:
        super().__init__()
        stages = _stages(image_shape, widths, blocks, group)[::-1]
        gain = _gain(stages)
        first = stages[0]
        self.basis = nn.Parameter(torch.randn(first.width, *first.size))
        self.strengths = _spread(nn.Linear(latent_dim, first.width, bias=False))
        self.stages = nn.ModuleList(_blocks(stage, group, gain, from_zero=True) for stage in stages)
        self.transitions = nn.ModuleList(
            _spread(nn.Conv2d(before.width, after.width, 1, bias=False)) for before, after in pairwise(stages)
        )
        self.activation = nn.LeakyReLU(_SLOPE)
        self.to_pixels = _spread(nn.Conv2d(stages[-1].width, image_shape[0], 3, padding=1), _RECTIFIED)

    def forward(self, z: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] in [-1, 1] for each latent [B, latent_dim]."""
        x = self.stages[0](self.basis * self.strengths(z)[:, :, None, None])
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = stage(_doubled(transition(x)))
        images: Tensor = self.to_pixels(self.activation(x)).tanh()
        return images


class Discriminator(nn.Module):
    """Images to logits: the generator's stages in reverse, with the transposed filters between them.

    Args:
        image_shape: (channels, height, width) of the images to judge, as for the generator.
        widths: see `Generator`.
        blocks: see `Generator`.
        group: see `Generator`.
        spectral_norm: divide every layer's weight by its largest singular value (arXiv:1802.05957). Blocks then do
            not start as the identity, which normalised layers cannot represent.

    Raises:
        UserError: the image's size does not fit, or a width the group.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        widths: Sequence[Count],
        blocks: Sequence[CountOrZero],
        group: Count,
        spectral_norm: bool,
    ) -> None:
        super().__init__()
        stages = _stages(image_shape, widths, blocks, group)
        gain = _gain(stages)
        last = stages[-1]
        self.from_pixels = _spread(nn.Conv2d(image_shape[0], stages[0].width, 3, padding=1), _RECTIFIED)
        self.activation = nn.LeakyReLU(_SLOPE)
        self.stages = nn.ModuleList(_blocks(stage, group, gain, from_zero=not spectral_norm) for stage in stages)
        self.transitions = nn.ModuleList(
            _spread(nn.Conv2d(before.width, after.width, 1, bias=False)) for before, after in pairwise(stages)
        )
        self.basis = _spread(nn.Conv2d(last.width, last.width, last.size, groups=last.width, bias=False))
        self.answer = _spread(nn.Linear(last.width, 1, bias=False))
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, images: Tensor) -> Tensor:
        """Give a logit [B] for each image [B, C, H, W]: above 0 it looks real, below 0 generated."""
        x = self.stages[0](self.activation(self.from_pixels(images)))
        for transition, stage in zip(self.transitions, self.stages[1:], strict=True):
            x = stage(transition(_halved(x)))
        logits: Tensor = self.answer(self.basis(x).flatten(1))
        return logits.squeeze(1)


def _halved(x: Tensor) -> Tensor:
    """Half the height and the width, each even, by the filter [1, 3, 3, 1] / 8 along both; zeros lie around."""
    # Three times [1, 1] / 2, which is several times as fast as a convolution channel by channel.
    return avg_pool2d(avg_pool2d(avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1), 2)


def _doubled(x: Tensor) -> Tensor:
    """Twice the height and the width, by the filter [1, 3, 3, 1] / 4 along both; zeros lie around."""
    wider = interpolate(pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")
    return wider[:, :, 2:-2, 2:-2]


class _Stage:
    """The layers at one size."""

    def __init__(self, size: tuple[int, int], width: int, blocks: int) -> None:
        self.size = size
        self.width = width
        self.blocks = blocks


def _stages(
    image_shape: tuple[int, int, int], widths: Sequence[int], blocks: Sequence[int], group: int
) -> list[_Stage]:
    """The stages from the image's on, each of half the size, down to the smallest that can be halved to."""
    _, height, width = image_shape
    _check_size(height, width)
    for key, numbers in {"widths": widths, "blocks": blocks}.items():
        if not numbers:
            raise UserError(f"model.{key} is [], but needs a value for each stage.", f"Leave model.{key} out.")
    for number in widths:
        if (_EXPANSION * number) % group:
            raise UserError(
                f"model.widths is {list(widths)} and model.group is {group}: twice each width must be a multiple of "
                "the group.",
                f"Try model.group={math.gcd(*widths)}.",
            )
    sizes = [(height, width)]
    while all(length % 2 == 0 and length // 2 >= _SMALLEST for length in sizes[-1]):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return [
        _Stage(size, widths[min(index, len(widths) - 1)], blocks[min(index, len(blocks) - 1)])
        for index, size in enumerate(sizes)
    ]


def _check_size(height: int, width: int) -> None:
    if height % _MULTIPLE == 0 and width % _MULTIPLE == 0:
        return
    below = max(2 * _MULTIPLE, height // _MULTIPLE * _MULTIPLE)
    nearest = (max(2 * _MULTIPLE, round(length / _MULTIPLE) * _MULTIPLE) for length in (height, width))
    raise UserError(
        f"model=resnet cannot draw {height}x{width} images: height and width must be multiples of {_MULTIPLE}.",
        f"data.image_size is {height}. Try data.image_size={below} or {below + _MULTIPLE}."
        if height == width
        else "Try 'data.image_size=[{},{}]', which scales and crops them.".format(*nearest),
    )


def _gain(stages: Sequence[_Stage]) -> float:
    """Factor on a block's first weights, which makes the size of updates independent of the depth.

    That of Fixup (Zhang et al. 2019, arXiv:1901.09321) for blocks of three layers.
    """
    return float(max(1, sum(stage.blocks for stage in stages)) ** -0.25)


def _blocks(stage: _Stage, group: int, gain: float, from_zero: bool) -> nn.Sequential:
    return nn.Sequential(*(Block(stage.width, group, gain, from_zero) for _ in range(stage.blocks)))


def _spread(layer: Layer, gain: float = 1.0) -> Layer:
    """Set the weights to N(0, gain^2 / inputs), so that the layer multiplies the scale of its input by `gain`.

    Biases are 0.
    """
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
