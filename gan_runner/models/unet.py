"""Players of pix2pix (Isola et al. 2017, arXiv:1611.07004, section 6.1): a U-Net, and a discriminator of patches.

A U-Net halves an image until little of its height and width is left and doubles it again; each layer on the way back
also gets what the layer of its size on the way down gave. So lines stay where they are, and the shape of the whole is
known everywhere.

Published for 256 pixels, where eight halvings lead to 1x1. Here as many are made as the size allows: an image whose
height or width is no multiple of theirs is continued beyond its edges, by less than a third of its area, and what is
drawn is cropped.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gan_runner.errors import UserError
from gan_runner.models.initial_weights import Initialiser, initialise
from gan_runner.models.layers import Dropout, SmallMapConv2d, SmallMapConvTranspose2d
from gan_runner.models.spectral_norm import normalise_spectrally
from gan_runner.ranges import Count, FractionBelowOne

Norm = Literal["instance", "batch", "none"]
"""Normalises the channels of each image by itself, of a whole batch together, or nothing."""

_SLOPE = 0.2  # of LeakyReLU below zero
_KERNEL = 4
_HALVING = (_KERNEL, 2, 1)  # kernel, stride and padding
# The same function where a layer leads to one pixel or starts from it: the rest of its kernel meets padding alone.
_BETWEEN_ONE_AND_TWO_PIXELS = (2, 2, 0)
_WIDEST = 8  # times as many channels as the first layer has, at the most
_MOST_PADDED = 1.31  # times the area of an image; 28 pixels become 32
_WITH_DROPOUT = 3  # layers, the first ones on the way back
_SMALLEST = 8  # height and width
_MOST_LAYERS = 3  # of D that halve the size


class Generator(nn.Module):
    """Images to images of the same size.

    Args:
        image_shape: (channels, height, width) of the images to draw.
        source_shape: of the images that they are drawn from, of the same height and width.
        width: channels after the first layer; each halving doubles them, up to eight times as many.
        norm: after each layer but the first, the last, and one that leaves a single pixel.
        dropout: chance that a value is left out in training, after each of the first three layers on the way back.
        weights: sets the weights of every layer.

    Raises:
        UserError: the images are smaller than 8 pixels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        source_shape: tuple[int, int, int],
        width: Count,
        norm: Norm,
        dropout: FractionBelowOne,
        weights: Initialiser | None,
    ) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape
        _check_size(self.height, self.width)
        halvings = _halvings(self.height, self.width)
        unit = 2**halvings
        self.padding = (0, -self.width % unit, 0, -self.height % unit)
        size = max(self.height + self.padding[3], self.width + self.padding[1])
        widths = [width * min(_WIDEST, 2**level) for level in range(halvings)]
        down: list[nn.Module] = []
        for level, (before, after) in enumerate(zip([source_shape[0], *widths], widths, strict=False)):
            size //= 2
            layers: list[nn.Module] = [nn.LeakyReLU(_SLOPE)] if level else []
            kind: Norm = norm if level and size > 1 else "none"
            shape = _BETWEEN_ONE_AND_TWO_PIXELS if size == 1 else _HALVING
            layers += [SmallMapConv2d(before, after, *shape, bias=kind == "none"), *normalised(kind, after)]
            down.append(nn.Sequential(*layers))
        up: list[nn.Module] = []
        for level in reversed(range(halvings)):
            before = widths[level] * (1 if level == halvings - 1 else 2)  # with what came down
            after, kind = (widths[level - 1], norm) if level else (channels, "none")
            shape = _BETWEEN_ONE_AND_TWO_PIXELS if size == 1 else _HALVING
            layers = [nn.ReLU(), SmallMapConvTranspose2d(before, after, *shape, bias=kind == "none")]
            size *= 2
            layers += normalised(kind, after)
            if level and halvings - level <= _WITH_DROPOUT:
                layers.append(Dropout(dropout))
            up.append(nn.Sequential(*layers))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        initialise(self, weights, weights)

    def forward(self, source: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] in [-1, 1] from each image [B, C', H, W] in [-1, 1]."""
        x = pad(source, self.padding, mode="replicate") if any(self.padding) else source
        skipped: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skipped.append(x)
        x = self.up[0](skipped.pop())
        for up in self.up[1:]:
            x = up(torch.cat([x, skipped.pop()], 1))
        images: Tensor = x[..., : self.height, : self.width].tanh()
        return images


class Discriminator(nn.Module):
    """Images to a map of logits, one for each of the patches that they overlap in.

    Args:
        image_shape: (channels, height, width) of the images to judge; of pairs the channels of both together.
        width: channels after the first layer; each halving doubles them, up to eight times as many.
        layers: layers that halve the size; None is 3, whose patches are of 70 pixels, for images of more than 32
            pixels, 2, of 34 pixels, for those of more than 16, and 1, of 16 pixels, for smaller ones.
        norm: after each layer but the first and the last.
        spectral_norm: divide the weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957).
        weights: sets the weights of every layer.

    Raises:
        UserError: the images are too small for so many layers.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        width: Count,
        layers: Count | None,
        norm: Norm,
        spectral_norm: bool,
        weights: Initialiser | None,
    ) -> None:
        super().__init__()
        before, height, wide = image_shape
        _check_size(height, wide)
        smaller = min(height, wide)
        halvings = layers or max(1, min(_MOST_LAYERS, math.ceil(math.log2(smaller)) - 3))
        if halvings > (fits := int(math.log2(smaller / (_KERNEL - 1)))):
            raise UserError(
                f"model.discriminator.layers is {layers}, but images of {height}x{wide} can be halved {fits} times, so "
                "that patches are left to judge.",
                f"Try model.discriminator.layers={fits}, or a larger data.image_size.",
            )
        parts: list[nn.Module] = []
        for level in range(halvings + 1):
            after = width * min(_WIDEST, 2**level)
            kind: Norm = norm if level else "none"
            stride = 2 if level < halvings else 1
            layer = SmallMapConv2d(before, after, _KERNEL, stride, 1, bias=kind == "none")
            parts += [layer, *normalised(kind, after)]
            parts.append(nn.LeakyReLU(_SLOPE))
            before = after
        parts.append(nn.Conv2d(before, 1, _KERNEL, 1, 1))
        self.layers = nn.Sequential(*parts)
        initialise(self, weights, weights)
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, images: Tensor) -> Tensor:
        """Give a map of logits [B, h, w] for each image [B, C, H, W]: above 0 a patch looks real, below 0 generated."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)


def normalised(norm: Norm, channels: int) -> list[nn.Module]:
    """The layer that normalises so many channels, or none."""
    match norm:
        case "instance":
            return [nn.InstanceNorm2d(channels)]
        case "batch":
            return [nn.BatchNorm2d(channels)]
    return []


def _halvings(height: int, width: int) -> int:
    """How often the size is halved: as often as padding to a multiple stays within bounds, down to one pixel."""
    most = math.ceil(math.log2(min(height, width)))

    def padded(halvings: int) -> int:
        unit = int(2**halvings)
        return (height + -height % unit) * (width + -width % unit)

    return next(n for n in range(most, 0, -1) if padded(n) <= _MOST_PADDED * height * width)


def _check_size(height: int, width: int) -> None:
    if min(height, width) < _SMALLEST:
        raise UserError(
            f"model=unet is for images of {_SMALLEST} pixels and more, and these are {height}x{width}.",
            "Try data.image_size=32.",
        )
