"""Linux control groups, by which containers and clusters limit cores and memory: versions 1 and 2.

The limit of every group around this process counts, up to the outermost one that can be seen from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


def cpu_quota(proc: Path = PROC) -> float | None:
    """The processor time that the tightest quota allows, in cores; None where there is no quota.

    Args:
        proc: where the kernel describes this process.
    """
    quotas = []
    for group in _groups("cpu", proc):
        with suppress(OSError, ValueError, IndexError):
            if (version_2 := group / "cpu.max").exists():
                quota, period = _text(version_2).split()
            else:
                quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
            if float(quota) > 0:  # "max" in version 2 is no number, -1 in version 1 is no limit
                quotas.append(float(quota) / float(period))
    return min(quotas, default=None)


def memory_left(proc: Path = PROC) -> int | None:
    """Bytes that this process may still take before the tightest limit is reached; None where there is no limit.

    File pages that were not used lately count as free, because the kernel gives them up first.

    Args:
        proc: where the kernel describes this process.
    """
    left = []
    for group in _groups("memory", proc):
        with suppress(OSError, ValueError):
            if (group / "memory.max").exists():
                limit, used, cached = "memory.max", "memory.current", "inactive_file"
            else:
                limit, used, cached = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            allowed, taken = int(_text(group / limit)), int(_text(group / used))
            left.append(max(0, allowed - taken + _statistic(group / "memory.stat", cached)))
    return min(left, default=None)


def _groups(controller: str, proc: Path) -> Iterator[Path]:
    """The folders of the groups around this process that can limit what a controller controls, the innermost first."""
    try:
        membership, mounts = _text(proc / "cgroup"), _text(proc / "mountinfo")
    except OSError:  # no Linux, or a container that shows nothing
        return
    own: dict[str, str] = {}  # by controller; version 2 has one group for all, under ""
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    for line in mounts.splitlines():
        # ID parent device root mount-point options [more] - type source options-of-the-file-system
        about, _, kind = (part.split() for part in line.partition(" - "))
        if kind[0] == "cgroup2":
            name = ""
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            name = controller
        else:
            continue
        if name not in own:
            continue
        root, mount_point = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), about[n]) for n in (3, 4))
        mounted = Path(mount_point)
        # In a container the mount often shows the container's own group alone, whose path counts from outside.
        below = PurePosixPath(own[name])
        inner = below.relative_to(root) if below.is_relative_to(root) else PurePosixPath()
        group = mounted / inner
        yield group
        while group != mounted:
            group = group.parent
            yield group


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape").strip()


def _statistic(path: Path, name: str) -> int:
    """A number of a kernel's table of names and numbers; 0 where it is not listed."""
    with suppress(OSError):
        for line in _text(path).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
