"""What a checkpoint holds: everything that training changes, in one place and by name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from gan_runner.record.checkpoint_files import FORMAT
from gan_runner.training.distributed import ALONE, World


@runtime_checkable
class Stateful(Protocol):
    """A part of a run that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Restore what `state_dict` returned."""
        ...


class State:
    """The parts of a run that training changes.

    Args:
        about: gives what the checkpoint tells of itself besides; plain values.
        parts: each by its name in the checkpoint.
    """

    def __init__(self, about: Callable[[], Mapping[str, Any]], parts: Mapping[str, Stateful]) -> None:
        self._about = about
        self._parts = parts

    def state_dict(self) -> dict[str, Any]:
        """The whole state, copied, because training keeps changing the tensors."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        return copy.deepcopy({"format": FORMAT, "about": dict(self._about()), **state})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; missing entries are an error, additional ones are not.

        Raises:
            ValueError: a value is of another kind than the part's own, and so would fail later on.
            Exception: whatever a part makes of a value that it cannot go on from.
        """
        for name, part in self._parts.items():
            _check_kinds(part.state_dict(), state[name], name)
            part.load_state_dict(state[name])


def _check_kinds(own: object, saved: object, where: str) -> None:
    """Refuse a saved value of another kind than a part's own, at the same place in its state."""
    if own is None or (saved is None and isinstance(own, torch.Tensor | Mapping)):
        return  # what there need not be
    kind = next((kind for kind in _KINDS if isinstance(own, kind)), object)
    alike = isinstance(saved, kind) and isinstance(own, bool) == isinstance(saved, bool)
    if not alike or (isinstance(own, torch.Tensor) and _is_float(own) != _is_float(saved)):
        raise ValueError(f"{where} is of another kind than what is trained has there")
    if isinstance(own, Mapping) and isinstance(saved, Mapping):
        for key in own.keys() & saved.keys():
            _check_kinds(own[key], saved[key], f"{where}.{key}")
    elif isinstance(own, list | tuple) and isinstance(saved, list | tuple):
        for number, (mine, theirs) in enumerate(zip(own, saved, strict=False)):
            _check_kinds(mine, theirs, f"{where}.{number}")


_KINDS = (torch.Tensor, Mapping, (list, tuple), str, (int, float))


def _is_float(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class RandomNumbers:
    """PyTorch's random numbers on the CPU and on the device.

    Of those on the device, several processes keep what they draw in common: their own follow from the place in the run.

    Args:
        device: where training draws.
        world: who does.
    """

    def __init__(self, device: torch.device, world: World = ALONE) -> None:
        self._device = device
        self._world = world

    def state_dict(self) -> dict[str, Any]:
        """The random number generators' states, with the same names for any number of processes."""
        common, kind = self._world.generator, self._device.type
        own = None if kind == "cpu" else torch.get_device_module(kind).get_rng_state(self._device)
        state = {"cpu": torch.get_rng_state(), "device": own, "kind": kind}
        return state if common is None else state | {"cpu" if own is None else "device": common.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        torch.set_rng_state(state["cpu"].cpu())
        # Checkpoints of earlier versions know no other device than a GPU of NVIDIA's.
        if state["device"] is not None and self._device.type == state.get("kind", "cuda"):
            torch.get_device_module(self._device.type).set_rng_state(state["device"].cpu(), self._device)
        self._world.fork_rng(self._device)
