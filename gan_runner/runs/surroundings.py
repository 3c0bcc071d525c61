"""What a run changes of its process while it trains in a program of the user's own, and how that is put back."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from gan_runner.files import LogFile
from gan_runner.record.run_folder import LOG

_ours = logging.getLogger("gan_runner")
_computing = threading.RLock()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """In here no other run trains or draws in this process: they would take each other's random numbers and threads.

    Random numbers, the number of threads, PyTorch's settings and the log are as before afterwards.
    """
    with _computing, torch.random.fork_rng(), contextlib.ExitStack() as restoring:
        restoring.callback(torch.set_num_threads, torch.get_num_threads())
        restoring.callback(setattr, torch.backends.cudnn, "deterministic", torch.backends.cudnn.deterministic)
        if torch.cuda.is_initialized():
            restoring.callback(torch.cuda.set_device, torch.cuda.current_device())
        yield


@contextlib.contextmanager
def logging_to(folder: Path, *, printed: bool) -> Iterator[None]:
    """In here what the run says goes to its log file, and is printed if that is asked for and nobody else does it.

    Another run of this process waits: its log would hold what this one says.
    """
    with _computing, contextlib.ExitStack() as restoring:
        file = LogFile(folder / LOG, encoding="utf-8")
        file.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
        handlers: list[logging.Handler] = [file]
        if printed and not _ours.hasHandlers():
            handlers.append(_Printing(logging.INFO))
        restoring.callback(_ours.setLevel, _ours.level)
        _ours.setLevel(logging.DEBUG)  # the file is told more than is printed
        for handler in handlers:
            _ours.addHandler(handler)
            restoring.callback(handler.close)
            restoring.callback(_ours.removeHandler, handler)
        yield


class _Printing(logging.Handler):
    """Prints to where `print` would, errors too: a notebook shows both below the cell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        with contextlib.suppress(OSError, ValueError):
            print(record.getMessage(), file=sys.stdout, flush=True)
