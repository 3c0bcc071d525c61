"""How real images get onto the device: from memory there, or in a stream from the disk."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gan_runner.data.batch import Batch
from gan_runner.data.image_folder import FolderImages
from gan_runner.data.image_set import ImageSet, InMemoryImages
from gan_runner.data.order import Order
from gan_runner.data.parallel import in_chunks
from gan_runner.data.resources import cores, free_memory
from gan_runner.errors import UserError
from gan_runner.ranges import Count, CountOrZero

Resident = Literal["auto", True, False]
"""Whether the whole set lies on the device: as far as it fits, in any case, or never."""

_log = logging.getLogger(__name__)

SHARE_OF_FREE_MEMORY = {"auto": 0.5, True: 0.9}
"""How much of the device's free memory a resident set may take; networks and activations need the rest."""


class Feed(Protocol):
    """Hands out real images on the device in the order of a run.

    Attributes:
        images: where the images come from.
        waited_seconds: how long `load` has waited for images so far.
    """

    images: ImageSet
    waited_seconds: float

    def buffer(self, n: Count) -> Batch:
        """An unfilled batch on the device for `load`."""

    def load(self, start: CountOrZero, out: Batch) -> None:
        """Fill `out`, n images as `buffer` makes them, with images start to start + n - 1 of the order."""

    def sample(self, n: Count, seed: int) -> Batch:
        """Some real images for statistics and pictures; the order of the run takes no notice.

        Args:
            n: how many; up to N of them are all distinct, beyond that every image comes about equally often.
            seed: any integer; the same seed, the same images.

        Returns:
            A batch on the device, its pictures uint8.
        """

    def close(self) -> None:
        """Let go of memory and worker processes; a closed feed loads no more."""


class ResidentFeed:
    """A `Feed` that holds the whole set on the device; nothing in `load` waits for it.

    Args:
        images: the set; pictures on disk are decoded here, once.
        order: the order of the run.
        device: where the images go.
    """

    def __init__(self, images: ImageSet, order: Order, device: torch.device) -> None:
        self.images = images
        self.waited_seconds = 0.0
        self._order = order
        everything = torch.arange(len(images))
        if isinstance(images, InMemoryImages):
            self._all = Batch(images.images, images.conditions(everything)).to(device)
        else:
            self._all = _decoded(images, everything, device)
        self._rows = torch.empty(order.count, dtype=torch.int64, device=device)
        self._pass_of_rows: int | None = None

    def buffer(self, n: Count) -> Batch:
        """See `Feed`."""
        return self._all.like(n, self._rows.device)

    def load(self, start: CountOrZero, out: Batch) -> None:
        """See `Feed`."""
        filled = 0
        for number, begin, end in self._order.spans(start, len(out)):
            rows = self._rows_of_pass(number)[begin:end]
            out.fill_from(self._all, rows, filled)
            filled += len(rows)

    def sample(self, n: Count, seed: int) -> Batch:
        """See `Feed`."""
        return self._all.rows(_sample_indices(len(self.images), n, seed).to(self._rows.device))

    def close(self) -> None:
        """See `Feed`."""
        self._all = Batch(torch.empty(0))

    def _rows_of_pass(self, number: int) -> Tensor:
        if number != self._pass_of_rows:
            rows = self._order.of_pass(number)
            if self._rows.is_cuda:
                rows = rows.pin_memory()  # or the copy would wait for the device
            self._rows.copy_(rows, non_blocking=True)
            self._pass_of_rows = number
        return self._rows


class StreamedFeed:
    """A `Feed` that has worker processes decode ahead of the run.

    A load that goes on where the last one ended finds its images decoded. One that starts elsewhere, as after
    a resume, starts the workers anew, and so does one whose workers were killed.

    Args:
        images: the set. One that lies in memory is read without workers, for there is nothing to decode.
        order: the order of the run.
        batch: images a load asks for; other numbers are read on the spot and leave the stream alone.
        workers: processes that decode, no more than there are cores; 0 decodes in this process.
        device: where the images go.
    """

    def __init__(
        self, images: ImageSet, order: Order, batch: Count, workers: CountOrZero, device: torch.device
    ) -> None:
        self.images = images
        self.waited_seconds = 0.0
        self._order = order
        self._batch = batch
        self._workers = 0 if isinstance(images, InMemoryImages) else min(workers, cores())
        self._device = device
        self._stream: Iterator[Read | UserError] | None = None
        self._next_start = 0

    def buffer(self, n: Count) -> Batch:
        """See `Feed`."""
        return _one_of(self.images).like(n, self._device)

    def load(self, start: CountOrZero, out: Batch) -> None:
        """See `Feed`."""
        asked = time.perf_counter()
        if len(out) == self._batch:
            batch = self._from_stream(start)
        else:
            batch = _read(self.images, self._order.indices(start, len(out)))
        self.waited_seconds += time.perf_counter() - asked
        for (_, place), (_, tensor) in zip(out.parts(), batch.parts(), strict=True):
            place.copy_(tensor, non_blocking=True)

    def sample(self, n: Count, seed: int) -> Batch:
        """See `Feed`."""
        return _decoded(self.images, _sample_indices(len(self.images), n, seed), self._device)

    def close(self) -> None:
        """See `Feed`."""
        self._stream = None  # the loader's iterator ends its workers when nobody holds it

    def _from_stream(self, start: int) -> Batch:
        if self._stream is None or start != self._next_start:
            self.close()
            self._stream = self._stream_from(start)
        try:
            read = next(self._stream)
        except RuntimeError as error:
            # Workers can be killed, for memory or by a signal to all of a job. The position is all that a new
            # stream needs; what fails twice is raised.
            _log.warning("data: the workers failed and are started anew: %s", error)
            self._stream = self._stream_from(start)
            read = next(self._stream)
        if isinstance(read, UserError):
            raise read
        pixels, conditions, broken = read
        if isinstance(self.images, FolderImages):
            self.images.warn(broken)
        self._next_start = start + self._batch
        return Batch(pixels, conditions)

    def _stream_from(self, start: int) -> Iterator[Read | UserError]:
        batches = (
            self._order.indices(position, self._batch).tolist() for position in itertools.count(start, self._batch)
        )
        return iter(
            DataLoader(
                _Reader(self.images),
                batch_size=None,  # an item of the sampler is a whole batch already
                sampler=batches,
                num_workers=self._workers,
                pin_memory=self._device.type == "cuda",
                multiprocessing_context=_worker_context() if self._workers else None,
                generator=torch.Generator(),  # or it would draw from the random numbers of the run
                worker_init_fn=_live_as_long_as_the_run,
            )
        )


