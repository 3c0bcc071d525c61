"""What the machine has to offer to data: free memory."""

from __future__ import annotations

import torch

from gan_runner.machine import memory

_SHARE = 0.8


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on `device`: of the graphics memory, or of the machine's for the CPU.

    A container's or batch job's own limit counts, because going past it gets the process killed.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":  # shares the machine's memory
        return min(memory.free_memory(), torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return memory.free_memory()


def spare_memory() -> int:
    """Bytes that one thing may take on the CPU: most of what is free, for others need some too."""
    return int(_SHARE * free_memory(torch.device("cpu")))


def megabytes(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 1e6:,.1f} MB"


def round_size(size: int) -> int:
    """The largest size up to this one that is 4, 5, 6 or 7 doubled a number of times, as a dcgan draws them."""
    doublings = max(0, size.bit_length() - 3)
    return max(1, size >> doublings << doublings)
