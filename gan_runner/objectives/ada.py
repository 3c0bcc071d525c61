"""The augmentation of ADA (Karras et al. 2020, arXiv:2006.06676, appendix B): operations on places and on colours.

An operation is a function that looks at the shape and the device of a batch, draws at random, and gives a matrix for
each image:

- of places, [B, 3, 3]: it maps a place (x, y, 1) in the changed image to the place in the image before that it shows,
  both in pixels from the middle, x to the right and y down;
- of colours, [B, 4, 4]: it maps a pixel (red, green, blue, 1), in [-1, 1], to its new colour.

Matrices of a kind are multiplied, so that pixels are interpolated once, however many operations there are. To add an
operation, write such a function, here or in a file of your own, and a line below `operations` in conf/augment/ada.yaml.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gan_runner.contracts import described, what_it_is
from gan_runner.errors import UserError
from gan_runner.objectives.augment import AdaptiveChance, View
from gan_runner.ranges import Count, Fraction, FractionBelowOne, NonNegative

Operation = Callable[[Tensor], Tensor]
"""Draws a matrix for each image of a batch [B, C, H, W]."""

_PLACES, _COLOURS = 3, 4  # sizes of their matrices


class Ada(AdaptiveChance):
    """ADA: each operation changes an image with chance `p`, and `p` follows D's overfitting.

    Around an image lies its reflection. Between pixels, images are interpolated linearly: unlike the paper's, which are
    filtered at twice the size, rotated and scaled ones are a little blurred, real and generated ones alike. The paper
    rotates before and after it stretches; here there is one rotation.

    Of an image with three channels, or four, the first three are red, green and blue; the fourth is opacity, whose
    values stay. Of any other image, all channels are brightness, and hue and saturation change nothing.

    Args:
        p: see `AdaptiveChance`; so are the next three.
        target: see there.
        every: see there.
        speed: see there.
        operations: by name, in the order in which they are applied; None in an operation's place leaves it out.

    Raises:
        UserError: something else is in an operation's place.
    """

    def __init__(
        self,
        p: Fraction,
        target: Fraction,
        every: Count,
        speed: Count,
        operations: Mapping[str, Operation | None],
    ) -> None:
        super().__init__(p, target, every, speed)
        for name, operation in operations.items():
            if operation is not None and not callable(operation):
                raise UserError(
                    f"augment.operations.{name} is {what_it_is(operation)}, but must be a function of a batch of "
                    "images, or null to leave it out.",
                    f"Try augment.operations.{name}=null, or give it a _target_, and _partial_: true.",
                )
        self.operations = {name: operation for name, operation in operations.items() if operation is not None}

    @torch.no_grad()
    def draw(self, images: Tensor) -> View:
        """See `gan_runner.objectives.augment.Augmentation`."""
        count, _, height, width = images.shape
        applied = torch.rand(len(self.operations), count, 1, 1, device=images.device) < self.p
        kinds: dict[int, Tensor] = {}
        for (name, operation), touched in zip(self.operations.items(), applied, strict=True):
            matrix = operation(images)
            size = _size_of(matrix, count, name, operation)
            matrix = torch.where(touched, matrix, torch.eye(size, device=images.device))
            if size not in kinds:
                kinds[size] = matrix
            else:  # places are looked up from the last operation to the first
                pair = (kinds[size], matrix) if size == _PLACES else (matrix, kinds[size])
                kinds[size] = _product(*pair)
        colours = kinds.get(_COLOURS)
        source = _source(kinds[_PLACES], height, width) if _PLACES in kinds else None

        def view(images: Tensor) -> Tensor:
            times = len(images) // count
            if source is not None:
                indices, weights = (part.repeat(times, 1, 1, 1) for part in source)
                images = _interpolated(images, indices, weights)
            if colours is not None:
                images = _recoloured(images, colours.repeat(times, 1, 1))
            return images

        return view


# ---- operations on places -----------------------------------------------------------------------------------


def flip(images: Tensor) -> Tensor:
    """Mirror left and right, or not, with equal chance."""
    return _matrix([[_sign(images), 0, 0], [0, 1, 0], [0, 0, 1]])


def quarter_turn(images: Tensor) -> Tensor:
    """Rotate by none, one, two or three quarter turns, with equal chance."""
    turns = (4 * _uniform(images)).floor()
    cos, sin = ((turns == right).float() - (turns == right + 2).float() for right in (0, 1))
    return _matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def shift(images: Tensor, furthest: FractionBelowOne) -> Tensor:
    """Move by whole pixels, up to this share of the height and of the width either way."""
    _, _, height, width = images.shape
    x, y = (_whole(_uniform(images), size * furthest) for size in (width, height))
    return _matrix([[1, 0, -x], [0, 1, -y], [0, 0, 1]])


def scale(images: Tensor, octaves: NonNegative) -> Tensor:
    """Enlarge by 2 to the power of a normal number with this standard deviation."""
    factor = torch.exp2(octaves * _normal(images))
    return _matrix([[1 / factor, 0, 0], [0, 1 / factor, 0], [0, 0, 1]])


def rotation(images: Tensor, turn: Fraction) -> Tensor:
    """Rotate by an angle within this share of a full turn, half of it either way; 1 is any angle."""
    angle = _angle(images, turn)
    return _matrix([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])


def stretch(images: Tensor, octaves: NonNegative) -> Tensor:
    """Enlarge the width by 2 to the power of a normal number with this standard deviation, and reduce the height."""
    factor = torch.exp2(octaves * _normal(images))
    return _matrix([[1 / factor, 0, 0], [0, factor, 0], [0, 0, 1]])


def fractional_shift(images: Tensor, std: NonNegative) -> Tensor:
    """Move by normal shares of the height and of the width with this standard deviation."""
    _, _, height, width = images.shape
    x, y = (std * size * _normal(images) for size in (width, height))
    return _matrix([[1, 0, -x], [0, 1, -y], [0, 0, 1]])


# ---- operations on colours ----------------------------------------------------------------------------------


def brightness(images: Tensor, std: NonNegative) -> Tensor:
    """Add a normal number with this standard deviation to all colours."""
    by = std * _normal(images)
    return _matrix([[1, 0, 0, by], [0, 1, 0, by], [0, 0, 1, by], [0, 0, 0, 1]])


def contrast(images: Tensor, octaves: NonNegative) -> Tensor:
    """Multiply all colours by 2 to the power of a normal number with this standard deviation."""
    by = torch.exp2(octaves * _normal(images))
    return _matrix([[by, 0, 0, 0], [0, by, 0, 0], [0, 0, by, 0], [0, 0, 0, 1]])


def luma_flip(images: Tensor) -> Tensor:
    """Turn dark into light and keep hue and saturation, or not, with equal chance."""
    return _along_and_across_grey(_sign(images), torch.ones(len(images), device=images.device), 0)


def hue(images: Tensor, turn: Fraction) -> Tensor:
    """Rotate colours around the grey ones, by an angle within this share of a full turn, half of it either way."""
    angle = _angle(images, turn)
    return _along_and_across_grey(1, angle.cos(), angle.sin())


def saturation(images: Tensor, octaves: NonNegative) -> Tensor:
    """Multiply a colour's distance from its grey by 2 to the power of a normal number with this standard deviation."""
    return _along_and_across_grey(1, torch.exp2(octaves * _normal(images)), 0)


