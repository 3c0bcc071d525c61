"""The cost of `model.widening` above 32 pixels: parameters and CPU time per iteration, alternating in one process.

python -m benchmarks.widths --size 64 --widening 1 1.5 2

CPU time is measured, so that a busy machine gives the same ratios. A line for each factor is appended to
benchmarks/widths.jsonl; docs/times.md has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from benchmarks.step import Step, composed, machine, our_step
from gan_runner.files import appending
from gan_runner.machine.memory import peak_memory
from gan_runner.training.experiment import Experiment

RESULTS = Path(__file__).with_suffix(".jsonl")
CPU = torch.device("cpu")
_PERIOD = 4  # iterations from one R1 to the next


def experiment_of(size: int, widening: float, batch: int) -> Experiment:
    return composed(
        *("experiment=recommended", "model=dcgan", "data=emoji", "data.limit=256", f"data.image_size={size}"),
        *(f"model.widening={widening:g}", f"trainer.batch_size={batch}", "evaluation=off", "trainer.device=cpu"),
    )


def seconds_of(step: Step) -> float:
    """CPU seconds of an iteration, R1 included."""
    start = time.process_time()
    for _ in range(_PERIOD):
        step()
    return (time.process_time() - start) / _PERIOD


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--widening", type=float, nargs="+", default=[1.0, 1.5], help="the first is the baseline")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    experiments = {widening: experiment_of(options.size, widening, options.batch) for widening in options.widening}
    steps = {widening: our_step(experiment) for widening, experiment in experiments.items()}
    for step in steps.values():
        step()
    taken: dict[float, list[float]] = {widening: [] for widening in steps}
    for _ in range(options.rounds):
        for widening, step in steps.items():
            taken[widening].append(seconds_of(step))
    medians = {widening: statistics.median(seconds) for widening, seconds in taken.items()}
    for widening, experiment in experiments.items():
        players = (experiment.players.generator.net, experiment.players.discriminator.net)
        row = {
            "size": options.size,
            "widening": widening,
            "batch": options.batch,
            "parameters": [sum(weights.numel() for weights in net.parameters()) for net in players],
            "cpu_milliseconds": round(1000 * medians[widening], 1),
            "ratio": round(medians[widening] / medians[options.widening[0]], 3),
            "megabytes_of_all": round(peak_memory() / 1e6),
            "precision": experiment.compute.precision,
            "machine": machine(CPU),
        }
        with appending(options.results) as file:
            file.write(json.dumps(row) + "\n")
        print({key: value for key, value in row.items() if key != "machine"}, flush=True)


if __name__ == "__main__":
    main()
