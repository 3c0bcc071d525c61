"""The process-wide state that a run changes while it trains within the user's program, and restoring it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from gan_runner.bars import say
from gan_runner.files import LogFile
from gan_runner.record.run_folder import LOG

_ours = logging.getLogger("gan_runner")
_computing = threading.RLock()


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Inside the context no other run trains or draws in this process: they share random numbers and threads.

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
    """Inside the context the run's messages go to its log file, and are printed if wanted and no other handler does.

    Another run of this process waits: its log would get this one's messages.
    """
    with _computing, contextlib.ExitStack() as restoring:
        file = LogFile(folder / LOG, encoding="utf-8")
        file.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
        handlers: list[logging.Handler] = [file]
        if printed and not _ours.hasHandlers():
            handlers.append(_Printing(logging.INFO))
        restoring.callback(_ours.setLevel, _ours.level)
        _ours.setLevel(logging.DEBUG)  # the file has more than is printed
        for handler in handlers:
            _ours.addHandler(handler)
            restoring.callback(handler.close)
            restoring.callback(_ours.removeHandler, handler)
        yield


class _Printing(logging.Handler):
    """Prints to where `print` would, errors too: a notebook shows both below the cell."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        say(record.getMessage())
