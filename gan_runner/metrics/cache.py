"""A cache on disk of what takes long to compute: trained extractors, and metrics of real images.

It lies in `$GAN_CACHE`, else in `gan-runner` below `$XDG_CACHE_HOME`, else in `~/.cache/gan-runner`. A user without a
home folder, as in many containers, has none of the three. Every file opens with the SHA-256 of the rest, appears whole
or not at all, and may be deleted at any time.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from gan_runner.machine.files import move_unless_there, once_more

_log = logging.getLogger(__name__)

_DIGEST = 64  # hexadecimal digits of a SHA-256
_LARGEST = 2**31  # bytes; what we write is far smaller


def folder() -> Path | None:
    """The folder of the cache; it need not exist. None where this user has no home folder and none was named."""
    if own := os.environ.get("GAN_CACHE"):
        return Path(os.path.expanduser(own))  # a home that nobody has stays as it was typed
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gan-runner"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "gan-runner" if home != "~" else None


def digest(*said: object) -> str:
    """A hash of a list of plain values, as hexadecimal digits, for file names."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def kept(name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the cache has under a name, or compute and store it.

    A damaged file is renamed `NAME.damaged` and made again. No cache, or one that cannot be written to,
    costs time and ends nothing.

    Args:
        name: the file's name, which has to tell the content from every other.
        make: computes it: tensors, plain values, and dictionaries of them.
    """
    place = folder()
    if place is None:
        _tell_once("This user has no home folder, so trained extractors are not kept: set GAN_CACHE=FOLDER to keep it.")
        return dict(make())
    path = place / name
    if (found := _read(path)) is not None:
        return found
    made = dict(make())
    _write(path, made)
    return _read(path) or made  # another job of a sweep may have been first, and all must measure alike


def _read(path: Path) -> dict[str, Any] | None:
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large to be ours")
        content = once_more(path.read_bytes)
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(payload).hexdigest().encode() != digest:
            raise ValueError("its content is not what was written")
        loaded: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        return loaded
    except PermissionError as error:
        _log.warning("%s may not be read (%s) and is computed again.", path, error.strerror)
    except Exception as error:  # whatever unpickling makes of damage
        _log.warning("%s is damaged: %s. It is renamed %s.damaged and made again.", path, error, path.name)
        with suppress(OSError):
            path.replace(path.with_name(f"{path.name}.damaged"))
    return None


@functools.cache
def _tell_once(message: str) -> None:
    _log.warning("%s", message)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    payload = buffer.getvalue()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(payload).hexdigest().encode() + payload)
            file.flush()
            os.fsync(file.fileno())
        move_unless_there(Path(temporary), path)
    except OSError as error:
        _log.warning("%s cannot be written (%s), so that it will be computed again next time.", path, error.strerror)
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
