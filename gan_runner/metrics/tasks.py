"""What an encoder learns, so that its features tell images apart: classes, or something that needs no labels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Task(Protocol):
    """A head on top of an encoder, and the loss that both minimise.

    Attributes:
        name: what the fingerprint of the extractor says that it learned.
        classes: how many classes of images the head tells apart; 0 for a task without.
    """

    name: str
    classes: int

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """A new head on `dim` features of images of a shape."""

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """What the encoder and the head minimise, 0-d.

        Args:
            encoder: images [B, C, H, W] to features [B, dim].
            head: made by `head`.
            images: float32 [B, C, H, W] in [-1, 1].
            rows: which images of the set they are, int64 [B] on the CPU.
            generator: of random numbers on the CPU.
        """


class Classes:
    """Tell the classes of the set apart.

    Args:
        labels: int64 [N] on the CPU.
        classes: how many there are.
    """

    name = "classes"

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.classes = classes
        self._labels = labels

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        del shape
        return nn.Linear(dim, self.classes)

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        del generator
        return cross_entropy(head(encoder(images)), self._labels[rows].to(images.device))


class Turns:
    """Tell by how many quarter turns an image was turned (Gidaris et al. 2018, arXiv:1803.07728).

    Images that are not square are mirrored instead: not at all, left to right, top to bottom, or both.
    """

    name = "turns"
    classes = 0

    def head(self, dim: int, shape: tuple[int, int, int]) -> nn.Module:
        """See `Task`."""
        del shape
        return nn.Linear(dim, 4)

    def loss(
        self, encoder: nn.Module, head: nn.Module, images: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Tensor:
        """See `Task`."""
        del rows
        turns = torch.randint(4, (len(images),), generator=generator).to(images.device)
        turned = torch.empty_like(images)
        for turn in range(4):
            chosen = turns == turn
            turned[chosen] = self._turned(images[chosen], turn)
        return cross_entropy(head(encoder(turned)), turns)

    @staticmethod
    def _turned(images: Tensor, turn: int) -> Tensor:
        if images.shape[2] == images.shape[3]:
            return images.rot90(turn, (2, 3))
        return images.flip([axis for axis, bit in ((2, 1), (3, 2)) if turn & bit])
