"""Memory of the machine and of this process."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes of memory that can still be taken.

    A container's or batch job's own limit counts, because going past it gets the process killed.
    """
    return min([psutil.virtual_memory().available, *_left_in_control_groups()])


def peak_memory() -> int:
    """Bytes of memory that this process had at the most."""
    try:
        import resource
    except ImportError:  # Windows, where psutil knows it
        return int(psutil.Process().memory_info()._asdict()["peak_wset"])
    # Linux counts in kibibytes, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def keep_freed_memory() -> None:
    """Have glibc, where it is the C library, keep what tensors free for the tensors to come.

    By itself it hands large blocks back to the kernel, again and again in a step, and the kernel gives them out a
    page at a time, cleared: up to a seventh of a DCGAN's time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # as malloc.h numbers them
    c_library = ctypes.CDLL(None)
    c_library.mallopt(m_mmap_max, 0)
    c_library.mallopt(m_trim_threshold, -1)  # never


def _left_in_control_groups() -> list[int]:
    """What the limit of this process's control group (version 2), and of each one around it, leaves."""
    membership = Path("/proc/self/cgroup")
    if not membership.exists():
        return []
    own = membership.read_text().rpartition("::")[2].strip().lstrip("/")
    groups = [_CGROUPS / own, *(_CGROUPS / parent for parent in Path(own).parents)]
    left = []
    for group in groups:
        limit = group / "memory.max"
        if limit.exists() and (text := limit.read_text().strip()) != "max":
            # File pages that were not touched lately are given up under pressure, so they count as free.
            reclaimable = _table(group / "memory.stat").get("inactive_file", 0)
            left.append(int(text) - int((group / "memory.current").read_text()) + reclaimable)
    return left


def _table(path: Path) -> dict[str, int]:
    """The first two columns of a kernel's table of names and numbers."""
    return {row[0]: int(row[1]) for row in map(str.split, path.read_text().splitlines()) if len(row) > 1}
