"""An offline page on which a visitor draws images, or lines that become images: weights and forward pass lie in it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gan_runner.building.games import make_latent
from gan_runner.data.batch import as_float
from gan_runner.errors import UserError
from gan_runner.export.description import Description
from gan_runner.export.layers import NOT_A_NETWORK_OF_OURS, Layer, Weighted, layers_of, run
from gan_runner.files import MEGABYTE, write_text
from gan_runner.models.both_ways import Translators
from gan_runner.models.conditional import one_hot
from gan_runner.objectives.latents import Latent, Normal, TruncatedNormal, Uniform
from gan_runner.record.pictures import to_uint8
from gan_runner.report.offline import offline_page
from gan_runner.seeds import generator_for

LARGEST = 5 * MEGABYTE  # bytes of a page
COMPARED = 64
"""Images by which a page is compared with its network."""

_EXAMPLES = 12  # images that a visitor may begin with
_WHITE = 255


# ---- numbers as the page holds them ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Precision:
    """How weights are written.

    Attributes:
        name: by which the page knows it.
        written: the bytes of a layer's weights and biases, and the layer with the numbers that the page reads of them.
    """

    name: str
    written: Callable[[Weighted], tuple[bytes, Weighted]]

    def of(self, layers: Sequence[Layer]) -> tuple[bytes, list[Layer]]:
        """The bytes of all layers, one after the other, and the layers with the numbers that the page reads."""
        content, read = b"", list(layers)
        for place, layer in enumerate(layers):
            if isinstance(layer, Weighted):
                added, read[place] = self.written(layer)
                content += added
        return content, read


def _as_floats(kind: type[np.floating[Any]]) -> Callable[[Weighted], tuple[bytes, Weighted]]:
    def written(layer: Weighted) -> tuple[bytes, Weighted]:
        weight, bias = (_array(tensor).astype(kind) for tensor in (layer.weight, layer.bias))
        read = replace(layer, weight=_tensor(weight), bias=_tensor(bias))
        return _padded(weight.tobytes()) + _padded(bias.tobytes()), read

    return written


def _as_bytes(layer: Weighted) -> tuple[bytes, Weighted]:
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


@dataclass(frozen=True)
class Written:
    """What is known of a page.

    Attributes:
        precision: how the weights are written: float32, float16 or int8.
        levels: by how many of 255 levels a pixel differs from the network's at the most, over `COMPARED` images.
        both_ways: whether it draws in both directions.
    """

    precision: str
    levels: int
    both_ways: bool


def write_page(
    output: Path, net: nn.Module, description: Description, sources: Sequence[NDArray[np.uint8] | None] = (None, None)
) -> Written:
    """Write a page that draws with a generator, its weights as exact as `LARGEST` allows.

    The page of a generator that draws both ways draws in both directions, if it is not too large for that.

    Args:
        output: the file.
        net: the generator, on the CPU.
        description: of it.
        sources: images [N, H, W, C] that a generator that translates images may begin with, N being `COMPARED` at most,
            and likewise those of the other direction; None where there are none.

    Raises:
        UserError: the page cannot run it, or it is too large for one.
    """
    for channels in (description.image_shape[0], (description.source_shape or description.image_shape)[0]):
        if channels not in (1, 3, 4):
            raise UserError(
                f"output={output}, but a page shows images of 1, 3 or 4 channels, and these have {channels}.",
                NOT_A_NETWORK_OF_OURS,
            )
    networks = _networks_of(output, net, description, sources)
    for some in (networks, networks[:1]) if len(networks) > 1 else (networks,):
        for precision in _PRECISIONS:
            written = [precision.of(network.layers) for network in some]
            weights = base64.b64encode(b"".join(content for content, _ in written)).decode()
            data = {"networks": [network.settings() for network in some], "precision": precision.name}
            page = _page(description, {**data, "weights": weights}, networks[0].given.name)
            if len(page.encode()) <= LARGEST:
                write_text(output, page)
                apart = (network.levels_apart(read) for network, (_, read) in zip(some, written, strict=True))
                return Written(precision.name, max(apart), len(some) > 1)
    narrower = " Or train a smaller generator, such as with model.width=16." if description.source_shape else ""
    raise UserError(
        f"output={output} would have {len(page.encode()) / MEGABYTE:.0f} MB with a byte a weight, and a page has "
        f"{LARGEST // MEGABYTE} at the most.",
        f"{NOT_A_NETWORK_OF_OURS}{narrower}",
    )


@dataclass(frozen=True)
class _Network:
    """A network of a page.

    Attributes:
        net: draws an image from what it is given.
        layers: the same as the page computes it.
        shape: channels, height and width of an image.
        given: what it is given.
    """

    net: nn.Module
    layers: Sequence[Layer]
    shape: tuple[int, int, int]
    given: _FromLatents | _FromSources

    def settings(self) -> dict[str, object]:
        """What the page is given of it beside its weights, as values of JSON."""
        channels, height, width = self.shape
        layers = [layer.settings() for layer in self.layers]
        return {"shape": [height, width, channels], **self.given.data, "layers": layers}

    @torch.no_grad()
    def levels_apart(self, layers: Sequence[Layer]) -> int:
        """By how many levels a pixel that the page draws differs at the most, if it reads these layers."""
        given, rows = self.given.compared()
        expected = to_uint8(self.net(*given)).astype(int)
        count, height, width, channels = expected.shape
        drawn = to_uint8(run(layers, rows).view(count, height, width, channels).permute(0, 3, 1, 2)).astype(int)
        return int(np.abs(drawn - expected).max())


def _networks_of(
    output: Path, net: nn.Module, description: Description, sources: Sequence[NDArray[np.uint8] | None]
) -> list[_Network]:
    """The networks of a generator: one for each direction in which it draws."""
    shape, source = description.image_shape, description.source_shape
    if source is None:
        return [_Network(net, layers_of(output, net), shape, _FromLatents(output, description))]
    there = "B to A" if description.direction == "BtoA" else "A to B"
    back = "A to B" if there == "B to A" else "B to A"
    ways = [(net, there, source, shape)]
    if isinstance(net, Translators):
        ways = [(net.to_images, there, source, shape), (net.to_sources, back, shape, source)]
    return [
        _Network(one, layers_of(output, one), drawn, _FromSources(name, given, images))
        for (one, name, given, drawn), images in zip(ways, sources, strict=False)
    ]


class _FromLatents:
    """What a page of images from random numbers has of its own.

    Args:
        output: the file, for messages.
        description: of the generator.

    Attributes:
        name: of the page's files.
        data: what its script is given.
    """

    name = "latents"

    def __init__(self, output: Path, description: Description) -> None:
        self._latent = make_latent(description.drawing["latent"])
        self._classes = len(description.classes) if description.takes_class else 0
        self.data = {
            "latent": _distribution(output, self._latent),
            "classes": list(description.classes) if self._classes else [],
        }

    def compared(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """What the network is given for `COMPARED` images, and the same as rows of numbers, as the page takes it."""
        z = self._latent.sample(COMPARED, torch.device("cpu"), generator_for(0, "comparing an export"))
        label = torch.arange(COMPARED) % max(1, self._classes)
        rows = torch.cat([z.double(), one_hot(label, self._classes, torch.float64)], 1)
        return (z, label) if self._classes else (z,), rows


class _FromSources:
    """What a page of images from drawings has of its own; see `_FromLatents`.

    Args:
        direction: what the page calls the direction in which images are drawn.
        shape: channels, height and width of what the generator is given.
        sources: images [N, H, W, C] to begin with; None where there are none.
    """

    name = "drawing"

    def __init__(self, direction: str, shape: tuple[int, int, int], sources: NDArray[np.uint8] | None) -> None:
        channels, height, width = shape
        noise = torch.rand(COMPARED, height, width, channels, generator=generator_for(0, "comparing an export"))
        self._sources = (_WHITE * noise).byte().numpy() if sources is None else sources
        paper = [_WHITE] * channels if sources is None else _paper(sources)
        self.data = {
            "direction": direction,
            "source": [height, width, channels],
            "paper": paper,
            "levels": _two_levels(sources),
            "examples": list(dict.fromkeys([] if sources is None else map(_png, sources)))[:_EXAMPLES],
        }

    def compared(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `_FromLatents`."""
        source = as_float(torch.from_numpy(self._sources)).permute(0, 3, 1, 2)
        return (source,), source.double().permute(0, 2, 3, 1).flatten(1)


