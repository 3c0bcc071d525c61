"""A generator as the layers that a page computes, each the same function as its counterpart in `page/network.js`.

Images are rows of numbers, [B, H * W * C], pixels before channels. Layers compute in order, each what the one before
gave; what a later one needs besides is kept on a stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, instance_norm, pad

from gan_runner.errors import UserError, either
from gan_runner.models import dcgan, layers, mlp, residual_translator, unet
from gan_runner.models.both_ways import Translators
from gan_runner.models.conditional import ConditionalGenerator
from gan_runner.models.patch_features import WithPatchFeatures

Size: TypeAlias = tuple[int, int]
"""Height and width."""
Border: TypeAlias = tuple[int, int, int, int]
"""Pixels on the left, on the right, above and below."""

NOT_A_NETWORK_OF_OURS = "Export a folder (output=NAME) or a graph (output=NAME.onnx) instead."
"""What to do with a generator that a page cannot run."""

_ACTIVATIONS: Mapping[type[nn.Module], tuple[str, str]] = {
    nn.Identity: ("identity", ""),
    nn.ReLU: ("leaky", ""),
    nn.LeakyReLU: ("leaky", "negative_slope"),
    nn.ELU: ("elu", "alpha"),
    nn.SiLU: ("silu", ""),
    nn.Sigmoid: ("sigmoid", ""),
    nn.Tanh: ("tanh", ""),
}
_DROPOUT = (layers.Dropout, nn.Dropout, nn.Dropout2d)  # the identity where images are drawn


class Layer(Protocol):
    """A step of the forward pass."""

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """Map [B, H * W * inputs] to the same of the outputs; `kept` is the stack."""
        ...

    def settings(self) -> dict[str, object]:
        """What the page is given of it beside its weights, as values of JSON."""
        ...


@dataclass(frozen=True)
class Weighted:
    """A dense layer, a convolution or a transposed convolution.

    Attributes:
        kind: which of them.
        weight: float64 [inputs, outputs], or [kernel, kernel, inputs, outputs].
        bias: float64 [outputs].
        stride: of a convolution, by which it shrinks or, if transposed, enlarges.
        padding: zeros on each side, or, if transposed, pixels that are left out on each side of the output.
        size: of what it takes; (1, 1) for a dense layer.
        out: size of what it gives.
    """

    kind: Literal["dense", "convolution", "transposed"]
    weight: Tensor
    bias: Tensor
    stride: int = 1
    padding: int = 0
    size: Size = (1, 1)
    out: Size = (1, 1)

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """See `Layer`."""
        if self.kind == "dense":
            return x @ self.weight + self.bias
        images = _as_images(x, self.size)
        if self.kind == "convolution":
            kernel = self.weight.permute(3, 2, 0, 1)
            return _as_rows(conv2d(images, kernel, self.bias, self.stride, self.padding))
        smallest = [(side - 1) * self.stride + len(self.weight) - 2 * self.padding for side in self.size]
        missing = [side - least for side, least in zip(self.out, smallest, strict=True)]
        kernel = self.weight.permute(2, 3, 0, 1)
        return _as_rows(conv_transpose2d(images, kernel, self.bias, self.stride, self.padding, missing))

    def settings(self) -> dict[str, object]:
        """See `Layer`."""
        *kernel, inputs, outputs = self.weight.shape
        shape = {"inputs": inputs, "outputs": outputs, "kernel": kernel[0] if kernel else 1}
        return {"kind": self.kind, **shape, "stride": self.stride, "padding": self.padding} | {
            "size": self.size,
            "out": self.out,
        }


@dataclass(frozen=True)
class Activation:
    """A function of each number.

    Attributes:
        module: one of those that a page knows.
    """

    module: nn.Module

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """See `Layer`."""
        return self.module(x)  # type: ignore[no-any-return]

    def settings(self) -> dict[str, object]:
        """See `Layer`."""
        name, setting = _ACTIVATIONS[type(self.module)]
        return {"kind": "activation", "name": name, "slope": float(getattr(self.module, setting)) if setting else 0.0}


@dataclass(frozen=True)
class Normalisation:
    """Instance normalisation: each channel of an image minus its mean, divided by its standard deviation.

    Attributes:
        size: of the images.
        eps: added to the variance.
    """

    size: Size
    eps: float

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """See `Layer`."""
        return _as_rows(instance_norm(_as_images(x, self.size), eps=self.eps))

    def settings(self) -> dict[str, object]:
        """See `Layer`."""
        return {"kind": "normalisation", "pixels": self.size[0] * self.size[1], "eps": self.eps}


@dataclass(frozen=True)
class Padding:
    """Images continued beyond their edges, or cropped by a border below zero.

    Attributes:
        size: of the images.
        border: how far.
        mode: by the pixels at the edges, or by a mirror image.
    """

    size: Size
    border: Border
    mode: Literal["replicate", "reflect"]

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """See `Layer`."""
        return _as_rows(pad(_as_images(x, self.size), self.border, self.mode))

    def settings(self) -> dict[str, object]:
        """See `Layer`."""
        return {"kind": "padding", "size": self.size, "border": self.border, "mode": self.mode}


@dataclass(frozen=True)
class Stack:
    """Keeps what it is given on the stack, or takes the last of it away: to add it, or as further channels.

    Attributes:
        kind: which of them.
        pixels: of the images.
    """

    kind: Literal["keep", "add", "concatenate"]
    pixels: int = 0

    def run(self, x: Tensor, kept: list[Tensor]) -> Tensor:
        """See `Layer`."""
        if self.kind == "keep":
            kept.append(x)
            return x
        if self.kind == "add":
            return x + kept.pop()
        parts = [part.view(len(x), self.pixels, -1) for part in (x, kept.pop())]
        return torch.cat(parts, 2).flatten(1)

    def settings(self) -> dict[str, object]:
        """See `Layer`."""
        return {"kind": self.kind, "pixels": self.pixels}


def run(network: Sequence[Layer], x: Tensor) -> Tensor:
    """Compute what a page computes, in float64: [B, H * W * C] to the same of the images."""
    kept: list[Tensor] = []
    for layer in network:
        x = layer.run(x, kept)
    return x


def _as_images(x: Tensor, size: Size) -> Tensor:
    return x.view(len(x), *size, -1).permute(0, 3, 1, 2)


def _as_rows(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1).flatten(1)


# ---- from a network to its layers ------------------------------------------------------------------------


def layers_of(output: Path, net: nn.Module) -> list[Layer]:
    """Take a generator apart; one by class takes each latent joined with ones and zeros, a one at the class.

    Args:
        output: the file, for messages.
        net: the generator; of one that draws both ways, what draws images.

    Raises:
        UserError: it is none that the page can run.
    """
    with torch.no_grad():
        network = _Network(output)
        match net:
            case mlp.Generator():
                network.append(net.layers)
                network.draw_by_last(net.output, net.image_shape)
            case dcgan.Generator():
                network.append(net.dense)
                network.size = (net.base[0], net.base[1])
                network.append(net.layers)
            case ConditionalGenerator():
                return _with_classes(layers_of(output, net.net), net)
            case unet.Generator():
                _append_unet(network, net)
            case residual_translator.Generator():
                _append_residual(network, net)
            case Translators():
                return layers_of(output, net.to_images)
            case WithPatchFeatures():
                return layers_of(output, net.net)
            case _:
                raise UserError(
                    f"output={output}, but a page runs the generators of model=mlp, dcgan, unet and "
                    f"residual_translator, and this one is {type(net).__module__}.{type(net).__qualname__}.",
                    NOT_A_NETWORK_OF_OURS,
                )
    return network.layers


def _with_classes(made: list[Layer], net: ConditionalGenerator) -> list[Layer]:
    """The layers of a generator that is given an embedded class, with the embedding in the first one's weights."""
    first, *others = made
    assert isinstance(first, Weighted), "generators of latents begin with a dense layer"
    dim = net.embedding.out_features
    of_latent, of_class = first.weight.split([len(first.weight) - dim, dim])
    by_class = net.embedding.weight.double().T @ of_class  # for each class what its embedding adds
    return [replace(first, weight=torch.cat([of_latent, by_class])), *others]


