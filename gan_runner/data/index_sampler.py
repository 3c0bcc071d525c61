"""The order in which a run sees its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_runner.ranges import Count, CountOrZero
from gan_runner.seeds import generator_for


@dataclass(frozen=True)
class Share:
    """Every `size`-th position of an order from `rank` on: what one of `size` processes plays of each batch."""

    rank: int = 0
    size: int = 1


EVERYTHING = Share()


class IndexSampler:
    """An endless stream of image indices in which a single counter says where one is.

    Positions p * count to (p + 1) * count - 1 are pass p. What a pass looks like follows from the seed and
    from p alone, so a run can go on at any position without replaying what came before.

    Args:
        count: number of images.
        seed: any integer; another seed, another order.
        replacement: draw each index again, so that a pass may miss some images and repeat others, instead of
            showing each image once a pass.
        share: the positions that are looked at; they are counted from 0 on, and passes stay what they are.
        views: ways to show an image, all equally likely and drawn again in every pass; see `Views`. Index
            count * view + i stands for image i shown in that way.
    """

    def __init__(self, count: Count, seed: int, replacement: bool, share: Share = EVERYTHING, views: Count = 1) -> None:
        self.count = count
        self.views = views
        self._share = share
        self._seed = seed
        self._replacement = replacement
        self._passes: dict[int, Tensor] = {}

    def indices(self, start: CountOrZero, n: Count) -> Tensor:
        """The indices at positions start to start + n - 1, int64 [n]; they may lie in several passes."""
        return torch.cat([self.of_pass(number)[places] for number, places in self.spans(start, n)])

    def spans(self, start: CountOrZero, n: Count) -> Iterator[tuple[int, slice]]:
        """Cut positions start to start + n - 1 at the borders of passes.

        Yields:
            The number of a pass, and the places in it.
        """
        step = self._share.size
        position, end = start * step + self._share.rank, (start + n) * step
        while position < end:
            number, begin = divmod(position, self.count)
            places = range(begin, min(self.count, begin + end - position), step)
            yield number, slice(begin, places.stop, step)
            position += len(places) * step

    def of_pass(self, number: CountOrZero) -> Tensor:
        """The indices of a whole pass, int64 [count]; not to be written to."""
        if number not in self._passes:
            # A batch on a border needs two passes, a stream that runs ahead of its reader no more.
            while len(self._passes) > 1:
                del self._passes[next(iter(self._passes))]
            self._passes[number] = self._drawn(number)
        return self._passes[number]

    def _drawn(self, number: int) -> Tensor:
        generator = generator_for(self._seed, "pass", number)
        if self._replacement:
            rows = torch.randint(self.count, (self.count,), generator=generator)
        else:
            rows = torch.randperm(self.count, generator=generator)
        if self.views > 1:  # drawn last, so that the order is the same with and without
            rows += self.count * torch.randint(self.views, (self.count,), generator=generator)
        return rows
