"""Memory of the machine and of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that can still be taken.

    A container's or batch job's own limit counts, because going past it gets the process killed.
    """
    return min(_machine_memory(), *_left_in_control_groups())


def peak_memory() -> int | None:
    """Bytes of memory that this process had at the most; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    # Linux counts in kibibytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


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
