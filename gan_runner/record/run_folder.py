"""A run's folder: checkpoints, samples, metrics and a summary.

Files are written whole or not at all, off the training loop where they are large. Files that are read may be damaged
or untrusted: they are parsed as data, and a secondary file that cannot be read is renamed and does not stop the run.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from gan_runner import files
from gan_runner.errors import UserError
from gan_runner.files import appending, made_folder, refusals_explained, set_aside, write_text
from gan_runner.machine.shell import quoted
from gan_runner.record import links
from gan_runner.record.checkpoint_files import CheckpointFiles
from gan_runner.record.pictures import (
    MOST_FRAMES,
    Frame,
    Pixels,
    animation,
    evenly,
    first_middle_last,
    grid,
    opened_png,
    save_atomically,
    timeline,
)
from gan_runner.record.run_lock import lock_of

log = logging.getLogger(__name__)

LOG = "gan-run.log"  # the file of hydra.job.name in conf/config.yaml
CONFIG = ".hydra"
_CLAIM = "Process %s writes to %s"
_SAMPLE = "iteration_{:08d}.png"
_LARGEST_METRICS = _LARGEST_LOG = 128 * files.MEGABYTE
_LARGEST_SUMMARY = 16 * files.MEGABYTE
_LARGEST_UNSEEN = 2**25  # pixels of a grid that an earlier start has drawn
_PIXELS_IN_MEMORY = 2**27  # of all frames of a timeline, of which there are two copies while they are written
_MOST_PENDING = 4  # queued background writes


class RunFolder:
    """The folder of one run.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = CheckpointFiles(path / "checkpoints")
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run-folder")
        self._pending: list[Future[None]] = []
        self._lock = lock_of(path)
        self._checkpoint: Future[None] | None = None
        self._largest_grid = _LARGEST_UNSEEN  # pixels

    def claim(self, key: str, *, new: bool) -> None:
        """Lock the folder against other processes that train, until it is closed or this process ends.

        Args:
            key: what chose the folder, for the message.
            new: whether a new run begins here, so that there must be none yet.

        Raises:
            UserError: another process trains here, or a new run would write over one.
        """
        made_folder(self.path / CONFIG)
        try:
            unlocked = self._lock.take()
        except TimeoutError:
            raise UserError(
                f"{key} is {self.path}, but that run is being trained by process {self._process()}.",
                f"Wait until it has ended, or try another {key}.",
            ) from None
        if unlocked is not None:
            log.warning(
                "%s cannot be locked, so nothing keeps a second run from writing there: %s.", self.path, unlocked
            )
        if new and os.path.lexists(self.path / "summary.json"):
            raise UserError(
                f"{key} is {self.path}, but there is a run already, and runs are not overwritten.",
                f"Try {quoted(f'resume={self.path}')} to resume it, or another {key}.",
            )
        log.debug(_CLAIM, os.getpid(), self.path)
        log.info("Run folder: %s", self.path)

    def discard_unbegun(self) -> None:
        """Remove the folder of a run that never began, if it holds nothing but the log."""
        with contextlib.suppress(OSError, UserError):
            if [path.name for path in self.path.iterdir()] in ([], [LOG]):
                files.remove(self.path / LOG)
                self.path.rmdir()
                self.path.parent.rmdir()  # the day's, if it is empty now

    def _process(self) -> str:
        """The process that locked the folder last, according to the log."""
        with contextlib.suppress(OSError):
            log_so_far = files.read(self.path / LOG, _LARGEST_LOG).decode(errors="replace")
            said = re.findall(_CLAIM % (r"(\d+)", ""), log_so_far)
            if said:
                return str(said[-1])
        return "unknown"

    # ---- reading ----------------------------------------------------------------------------------------

    @classmethod
    def of_run(cls, path: str, key: str) -> RunFolder:
        """Open the folder of an earlier run.

        Args:
            path: what the user typed.
            key: where it was typed, for the message.

        Raises:
            UserError: there is no such folder, or no run has left its config and a checkpoint there, or something in
                it is neither a file nor a folder.
        """
        folder = Path(path)
        remedy = f"Try {key}=outputs/DATE/TIME, or a job's folder below multirun/DATE/TIME."
        if not folder.is_dir():
            raise UserError(f"{key} is {path}, but there is no such folder.", remedy)
        links.check_run(folder, key)
        if not files.is_file(folder / CONFIG / "config.yaml"):
            raise UserError(
                f"{key} is {path}, but that is not the folder of a run: it has no {CONFIG}/config.yaml.", remedy
            )
        opened = cls(folder)
        if not opened.checkpoints.any():
            raise UserError(
                f"{key} is {path}, but that run has saved no checkpoint (checkpoints/last.pt).",
                "Start it again: gan-run with the overrides in its .hydra/overrides.yaml.",
            )
        return opened

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, oldest first; a damaged file is renamed, a half-written line left out."""
        path = self.path / "metrics.jsonl"
        if not os.path.lexists(path):
            return []
        with refusals_explained(path, "read"):
            *lines, _ = files.read(path, _LARGEST_METRICS).decode(errors="replace").split("\n")
        points = [_as_point(line) for line in lines]
        good = [point for point in points if point is not None]
        if len(good) < len(points):
            aside = set_aside(path)
            log.warning("%s is damaged: it is renamed %s, and its readable lines are kept.", path, aside.name)
            write_text(path, "".join(_as_json(point) + "\n" for point in good))
        return good

    def read_summary(self) -> dict[str, Any]:
        """The last summary, {} before the first; a damaged one is renamed."""
        path = self.path / "summary.json"
        if not os.path.lexists(path):
            return {}
        with contextlib.suppress(ValueError, RecursionError), refusals_explained(path, "read"):
            summary = json.loads(files.read(path, _LARGEST_SUMMARY))
            if isinstance(summary, dict):
                return summary
        log.warning("%s is damaged: it is renamed %s.", path, set_aside(path).name)
        return {}

    # ---- writing ----------------------------------------------------------------------------------------

    def append_metrics(self, point: Mapping[str, float]) -> None:
        """Add a line to metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        with appending(path) as file:
            file.write(_as_json(dict(point)) + "\n")

    def rewind_metrics(self, iteration: int) -> None:
        """End metrics.jsonl at a checkpoint's iteration; later lines move to metrics.abandoned.jsonl."""
        points = self.read_metrics()
        later = [_as_json(point) + "\n" for point in points if point["iteration"] > iteration]
        abandoned = self.path / "metrics.abandoned.jsonl"
        if later:
            with appending(abandoned) as file:
                file.writelines(later)
        kept = "".join(_as_json(point) + "\n" for point in points if point["iteration"] <= iteration)
        write_text(self.path / "metrics.jsonl", kept)

    def write_config(self, texts: Mapping[str, str]) -> None:
        """Write or replace YAML files by their names, where Hydra itself would write them."""
        folder = made_folder(self.path / CONFIG)
        for name, text in texts.items():
            write_text(folder / f"{name}.yaml", text)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json."""
        write_text(self.path / "summary.json", _as_json(dict(summary), indent=2) + "\n")

    def save_samples(
        self, images: Pixels, columns: int, iteration: int, names: Sequence[str] = (), cells: Sequence[str] = ()
    ) -> None:
        """Write the grid of an iteration in the background; `names` and `cells` are those of `grid`."""
        path = made_folder(self.path / "samples") / _SAMPLE.format(iteration)

        def save() -> None:
            drawn = grid(images, columns, names, cells)
            self._largest_grid = max(self._largest_grid, math.prod(drawn.size))
            save_atomically(drawn, path)

        self.in_background(save)

    def write_timeline(self, captions: Mapping[int, str], until: int) -> None:
        """Write the timelines (PNG, WebP and GIF) from the grids so far, each under its caption or its iteration.

        Args:
            captions: by iteration.
            until: the last iteration. A killed start may have drawn later ones, which are not part of the run.
        """
        self.finish_writing()
        grids: dict[Path, int] = {}
        for path in files.listed(self.path / "samples", "iteration_*.png"):
            number = path.stem.removeprefix("iteration_")
            if number.isdecimal() and int(number) <= until:
                grids[path] = int(number)
        frames: list[Frame] = []
        for path in self._alike(list(grids)):
            try:
                with opened_png(path, self._largest_grid) as picture:
                    frames.append((captions.get(grids[path], f"iteration {grids[path]:,}"), picture.copy()))
            except Exception as error:  # Pillow's decoders raise anything
                log.warning("%s is damaged and left out of the timeline: %s", path, error)
        if not frames:
            return
        save_atomically(timeline(first_middle_last(frames)), self.path / "samples/timeline.png")
        for ending in ("webp", "gif"):
            animation(frames, self.path / f"samples/timeline.{ending}")

    def _alike(self, paths: list[Path]) -> list[Path]:
        """Those of a run's grids that are drawn like the newest, as many as a timeline takes and fit into memory."""
        kinds: dict[Path, tuple[str, tuple[int, int]]] = {}
        for path in evenly(paths, MOST_FRAMES):
            try:
                with opened_png(path, self._largest_grid) as picture:
                    kinds[path] = picture.mode, picture.size
            except Exception as error:  # Pillow's decoders raise anything
                log.warning("%s is damaged and left out of the timeline: %s", path, error)
        newest = next(reversed(kinds.values()), ("", (1, 1)))
        alike = [path for path, kind in kinds.items() if kind == newest and newest[0] in ("L", "RGB")]
        if len(alike) < len(kinds):
            log.warning(
                "%d grids are left out of the timeline: their size or mode differs from the newest.",
                len(kinds) - len(alike),
            )
        return evenly(alike, max(3, _PIXELS_IN_MEMORY // math.prod(newest[1])))

    def save_checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Replace last.pt, and best.pt if it is that too, in the background; nothing may change `state` any more.

        The checkpoint before is on the disk first, so that no more than that and this one can be lost.

        Args:
            state: what to keep.
            best: whether this is the best so far.
            keep: how many of the newest to keep; None keeps all.
        """
        if self._checkpoint is not None:
            wait([self._checkpoint])
        self._checkpoint = self.in_background(lambda: self.checkpoints.save(state, best=best, keep=keep))

    def in_background(self, work: Callable[[], None]) -> Future[None]:
        """Do some writing beside the training, in the order of the calls; raises what an earlier one raised.

        Where the disk is slow, this waits: what is to be written is kept in memory until then.
        """
        while self._pending and (self._pending[0].done() or len(self._pending) >= _MOST_PENDING):
            self._pending.pop(0).result()
        self._pending.append(self._writer.submit(work))
        return self._pending[-1]

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
        for future in self._pending:
            future.cancel()  # unlike the writer's shutdown, this leaves nobody waiting for what will never be done
        self._writer.shutdown(wait=False)

    def close(self) -> None:
        """Wait for what is being written, and let go of the thread and of the folder."""
        self._writer.shutdown(wait=True)
        self._lock.release()


def _as_point(line: str) -> dict[str, Any] | None:
    """A line of metrics.jsonl as a log point; None for anything else."""
    try:
        point = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(point, dict) or not isinstance(point.get("iteration"), int):
        return None
    if not isinstance(point.get("epoch"), int | float):
        return None
    numbers = (value is None or isinstance(value, int | float) for value in point.values())
    return point if all(numbers) else None


def _as_json(value: Any, indent: int | None = None) -> str:
    """JSON that any parser reads: a number that JSON does not know is null."""
    return json.dumps(_finite_or_none(value), indent=indent, allow_nan=False)


def _finite_or_none(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _finite_or_none(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite_or_none(inner) for inner in value]
    return value
