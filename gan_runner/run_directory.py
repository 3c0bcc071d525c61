"""What a run leaves on disk: checkpoints, pictures, metrics and a summary.

Files are written whole or not at all, off the training loop where they are large, and none is ever deleted.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from gan_runner.errors import UserError
from gan_runner.pictures import Pixels, animation, first_middle_last, grid, save_atomically, timeline

CheckpointName = Literal["last", "best"]
_SAMPLE = "iteration_{:08d}.png"


class RunDirectory:
    """The folder of one run.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run-directory")
        self._pending: list[Future[None]] = []

    def refuse_if_taken(self, key: str) -> None:
        """Refuse to start a run where one is already.

        Args:
            key: what chose the folder, for the message.

        Raises:
            UserError: a run has left its summary here.
        """
        if (self.path / "summary.json").exists():
            raise UserError(
                f"{key} is {self.path}, but there is a run already, and runs are not written over.",
                f"Try resume={self.path} to go on with it, or another {key}.",
            )

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
        for needed in (".hydra/config.yaml", ".hydra/overrides.yaml", "checkpoints/last.pt"):
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
        return [str(line) for line in OmegaConf.load(self.path / ".hydra/overrides.yaml")]

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
        """Add a line to metrics.jsonl; numbers that JSON does not know are written as text ("nan")."""
        line = {key: value if math.isfinite(value) else str(value) for key, value in point.items()}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def rewind_metrics(self, iteration: int) -> None:
        """Make metrics.jsonl end at a checkpoint's iteration; what came later moves to metrics.abandoned.jsonl."""
        points = self.read_metrics()
        later = [json.dumps(point) + "\n" for point in points if point["iteration"] > iteration]
        if later:
            with (self.path / "metrics.abandoned.jsonl").open("a") as file:
                file.writelines(later)
        kept = "".join(json.dumps(point) + "\n" for point in points if point["iteration"] <= iteration)
        _write_atomically(self.path / "metrics.jsonl", kept)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        _write_atomically(self.path / "summary.json", json.dumps(summary, indent=2) + "\n")

    def save_checkpoint(self, state: Mapping[str, Any], names: list[CheckpointName]) -> None:
        """Replace checkpoints in the background; nothing may change `state` after this call."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)

        def write() -> None:
            for name in names:
                temporary = folder / f".{name}.pt"
                with temporary.open("wb") as file:
                    torch.save(state, file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(folder / f"{name}.pt")

        self.in_background(write)

    def save_samples(self, images: Pixels, columns: int, iteration: int) -> None:
        """Write the grid of an iteration in the background."""
        path = self.path / "samples" / _SAMPLE.format(iteration)
        path.parent.mkdir(exist_ok=True)
        self.in_background(lambda: save_atomically(grid(images, columns), path))

    def write_timeline(self, captions: Mapping[int, str]) -> None:
        """Write timeline.png and timeline.gif from the grids so far, each under its caption or its iteration."""
        self.finish_writing()
        paths = sorted((self.path / "samples").glob("iteration_*.png"))
        if not paths:
            return
        frames = []
        for path in paths:
            iteration = int(path.stem.removeprefix("iteration_"))
            with Image.open(path) as picture:
                frames.append((captions.get(iteration, f"iteration {iteration:,}"), picture.copy()))
        save_atomically(timeline(first_middle_last(frames)), self.path / "samples/timeline.png")
        animation(frames, self.path / "samples/timeline.gif")

    def in_background(self, work: Callable[[], None]) -> None:
        """Do some writing beside the training, in the order of the calls; raises what an earlier one raised."""
        for done in [future for future in self._pending if future.done()]:
            self._pending.remove(done)
            done.result()
        self._pending.append(self._writer.submit(work))

    def finish_writing(self) -> None:
        """Wait for what is being written; raises what it raised."""
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()

    def close(self) -> None:
        """Wait for what is being written and let go of the thread."""
        self._writer.shutdown(wait=True)


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
