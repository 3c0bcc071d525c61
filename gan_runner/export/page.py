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


def write_page(
    output: Path, net: nn.Module, description: Description, sources: NDArray[np.uint8] | None = None
) -> tuple[str, int]:
    """Write a page that draws with a generator, its weights as exact as `LARGEST` allows.

    Args:
        output: the file.
        net: the generator, on the CPU.
        description: of it.
        sources: images [N, H, W, C] that a generator that translates images may begin with, N being `COMPARED` at most;
            None where there are none.

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
            NOT_A_NETWORK_OF_OURS,
        )
    translates = description.source_shape is not None
    made: _FromSources | _FromLatents = (
        _FromSources(description, sources) if translates else _FromLatents(output, description)
    )
    layers = layers_of(output, net)
    for precision in _PRECISIONS:
        content, read = precision.of(layers)
        data: dict[str, Any] = {
            "shape": [height, width, channels],
            **made.data,
            "layers": [layer.settings() for layer in layers],
            "precision": precision.name,
            "weights": base64.b64encode(content).decode(),
        }
        page = _page(description, data, made.name)
        if len(page.encode()) <= LARGEST:
            write_text(output, page)
            return precision.name, _levels_apart(net, read, made)
    narrower = " Or train a smaller generator, such as with model.width=16." if translates else ""
    raise UserError(
        f"output={output} would have {len(page.encode()) / MEGABYTE:.0f} MB with a byte a weight, and a page has "
        f"{LARGEST // MEGABYTE} at the most.",
        f"{NOT_A_NETWORK_OF_OURS}{narrower}",
    )


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
        description: of the generator.
        sources: see `write_page`.
    """

    name = "drawing"

    def __init__(self, description: Description, sources: NDArray[np.uint8] | None) -> None:
        assert description.source_shape is not None
        channels, height, width = description.source_shape
        noise = torch.rand(COMPARED, height, width, channels, generator=generator_for(0, "comparing an export"))
        self._sources = (_WHITE * noise).byte().numpy() if sources is None else sources
        paper = [_WHITE] * channels if sources is None else _paper(sources)
        self.data = {
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


@torch.no_grad()
def _levels_apart(net: nn.Module, layers: Sequence[Layer], made: _FromLatents | _FromSources) -> int:
    given, rows = made.compared()
    expected = to_uint8(net(*given)).astype(int)
    count, height, width, channels = expected.shape
    drawn = to_uint8(run(layers, rows).view(count, height, width, channels).permute(0, 3, 1, 2)).astype(int)
    return int(np.abs(drawn - expected).max())


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
