r"""How near drawn images come to the true ones after equal time: pix2pix as published beside what we recommend.

    python -m benchmarks.pairs --seconds 60 --name edges --data "data.dataset=fashion_mnist data.transform=edges" \
        --run experiment=pix2pix --run experiment=pix2pix_recommended
    python -m benchmarks.pairs --seconds 60 --name colours \
        --data "data=paired_folder data.root=black data.other_root=color data.holdout=0.1 data.image_size=32" \
        --run experiment=pix2pix --run experiment=pix2pix_recommended

Each run has as many iterations as fit into so many seconds of one processor, by the pace of its first ones: other
programs on the machine change that little. The last of them is judged by held-out pairs. A line for each run is
appended to benchmarks/pairs.jsonl.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

import gan_runner
from benchmarks.step import composed, our_step
from gan_runner.files import appending

RESULTS = Path(__file__).with_suffix(".jsonl")
_PACED = 8  # iterations
_NAMES = ("l1", "ssim", "frechet")


def pace(overrides: list[str]) -> float:
    """Seconds of the processor that an iteration takes."""
    step = our_step(composed(*(word for word in overrides if not word.startswith("evaluation")), "evaluation=off"))
    for _ in range(_PACED):
        step()
    start = time.process_time()
    for _ in range(_PACED):
        step()
    return (time.process_time() - start) / _PACED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="of one processor, for training")
    parser.add_argument("--name", required=True, help="of the pairs")
    parser.add_argument("--data", required=True, help="overrides that choose them, in one word")
    parser.add_argument("--run", action="append", required=True, help="overrides of one run, in one word")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for seed in options.seeds:
        for typed in options.run:
            words = [*typed.split(), *options.data.split(), f"seed={seed}", "trainer.threads=1", "trainer.device=cpu"]
            iterations = max(1, round(options.seconds / pace(words)))
            lengths = [f"trainer.iterations={iterations}", "trainer.intervals_in=iterations"]
            due = [f"trainer.{name}_every={iterations}" for name in ("sample", "checkpoint")]
            with tempfile.TemporaryDirectory() as scratch:
                where = f"hydra.run.dir={scratch}/run"
                run = gan_runner.train(*words, *lengths, *due, where, quiet=True)
                baselines = run.summary["real"]["baselines"]
                row = {"pairs": options.name, "run": typed, "seed": seed, "seconds": options.seconds}
                row |= {
                    "iterations": run.summary["iterations"],
                    "alarms": [alarm["name"] for alarm in run.summary["alarms"]],
                }
                for key, found in {"metrics": run.metrics, **baselines}.items():
                    tags = {name: tag for tag in found for name in _NAMES if tag.startswith(f"metric/{name}_")}
                    row[key] = {name: round(found[tag], 4) for name, tag in tags.items()}
            with appending(options.results) as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
