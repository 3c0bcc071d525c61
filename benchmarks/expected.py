"""Milliseconds an iteration and peak memory of the recommended settings, by model and size of the images.

python -m benchmarks.expected
python -m benchmarks.expected --device cuda --only dcgan

Each setting is measured in a process of its own, so that its peak memory is its own. A line for each is appended to
benchmarks/expected.jsonl; docs/times.md has them. An iteration is an update of D and one of G, without what happens at
log points.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.step import composed, machine, our_step
from gan_runner.files import appending
from gan_runner.machine.memory import peak_memory

RESULTS = Path(__file__).with_suffix(".jsonl")
SETTINGS = (
    "model=mlp data=digits",
    "model=mlp data=emoji",
    "model=dcgan data=digits",
    "model=dcgan data=emoji",
    "model=dcgan data=emoji data.image_size=64",
    "model=dcgan data=emoji data.image_size=128",
    "model=resnet data=digits",
    "model=resnet data=emoji",
    "model=resnet data=emoji data.image_size=64",
)
_WARM_UP = 8  # iterations; penalties that are applied every 8th update have had their first by then


def measured(setting: str, device: str, iterations: int) -> dict[str, object]:
    """Time iterations in this process: the median of two halves, for penalties are applied every few updates only."""
    experiment = composed("experiment=recommended", f"trainer.device={device}", *setting.split())
    step = our_step(experiment)
    halves = []
    for count in (_WARM_UP, iterations, iterations):
        start = time.perf_counter()
        for _ in range(count):
            step()
        experiment.step.read_g()  # waits for the device
        halves.append(1000 * (time.perf_counter() - start) / count)
    peak = torch.cuda.max_memory_allocated() if device.startswith("cuda") else peak_memory()
    return {
        "setting": setting,
        "image": list(experiment.images.shape),
        "batch": experiment.settings.batch_size,
        "milliseconds": round(statistics.median(halves[1:]), 2),
        "megabytes": round(peak / 1e6),
        "precision": experiment.compute.precision,
        "threads": torch.get_num_threads(),
        "machine": machine(torch.device(device)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--only", default="", help="settings that have this text")
    parser.add_argument("--setting", help="measure this one here, and print it as JSON")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.setting:
        print(json.dumps(measured(options.setting, options.device, options.iterations)))
        return
    for setting in SETTINGS:
        if options.only not in setting:
            continue
        command = [sys.executable, "-m", "benchmarks.expected", "--setting", setting, "--device", options.device]
        command += ["--iterations", str(options.iterations)]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        with appending(options.results) as file:
            file.write(line + "\n")
        row = json.loads(line)
        print(setting, row["milliseconds"], "ms,", row["megabytes"], "MB", flush=True)


if __name__ == "__main__":
    main()
