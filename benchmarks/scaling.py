"""What an iteration of the MLP recipe costs against batch size, model width and size of the data set.

python -m benchmarks.scaling --data fashion_mnist --output scaling.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

from benchmarks.step import composed, interleaved, machine, our_step, timed

BATCH_SIZES = (32, 64, 128, 256, 512)
WIDTHS = (0.25, 0.5, 1.0, 2.0)
COUNTS = (1_000, 10_000, 60_000)


def variants(data: str, device: str) -> dict[str, list[str]]:
    """Overrides of each variant by its name; one thing at a time differs from the recipe."""
    common = ["experiment=keras_mlp", f"data={data}", f"trainer.device={device}"]
    named = {f"batch {size}": [*common, f"trainer.batch_size={size}"] for size in BATCH_SIZES}
    for factor in WIDTHS:
        widths = [int(factor * width) for width in (256, 512, 1024)]
        named[f"width x{factor:g}"] = [
            *common,
            f"model.generator.widths={widths}",
            f"model.discriminator.widths={widths[::-1]}",
        ]
    return named | {f"{count:,} images": [*common, f"data.limit={count}"] for count in COUNTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="any 28x28 grey data set of conf/data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=20, help="iterations of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    device = torch.device(options.device)
    experiments = {name: composed(*overrides) for name, overrides in variants(options.data, options.device).items()}
    steps = {name: timed(our_step(experiment), device) for name, experiment in experiments.items()}
    measured = interleaved(steps, options.iterations, options.rounds)
    print(f"{machine(device)}\n{'':16} ms an iteration  images a second")
    table = {}
    for name, values in measured.items():
        median = statistics.median(values)
        speed = 1000 * experiments[name].settings.batch_size / median
        table[name] = {"milliseconds": median, "images_per_second": speed}
        print(f"{name:16} {median:15.2f} {speed:16,.0f}")
    if options.output:
        options.output.write_text(json.dumps({"machine": machine(device)} | table, indent=2) + "\n")


if __name__ == "__main__":
    main()
