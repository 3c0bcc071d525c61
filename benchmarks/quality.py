"""Whether the optimised code learns as well as the plain script: one recipe, several seeds, evaluated alike.

python -m benchmarks.quality --seeds 3 --iterations 1000
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping

import torch

from benchmarks.plain_pytorch import PlainScript
from benchmarks.step import composed, our_step
from gan_runner.games import accuracy_of
from gan_runner.metrics import RealImages
from gan_runner.training.devices import choose_precision
from gan_runner.training.experiment import Experiment
from gan_runner.training.sampler import Sampler

LAST = 200  # iterations over which D's accuracy is averaged; of fewer than twice that, the second half


def train_ours(experiment: Experiment, iterations: int, last: int) -> tuple[float, Sampler]:
    """Give D's accuracy at the end, and what draws."""
    step = our_step(experiment)
    for _ in range(iterations - last):
        step()
    before = experiment.step.read_d()
    for _ in range(last):
        step()
    means = experiment.step.read_d().means_since(before)
    return accuracy_of(means), experiment.sampler


def train_plain(script: PlainScript, like: Experiment, iterations: int, last: int) -> tuple[float, Sampler]:
    """Give D's accuracy at the end, and what draws."""
    accuracies = [script.step()[2] for _ in range(iterations)]
    sampler = Sampler(like.game, script.generator, like.examples, like.seed, like.compute.device)
    return statistics.mean(accuracies[-last:]), sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="any 28x28 grey data set of conf/data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=1000)
    options = parser.parse_args()
    length = options.iterations, min(LAST, options.iterations // 2)
    best = choose_precision("auto", torch.device("cpu"))
    precisions = ["fp32"] if best == "fp32" else ["bf16", "fp32"]  # where it is no faster, nobody trains in it
    scores: dict[str, list[Mapping[str, float]]] = {}
    for seed in range(options.seeds):
        common = ["experiment=keras_mlp", f"data={options.data}", "trainer.device=cpu", f"seed={seed}"]
        ours = {precision: composed(*common, f"trainer.precision={precision}") for precision in precisions}
        one = ours["fp32"]
        script = PlainScript("keras_mlp", one.images, one.compute.device, seed)
        results = {"plain PyTorch script": train_plain(script, one, *length)}
        for precision, experiment in ours.items():
            results[f"gan-runner {precision}"] = train_ours(experiment, *length)
        real, count = RealImages(one.loader, seed), one.evaluation.num_images
        for name, (accuracy, sampler) in results.items():
            fake = sampler.draw(sampler.like_data("evaluation latents", count))
            scores.setdefault(name, []).append({"D right": accuracy} | one.evaluation.measure(real, fake))
    print(f"mean ± sd over {options.seeds} seeds")
    for name, rows in scores.items():
        print(f"\n{name}")
        for measure in rows[0]:
            values = [row[measure] for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(f"  {measure:28} {statistics.mean(values):.3f} ± {spread:.3f}")


if __name__ == "__main__":
    main()
