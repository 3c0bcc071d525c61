"""How much faster two processes train a run than one process with one thread, and than one with two threads.

    python -m benchmarks.processes --recipe keras_dcgan --iterations 10 --rounds 3

They alternate. Each is a run started by torchrun with the same global batches. A run's speed is the median over its
log points, without the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_POINTS = 5
_ALONE = "one process"
_WAYS = {_ALONE: (1, 1), "two processes": (2, 1), "one process, two threads": (1, 2)}


def images_per_second(processes: int, threads: int, iterations: int, overrides: list[str]) -> float:
    """Train with so many processes, and threads in each; gives their speed together."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    lengths = [f"trainer.iterations={_POINTS * iterations}", f"trainer.log_every={iterations}"]
    command = [sys.executable, "-m", *torchrun, "-m", "gan_runner", *overrides, *lengths, "hydra.run.dir=run"]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        points = [json.loads(line) for line in (Path(folder) / "run/metrics.jsonl").read_text().splitlines()]
    return float(statistics.median(point["speed/images_per_second"] for point in points[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="keras_dcgan")
    parser.add_argument("--iterations", type=int, default=10, help="from one log point to the next")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=list(_WAYS), action="append", help="default: all; one process is always there")
    parser.add_argument("overrides", nargs="*", help="further overrides, such as trainer.batch_size=256")
    options = parser.parse_args()
    quiet = ["evaluation=off", "trainer.intervals_in=iterations", "trainer.sample_every=1000000"]
    overrides = [f"experiment={options.recipe}", *quiet, *options.overrides]
    speeds: dict[str, list[float]] = {name: [] for name in dict.fromkeys([_ALONE, *(options.way or _WAYS)])}
    for _ in range(options.rounds):
        for name in speeds:
            speeds[name].append(images_per_second(*_WAYS[name], options.iterations, overrides))
            print(f"{name}: {speeds[name][-1]:,.0f} images/s", flush=True)
    alone = statistics.median(speeds[_ALONE])
    for name, found in speeds.items():
        print(f"{options.recipe}, {name}: {statistics.median(found) / alone:.2f} times the speed of one process")


if __name__ == "__main__":
    main()
