"""Whether each metric detects damage: real images, damaged in six ways at four strengths.

python -m benchmarks.damage --data fashion_mnist --count 5000

A row is a metric; its columns are undamaged held-out images and four strengths of a fault. A metric that claims to
detect the fault must change monotonically. If it does not, the row says so and the exit status is 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.transforms.functional import gaussian_blur

from gan_runner.data import ImageSet, InMemoryImages, digits, fashion_mnist
from gan_runner.data.halves import halves
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import cnn, cnn_b, even_rows
from gan_runner.metrics.grain import Grain

EXTRACTORS = {"cnn": cnn, "cnn_b": cnn_b}

Way = Literal["falls", "rises"]
FALLS: Way = "falls"
RISES: Way = "rises"


@dataclass(frozen=True)
class Material:
    """The images of a damage report.

    Attributes:
        training: the images that copies are made of.
        held_out: other real images.
        reference: the images that everything is compared with, uint8 [N, C, H, W].
        pool: real images that are not in the reference, the held-out ones first.
        labels: their classes, int64 [len(pool)].
        count: how many images are damaged at a time.
    """

    training: InMemoryImages
    held_out: InMemoryImages
    reference: Tensor
    pool: Tensor
    labels: Tensor
    count: int


@dataclass(frozen=True)
class Fault:
    """A way for pictures to be wrong.

    Attributes:
        strengths: four, from mild to grave.
        unit: what they are measured in.
        apply: makes `count` pictures of a strength.
        seen_by: the numbers that claim to see it, and where they go.
        also: numbers that claim nothing and are shown all the same.
    """

    strengths: Sequence[float]
    unit: str
    apply: Callable[[Material, float], Tensor]
    seen_by: Mapping[str, Way]
    also: Sequence[str] = ()


def blurred(material: Material, sigma: float) -> Tensor:
    size = 2 * round(3 * sigma) + 1
    blurry: Tensor = gaussian_blur(material.pool[: material.count], [size, size], [sigma, sigma])
    return blurry


def noisy(material: Material, levels: float) -> Tensor:
    images = material.pool[: material.count].float()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + levels * noise).round().clamp(0, 255).byte()


def shifted(material: Material, pixels: float) -> Tensor:
    images, by = material.pool[: material.count], int(pixels)
    return pad(images.float(), (by, 0, 0, 0), mode="replicate")[..., : images.shape[3]].byte()


def without_classes(material: Material, share: float) -> Tensor:
    classes = len(material.training.classes)
    left = material.pool[material.labels >= round(share * classes)]
    assert len(left) >= material.count, f"only {len(left)} pictures are left"
    return left[: material.count]


def repeated(material: Material, share: float) -> Tensor:
    distinct = round(share * material.count)
    return material.pool[torch.arange(material.count) % distinct]


def copied(material: Material, share: float) -> Tensor:
    copies = round(share * material.count)
    rows = even_rows(len(material.training), copies)
    return torch.cat([material.training.pixels(rows), material.pool[: material.count - copies]])


_FAR: dict[str, Way] = {"frechet": RISES, "kernel": RISES}
_LESS_COVERED: dict[str, Way] = {"coverage": FALLS, "clipped_coverage": FALLS}
_LESS_ALIKE: dict[str, Way] = {"precision": FALLS, "density": FALLS, "clipped_density": FALLS}
_CLASSES: dict[str, Way] = {"classes": FALLS, "class_entropy": FALLS, "score": FALLS}

FAULTS: Mapping[str, Fault] = {
    # A little blur moves an image towards the mean, where real ones are densest, and noise drives all images into the
    # ball of one outlier. So density, and precision with it, may rise.
    "blur": Fault(
        (0.5, 1.0, 1.5, 2.0),
        "px",
        blurred,
        _FAR | _LESS_COVERED | {"grain": FALLS},
        ("precision", "density", "clipped_density"),
    ),
    "noise": Fault(
        (10, 20, 40, 80),
        "levels",
        noisy,
        _FAR | _LESS_COVERED | {"clipped_density": FALLS, "grain": RISES},
        ("precision", "density"),
    ),
    "shift": Fault((1, 2, 3, 4), "px", shifted, _FAR | _LESS_COVERED | _LESS_ALIKE),
    "dropped classes": Fault(
        (0.1, 0.3, 0.5, 0.8), "of them", without_classes, _FAR | {"recall": FALLS} | _LESS_COVERED | _CLASSES
    ),
    "duplicates": Fault((0.25, 0.1, 0.03, 0.01), "distinct", repeated, _FAR | {"recall": FALLS} | _LESS_COVERED),
    "copies": Fault((0.1, 0.25, 0.5, 1.0), "copied", copied, {"memorised": RISES, "copying_z": FALLS}),
}


@dataclass(frozen=True)
class Batch:
    """See `Pictures`."""

    images: Tensor


def batches(images: Tensor) -> Iterator[Batch]:
    return (Batch(part) for part in images.split(500))


def material(training: InMemoryImages, held_out: InMemoryImages, references: int, count: int) -> Material:
    """Take the reference evenly spaced from the training images; the others fill up the pool."""
    assert training.labels is not None
    assert held_out.labels is not None
    rows = even_rows(len(training), references)
    left = torch.ones(len(training), dtype=torch.bool)
    left[rows] = False
    shuffle = torch.Generator().manual_seed(0)  # neighbours in a set may be of one writer, or of one class
    others = torch.randperm(len(held_out), generator=shuffle)
    rest = left.nonzero().flatten()[torch.randperm(int(left.sum()), generator=shuffle)]
    return Material(
        training,
        held_out,
        training.pixels(rows),
        torch.cat([held_out.images[others], training.images[rest]]),
        torch.cat([held_out.labels[others], training.labels[rest]]),
        count,
    )


def measured(metrics: FeatureMetrics, pictures: Material, faults: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Each number at each strength, the undamaged pictures first, by fault."""
    grain = Grain()
    real, of_pixels = metrics.statistics(batches(pictures.reference)), grain.statistics(batches(pictures.reference))

    def numbers_of(images: Tensor) -> dict[str, float]:
        return metrics.measure(batches(images), real) | grain.measure(batches(images), of_pixels)

    whole = numbers_of(pictures.pool[: pictures.count])
    table: dict[str, dict[str, list[float]]] = {}
    for name in faults:
        fault = FAULTS[name]
        columns = [whole]
        columns += [numbers_of(fault.apply(pictures, strength)) for strength in fault.strengths]
        ending = f"_{metrics.extractor.name}"
        table[name] = {key.removesuffix(ending): [column[key] for column in columns] for key in whole}
    return table


