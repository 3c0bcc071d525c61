"""The time of an iteration with classes relative to one without, alternating in one process.

    python -m benchmarks.by_class --model dcgan --data digits

CPU time is measured, on one thread, so that other processes matter little.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from benchmarks.step import Step, composed, our_step

EXPERIMENTS = ("recommended", "conditional")
_WARM_UP = 4


def milliseconds(step: Step, iterations: int) -> float:
    """Processor time of one iteration."""
    begun = time.process_time()
    for _ in range(iterations):
        step()
    return 1000 * (time.process_time() - begun) / iterations


def measured(model: str, data: str, overrides: list[str], iterations: int, rounds: int) -> list[tuple[float, float]]:
    """Milliseconds of an iteration without classes and of one by class, a pair for each round.

    Args:
        model: the choice of the config group.
        data: the choice of the config group.
        overrides: of the run by class alone.
        iterations: in a row of each, before the other's turn.
        rounds: pairs.
    """
    torch.set_num_threads(1)
    common = [f"model={model}", f"data={data}", "evaluation=off", "trainer.device=cpu"]
    steps = [
        our_step(composed(f"experiment={name}", *common, *(overrides if name == "conditional" else [])))
        for name in EXPERIMENTS
    ]
    for step in steps:
        milliseconds(step, _WARM_UP)
    pairs = []
    for number in range(rounds):
        first = number % 2
        took = {which: milliseconds(steps[which], iterations) for which in (first, 1 - first)}
        pairs.append((took[0], took[1]))
    return pairs


def main() -> None:
    """Measure, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan", help="the choice of the config group")
    parser.add_argument("--data", default="digits", help="the choice of the config group; it has classes")
    parser.add_argument("--iterations", type=int, default=4, help="in a row, before the other's turn")
    parser.add_argument("--rounds", type=int, default=24, help="pairs")
    parser.add_argument("overrides", nargs="*", help="of the run by class, such as game.conditioning=adc_gan")
    asked = parser.parse_args()
    pairs = measured(asked.model, asked.data, asked.overrides, asked.iterations, asked.rounds)
    without, by_class = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for other, one in pairs)
    print(f"without classes {without:.1f} ms, by class {by_class:.1f} ms; median of {len(pairs)} ratios: {ratio:.3f}")


if __name__ == "__main__":
    main()
