"""The progress bar of a run."""

from __future__ import annotations

from typing import Literal

from gan_runner.bars import Bar, on_a_terminal


def progress_bar(wanted: Literal["auto"] | bool) -> Bar:
    """A bar that counts iterations on standard error.

    Args:
        wanted: "auto" shows it where there is a terminal.
    """
    shown = on_a_terminal() if wanted == "auto" else wanted
    return Bar(disable=not shown, unit="it", dynamic_ncols=True, mininterval=0.2)
