"""Writing an exported folder: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from gan_runner.building.parts import Parts
from gan_runner.errors import UserError
from gan_runner.export.card import GRID, Measured, card
from gan_runner.export.description import NAME, Description
from gan_runner.export.loading import Exported, load_exported
from gan_runner.export.weights import write_weights
from gan_runner.files import new_folder, write_text
from gan_runner.record.pictures import Pixels, grid, save_atomically


@dataclass(frozen=True)
class Shown:
    """The grid of an exported folder.

    Attributes:
        images: uint8 [N, H, W, C], in reading order.
        columns: of the grid.
        cells: what the cells show that belong to one image, from the left; () where each is one.
    """

    images: Pixels
    columns: int
    cells: Sequence[str] = ()


def write_folder(
    output: Path,
    description: Description,
    net: nn.Module,
    shown: Shown | None,
    same: Callable[[Exported], bool],
    numbers: Measured,
    parts: Parts,
) -> None:
    """Write a folder that rebuilds a network, and load it once to see that it does the same bit for bit.

    Args:
        output: a new or empty folder.
        description: of the network.
        net: the network.
        shown: its grid; None where there is none.
        same: says whether what is loaded does what the network does.
        numbers: what was measured of it.
        parts: what may be built of it again.

    Raises:
        UserError: it cannot be written, or its game cannot draw without real images.
    """
    with new_folder(output) as folder:
        write_weights(folder / description.weights_file, net.state_dict())
        write_text(folder / NAME, description.as_json())
        write_text(
            folder / "README.md", card(description, numbers, output.name, None if shown is None else shown.cells)
        )
        if shown is not None:
            save_atomically(grid(shown.images, shown.columns, cells=shown.cells), folder / GRID)
        if not same(load_exported(folder, parts.trust, str(next(net.parameters()).device))):
            raise UserError(
                f"output={output} would differ from its run: rebuilt from weights, the network gives other outputs.",
                "A network of your own must keep all that its forward needs in parameters and buffers; see that it "
                "does, or export it as .onnx or .pt2.",
            )
