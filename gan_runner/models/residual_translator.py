"""The generator of CycleGAN (Zhu et al. 2017, arXiv:1703.10593, appendix 7.2), after Johnson et al. 2016.

It halves an image twice, refines it by residual blocks, which begin and end at the same size, and doubles it again. No
layer on the way back is given what a layer on the way down gave, so that shapes may change; what is to stay must pass
the blocks. Images are continued beyond their edges by their mirror image. The discriminator is the one of patches in
`gan_runner.models.unet`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad

from gan_runner.errors import UserError
from gan_runner.models.initial_weights import Initialiser, initialise
from gan_runner.models.layers import ConvTranspose2d, SmallMapConv2d
from gan_runner.models.unet import Norm, normalised
from gan_runner.ranges import Count

_HALVINGS = 2
_UNIT = 2**_HALVINGS  # pixels, of which height and width are made a multiple
_WIDE_KERNEL = 7  # next to the pixels
_SMALLEST = 8  # height and width
_LARGE = 128  # pixels, above which images get more blocks
_BLOCKS, _BLOCKS_OF_LARGE = 6, 9


class Block(nn.Module):
    """x + [3x3 convolution, norm, ReLU, 3x3 convolution, norm].

    Args:
        channels: of what it is given and gives.
        norm: see `Generator`.
    """

    def __init__(self, channels: Count, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for activation in ([nn.ReLU()], []):
            convolution = SmallMapConv2d(channels, channels, 3, 1, 0, bias=norm == "none")
            layers += [nn.ReflectionPad2d(1), convolution, *normalised(norm, channels), *activation]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, H, W] to the same shape."""
        step: Tensor = self.layers(x)
        return x + step


class Generator(nn.Module):
    """Images to images of the same size.

    Args:
        image_shape: (channels, height, width) of the images to draw.
        source_shape: of the images that they are drawn from, of the same height and width.
        width: channels at the size of the image; each halving doubles them.
        blocks: residual blocks; None is 6 for images of up to 128 pixels, and 9 for larger ones.
        norm: after each layer but the last.
        weights: sets the weights of every layer.

    Raises:
        UserError: the images are smaller than 8 pixels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        source_shape: tuple[int, int, int],
        width: Count,
        blocks: Count | None,
        norm: Norm,
        weights: Initialiser | None,
    ) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape
        self.source_channels = source_shape[0]
        if min(self.height, self.width) < _SMALLEST:
            raise UserError(
                f"model=residual_translator is for images of {_SMALLEST} pixels and more, and these are "
                f"{self.height}x{self.width}.",
                "Try data.image_size=32.",
            )
        self.padding = (0, -self.width % _UNIT, 0, -self.height % _UNIT)
        count = blocks or (_BLOCKS if max(self.height, self.width) <= _LARGE else _BLOCKS_OF_LARGE)
        bias = norm == "none"
        first = nn.Conv2d(source_shape[0], width, _WIDE_KERNEL, 1, _WIDE_KERNEL // 2, bias=bias, padding_mode="reflect")
        down = [nn.Sequential(first, *normalised(norm, width), nn.ReLU())]
        up: list[nn.Module] = []
        for level in range(_HALVINGS):
            wide, wider = width * 2**level, width * 2 ** (level + 1)
            down.append(nn.Sequential(nn.Conv2d(wide, wider, 3, 2, 1, bias=bias), *normalised(norm, wider), nn.ReLU()))
            doubled = ConvTranspose2d(wider, wide, 3, 2, 1, output_padding=1, bias=bias)
            up.insert(0, nn.Sequential(doubled, *normalised(norm, wide), nn.ReLU()))
        self.down, self.up = nn.ModuleList(down), nn.Sequential(*up)
        self.blocks = nn.ModuleList(Block(width * _UNIT, norm) for _ in range(count))
        self.to_pixels = nn.Conv2d(width, channels, _WIDE_KERNEL, 1, _WIDE_KERNEL // 2, padding_mode="reflect")
        initialise(self, weights, weights)

    def forward(self, source: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] in [-1, 1] from each image [B, C', H, W] in [-1, 1]."""
        x = self._padded(source)
        for layer in (*self.down, *self.blocks):
            x = layer(x)
        images: Tensor = self.to_pixels(self.up(x)).tanh()
        return images[..., : self.height, : self.width]

    @property
    def channels_seen(self) -> list[int]:
        """The channels of `layers_seen`."""
        wide = self.to_pixels.in_channels
        return [self.source_channels, 2 * wide, _UNIT * wide, *[_UNIT * wide] * len(self._blocks_seen())]

    def layers_seen(self, images: Tensor) -> list[Tensor]:
        """What the encoder sees of images, [B, C, h, w] at each of the layers that Park et al. (2020) compare.

        These are the pixels, both convolutions that halve the size, and the first and the fifth block (or the last).
        """
        x = self._padded(images)
        seen = [x]
        x = self.down[0](x)
        for halving in self.down[1:]:
            assert isinstance(halving, nn.Sequential)
            x = halving[0](x)
            seen.append(x)
            x = halving[1:](x)
        for number, block in enumerate(self.blocks[: max(self._blocks_seen()) + 1]):
            x = block(x)
            if number in self._blocks_seen():
                seen.append(x)
        return seen

    def _blocks_seen(self) -> list[int]:
        return sorted({0, min(4, len(self.blocks) - 1)})

    def _padded(self, source: Tensor) -> Tensor:
        return pad(source, self.padding, mode="replicate") if any(self.padding) else source
