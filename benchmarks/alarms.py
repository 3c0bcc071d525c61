"""Whether alarms are raised for injected faults and for nothing else: a table of faulty and healthy runs.

    python -m benchmarks.alarms --models mlp dcgan --data digits fashion_mnist --seeds 0 1 2 --iterations 1400
    python -m benchmarks.alarms --faults d_lr_0 healthy --set trainer.batch_size=32
    python -m benchmarks.alarms --table

Each cell is one `gan-run` and one line in benchmarks/alarms.jsonl, appended when it ends. A stopped search can be
resumed: existing cells are not run again. `--set health.on_alarm=stop` ends a cell at its first alarm, which must then
be the one that names the fault.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.step import configured
from gan_runner.data.image_set import InMemoryImages
from gan_runner.ranges import Count, Positive

RESULTS = Path(__file__).with_name("alarms.jsonl")
_COMMAND = "from gan_runner.commands.main import run; run()"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a run.

    Attributes:
        overrides: plant it; a value of x100 stands for a hundred times what the run would have.
        advice: what an alarm's message must say, such as the key at fault with a value to try, or the alarm's name
            where no key is; None where nothing is wrong and no alarm may ring.
    """

    overrides: str
    advice: str | None = None


_EVALUATED = "evaluation=fast trainer.intervals_in=iterations trainer.sample_every=300 trainer.checkpoint_every=1000"

FAULTS = {
    "d_lr_0": Fault("optimizer.d.lr=0", "optimizer.d.lr=0.0002"),
    "d_lr_x100": Fault("optimizer.d.lr=x100", "optimizer.d.lr=0.0002"),
    "g_lr_0": Fault("optimizer.g.lr=0", "optimizer.g.lr=0.0002"),
    "g_lr_x100": Fault("optimizer.g.lr=x100", "optimizer.g.lr=0.0002"),
    "lr_10": Fault("optimizer.lr=10", "optimizer.lr=0.0002"),
    "lr_1e-7": Fault("optimizer.lr=1e-7", "optimizer.lr=0.0002"),
    "dropout_0.9": Fault("model.dropout=0.9", "model.dropout=0.3"),
    "batch_2": Fault("trainer.batch_size=2", "trainer.batch_size=64"),
    "latent_1": Fault("model.latent_dim=1", "model.latent_dim=100"),
    "deaf": Fault("latent.std=1e-9", "latent.std=1"),
    "two_pictures": Fault("latent._target_=benchmarks.alarms.TwoLatents", "collapse"),
    "labels_nan": Fault("labels.real.value=nan", "labels.real.value=1"),
    "labels_swapped": Fault("labels.real.value=0 labels.fake.value=1", "labels.real.value=1"),
    "labels_flipped": Fault("labels.flip=0.5", "labels.flip=0"),
    "noise": Fault("data._target_=benchmarks.alarms.noise", "the files that data names"),
    "constant": Fault("data._target_=benchmarks.alarms.constant", "the files that data names"),
    "ac_gan": Fault(
        "game=conditional game.conditioning=ac_gan game.classifier_weight=10 evaluation=fast",
        "classes are easier to recognise than in real images",
    ),
    "healthy": Fault(""),
    "healthy_smooth": Fault("labels=smooth"),
    "healthy_ema_0.999": Fault("trainer.ema=0.999"),
    "healthy_ema_0.9999": Fault("trainer.ema=0.9999"),
    "healthy_d_warmup": Fault("schedule.d_warmup=1000"),
    "healthy_ttur": Fault("optimizer=ttur"),
    "healthy_hinge": Fault("loss=hinge"),
    "healthy_evaluated": Fault(_EVALUATED),
    "healthy_by_class": Fault(f"game=conditional {_EVALUATED}"),
}


# ---- planted parts --------------------------------------------------------------------------------------


