"""The cost of everything around the training step: logging, samples, checkpoints, evaluation and alarms.

    python -m benchmarks.whole_run --data fashion_mnist --epochs 10

Two equal experiments alternate, one epoch at a time: one as `gan-run` trains it with its default intervals, the other
with the same steps and nothing else. Then the command itself, in separate processes: the time until its first iteration
is in metrics.jsonl, and its peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from benchmarks.step import composed, our_step, synchronise
from gan_runner.record.journal import RunJournal
from gan_runner.record.loggers import RunToLog
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.loop import Run

COMMAND = [sys.executable, "-c", "from gan_runner.commands.main import run; run()"]


def overhead(folder: Path, overrides: list[str], epochs: int) -> tuple[float, float]:
    """Seconds of the whole, and of the bare steps."""
    whole, bare = composed(*overrides), composed(*overrides)
    bare_step = our_step(bare)
    directory = RunFolder(folder)
    seconds = [0.0, 0.0]
    with (
        contextlib.closing(directory),
        contextlib.closing(whole.logger.open(RunToLog(folder))) as run_log,
        tqdm(disable=True) as bar,
    ):
        run = Run(whole, RunJournal(directory, run_log, bar, whole.settings.sample_columns))
        iterations = (whole.timetable.iterations(run.progress) or 0) // epochs

        def iterate() -> None:
            if (due := run.play_turn()).log:
                run.log_point(due)

        for _ in range(epochs):
            for index, step in enumerate((iterate, bare_step)):
                start = time.perf_counter()
                for _ in range(iterations):
                    step()
                directory.finish_writing()
                synchronise(whole.compute.device)
                seconds[index] += time.perf_counter() - start
        start = time.perf_counter()
        run.write_timeline()
        seconds[0] += time.perf_counter() - start
    return seconds[0], seconds[1]


def first_iteration(overrides: list[str]) -> float:
    """Seconds from the command to the first line of its record."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "run/metrics.jsonl"
        command = [*COMMAND, *overrides, "hydra.run.dir=run", "trainer.log_every=1"]
        start = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not (record.exists() and record.stat().st_size):
                if process.poll() is not None:
                    raise ChildProcessError(f"{command} ended before its first iteration")
                time.sleep(0.01)
            seconds = time.perf_counter() - start
            process.terminate()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--starts", type=int, default=5, help="how often the start is timed")
    parser.add_argument("overrides", nargs="*", help="further overrides, such as model=dcgan")
    options = parser.parse_args()
    overrides = [f"data={options.data}", f"trainer.epochs={options.epochs}", *options.overrides]
    with tempfile.TemporaryDirectory() as name:
        whole, bare = overhead(Path(name), overrides, options.epochs)
        print(f"whole run {whole:.1f} s, bare steps {bare:.1f} s: {(whole - bare) / whole:.1%} for all the rest")
    starts = [first_iteration(overrides) for _ in range(options.starts)]
    print(f"first iteration {statistics.median(starts):.1f} s after the command, at most {max(starts):.1f} s")
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([*COMMAND, *overrides, "trainer.epochs=1"], cwd=name, check=True, capture_output=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"peak memory of a run: {peak:,.0f} MiB")


if __name__ == "__main__":
    main()
