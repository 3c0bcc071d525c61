"""Memory of the machine and of this process."""

from __future__ import annotations

import ctypes
import platform
import sys

import psutil

from gan_runner.machine.control_groups import memory_left


def free_memory() -> int:
    """Bytes of memory that can still be taken.

    A container's or batch job's own limit counts, because going past it gets the process killed.
    """
    available, limited = psutil.virtual_memory().available, memory_left()
    return available if limited is None else min(available, limited)


def peak_memory() -> int:
    """Bytes of memory that this process had at the most."""
    try:
        import resource
    except ImportError:  # Windows, where psutil knows it
        now = psutil.Process().memory_info()
        return int(now._asdict().get("peak_wset", now.rss))
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
