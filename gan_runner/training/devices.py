"""Which device computes, and in which number format."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from gan_runner.errors import UserError
from gan_runner.machine.memory import keep_freed_memory
from gan_runner.training.distributed import ALONE, World

log = logging.getLogger(__name__)

PrecisionName = Literal["fp32", "bf16"]


def choose_device(name: str, key: str) -> torch.device:
    """Turn a setting into a device that exists here.

    Args:
        name: auto (PyTorch's current GPU, or that of a Mac, where there is one), cpu, mps, cuda or cuda:N.
        key: the setting's key, for messages.

    Raises:
        UserError: the name is none of these, or no such GPU is here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        if gpus:
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if torch.backends.mps.is_available():
            return torch.device("mps")
        raise UserError(
            f"{key} is mps, but PyTorch sees no GPU of a Mac here, which takes Apple silicon and macOS.",
            f"Try {key}=auto or {key}=cpu.",
        )
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not number.isdecimal()):
        raise UserError(f"{key} is {name}, but must be auto, cpu, mps, cuda or cuda:N.", f"Try {key}=auto.")
    index = int(number or 0)
    if index >= gpus:
        found = f"PyTorch sees {gpus} GPU{'s' * (gpus != 1)} here" if gpus else "PyTorch sees no GPU here"
        raise UserError(
            f"{key} is {name}, but {found}.",
            f"Try {key}=auto or {key}=cpu.",
        )
    return torch.device("cuda", index)


def choose_precision(name: Literal["auto", "fp32", "bf16"], device: torch.device) -> PrecisionName:
    """Turn `trainer.precision` into a number format.

    `auto` takes bfloat16 only where the hardware multiplies such matrices faster than float32: a GPU from
    Ampere on, a processor with AMX or AVX-512 bf16. On a Mac's GPU, where nobody has measured it, it takes float32.
    """
    if name != "auto":
        return name
    if device.type == "mps":
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def precision_to_go_on(state: Mapping[str, Any], device: torch.device) -> PrecisionName:
    """The number format of a resumed run if `trainer.precision` is `auto`.

    That of before on a device of the same kind, for the same bits; on another kind the one that suits it.

    Args:
        state: the checkpoint.
        device: what the run is resumed on.
    """
    before: PrecisionName = state["about"]["precision"]
    kind = state["about"].get("device")
    if kind is None:  # an earlier version's, which has random numbers of a GPU's if it was trained on one
        random = state.get("random")
        kind = "cuda" if isinstance(random, Mapping) and random.get("device") is not None else "cpu"
    return before if kind == device.type else choose_precision("auto", device)


@dataclass(frozen=True)
class Compute:
    """Where a run computes, and in which number format its matrix products are."""

    device: torch.device
    precision: PrecisionName

    def arithmetic(self) -> contextlib.AbstractContextManager[object]:
        """Give the context in which a step computes: autocast to bfloat16, or plain float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def tell_other_arithmetic(about: Mapping[str, Any], compute: Compute, world: World = ALONE) -> None:
    """Warn of what makes a run's last bits differ from those of one that never stopped.

    Args:
        about: what a checkpoint says of the run that is to be resumed.
        compute: how it computes now.
        world: who computes.
    """
    processes = int(about.get("processes", 1))
    if processes != world.size:
        log.warning(
            "This run was trained by %d process%s, and is resumed with %d: each draws random numbers of its own, "
            "and sums are in another order.",
            processes,
            "es" * (processes > 1),
            world.size,
        )
    if about["precision"] != compute.precision:
        log.warning(
            "This run computed in %s, and now computes in %s on this device (%s): its last bits may differ.",
            *(about["precision"], compute.precision, compute.device.type),
        )


def give_back_memory() -> None:
    """Free the GPU memory of a finished job, for the next job of this process or for other programs."""
    gc.collect()  # networks, optimizers and hooks refer to each other
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def prepare(device: torch.device) -> None:
    """Prepare this process to compute on a device, deterministically."""
    if device.type == "cuda":
        # cuBLAS wants this before its first call, or equal runs may differ in the last bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.cuda.set_device(device)  # streams and recordings are made on the current one
        return
    keep_freed_memory()
    if device.type == "mps":
        log.info(
            "Training on this Mac's GPU (mps), which has no 64-bit numbers: metrics are measured on the CPU. "
            "trainer.device=cpu may be faster for small networks, and has the same bits every time."
        )
