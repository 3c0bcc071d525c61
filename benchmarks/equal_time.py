"""The quality of images after equal time on this machine: published recipes and recommended settings.

python -m benchmarks.equal_time --minutes 7 --run "experiment=keras_dcgan" --run "experiment=recommended model=dcgan"
python -m benchmarks.equal_time --processor-minutes 14 --run "model=dcgan" --seeds 0 1 2 3 4

Each run is stopped by the clock, including its start and its evaluations, and saves. gan-eval then draws 10,000 images
from its last checkpoint and evaluates them with two extractors; nothing was tuned on the second. A line for each run is
appended to benchmarks/equal_time.jsonl.

On a busy machine the clock says little: --processor-minutes stops a run on one thread by the processor time that it
took, --iterations after so many iterations.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from gan_runner.files import appending

RESULTS = Path(__file__).with_suffix(".jsonl")
EXTRACTORS = ("cnn", "cnn_b")
_SAVING = 120  # seconds that a stopped run may take to save


def trained(
    overrides: list[str], folder: Path, minutes: float | None = None, processor_minutes: float | None = None
) -> dict[str, Any]:
    """Train until one of these times is over, or to the end; gives the run's summary."""
    command = [sys.executable, "-m", "gan_runner", *overrides, f"hydra.run.dir={folder}", "trainer.progress=false"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            time.sleep(0.1)
            if (minutes and time.monotonic() - began > 60 * minutes) or (
                processor_minutes and processor_seconds(run.pid) > 60 * processor_minutes
            ):
                run.send_signal(signal.SIGTERM)
                run.wait(_SAVING)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def processor_seconds(process: int) -> float:
    """User and system time of a process so far; 0 for one that has ended."""
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


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
    length.add_argument("--processor-minutes", type=float, help="trains on one thread")
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
                if options.processor_minutes:
                    overrides.append("trainer.threads=1")
                summary = trained(overrides, folder, options.minutes, options.processor_minutes)
                row = {"run": typed, "data": options.data, "seed": seed, "minutes": options.minutes}
                row |= {"processor_minutes": options.processor_minutes} if options.processor_minutes else {}
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
