"""Which device computes, and in which number format."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

from gan_runner.errors import UserError

PrecisionName = Literal["fp32", "bf16"]


def choose_device(name: str, key: str) -> torch.device:
    """Turn a setting into a device that exists here.

    Args:
        name: auto (a GPU where there is one), cpu, cuda or cuda:N.
        key: the setting's key, for messages.

    Raises:
        UserError: the name is none of these, or no such GPU is here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda:0" if gpus else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not number.isdecimal()):
        raise UserError(f"{key} is {name}, but must be auto, cpu, cuda or cuda:N.", f"Try {key}=auto.")
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
    Ampere on, a processor with AMX or AVX-512 bf16.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "fp32"


def arithmetic(precision: PrecisionName, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Give the context in which a step computes: autocast to bfloat16, or plain float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