# What a worker hands over: pixels, conditions, and a sentence about each broken picture.
Read = tuple[Tensor, dict[str, Tensor], list[str]]


class _Reader(Dataset[Read | UserError]):
    """Reads a batch in a worker process, and says which of its pictures were broken.

    What the user can put right is handed over as it is: an error that is raised there arrives as text.
    """

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def __getitem__(self, indices: list[int]) -> Read | UserError:
        rows = torch.tensor(indices)
        conditions = self._images.conditions(rows)
        try:
            if isinstance(self._images, FolderImages):
                pixels, broken = self._images.read(rows)
                return pixels, conditions, broken
            return self._images.pixels(rows), conditions, []
        except UserError as error:
            return error


def make_feed(
    images: ImageSet,
    *,
    resident: Resident,
    replacement: bool,
    workers: CountOrZero,
    batch: Count,
    seed: int,
    device: torch.device,
) -> Feed:
    """Choose how images get to the device, and say which in the log.

    Args:
        images: the real images.
        resident: see `Resident`; `auto` lets the set take half of the device's free memory, True most of it.
        replacement: see `Order`.
        workers: see `StreamedFeed`.
        batch: images a load asks for.
        seed: what the order follows from.
        device: where the images go.

    Raises:
        UserError: `resident` is True and the set does not fit.
    """
    order = Order(len(images), seed, replacement)
    if resident is not False and _fits(images, resident, device):
        _log.info("data: all %s images are held on %s.", f"{len(images):,}", device)
        return ResidentFeed(images, order, device)
    _log.info("data: %s images are streamed to %s.", f"{len(images):,}", device)
    return StreamedFeed(images, order, batch, workers, device)


def _fits(images: ImageSet, resident: Literal["auto", True], device: torch.device) -> bool:
    if device.type == "cpu" and isinstance(images, InMemoryImages):
        return True  # it lies there already
    channels, height, width = images.shape
    needed = len(images) * channels * height * width
    allowed = SHARE_OF_FREE_MEMORY[resident] * free_memory(device)
    if needed > allowed and resident is True:
        raise UserError(
            f"data.resident is true, but the {len(images):,} images of {images.name} take "
            f"{_megabytes(needed)}, and {device} has {_megabytes(allowed)} to give.",
            f"Try data.resident=auto, data.limit={int(len(images) * allowed / needed)}, or a smaller data.image_size.",
        )
    return needed <= allowed


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def _sample_indices(count: int, n: int, seed: int) -> Tensor:
    # The complement keeps the sample from being the start of the run's order where the seeds are the same.
    return Order(count, ~seed, replacement=False).indices(0, n)


def _one_of(images: ImageSet) -> Batch:
    """One image of a set, which tells what its batches hold."""
    return _read(images, torch.tensor([0]))


def _read(images: ImageSet, indices: Tensor) -> Batch:
    return Batch(images.pixels(indices), images.conditions(indices))


def _decoded(images: ImageSet, indices: Tensor, device: torch.device) -> Batch:
    """The images with these indices, on the device, read in threads."""
    decoded = _one_of(images).like(len(indices), device)
    for start, chunk in in_chunks(lambda rows: _read(images, rows), indices, "decoded"):
        for (_, place), (_, tensor) in zip(decoded.parts(), chunk.parts(), strict=True):
            place[start : start + len(chunk)] = tensor
    return decoded


def _worker_context() -> multiprocessing.context.BaseContext:
    """A way to start workers that inherits no threads and no CUDA, and works in a sweep's workers too."""
    known = multiprocessing.get_all_start_methods()
    method = "forkserver" if "forkserver" in known else "spawn"
    if multiprocessing.get_start_method(allow_none=True) not in {None, *known}:
        # Inside a worker of joblib the default is joblib's own method. Python hands that name on to every new
        # process, whatever its context, and the new process dies of it.
        multiprocessing.set_start_method(method, force=True)
    if method == "forkserver":
        # Imported once in the server, this module and torch with it cost each worker nothing.
        multiprocessing.set_forkserver_preload([__name__])
    return multiprocessing.get_context(method)


def _live_as_long_as_the_run(worker: int) -> None:
    """Keep a worker alive through Ctrl-C, which reaches it too, and no longer than the run, however that ends."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if run := multiprocessing.parent_process():
        # PyTorch's own watch looks at the server that started the worker, which waits for the worker to end.
        threading.Thread(target=_end_with, args=(run.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
