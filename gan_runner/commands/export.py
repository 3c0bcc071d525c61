"""The job of `gan-export`: a run's network for other programs."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from gan_runner import files
from gan_runner.building.games import PARTS_OF_A_GAME, make_latent
from gan_runner.building.parts import Parts, only, trusting
from gan_runner.config.build import discriminator_of_checkpoint, plain, sampler_of_checkpoint
from gan_runner.config.checking import OF_PICTURES, check_stored
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.validation import validate
from gan_runner.errors import UserError, either, too_little_memory_explained
from gan_runner.export.card import measured
from gan_runner.export.description import Description
from gan_runner.export.folder import SHOWN, write_folder
from gan_runner.export.graphs import write_onnx, write_program
from gan_runner.export.page import write_page
from gan_runner.games import draws_from_latents_alone
from gan_runner.optim.standing_statistics import batch_norms
from gan_runner.ranges import CountOrZero
from gan_runner.record.data_folder import DataFolder
from gan_runner.record.links import check_way_to
from gan_runner.record.pictures import Pixels, free_name, near_square, to_uint8
from gan_runner.runs.saved import SavedRun
from gan_runner.training.devices import choose_device
from gan_runner.training.sampler import STATISTICS_OF

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "output": str,
    "checkpoint": Literal["last", "best"] | CountOrZero,
    "what": Literal["generator", "discriminator"],
    "device": str,
    "trust": Sequence[str] | str,
}

_FORMS = {".onnx": "for an ONNX file", ".pt2": "for a program of PyTorch's", ".html": "for a page to draw on"}
_DOES = {"generator": "draws the same pictures", "discriminator": "gives the same logits"}


def export_job(config: DictConfig) -> None:
    """Write a run's G, or its moving average, or its D, in the form that the output's ending names.

    Raises:
        UserError: a setting is wrong, `run` is no run's folder, something is at `output` already, or the network cannot
            be written in that form.
    """
    validate(config, SETTINGS, (), typed_overrides(), _no_default)
    device = choose_device(config.device, "device")
    run = SavedRun(config.run, config.trust)
    config.checkpoint = checkpoint = run.checkpoint_for(str(config.checkpoint))  # which names the folder too
    asked = any(override.startswith("output=") for override in typed_overrides())
    output = _checked_output(config.output if asked else free_name(config.output))
    check_way_to(output, run.folder, "output")
    state, parts = run.load_checkpoint(checkpoint, config.device), trusting(config.trust)
    with only(parts), too_little_memory_explained("Export where there is more."):
        check_stored(run.stored.config, OF_PICTURES, f"run is {config.run}")
        network = _network(config, OmegaConf.create(run.config), run.summary, state, checkpoint, device)
        log.info("%s: %s", output, _written(output, network, run, checkpoint, parts))


@dataclass(frozen=True)
class _Network:
    """What is exported: the network, what is said of it, and of G the pictures of its grid."""

    net: nn.Module
    description: Description
    pictures: Pixels | None


def _network(
    config: DictConfig,
    stored: DictConfig,
    summary: Mapping[str, Any],
    state: Mapping[str, Any],
    checkpoint: str,
    device: torch.device,
) -> _Network:
    pictures = None
    if config.what == "generator":
        sampler = sampler_of_checkpoint(stored, state, 0, device)
        net = sampler.net.eval()
        pictures = to_uint8(sampler.pictures(sampler.for_grid("sampled latents", SHOWN, near_square(SHOWN))))
    else:
        net = discriminator_of_checkpoint(stored, state, device)
    description = _describe(config, stored, summary, state, checkpoint, net)
    return _Network(net.requires_grad_(False), description, pictures)


def _written(output: Path, network: _Network, run: SavedRun, checkpoint: str, parts: Parts) -> str:
    """Write a network in the form that the output's ending names; gives what is to be said of it."""
    net, description = network.net, network.description
    if output.suffix not in _FORMS:
        evaluation = DataFolder(run.folder).json(f"evaluation-{checkpoint}.json")
        numbers = measured(evaluation, run.summary, description)
        write_folder(output, description, net, network.pictures, numbers, parts)
        return f"loaded once more, it {_DOES[description.what]} to the bit."
    shape = _taken(output, description)
    net.cpu()
    if output.suffix == ".html":
        precision, levels = write_page(output, net, description)
        return f"open it in a browser. Its weights are {precision}; a pixel differs by {levels} of 255 at the most."
    if output.suffix == ".onnx":
        difference = write_onnx(output, net, shape, description)
    else:
        difference = write_program(output, net, shape, description)
    return f"run at two batch sizes, its values differ from the network's by {difference:.1g} at the most."


