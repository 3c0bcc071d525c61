"""How much augmentation helps with few training images: a run without and one with each kind, evaluated alike.

python -m benchmarks.few --data "data=fashion_mnist data.limit=500" --augment none diffaugment ada --iterations 1500

Each run trains in this process; at intervals its images are compared with real ones of the whole set. Each comparison
appends a line to benchmarks/few.jsonl: distances, coverage, whether training images are copied, D's accuracy on real
images, and the strength of the augmentation.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.step import composed, configured, machine, our_step
from gan_runner import tags
from gan_runner.config.build import load_images
from gan_runner.data import ImageSet
from gan_runner.files import appending
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import cnn, cnn_b
from gan_runner.metrics.reference import reference_pictures
from gan_runner.training.experiment import Experiment

RESULTS = Path(__file__).with_suffix(".jsonl")
NUMBERS = ("frechet", "precision", "coverage", "memorised", "copying_z")
EXTRACTORS = {"cnn": cnn, "cnn_b": cnn_b}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Judge:
    """Metrics against real images of the whole set, and what held-out ones score.

    Attributes:
        parts: metrics with the statistics that they hold images against.
        real: the numbers of as many held-out images; empty where there are none.
        count: images that are drawn.
    """

    parts: Sequence[tuple[FeatureMetrics, Mapping[str, torch.Tensor]]]
    real: Mapping[str, float]
    count: int


def judge_of(data: Sequence[str], training: ImageSet, count: int, extractors: Sequence[str]) -> Judge:
    """Make the judge of runs on this data.

    Args:
        data: overrides that choose it.
        training: what the runs learn from.
        count: images that are drawn, and real ones that they are compared with, at most.
        extractors: names of `EXTRACTORS`.
    """
    whole = load_images(configured(*data, "data.limit=null"))
    held_out = load_images(configured(*data, "data.split=test"))
    parts: list[tuple[FeatureMetrics, Mapping[str, torch.Tensor]]] = []
    real: dict[str, float] = {}
    for extractor in extractors:
        metrics = FeatureMetrics(EXTRACTORS[extractor], list(NUMBERS), neighbours=5, seed=0)
        metrics.bind(training, held_out, CPU, whole)
        statistics = metrics.statistics(reference_pictures(whole, min(count, len(whole))))
        parts.append((metrics, statistics))
        real |= metrics.measure(reference_pictures(held_out, min(count, len(held_out))), statistics)
    return Judge(parts, real, count)


def numbers_of(experiment: Experiment, judge: Judge) -> dict[str, float]:
    """What the images that a run draws now score."""
    sampler = experiment.sampler
    drawn = sampler.draw(sampler.like_data("evaluation latents", judge.count))
    numbers: dict[str, float] = {}
    for metrics, statistics in judge.parts:
        numbers |= metrics.measure(drawn, statistics)
    return numbers


def rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="overrides that choose the data, in one word")
    parser.add_argument("--run", default="experiment=recommended model=dcgan", help="further overrides, in one word")
    parser.add_argument("--augment", nargs="+", default=["none", "diffaugment", "ada"], help="each with its settings")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--every", type=int, help="iterations between two lines; default: only at the end")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--extractor", nargs="+", choices=sorted(EXTRACTORS), default=["cnn"])
    parser.add_argument("--pictures", type=int, default=2_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    every = options.every or options.iterations
    data = options.data.split()
    judge = None
    for seed in options.seeds:
        for augment in options.augment:
            overrides = [*options.run.split(), *data, *f"augment={augment}".split(), f"seed={seed}"]
            experiment = composed(*overrides, "evaluation=off", "trainer.device=cpu")
            judge = judge or judge_of(data, experiment.images, options.pictures, options.extractor)
            step, before, seconds = our_step(experiment), experiment.step.read_d(), 0.0
            for iteration in range(1, options.iterations + 1):
                start = time.perf_counter()
                step()
                seconds += time.perf_counter() - start
                if iteration % every:
                    continue
                means = experiment.step.read_d().means_since(before)
                before = experiment.step.read_d()
                row: dict[str, Any] = {"data": options.data, "run": options.run, "augment": augment, "seed": seed}
                row |= {"pictures": len(experiment.images), "iterations": iteration}
                row |= {"batch": experiment.settings.batch_size, "milliseconds": round(1000 * seconds / iteration, 1)}
                row |= {"accuracy_real": round(means[tags.ACCURACY_REAL], 3), "p": float(means.get("augment/p", 0.0))}
                row |= {"metrics": rounded(numbers_of(experiment, judge)), "real": rounded(judge.real)}
                with appending(options.results) as file:
                    file.write(json.dumps(row | {"machine": machine(CPU)}) + "\n")
                print(augment, {key: row[key] for key in ("iterations", "accuracy_real", "p", "metrics")}, flush=True)
    assert judge is not None
    print("real held-out images", rounded(judge.real))


if __name__ == "__main__":
    main()
