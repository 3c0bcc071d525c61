"""How real images get onto the device: from memory there, or in a stream from the disk."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor

from gan_runner.data.batch import IMAGE_LABEL, SOURCE, SOURCE_LABEL, Batch, joined
from gan_runner.data.image_set import ImageSet, InMemoryImages, batch_of, kind_of
from gan_runner.data.index_sampler import EVERYTHING, IndexSampler, Share
from gan_runner.data.parallel import CHUNK, in_chunks, in_order
from gan_runner.data.resources import free_memory, megabytes, round_size
from gan_runner.data.unpaired import Unpaired
from gan_runner.data.views import AS_STORED, Views, views_of
from gan_runner.errors import UserError
from gan_runner.machine.cores import cores
from gan_runner.ranges import Count, CountOrZero, FractionBelowOne
from gan_runner.seeds import derived_seed

Resident = Literal["auto", True, False]
"""Whether the whole set lies on the device: as far as it fits, in any case, or never."""

_log = logging.getLogger(__name__)

SHARE_OF_FREE_MEMORY = {"auto": 0.5, True: 0.9}
"""How much of the device's free memory a resident set may take; networks and activations need the rest."""

_COPIES_OF_A_BATCH = 9  # as bytes once, and twice as floats
_BATCHES_AHEAD = 2  # that a stream decodes before they are asked for


class Loader(Protocol):
    """Hands out real images on the device in the order of a run.

    Attributes:
        images: where the images come from.
    """

    images: ImageSet

    @property
    def waited_seconds(self) -> float:
        """How long `load` has waited for images so far."""

    def buffer(self, n: Count) -> Batch:
        """An unfilled batch on the device for `load`."""

    def load(self, start: CountOrZero, out: Batch) -> None:
        """Fill `out`, n images as `buffer` makes them, with images start to start + n - 1 of the order."""

    def sample(self, n: Count, seed: int, as_shown: bool = False) -> Batch:
        """Some real images for statistics and images; the order of the run takes no notice.

        Args:
            n: how many; up to N of them are all distinct, beyond that every image comes about equally often.
            seed: any integer; the same seed, the same images.
            as_shown: show them in the ways that `load` does; otherwise they are as the set has them.

        Returns:
            A batch on the device, its images uint8.
        """

    def close(self) -> None:
        """Let go of memory and threads; a closed loader loads no more."""


class ResidentLoader:
    """A `Loader` that holds the whole set on the device; nothing in `load` waits for it.

    Args:
        images: the set; images on disk are decoded here, once.
        order: the order of the run.
        device: where the images go.
        views: the ways that images are shown in, as many as the order has.
    """

    def __init__(self, images: ImageSet, order: IndexSampler, device: torch.device, views: Views = AS_STORED) -> None:
        self.images = images
        self.waited_seconds = 0.0
        self._order = order
        self._views = views
        everything = torch.arange(len(images))
        if isinstance(images, InMemoryImages):
            self._all = Batch(images.images, images.conditions(everything)).to(device)
        else:
            self._all = _decoded(images, everything, device)
        self._rows = torch.empty(order.count, dtype=torch.int64, device=device)
        self._pass_of_rows: int | None = None

    def buffer(self, n: Count) -> Batch:
        """See `Loader`."""
        return self._all.like(n, self._rows.device)

    def load(self, start: CountOrZero, out: Batch) -> None:
        """See `Loader`."""
        filled = 0
        for number, places in self._order.spans(start, len(out)):
            indices = self._rows_of_pass(number)[places]
            if len(self._views) > 1:
                out.put(self._picked(indices, self._views), filled)
            else:
                out.fill_from(self._all, indices, filled)
            filled += len(indices)

    def sample(self, n: Count, seed: int, as_shown: bool = False) -> Batch:
        """See `Loader`."""
        views = self._views if as_shown else AS_STORED
        indices = sampled_rows(len(self.images), n, seed, len(views))
        return self._picked(indices.to(self._rows.device), views)

    def close(self) -> None:
        """See `Loader`."""
        self._all = Batch(torch.empty(0))

    def _picked(self, indices: Tensor, views: Views) -> Batch:
        count = len(self.images)
        return views.show(self._all.rows(indices % count), torch.div(indices, count, rounding_mode="floor"))

    def _rows_of_pass(self, number: int) -> Tensor:
        if number != self._pass_of_rows:
            rows = self._order.of_pass(number)
            if self._rows.is_cuda:
                rows = rows.pin_memory()  # or the copy would wait for the device
            self._rows.copy_(rows, non_blocking=True)
            self._pass_of_rows = number
        return self._rows


