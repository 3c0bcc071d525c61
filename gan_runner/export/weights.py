"""Weights in files of `safetensors`: names, shapes and numbers, and nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gan_runner import files
from gan_runner.errors import UserError


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors by name; a tensor of several names is written once for each."""
    separate = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    content = safetensors.torch.save(separate, metadata={"format": "pt"})
    with files.replacing(path) as file:
        file.write(content)


def read_weights(path: Path, folder: Path, device: torch.device) -> dict[str, Tensor]:
    """Read tensors by name from a file that may come from others.

    Args:
        path: the file.
        folder: the exported one, which the file lies in.
        device: where they are to lie.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    try:
        files.refuse_holes(path)
        size, _ = files.size_and_room(path)
        tensors = safetensors.torch.load(files.read(path, size, below=folder))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as weights: {' '.join(str(error).split())[:300]}",
            "Restore it, or export the run again.",
        ) from error
    # Copies, which lie where PyTorch puts tensors: how a sum is rounded may depend on that.
    return {name: tensor.clone().to(device) for name, tensor in tensors.items()}
