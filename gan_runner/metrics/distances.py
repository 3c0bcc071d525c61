"""Distances between two sets of features, and the inception score; all in float64.

torch-fidelity and torchmetrics compute these too, and the tests hold ours to theirs. They are written out here
because statistics of real images are kept from one evaluation to the next, and because features may be on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_runner.ranges import Seed

KERNEL_SUBSETS, KERNEL_SUBSET_SIZE = 100, 1000
"""How the kernel distance is averaged, as its authors do."""


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and unbiased covariance [D, D] of features [N, D], N at least 2, in float64."""
    points = features.double()
    return points.mean(0), torch.cov(points.T).reshape(points.shape[1], points.shape[1])


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> Tensor:
    """Squared Wasserstein-2 distance of two normal distributions (Fréchet 1957; Heusel et al. 2017, arXiv:1706.08500).

        |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))

    The trace of the root is computed as that of the symmetric (C^(1/2) C' C^(1/2))^(1/2), whose eigenvalues are the
    same: no complex numbers come of it where there are fewer images than features and both are singular.

    Args:
        mean: float64 [D].
        covariance: float64 [D, D].
        other_mean: as `mean`.
        other_covariance: as `covariance`.

    Returns:
        0-d, at least 0 but for rounding.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    overlap = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    distance: Tensor = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * overlap
    return distance


def kernel_distance(features: Tensor, other: Tensor, seed: Seed) -> Tensor:
    """Kernel distance (Bińkowski et al. 2018, arXiv:1801.01401), the unbiased squared maximum mean discrepancy.

    The kernel is (x . y / D + 1)^3. The distance is the mean over 100 pairs of subsets of 1000 images, or of as
    many as the smaller set has.

    Args:
        features: [N, D], N at least 2.
        other: [M, D], M at least 2.
        seed: of the subsets.

    Returns:
        0-d; a little below 0 for sets that are alike.
    """
    size = min(len(features), len(other), KERNEL_SUBSET_SIZE)
    # Whoever takes all of both sets each time takes the same ones each time.
    subsets = 1 if size == len(features) == len(other) else KERNEL_SUBSETS
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64, device=features.device)
    for _ in range(subsets):
        rows, other_rows = (torch.randperm(len(points), generator=generator)[:size] for points in (features, other))
        total += _discrepancy(features[rows.to(features.device)].double(), other[other_rows.to(other.device)].double())
    return total / subsets


def classifier_score(probabilities: Tensor) -> Tensor:
    """Exponential of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016, arXiv:1606.03498).

    From 1, if every image looks the same to the classifier, to the number of classes, if it is sure of each image and
    all classes are equally frequent. All images are used together, not in ten splits.

    Args:
        probabilities: [N, classes].
    """
    rows = probabilities.double()
    overall = rows.mean(0)
    # xlogy gives 0 for a class that has no probability at all, where the logarithm alone would give NaN.
    divergence: Tensor = torch.special.xlogy(rows, rows).sum(1) - torch.special.xlogy(rows, overall).sum(1)
    return divergence.mean().exp()


def _discrepancy(points: Tensor, other: Tensor) -> Tensor:
    count = len(points)
    within, other_within = (_kernel(rows, rows).sum() - _kernel_of_itself(rows) for rows in (points, other))
    return (within + other_within) / (count * (count - 1)) - 2 * _kernel(points, other).mean()


def _kernel(points: Tensor, other: Tensor) -> Tensor:
    base = (points @ other.T).div_(points.shape[1]).add_(1.0)
    return base.square().mul_(base)  # a product is many times faster than a power


def _kernel_of_itself(points: Tensor) -> Tensor:
    return (points.square().sum(1) / points.shape[1] + 1.0).pow(3).sum()
