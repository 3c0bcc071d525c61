"""Checkpoints on disk: the newest, the ones before it as a fallback, and the best; each is checked when it is read."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch

from gan_runner import files
from gan_runner.arithmetic import measuring_device
from gan_runner.errors import UserError, either, is_one_line

log = logging.getLogger(__name__)

FORMAT = 2
"""Increased whenever an older version could not read new checkpoints; other formats are refused."""

_MOST_VALUES = 3_000_000
_MOST_SHARING = 8  # times the bytes of a file that its tensors have, where some of them share theirs
_DEEPEST = 60  # levels
_LAST, _BEST = "last", "best"
_PREFIX = "iteration_"


class CheckpointFiles:
    """The folder `checkpoints` of a run: last.pt, best.pt, and iteration_N.pt for the ones before the last.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._iteration_of_last: int | None = None  # if this object has written one

    def any(self) -> bool:
        """Whether there is one to resume from."""
        return any(files.is_file(self.path(name)) for name in self._to_go_on_from())

    def path(self, name: str) -> Path:
        """The file of a checkpoint: "last", "best" or an iteration's digits."""
        return self._folder / (f"{_PREFIX}{int(name):08d}.pt" if name.isdecimal() else f"{name}.pt")

    def iterations(self) -> list[int]:
        """The iterations of which a checkpoint is kept besides last.pt and best.pt, oldest first."""
        names = (path.stem.removeprefix(_PREFIX) for path in files.listed(self._folder, f"{_PREFIX}*.pt"))
        return sorted(int(name) for name in names if name.isdecimal())

    def save(self, state: Mapping[str, Any], *, best: bool, keep: int | None) -> None:
        """Write last.pt, and best.pt if it is that too; the last one before it stays under its iteration's name.

        Args:
            state: what to keep.
            best: whether this is the best so far.
            keep: how many of the newest to keep, last.pt counted; None keeps all.
        """
        files.made_folder(self._folder)
        last = self.path(_LAST)
        # Not by path: PyTorch would leave its partial file behind on a full disk.
        with files.replacing(last) as file:
            torch.save(dict(state), file)
            if best:
                file.seek(0)
                with files.replacing(self.path(_BEST)) as other:
                    shutil.copyfileobj(file, other, files.MEGABYTE)
            iteration = int(state["progress"]["iteration"])
            self._keep_the_one_before(last, iteration)
        self._iteration_of_last = iteration
        if keep is not None:
            for iteration in self.iterations()[: -(keep - 1) or None]:
                files.remove(self.path(str(iteration)))

    def _keep_the_one_before(self, last: Path, iteration: int) -> None:
        if not files.is_file(last):  # it has been moved or removed
            return
        before = self._iteration_of_last
        if before is None:
            before = self._iteration_of(_LAST)
        if before is None or before >= iteration:
            return
        files.link_or_copy(last, self.path(str(before)))

    def load(self, name: str, device: torch.device) -> dict[str, Any]:
        """Read a checkpoint by name: "last", "best" or an iteration.

        Raises:
            UserError: there is none of that name, it is damaged, or it has another format.
        """
        path = self.path(name)
        if not files.is_file(path):
            there = [each for each in (_LAST, _BEST, *map(str, self.iterations())) if files.is_file(self.path(each))]
            raise UserError(
                f"There is no checkpoint {path}.",
                f"There is {either(there)}." if there else "Try another run's folder.",
            )
        try:
            return _checked(path, _read(path, device))
        except UserError:
            raise
        except Exception as error:  # torch raises anything for damaged bytes
            why = "it asks for more than weights and plain values" if isinstance(error, UnpicklingError) else error
            raise UserError(
                f"{path} is damaged, and cannot be read as a checkpoint: {why}",
                "Try another checkpoint of the run, or another run's folder.",
            ) from error

    def abandon_after(self, iteration: int, best: int | None) -> bool:
        """Set aside the checkpoints later than the iteration from which a run is resumed.

        Args:
            iteration: the one to resume from.
            best: the best iteration so far; None if there was none.

        Returns:
            Whether best.pt is that one.
        """
        for name in [_LAST, *(str(each) for each in self.iterations() if each > iteration)]:
            if files.is_file(self.path(name)):
                files.set_aside(self.path(name), "abandoned")
        if self._iteration_of(_BEST) == best:
            return best is not None
        if files.is_file(self.path(_BEST)):
            files.set_aside(self.path(_BEST), "abandoned")
        if best is None or not files.is_file(self.path(str(best))):
            return False
        files.copy(self.path(str(best)), self.path(_BEST))
        return True

    def _iteration_of(self, name: str) -> int | None:
        """A checkpoint's iteration; None where there is none that can be read."""
        with contextlib.suppress(Exception):
            return int(_read(self.path(name), torch.device("cpu"))["progress"]["iteration"])
        return None

    def load_newest(self, device: torch.device) -> dict[str, Any]:
        """Read the newest undamaged checkpoint: last.pt, the ones before it, then best.pt.

        Raises:
            UserError: none of them is.
        """
        first: UserError | None = None
        for name in self._to_go_on_from():
            if not files.is_file(self.path(name)):
                continue
            try:
                state = self.load(name, device)
            except UserError as error:
                first = first or error
                log.warning("%s", error.problem)
                continue
            if name != _LAST:
                log.warning("Resuming from %s, iteration %d.", self.path(name), state["progress"]["iteration"])
            return state
        assert first is not None, "there is a checkpoint, or the folder would have been refused"
        raise first

    def _to_go_on_from(self) -> list[str]:
        return [_LAST, *map(str, reversed(self.iterations())), _BEST]