# ---- random numbers and matrices ----------------------------------------------------------------------------


def _uniform(images: Tensor) -> Tensor:
    """Numbers in [0, 1), one an image."""
    return torch.rand(len(images), device=images.device)


def _normal(images: Tensor) -> Tensor:
    return torch.randn(len(images), device=images.device)


def _sign(images: Tensor) -> Tensor:
    """1 or -1, one an image."""
    return 1 - 2 * (2 * _uniform(images)).floor()


def _angle(images: Tensor, turn: float) -> Tensor:
    return 2 * math.pi * turn * (_uniform(images) - 0.5)


def _whole(uniform: Tensor, furthest: float) -> Tensor:
    """Whole numbers from minus to plus the rounded furthest, with equal chance."""
    bound = int(furthest + 0.5)
    return (uniform * (2 * bound + 1)).floor() - bound


def _matrix(rows: Sequence[Sequence[Tensor | float]]) -> Tensor:
    """A matrix for each image, [B, n, n], from rows of entries: tensors [B], or numbers that all images share."""
    like = next(entry for row in rows for entry in row if isinstance(entry, Tensor))
    entries = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for row in rows for entry in row]
    return torch.stack(entries, 1).view(-1, len(rows), len(rows))


def _along_and_across_grey(along: Tensor | float, across: Tensor, around: Tensor | float) -> Tensor:
    """Matrices that multiply the grey part of a colour, multiply the rest, and add what that is a quarter turn on."""
    same, other = (along + 2 * across) / 3, (along - across) / 3
    before, after = other - around / math.sqrt(3), other + around / math.sqrt(3)
    return _matrix([[same, before, after, 0], [after, same, before, 0], [before, after, same, 0], [0, 0, 0, 1]])


