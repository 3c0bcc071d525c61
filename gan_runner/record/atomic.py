"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gan_runner.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file beside `path` to write to, which takes its place once all is written and on the disk.

    The file keeps the ending, by which Pillow and NumPy choose the format.

    Raises:
        UserError: the system refuses: the disk is full, or the folder is gone or closed to writing.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        refused = error if isinstance(error, OSError) else error.__context__  # PyTorch hides it behind its own
        if not isinstance(refused, OSError) or refused.strerror is None:  # Pillow raises one for what it cannot draw
            raise
        raise UserError(
            f"{path} cannot be written: {refused.strerror}.",
            "See that the disk has room and that the folder may be written to.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
