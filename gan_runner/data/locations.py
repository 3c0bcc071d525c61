"""Where sets of images lie on disk, and how they get there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gan_runner import files
from gan_runner.data.downloads import resumable
from gan_runner.errors import UserError
from gan_runner.machine.files import at_home
from gan_runner.machine.locks import Lock

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

    Files that arrived before an earlier try failed are kept in `root` and are not downloaded again; those of Google
    Drive, which are fetched by another library, are not kept.

    Args:
        name: what `data=` calls the set.
        root: where its files go; made if need be.
        fetch: has torchvision download the set into the folder it is given and check it.

    Raises:
        UserError: the download failed, or `root` cannot be written to.
    """
    folder = Path(at_home(root))
    arriving = folder / f".{name}.arriving"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            _kept(arriving) as kept,
            tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as arrivals,
        ):
            with resumable(kept):
                fetch(arrivals)
            shutil.copytree(arrivals, folder, copy_function=os.replace, dirs_exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
    except (OSError, EOFError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        again = "what has arrived is kept" if arriving.is_dir() else "nothing has arrived that could be kept"
        raise UserError(
            f"data.download is true, but {name} could not be downloaded to {root}: {reason}",
            f"Check the connection and try again: {again}. Or put the files there by hand and use "
            f"data.download=false, or try {SHIPPED}",
        ) from error


@contextlib.contextmanager
def _kept(folder: Path) -> Iterator[Path]:
    """A folder for what has arrived of a set; another one, for this time only, while another process downloads it."""
    folder.mkdir(exist_ok=True)
    lock = Lock(folder / "lock")
    try:
        lock.take()
    except TimeoutError:
        with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as alone:
            yield Path(alone)
        return
    try:
        yield folder
    finally:
        lock.release()
        files.remove(lock.path)
        with contextlib.suppress(OSError):
            folder.rmdir()  # if nothing has arrived
