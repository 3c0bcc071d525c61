"""Which task to train an extractor on without labels: tasks compared by how well they rank known damage.

python -m benchmarks.unlabelled

No candidate sees the labels of the data set. Compared are: how many rows of the damage table change as they should;
Spearman's rank correlation of the Fréchet distances over all damages and strengths with those of an extractor trained
on labels; and the distance of the mildest strength of each fault as a multiple of that of undamaged images (the
smallest over the faults, and their geometric mean).
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from benchmarks.damage import FAULTS, material, measured, sets_of, unseen
from gan_runner.data import InMemoryImages
from gan_runner.data.image_set import ImageSet
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import CNN, Extractor, Learn
from gan_runner.metrics.tasks import Task, Turns

FAULTS_COMPARED = ("blur", "noise", "shift", "dropped classes", "duplicates")
PERMUTATIONS = torch.cartesian_prod(*[torch.arange(4)] * 4)
PERMUTATIONS = PERMUTATIONS[PERMUTATIONS.sort(1).values.eq(torch.arange(4)).all(1)]


class Jigsaw:
    """Recognise how the four quarters of an image were swapped (Noroozi and Favaro 2016, arXiv:1603.09246)."""

    name, classes = "jigsaw", 0

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        del shape
        return nn.Linear(dim, len(PERMUTATIONS))

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        del rows
        drawn = torch.randint(len(PERMUTATIONS), (len(images),), generator=generator)
        half = images.shape[2] // 2
        corners = [(top, left) for top in (0, half) for left in (0, half)]
        quarters = torch.stack([images[..., top : top + half, left : left + half] for top, left in corners], 1)
        moved = quarters[torch.arange(len(images))[:, None], PERMUTATIONS[drawn]]
        swapped = torch.cat([torch.cat([moved[:, 0], moved[:, 1]], 3), torch.cat([moved[:, 2], moved[:, 3]], 3)], 2)
        return cross_entropy(head(encoder(swapped)), drawn)


class Autoencoder:
    """Reconstruct the image from its features."""

    name, classes = "autoencoder", 0

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        channels, height, width = shape
        return nn.Sequential(
            nn.Linear(dim, 64 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (64, 7, 7)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(),
            nn.Upsample((height, width)),
            nn.Conv2d(32, channels, 3, padding=1),
            nn.Tanh(),
        )

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        del rows, generator
        return mse_loss(head(encoder(images)), images)


class Nothing:
    """Leave the first random weights as they are; batch norm alone gets to know the pictures."""

    name, classes = "random", 0

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        del dim, shape
        return nn.Identity()

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        del rows, generator
        with torch.no_grad():
            head(encoder(images))
        return torch.zeros((), requires_grad=True)


class Both:
    """Two tasks at once, on the same features."""

    classes = 0

    def __init__(self, one: Task, other: Task) -> None:
        self.name = f"{one.name}_{other.name}"
        self._tasks = (one, other)

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        return nn.ModuleList([task.head(dim, shape) for task in self._tasks])

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        heads = list(head.children())
        losses = [
            task.loss(encoder, part, images, rows, generator) for task, part in zip(self._tasks, heads, strict=True)
        ]
        return torch.stack(losses).sum()


CANDIDATES: dict[str, Callable[[], Task]] = {
    "turns": Turns,
    "jigsaw": Jigsaw,
    "autoencoder": Autoencoder,
    "random": Nothing,
    "turns_autoencoder": lambda: Both(Turns(), Autoencoder()),
}


def learner(task: Task | None) -> Learn:
    """The recipe of `cnn` with another task; None for its own."""

    def cnn(images: ImageSet, device: torch.device) -> Extractor:
        if task is None:
            return CNN.learn(images, device)
        without_labels = InMemoryImages(images.name, images.pixels(torch.arange(len(images))), None, ())
        return CNN.learn(without_labels, device, task)

    return cnn


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Spearman's."""

    def ranks(values: list[float]) -> list[float]:
        return torch.tensor(values, dtype=torch.float64).argsort().argsort().double().tolist()

    return statistics.correlation(ranks(one), ranks(other))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "fashion_mnist"), default="fashion_mnist")
    parser.add_argument("--count", type=int, help="pictures damaged at a time; 270 of digits, else 2,000")
    parser.add_argument("--tasks", nargs="*", choices=sorted(CANDIDATES), default=list(CANDIDATES))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    training, held_out, learn_from = sets_of(options.data)
    few = options.data == "digits"
    count = options.count or (270 if few else 2_000)
    pictures = material(training, held_out, 450 if few else count, count)
    numbers = ["frechet", "precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage"]
    by_labels: list[float] = []
    print("| learned | rows as claimed | of | rank correlation | mildest, least | mildest, mean | undamaged |")
    print("|---|---|---|---|---|---|---|")
    for name, task in {"classes": lambda: None, **{key: CANDIDATES[key] for key in options.tasks}}.items():
        metrics = FeatureMetrics(learner(task()), numbers, neighbours=5, seed=0)
        metrics.bind(training, held_out, torch.device("cpu"), learn_from)
        table = measured(metrics, pictures, FAULTS_COMPARED)
        distances = {fault: rows["frechet"] for fault, rows in table.items()}
        flat = [value for row in distances.values() for value in row[1:]]
        by_labels = by_labels or flat
        correlation = rank_correlation(flat, by_labels)
        mildest = [row[1] / row[0] for row in distances.values()]
        claims = sum(number in numbers for fault in FAULTS_COMPARED for number in FAULTS[fault].seen_by)
        missed = unseen(table)
        print(
            f"| {name} | {claims - len(missed)} | {claims} | {correlation:.3f} | {min(mildest):.2f} "
            f"| {math.exp(statistics.mean(map(math.log, mildest))):.2f} | {next(iter(distances.values()))[0]:.3g} |",
            flush=True,
        )
        logging.info("%s: %s", name, f"does not see {', '.join(missed)}" if missed else "sees all that it claims")


if __name__ == "__main__":
    main()