def _taken(output: Path, description: Description) -> tuple[int, ...]:
    """The shape of what a network takes, without the batch.

    Raises:
        UserError: it takes more than latents, or images.
    """
    if description.what == "discriminator" and output.suffix != ".html":
        return description.image_shape
    if description.what == "discriminator":
        raise UserError(
            f"output={output} would be a page on which a visitor draws, but what=discriminator draws nothing.",
            "Try what=generator, or another form: output=NAME, NAME.onnx or NAME.pt2.",
        )
    if not description.from_latents_alone:
        raise UserError(
            f"output={output}, but this run's game gives its generator more than latents, which a {output.suffix} has "
            "no place for.",
            "Export a folder instead: output=NAME.",
        )
    return (make_latent(description.drawing["latent"]).dim,)


def _describe(
    config: DictConfig,
    stored: DictConfig,
    summary: Mapping[str, Any],
    state: Mapping[str, Any],
    checkpoint: str,
    net: nn.Module,
) -> Description:
    about, players, draws = state["about"], state["players"], config.what == "generator"
    channels, height, width = about["image_shape"]
    alone = draws_from_latents_alone(resolve_name(stored.game._target_))
    groups: Sequence[str] = ("latent",) if alone else PARTS_OF_A_GAME
    averaged = draws and players["average"] is not None
    data = summary.get("data")
    named = data if isinstance(data, dict) else {}
    return Description(
        what=config.what,
        image_shape=(channels, height, width),
        classes=tuple(about["classes"]),
        network=plain(stored.model[config.what]),
        packing=1 if draws else int(stored.game.get("packing", 1)),
        drawing={group: plain(stored[group]) for group in groups} if draws else {},
        facts={
            "gan_runner": importlib.metadata.version("gan-runner"),
            "torch": torch.__version__,
            "checkpoint": checkpoint,
            "iteration": state["progress"]["iteration"],
            "images": state["progress"]["images"],
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "averaged": averaged,
            "statistics_of": STATISTICS_OF if averaged and batch_norms(net) else None,
            "seed": stored.seed,
            "data": {
                "name": named.get("name"),
                "count": named.get("count"),
                "fingerprint": about["data_fingerprint"],
            },
        },
    )


def _checked_output(output: str) -> Path:
    """The place to write to, its parents made.

    Raises:
        UserError: its ending names no form, or there is something already.
    """
    path = Path(output)
    if path.suffix not in ("", *_FORMS) and not output.endswith(("/", os.sep)):
        raise UserError(
            f"output={output} names no form that networks are exported in.",
            f"End it in {either([f'{ending} {what}' for ending, what in _FORMS.items()])}; without an ending it is a "
            "folder, which load_exported and model hubs read.",
        )
    if os.path.lexists(path) and not files.is_empty_folder(path):
        raise UserError(
            f"output={output} is there already, and nothing is exported over anything.",
            "Choose another path for output, or move away what is there.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"output={output} cannot be written: {path.parent} is no folder, and cannot be made one.",
            "Choose another path for output.",
        ) from error
    return path


def _no_default(key: str) -> object:
    raise KeyError(key)
