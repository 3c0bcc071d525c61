"""What tells generated images from real ones apart from what they show: how files are written, and traces in pixels.

A detector that is trained on PNG beside JPEG files learns the format, and its numbers say nothing of the generator
(Grommelt et al. 2024, arXiv:2403.17608).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_runner.data.encodings import Encoding
from gan_runner.detection.changes import JPEG_QUALITY, through_jpeg, to_size_and_back

BLOCK = 8
"""Pixels of JPEG's blocks, in height and width."""

_LEAST = 0.05  # by so much more than chance a property has to tell the kinds apart
_DEVIATIONS = 4.0  # and by so many standard deviations
_LEAST_TRACE = 0.1  # by `_trace`: of images that were never JPEG it was 0.05 at most, of quality 98 to 50 0.22 and more
_STEPS = range(2, 65)  # of quantisation that are looked for
_FEWEST_COEFFICIENTS = 30  # of one frequency, to say which step it has
_BLOCKS = 2000  # at most
_LEVELS = 256
_RARE = 0.01  # share of its pixels outside of a set of levels with which a kind still counts as made of them
_OFTEN = 0.2  # and with which it does not
_PIXELS_A_LEVEL = 20  # on average, or gaps are there by chance
_EXTREMES = 2  # levels at each end that any image may have many pixels of

_SAID: Mapping[str, Callable[[Encoding], Hashable]] = {
    "format": lambda file: file.format,
    "kind of pixels": lambda file: file.mode,
    "size": lambda file: file.size,
    "compression": lambda file: file.loss,
    "metadata": lambda file: file.metadata,
}


@dataclass(frozen=True)
class Kind:
    """Images of one kind, as detectors see them, and how they are stored.

    Attributes:
        images: uint8 [N, C, H, W].
        files: how their files are written; empty where each is no file of its own.
        scaled: whether they were stored at another size than they are looked at.
    """

    images: Tensor
    files: Sequence[Encoding] = ()
    scaled: bool = False


def leaks(real: Kind, generated: Kind) -> list[str]:
    """What tells two kinds of images apart besides what they show, each in words; [] if nothing was found."""
    found = _of_files(real, generated) if real.files and generated.files else _of_one_side(real, generated)
    if (said := _of_blocks(real.images, generated.images)) and not any(
        each.startswith("compression") for each in found
    ):
        found.append(said)
    if said := _of_levels(real.images, generated.images):
        found.append(said)
    return found


