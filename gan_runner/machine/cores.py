"""Processor cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from gan_runner.machine.control_groups import cpu_quota


def cores() -> int:
    """Processor cores that this process may use; at least 1.

    A quota of processor time, as containers and clusters set one, counts as so many cores, rounded to the nearest: more
    threads than that are stopped together in the middle of their work, and wait for each other.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return there if quota is None else max(1, min(there, int(quota + 0.5)))


def processor() -> str:
    """The processor's name, as far as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