def _product(left: Tensor, right: Tensor) -> Tensor:
    """The products of matrices [B, n, n], in full precision under autocast and TF32 too."""
    return (left[:, :, :, None] * right[:, None, :, :]).sum(2)


def _size_of(matrix: object, count: int, name: str, operation: Operation) -> int:
    if isinstance(matrix, Tensor):
        for size in (_PLACES, _COLOURS):
            if tuple(matrix.shape) == (count, size, size):
                return size
    called = described(operation.func if isinstance(operation, functools.partial) else operation)
    raise UserError(
        f"augment.operations.{name} ({called}) gives {what_it_is(matrix)}, but must give a matrix for each of {count} "
        f"images: of places, [{count}, 3, 3], or of colours, [{count}, 4, 4].",
        "Let it give what gan_runner.objectives.ada describes.",
    )


# ---- applying them ------------------------------------------------------------------------------------------


def _source(places: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around where each pixel comes from, int64, and their shares in it: both [B, 1, 4, H * W]."""
    x = torch.arange(width, device=places.device) - (width - 1) / 2
    y = torch.arange(height, device=places.device) - (height - 1) / 2
    xx, xy, x0 = (entry[:, None, None] for entry in places[:, 0].unbind(1))
    yx, yy, y0 = (entry[:, None, None] for entry in places[:, 1].unbind(1))
    from_x = xx * x + xy * y[:, None] + x0 + (width - 1) / 2
    from_y = yx * x + yy * y[:, None] + y0 + (height - 1) / 2
    left, top = from_x.floor(), from_y.floor()
    right_share, lower_share = from_x - left, from_y - top
    columns = [_reflected(left.long() + further, width) for further in (0, 1)]
    rows = [_reflected(top.long() + further, height) for further in (0, 1)]
    indices = [row * width + column for row in rows for column in columns]
    shares = [of_row * share for of_row in (1 - lower_share, lower_share) for share in (1 - right_share, right_share)]
    return torch.stack(indices, 1).flatten(2)[:, None], torch.stack(shares, 1).flatten(2)[:, None]


def _reflected(lines: Tensor, size: int) -> Tensor:
    """Lines beyond an image's edges as lines of its reflection: -1 is line 0, and `size` is the last one."""
    lines = lines % (2 * size)
    return torch.minimum(lines, 2 * size - 1 - lines)


def _interpolated(images: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    # Not grid_sample: its second derivative, for which penalties ask, is missing from older PyTorch, and whole pixels
    # would not keep their bits.
    channels = images.shape[1]
    corners = images.flatten(2).gather(2, indices.flatten(2).expand(-1, channels, -1))
    interpolated: Tensor = (corners.unflatten(2, (4, -1)) * weights).sum(2).view(images.shape)
    return interpolated


def _recoloured(images: Tensor, colours: Tensor) -> Tensor:
    linear, added = colours[:, :3, :3], colours[:, :3, 3]
    if images.shape[1] not in (3, 4):
        gain, offset = linear.sum(2).mean(1), added.mean(1)
        return images * gain.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1)
    rgb = (linear[..., None, None] * images[:, None, :3]).sum(2) + added[..., None, None]
    return torch.cat([rgb, images[:, 3:]], 1) if images.shape[1] > 3 else rgb
