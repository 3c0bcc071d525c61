"""Classification accuracy score: how good a classifier is that learned from generated images alone (arXiv:1905.10887).

    python -m benchmarks.generated_alone outputs/DATE/TIME --images 1000 --seeds 5

A second classifier is trained in the same way on as many real training images of each class. Both are tested on the
test images of the run's data. Appends a line for each seed to benchmarks/generated_alone.jsonl: the share of test
images that each recognises.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.step import machine
from gan_runner.config.build import load_images
from gan_runner.data import ImageSet
from gan_runner.files import appending
from gan_runner.runs.saved import SavedRun
from gan_runner.worth.arms import OVERSAMPLING
from gan_runner.worth.classifier import Recipe, counts_of, trained

RESULTS = Path(__file__).with_suffix(".jsonl")
CPU = torch.device("cpu")


def accuracy(images: Tensor, rows: list[Tensor], test: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """The share of test images that a classifier recognises.

    Args:
        images: what it is trained on, uint8 [N, C, H, W].
        rows: those of each class.
        test: the test images, uint8 [M, C, H, W].
        labels: their classes, int64 [M].
        recipe: length and seed of its training.
    """
    net = trained(images, rows, OVERSAMPLING, recipe)
    return sum(counts_of(net, test, labels, len(rows)).correct) / len(test)


def _pixels(images: ImageSet) -> Tensor:
    return images.pixels(torch.arange(len(images)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run by class")
    parser.add_argument("--images", type=int, default=1_000, help="of each class")
    parser.add_argument("--updates", type=int, default=1_000, help="of each classifier")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=5, help="of the classifiers")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = SavedRun(options.run)
    with run.its_data() as config:
        real, test = load_images(config), load_images(config, split="test", limit=None)
    assert real.labels is not None
    assert test.labels is not None
    assert real.classes == test.classes
    test_images = _pixels(test)
    classes = len(real.classes)
    drawn = np.asarray(
        run.sample(options.images * classes, checkpoint="last", device="cpu", classes=list(real.classes))
    )
    learned = {
        "real": (
            _pixels(real),
            [(real.labels == number).nonzero().flatten()[: options.images] for number in range(classes)],
        ),
        "generated": (
            torch.from_numpy(drawn).permute(0, 3, 1, 2),
            list(torch.arange(len(drawn)).split(options.images)),
        ),
    }
    for seed in range(options.seeds):
        recipe = Recipe(options.updates, options.batch, seed, 0)
        row = {"run": run.stored.overrides, "iterations": run.summary["iterations"], "images": options.images}
        row |= {"updates": options.updates, "batch": options.batch, "seed": seed}
        row |= {kind: round(accuracy(*images, test_images, test.labels, recipe), 4) for kind, images in learned.items()}
        with appending(options.results) as file:
            file.write(json.dumps(row | {"machine": machine(CPU)}) + "\n")
        print(
            f"seed {seed}: {row['generated']:.1%} of the test images, {row['real']:.1%} if trained on real ones",
            flush=True,
        )


if __name__ == "__main__":
    main()
