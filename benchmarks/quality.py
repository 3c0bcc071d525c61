"""Whether the fast paths learn as well as the plain script: the same recipe from several seeds, judged alike.

python -m benchmarks.quality --seeds 3 --iterations 1000
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import torch
from torch import Tensor

from benchmarks.plain_pytorch import PlainScript
from benchmarks.step import composed, our_step
from gan_runner.data import ImageSet
from gan_runner.metrics import Metric
from gan_runner.metrics.diversity import diversity
from gan_runner.metrics.sliced_wasserstein import sliced_wasserstein
from gan_runner.sampling import draw
from gan_runner.steps import as_float

LAST = 200  # iterations over which D's accuracy is averaged
COUNT = 1000  # pictures that are judged
METRICS: dict[str, Metric] = {
    "sliced_wasserstein": partial(sliced_wasserstein, projections=128, seed=0),
    "diversity": diversity,
}


def train_ours(precision: str, data: str, seed: int, iterations: int) -> tuple[float, Tensor, ImageSet]:
    """Give D's accuracy at the end, pictures, and the real images."""
    experiment = composed("experiment=keras_mlp", f"data={data}", f"trainer.precision={precision}", f"seed={seed}")
    step = our_step(experiment)
    for _ in range(iterations - LAST):
        step()
    before = experiment.stepper.read_d()
    for _ in range(LAST):
        step()
    means = experiment.stepper.read_d().means_since(before)
    accuracy = 0.5 * (means["accuracy/d_real"] + means["accuracy/d_fake"])
    return accuracy, draw(experiment.generator.net, torch.randn(COUNT, 100)), experiment.images


def train_plain(images: ImageSet, seed: int, iterations: int) -> tuple[float, Tensor]:
    """Give D's accuracy at the end, and pictures."""
    script = PlainScript("keras_mlp", images, torch.device("cpu"), seed)
    accuracies = [script.step()[2] for _ in range(iterations)]
    return statistics.mean(accuracies[-LAST:]), draw(script.generator, torch.randn(COUNT, 100))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="any 28x28 grey data set of conf/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=1000)
    options = parser.parse_args()
    scores: dict[str, list[list[float]]] = {"plain PyTorch script": [], "gan-runner bf16": [], "gan-runner fp32": []}
    for seed in range(options.seeds):
        results = {}
        for precision in ("bf16", "fp32"):
            accuracy, fake, images = train_ours(precision, options.data, seed, options.iterations)
            results[f"gan-runner {precision}"] = (accuracy, fake)
        results["plain PyTorch script"] = train_plain(images, seed, options.iterations)
        real = as_float(images.pixels(torch.randperm(len(images))[:COUNT]))
        for name, (accuracy, fake) in results.items():
            scores[name].append([accuracy, *(float(metric(real, fake)) for metric in METRICS.values())])
    print(f"mean ± sd over {options.seeds} seeds    " + "".join(f"{name:>22}" for name in ("D right", *METRICS)))
    for name, rows in scores.items():
        columns = zip(*rows, strict=True)
        spread = statistics.stdev if options.seeds > 1 else (lambda _: 0.0)
        shown = [(statistics.mean(column), spread(column)) for column in map(list, columns)]
        print(f"{name:24}" + "".join(f"{mean:>15.3f} ± {sd:.3f}" for mean, sd in shown))


if __name__ == "__main__":
    main()
