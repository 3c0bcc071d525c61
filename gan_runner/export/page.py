"""One offline page on which a visitor draws images: the weights and the forward pass lie in it.

It runs networks of dense layers and of transposed convolutions, which those of `models.mlp` and `models.dcgan` are once
batch norm is folded into the layer before it.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d

from gan_runner.building.games import make_latent
from gan_runner.errors import UserError, either
from gan_runner.export.description import Description
from gan_runner.files import MEGABYTE, write_text
from gan_runner.models import dcgan, mlp
from gan_runner.models.conditional import ConditionalGenerator, one_hot
from gan_runner.objectives.latents import Latent, Normal, TruncatedNormal, Uniform
from gan_runner.record.pictures import to_uint8
from gan_runner.report.offline import offline_page
from gan_runner.seeds import generator_for

LARGEST = 5 * MEGABYTE  # bytes of a page
_COMPARED = 64  # images
_ACTIVATIONS: Mapping[type[nn.Module], tuple[str, str]] = {
    nn.Identity: ("identity", ""),
    nn.ReLU: ("leaky", ""),
    nn.LeakyReLU: ("leaky", "negative_slope"),
    nn.ELU: ("elu", "alpha"),
    nn.SiLU: ("silu", ""),
    nn.Sigmoid: ("sigmoid", ""),
    nn.Tanh: ("tanh", ""),
}
_NOT_A_NETWORK_OF_OURS = "Export a folder (output=NAME) or a graph (output=NAME.onnx) instead."


@dataclass(frozen=True)
class Layer:
    """A dense layer or a transposed convolution, with the activation behind it.

    Attributes:
        kind: "dense" or "deconvolution", of 3x3 with a border of 1.
        weight: float64 [inputs, outputs], or [3, 3, inputs, outputs].
        bias: float64 [outputs].
        stride: by which a transposed convolution enlarges.
        size: height and width of what it takes; (1, 1) for a dense layer.
        activation: the module.
    """

    kind: str
    weight: Tensor
    bias: Tensor
    stride: int
    size: tuple[int, int]
    activation: nn.Module

    def run(self, x: Tensor) -> Tensor:
        """Map [B, H * W * inputs], pixels before channels, to the same of the outputs."""
        if self.kind == "dense":
            return self.activation(x @ self.weight + self.bias)  # type: ignore[no-any-return]
        images = x.view(-1, *self.size, self.weight.shape[2]).permute(0, 3, 1, 2)
        kernel = self.weight.permute(2, 3, 0, 1)
        y = conv_transpose2d(images, kernel, self.bias, self.stride, padding=1, output_padding=self.stride - 1)
        return self.activation(y).permute(0, 2, 3, 1).flatten(1)  # type: ignore[no-any-return]


# ---- from a network to layers ---------------------------------------------------------------------------


def layers_of(output: Path, net: nn.Module) -> list[Layer]:
    """Take a generator apart; one by class takes each latent joined with ones and zeros, a one at the class.

    Raises:
        UserError: it is none that the page can run.
    """
    with torch.no_grad():
        if type(net) is mlp.Generator:
            channels, height, width = net.image_shape
            layers = _merged(output, list(net.layers), (1, 1))
            *smoothing, activation = net.output
            last = replace(layers[-1], activation=activation)
            # What is linear after the last layer goes into its weights: an image for each unit before it.
            images = torch.cat([last.weight, last.bias[None]]).view(-1, channels, height, width)
            *weight, bias = nn.Sequential(*smoothing)(images).permute(0, 2, 3, 1).flatten(1)
            return [*layers[:-1], replace(last, weight=torch.stack(weight), bias=bias)]
        if type(net) is dcgan.Generator:
            return _merged(output, [*net.dense, *net.layers], (net.base[0], net.base[1]))
        if type(net) is ConditionalGenerator:
            first, *others = layers_of(output, net.net)
            of_latent, of_class = first.weight.split(
                [len(first.weight) - net.embedding.out_features, net.embedding.out_features]
            )
            by_class = net.embedding.weight.double().T @ of_class  # for each class what its embedding adds
            return [replace(first, weight=torch.cat([of_latent, by_class])), *others]
    raise UserError(
        f"output={output}, but a page runs the generators of model=mlp and model=dcgan, and this one is "
        f"{type(net).__module__}.{type(net).__qualname__}.",
        _NOT_A_NETWORK_OF_OURS,
    )


def _merged(output: Path, modules: Sequence[nn.Module], size: tuple[int, int]) -> list[Layer]:
    """Layers with the batch norm that follows folded in, and the activation that ends them."""
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            weight, bias = module.weight.double().T, _bias_of(module, module.out_features)
            layers.append(Layer("dense", weight, bias, 1, (1, 1), nn.Identity()))
        elif isinstance(module, nn.ConvTranspose2d):
            weight, bias = module.weight.double().permute(2, 3, 0, 1), _bias_of(module, module.out_channels)
            stride = int(module.stride[0])
            layers.append(Layer("deconvolution", weight, bias, stride, size, nn.Identity()))
            size = (size[0] * stride, size[1] * stride)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            layers[-1] = _folded(layers[-1], module)
        elif type(module) in _ACTIVATIONS:
            layers[-1] = replace(layers[-1], activation=module)
        else:
            known = either([kind.__name__ for kind in _ACTIVATIONS])
            raise UserError(
                f"output={output}, but this generator has a {type(module).__name__}, and a page's activations are "
                f"{known}.",
                _NOT_A_NETWORK_OF_OURS,
            )
    return layers


def _bias_of(module: nn.Linear | nn.ConvTranspose2d, count: int) -> Tensor:
    return module.bias.double() if module.bias is not None else torch.zeros(count, dtype=torch.float64)


def _folded(layer: Layer, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Layer:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = (layer.bias - norm.running_mean.double()) * scale + norm.bias.double()
    return replace(layer, weight=layer.weight * scale, bias=bias)


# ---- numbers as the page holds them ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Precision:
    """How weights are written.

    Attributes:
        name: by which the page knows it.
        written: the bytes of a layer's weights and biases, and the layer with the numbers that the page reads of them.
    """

    name: str
    written: Callable[[Layer], tuple[bytes, Layer]]


def _as_floats(kind: type[np.floating[Any]]) -> Callable[[Layer], tuple[bytes, Layer]]:
    def written(layer: Layer) -> tuple[bytes, Layer]:
        weight, bias = (_array(tensor).astype(kind) for tensor in (layer.weight, layer.bias))
        read = replace(layer, weight=_tensor(weight), bias=_tensor(bias))
        return _padded(weight.tobytes()) + _padded(bias.tobytes()), read

    return written


def _as_bytes(layer: Layer) -> tuple[bytes, Layer]:
    """Whole numbers in [-127, 127], times a scale for each output."""
    weight, bias = _array(layer.weight), _array(layer.bias).astype(np.float32)
    axes = tuple(range(weight.ndim - 1))
    scale = (np.maximum(np.abs(weight).max(axes), 1e-30) / 127).astype(np.float32)
    levels = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    read = replace(layer, weight=_tensor(levels * scale.astype(np.float64)), bias=_tensor(bias))
    return _padded(levels.tobytes()) + scale.tobytes() + bias.tobytes(), read


_PRECISIONS = (
    _Precision("float32", _as_floats(np.float32)),
    _Precision("float16", _as_floats(np.float16)),
    _Precision("int8", _as_bytes),
)


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.contiguous().numpy()


def _tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array.astype(np.float64))


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


# ---- the page -------------------------------------------------------------------------------------------


def write_page(output: Path, net: nn.Module, description: Description) -> tuple[str, int]:
    """Write a page that draws with a generator, its weights as exact as `LARGEST` allows.

    Args:
        output: the file.
        net: the generator, on the CPU.
        description: of it.

    Returns:
        How the weights are written (float32, float16 or int8), and by how many of 255 levels a pixel differs from the
        network's at the most, over 64 images.

    Raises:
        UserError: the page cannot run it, or it is too large for one.
    """
    channels, height, width = description.image_shape
    if channels not in (1, 3, 4):
        raise UserError(
            f"output={output}, but a page shows images of 1, 3 or 4 channels, and these have {channels}.",
            _NOT_A_NETWORK_OF_OURS,
        )
    latent = make_latent(description.drawing["latent"])
    distribution = _distribution(output, latent)
    layers = layers_of(output, net)
    for precision in _PRECISIONS:
        content, read = zip(*map(precision.written, layers), strict=True)
        data: dict[str, Any] = {
            "shape": [height, width, channels],
            "latent": distribution,
            "classes": list(description.classes) if description.takes_class else [],
            "layers": [_told(layer) for layer in layers],
            "precision": precision.name,
            "weights": base64.b64encode(b"".join(content)).decode(),
        }
        page = _page(description, data)
        if len(page.encode()) <= LARGEST:
            write_text(output, page)
            return precision.name, _levels_apart(net, read, latent, len(data["classes"]))
    raise UserError(
        f"output={output} would have {len(page.encode()) / MEGABYTE:.0f} MB with a byte a weight, and a page has "
        f"{LARGEST // MEGABYTE} at the most.",
        _NOT_A_NETWORK_OF_OURS,
    )


def _distribution(output: Path, latent: Latent) -> dict[str, object]:
    if type(latent) is Normal:
        return {"kind": "normal", "dim": latent.dim, "std": latent.std}
    if type(latent) is TruncatedNormal:
        return {"kind": "normal", "dim": latent.dim, "std": latent.std, "low": latent.low, "high": latent.high}
    if type(latent) is Uniform:
        return {"kind": "uniform", "dim": latent.dim, "low": latent.low, "high": latent.high}
    raise UserError(
        f"output={output}, but a page draws latents of latent=normal, truncated_normal or uniform, and this is "
        f"{type(latent).__module__}.{type(latent).__qualname__}.",
        _NOT_A_NETWORK_OF_OURS,
    )


def _told(layer: Layer) -> dict[str, object]:
    name, setting = _ACTIVATIONS[type(layer.activation)]
    *_, inputs, outputs = layer.weight.shape
    return {
        "kind": layer.kind,
        "inputs": inputs,
        "outputs": outputs,
        "stride": layer.stride,
        "size": layer.size,
        "activation": name,
        "slope": float(getattr(layer.activation, setting)) if setting else 0.0,
    }


@torch.no_grad()
def _levels_apart(net: nn.Module, layers: Sequence[Layer], latent: Latent, classes: int) -> int:
    z = latent.sample(_COMPARED, torch.device("cpu"), generator_for(0, "comparing an export"))
    label = torch.arange(_COMPARED) % max(1, classes)
    expected = to_uint8(net(z, label) if classes else net(z)).astype(int)
    x = torch.cat([z.double(), one_hot(label, classes, torch.float64)], 1)
    for layer in layers:
        x = layer.run(x)
    count, height, width, channels = expected.shape
    drawn = to_uint8(x.view(count, height, width, channels).permute(0, 3, 1, 2)).astype(int)
    return int(np.abs(drawn - expected).max())


def _page(description: Description, data: Mapping[str, object]) -> str:
    facts = description.facts
    trained = facts.get("data")
    name = str(trained.get("name") if isinstance(trained, dict) else "images")
    about = (
        f"A generative adversarial network, trained on {name} for {facts['iteration']:,} iterations with gan-runner."
    )
    return offline_page(
        _part,
        "page.html",
        style="page.css",
        scripts=("network.js", "page.js"),
        data=data,
        fields={"TITLE": html.escape(f"Drawn by a network: {name}"), "ABOUT": html.escape(about)},
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")