def _two_levels(images: NDArray[np.uint8] | None) -> list[int] | None:
    """The lower and the higher level where images have only two, as those of lines have; else None."""
    levels = np.unique([] if images is None else images)
    return levels.tolist() if len(levels) == 2 else None


def _paper(images: NDArray[np.uint8]) -> list[int]:
    """The colour of the edges of most images, a level for each channel."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return [int(level) for level in np.median(np.concatenate(edges, 1), (0, 1))]


def _png(image: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


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
        NOT_A_NETWORK_OF_OURS,
    )


def _page(description: Description, data: Mapping[str, object], name: str) -> str:
    facts = description.facts
    trained = facts.get("data")
    data_name = str(trained.get("name") if isinstance(trained, dict) else "images")
    about = (
        f"A generative adversarial network, trained on {data_name} for {facts['iteration']:,} iterations with "
        "gan-runner."
    )
    return offline_page(
        _part,
        f"{name}.html",
        style="page.css",
        scripts=("network.js", f"{name}.js"),
        data=data,
        fields={"TITLE": html.escape(f"Drawn by a network: {data_name}"), "ABOUT": html.escape(about)},
    )


def _part(name: str) -> str:
    """A file of the page; a page is the frame that all have, with its own body."""
    text = _file(name)
    return _file("frame.html").replace("{{BODY}}", text) if name.endswith(".html") else text


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")
