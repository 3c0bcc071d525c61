"""Writing an exported folder: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from gan_runner.building.parts import Parts
from gan_runner.errors import UserError
from gan_runner.export.card import GRID, Measured, card
from gan_runner.export.description import NAME, Description
from gan_runner.export.loading import load_exported
from gan_runner.export.weights import write_weights
from gan_runner.files import new_folder, write_text
from gan_runner.record.pictures import Pixels, grid, near_square, save_atomically

SHOWN = 36  # images in the grid


def write_folder(
    output: Path, description: Description, net: nn.Module, pictures: Pixels | None, numbers: Measured, parts: Parts
) -> None:
    """Write a folder that rebuilds a network, and load it once to see that it does the same bit for bit.

    Args:
        output: a new or empty folder.
        description: of the network.
        net: the network.
        pictures: those that `gan-sample num=36 seed=0` draws; None for D.
        numbers: what was measured of it.
        parts: what may be built of it again.

    Raises:
        UserError: it cannot be written, or its game cannot draw without real images.
    """
    with new_folder(output) as folder:
        write_weights(folder / description.weights_file, net.state_dict())
        write_text(folder / NAME, description.as_json())
        write_text(folder / "README.md", card(description, numbers, output.name))
        loaded = load_exported(folder, parts.trust, str(next(net.parameters()).device))
        if pictures is not None:
            save_atomically(grid(pictures, near_square(len(pictures))), folder / GRID)
            same = np.array_equal(loaded.sample(len(pictures)), pictures)
        else:
            same = _same_logits(loaded.net, net, description)
        if not same:
            raise UserError(
                f"output={output} would differ from its run: rebuilt from weights, the network gives other outputs.",
                "A network of your own must keep all that its forward needs in parameters and buffers; see that it "
                "does, or export it as .onnx or .pt2.",
            )


def _same_logits(loaded: nn.Module, net: nn.Module, description: Description) -> bool:
    parameter = next(net.parameters())
    images = torch.linspace(-1, 1, steps=2 * description.packing).view(-1, 1, 1, 1)
    images = images.expand(-1, *description.image_shape).contiguous().to(parameter.device)
    label = (torch.arange(len(images), device=parameter.device) % max(1, len(description.classes)),)
    given = (images, *label) if description.takes_class else (images,)
    with torch.no_grad():
        return torch.equal(loaded(*given), net.eval()(*given))