class StreamedLoader:
    """A `Loader` that has threads decode ahead of the run.

    A load that goes on where the last one ended finds its images decoded. One that starts elsewhere, as after
    a resume, starts the stream again.

    Args:
        images: the set. One that lies in memory is read without threads, for there is nothing to decode.
        order: the order of the run.
        batch: images a load asks for; other numbers are read on the spot and leave the stream alone.
        workers: threads that decode, no more than there are cores; 0 decodes when images are asked for.
        device: where the images go.
        views: the ways that images are shown in, as many as the order has.
    """

    def __init__(
        self,
        images: ImageSet,
        order: IndexSampler,
        batch: Count,
        workers: CountOrZero,
        device: torch.device,
        views: Views = AS_STORED,
    ) -> None:
        self.images = images
        self.waited_seconds = 0.0
        self._order = order
        self._batch = batch
        self._workers = 0 if isinstance(images, InMemoryImages) else min(workers, cores())
        self._device = device
        self._views = views
        self._stream: Iterator[Batch] | None = None
        self._next_start = 0

    def buffer(self, n: Count) -> Batch:
        """See `Loader`."""
        return _one_of(self.images).like(n, self._device)

    def load(self, start: CountOrZero, out: Batch) -> None:
        """See `Loader`."""
        asked = time.perf_counter()
        if len(out) == self._batch:
            batch = self._from_stream(start)
        else:
            batch = _read(self.images, self._order.indices(start, len(out)), self._views)
        self.waited_seconds += time.perf_counter() - asked
        for (_, place), (_, tensor) in zip(out.parts(), batch.parts(), strict=True):
            if place.is_cuda:
                tensor = tensor.pin_memory()  # or the copy would wait for the device
            place.copy_(tensor, non_blocking=True)

    def sample(self, n: Count, seed: int, as_shown: bool = False) -> Batch:
        """See `Loader`."""
        views = self._views if as_shown else AS_STORED
        return _decoded(self.images, sampled_rows(len(self.images), n, seed, len(views)), self._device, views)

    def close(self) -> None:
        """See `Loader`."""
        self._stream = None  # the threads end when nobody holds it

    def _from_stream(self, start: int) -> Batch:
        stream = self._stream if start == self._next_start else None
        self._stream = None  # a stream that fails or is interrupted is not used again
        stream = stream or self._stream_from(start)
        batch = next(stream)
        self._stream, self._next_start = stream, start + self._batch
        return batch

    def _stream_from(self, start: int) -> Iterator[Batch]:
        def read(rows: Tensor) -> Batch:
            return _read(self.images, rows, self._views)

        batches = (self._order.indices(position, self._batch) for position in itertools.count(start, self._batch))
        if not self._workers:
            return map(read, batches)
        chunks = itertools.chain.from_iterable(rows.split(CHUNK) for rows in batches)
        chunks_a_batch = math.ceil(self._batch / CHUNK)
        ahead = _BATCHES_AHEAD * chunks_a_batch + self._workers
        parts = in_order(read, chunks, self._workers, ahead)
        return (joined(list(itertools.islice(parts, chunks_a_batch))) for _ in itertools.count())


class UnpairedLoader:
    """A `Loader` of two domains, each in an order of its own, so that none stands beside the same ones again.

    Both are at the same position of their orders; a domain with fewer images is further in its passes.

    Args:
        images: both domains.
        drawn: brings the images.
        sources: brings what they are drawn from.
    """

    def __init__(self, images: Unpaired, drawn: Loader, sources: Loader) -> None:
        self.images: ImageSet = images
        self._drawn = drawn
        self._sources = sources
        self._labelled = bool(images.class_names)

    @property
    def waited_seconds(self) -> float:
        """See `Loader`."""
        return self._drawn.waited_seconds + self._sources.waited_seconds

    def buffer(self, n: Count) -> Batch:
        """See `Loader`."""
        return self._together(self._drawn.buffer(n), self._sources.buffer(n))

    def load(self, start: CountOrZero, out: Batch) -> None:
        """See `Loader`."""
        sides = ((self._drawn, out.images, IMAGE_LABEL), (self._sources, out.conditions[SOURCE], SOURCE_LABEL))
        for loader, images, label in sides:
            labels = {"label": out.conditions[label]} if self._labelled else {}
            loader.load(start, Batch(images, labels))

    def sample(self, n: Count, seed: int, as_shown: bool = False) -> Batch:
        """See `Loader`."""
        of_sources = derived_seed(seed, _OF_SOURCES)
        return self._together(self._drawn.sample(n, seed, as_shown), self._sources.sample(n, of_sources, as_shown))

    def close(self) -> None:
        """See `Loader`."""
        self._drawn.close()
        self._sources.close()

    def _together(self, drawn: Batch, sources: Batch) -> Batch:
        conditions = {SOURCE: sources.images}
        if self._labelled:
            conditions |= {IMAGE_LABEL: drawn.conditions["label"], SOURCE_LABEL: sources.conditions["label"]}
        return Batch(drawn.images, conditions)


_OF_SOURCES = "the order of the sources"


