"""Networks as graphs: ONNX, and PyTorch's own programs. Each is run and compared before it is written."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_runner.errors import UserError, is_want_of_memory
from gan_runner.export.description import Description
from gan_runner.files import replacing
from gan_runner.seeds import generator_for

CLOSE = 1e-4
"""The largest difference between a value that the network computes and one that its graph does."""

_SIZES = (2, 7)  # of the batches that are compared
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_NAMES = {"generator": ("latent", "image"), "discriminator": ("image", "logit")}
_SOURCE = "source"  # the input of a generator that translates images
_CLASS = "label"  # the second input of a network that is given a class

Run = Callable[..., Tensor]


def write_onnx(output: Path, net: nn.Module, shape: Sequence[int], description: Description) -> float:
    """Write one ONNX file: float32 [batch, ...] to float32, the batch of any size; classes are int64 [batch] besides.

    Args:
        output: the file.
        net: the network, on the CPU and in evaluation mode.
        shape: of what it takes, without the batch: [latent_dim], or [C, H, W] of images to judge or to draw from.
        description: of the network.

    Returns:
        The largest difference between what it and the network compute, at batches of two sizes.

    Raises:
        UserError: packages are missing, ONNX has no graph of the network, or the graph computes something else.
    """
    _require_packages()
    import onnxruntime

    packing, example = description.packing, _inputs(description, shape, 2)
    taken, given = _NAMES[description.what]
    if description.source_shape is not None:
        taken = _SOURCE
    names = [taken, _CLASS][: len(example)]
    with _refused_explained(output, net), _quiet():
        program = torch.onnx.export(
            net,
            example,
            dynamo=True,
            dynamic_shapes=_shapes(example, packing),
            input_names=names,
            output_names=[given],
            verbose=False,
        )
        assert program is not None
        model = program.model_proto
        for described in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
            del described.metadata_props[:]  # where the network's source lies on this machine, among others
        content = model.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

        def run(*batch: Tensor) -> Tensor:
            inputs = {name: tensor.numpy() for name, tensor in zip(names, batch, strict=True)}
            return torch.from_numpy(session.run([given], inputs)[0])

        difference = _difference(run, net, shape, description)
    return _written(output, content, difference)


def write_program(output: Path, net: nn.Module, shape: Sequence[int], description: Description) -> float:
    """Write a program for `torch.export.load`, which needs neither the network's class nor gan-runner.

    Args:
        output: the file.
        net: see `write_onnx`.
        shape: see `write_onnx`.
        description: see `write_onnx`.

    Returns:
        See `write_onnx`.

    Raises:
        UserError: PyTorch has no program of the network.
    """
    example, buffer = _inputs(description, shape, 2), io.BytesIO()
    with _refused_explained(output, net), _quiet():
        shapes = _shapes(example, description.packing)
        program = torch.export.export(net, example, dynamic_shapes=shapes)
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # where the network's source lies on this machine
        torch.export.save(program, buffer)
        buffer.seek(0)
        difference = _difference(torch.export.load(buffer).module(), net, shape, description)
    return _written(output, buffer.getvalue(), difference)


def _inputs(description: Description, shape: Sequence[int], size: int) -> tuple[Tensor, ...]:
    """What the network takes, for so many images or packs of them."""
    count = size * description.packing
    values = torch.randn(count, *shape, generator=generator_for(0, "comparing an export", size))
    return (values, torch.arange(count) % len(description.classes)) if description.takes_class else (values,)


def _shapes(example: Sequence[Tensor], packing: int) -> tuple[dict[int, Any], ...]:
    batch = _batch(packing)
    return tuple({0: batch} for _ in example)


def _batch(packing: int) -> Any:
    """Any number of images, or of whole packs of them."""
    return torch.export.Dim("batch") if packing == 1 else packing * torch.export.Dim("packs")


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"output ends in .onnx, which needs packages that are not installed: {', '.join(missing)}.",
            "In the clone of gan-runner, try pip install -e '.[export]'.",
        )


@contextlib.contextmanager
def _refused_explained(output: Path, net: nn.Module) -> Iterator[None]:
    """In here whatever PyTorch, ONNX and its runtime raise says that they cannot take the network."""
    try:
        yield
    except Exception as error:
        if is_want_of_memory(error):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = next(iter(str(cause).strip().splitlines()), "")[:300]
        kind = type(net)
        raise UserError(
            f"output={output}, but no {output.suffix} can be made of {kind.__module__}.{kind.__qualname__}: "
            f"{type(cause).__name__}: {said}",
            "A network of your own must compute the same steps whatever its input's values are, by PyTorch alone, for "
            "batches of any size; else export a folder: output=NAME.",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """In here PyTorch's exporters say nothing of themselves on the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _difference(run: Run, net: nn.Module, shape: Sequence[int], description: Description) -> float:
    largest = 0.0
    for size in _SIZES:
        batch = _inputs(description, shape, size)
        expected = net(*batch)
        largest = max(largest, float((run(*batch) - expected).abs().max()))
    return largest


def _written(output: Path, content: bytes, difference: float) -> float:
    if not difference <= CLOSE:
        raise UserError(
            f"output={output} would not compute the same as the network: values differ by {difference:.2g}, where "
            f"{CLOSE:g} is allowed.",
            "Export a folder instead, which gives the same bit for bit: output=NAME.",
        )
    with replacing(output) as file:
        file.write(content)
    return difference
