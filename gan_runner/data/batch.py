"""Images with their conditions, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

SOURCE = "source"
"""The condition of pairs of images: what each image is to be drawn from, images too, of the same height and width."""

TRUTH = "truth"
"""Beside an image that was drawn from a source: the real image of that pair."""

TARGET = "target"
"""Where images stand beside sources that are not their partners: a real image, beside one that is drawn."""

DRAWN_SOURCE = "drawn_source"
"""What is drawn from an image of the domain `target` in the domain of the sources."""

CYCLED, CYCLED_TARGET = "cycled", "cycled_target"
"""A source after translation to an image and back, and a target image after translation to a source and back."""

NOISY_CYCLED, NOISY_CYCLED_TARGET = "noisy_cycled", "noisy_cycled_target"
"""The same where noise of one level of 256 is added halfway."""

IMAGE_LABEL, SOURCE_LABEL = "image_label", "source_label"
"""Where images stand beside sources that are not their partners: the class of each, int64."""


def as_float(pixels: Tensor) -> Tensor:
    """Map uint8 [0, 255] to float32 [-1, 1], any shape."""
    return (pixels / 127.5).sub_(1.0)


@dataclass(frozen=True)
class Batch:
    """Images that belong together, real or generated.

    Attributes:
        images: [B, C, H, W], as a loader brings them uint8, and as a game is given them float32 in [-1, 1].
        conditions: what else is known of each image: {} or {"label": int64 [B]} or {"source": images like `images`}.
    """

    images: Tensor
    conditions: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed."""
        return Batch(change(self.images), {name: change(value) for name, value in self.conditions.items()})

    def as_float(self) -> Batch:
        """The batch with every image in it mapped from uint8 to float32 in [-1, 1]; other tensors stay."""
        return self.map(lambda tensor: as_float(tensor) if tensor.dtype == torch.uint8 else tensor)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self.map(lambda tensor: tensor.to(device))

    def rows(self, indices: Tensor) -> Batch:
        """The images with these indices, int64 [n], repeats allowed."""
        return self.map(lambda tensor: torch.index_select(tensor, 0, indices))

    def mirrored(self, which: Tensor) -> Batch:
        """The batch with left and right swapped in some of its images, and in the images among their conditions.

        Args:
            which: bool [B].
        """

        def change(tensor: Tensor) -> Tensor:
            return torch.where(which[:, None, None, None], tensor.flip(-1), tensor) if tensor.dim() == 4 else tensor

        return self.map(change)

    def first(self, count: int) -> Batch:
        """The first `count` images, repeated cyclically if there are fewer."""
        if count == len(self):
            return self
        if count < len(self):
            return self.map(lambda tensor: tensor[:count])
        return self.rows(torch.arange(count, device=self.images.device) % len(self))

    def split(self, size: int) -> Iterator[Batch]:
        """The batch in parts of `size`, the last of which may be smaller; views of the same memory."""
        for start in range(0, len(self), size):
            yield self.map(lambda tensor, start=start: tensor[start : start + size])  # type: ignore[misc]

    def parts(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by its name, the images first."""
        yield "images", self.images
        yield from self.conditions.items()

    def like(self, count: int, device: torch.device) -> Batch:
        """An unfilled batch of `count` images of the same kind on a device."""
        return self.map(lambda tensor: torch.empty((count, *tensor.shape[1:]), dtype=tensor.dtype, device=device))

    def put(self, other: Batch, start: int = 0) -> None:
        """Copy another batch, on any device, to this one's places from `start` on."""
        for (_, place), (_, tensor) in zip(self.parts(), other.parts(), strict=True):
            place[start : start + len(other)].copy_(tensor)

    def fill_from(self, other: Batch, indices: Tensor, start: int = 0) -> None:
        """Copy rows of another batch, on the same device, to this one's places from `start` on."""
        end = start + len(indices)
        for (_, out), (_, source) in zip(self.parts(), other.parts(), strict=True):
            torch.index_select(source, 0, indices, out=out[start:end])


def joined(batches: list[Batch]) -> Batch:
    """Several batches of one kind as one."""
    names = batches[0].conditions
    return Batch(
        torch.cat([batch.images for batch in batches]),
        {name: torch.cat([batch.conditions[name] for batch in batches]) for name in names},
    )
