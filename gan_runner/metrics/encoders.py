"""Small convolutional networks that turn images into the features that metrics are computed on.

The last layer flattens its map instead of averaging it, so that features know where things are: a metric on
averages would not see an image that is shifted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SMALLEST_MAP = 4  # pixels; the layers halve the image until it is as small as this


class Encoder(nn.Module):
    """Strided convolutions, batch norm, ReLU; the features are at least 0.

    Args:
        shape: channels, height and width of the images.
        dim: features.
        width: channels of the first look; those after it have twice as many.
    """

    version = "strided-1"
    """Changes whenever the network does, so that weights of another one are not loaded."""

    def __init__(self, shape: Sequence[int], dim: int, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for stage in range(_halvings(shape)):
            # A wide first look costs little where there are one or three channels, and halves the work after it.
            out, kernel = (width, 5) if stage == 0 else (2 * width, 3)
            layers += [
                nn.Conv2d(channels, out, kernel, stride=2, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
            channels = out
        self.maps = nn.Sequential(*layers, nn.Flatten())
        self.features = nn.Sequential(
            nn.Linear(_flat(self.maps, shape), dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features float32 [N, dim] of images float32 [N, C, H, W] in [-1, 1]."""
        features: Tensor = self.features(self.maps(images))
        return features


class OtherEncoder(nn.Module):
    """Convolutions, SiLU, average pooling; another network to confirm with what was tuned on the first.

    Args:
        shape: channels, height and width of the images.
        dim: features.
    """

    version = "pooled-1"
    """See `Encoder`."""

    def __init__(self, shape: Sequence[int], dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for stage in range(_halvings(shape)):
            width = 16 if stage == 0 else 48
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
                nn.AvgPool2d(2, ceil_mode=True),
            ]
            channels = width
        self.maps = nn.Sequential(*layers, nn.Flatten())
        self.features = nn.Sequential(nn.Linear(_flat(self.maps, shape), dim), nn.SiLU())

    def forward(self, images: Tensor) -> Tensor:
        """See `Encoder`."""
        features: Tensor = self.features(self.maps(images))
        return features


def _halvings(shape: Sequence[int]) -> int:
    side, halvings = max(shape[1:]), 1
    while (side := (side + 1) // 2) > SMALLEST_MAP:
        halvings += 1
    return halvings


def _flat(maps: nn.Module, shape: Sequence[int]) -> int:
    with torch.no_grad():
        return int(maps.eval()(torch.zeros(1, *shape)).shape[1])