@dataclass(frozen=True)
class Reencoding:
    """What is done to all images alike, so that how they were written no longer tells the kinds apart.

    Attributes:
        size: height and width that they are scaled to, and from there back; None leaves them at their size.
    """

    size: tuple[int, int] | None

    @classmethod
    def of(cls, sizes: Iterable[tuple[int, int]], own: tuple[int, int]) -> Reencoding:
        """For images that were stored at several sizes: half of the smallest, below which all of them have detail.

        Args:
            sizes: heights and widths that images were stored at.
            own: at which they are looked at.
        """
        if all(size == own for size in sizes):
            return cls(None)
        height, width = (max(1, min(own[axis], *(size[axis] for size in sizes)) // 2) for axis in (0, 1))
        return cls((height, width))

    def __call__(self, images: Tensor) -> Tensor:
        """The images as they are after it; uint8 [N, C, H, W]."""
        return through_jpeg(images if self.size is None else to_size_and_back(images, self.size))

    def __str__(self) -> str:
        scaled = "" if self.size is None else f"scaled to {self.size[0]}x{self.size[1]} pixels and back, "
        return f"{scaled}compressed as JPEG of quality {JPEG_QUALITY}"


def _of_files(real: Kind, generated: Kind) -> list[str]:
    """By what the files' headers say; images that were drawn at the size that is looked at have no other."""
    found: list[str] = []
    for name, look in _SAID.items():
        if name == "size" and not generated.scaled:
            continue
        of_both = [[look(file) for file in kind.files] for kind in (real, generated)]
        if _tells(*of_both) and not (found and name in ("kind of pixels", "compression")):  # a format has its own
            most = [Counter(each).most_common(1)[0] for each in of_both]
            shares = [
                f"{_shown(value)} in {count / len(each):.0%} of the {kind} ones"
                for (value, count), each, kind in zip(most, of_both, ("real", "generated"), strict=True)
            ]
            found.append(f"{name} ({', '.join(shares)})")
    return found


def _tells(real: Sequence[Hashable], generated: Sequence[Hashable]) -> bool:
    """Whether a property tells which kind an image is of: learned on every second one, measured on the others."""
    learned = [Counter(each[::2]) for each in (real, generated)]
    sizes = [max(1, count.total()) for count in learned]

    def is_generated(value: Hashable) -> float:
        shares = [count[value] / size for count, size in zip(learned, sizes, strict=True)]
        return 0.5 if shares[0] == shares[1] else float(shares[1] > shares[0])

    measured = [[is_generated(value) for value in each[1::2]] for each in (real, generated)]
    if not all(measured):
        return False
    right = [1 - math.fsum(measured[0]) / len(measured[0]), math.fsum(measured[1]) / len(measured[1])]
    deviation = math.sqrt(sum(0.25 / len(each) for each in measured)) / 2
    return sum(right) / 2 - 0.5 > max(_LEAST, _DEVIATIONS * deviation)


def _of_one_side(real: Kind, generated: Kind) -> list[str]:
    """By what can be said where one kind, or both, are no files: that it was scaled, or has lost details."""
    found = []
    if generated.scaled and not real.scaled:
        found.append("size (the generated ones had another, and were scaled)")
    for kind, name in ((real, "real"), (generated, "generated")):
        lossy = sum(bool(file.loss) for file in kind.files)
        if lossy > _LEAST * len(kind.files) and not kind.scaled:
            formats = sorted({file.format for file in kind.files if file.loss})
            found.append(
                f"compression ({lossy / len(kind.files):.0%} of the {name} ones lost details as {_listed(formats)})"
            )
    return found


def _of_blocks(real: Tensor, generated: Tensor) -> str:
    """By traces of JPEG in their pixels, whatever they are stored as now."""
    for kind, other, name, than in ((real, generated, "real", "generated"), (generated, real, "generated", "real")):
        blocks = [coefficients(kind[first::2]) for first in (0, 1)]
        if blocks[0] is None or blocks[1] is None:
            return ""
        steps = _steps(blocks[0])
        own, of_other = _trace(blocks[1], steps), coefficients(other)
        beside = _trace(of_other, steps) if of_other is not None else 0.0
        if own > _LEAST_TRACE and beside < own / 2:
            return f"compression (the {name} ones have the blocks of JPEG in their pixels, the {than} ones do not)"
    return ""


Coefficients = tuple[Tensor, Tensor]
"""Of blocks that lie on JPEG's grid, and of blocks that lie between: float32 [M, 63] each, without the mean."""


def coefficients(images: Tensor) -> Coefficients | None:
    """Cosine transforms of the brightness of some of the blocks of images; None of images that are too small.

    Args:
        images: uint8 [N, C, H, W].
    """
    height, width = images.shape[2:]
    if not len(images) or min(height, width) < BLOCK + BLOCK // 2:
        return None
    per_image = (height // BLOCK) * (width // BLOCK)
    some = images[:: max(1, len(images) * per_image // _BLOCKS)].float()
    weights = torch.tensor([0.299, 0.587, 0.114]) if images.shape[1] >= 3 else torch.ones(1)
    grey = (some[:, : len(weights)] * weights[:, None, None]).sum(1)
    k, place = torch.arange(BLOCK)[:, None], torch.arange(BLOCK)[None, :]
    basis = torch.cos(math.pi * (2 * place + 1) * k / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)

    def transformed(first: int) -> Tensor:
        rows, columns = ((side - first) // BLOCK for side in (height, width))
        part = grey[:, first : first + rows * BLOCK, first : first + columns * BLOCK]
        blocks = part.unflatten(1, (rows, BLOCK)).unflatten(3, (columns, BLOCK)).transpose(2, 3).flatten(0, 2)
        changed: Tensor = basis @ blocks @ basis.T
        return changed.flatten(1)[:, 1:]

    return transformed(0), transformed(BLOCK // 2)


def _near_multiples(values: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """How near coefficients lie to multiples of a step, those that round to 0 left out.

    Returns:
        For each frequency the mean cosine of 2 pi c / step, less what it is if c falls off exponentially, as it does
        in images that were never quantised; and how many it is of; float32 [63].
    """
    counted = values.abs() > step / 2
    cosines = torch.where(counted, torch.cos(values * (2 * math.pi / step)), 0.0)
    count = counted.sum(0).float()
    excess = torch.where(counted, values.abs() - step / 2, 0.0).sum(0) / count.clamp(min=1)
    x = step / (2 * excess.clamp(min=1e-3))
    return cosines.sum(0) / count.clamp(min=1) + x.square() / (x.square() + math.pi**2), count


def _differences(blocks: Coefficients, step: int) -> tuple[Tensor, Tensor]:
    """How much nearer to multiples of a step the blocks on the grid are than those between; and the smaller count."""
    (on, count), (between, beside) = (_near_multiples(each, step) for each in blocks)
    return on - between, torch.minimum(count, beside)


def _steps(blocks: Coefficients) -> Tensor:
    """The step of each frequency that blocks on the grid speak for most, int64 [63]; 0 where there is too little."""
    found = [_differences(blocks, step) for step in _STEPS]
    signs = torch.stack([torch.where(count >= _FEWEST_COEFFICIENTS, value, -1.0) for value, count in found])
    best = signs.max(0)
    return torch.where(best.values > 0, best.indices + _STEPS[0], 0)


def _trace(blocks: Coefficients, steps: Tensor) -> float:
    """The mean of `_differences` over coefficients, those of each frequency at its step."""
    total = counts = 0.0
    for step in steps.unique().tolist():
        if step:
            value, count = _differences(blocks, step)
            chosen = steps == step
            total, counts = total + float((value * count)[chosen].sum()), counts + float(count[chosen].sum())
    return total / counts if counts else 0.0


def _of_levels(real: Tensor, generated: Tensor) -> str:
    """By gaps between the levels of one kind: levels that it never has, between those that it has."""
    for kind, other, name in ((real, generated, "real"), (generated, real, "generated")):
        learned, own, beside = (_counts(each) for each in (kind[::2], kind[1::2], other))
        used = learned.nonzero()
        spread = int(used[-1] - used[0]) + 1
        if (
            learned.sum() < _PIXELS_A_LEVEL * _LEVELS
            or len(used) > spread / 2
            or _inner(beside).sum() < _RARE * beside.sum()
        ):
            continue
        gaps = learned == 0
        gaps[: int(used[0])] = gaps[int(used[-1]) :] = False  # a narrow range is no gap
        rare = own[gaps].sum() <= _RARE * _inner(own).sum()
        if rare and _inner(beside)[_inner(gaps)].sum() > _OFTEN * _inner(beside).sum():
            return f"levels (the {name} ones have at most {len(used)} of the {_LEVELS} that a pixel may have)"
    return ""


def _counts(images: Tensor) -> Tensor:
    """Pixels of each level, float64 [256]."""
    return images.flatten().int().bincount(minlength=_LEVELS).double()


def _inner(levels: Tensor) -> Tensor:
    """All levels but those at the ends."""
    return levels[_EXTREMES : _LEVELS - _EXTREMES]


def _shown(value: Hashable) -> str:
    match value:
        case (int(width), int(height)):
            return f"{width}x{height}"
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case "":
            return "none"
    return str(value) if len(str(value)) <= 20 else "one and the same"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