def moves(values: Sequence[float], way: Way) -> bool:
    """Whether a row goes one way all along; once it has gone far, it may stay where it is."""
    steps = [after - before for before, after in pairwise(values)]
    signed = steps if way == RISES else [-step for step in steps]
    return all(step >= 0 for step in signed) and sum(signed) > 0


def unseen(table: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """The rows of numbers that claim to see a fault and do not move as they claim."""
    return [
        f"{number} under {name}"
        for name, rows in table.items()
        for number, way in FAULTS[name].seen_by.items()
        if number in rows and not moves(rows[number], way)
    ]


def in_words(table: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The table as Markdown: one part a fault."""
    lines = []
    for name, rows in table.items():
        fault = FAULTS[name]
        heads = " | ".join(f"{strength:g} {fault.unit}" for strength in fault.strengths)
        lines += ["", f"| {name} | none | {heads} | |", "|---" * (len(fault.strengths) + 3) + "|"]
        claims: dict[str, Way | None] = {**fault.seen_by, **dict.fromkeys(fault.also)}
        for number, way in claims.items():
            if number in rows:
                values = " | ".join(f"{value:.4g}" for value in rows[number])
                lines.append(f"| {number} | {values} | {_verdict(rows[number], way)} |")
    return "\n".join(lines)


def _verdict(values: Sequence[float], way: Way | None) -> str:
    if way is None:
        return "claims nothing"
    return way if moves(values, way) else f"does not {way.removesuffix('s')}"


def sets_of(name: str) -> tuple[InMemoryImages, InMemoryImages, ImageSet]:
    """Training and held-out pictures of a set, and what an extractor learns from."""
    if name == "digits":  # the extractor that ships has learned every second one, which are those that train here
        return digits.load(28, None, "train", 0.5), digits.load(28, None, "test", 0.5), halves(digits.load(28, None))[0]
    training, held_out = (fashion_mnist.load("data", False, 28, None, split) for split in ("train", "test"))
    return training, held_out, training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("digits", "fashion_mnist"), default="digits")
    parser.add_argument("--extractor", choices=sorted(EXTRACTORS), default="cnn")
    parser.add_argument("--references", type=int, help="real images to compare with; as many as count, for digits 450")
    parser.add_argument("--count", type=int, help="images damaged at a time; 270 for digits, else 5,000")
    parser.add_argument("--faults", nargs="*", choices=list(FAULTS), default=list(FAULTS))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    training, held_out, learn_from = sets_of(options.data)
    metrics = FeatureMetrics(EXTRACTORS[options.extractor], "full", neighbours=5, seed=0)
    metrics.bind(training, held_out, torch.device("cpu"), learn_from)
    # There are 1,797 digits, and after eight in ten classes are dropped there must be enough left.
    count = options.count or (270 if options.data == "digits" else 5_000)
    references = options.references or (450 if options.data == "digits" else count)
    pictures = material(training, held_out, references, count)
    table = measured(metrics, pictures, options.faults)
    print(
        f"{options.data}, features {options.extractor} ({metrics.extractor.fingerprint}), {len(pictures.reference):,} "
        f"real against {pictures.count:,} damaged pictures"
    )
    print(in_words(table))
    if missed := unseen(table):
        sys.exit(f"do not move as they claim: {', '.join(missed)}")


if __name__ == "__main__":
    main()
