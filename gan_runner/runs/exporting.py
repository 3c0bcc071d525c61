"""Export a run's network for other programs: as a folder, a graph or a page."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from gan_runner import files
from gan_runner.building.games import make_latent, parts_that_draw
from gan_runner.building.making import named_by
from gan_runner.building.networks import conditioning_of, draws_both_ways, packing_of
from gan_runner.building.parts import Parts
from gan_runner.config.build import discriminator_of_checkpoint, kind_of_checkpoint, plain, sampler_of_checkpoint
from gan_runner.data.batch import SOURCE, TARGET
from gan_runner.data.pairs import Direction
from gan_runner.errors import UserError, either
from gan_runner.export.card import measured
from gan_runner.export.description import Description
from gan_runner.export.folder import Shown, write_folder
from gan_runner.export.graphs import write_onnx, write_program
from gan_runner.export.loading import Exported
from gan_runner.export.page import COMPARED, write_page
from gan_runner.games import Conditional
from gan_runner.optim.standing_statistics import batch_norms
from gan_runner.record.data_folder import DataFolder
from gan_runner.record.pictures import Pixels, near_square, to_uint8
from gan_runner.runs.translating import direction_of, translator_of_run
from gan_runner.seeds import generator_for
from gan_runner.training.asked import drawn_images
from gan_runner.training.sampler import STATISTICS_OF, Sampler
from gan_runner.training.translating import translated

log = logging.getLogger(__name__)

Player = Literal["generator", "discriminator"]
_FORMS = {".onnx": "for an ONNX file", ".pt2": "for a PyTorch program", ".html": "for a page to draw on"}
SHOWN = 36  # cells in the grid of a folder
_DOES = {"generator": "draws the same images", "discriminator": "gives the same logits"}


def export_run(
    config: DictConfig,
    folder: Path,
    state: Mapping[str, Any],
    output: Path,
    *,
    checkpoint: str,
    what: Player,
    device: torch.device,
    parts: Parts,
) -> str:
    """Write a run's G, or its moving average, or its D, in the form that the output's ending names.

    Args:
        config: the run's, with paths that lead to its data from here.
        folder: the run's.
        state: the checkpoint.
        output: see `checked_output`.
        checkpoint: which that is: `best` or `last`, or an iteration.
        what: the player.
        device: where to draw.
        parts: which components may be built.

    Returns:
        A sentence on how close the output of the exported network is to the original.

    Raises:
        UserError: the checkpoint is of another model, or the network cannot be written in that form.
    """
    summary = DataFolder(folder).json("summary.json")
    from_source = "source_shape" in conditioning_of(plain(config.game), kind_of_checkpoint(state["about"]))
    if from_source and what == "discriminator":
        raise UserError(
            f"run is {folder}, which translates images; of such a run only the generator is exported.",
            "Leave what=discriminator out.",
        )
    if what == "generator":
        sampler = sampler_of_checkpoint(config, state, 0, device)
        net = sampler.net.eval()
    else:
        net = discriminator_of_checkpoint(config, state, device)
    net.requires_grad_(False)
    description = _describe(what, config, summary, state, checkpoint, net)
    if output.suffix not in _FORMS:
        shown: Shown | None = None
        same: Callable[[Exported], bool] = partial(_judges_alike, net, description)
        if from_source:
            shown, same = _grid_of_translations(sampler), partial(_translates_alike, config, state, device)
        elif what == "generator":
            pictures = drawn_images(sampler, SHOWN, None, state["about"]["classes"], f"run is {folder}")
            shown, same = Shown(pictures, near_square(SHOWN)), partial(_draws_alike, pictures)
        evaluation = DataFolder(folder).json(f"evaluation-{checkpoint}.json")
        write_folder(output, description, net, shown, same, measured(evaluation, summary, description), parts)
        return f"loaded once more, it {_DOES[what]} bit for bit."
    shape = _taken(output, description)
    sources = _some_sources(sampler) if from_source and output.suffix == ".html" else (None, None)
    net.cpu()
    if output.suffix == ".html":
        page = write_page(output, net, description, sources)
        said = (
            f"open it in a browser. Its weights are {page.precision}; a pixel differs by at most {page.levels} of 255."
        )
        if from_source and draws_both_ways(plain(config.game)):
            alone = f"It draws only {description.direction}: with both directions it would be too large."
            return f"{said} {'It draws in both directions.' if page.both_ways else alone}"
        return said
    if output.suffix == ".onnx":
        difference = write_onnx(output, net, shape, description)
    else:
        difference = write_program(output, net, shape, description)
    return f"run at two batch sizes, its values differ from the network's by at most {difference:.1g}."


def _draws_alike(pictures: Pixels, loaded: Exported) -> bool:
    return np.array_equal(loaded.sample(len(pictures)), pictures)


def _judges_alike(net: nn.Module, description: Description, loaded: Exported) -> bool:
    parameter = next(net.parameters())
    images = torch.linspace(-1, 1, steps=2 * description.packing).view(-1, 1, 1, 1)
    images = images.expand(-1, *description.image_shape).contiguous().to(parameter.device)
    label = (torch.arange(len(images), device=parameter.device) % max(1, len(description.classes)),)
    given = (images, *label) if description.takes_class else (images,)
    with torch.no_grad():
        return torch.equal(loaded.net(*given), net.eval()(*given))


def _translates_alike(config: DictConfig, state: Mapping[str, Any], device: torch.device, loaded: Exported) -> bool:
    """Whether an exported folder translates images of noise as its run does, in each direction that it has."""
    own = direction_of(config)
    other: Direction = "BtoA" if own == "AtoB" else "AtoB"
    noise = torch.randint(256, (2, *loaded.description.image_shape[1:], 3), generator=generator_for(0, "an export"))
    images = noise.byte().numpy()
    return all(
        np.array_equal(
            loaded.translate(images, direction),
            translated(translator_of_run(config, state, device, "the run", direction), images),
        )
        for direction in ((own, other) if draws_both_ways(plain(config.game)) else (own,))
    )


def _grid_of_translations(sampler: Sampler) -> Shown | None:
    """Translations beside their sources, of held-out images if there are any; None where the data are missing."""
    try:
        cells = sampler.cells_of_a_picture
        inputs = sampler.for_grid("images of a page", SHOWN // len(cells), 1)
    except UserError as error:
        log.warning("The folder has no grid of images. %s", error.problem)
        return None
    columns = near_square(SHOWN) // len(cells) * len(cells)
    return Shown(to_uint8(sampler.cells(inputs)), max(len(cells), columns), cells)


def _some_sources(sampler: Sampler) -> tuple[Pixels | None, Pixels | None]:
    """Images to draw from in either direction, [N, H, W, C], held-out ones if there are any; None without data."""
    try:
        known = sampler.like_data("images of a page", COMPARED).conditions
    except UserError as error:
        log.warning("The page has no images to begin with. %s", error.problem)
        return None, None
    return to_uint8(known[SOURCE].cpu()), to_uint8(known[TARGET].cpu()) if TARGET in known else None


def _taken(output: Path, description: Description) -> tuple[int, ...]:
    """The shape of a network's input, without the batch.

    Raises:
        UserError: it takes other inputs than latents, or images.
    """
    if description.source_shape is not None:
        return description.source_shape
    if description.what == "discriminator" and output.suffix != ".html":
        return description.image_shape
    if description.what == "discriminator":
        raise UserError(
            f"output={output} would be a page that draws images, but what=discriminator draws none.",
            "Try what=generator, or another form: output=NAME, NAME.onnx or NAME.pt2.",
        )
    game = description.drawing.get("game")
    by_class = game is not None and issubclass(named_by(game), Conditional)
    if not description.from_latents_alone and not by_class:
        raise UserError(
            f"output={output}, but this run's generator takes more than latents, which a {output.suffix} file does not "
            "support.",
            "Export a folder instead: output=NAME.",
        )
    return (make_latent(description.drawing["latent"]).dim,)


def _describe(
    what: Player,
    config: DictConfig,
    summary: Mapping[str, Any],
    state: Mapping[str, Any],
    checkpoint: str,
    net: nn.Module,
) -> Description:
    about, players, draws = state["about"], state["players"], what == "generator"
    channels, height, width = about["image_shape"]
    groups = parts_that_draw(config.game)
    averaged = draws and players["average"] is not None
    data = summary.get("data")
    named = data if isinstance(data, dict) else {}
    kind = kind_of_checkpoint(about)
    conditioning = conditioning_of(plain(config.game), kind)
    return Description(
        what=what,
        image_shape=(channels, height, width),
        classes=tuple(about["classes"]),
        network=plain(config.model[what]),
        packing=1 if draws else packing_of(config.game),
        drawing={group: plain(config[group]) for group in groups} if draws else {},
        facts={
            "gan_runner": importlib.metadata.version("gan-runner"),
            "torch": torch.__version__,
            "checkpoint": checkpoint,
            "iteration": state["progress"]["iteration"],
            "images": state["progress"]["images"],
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "averaged": averaged,
            "statistics_of": STATISTICS_OF if averaged and batch_norms(net) else None,
            "seed": config.seed,
            "data": {
                "name": named.get("name"),
                "count": named.get("count"),
                "fingerprint": about["data_fingerprint"],
            },
        },
        conditioning=conditioning,
        class_counts=None if (counts := about.get("class_counts")) is None else tuple(counts),
        partners=kind.partners,
        direction=direction_of(config) if "source_shape" in conditioning else None,
    )


def checked_output(output: str) -> Path:
    """The path to write to; its parent folders are made.

    Raises:
        UserError: its ending is not a known format, or the path exists already.
    """
    path = Path(output)
    if path.suffix not in ("", *_FORMS) and not output.endswith(("/", os.sep)):
        raise UserError(
            f"output={output} has no known format for networks.",
            f"End it in {either([f'{ending} {what}' for ending, what in _FORMS.items()])}; without an ending it is a "
            "folder, which load_exported and model hubs read.",
        )
    if os.path.lexists(path) and not files.is_empty_folder(path):
        raise UserError(
            f"output={output} exists already, and gan-export overwrites nothing.",
            "Choose another path for output, or move it away.",
        )
    files.make_folders_to(path, f"output={output}")
    return path
