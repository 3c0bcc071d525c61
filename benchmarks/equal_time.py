"""The quality of images after equal time on this machine: published recipes and recommended settings.

python -m benchmarks.equal_time --minutes 7 --run "experiment=keras_dcgan" --run "experiment=recommended model=dcgan"
python -m benchmarks.equal_time --iterations 2900 --run "model=dcgan" --seeds 0 1 2 3 4

Each run is stopped by the clock, including its start, and saves. gan-eval then draws 10,000 images from its last
checkpoint and evaluates them with two extractors; nothing was tuned on the second. A line for each run is appended to
benchmarks/equal_time.jsonl. On a busy machine give --iterations instead: as many as fit into that time when it is idle.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from gan_runner.files import appending

RESULTS = Path(__file__).with_suffix(".jsonl")
EXTRACTORS = ("cnn", "cnn_b")
_SAVING = 120  # seconds that a stopped run may take to save


def trained(overrides: list[str], minutes: float | None, folder: Path) -> dict[str, Any]:
    """Train for so long, or to the end; gives the run's summary."""
    command = [sys.executable, "-m", "gan_runner", *overrides, f"hydra.run.dir={folder}", "trainer.progress=false"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        try:
            run.wait(60 * minutes if minutes else None)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGTERM)
            run.wait(_SAVING)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def judged(folder: Path, extractor: str, pictures: int) -> dict[str, Any]:
    """What gan-eval says of a run's last checkpoint."""
    name = f"judged-{extractor}"
    subprocess.run(
        [
            *(sys.executable, "-c", "from gan_runner.commands.main import evaluate; evaluate()"),
            *(f"run={folder}", "checkpoint=last", f"num={pictures}", f"real={pictures}", f"output={name}"),
            f"metrics.extractor._target_=gan_runner.metrics.features.{extractor}",
            "metrics.numbers=[frechet,precision,recall,coverage]",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--iterations", type=int)
    parser.add_argument("--run", action="append", required=True, help="overrides of one run, in one word")
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    about = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    for seed in options.seeds:
        for typed in options.run:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch, "run")
                overrides = [*typed.split(), f"data={options.data}", f"seed={seed}"]
                if options.iterations:
                    overrides.append(f"trainer.iterations={options.iterations}")
                summary = trained(overrides, options.minutes, folder)
                row = {"run": typed, "data": options.data, "seed": seed, "minutes": options.minutes}
                row |= {key: summary[key] for key in ("iterations", "precision")}
                row["alarms"] = [alarm["name"] for alarm in summary["alarms"]]
                for extractor in EXTRACTORS:
                    found = judged(folder, extractor, options.pictures)
                    row["metrics"] = row.get("metrics", {}) | {k: round(v, 4) for k, v in found["metrics"].items()}
                    row["real"] = row.get("real", {}) | {k: round(v, 4) for k, v in found["real"].items()}
                with appending(options.results) as file:
                    file.write(json.dumps(row | {"machine": about}) + "\n")
                print(typed, {key: row[key] for key in ("seed", "iterations", "metrics", "alarms")}, flush=True)


if __name__ == "__main__":
    main()
