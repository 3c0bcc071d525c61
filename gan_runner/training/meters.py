"""What a run measures, added up on the device.

Totals only ever grow and a reader takes the difference between two moments, so that several readers (the log,
a schedule) can look at one meter at their own pace. Reading is the only place that waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_runner.arithmetic import most_exact
from gan_runner.errors import UserError, printable
from gan_runner.training.distributed import ALONE, World


class Meter:
    """Running totals of named numbers, one addition an update.

    Args:
        device: where the numbers come from and are added up.
        world: who measures; each its own, and what is read are the means over all.
    """

    def __init__(self, device: torch.device, world: World = ALONE) -> None:
        self._device = device
        self._world = world
        self._names: tuple[str, ...] = ()
        # The last total counts the updates. Float64 counts exactly for longer than anybody trains. Float32 does not:
        # what a device without float64 has added up goes to the host at every look, and the device begins again.
        self._dtype = most_exact(device)
        self._totals = torch.zeros(1, dtype=self._dtype, device=device)
        self._on_host = [0.0]
        self._one = torch.ones((), device=device)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one update's values by name, 0-d each, on the device; every update measures the same names.

        Raises:
            UserError: it measures others than the first one, or than a checkpoint that is gone on from.
        """
        if not self._names:
            self._measure(tuple(values))
        if self._names != tuple(values):
            raise UserError(
                f"An update measures {', '.join(values)}, but those before it measured "
                f"{printable(', '.join(self._names))}, and they are averaged.",
                "Resume with the game and the loss that the checkpoint was trained with, or start a new run.",
            )
        self._totals += torch.stack([value.detach().float() for value in values.values()] + [self._one])

    def _measure(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._totals = torch.zeros(len(names) + 1, dtype=self._dtype, device=self._device)
        self._on_host = [0.0] * len(self._totals)

    def read(self) -> Reading:
        """Fetch the totals; waits for the device."""
        *totals, updates = self._sums()
        return Reading(dict(zip(self._names, totals, strict=True)), updates)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"names": list(self._names), "totals": torch.tensor(self._sums(), dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; in place where it can be, for a recorded step has this tensor's address."""
        if tuple(state["names"]) != self._names:
            self._measure(tuple(state["names"]))
        if self._dtype == torch.float64:
            self._totals.copy_(state["totals"])
        else:
            self._totals.zero_()
            self._on_host = state["totals"].tolist()

    def _sums(self) -> list[float]:
        sums: list[float] = self._world.mean(self._totals).tolist()
        if self._dtype == torch.float64:
            return sums
        self._totals.zero_()
        self._on_host = [before + since for before, since in zip(self._on_host, sums, strict=True)]
        return self._on_host


@dataclass(frozen=True)
class Reading:
    """The totals of a meter at one time, on the host."""

    totals: dict[str, float]
    updates: float

    def means_since(self, earlier: Reading) -> dict[str, float]:
        """Mean of each value over the updates since `earlier`; {} if there was none."""
        updates = self.updates - earlier.updates
        if not updates:
            return {}
        return {name: (total - earlier.totals.get(name, 0.0)) / updates for name, total in self.totals.items()}


class FiniteCounter:
    """Counts iterations on the device up to the first with a NaN or infinite loss in any process.

    Args:
        device: where it counts.
        world: who does.
    """

    def __init__(self, device: torch.device, world: World = ALONE) -> None:
        self._world = world
        # [iterations before the first bad one, 0 while none was bad and NaN from then on]
        self._counts = torch.zeros(2, dtype=most_exact(device), device=device)

    def add(self, losses: Sequence[Tensor]) -> None:
        """Count one iteration, given its losses, 0-d each."""
        count, poison = self._counts.unbind()
        total = torch.stack([loss.detach().float() for loss in losses]).sum(dtype=self._counts.dtype)
        poison.add_(total, alpha=0.0)  # 0 times a number is 0, but 0 times what is none is NaN, and stays
        count.add_(poison == 0)

    def first_bad(self) -> int | None:
        """The number, from 1, of the first iteration that was not finite; None if all were. Waits for the device."""
        count, poison = self._of_all().tolist()
        return int(count) + 1 if math.isnan(poison) else None

    def _of_all(self) -> Tensor:
        """The counts over all processes: that of the first with a NaN or infinite loss, if any."""
        counts, poisons = self._world.gathered(self._counts).unbind(1)
        return torch.stack([counts.min(), poisons.sum()])

    def restart(self, iteration: int) -> None:
        """Continue from an iteration; all before it count as finite."""
        self._counts.copy_(torch.tensor([iteration, 0.0]))

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {"counts": self._of_all()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore from a checkpoint, in place."""
        self._counts.copy_(state["counts"])
