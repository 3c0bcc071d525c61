"""Metrics from nearest neighbours: fidelity, coverage and copying; all in float64.

A ball around an image reaches to its k-th nearest neighbour among the others of its own set. Tables of distances
are computed a block of rows at a time, so that memory stays bounded however many images there are, and nothing
but squared distances is needed: the order is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gan_runner.ranges import Count

_BLOCK = 2**22  # distances in memory at a time
_CANDIDATES = 8  # further ones that float32 may take for nearer than the nearest, such as a copy's near twins
FEWEST_IN_A_CELL = 10  # below which a sum of ranks is not yet normal
_ROUNDING = 1e-9  # of a squared distance: two that differ by less are equal, such as those of a copied image


@dataclass(frozen=True)
class Balls:
    """A set of features with the ball around each.

    Attributes:
        points: [N, D].
        radii: squared distance of each to its k-th neighbour in the set, float64 [N].
        clipped_fidelity: what `clipped_density` of the set itself comes to before calibration, float64 0-d.
    """

    points: Tensor
    radii: Tensor
    clipped_fidelity: Tensor

    @property
    def clipped_radii(self) -> Tensor:
        """The radii, none above their median: an outlier's ball reaches far into where no real image is."""
        return self.radii.clamp(max=float(self.radii.sqrt().quantile(0.5).square()))


