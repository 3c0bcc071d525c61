"""Where a run reports its progress: the log, the progress bar, metrics.jsonl and the dashboard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from tqdm import tqdm

from gan_runner import tags
from gan_runner.record.loggers import RunLog
from gan_runner.record.pictures import grid, to_uint8
from gan_runner.record.run_folder import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """The progress of a run.

    Attributes:
        where: how far it is, such as "epoch 10/70".
        point: what the log point measured, by tag.
        objective: the last evaluation's objective as text; "" if there was none.
        left: the remaining time as text; "" if unknown.
        best: the best objective so far; None if there was no evaluation.
    """

    where: str
    point: Mapping[str, float]
    objective: str
    left: str
    best: float | None = None

    @property
    def parts(self) -> list[str]:
        """The numbers as short texts."""
        said = [f"D accuracy {self.point[tags.ACCURACY_D]:.0%}"] if tags.ACCURACY_D in self.point else []
        losses = [
            f"{letter} {self.point[tag]:.2f}"
            for letter, tag in (("D", tags.LOSS_D), ("G", tags.LOSS_G))
            if tag in self.point
        ]
        return [*said, *([f"loss {' '.join(losses)}"] if losses else []), *([self.objective] if self.objective else [])]

    @property
    def as_row(self) -> dict[str, str | float | None]:
        """The values that a sweep's table shows."""
        accuracy = self.point.get(tags.ACCURACY_D)
        return {"where": self.where, "accuracy": accuracy, "best": self.best, "left": self.left.removesuffix(" left")}

    def __str__(self) -> str:
        return "  ".join([self.where, *self.parts, *([self.left] if self.left else [])])


class Journal:
    """Where a run reports its progress. This base class discards everything, for processes that keep no record."""

    def turn_played(self) -> None:
        """Called after an iteration."""

    def say(self, sentence: str) -> None:
        """Report a sentence about the run."""

    def point(self, point: Mapping[str, float], iteration: int, epoch: float) -> None:
        """Report a log point: values by tag."""

    def tell(self, standing: Standing, *, due: bool) -> None:
        """Report the progress at a log point; `due` says whether samples or an evaluation were due."""

    def samples(self, fixed: Tensor, fresh: Tensor, iteration: int, names: Sequence[str] = ()) -> None:
        """Report samples [N, C, H, W] in [-1, 1], from fixed and from fresh latents; `names` label the rows."""

    def real_images(self, images: Tensor, iteration: int) -> None:
        """Report real images [N, C, H, W] in [-1, 1], to compare with."""

    def checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Keep a checkpoint; see `RunFolder.save_checkpoint`."""

    def timeline(self, until: int, *, by_epoch: bool) -> None:
        """Show the grids up to an iteration side by side, captioned by epoch or by iteration."""

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Report an alarm."""


class RunJournal(Journal):
    """Writes log points, samples and alarms to the run's folder, its loggers and the console.

    Args:
        folder: the run's.
        run_log: the loggers of this start.
        bar: the progress bar.
        columns: cells in a row of a grid.
        cells: what the cells show that belong to one image; see `grid`.
        listener: called with the progress at each log point.
    """

    def __init__(
        self,
        folder: RunFolder,
        run_log: RunLog,
        bar: tqdm[Any],
        columns: int,
        cells: Sequence[str] = (),
        listener: Callable[[Standing], None] = lambda standing: None,
    ) -> None:
        self.folder = folder
        self._run_log = run_log
        self._bar = bar
        self._columns = columns
        self._cells = cells
        self._listener = listener

    def turn_played(self) -> None:
        """Advance the bar."""
        self._bar.update()

    def say(self, sentence: str) -> None:
        """Write a sentence into the log."""
        log.info("%s", sentence)

    def point(self, point: Mapping[str, float], iteration: int, epoch: float) -> None:
        """Write a log point to metrics.jsonl and the dashboard."""
        self.folder.append_metrics({"iteration": iteration, "epoch": epoch, **point})
        self._run_log.scalars(point, iteration)

    def tell(self, standing: Standing, *, due: bool) -> None:
        """Show the progress on the bar, in the log file and, if something was due, on the console.

        Args:
            standing: the progress.
            due: whether samples or an evaluation were due.
        """
        self._bar.set_description_str(standing.where, refresh=False)
        speed = f"{standing.point[tags.SPEED]:,.0f} images/s"
        self._bar.set_postfix_str(", ".join([*standing.parts, speed]))
        log.log(logging.INFO if due else logging.DEBUG, "%s", standing)
        self._listener(standing)

    def samples(self, fixed: Tensor, fresh: Tensor, iteration: int, names: Sequence[str] = ()) -> None:
        """Write grids of samples [N, C, H, W] in [-1, 1], from fixed and from fresh latents, in the background.

        Args:
            fixed: from fixed latents.
            fresh: from fresh ones.
            iteration: of both.
            names: written beside the rows; () for none.
        """
        fixed_pixels, fresh_pixels, columns = to_uint8(fixed), to_uint8(fresh), self._columns
        self.folder.save_samples(fixed_pixels, columns, iteration, names, self._cells)

        def to_dashboard() -> None:
            self._run_log.image(tags.FIXED, grid(fixed_pixels, columns, names), iteration)
            self._run_log.image(tags.RANDOM, grid(fresh_pixels, columns, names), iteration)

        self.folder.in_background(to_dashboard)

    def real_images(self, images: Tensor, iteration: int) -> None:
        """Put a grid of real images [N, C, H, W] in [-1, 1] on the dashboard, to compare with."""
        self._run_log.image(tags.REAL, grid(to_uint8(images), self._columns), iteration)

    def checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Write a checkpoint in the background; see `RunFolder.save_checkpoint`."""
        self.folder.save_checkpoint(state, best=best, keep=keep)

    def timeline(self, until: int, *, by_epoch: bool) -> None:
        """Write the timeline from the grids up to an iteration, captioned by epoch or by iteration."""
        points = self.folder.read_metrics() if by_epoch else []
        captions = {point["iteration"]: name_of_epoch(point["epoch"]) for point in points}
        self.folder.write_timeline(captions, until)

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """Log an alarm."""
        log.warning("Alarm at iteration %d: %s", iteration, message)
        self._run_log.alarm(name, message, iteration)


def name_of_epoch(number: float) -> str:
    """Format an epoch with four significant digits, or more for whole numbers above 1,000."""
    return f"epoch {number:.4g}" if number < 1000 else f"epoch {number:.0f}"