def _read(path: Path, device: torch.device) -> Any:
    """Read a file of `torch.save` and check all content against its checksums.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        ValueError: it is not as `torch.save` writes files, or holds more than weights and plain values.
        Exception: anything that PyTorch raises for damaged bytes.
    """
    with files.opened(path) as file:
        files.refuse_holes(path)
        size, _ = files.size_and_room(path)
        with zipfile.ZipFile(file) as archive:
            _check_entries(archive.infolist(), size)
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its content ({damaged}) does not match its checksum")
        file.seek(0)
        return Plain(size).copy(torch.load(file, map_location=measuring_device(device), weights_only=True))


def _check_entries(entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Refuse an archive whose content is larger than the file, which PyTorch never writes."""
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
        raise ValueError("its content is compressed, which PyTorch never does")
    if len({entry.filename for entry in entries}) < len(entries) or sum(entry.file_size for entry in entries) > size:
        raise ValueError("it has more content than bytes")


class Plain:
    """Copies what a checkpoint may hold: tensors, numbers, strings, booleans, None, lists, tuples and mappings.

    Everything else that PyTorch's safe loader makes is refused, and so is what takes more memory than it was read from.

    Args:
        size: bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._bytes_left = _MOST_SHARING * size
        self._values_left = _MOST_VALUES
        self._within: set[int] = set()

    def copy(self, value: Any) -> Any:
        """Copy a value, keys and items in their order, tensors not copied.

        Raises:
            ValueError: it holds other types than our checkpoints do.
        """
        self._values_left -= 1
        if self._values_left < 0 or len(self._within) > _DEEPEST or id(value) in self._within:
            raise ValueError("it holds too many values, or nests too deep")
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, torch.Tensor):
            return self._checked(value)
        self._within.add(id(value))
        try:
            return self._inner(value)
        finally:
            self._within.discard(id(value))

    def _inner(self, value: Any) -> Any:
        if type(value) in (list, tuple, torch.Size):
            return type(value)(map(self.copy, value))
        if type(value) not in (dict, OrderedDict):
            raise ValueError(f"it holds a {type(value).__name__}, where a checkpoint has tensors and plain values")
        if not all(type(key) in (str, int) for key in value):
            raise ValueError("it has a mapping whose keys are neither texts nor numbers")
        made = type(value)((key, self.copy(inner)) for key, inner in value.items())
        if isinstance(metadata := getattr(value, "_metadata", None), dict):  # of a network: the versions of its layers
            made._metadata = self.copy(metadata)
        return made

    def _checked(self, tensor: torch.Tensor) -> torch.Tensor:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or tensor.is_meta:
            raise ValueError("it holds a tensor of a kind that checkpoints never hold")
        self._bytes_left -= tensor.numel() * tensor.element_size()
        if tensor.is_quantized or tensor.is_nested or self._bytes_left < 0:
            raise ValueError("it holds a tensor of a kind that checkpoints never hold")
        return tensor.detach()


