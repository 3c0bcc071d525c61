"""Progress bars."""

from __future__ import annotations

import contextlib
import sys

from tqdm import tqdm

from gan_runner import launched


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar that does not end a run where nobody is left to look at it, as behind a pipe that broke."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """See `tqdm.display`."""
        with contextlib.suppress(OSError, ValueError):
            super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        """See `tqdm.clear`."""
        with contextlib.suppress(OSError, ValueError):
            super().clear(nolock)

    def close(self) -> None:
        """See `tqdm.close`."""
        with contextlib.suppress(OSError, ValueError):
            super().close()


def on_a_terminal() -> bool:
    """Whether somebody may be looking at standard error; nobody is where it is closed, or another process speaks."""
    try:
        return sys.stderr.isatty() and launched.rank() == 0
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False
