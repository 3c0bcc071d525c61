"""The time of an iteration of the MLP recipe by batch size, model width and size of the data set.

python -m benchmarks.scaling --data fashion_mnist --output scaling.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from omegaconf import DictConfig

from benchmarks.step import composed, configured, interleaved, machine, our_step, timed
from gan_runner.training.experiment import Experiment

BATCH_SIZES = (32, 64, 128, 256, 512)
WIDTHS = (0.25, 0.5, 1.0, 2.0)
PARTS = (1 / 64, 1 / 8, 1.0)


def variants(recipe: Experiment, config: DictConfig) -> dict[str, list[str]]:
    """Overrides of each variant by its name; one thing at a time differs from the recipe."""
    named = {f"batch {size}": [f"trainer.batch_size={size}"] for size in BATCH_SIZES}
    for factor in WIDTHS:
        named[f"width x{factor:g}"] = [
            f"model.{player}.widths={[int(factor * width) for width in config.model[player].widths]}"
            for player in ("generator", "discriminator")
        ]
    counts = [round(part * len(recipe.images)) for part in PARTS]
    return named | {f"{count:,} images": [f"data.limit={count}"] for count in counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="any 28x28 grey data set of conf/data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=20, help="iterations of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    device = torch.device(options.device)
    common = ["experiment=keras_mlp", f"data={options.data}", f"trainer.device={device}"]
    differences = variants(composed(*common), configured(*common))
    experiments = {name: composed(*common, *overrides) for name, overrides in differences.items()}
    steps = {name: timed(our_step(experiment), device) for name, experiment in experiments.items()}
    measured = interleaved(steps, options.iterations, options.rounds)
    print(f"{machine(device)}\n{'':16} {'ms per iteration':>16} {'images/s':>16}")
    table = {}
    for name, values in measured.items():
        median = statistics.median(values)
        speed = 1000 * experiments[name].settings.batch_size / median
        table[name] = {"milliseconds": median, "images_per_second": speed}
        print(f"{name:16} {median:16.2f} {speed:16,.0f}")
    if options.output:
        options.output.write_text(json.dumps({"machine": machine(device)} | table, indent=2) + "\n")


if __name__ == "__main__":
    main()
