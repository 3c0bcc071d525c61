"""Open the folder of a run or of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gan_runner.errors import UserError
from gan_runner.export.description import NAME
from gan_runner.export.loading import Exported, load_exported

if TYPE_CHECKING:
    from gan_runner.runs.in_python import SavedSweep
    from gan_runner.runs.saved import SavedRun


def load(folder: str | Path, trust: Sequence[str] | str = ()) -> SavedRun | Exported:
    """Open the folder of a run, or an exported folder, which needs neither Hydra nor TensorBoard.

    Args:
        folder: such as "outputs/DATE/TIME", the folder of a sweep's job, or one that `gan-export` has written.
        trust: your own modules that its config may name.

    Raises:
        UserError: the folder has neither.
    """
    if (Path(folder) / "sweep.json").exists():
        raise UserError(
            f"{folder} is the folder of a sweep, not of a run.", f"Try gan_runner.load_sweep({str(folder)!r})."
        )
    if (Path(folder) / NAME).exists():
        return load_exported(folder, trust)
    from gan_runner.runs.saved import SavedRun

    return SavedRun(folder, trust, key="folder")


def load_sweep(folder: str | Path, trust: Sequence[str] | str = ()) -> SavedSweep:
    """Open the folder of a sweep.

    Args:
        folder: such as "multirun/DATE/TIME".
        trust: your own modules that its runs' configs may name.

    Raises:
        UserError: the folder has no sweep.
    """
    from gan_runner.runs.in_python import SavedSweep

    return SavedSweep(folder, trust)
