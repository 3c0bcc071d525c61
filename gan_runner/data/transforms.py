"""What images become, so that any set of them makes pairs or two domains; all take and give uint8 [N, C, H, W]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, max_pool2d, pad

from gan_runner.ranges import Count, Fraction, Positive, TwoOrMore

_LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)
_STEEPEST = 4 * 255  # what a Sobel filter gives at a straight edge from black to white
_WHITE, _MIDDLE = 255, 128


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Images with 1 (grey), 3 (colour) or 4 channels (colour, and how opaque each pixel is).

    What is transparent becomes white where the fourth channel goes.

    Args:
        images: [N, C, H, W], C 1, 3 or 4; uint8, or floating in [-1, 1].
        channels: 1, 3 or 4.

    Returns:
        The same kind of numbers, [N, channels, H, W]; `images` itself where it has as many channels.
    """
    if images.shape[1] == channels:
        return images
    black, white = (-1.0, 1.0) if images.is_floating_point() else (0.0, float(_WHITE))
    levels = images.float()
    if images.shape[1] == 4:
        opaque = (levels[:, 3:] - black) / (white - black)
        levels = levels[:, :3] * opaque + white * (1 - opaque)
    if channels == 1 and levels.shape[1] == 3:
        weights = torch.tensor(_LUMINANCE, device=images.device).view(1, 3, 1, 1)
        levels = (levels * weights).sum(1, keepdim=True)
    elif channels > 1 and levels.shape[1] == 1:
        levels = levels.expand(-1, 3, -1, -1)
    if channels == 4:
        levels = torch.cat([levels, torch.full_like(levels[:, :1], white)], 1)
    return levels if images.is_floating_point() else levels.round().to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """Colour images without their colours, [N, 1, H, W]."""
    return with_channels(images, 1)


def edges(images: Tensor, threshold: Fraction) -> Tensor:
    """Black lines on white, [N, 1, H, W], wherever a Sobel filter's gradient is steep.

    Args:
        images: uint8 [N, C, H, W].
        threshold: how steep, as a share of a straight edge from black to white.
    """
    levels = pad(grey(images).float(), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    slopes = conv2d(levels, torch.stack([across, across.T])[:, None])
    flat: Tensor = torch.linalg.vector_norm(slopes, dim=1, keepdim=True) <= threshold * _STEEPEST
    return flat.to(torch.uint8) * _WHITE


def low_resolution(images: Tensor, factor: TwoOrMore) -> Tensor:
    """Images of so many times fewer pixels each way, enlarged to the same size again by bicubic interpolation.

    Args:
        images: uint8 [N, C, H, W].
        factor: by which height and width shrink.
    """
    height, width = images.shape[2:]
    small = (max(1, height // factor), max(1, width // factor))
    shrunk = interpolate(images.float(), small, mode="area")
    enlarged = interpolate(shrunk, (height, width), mode="bicubic", align_corners=False)
    return enlarged.round().clamp(0, _WHITE).to(torch.uint8)


def hole(images: Tensor, share: Positive) -> Tensor:
    """Images whose middle is covered by a grey rectangle (Pathak et al. 2016, arXiv:1604.07379).

    Args:
        images: uint8 [N, C, H, W].
        share: of the height and of the width that the rectangle has.
    """
    height, width = images.shape[2:]
    rows, columns = (max(1, round(share * length)) for length in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    shown = images.clone()
    shown[:, :3, top : top + rows, left : left + columns] = _MIDDLE
    return shown


def slanted(images: Tensor, slope: Positive) -> Tensor:
    """Images whose upper rows move to the right and whose lower rows to the left, as upright letters become italic.

    What moves in repeats the pixels of the border.

    Args:
        images: uint8 [N, C, H, W].
        slope: pixels to the side for each row upwards.
    """
    height, width = images.shape[2:]
    shear = torch.tensor([[1.0, slope * height / width, 0.0], [0.0, 1.0, 0.0]]).expand(len(images), -1, -1)
    grid = affine_grid(shear, list(images.shape), align_corners=False)
    moved = grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return moved.round().to(torch.uint8)


def thickened(images: Tensor, radius: Count) -> Tensor:
    """Images in which every pixel is as light as the lightest near it: light lines grow thicker by twice the radius.

    Args:
        images: uint8 [N, C, H, W].
        radius: pixels; a square of 2 * radius + 1 is looked at.
    """
    return max_pool2d(images.float(), 2 * radius + 1, 1, radius).to(torch.uint8)


def inverted(images: Tensor) -> Tensor:
    """Images with dark and light changed for each other; how opaque they are stays, [N, C, H, W] uint8."""
    shown = images.clone()
    shown[:, :3] = _WHITE - images[:, :3]
    return shown
