"""summary.json: what was asked for, on what, how far it came and what came out."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_runner.machine.cores import processor
from gan_runner.record.run_folder import RunFolder

# What computes, draws or writes: versions of these tell two runs apart.
_PACKAGES = (
    *("gan-runner", "torch", "torchvision", "numpy", "pillow", "tensorboard", "hydra-core", "omegaconf"),
    *("torchmetrics", "torch-fidelity"),
)


class Summary:
    """Writes summary.json; a resume that fails before it begins leaves the earlier one as it is.

    Args:
        folder: the run's.
        about: what is known of the run before it begins.
    """

    def __init__(self, folder: RunFolder, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._about = dict(about)
        self._begun = False

    def begin(self) -> None:
        """From now on there is something to write."""
        self._begun = True
        self._about |= {"started": _now(), "ended": None, **machine()}

    def write(self, status: str, error: str | None, come: Mapping[str, Any]) -> None:
        """Write the summary as of now.

        Args:
            status: running, finished, pruned, interrupted or failed.
            error: what it failed of.
            come: how far the run has come and what came out; {} where it has not got that far.
        """
        if not self._begun:
            return
        before = {"objective": None} | self._folder.read_summary()
        ended = None if status == "running" else _now()
        self._folder.write_summary({**before, "status": status, "error": error, **self._about, "ended": ended, **come})


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@functools.cache
def machine() -> dict[str, Any]:
    """The processor, the code's commit and the versions of what computes."""
    return {
        "cpu": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git": _git(Path(__file__).parent),
        "versions": {"python": platform.python_version()} | _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit that the code is of, and whether the working folder has other changes; None outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return None

    def said(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                [git, "-C", str(folder), *arguments],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=5,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = said("rev-parse", "HEAD")
    if (
        commit is None or said("ls-files", "--error-unmatch", "__init__.py") is None
    ):  # installed below some other project
        return None
    return {"commit": commit, "changed": bool(said("status", "--porcelain", "--untracked-files=no"))}
