"""What the machine has to offer: cores and free memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CGROUPS = Path("/sys/fs/cgroup")
_SHARE = 0.8


def cores() -> int:
    """Processor cores that this process may use; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on `device`: of the graphics memory, or of the machine's for the CPU.

    A container's or batch job's own limit counts, because going past it gets the process killed.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_machine_memory(), *_left_in_control_groups())


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


def _machine_memory() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        return _table(meminfo)["MemAvailable:"] * 1024
    # Elsewhere only the total is to be had portably; half of it is a careful guess at what is free.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _left_in_control_groups() -> list[int]:
    """What the limit of this process's control group (version 2), and of each one around it, leaves."""
    membership = Path("/proc/self/cgroup")
    if not membership.exists():
        return [_machine_memory()]
    own = membership.read_text().rpartition("::")[2].strip().lstrip("/")
    groups = [_CGROUPS / own, *(_CGROUPS / parent for parent in Path(own).parents)]
    left = []
    for group in groups:
        limit = group / "memory.max"
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            # File pages that were not touched lately are given up under pressure, so they count as free.
            reclaimable = _table(group / "memory.stat").get("inactive_file", 0)
            left.append(int(text) - int((group / "memory.current").read_text()) + reclaimable)
    return left or [_machine_memory()]


def _table(path: Path) -> dict[str, int]:
    """The first two columns of a kernel's table of names and numbers."""
    return {row[0]: int(row[1]) for row in map(str.split, path.read_text().splitlines()) if len(row) > 1}