def _append_unet(network: _Network, net: unet.Generator) -> None:
    network.size = (net.height, net.width)
    network.pad(net.padding, "replicate")
    for down in net.down[:-1]:
        network.append(down)
        network.layers.append(Stack("keep"))
    network.append(net.down[-1])
    network.append(net.up[0])
    for up in net.up[1:]:
        network.layers.append(Stack("concatenate", network.pixels))
        network.append(up)
    network.pad(_cropping(net.padding), "replicate")
    network.append(nn.Tanh())


def _append_residual(network: _Network, net: residual_translator.Generator) -> None:
    network.size = (net.height, net.width)
    network.pad(net.padding, "replicate")
    network.append(net.down)
    for block in net.blocks:
        assert isinstance(block, residual_translator.Block)
        network.layers.append(Stack("keep"))
        network.append(block.layers)
        network.layers.append(Stack("add"))
    for module in (net.up, net.to_pixels, nn.Tanh()):
        network.append(module)
    network.pad(_cropping(net.padding), "replicate")


def _cropping(border: Border) -> Border:
    left, right, above, below = border
    return -left, -right, -above, -below


class _Network:
    """Layers so far, and the size of what the last one gives.

    Args:
        output: the file, for messages.
    """

    def __init__(self, output: Path) -> None:
        self.layers: list[Layer] = []
        self.size: Size = (1, 1)
        self._output = output

    @property
    def pixels(self) -> int:
        """Of an image at this point."""
        return self.size[0] * self.size[1]

    def pad(self, border: Border, mode: Literal["replicate", "reflect"]) -> None:
        """Continue images beyond their edges, or crop them."""
        if any(border):
            self.layers.append(Padding(self.size, border, mode))
            left, right, above, below = border
            self.size = (self.size[0] + above + below, self.size[1] + left + right)

    def append(self, module: nn.Module) -> None:
        """Append a module's layers; batch norm goes into the weights of the layer before it.

        Raises:
            UserError: the page has no such layer.
        """
        match module:
            case nn.Sequential() | nn.ModuleList():
                for part in module:
                    self.append(part)
            case nn.Linear():
                self.layers.append(Weighted("dense", module.weight.double().T, _bias_of(module, module.out_features)))
            case nn.Conv2d():
                self._append_convolution(module)
            case nn.ConvTranspose2d():
                weight = module.weight.double().permute(2, 3, 0, 1)
                padding, extra = _number(module.padding), _number(module.output_padding)
                out = self._resized(lambda side: (side - 1) * module.stride[0] + len(weight) - 2 * padding + extra)
                self._append_weighted("transposed", module, weight, padding, out)
            case nn.BatchNorm1d() | nn.BatchNorm2d():
                self.layers[-1] = _folded(self.layers[-1], module)
            case nn.InstanceNorm2d():
                self.layers.append(Normalisation(self.size, module.eps))
            case nn.ReflectionPad2d():
                self.pad(module.padding, "reflect")
            case _ if type(module) in _ACTIVATIONS:
                self.layers.append(Activation(module))
            case _ if not isinstance(module, _DROPOUT):
                known = either([kind.__name__ for kind in _ACTIVATIONS])
                raise UserError(
                    f"output={self._output}, but this generator has a {type(module).__name__}, and a page's "
                    f"activations are {known}.",
                    NOT_A_NETWORK_OF_OURS,
                )

    def draw_by_last(self, output: nn.Sequential, shape: tuple[int, int, int]) -> None:
        """Put what is linear behind the last layer into its weights: an image for each unit before it."""
        last, (channels, height, width), (*smoothing, activation) = self.layers.pop(), shape, output
        assert isinstance(last, Weighted), "a dense layer makes the image"
        images = torch.cat([last.weight, last.bias[None]]).view(-1, channels, height, width)
        *weight, bias = nn.Sequential(*smoothing)(images).permute(0, 2, 3, 1).flatten(1)
        self.layers.append(replace(last, weight=torch.stack(weight), bias=bias))
        self.append(activation)

    def _append_convolution(self, module: nn.Conv2d) -> None:
        padding = _number(module.padding)
        if module.padding_mode == "reflect":
            self.pad((padding,) * 4, "reflect")
            padding = 0
        weight = module.weight.double().permute(2, 3, 1, 0)
        out = self._resized(lambda side: (side + 2 * padding - len(weight)) // module.stride[0] + 1)
        self._append_weighted("convolution", module, weight, padding, out)

    def _append_weighted(
        self,
        kind: Literal["convolution", "transposed"],
        module: nn.Conv2d | nn.ConvTranspose2d,
        weight: Tensor,
        padding: int,
        out: Size,
    ) -> None:
        bias = _bias_of(module, module.out_channels)
        self.layers.append(Weighted(kind, weight, bias, int(module.stride[0]), padding, self.size, out))
        self.size = out

    def _resized(self, change: Any) -> Size:
        return change(self.size[0]), change(self.size[1])


def _number(sides: Any) -> int:
    """A padding that is equal on all sides, as the networks of this package have it."""
    return int(sides[0])


def _bias_of(module: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, count: int) -> Tensor:
    return module.bias.double() if module.bias is not None else torch.zeros(count, dtype=torch.float64)


def _folded(layer: Layer, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Layer:
    assert isinstance(layer, Weighted), "batch norm follows a layer with weights"
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = (layer.bias - norm.running_mean.double()) * scale + norm.bias.double()
    return replace(layer, weight=layer.weight * scale, bias=bias)
