"""Where sets of images lie on disk, and how they get there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from gan_runner import files
from gan_runner.errors import UserError
from gan_runner.machine.files import at_home

SHIPPED = "data=digits, which ships inside the package."


def existing_folder(root: str, key: str = "data.root") -> Path:
    """The folder that `data.root` names, or another key.

    Raises:
        UserError: it does not exist, is a file, or may not be read.
    """
    folder = Path(at_home(root))
    if not os.path.exists(folder):
        problem = "there is no such folder"
    elif not folder.is_dir():
        problem = "that is a file, where a folder is needed"
    elif not os.access(folder, os.R_OK | os.X_OK):
        problem = "that folder may not be read"
    else:
        return folder
    raise UserError(f"{key} is {root}, but {problem}.", f"Try {key}=FOLDER with another one, or {SHIPPED}")


def opened(path: str | Path) -> BinaryIO:
    """Open an untrusted file for reading, without blocking.

    Raises:
        OSError: it cannot be read, is empty (as files of a virtual file system appear to be), or is not a regular file:
            a FIFO, a socket or a device can block its reader for ever.
    """
    file = files.opened(path, links=True)
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise OSError("the file is empty")
    return file


def damaged(root: str, problem: str) -> UserError:
    """The error for a file that is not what its format asks for; `problem` names the file and says why."""
    return UserError(
        f"data.root is {root}, but {problem.rstrip('.')}.",
        f"Replace or complete the files there, or try {SHIPPED}",
    )


def download(name: str, root: str, fetch: Callable[[str], object]) -> None:
    """Bring a set into `root`, all of it or nothing, also when several runs of a sweep do so at once.

    Args:
        name: what `data=` calls the set.
        root: where its files go; made if need be.
        fetch: downloads the set into the folder it is given and checks what came.

    Raises:
        UserError: the download failed, or `root` cannot be written to.
    """
    try:
        folder = Path(at_home(root))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as arrivals:
            fetch(arrivals)
            shutil.copytree(arrivals, folder, copy_function=os.replace, dirs_exist_ok=True)
    except (OSError, EOFError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"data.download is true, but {name} could not be downloaded to {root}: {reason}",
            f"Check the connection, or put the files there by hand and use data.download=false, or try {SHIPPED}",
        ) from error
