"""Stopping a run: by a signal, or by its sweep."""

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
_SECONDS_OF_ONE_WISH = 0.5  # within which two signals count as one, as from a terminal and a supervisor


class Stop:
    """Turns the first signal into a request to stop, with a message, and exits at the second.

    Args:
        asked: whether the sweep asks to stop; called at intervals.
        world: the processes that stop together.
    """

    def __init__(self, asked: Callable[[], bool], world: World) -> None:
        self.signal: signal.Signals | None = None
        self.left: int | None = None  # the exit code of an immediate exit
        self._asked = asked
        self._poll = world.poll()
        self._silent = not world.first
        self._asks_again_at = 0.0
        self._noted_at: float | None = None
        self._restoring = contextlib.ExitStack()
        self._handled: list[signal.Signals] = []  # none if a launcher handles signals itself
        self._at_once = False

    def wanted(self) -> bool:
        """Whether the run should end."""
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
        self._restoring.enter_context(let_through(self._handled))  # a sweep's jobs hold signals back until here
        return self

    def __exit__(self, *_: object) -> None:
        self._restoring.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the context the first signal exits at once, as while data load, when there is nothing to save."""
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
            sys.exit(self.left)  # raised by a library during the exit
        finally:
            done.set()
            asking.join()
            self._at_once = False

    def _ask_until(self, done: threading.Event) -> None:
        """Turn the sweep's request into a signal, where `wanted` is not called."""
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
        # Directly to standard error: the signal may interrupt a line of the log, and its reader may have been stopped
        # too.
        with contextlib.suppress(OSError):
            os.write(2, b"Stopping; a second signal stops at once.\n")

    def _leave(self, number: int, frame: FrameType | None) -> NoReturn:
        self.left = 128 + number
        sys.exit(self.left)
