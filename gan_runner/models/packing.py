"""Packing: D judges several images at a time, so that it can detect a lack of diversity."""

from __future__ import annotations

from torch import Tensor, nn

from gan_runner.errors import UserError
from gan_runner.ranges import Count


def packed(images: Tensor, size: Count) -> Tensor:
    """Stack every `size` neighbouring images of a batch in channels: [B, C, H, W] to [B / size, size * C, H, W].

    B is a multiple of `size`, as validated in the config.
    """
    count, channels, height, width = images.shape
    return images.reshape(count // size, size * channels, height, width)


class Packed(nn.Module):
    """A discriminator of packs that are all real or all generated (PacGAN; Lin et al. 2018, arXiv:1712.04086).

    Args:
        net: the discriminator of a pack; its image shape is (size * C, H, W).
        size: images a pack, the paper's m.
    """

    def __init__(self, net: nn.Module, size: Count) -> None:
        super().__init__()
        self.net = net
        self.size = size

    def forward(self, images: Tensor, *conditions: Tensor, **named: Tensor) -> Tensor:
        """Give a logit [B / size, ...] for every `size` neighbouring images of [B, C, H, W].

        Raises:
            UserError: D has further inputs, such as classes, which differ within a pack.
        """
        if conditions or named:
            raise UserError(
                f"game.packing is {self.size}, but in this game D has another input for each image, such as its "
                "class, and neighbouring images differ in that.",
                "Try game.packing=1.",
            )
        logits: Tensor = self.net(packed(images, self.size))
        return logits
