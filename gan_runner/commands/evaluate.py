"""The job of `gan-eval`: how good a run's pictures are, or those of any program."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf

from gan_runner.building.parts import only, trusting
from gan_runner.config.build import bind_to_data, load_images, make
from gan_runner.config.checking import OF_PICTURES, check_stored
from gan_runner.config.command_line import named_folders, typed_overrides
from gan_runner.config.judging import report_of_checkpoint, split_of, tell_report
from gan_runner.config.stored import read_stored
from gan_runner.config.validation import validate
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.machine.shell import quoted
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.report import Report, evaluate_samples, side_by_side
from gan_runner.metrics.samples import read_samples
from gan_runner.ranges import Count, Seed, TwoOrMore
from gan_runner.record.links import check_way_to
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

_SAMPLES = "or draw pictures with gan-sample and give samples=PATH data=NAME."

SETTINGS: dict[str, object] = {
    "run": str | Sequence[str] | None,
    "samples": str | None,
    "checkpoint": Literal["last", "best"] | Count,
    "num": TwoOrMore,
    "real": TwoOrMore,
    "output": str | None,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


def evaluate_job(config: DictConfig) -> None:
    """Evaluate, print a table, and write JSON and a picture beside what was evaluated.

    Raises:
        UserError: a setting is wrong, or there is nothing to evaluate, or nothing to hold it against.
    """
    validate(config, SETTINGS, (), typed_overrides(), _no_default)
    if (config.run is None) == (config.samples is None):
        raise UserError(
            "gan-eval looks at a run or at pictures, and needs one of the two.",
            "Try gan-eval run=outputs/DATE/TIME, or gan-eval samples=PATH data=NAME.",
        )
    device = choose_device(config.device, "device")
    with too_little_memory_explained("Try a smaller num or real."):
        if config.samples is not None:
            output = _writable(Path(config.output or "evaluation"))
            tell_report(config.samples, _of_samples(config, device), output)
        else:
            _tell_of_runs(config, device)


def _writable(output: Path) -> Path:
    """A place for what is found, looked at before anything is computed."""
    if not output.parent.is_dir():
        raise UserError(
            f"output is {output}, but there is no folder {output.parent}.",
            f"Make it first: mkdir -p {quoted(str(output.parent))}",
        )
    return output


def _of_samples(config: DictConfig, device: torch.device) -> Report:
    metrics: FeatureMetrics = make(config.metrics)
    training = load_images(config)
    images = read_samples(config.samples, training.shape)
    bind_to_data(metrics, config, training, device)
    return evaluate_samples(config.samples, images, metrics, config.real, config.num, config.seed, split_of(config))


def _tell_of_runs(config: DictConfig, device: torch.device) -> None:
    typed = [override for override in typed_overrides() if override.lstrip("+~").partition("=")[0].startswith("data")]
    if typed:
        raise UserError(
            f"{' '.join(typed)} is given beside run={config.run}, but a run is judged by its own data.",
            f"Leave {' '.join(typed)} out, {_SAMPLES}",
        )
    runs = named_folders(config.run)
    if not runs:
        raise UserError("run is [], but must name a run.", "Try run=outputs/DATE/TIME, or run=A,B.")
    if len(runs) > 1 and config.output is not None and Path(config.output).is_absolute():
        raise UserError(
            f"output is {config.output}, but {len(runs)} runs are looked at, and each would write there.",
            "Give a name, which is written into each run's folder.",
        )
    found = {}
    for run in runs:
        folder = RunFolder.of_run(run, "run")
        checkpoint = _checkpoint_of(run, folder, str(config.checkpoint))
        output = _writable(Path(run, config.output or f"evaluation-{checkpoint}"))
        check_way_to(output, Path(run), "output")
        found[run] = _of_run(run, folder, checkpoint, config, device)
        tell_report(run, found[run], output)
    if len(found) > 1:
        log.info("\n%s", side_by_side(found))


def _of_run(run: str, folder: RunFolder, checkpoint: str, config: DictConfig, device: torch.device) -> Report:
    parts = trusting(config.trust)
    read = read_stored(Path(run), parts, "run")
    stored = OmegaConf.create(read.values)
    if root := read.root_from_elsewhere():
        stored.data.root = str(root)
    state = folder.checkpoints.load(checkpoint, device)
    metrics: FeatureMetrics = make(config.metrics)
    with only(parts):
        check_stored(read.config, (*OF_PICTURES, "data"), f"run is {run}")
        return _report(run, stored, state, metrics, checkpoint, config, device)


def _report(
    run: str,
    stored: DictConfig,
    state: dict[str, Any],
    metrics: FeatureMetrics,
    checkpoint: str,
    config: DictConfig,
    device: torch.device,
) -> Report:
    try:
        training = load_images(stored)
    except UserError as error:
        raise UserError(
            f"run is {run}, but the images that it was trained on cannot be had: {error.problem}",
            f"Put them back to where its data.root leads, {_SAMPLES}",
        ) from error
    bind_to_data(metrics, stored, training, device)
    if training.fingerprint != state["about"]["data_fingerprint"]:
        raise UserError(
            f"run is {run}, but the images that its config names are no longer those that it was trained on.",
            f"Put them back to where data.root leads, {_SAMPLES}",
        )
    how = {"num": config.num, "real": config.real, "seed": config.seed, "device": device}
    return report_of_checkpoint(stored, state, metrics, checkpoint=checkpoint, **how)


def _checkpoint_of(run: str, folder: RunFolder, asked: str) -> str:
    """The checkpoint that is asked for; the last of a run in which nothing was measured, and so nothing is the best."""
    if asked != "best" or folder.checkpoints.path("best").is_file() or not folder.checkpoints.path("last").is_file():
        return asked
    log.warning("%s has no best checkpoint, for no evaluation came to a number: the last is looked at.", run)
    return "last"


def _no_default(key: str) -> object:
    raise KeyError(key)
