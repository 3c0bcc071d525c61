"""Checkpoints on disk: the newest, those before it to fall back on, and the best; each is checked when it is read."""

from __future__ import annotations

import contextlib
import logging
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_runner.arithmetic import measuring_device
from gan_runner.errors import UserError, either
from gan_runner.machine.files import link_or_copy
from gan_runner.record.atomic import made_folder, refusals_explained, replacing, set_aside

log = logging.getLogger(__name__)

FORMAT = 2
"""Counts up whenever an older program could not read what is written; a checkpoint of another format is refused."""

_LAST, _BEST = "last", "best"
_PREFIX = "iteration_"


class CheckpointFiles:
    """The folder `checkpoints` of a run: last.pt, best.pt, and iteration_N.pt for the ones before the last.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._iteration_of_last: int | None = None  # where this object has written it

    def any(self) -> bool:
        """Whether there is one to go on from."""
        return any(self.path(name).is_file() for name in self._to_go_on_from())

    def path(self, name: str) -> Path:
        """The file of a checkpoint: "last", "best" or an iteration's digits."""
        return self._folder / (f"{_PREFIX}{int(name):08d}.pt" if name.isdecimal() else f"{name}.pt")

    def iterations(self) -> list[int]:
        """The iterations of which a checkpoint is kept besides last.pt and best.pt, oldest first."""
        names = (path.stem.removeprefix(_PREFIX) for path in self._folder.glob(f"{_PREFIX}*.pt"))
        return sorted(int(name) for name in names if name.isdecimal())

    def save(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Write last.pt, and best.pt if it is that too; the last one before it stays under its iteration's name.

        Args:
            state: what to keep.
            best: whether this is the best so far.
            keep: how many of the newest to keep, last.pt counted; None keeps all.
        """
        made_folder(self._folder)
        last = self.path(_LAST)
        # Not by its name: PyTorch's own file would outlive a failure, and keep a full disk full.
        with replacing(last) as temporary:
            with temporary.open("wb") as file:
                torch.save(dict(state), file)
            if best:
                with replacing(self.path(_BEST)) as other:
                    shutil.copyfile(temporary, other)
            iteration = int(state["progress"]["iteration"])
            self._keep_the_one_before(last, iteration)
        self._iteration_of_last = iteration
        if keep is not None:
            for iteration in self.iterations()[: -(keep - 1) or None]:
                with refusals_explained(self.path(str(iteration)), "removed"):
                    self.path(str(iteration)).unlink(missing_ok=True)

    def _keep_the_one_before(self, last: Path, iteration: int) -> None:
        if last.is_symlink() or not last.is_file():  # somebody has moved or removed it
            return
        before = self._iteration_of_last
        if before is None:
            before = self._iteration_of(_LAST)
        if before is None or before >= iteration:
            return
        with replacing(self.path(str(before))) as kept:
            link_or_copy(last, kept)

    def load(self, name: str, device: torch.device) -> dict[str, Any]:
        """Read a checkpoint by name: "last", "best" or an iteration.

        Raises:
            UserError: there is none of that name, it is damaged, or it has another format.
        """
        path = self.path(name)
        if not path.is_file():
            there = [each for each in (_LAST, _BEST, *map(str, self.iterations())) if self.path(each).is_file()]
            raise UserError(
                f"A checkpoint is asked for that is not there: {path}.",
                f"There is {either(there)}." if there else "Try another run's folder.",
            )
        try:
            return _checked_format(path, _read(path, device))
        except UserError:
            raise
        except Exception as error:  # torch raises whatever the broken byte led it to
            raise UserError(
                f"{path} is damaged, and cannot be read as a checkpoint: {error}",
                "Try another checkpoint of the run, or another run's folder.",
            ) from error

    def abandon_after(self, iteration: int, best: int | None) -> bool:
        """Set checkpoints aside that are later than an iteration from which a run goes on once more.

        Args:
            iteration: the one to go on from.
            best: the iteration that had been the best by then; None where none had.

        Returns:
            Whether best.pt is that one.
        """
        for name in [_LAST, *(str(each) for each in self.iterations() if each > iteration)]:
            if self.path(name).exists():
                set_aside(self.path(name), "abandoned")
        if self._iteration_of(_BEST) == best:
            return best is not None
        if self.path(_BEST).exists():
            set_aside(self.path(_BEST), "abandoned")
        if best is None or not self.path(str(best)).is_file():
            return False
        with replacing(self.path(_BEST)) as again:
            shutil.copyfile(self.path(str(best)), again)
        return True

    def _iteration_of(self, name: str) -> int | None:
        """A checkpoint's iteration; None where there is none that can be read."""
        with contextlib.suppress(Exception):
            return int(_read(self.path(name), torch.device("cpu"))["progress"]["iteration"])
        return None

    def load_newest(self, device: torch.device) -> dict[str, Any]:
        """Read the newest checkpoint that is whole: last.pt, the ones before it, then best.pt.

        Raises:
            UserError: none of them is.
        """
        first: UserError | None = None
        for name in self._to_go_on_from():
            if not self.path(name).is_file():
                continue
            try:
                state = self.load(name, device)
            except UserError as error:
                first = first or error
                log.warning("%s", error.problem)
                continue
            if name != _LAST:
                log.warning("Going on from %s, iteration %d.", self.path(name), state["progress"]["iteration"])
            return state
        assert first is not None, "there is a checkpoint, or the folder would have been refused"
        raise first

    def _to_go_on_from(self) -> list[str]:
        return [_LAST, *map(str, reversed(self.iterations())), _BEST]


def _read(path: Path, device: torch.device) -> Any:
    """Read a file of `torch.save`, holding every byte of content to the checksum that was written with it."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its content ({damaged}) does not match its checksum")
    return torch.load(path, map_location=measuring_device(device), weights_only=True)


def _checked_format(path: Path, state: object) -> dict[str, Any]:
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(state, dict) or found != FORMAT:
        said = f"format {found}" if found is not None else "a format without a number"
        raise UserError(
            f"{path} has {said}, where this version of gan-runner reads format {FORMAT}.",
            "Go on with the version of gan-runner that wrote it, or start a new run.",
        )
    return state
