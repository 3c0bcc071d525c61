"""Layers with faster implementations than PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_runner.ranges import Count, CountOrZero, FractionBelowOne

_BITS = 16  # random bits for each element
_LEVELS = 2**_BITS


class Dropout(nn.Module):
    """`nn.Dropout` with masks cut from cheap random bits on the CPU, 3 to 7 times as fast there.

    PyTorch's own layer draws a slow random number an element; here one 64-bit draw serves four elements. The mask is
    a constant to autograd, so the backward pass is one product, and double backward (R1) works.

    Args:
        p: chance that a value becomes 0, rounded to a multiple of 1/65536 on the CPU. The others are scaled by
            exactly what keeps the mean.
    """

    def __init__(self, p: FractionBelowOne) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop values in training mode, any shape and memory format; the identity in evaluation mode."""
        dropped_levels = round(self.p * _LEVELS)
        if not self.training or not dropped_levels:
            return x
        if x.device.type != "cpu":  # a GPU's own kernel draws and scales in one pass
            return nn.functional.dropout(x, self.p)
        return (x * _kept(x, dropped_levels)).mul_(_LEVELS / (_LEVELS - dropped_levels))

    def extra_repr(self) -> str:
        """What `print` shows of the layer."""
        return f"p={self.p}"


@torch.no_grad()
def _kept(x: Tensor, dropped_levels: int) -> Tensor:
    """Ones, and zeros with a chance of `dropped_levels` in 65536, in the shape, type and memory order of `x`."""
    words = torch.empty(-(-x.numel() * _BITS // 64), dtype=torch.int64)
    words.random_(-(2**63), None)
    levels = words.view(torch.int16)[: x.numel()]  # uniform on [-32768, 32767]
    mask = torch.empty_like(x)
    # Writing ones and zeros of the final type at once is several times faster than by way of booleans, and in
    # the order of memory faster than in that of the indices.
    torch.ge(levels, dropped_levels - _LEVELS // 2, out=mask.as_strided((x.numel(),), (1,)))
    return mask


class Smoothing(nn.Module):
    """A fixed binomial filter, [1, 2, 1] / 4 along each axis, which repeats the pixels of the border.

    Two averages over 2x2 pixels are the same and need no buffer.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape; the mean of a constant image is that constant, at the border too."""
        halfway = nn.functional.avg_pool2d(images, 2, 1, padding=1, count_include_pad=False)  # [B, C, H + 1, W + 1]
        return nn.functional.avg_pool2d(halfway, 2, 1)


class Flatten(nn.Module):
    """`nn.Flatten` in Keras' order, pixels before channels: that of channels-last images in memory.

    So neither they nor their gradients are reordered; a gradient in another order makes the layers before this one up
    to ten times slower.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map [B, C, H, W] to [B, H * W * C]."""
        return images.permute(0, 2, 3, 1).flatten(1)


class ConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` that adds its bias after the convolution: the same function of the same parameters.

    On the CPU the backward pass of a channels-last transposed convolution takes up to twice as long with a
    bias inside, for oneDNN then sums the bias' gradient by a slow reference implementation.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [B, C, H, W] to [B, out_channels, stride * H, stride * W], for the paddings used here."""
        if output_size is not None or self.bias is None:
            return super().forward(x, output_size)
        assert isinstance(self.padding, tuple)  # as nn.ConvTranspose2d makes it
        images = nn.functional.conv_transpose2d(
            x, self.weight, None, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )
        return images.add_(self.bias.to(images.dtype).view(-1, 1, 1))


class SmallMapConv2d(nn.Conv2d):
    """`nn.Conv2d` as one matrix product where a map is small and has many channels: the same function.

    A batch of few pixels leaves a CPU little to do but to read the weights. oneDNN reorders them in memory before, and
    their gradient afterwards, which takes up to ten times as long as the product itself.

    Args:
        before: channels of the input.
        after: channels of the output.
        kernel: height and width of the kernel.
        stride: of the kernel.
        padding: pixels of zeros around the input.
        bias: whether a bias is added.
    """

    def __init__(
        self, before: Count, after: Count, kernel: Count, stride: Count, padding: CountOrZero, bias: bool
    ) -> None:
        super().__init__(before, after, kernel, stride, padding, bias=bias)
        self._kernel, self._stride, self._padding = kernel, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, before, H, W] to [B, after, H', W']."""
        height, width = (
            (size + 2 * self._padding - self._kernel) // self._stride + 1 for size in (x.shape[2], x.shape[3])
        )
        if not _worth_a_product(x, height * width, self.out_channels):
            return super().forward(x)
        pixels = nn.functional.pad(x, (self._padding,) * 4).permute(0, 2, 3, 1)
        patches = pixels.unfold(1, self._kernel, self._stride).unfold(2, self._kernel, self._stride)
        rows = patches.permute(0, 1, 2, 4, 5, 3).reshape(len(x) * height * width, -1)  # channels last, as weights lie
        weight = self.weight.permute(0, 2, 3, 1).reshape(self.out_channels, -1)
        images = nn.functional.linear(rows, weight, self.bias)
        return images.view(len(x), height, width, self.out_channels).permute(0, 3, 1, 2)


class SmallMapConvTranspose2d(ConvTranspose2d):
    """`ConvTranspose2d` as one matrix product where a map is small; see `SmallMapConv2d`.

    Args:
        before: channels of the input.
        after: channels of the output.
        kernel: height and width of the kernel.
        stride: of the kernel.
        padding: pixels that are left out along each border of the output.
        bias: whether a bias is added.
    """

    def __init__(
        self, before: Count, after: Count, kernel: Count, stride: Count, padding: CountOrZero, bias: bool
    ) -> None:
        super().__init__(before, after, kernel, stride, padding, bias=bias)
        self._kernel, self._stride, self._padding = kernel, stride, padding

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map [B, before, H, W] to [B, after, stride * H, stride * W], for the paddings used here."""
        height, width = x.shape[2:]
        if output_size is not None or not _worth_a_product(x, height * width, self.in_channels):
            return super().forward(x, output_size)
        rows = x.permute(0, 2, 3, 1).reshape(-1, self.in_channels)
        patches = rows @ self.weight.permute(0, 2, 3, 1).reshape(self.in_channels, -1)
        patches = patches.view(len(x), height * width, self._kernel**2, self.out_channels)
        size = tuple((side - 1) * self._stride - 2 * self._padding + self._kernel for side in (height, width))
        images = nn.functional.fold(
            patches.permute(0, 3, 2, 1).reshape(len(x), -1, height * width),
            size,
            self._kernel,
            padding=self._padding,
            stride=self._stride,
        ).contiguous(memory_format=torch.channels_last)
        return images if self.bias is None else images + self.bias.to(images.dtype).view(-1, 1, 1)


def _worth_a_product(x: Tensor, pixels: int, channels: int) -> bool:
    """Whether the rows of the product, one for each pixel of the smaller maps, are far fewer than the weights' own."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False  # a graph for any number of images keeps the convolution
    return 2 * len(x) * pixels <= channels
