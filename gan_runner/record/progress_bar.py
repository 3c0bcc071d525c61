"""The progress bar."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Literal

from tqdm import tqdm


def progress_bar(wanted: Literal["auto"] | bool) -> tqdm[Any]:
    """A bar that counts iterations on standard error.

    Args:
        wanted: "auto" shows it where there is a terminal.
    """
    shown = sys.stderr is not None and sys.stderr.isatty() if wanted == "auto" else wanted
    return _Bar(disable=not shown, unit="it", dynamic_ncols=True, mininterval=0.2)


class _Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar that does not end a run where nobody is left to look at it, as behind a pipe that broke."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().clear(nolock)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().close()
