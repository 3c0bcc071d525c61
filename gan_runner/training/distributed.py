"""One run in several processes, on the GPUs of one or several machines: the collectives that they need.

All of them run the same program on the same numbers. Each plays its share of every batch, gradients are averaged
before an optimizer makes its update, and whatever a decision hangs on is reduced over all, or is the first one's. So
their weights stay equal bit for bit, and the first one alone keeps the record.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gan_runner import launched
from gan_runner.data.index_sampler import Share
from gan_runner.errors import UserError
from gan_runner.models.synchronised_norm import synchronise_norms
from gan_runner.seeds import derived_seed

T = TypeVar("T")
Draw = Callable[[int, torch.Generator | None], Tensor]
"""Draws so many of something, [n, ...], from a generator, or from the device's own random numbers."""

_SECONDS_BETWEEN_POLLS = 0.5
_SECONDS_FOR_THE_FIRST = 2.0  # to say of an error that all have what the others need not say again
_LONGEST_WAIT = datetime.timedelta(hours=2)  # for the first one, which loads data and measures while the others wait


class World:
    """The processes that train a run together: here a single one."""

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which logs and writes."""
        return self.rank == 0

    @property
    def order(self) -> Share:
        """Which part of the order of the images this process plays."""
        return Share(self.rank, self.size)

    def device(self, name: str) -> str:
        """What trainer.device means to this process."""
        return name

    def share(self, count: int, key: str) -> int:
        """This process's share of a number of images.

        Args:
            count: images of all processes together.
            key: the setting that says how many, for the message.

        Raises:
            UserError: they cannot be divided equally.
        """
        return count

    def drawn(self, draw: Draw, count: int) -> Tensor:
        """Draw this process's `count` rows of what all of them draw together, as one process alone would."""
        return draw(count, None)

    @property
    def generator(self) -> torch.Generator | None:
        """The random numbers that all processes have in common; None where they are the device's own."""
        return None

    def own_random_numbers(self, seed: int, iteration: int) -> contextlib.AbstractContextManager[None]:
        """A context in which each process draws its own random numbers, such as dropout masks."""
        return contextlib.nullcontext()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of such a tensor over all processes."""
        return values

    def gathered(self, values: Tensor) -> Tensor:
        """Every process's tensor of a shape, [size, ...]."""
        return values[None]

    def interleaved(self, rows: Tensor) -> Tensor:
        """The rows [n * size, ...] of which every process has its share [n, ...]; see `order`."""
        return rows

    def shard(self, rows: Tensor) -> Tensor:
        """This process's share of rows; the way back from `interleaved`."""
        return rows

    def averaged_over_processes(self, parameters: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
        """What turns a process's gradients for these parameters into their means over all processes."""
        return _as_they_are

    def broadcast(self, work: Callable[[], T]) -> T:
        """Do some work on rank 0, and broadcast its result."""
        return work()

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """A context that rank 0 passes through before the others enter it."""
        yield

    def broadcast_weights(self, net: nn.Module) -> None:
        """Broadcast rank 0's weights, and synchronise batch norm over all processes."""

    def fork_rng(self, device: torch.device) -> None:
        """From now on, shared random numbers continue from the device's current state."""

    def poll(self) -> Callable[[int], int]:
        """A function to call after every turn with this process's request; returns the largest request, 0 for none.

        Several processes ask each other now and then only, and hear of no wish in between.
        """
        return _own_wish

    def to_tell(self, error: Exception) -> Exception | None:
        """The message of this process for an error that ends it; None if another process prints it."""
        return error

    def end(self) -> None:
        """Leave the process group."""


def _as_they_are(gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    return gradients


def _own_wish(wish: int) -> int:
    return wish


ALONE = World()


class Processes(World):
    """Several processes, connected by PyTorch's distributed engine.

    Args:
        rank: this one's number.
        size: how many there are.
        store: what all of them can read and write while others fail.
        local_rank: this one's number on its machine.
        local_size: how many there are on this machine.
    """

    def __init__(self, rank: int, size: int, store: Store, local_rank: int, local_size: int) -> None:
        self.rank = rank
        self.size = size
        self._store = PrefixStore("gan-runner", store)
        self._local_rank = local_rank
        self._local_size = local_size
        self._generator: torch.Generator | None = None
        self._own_error: Exception | None = None  # that the others have not met with

    def device(self, name: str) -> str:
        """See `World`; every process of a machine has a GPU of its own."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if name == "cpu" or (name == "auto" and not gpus):
            return "cpu"
        if name not in ("auto", "cuda"):
            raise UserError(
                f"trainer.device is {name}, but torchrun has started {self.size} processes, each of which takes a GPU "
                "of its own.",
                "Try trainer.device=auto.",
            )
        if gpus < self._local_size:
            raise UserError(
                f"torchrun has started {self._local_size} processes here, but PyTorch sees {gpus} "
                f"GPU{'s' * (gpus != 1)}, and each takes one.",
                f"Try torchrun --nproc_per_node={gpus}, or trainer.device=cpu." if gpus else "Try trainer.device=cpu.",
            )
        return f"cuda:{self._local_rank}"

    def share(self, count: int, key: str) -> int:
        """See `World`."""
        if count % self.size:
            below = max(self.size, count // self.size * self.size)
            raise UserError(
                f"{key} is {count}, but {self.size} processes share these images, so it must be a multiple of "
                f"{self.size}.",
                f"Try {key}={below} or {below + self.size}.",
            )
        return count // self.size

    def drawn(self, draw: Draw, count: int) -> Tensor:
        """See `World`."""
        assert self._generator is not None, "random numbers are parted before anything is trained"
        return self.shard(draw(count * self.size, self._generator))

    @property
    def generator(self) -> torch.Generator | None:
        """See `World`."""
        return self._generator

    @contextlib.contextmanager
    def own_random_numbers(self, seed: int, iteration: int) -> Iterator[None]:
        """See `World`; they follow from the place in the run, so that a checkpoint need not keep them."""
        torch.manual_seed(derived_seed(seed, f"process {self.rank} of {self.size}", iteration))
        yield
        torch.manual_seed(derived_seed(seed, "all processes", iteration))  # for what the others must draw alike

    def mean(self, values: Tensor) -> Tensor:
        """See `World`."""
        total = values.clone()
        dist.all_reduce(total)
        return total.div_(self.size)

    def gathered(self, values: Tensor) -> Tensor:
        """See `World`."""
        parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.stack(parts)

    def interleaved(self, rows: Tensor) -> Tensor:
        """See `World`."""
        return self.gathered(rows).transpose(0, 1).flatten(0, 1)

    def shard(self, rows: Tensor) -> Tensor:
        """See `World`."""
        return rows[self.rank :: self.size]

    def averaged_over_processes(self, parameters: Sequence[Tensor]) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
        """See `World`."""
        return _Averaging(parameters, self.size)

    def broadcast(self, work: Callable[[], T]) -> T:
        """See `World`."""
        results = [work() if self.first else None]
        dist.broadcast_object_list(results, src=0)
        result: T = results[0]  # type: ignore[assignment]
        return result

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """See `World`."""
        if not self.first:
            self._meet()
        yield
        if self.first:
            self._meet()

    def _meet(self) -> None:
        # Not `dist.barrier`, which would have a GPU do it.
        dist.all_reduce(torch.zeros(1))

    def broadcast_weights(self, net: nn.Module) -> None:
        """See `World`."""
        net.load_state_dict(self.broadcast(lambda: {name: value.cpu() for name, value in net.state_dict().items()}))
        synchronise_norms(net)

    def fork_rng(self, device: torch.device) -> None:
        """See `World`."""
        on_gpu = device.type == "cuda"
        state = self.broadcast(lambda: torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state())
        self._generator = torch.Generator(device)
        self._generator.set_state(state)

    def poll(self) -> Callable[[int], int]:
        """See `World`."""
        return _Poll()

    def to_tell(self, error: Exception) -> Exception | None:
        """See `World`.

        The first process says what all have met with, such as a mistake of the user's, and so do others what they
        alone have: then the first one, which sees a connection break, names it.
        """
        with contextlib.suppress(RuntimeError):  # where torchrun itself is gone, everybody speaks
            if self.first:
                if self._store.check(["failed"]):
                    number, _, said = self._store.get("failed").decode().partition("\n")
                    return UserError(f"Process {number} of this run has failed: {said}", _AFTER_A_FAILURE)
                self._store.set("first has failed", "")
                return _lost(error)
            if error is self._own_error:
                return error
            if self._store.check(["failed"]) or self._has_first_failed():
                return None
            self._own_error = error
            self._store.set("failed", f"{self.rank}\n{error}")
        return error

    def _has_first_failed(self) -> bool:
        deadline = time.monotonic() + _SECONDS_FOR_THE_FIRST
        while not (failed := self._store.check(["first has failed"])) and time.monotonic() < deadline:
            time.sleep(0.05)
        return failed

    def end(self) -> None:
        """See `World`."""
        dist.destroy_process_group()


_AFTER_A_FAILURE = "Once that is put right, resume=DIR resumes from the last checkpoint."


def _lost(error: Exception) -> Exception:
    """A message about a process whose connection is lost; None for any other error."""
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return UserError("Another process of this run was killed, and the run ends with it.", _AFTER_A_FAILURE)
    return error


class _Averaging:
    """Averages gradients in one message.

    Args:
        parameters: the weights; a gradient is given back as its weight lies in memory.
        size: processes.
    """

    def __init__(self, parameters: Sequence[Tensor], size: int) -> None:
        self._size = size
        by_type: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_type[parameter.dtype].append(parameter)
        self._messages: list[Tensor] = []
        places: dict[int, Tensor] = {}
        for dtype, alike in by_type.items():
            ends = list(itertools.accumulate(parameter.numel() for parameter in alike))
            message = torch.empty(ends[-1], dtype=dtype, device=alike[0].device)
            for parameter, end in zip(alike, ends, strict=True):
                begin = end - parameter.numel()
                places[id(parameter)] = message.as_strided(parameter.shape, parameter.stride(), begin)
            self._messages.append(message)
        self._gradients = [places[id(parameter)] for parameter in parameters]

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Give the means, which stay until the next call."""
        torch._foreach_copy_(self._gradients, list(gradients))
        for message in self._messages:
            dist.all_reduce(message)
            message.div_(self._size)
        return self._gradients


class _Poll:
    """Polls all processes about twice a second, at the same turn in each."""

    def __init__(self) -> None:
        self._interval = 1  # turns, the same for all
        self._left = 1
        self._asked = time.monotonic()

    def __call__(self, wish: int) -> int:
        """See `World.poll`."""
        self._left -= 1
        if self._left:
            return 0
        now = time.monotonic()
        wanted = int(self._interval * _SECONDS_BETWEEN_POLLS / max(now - self._asked, 1e-6))
        answer = torch.tensor([wish, -min(max(wanted, 1), 2 * self._interval)])
        dist.all_reduce(answer, op=dist.ReduceOp.MAX)
        greatest, interval = answer.tolist()
        self._interval = self._left = -interval
        self._asked = now
        return int(greatest)


@functools.cache
def init_processes() -> World:
    """The processes that torchrun has started, of which this is one, once all are there; or this one alone."""
    if not launched.by_torchrun() or os.environ["WORLD_SIZE"] == "1":
        return ALONE
    store, rank, size = next(rendezvous("env://", timeout=_LONGEST_WAIT))
    # Words between the hosts go by gloo in any case, so that nothing that is asked there waits for a GPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_LONGEST_WAIT)
    local_rank, local_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available() and torch.cuda.device_count() >= local_size:
        torch.cuda.set_device(local_rank)  # or every process would take memory of the first GPU
    return Processes(rank, size, store, local_rank, local_size)
