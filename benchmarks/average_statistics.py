"""How much separate batch norm statistics improve the average of G, and how many latents they need.

python -m benchmarks.average_statistics --seeds 0 1 2

Trains `model=dcgan data=fashion_mnist` and evaluates several checkpoints: 5,000 images of the average against 5,000
real ones, with G's running statistics and with statistics of several numbers of latents. A line for each checkpoint is
appended to benchmarks/average_statistics.jsonl.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from gan_runner.config.build import build_game, build_network, kind_of_checkpoint, load_images
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import cnn
from gan_runner.metrics.reference import reference_pictures
from gan_runner.optim.averages import MovingAverage
from gan_runner.record.checkpoint_files import CheckpointFiles
from gan_runner.training.sampler import STATISTICS_TO_WATCH, Sampler

RESULTS = Path(__file__).with_suffix(".jsonl")
RUN = ("model=dcgan", "data=fashion_mnist")
AT = (350, 500, 700)
PICTURES = 5_000
LATENTS = (STATISTICS_TO_WATCH, 2_048, 10_240)
CPU = torch.device("cpu")


def train(folder: Path, seed: int, iterations: int) -> None:
    """Train to the last of the iterations that are looked at, and keep every checkpoint on the way."""
    command = [sys.executable, "-m", "gan_runner", *RUN, f"seed={seed}", f"trainer.iterations={iterations}"]
    often = ["trainer.intervals_in=iterations", "trainer.checkpoint_every=50", f"trainer.sample_every={iterations}"]
    keep = ["trainer.keep=all", "trainer.progress=false", f"hydra.run.dir={folder}"]
    subprocess.run([*command, *often, *keep], check=True, stdout=subprocess.DEVNULL)


def drawing(config: DictConfig, state: Mapping[str, Any], latents: int | None) -> Sampler:
    """What draws with the average of a checkpoint, by statistics of so many latents; None is by those of G."""
    about, players = state["about"], state["players"]
    kind = kind_of_checkpoint(about)
    net = build_network(config, "generator", kind)
    of_g = {name: value for name, value in players["generator"]["net"].items() if "running" in name}
    net.load_state_dict({**players["average"], **of_g})
    average = MovingAverage(net, decay=0.0)
    if latents is not None:
        average.statistics_of = 0
    game = build_game(config, kind, CPU)
    return Sampler(game, net, _no_examples, config.seed, CPU, average, latents or 1)


def _no_examples(count: int) -> Any:
    raise AssertionError("this G knows no conditions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, help="where runs are kept, and found again; none by default")
    parser.add_argument("--iterations", type=int, nargs="+", default=AT, help="multiples of 50 but for the last")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    last = max(options.iterations)
    metrics = FeatureMetrics(cnn, ["frechet", "coverage"], 5, seed=0)
    real = None
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            folder = (options.folder or Path(scratch)) / str(seed)
            if not folder.exists():
                train(folder, seed, last)
            config = OmegaConf.load(folder / ".hydra/config.yaml")
            assert isinstance(config, DictConfig)
            if real is None:
                training = load_images(config)
                held_out = OmegaConf.merge(config, {"data": {"split": "test"}})
                assert isinstance(held_out, DictConfig)
                metrics.bind(training, load_images(held_out), CPU)
                real = metrics.statistics(reference_pictures(training, options.pictures))
            for iteration in options.iterations:
                name = "last" if iteration == last else str(iteration)
                state = CheckpointFiles(folder / "checkpoints").load(name, CPU)
                row: dict[str, Any] = {
                    "run": " ".join(RUN),
                    "seed": seed,
                    "iterations": iteration,
                    "frechet_cnn_5k": {},
                }
                row["coverage_cnn_5k"] = {}
                for latents in (None, *LATENTS):
                    sampler = drawing(config, state, latents)
                    numbers = metrics.measure(
                        sampler.draw(sampler.like_data("evaluation latents", options.pictures)), real
                    )
                    for number, value in numbers.items():
                        row[f"{number}_5k"]["of G" if latents is None else str(latents)] = round(value, 3)
                with options.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)


if __name__ == "__main__":
    main()