def _checked(path: Path, state: object) -> dict[str, Any]:
    """Refuse other formats, and a state without the entries that every checkpoint has."""
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(state, dict) or type(found) is not int or found != FORMAT:
        said = f"format {found}" if type(found) is int else "a format without a number"
        raise UserError(
            f"{path} has {said}, where this version of gan-runner reads format {FORMAT}.",
            "Resume with the version of gan-runner that wrote it, or start a new run.",
        )
    for key, (fits, needed) in _EVERY_STATE.items():
        value: Any = state
        for name in key.split("."):
            value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
        if not fits(value):
            said = "is missing" if value is _MISSING else f"is no {needed}"
            raise UserError(
                f"{path} is not a checkpoint of a run: {key} {said}.",
                "Try another checkpoint of the run, or another run's folder.",
            )
    return state


_MISSING = object()
_MOST = 2**53  # of what is counted
_MOST_PIXELS = 2**14  # in a row or column


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_size(value: Any) -> bool:
    counts = isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_count, value))
    return counts and all(0 < count < _MOST_PIXELS for count in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < _MOST


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) <= sys.float_info.max


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(type(text) is str for text in value)


def _are_weights(value: object) -> bool:
    return isinstance(value, dict) and all(type(name) is str for name in value)


def _are_rates(value: object) -> bool:
    players = [value.get(letter) for letter in ("d", "g")] if isinstance(value, dict) and len(value) == 2 else [None]
    names = ("configured", "last", "next")
    return all(isinstance(each, dict) and all(_is_finite(each.get(name)) for name in names) for each in players)


def _is_generator_state(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.uint8 and value.ndim == 1


def _is_text(value: object) -> bool:
    return type(value) is str and is_one_line(value)  # for the message


_Check: TypeAlias = tuple[Callable[[Any], bool], str]
_COUNT: _Check = (_is_count, "whole number")
_TEXT: _Check = (_is_text, "text of one line")
_WEIGHTS: _Check = (_are_weights, "mapping of names to tensors")


def _or_missing(check: _Check) -> _Check:
    fits, needed = check
    return lambda value: value is _MISSING or fits(value), needed


# What is read of every checkpoint before, or without, the parts of a run take over theirs.
_EVERY_STATE: Mapping[str, _Check] = {
    "about.image_shape": (_is_size, "list of channels, height and width"),
    "about.classes": (_are_texts, "list of names"),
    "about.data_fingerprint": _TEXT,
    "about.precision": _TEXT,
    "about.device": _or_missing(_TEXT),  # an earlier version's has none, nor the number of processes
    "about.processes": _or_missing(_COUNT),
    "about.threads": _COUNT,
    **{f"progress.{name}": _COUNT for name in ("iteration", "images", "d_steps", "g_steps", "position")},
    "progress.seconds": (_is_number, "number"),
    "rates": _or_missing((_are_rates, "mapping of players to learning rates")),
    "random.cpu": (_is_generator_state, "state of random numbers"),
    "players.generator.net": _WEIGHTS,
    "players.discriminator.net": _WEIGHTS,
    "players.average": (lambda value: value is None or _are_weights(value), "mapping of names to tensors, or null"),
}
