"""What a run says of itself while it goes on: its log, its bar, metrics.jsonl and the dashboard."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from tqdm import tqdm

from gan_runner.record.loggers import RunLog
from gan_runner.record.pictures import grid, to_uint8
from gan_runner.record.run_folder import RunFolder

log = logging.getLogger(__name__)


class Journal:
    """Writes log points, pictures and alarms to wherever somebody may look.

    Args:
        folder: the run's.
        run_log: what this start logs to.
        bar: the progress bar.
        columns: pictures in a row of a grid.
    """

    def __init__(self, folder: RunFolder, run_log: RunLog, bar: tqdm[Any], columns: int) -> None:
        self.folder = folder
        self._run_log = run_log
        self._bar = bar
        self._columns = columns

    def turn_played(self) -> None:
        """Move the bar."""
        self._bar.update()

    def say(self, sentence: str) -> None:
        """Write a sentence into the log."""
        log.info("%s", sentence)

    def point(self, point: Mapping[str, float], iteration: int, epoch: float) -> None:
        """Write a log point to metrics.jsonl and the dashboard."""
        self.folder.append_metrics({"iteration": iteration, "epoch": epoch, **point})
        self._run_log.scalars(point, iteration)

    def tell(self, point: Mapping[str, float], iteration: int, epoch: float, *, in_log: bool) -> None:
        """Say how the run stands, on the bar and, if wanted, in the log."""

        def shown(tag: str) -> str:
            return f"{point[tag]:.3f}" if tag in point else "-"

        state = (
            f"loss D {shown('loss/d')} G {shown('loss/g')}, D right {shown('accuracy/d')}, "
            f"{point['speed/images_per_second']:,.0f} images/s"
        )
        self._bar.set_description_str(name_of_epoch(epoch), refresh=False)
        self._bar.set_postfix_str(state)
        if in_log:
            log.info("%s, iteration %d: %s", name_of_epoch(epoch), iteration, state)

    def samples(self, fixed: Tensor, fresh: Tensor, iteration: int, names: Sequence[str] = ()) -> None:
        """Write grids of pictures [N, C, H, W] in [-1, 1], from fixed and from fresh latents, in the background.

        Args:
            fixed: from fixed latents.
            fresh: from fresh ones.
            iteration: of both.
            names: written beside the rows; () for none.
        """
        fixed_pixels, fresh_pixels, columns = to_uint8(fixed), to_uint8(fresh), self._columns
        self.folder.save_samples(fixed_pixels, columns, iteration, names)

        def to_dashboard() -> None:
            self._run_log.image("samples/fixed", grid(fixed_pixels, columns, names), iteration)
            self._run_log.image("samples/random", grid(fresh_pixels, columns, names), iteration)

        self.folder.in_background(to_dashboard)

    def real_images(self, images: Tensor, iteration: int) -> None:
        """Put a grid of real images [N, C, H, W] in [-1, 1] on the dashboard, to compare with."""
        self._run_log.image("samples/real", grid(to_uint8(images), self._columns), iteration)

    def checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Write a checkpoint in the background; see `RunFolder.save_checkpoint`."""
        self.folder.save_checkpoint(state, best=best, keep=keep)

    def timeline(self, until: int, *, by_epoch: bool) -> None:
        """Write the timeline from the grids up to an iteration, captioned by epoch or by iteration."""
        points = self.folder.read_metrics() if by_epoch else []
        captions = {point["iteration"]: name_of_epoch(point["epoch"]) for point in points}
        self.folder.write_timeline(captions, until)

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Tell of an alarm."""
        log.warning("Alarm at iteration %d: %s", iteration, message)
        self._run_log.alarm(name, message, iteration)


class Silence(Journal):
    """The journal of a process that leaves the record to another one."""

    def __init__(self) -> None:
        """It needs nothing to say nothing."""

    def turn_played(self) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""

    def point(self, point: Mapping[str, float], iteration: int, epoch: float) -> None:
        """Nothing."""

    def tell(self, point: Mapping[str, float], iteration: int, epoch: float, *, in_log: bool) -> None:
        """Nothing."""

    def samples(self, fixed: Tensor, fresh: Tensor, iteration: int, names: Sequence[str] = ()) -> None:
        """Nothing."""

    def checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Nothing."""

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Nothing."""


def name_of_epoch(number: float) -> str:
    """Name an epoch in four digits, and in more where it has as many before the point."""
    return f"epoch {number:.4g}" if number < 1000 else f"epoch {number:.0f}"
