"""Processor cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from gan_runner.machine.control_groups import PROC, cpu_quota


def cores(proc: Path = PROC) -> int:
    """Processor cores that this process may use; at least 1.

    A quota of processor time, as containers and clusters set one, counts as the whole cores that it pays for. One
    thread more uses it up while it waits for the others, and all are stopped for the rest of each period: with a quota
    of 1.5 cores the default MLP trained several times slower on two threads than on one.

    Args:
        proc: where the kernel describes this process.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(proc)
    return there if quota is None else max(1, min(there, int(quota)))


def processor() -> str:
    """The processor's name, as far as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
