"""Files, where systems differ in what may be done with them."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

# For `os.open`, where the system has them: refuse a link; return at once, whatever kind of file it is; no line ends.
NOT_FOLLOWING = getattr(os, "O_NOFOLLOW", 0)
WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
BINARY = getattr(os, "O_BINARY", 0)

# What a network drive answers when another machine has replaced a file that is open here, or its server is away.
_PASSING = {getattr(errno, name) for name in ("ESTALE", "EIO", "ETIMEDOUT", "EREMOTEIO") if hasattr(errno, name)}
_SECONDS_UNTIL_AGAIN = 0.2
_SECONDS_OF_A_READER = 2.0  # within which somebody else has read a small file and closed it
_RESERVED_ON_WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def once_more(action: Callable[[], Result]) -> Result:
    """Do something with a file; a second time where a network drive had lost hold of it.

    Args:
        action: may be called twice.

    Raises:
        OSError: the system refuses it, or the second time fails too.
    """
    try:
        return action()
    except OSError as error:
        if error.errno not in _PASSING:
            raise
    time.sleep(_SECONDS_UNTIL_AGAIN)
    return action()


def at_home(path: str) -> str:
    """A path with `~` or `~name` at its start replaced by that home; a home that nobody has stays as it was typed."""
    return os.path.expanduser(path)


def room_of(status: os.stat_result) -> int:
    """Bytes that a file takes on the disk, as far as the system says: fewer than it has where it has holes."""
    return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512


def replace(source: Path, target: Path) -> None:
    """Give a file another name, in place of what had it.

    On Windows no file changes its name, and none is replaced, while somebody has it open: a reader is waited for.
    """
    until = time.monotonic() + _SECONDS_OF_A_READER
    while True:
        try:
            once_more(lambda: source.replace(target))
        except PermissionError:
            if os.name != "nt" or time.monotonic() >= until:
                raise
            time.sleep(0.01)
        else:
            return


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def move_unless_there(source: Path, target: Path) -> None:
    """Move a file, all of it at once, to a name that nothing has; what has it stays."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links, where another may come between these two
        if not target.exists():
            replace(source, target)
    source.unlink(missing_ok=True)


def is_name_everywhere(name: str) -> bool:
    """Whether every system takes this for a file's name, which Windows does not of all that Linux does."""
    stem = name.partition(".")[0].rstrip().casefold()
    return not name.endswith((".", " ")) and not set(name) & set('<>:"/\\|?*') and stem not in _RESERVED_ON_WINDOWS
