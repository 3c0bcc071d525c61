"""Players of games that draw in both directions: two networks of one kind, trained as one."""

from __future__ import annotations

from torch import Tensor, nn


class Translators(nn.Module):
    """Two generators: from sources to images, and from images to sources.

    Args:
        to_images: draws images from sources.
        to_sources: draws sources from images.
    """

    def __init__(self, to_images: nn.Module, to_sources: nn.Module) -> None:
        super().__init__()
        self.to_images = to_images
        self.to_sources = to_sources

    def forward(self, source: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] from each source [B, C', H, W]."""
        images: Tensor = self.to_images(source)
        return images


class Judges(nn.Module):
    """Two discriminators: of images, and of sources.

    Args:
        of_images: tells real images from those drawn.
        of_sources: tells real sources from those drawn.
    """

    def __init__(self, of_images: nn.Module, of_sources: nn.Module) -> None:
        super().__init__()
        self.of_images = of_images
        self.of_sources = of_sources

    def forward(self, images: Tensor) -> Tensor:
        """Give a logit [B], or a map of them, for each image [B, C, H, W]."""
        logits: Tensor = self.of_images(images)
        return logits