class TwoLatents:
    """A latent distribution that knows two latents, so that G draws two pictures.

    Args:
        dim: size of a latent.
        std: of the two, each drawn from N(0, std^2).
    """

    def __init__(self, dim: Count, std: Positive) -> None:
        self.dim = dim
        self._both = torch.randn(2, dim, generator=torch.Generator().manual_seed(0)) * std

    def sample(self, n: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` latents, float32 [n, dim]."""
        which = torch.randint(2, (n,), device=device, generator=generator)
        return self._both.to(device)[which]


def noise(image_size: Count, limit: Count | None) -> InMemoryImages:
    """Images of independent pixels."""
    shape = (limit or 1797, 1, image_size, image_size)
    pixels = torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).byte()
    return InMemoryImages("noise", pixels, None, ())


def constant(image_size: Count, limit: Count | None) -> InMemoryImages:
    """Images of one grey."""
    return InMemoryImages("constant", torch.full((limit or 1797, 1, image_size, image_size), 90).byte(), None, ())


# ---- cells ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One run of the matrix."""

    fault: str
    model: str
    data: str
    seed: int
    iterations: int
    also: str
    experiment: str | None

    @property
    def overrides(self) -> list[str]:
        """What is typed."""
        chosen = [f"model={self.model}", f"data={self.data}", f"seed={self.seed}"]
        chosen += [f"experiment={self.experiment}"] if self.experiment else []
        length = [f"trainer.iterations={self.iterations}", "evaluation=off", "trainer.progress=false"]
        healthy = [*chosen, *length, *self.also.split()]
        return [*healthy, *(_worked_out(override, healthy) for override in FAULTS[self.fault].overrides.split())]

    @property
    def planted_data(self) -> bool:
        """Whether the fault brings its own data, and so need not be planted into each set."""
        return any(override.startswith("data.") for override in FAULTS[self.fault].overrides.split())


def _worked_out(override: str, healthy: Sequence[str]) -> str:
    """An override with x100 put into a number."""
    key, value = override.split("=", 1)
    if value != "x100":
        return override
    return f"{key}={100 * OmegaConf.select(configured(*healthy), key):g}"


def run(cell: Cell, keep: Path | None) -> dict[str, Any]:
    """Run a cell; gives its line for the results."""
    with tempfile.TemporaryDirectory() as scratch:
        name = f"{cell.fault}-{cell.experiment}-{cell.model}-{cell.data}-{cell.seed}-{cell.iterations}"
        folder = keep / name if keep else Path(scratch) / "run"
        command = [sys.executable, "-c", _COMMAND, *cell.overrides, f"hydra.run.dir={folder.absolute()}"]
        here = os.environ | {"PYTHONPATH": "."}  # for the planted parts
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=here)
        if not (folder / "summary.json").exists():
            raise SystemExit(f"{' '.join(cell.overrides)}\n{ended.stdout}{ended.stderr}")
        summary = json.loads((folder / "summary.json").read_text())
        ending = {"status": summary["status"], "error": summary.get("error")}
    return asdict(cell) | ending | {"alarms": summary["alarms"]}


def passed(line: dict[str, Any]) -> bool:
    """Whether a faulty run raised an alarm that names the cause, or a healthy run raised none."""
    advice = FAULTS[line["fault"]].advice
    if advice is None:
        return not line["alarms"]
    return any(advice in alarm["message"] for alarm in line["alarms"])


def known() -> list[dict[str, Any]]:
    """The cells that have been run."""
    return [json.loads(row) for row in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each fault: how many of its cells passed, and at which iteration each alarm was first raised."""
    rows = ["| fault | passed | alarms (iteration) |", "|---|---|---|"]
    for name in FAULTS:
        cells = [line for line in lines if line["fault"] == name]
        if cells:
            raised: dict[str, list[int]] = {}
            for alarm in itertools.chain.from_iterable(line["alarms"] for line in cells):
                raised.setdefault(alarm["name"], []).append(alarm["iteration"])
            first = sorted((min(at), alarm) for alarm, at in raised.items())
            said = ", ".join(f"{alarm} ({iteration})" for iteration, alarm in first)
            rows.append(f"| {name} | {sum(map(passed, cells))} of {len(cells)} | {said or 'none'} |")
    return "\n".join(rows)


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """The cells that were asked for, those of different faults first."""
    for seed, data, model, fault in itertools.product(options.seeds, options.data, options.models, options.faults):
        yield Cell(fault, model, data, seed, options.iterations, " ".join(options.set), options.experiment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--experiment", default="recommended", type=lambda name: None if name == "null" else name)
    parser.add_argument("--models", nargs="+", default=["mlp", "dcgan"])
    parser.add_argument("--data", nargs="+", default=["digits", "fashion_mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=1400)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further overrides of every cell")
    parser.add_argument("--keep", type=Path, help="a folder to keep the runs in")
    parser.add_argument("--table", action="store_true", help="run nothing")
    options = parser.parse_args()
    done = {Cell(**{name: line[name] for name in Cell.__annotations__}) for line in known()}
    for cell in cells(options):
        if options.table or cell in done or (cell.planted_data and cell.data != options.data[0]):
            continue
        line = run(cell, options.keep)
        with RESULTS.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print("as it should" if passed(line) else "NOT as it should", " ".join(cell.overrides), flush=True)
    print(table(known()))


if __name__ == "__main__":
    main()
