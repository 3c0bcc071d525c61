"""The time of an iteration beside other busy processes: with several settings, and with those that a run chooses.

    python -m benchmarks.busy --data fashion_mnist --rounds 9

For each number of busy processes, which this script starts, the settings alternate every few iterations, each in its
own process. The run that chooses its own settings starts when the others are busy already.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.step import Step, Timed, composed, in_own_process, machine, our_step
from gan_runner.commands.main import OPENMP
from gan_runner.files import appending
from gan_runner.machine.cores import cores
from gan_runner.machine.load import METER
from gan_runner.training.threads import choose_threads

RESULTS = Path(__file__).with_suffix(".jsonl")
MODELS = ("mlp", "dcgan")
SPINS = (200_000, 50_000, 10_000, 1_000, 0)
CHOSEN = "chosen by the run"
_CPU = torch.device("cpu")
_BUSY = "while True: pass"


def settings() -> dict[str, dict[str, str]]:
    """Environments that fix what a run would choose, by name."""
    all_cores = {
        f"all cores, spin {spin}": {"OMP_NUM_THREADS": str(cores()), "GOMP_SPINCOUNT": str(spin)} for spin in SPINS
    }
    return all_cores | {"1 thread": {"OMP_NUM_THREADS": "1"}}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """In here so many other processes compute, at the priority of this one."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def started(overrides: Sequence[str], environment: Mapping[str, str]) -> Timed:
    """Start a run in a process of its own, and wait until it has done a few iterations."""
    run = in_own_process(partial(_step, overrides), _CPU, environment)
    run(3)
    return run


def _step(overrides: Sequence[str]) -> Step:
    METER.look()
    experiment = composed(*overrides)  # the load is measured meanwhile, as it is while a command imports PyTorch
    choose_threads("auto", _CPU, None)
    return our_step(experiment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append", help="default: all")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 3], help="how many other processes compute")
    parser.add_argument("--setting", choices=list(settings()), action="append", help="default: all")
    parser.add_argument("--milliseconds", type=float, default=500, help="of a turn, about")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", *OPENMP):
        os.environ.pop(name, None)
    for model in options.model or MODELS:
        overrides = [f"model={model}", f"data={options.data}", f"trainer.device={_CPU}"]
        compared = options.setting or list(settings())
        fixed = {name: started(overrides, environment) for name, environment in settings().items() if name in compared}
        for others in options.busy:
            with busy(others):
                runs = fixed | {CHOSEN: started(overrides, OPENMP)}
                iterations = max(1, round(options.milliseconds / runs[CHOSEN](3)))
                taken: dict[str, list[float]] = {name: [] for name in runs}
                for _ in range(options.rounds):
                    for name, run in runs.items():
                        taken[name].append(run(iterations))
            medians = {name: round(statistics.median(values), 2) for name, values in taken.items()}
            print(f"\n{model} beside {others} busy: milliseconds an iteration, and the best of all to it")
            for name, median in medians.items():
                print(f"{name:24} {median:9.1f} {min(medians.values()) / median:6.2f}", flush=True)
            row = {"model": model, "data": options.data, "busy": others, "milliseconds": medians}
            with appending(options.results) as file:
                file.write(json.dumps(row | {"machine": machine(_CPU)}) + "\n")


if __name__ == "__main__":
    main()
