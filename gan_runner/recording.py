"""Record a function's GPU work once as a CUDA graph and replay it: a small GAN is bound by kernel launches."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

log = logging.getLogger(__name__)

_WARM_UP_CALLS = 3


class Recording:
    """Calls `work`, on a GPU as the replay of a recording as soon as one can be made.

    `work` reads and writes tensors that stay where they are, and changes nothing in Python that a later call
    depends on. Every call does the work exactly once: the first few run eagerly on a side stream, as
    recording demands, the next records, and from then on each call is one launch.
    """

    def __init__(self, work: Callable[[], None], device: torch.device) -> None:
        self._work = work
        self._records = device.type == "cuda"
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once."""
        if not self._records:
            self._work()
        elif self._graph is not None:
            self._graph.replay()
        elif self._calls < _WARM_UP_CALLS:
            self._calls += 1
            self._on_side_stream()
        else:
            self._record()
            self()

    def _on_side_stream(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._work()
        torch.cuda.current_stream().wait_stream(side)

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._work()
        except RuntimeError as error:
            torch.cuda.synchronize()
            self._records = False
            log.warning("This step cannot be recorded as a CUDA graph and runs eagerly: %s", error)
        else:
            self._graph = graph
