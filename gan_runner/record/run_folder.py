"""What a run leaves on disk: checkpoints, pictures, metrics and a summary.

Files are written whole or not at all, off the training loop where they are large, and none is ever deleted.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import IO, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from gan_runner.errors import UserError
from gan_runner.record.atomic import replacing
from gan_runner.record.pictures import Pixels, animation, first_middle_last, grid, save_atomically, timeline

log = logging.getLogger(__name__)

_LOG = "gan-run.log"  # the file of hydra.job.name in conf/config.yaml
_CLAIM = "Process %s writes to %s"
CheckpointName = Literal["last", "best"]
_LAST = "checkpoints/last.pt"
_SAMPLE = "iteration_{:08d}.png"
_MOST_PENDING = 4  # writings in the background that wait for their turn


class RunDirectory:
    """The folder of one run.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run-directory")
        self._pending: list[Future[None]] = []
        self._lock: IO[str] | None = None

    def claim(self, key: str, *, new: bool) -> None:
        """Keep every other process from training in this folder until it is closed, or this process ends.

        Args:
            key: what chose the folder, for the message.
            new: a run begins here, so there must be none yet.

        Raises:
            UserError: another process trains here, or a new run would write over one.
        """
        # The lock lies on the log, which every run has, and goes with the process however that ends.
        self._lock = (self.path / _LOG).open("a")
        if not _locked(self._lock):
            raise UserError(
                f"{key} is {self.path}, but that run is being trained by process {self._process()}.",
                f"Wait until it has ended, or try another {key}.",
            )
        if new and (self.path / "summary.json").exists():
            raise UserError(
                f"{key} is {self.path}, but there is a run already, and runs are not written over.",
                f"Try resume={self.path} to go on with it, or another {key}.",
            )
        log.info(_CLAIM, os.getpid(), self.path)

    def _process(self) -> str:
        """The process that claimed the folder last, as the log tells."""
        said = re.findall(_CLAIM % (r"(\d+)", ""), (self.path / _LOG).read_text())
        return said[-1] if said else "unknown"

    # ---- reading ----------------------------------------------------------------------------------------

    @classmethod
    def of_run(cls, path: str, key: str) -> RunDirectory:
        """Open the folder of an earlier run.

        Args:
            path: what the user typed.
            key: where it was typed, for the message.

        Raises:
            UserError: there is no such folder, or no run has left its config and a checkpoint there.
        """
        folder = Path(path)
        remedy = f"Try {key}=outputs/DATE/TIME, or a job's folder below multirun/DATE/TIME."
        if not folder.is_dir():
            raise UserError(f"{key} is {path}, but there is no such folder.", remedy)
        for needed in (".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", _LAST):
            if not (folder / needed).is_file():
                raise UserError(f"{key} is {path}, but that is no folder of a run: it has no {needed}.", remedy)
        return cls(folder)

    def config(self) -> DictConfig:
        """The run's composed config."""
        config = OmegaConf.load(self.path / ".hydra/config.yaml")
        assert isinstance(config, DictConfig)
        return config

    def overrides(self) -> list[str]:
        """What was typed to compose it."""
        typed = OmegaConf.to_container(OmegaConf.load(self.path / ".hydra/overrides.yaml"), resolve=False)
        assert isinstance(typed, list)
        return [str(override) for override in typed]

    def config_folders(self) -> list[str]:
        """Where the config was looked for besides this package, as Hydra's search path names it."""
        hydra = OmegaConf.load(self.path / ".hydra/hydra.yaml").hydra
        return [
            f"{source.schema}://{source.path}"
            for source in hydra.runtime.config_sources
            if source.provider.endswith("command-line")
        ]

    def data_root(self) -> Path | None:
        """Where the run, started in another folder, found its data, if that is not where data.root leads from here."""
        hydra = OmegaConf.load(self.path / ".hydra/hydra.yaml").hydra
        root = OmegaConf.select(self.config(), "data.root", throw_on_resolution_failure=False)
        if not isinstance(root, str) or Path(root).expanduser().exists():
            return None
        there = Path(hydra.runtime.cwd, root)
        return there if there.exists() else None

    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return (self.path / _LAST).is_file()

    def load_checkpoint(self, name: CheckpointName, device: torch.device) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            UserError: there is none of that name, or it cannot be read.
        """
        path = self.path / "checkpoints" / f"{name}.pt"
        if not path.is_file():
            raise UserError(
                f"checkpoint is {name}, but {path} is not there: evaluation=off keeps no best checkpoint.",
                "Try checkpoint=last.",
            )
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:  # torch raises whatever the broken byte led it to
            raise UserError(f"{path} cannot be read as a checkpoint: {error}", "Try another run's folder.") from error
        return state

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, oldest first; a half-written last one is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def read_summary(self) -> dict[str, Any]:
        """The last summary, {} before the first."""
        path = self.path / "summary.json"
        summary: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        return summary

    # ---- writing ----------------------------------------------------------------------------------------

    def append_metrics(self, point: Mapping[str, float]) -> None:
        """Add a line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(_as_json(dict(point)) + "\n")

    def rewind_metrics(self, iteration: int) -> None:
        """Make metrics.jsonl end at a checkpoint's iteration; what came later moves to metrics.abandoned.jsonl."""
        points = self.read_metrics()
        later = [json.dumps(point) + "\n" for point in points if point["iteration"] > iteration]
        if later:
            with (self.path / "metrics.abandoned.jsonl").open("a") as file:
                file.writelines(later)
        kept = "".join(json.dumps(point) + "\n" for point in points if point["iteration"] <= iteration)
        _write_atomically(self.path / "metrics.jsonl", kept)

    def write_config(self, config: DictConfig, hydra: object, overrides: Sequence[str]) -> None:
        """Write or replace what `config`, `config_folders` and `overrides` read, where Hydra itself would write it."""
        folder = self.path / ".hydra"
        folder.mkdir(exist_ok=True)
        for name, content in (("config", config), ("hydra", hydra), ("overrides", overrides)):
            _write_atomically(folder / f"{name}.yaml", OmegaConf.to_yaml(content))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        _write_atomically(self.path / "summary.json", _as_json(dict(summary), indent=2) + "\n")

    def save_checkpoint(self, state: Mapping[str, Any], names: Sequence[CheckpointName]) -> None:
        """Replace checkpoints in the background; nothing may change `state` after this call."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)

        def write() -> None:
            for name in names:
                # Not by its name: PyTorch's own file would outlive a failure, and keep a full disk full.
                with replacing(folder / f"{name}.pt") as temporary, temporary.open("wb") as file:
                    torch.save(state, file)

        self.in_background(write)

    def save_samples(self, images: Pixels, columns: int, iteration: int) -> None:
        """Write the grid of an iteration in the background."""
        path = self.path / "samples" / _SAMPLE.format(iteration)
        path.parent.mkdir(exist_ok=True)
        self.in_background(lambda: save_atomically(grid(images, columns), path))

    def write_timeline(self, captions: Mapping[int, str], until: int) -> None:
        """Write timeline.png and timeline.gif from the grids so far, each under its caption or its iteration.

        Args:
            captions: by iteration.
            until: the last iteration. A start that was killed may have drawn later ones, which are no part of the run.
        """
        self.finish_writing()
        frames = []
        for path in sorted((self.path / "samples").glob("iteration_*.png")):
            iteration = int(path.stem.removeprefix("iteration_"))
            if iteration > until:
                continue
            with Image.open(path) as picture:
                frames.append((captions.get(iteration, f"iteration {iteration:,}"), picture.copy()))
        if not frames:
            return
        save_atomically(timeline(first_middle_last(frames)), self.path / "samples/timeline.png")
        animation(frames, self.path / "samples/timeline.gif")

    def in_background(self, work: Callable[[], None]) -> None:
        """Do some writing beside the training, in the order of the calls; raises what an earlier one raised.

        Where the disk is slow, this waits: what is to be written is kept in memory until then.
        """
        while self._pending and (self._pending[0].done() or len(self._pending) >= _MOST_PENDING):
            self._pending.pop(0).result()
        self._pending.append(self._writer.submit(work))

    def finish_writing(self) -> None:
        """Wait for what is being written; raises what it raised."""
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def settle(self) -> None:
        """Wait for what is being written, whatever becomes of it."""
        wait(self._pending)

    def abandon(self) -> None:
        """Give up what is to be written and has not begun."""
        self._writer.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for what is being written, and let go of the thread and of the folder."""
        self._writer.shutdown(wait=True)
        if self._lock is not None:
            self._lock.close()


def _locked(file: IO[str]) -> bool:
    """Lock a file as long as it is open; False where another process has."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s cannot be locked, so nothing keeps a second run from writing there: %s", file.name, error)
    return True


def _write_atomically(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def _as_json(value: Any, indent: int | None = None) -> str:
    """JSON that any parser reads: the numbers that JSON does not know are written as text ("nan")."""
    return json.dumps(_finite_or_text(value), indent=indent, allow_nan=False)


def _finite_or_text(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _finite_or_text(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite_or_text(inner) for inner in value]
    return value
