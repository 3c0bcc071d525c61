"""Generated images of earlier updates, which D is shown among new ones so that it does not forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from gan_runner.ranges import Count


class Sharing(Protocol):
    """The processes that train together; see `gan_runner.training.distributed.World`."""

    def share(self, count: int, key: str) -> int:
        """This process's share of a number of images."""
        ...

    def interleaved(self, rows: Tensor) -> Tensor:
        """The rows of which every process has its share."""
        ...

    def shard(self, rows: Tensor) -> Tensor:
        """This process's share of rows."""
        ...


class ImagePool:
    """A pool of generated images (Shrivastava et al. 2017, arXiv:1612.07828, section 2.3).

    It first fills up. Then each new image is, with probability 1/2, either returned, or swapped with a random image of
    the pool, which is returned instead. All decisions are made on the device, so that a recorded step makes new ones.

    Args:
        size: images that it holds, of all processes together.
        world: who shares it; each process has a part of it for its own images.

    Raises:
        UserError: the processes cannot share so many images.
    """

    def __init__(self, size: Count, world: Sharing) -> None:
        self._size = world.share(size, "game.pool")
        self._world = world
        self._images: Tensor | None = None  # [size, C, H, W]
        self._shown = torch.zeros((), dtype=torch.int64)  # images so far, of this process

    @torch.no_grad()
    def shown(self, images: Tensor) -> Tensor:
        """What D is to be shown in the place of newly drawn images, [B, C, H, W]."""
        kept = self._on(images)
        out = []
        for image in images.detach().to(kept.dtype).split(1):
            filling = self._shown < self._size
            place = torch.where(filling, self._shown, torch.randint(self._size, (), device=images.device))
            swapped = torch.rand((), device=images.device) < 0.5
            old = kept.index_select(0, place[None])
            out.append(torch.where(swapped & ~filling, old, image))
            kept.index_copy_(0, place[None], torch.where(swapped | filling, image, old))
            self._shown += 1
        return torch.cat(out).to(images.dtype)

    def _on(self, images: Tensor) -> Tensor:
        """The pool on the device of these images, made for their shape when it sees the first ones."""
        if self._images is None:
            self._images = images.new_zeros((self._size, *images.shape[1:]), dtype=torch.float32)
        if self._images.device != images.device or self._shown.device != images.device:
            self._images, self._shown = self._images.to(images.device), self._shown.to(images.device)
        return self._images

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the images of all processes."""
        images = None if self._images is None else self._world.interleaved(self._images)
        return {"images": images, "shown": self._shown}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint, of any number of processes."""
        images = state["images"]
        self._images = None if images is None else self._world.shard(images).clone()
        self._shown = state["shown"].clone()
