"""What a run says of itself while it goes on: its log, its bar, metrics.jsonl and the dashboard."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
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
    """How a run stands.

    Attributes:
        where: how far it is, such as "epoch 10/70".
        point: what the log point measured, by tag.
        objective: what the last evaluation came to, in words; "" where there was none.
        left: how long the rest will take, in words; "" where nobody can tell.
    """

    where: str
    point: Mapping[str, float]
    objective: str
    left: str

    @property
    def parts(self) -> list[str]:
        """The numbers, in words."""
        said = [f"D accuracy {self.point[tags.ACCURACY_D]:.0%}"] if tags.ACCURACY_D in self.point else []
        losses = [
            f"{letter} {self.point[tag]:.2f}"
            for letter, tag in (("D", tags.LOSS_D), ("G", tags.LOSS_G))
            if tag in self.point
        ]
        return [*said, *([f"loss {' '.join(losses)}"] if losses else []), *([self.objective] if self.objective else [])]

    def __str__(self) -> str:
        return "  ".join([self.where, *self.parts, *([self.left] if self.left else [])])


class Journal:
    """Where a run says how it goes on: by itself nowhere, as in a process that leaves the record to another one."""

    def turn_played(self) -> None:
        """An iteration is over."""

    def say(self, sentence: str) -> None:
        """A sentence about the run."""

    def point(self, point: Mapping[str, float], iteration: int, epoch: float) -> None:
        """A log point: what was measured, by tag."""

    def tell(self, standing: Standing, *, due: bool) -> None:
        """How the run stands at a log point; `due` says whether samples or an evaluation are."""

    def samples(self, fixed: Tensor, fresh: Tensor, iteration: int, names: Sequence[str] = ()) -> None:
        """Pictures [N, C, H, W] in [-1, 1], from fixed and from fresh latents; `names` belong beside the rows."""

    def real_images(self, images: Tensor, iteration: int) -> None:
        """Real images [N, C, H, W] in [-1, 1], to compare with."""

    def checkpoint(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """A checkpoint to keep; see `RunFolder.save_checkpoint`."""

    def timeline(self, until: int, *, by_epoch: bool) -> None:
        """The grids up to an iteration are to be shown side by side, captioned by epoch or by iteration."""

    def alarm(self, name: str, message: str, iteration: int) -> None:
        """An alarm was raised."""


class RunJournal(Journal):
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

    def tell(self, standing: Standing, *, due: bool) -> None:
        """Say how the run stands: on the bar, in the log file and, where something is due, on the console.

        Args:
            standing: how it stands.
            due: whether samples or an evaluation are.
        """
        self._bar.set_description_str(standing.where, refresh=False)
        speed = f"{standing.point[tags.SPEED]:,.0f} images/s"
        self._bar.set_postfix_str(", ".join([*standing.parts, speed]))
        log.log(logging.INFO if due else logging.DEBUG, "%s", standing)

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
        """Tell of an alarm."""
        log.warning("Alarm at iteration %d: %s", iteration, message)
        self._run_log.alarm(name, message, iteration)


def name_of_epoch(number: float) -> str:
    """Name an epoch in four digits, and in more where it has as many before the point."""
    return f"epoch {number:.4g}" if number < 1000 else f"epoch {number:.0f}"