def squared_distances(
    points: Tensor, others: Tensor, dtype: torch.dtype = torch.float64
) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of points to others, a block of rows at a time.

    Args:
        points: [N, D].
        others: [M, D].
        dtype: to compute in; float32 takes half the time, and is enough to find out who is near.

    Yields:
        The number of the block's first row, and the block [rows, M], which the next one overwrites. In float64,
        equal points are exactly 0 apart.
    """
    # Seen from their middle, points are close to 0, and the products lose less. With 1 and |y|^2 appended to y, and
    # |x|^2 and 1 to x, a single product is |x|^2 - 2 xy + |y|^2.
    middle = others.double().mean(0)
    columns, rows = (part.double() - middle for part in (others, points))
    squares, row_squares = (part.square().sum(1, keepdim=True) for part in (columns, rows))
    columns = torch.cat([columns, torch.ones_like(squares), squares], 1).to(dtype)
    rows = torch.cat([-2.0 * rows, row_squares, torch.ones_like(row_squares)], 1).to(dtype)
    nothing = 1e-12 * float(squares.max() + row_squares.max())
    # One buffer for all blocks: what is allocated again each time lies between small results, and memory grows.
    step = min(len(points), max(1, _BLOCK // len(others)))
    buffer = torch.empty(step, len(others), dtype=dtype, device=points.device)
    for start in range(0, len(points), step):
        part = rows[start : start + step]
        block = torch.mm(part, columns.T, out=buffer[: len(part)])
        yield start, torch.threshold_(block, nothing, 0.0)


def balls(points: Tensor, k: Count) -> Balls:
    """The balls around a set of features.

    Args:
        points: [N, D], N above k.
        k: which neighbour a ball reaches to.
    """
    near, indices = _nearest_others(points, min(k + 1, len(points) - 1))
    radii = near[:, k - 1]
    clipped = _up(Balls(points, radii, radii.new_zeros(())).clipped_radii)
    # A ball holds k others at most, but where more than one is as far away as the last of them, such as equal images.
    crowded = near[:, k:].le(clipped[:, None]).any(1)
    inside = near[:, :k].le(clipped[:, None]) & ~crowded[:, None]
    counts = torch.bincount(indices[:, :k][inside], minlength=len(points))
    if crowded.any():
        reach = clipped[crowded]
        for start, block in squared_distances(points[crowded], points):
            counts += (block <= reach[start : start + len(block), None]).sum(0)
        counts[crowded] -= 1  # nobody is in a ball of its own
    return Balls(points, radii, (counts / k).clamp(max=1.0).double().mean())


def nearest(points: Tensor, others: Tensor, k: Count) -> tuple[Tensor, Tensor]:
    """The k nearest of `others`: squared distances, float64 [N, k], nearest first, and which they are, int64 [N, k]."""
    near = torch.empty(len(points), k, dtype=torch.float64, device=points.device)
    which = torch.empty(len(points), k, dtype=torch.int64, device=points.device)
    for start, block in squared_distances(points, others, torch.float32):
        rows = slice(start, start + len(block))
        found = block.topk(min(k + _CANDIDATES, len(others)), largest=False).indices
        exact = (points[rows].double()[:, None] - others[found].double()).square().sum(2)
        near[rows], order = (part[:, :k] for part in exact.sort(1))
        which[rows] = found.gather(1, order)
    return near, which


def own_distances(points: Tensor) -> Tensor:
    """Squared distance of each point of a set to the nearest other one, float64 [N]."""
    which = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for start, block in squared_distances(points, points, torch.float32):
        which[start : start + len(block)] = _without_itself(block, start).argmin(1)
    return (points.double() - points[which].double()).square().sum(1)


def fidelity_and_coverage(real: Balls, fake: Tensor, k: Count) -> dict[str, float]:
    """Six numbers from one table of distances.

    precision, recall: share of generated images in a real image's ball, and of real ones in a generated one's
        (Kynkäänniemi et al. 2019, arXiv:1904.06991).
    density, coverage: in how many real balls a generated image lies, over k; share of real images with a
        generated one in their ball (Naeem et al. 2020, arXiv:2002.09797). For the density alone, as in the authors'
        code, the edge of a ball is outside: so a copy of the real images has 1, and not (k + 1) / k.
    clipped_density, clipped_coverage: the same two, made robust against outliers and calibrated so that a share s
        of good images among bad ones scores s (Salvy et al. 2025, arXiv:2507.01761). For the density, radii are
        cut at their median, no image counts for more than one, and the score is divided by that of the real
        images among each other. For the coverage, a real image counts by how many of k generated ones are in
        its ball, and the score is read from the curve of what a share of good images would be expected to score.

    Args:
        real: made with the same k.
        fake: generated features [M, D], M above k.
        k: see `balls`.
    """
    radii, clipped = _up(real.radii), _up(real.clipped_radii)
    below = real.radii * (1.0 - _ROUNDING)
    fake_radii = _up(_nearest_others(fake, k)[0][:, -1])
    inside = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
    strictly_inside = torch.zeros_like(inside)
    inside_clipped = torch.zeros_like(inside)
    covered_by = torch.zeros(len(real.points), dtype=torch.int64, device=fake.device)
    recalled = torch.zeros(len(real.points), dtype=torch.bool, device=fake.device)
    for start, block in squared_distances(fake, real.points):
        rows = slice(start, start + len(block))
        within = block <= radii
        inside[rows] = within.sum(1)
        strictly_inside[rows] = (block < below).sum(1)
        inside_clipped[rows] = (block <= clipped).sum(1)
        covered_by += within.sum(0)
        recalled |= (block <= fake_radii[rows, None]).any(0)
    coverage = (covered_by.clamp(max=k).double() / k).mean()
    fidelity = (inside_clipped / k).clamp(max=1.0).double().mean() / real.clipped_fidelity
    return {
        "precision": float((inside > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(strictly_inside.double().mean() / k),
        "coverage": float((covered_by > 0).double().mean()),
        "clipped_density": min(float(fidelity), 1.0),
        "clipped_coverage": share_of_good(float(coverage), len(real.points), len(fake), k),
    }


def share_of_good(coverage: float, real_count: Count, fake_count: Count, k: Count) -> float:
    """The share of good images that would be expected to cover as much (Salvy et al. 2025, arXiv:2507.01761).

    Of m good images, each lies in the ball of a real one with a probability that is Beta(k, N - k) distributed,
    so the number in a ball is beta-binomial; the bad ones lie in none.

    Args:
        coverage: mean over real images of min(generated images in the ball, k) / k.
        real_count: N, above k.
        fake_count: how many images there are, good and bad.
        k: see `balls`.

    Returns:
        In 0 to 1.
    """
    expected = _expected_coverage(real_count, fake_count, k)
    return int(torch.searchsorted(expected, torch.tensor(coverage, dtype=torch.float64))) / (fake_count + 1)


def memorised(fake_to_training: Tensor, nearest_training: Tensor, own: Tensor) -> float:
    """Share of images that lie closer to a training image than that does to any other training image.

    One minus the authenticity of Alaa et al. (2022, arXiv:2102.08921). Real images that nobody trained on score
    well above 0 too, so the number means nothing without theirs beside it. An image that is equal to one of the
    training set counts, also where the training set holds that one twice.

    Args:
        fake_to_training: squared distance of each generated image to the nearest training image, [M].
        nearest_training: which that is, int64 [M].
        own: `own_distances` of the training set, [N].
    """
    return float(((fake_to_training < own[nearest_training]) | (fake_to_training == 0)).double().mean())


def copying_test(
    fake_to_training: Tensor, held_out_to_training: Tensor, fake_cells: Tensor, held_out_cells: Tensor
) -> tuple[float, float]:
    """Whether images lie closer to the training set than held-out ones do (Meehan et al. 2020, arXiv:2004.05675).

        C_T = sum over cells of share * z / sum over cells of share

    where z is Mann and Whitney's of the two sets of distances in a cell, and share that of the held-out images
    which lie there. Cells keep apart what is near to the training set by its nature, such as trousers: with all
    images in one, a generator that draws more of those would be taken for one that copies. Cells with fewer than
    `FEWEST_IN_A_CELL` images of either set are left out.

    Args:
        fake_to_training: distance, or squared distance, of each generated image to the nearest training one, [M].
        held_out_to_training: the same of images that no network was trained on, [N].
        fake_cells: the cell of each generated image, int64 [M].
        held_out_cells: the cell of each held-out one, int64 [N].

    Returns:
        C_T, far below 0 where training images are copied, and far above where images are unlike the data; and p,
        how likely a C_T so low is by chance. Where nothing is copied, C_T is normal of mean 0 and of standard
        deviation sqrt(sum of share^2) / sum of share, which of ten equal cells is 0.32. Both are NaN where every
        cell is left out.
    """
    scores, shares = [], []
    for cell in held_out_cells.unique():
        fake, held_out = fake_to_training[fake_cells == cell], held_out_to_training[held_out_cells == cell]
        if min(len(fake), len(held_out)) >= FEWEST_IN_A_CELL:
            scores.append(_mann_whitney(fake, held_out))
            shares.append(len(held_out))
    if not scores:
        return math.nan, math.nan
    share = torch.tensor(shares, dtype=torch.float64) / sum(shares)
    z = torch.tensor(scores, dtype=torch.float64) @ share
    return float(z), float(torch.special.ndtr(z / share.norm()))


def _mann_whitney(fakes: Tensor, others: Tensor) -> float:
    """Standardised U of two sets of numbers, ties counted: below 0 where the first ones are smaller, [M] and [N]."""
    fake_count, held_out_count = len(fakes), len(others)
    count = fake_count + held_out_count
    _, place, times = torch.cat([fakes, others]).unique(return_inverse=True, return_counts=True)
    ties = times.double()
    ranks = (ties.cumsum(0) - (ties - 1) / 2)[place]
    larger = ranks[:fake_count].sum() - fake_count * (fake_count + 1) / 2
    spread = (count + 1 - (ties.pow(3) - ties).sum() / (count * (count - 1))) * fake_count * held_out_count / 12
    if spread <= 0:  # all are the same
        return 0.0
    return float((larger - fake_count * held_out_count / 2) / spread.sqrt())


def _nearest_others(points: Tensor, k: Count) -> tuple[Tensor, Tensor]:
    """The k nearest of the others in a set: squared distances, float64 [N, k], nearest first, and which they are."""
    near = torch.empty(len(points), k, dtype=torch.float64, device=points.device)
    which = torch.empty(len(points), k, dtype=torch.int64, device=points.device)
    for start, block in squared_distances(points, points):
        found = _without_itself(block, start).topk(k, largest=False)
        near[start : start + len(block)], which[start : start + len(block)] = found
    return near, which


def _without_itself(block: Tensor, start: int) -> Tensor:
    block.diagonal(start).fill_(math.inf)
    return block


def _up(radii: Tensor) -> Tensor:
    """Radii with a margin for rounding, so that points on the edge are inside."""
    return radii * (1.0 + _ROUNDING)


@lru_cache(maxsize=8)
def _expected_coverage(real_count: int, fake_count: int, k: int) -> Tensor:
    """What m good images, for every m up to `fake_count`, are expected to cover, float64 [fake_count + 1], ascending.

    E[min(J, k)] / k, where J ~ BetaBinomial(m, k, N - k).
    """
    good = torch.arange(fake_count + 1, dtype=torch.float64)[:, None]
    few = torch.arange(k, dtype=torch.float64)  # only fewer than k in a ball make a difference to k
    a, b = float(k), float(real_count - k)
    log_chance = (
        torch.lgamma(good + 1)
        - torch.lgamma(few + 1)
        - torch.lgamma((good - few).clamp(min=0) + 1)
        + torch.lgamma(few + a)
        + torch.lgamma((good - few).clamp(min=0) + b)
        - torch.lgamma(good + a + b)
        + math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
    )
    chance = torch.where(few <= good, log_chance.exp(), 0.0)
    expected = (1.0 - ((k - few) * chance).sum(1) / k).clamp(min=0.0)
    expected[0] = 0.0  # none cover nothing, which rounding must not hide
    return expected
