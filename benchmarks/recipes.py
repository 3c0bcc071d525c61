"""The results of the published recipes on Fashion-MNIST: runs the commands in the table of docs/recipes.md.

python -m benchmarks.recipes
python -m benchmarks.recipes --iterations 2 --results recipes.jsonl

Each command runs in its own process and appends a line to benchmarks/recipes.jsonl: D accuracy and the means of D(x)
and D(G(z)) over the last logging interval, the best objective, and the alarms.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from gan_runner.files import appending

PAGE = Path(__file__).parent.parent / "docs/recipes.md"
RESULTS = Path(__file__).with_suffix(".jsonl")
_COMMAND = re.compile(r"^\| `gan-run (experiment=[^`]+)`", re.MULTILINE)


def outcome(overrides: list[str], folder: Path) -> dict[str, Any]:
    """Train a recipe on Fashion-MNIST in a folder, and give what came out.

    Raises:
        subprocess.CalledProcessError: the run failed.
    """
    command = [sys.executable, "-m", "gan_runner", *overrides, f"hydra.run.dir={folder}", "trainer.progress=false"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    last = json.loads((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    numbers = {key: last[key] for key in ("accuracy/d", "probability/real", "probability/fake")}
    numbers[f"best {summary['objective_name']}"] = summary["objective"]
    return {
        "iterations": summary["iterations"],
        "precision": summary["precision"],
        "metrics": {key: round(value, 4) for key, value in numbers.items() if value is not None},
        "alarms": [alarm["name"] for alarm in summary["alarms"]],
        "torch": summary["versions"]["torch"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, help="instead of the lengths on the page")
    parser.add_argument("--only", default="", help="commands that have this word")
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for typed in _COMMAND.findall(PAGE.read_text(encoding="utf-8")):
        if options.only not in typed:
            continue
        overrides = [*typed.split(), f"data={options.data}"]
        if options.iterations:
            overrides += [f"trainer.iterations={options.iterations}", "data.limit=512", "evaluation=pixels"]
        with tempfile.TemporaryDirectory() as scratch:
            row = {"run": typed, "data": options.data} | outcome(overrides, Path(scratch, "run"))
        with appending(options.results) as file:
            file.write(json.dumps(row) + "\n")
        print(typed, row["metrics"], row["alarms"], flush=True)


if __name__ == "__main__":
    main()
