"""Record a function's GPU work once as a CUDA graph and replay it: a small GAN is bound by kernel launches."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator

import torch

log = logging.getLogger(__name__)

_WARM_UP_CALLS = 3


class CudaGraph:
    """Calls `work`, on a GPU as the replay of a CUDA graph as soon as one is captured.

    `work` reads and writes tensors that stay where they are, and changes nothing in Python that a later call
    depends on. Every call does the work exactly once: the first few run eagerly on a stream of their own, as
    recording demands, the next records, and from then on each call is one launch.

    Args:
        work: what to do.
        records: whether to record; if not, every call runs eagerly.
    """

    def __init__(self, work: Callable[[], None], records: bool) -> None:
        self._work = work
        self._records = records
        self._calls = 0
        # One for warm-up and recording alike, since cuBLAS keeps its working memory by stream.
        self._stream = torch.cuda.Stream() if records else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once."""
        if not self._records:
            self._work()
        elif self._graph is not None:
            self._graph.replay()
        elif self._calls < _WARM_UP_CALLS:
            self._calls += 1
            with self._on_own_stream():
                self._work()
        else:
            self._record()
            self()

    @contextlib.contextmanager
    def _on_own_stream(self) -> Iterator[None]:
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads bring images and write checkpoints meanwhile: only this one may do nothing unrecordable.
            with (
                self._on_own_stream(),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._work()
        except RuntimeError as error:
            torch.cuda.synchronize()
            _end_recording_of_random_numbers()
            self._records = False
            warn_of_eager_steps(str(error.__context__ or error).partition("\n")[0])
        else:
            self._graph = graph


def _end_recording_of_random_numbers() -> None:
    """Reset the random number generator after a failed capture, which leaves it in capture mode."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())


@functools.cache
def warn_of_eager_steps(why: str) -> None:
    """Say that iterations are launched kernel by kernel; once in a process for each reason."""
    log.warning("The step cannot be recorded as a CUDA graph and runs eagerly: %s", why)
