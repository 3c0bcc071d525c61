"""How a run is stopped: by a signal, or by the sweep that it is a job of."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from gan_runner.machine.signals import STOPPING, handled, let_through, send_to_main_thread
from gan_runner.training.distributed import World

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_ASKING = 0.2
_SECONDS_OF_ONE_WISH = 0.5  # in which a terminal and a supervisor, say, send what is one wish to stop


class Stop:
    """Turns the first signal that stops a run into a wish to, says so, and leaves at a second one.

    Args:
        asked: whether somebody else wishes it: looked at now and then.
        world: who stops together.
    """

    def __init__(self, asked: Callable[[], bool], world: World) -> None:
        self.signal: signal.Signals | None = None
        self.left: int | None = None  # the exit code with which the program was told to leave at once
        self._asked = asked
        self._poll = world.poll()
        self._silent = not world.first
        self._asks_again_at = 0.0
        self._noted_at: float | None = None
        self._restoring = contextlib.ExitStack()
        self._handled: list[signal.Signals] = []  # none where a launcher handles signals itself
        self._at_once = False

    def wanted(self) -> bool:
        """Whether the run is to end."""
        if self.signal is None and time.monotonic() >= self._asks_again_at:
            self._asks_again_at = time.monotonic() + _SECONDS_BETWEEN_ASKING
            if self._asked():
                self.signal = signal.SIGTERM
        agreed = self._poll(self.signal or 0)
        if agreed:
            self.signal = signal.Signals(agreed)
        return bool(agreed)

    def __enter__(self) -> Stop:
        self._handled = self._restoring.enter_context(handled(STOPPING, self._note))
        self._restoring.enter_context(let_through(self._handled))  # a sweep has its jobs wait until here
        return self

    def __exit__(self, *_: object) -> None:
        self._restoring.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In here the first signal leaves at once, as where data load: nothing is there yet that could be lost."""
        self._at_once = True
        done = threading.Event()
        asking = threading.Thread(target=self._ask_until, args=(done,), daemon=True)
        asking.start()
        try:
            if self.signal is not None:
                self._leave(self.signal, None)
            yield
        except BaseException:
            if self.left is None or self.signal is None:
                raise
            log.info("Interrupted by %s before the training began.", self.signal.name)
            sys.exit(self.left)  # whatever a library on the way out has made of it
        finally:
            done.set()
            asking.join()
            self._at_once = False

    def _ask_until(self, done: threading.Event) -> None:
        """Where nobody calls `wanted`: turn the wish of somebody else into a signal."""
        while self._handled and not done.wait(_SECONDS_BETWEEN_ASKING):
            if self.signal is None and self._asked():
                send_to_main_thread(signal.SIGTERM)
                return

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted_at is not None:
            if time.monotonic() - self._noted_at >= _SECONDS_OF_ONE_WISH:
                self._leave(number, frame)
            return
        self.signal, self._noted_at = signal.Signals(number), time.monotonic()
        if self._at_once:
            self._leave(number, frame)
        if self._silent:
            return
        # Straight to standard error: the signal may have come in the middle of a line of the log. Whoever reads that
        # may have been stopped too.
        with contextlib.suppress(OSError):
            os.write(2, b"Stopping; once more to stop at once.\n")

    def _leave(self, number: int, frame: FrameType | None) -> NoReturn:
        self.left = 128 + number
        sys.exit(self.left)