def make_loader(
    images: ImageSet,
    *,
    resident: Resident,
    replacement: bool,
    workers: CountOrZero,
    batch: Count,
    seed: int,
    device: torch.device,
    share: Share = EVERYTHING,
    flip: bool = False,
    random_crop: FractionBelowOne = 0.0,
) -> Loader:
    """Choose how images get to the device, and say which in the log.

    Args:
        images: the real images.
        resident: see `Resident`; `auto` lets the set take half of the device's free memory, True most of it.
        replacement: see `IndexSampler`.
        workers: see `StreamedLoader`.
        batch: images a load asks for.
        seed: what the order follows from.
        device: where the images go.
        share: the part of the order that is played here.
        flip: mirror each image with chance 1/2, drawn again in every pass.
        random_crop: the share by which images are enlarged, and then cropped at random, likewise.

    Raises:
        UserError: a batch does not fit into memory, or `resident` is True and the set does not.
    """
    if isinstance(images, Unpaired):
        drawn, sources = (
            make_loader(
                side,
                resident=resident,
                replacement=replacement,
                workers=workers,
                batch=batch,
                seed=of_side,
                device=device,
                share=share,
                flip=flip,
                random_crop=random_crop,
            )
            for side, of_side in ((images.images, seed), (images.sources, derived_seed(seed, _OF_SOURCES)))
        )
        return UnpairedLoader(images, drawn, sources)
    views = views_of(images.shape, flip, random_crop)
    order = IndexSampler(len(images), seed, replacement, share, len(views))
    fits = resident is not False and _fits(images, resident, device)
    _check_batch(images, batch, device)
    if fits:
        _log.debug("data: all %s images are held on %s.", f"{len(images):,}", device)
        return ResidentLoader(images, order, device, views)
    _log.debug("data: %s images are streamed to %s.", f"{len(images):,}", device)
    return StreamedLoader(images, order, batch, workers, device, views)


def _fits(images: ImageSet, resident: Literal["auto", True], device: torch.device) -> bool:
    if device.type == "cpu" and isinstance(images, InMemoryImages):
        return True  # it is there already
    needed = len(images) * _bytes_of_one(images)
    allowed = SHARE_OF_FREE_MEMORY[resident] * free_memory(device)
    if needed > allowed and resident is True:
        raise UserError(
            f"data.resident is true, but the {len(images):,} images of {images.name} take "
            f"{megabytes(needed)}, and {device} has {megabytes(allowed)} to give.",
            f"Try data.resident=auto, data.limit={int(len(images) * allowed / needed)}, or a smaller data.image_size.",
        )
    return needed <= allowed


def _check_batch(images: ImageSet, batch: int, device: torch.device) -> None:
    """Refuse batches that memory cannot hold: as bytes and, on their way into a network, as floats."""
    channels, height, width = images.shape
    copies = _BATCHES_AHEAD + _COPIES_OF_A_BATCH
    of_one = copies * _bytes_of_one(images)
    allowed = int(SHARE_OF_FREE_MEMORY[True] * free_memory(device))
    if batch * of_one <= allowed:
        return
    fits = max(1, math.isqrt(allowed * height * width // (of_one * batch)))
    fewer = f" or trainer.batch_size={allowed // of_one}" if allowed >= of_one else ""
    raise UserError(
        f"A batch of {batch:,} images of {channels}x{height}x{width} takes {megabytes(batch * of_one)} while it is "
        f"prepared, and {device} has {megabytes(allowed)} to give.",
        f"Try data.image_size={round_size(fits)}{fewer}.",
    )


def sampled_rows(count: Count, n: Count, seed: int, views: Count = 1) -> Tensor:
    """The indices that `Loader.sample` takes of `count`, int64 [n]: at random, each once before one comes again."""
    # The complement keeps the sample from being the start of the run's order where the seeds are the same.
    return IndexSampler(count, ~seed, replacement=False, views=views).indices(0, n)


def _bytes_of_one(images: ImageSet) -> int:
    """What the pixels of one image take, and of a pair those of both."""
    kind = kind_of(images)
    return math.prod(kind.shape) + (math.prod(kind.source) if kind.source is not None else 0)


def _one_of(images: ImageSet) -> Batch:
    """One image of a set, which tells what its batches hold."""
    return _read(images, torch.tensor([0]))


def _read(images: ImageSet, indices: Tensor, views: Views = AS_STORED) -> Batch:
    """The images with these indices, shown in the ways that they stand for; see `IndexSampler`."""
    batch = batch_of(images, indices % len(images))
    return views.show(batch, torch.div(indices, len(images), rounding_mode="floor")) if len(views) > 1 else batch


def _decoded(images: ImageSet, indices: Tensor, device: torch.device, views: Views = AS_STORED) -> Batch:
    """The images with these indices, on the device, read in threads."""
    decoded = _one_of(images).like(len(indices), device)
    for start, chunk in in_chunks(lambda rows: _read(images, rows, views), indices, "decoded"):
        decoded.put(chunk, start)
    return decoded
