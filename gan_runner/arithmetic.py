"""Number formats, of which not every device has all: the GPU of a Mac has no 64-bit numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def has_float64(device: torch.device) -> bool:
    """Whether a device computes in float64."""
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (RuntimeError, TypeError):
        return False
    return True


def most_exact(device: torch.device) -> torch.dtype:
    """Float64, or float32 on a device that has no float64."""
    return torch.float64 if has_float64(device) else torch.float32


def measuring_device(device: torch.device) -> torch.device:
    """Where metrics are computed of what a device draws: in float64, and so on the CPU where the device has none."""
    return device if has_float64(device) else torch.device("cpu")


def exact(values: Tensor) -> Tensor:
    """The values in float64; on the CPU where their device has no float64."""
    return values.to(measuring_device(values.device)).double()
