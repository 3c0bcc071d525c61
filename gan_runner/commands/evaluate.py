"""The job of `gan-eval`: how good a run's pictures are, or those of any program."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from omegaconf import DictConfig, OmegaConf

from gan_runner.config.build import bind_to_data, load_images, make
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.judging import report_of_checkpoint, tell_report
from gan_runner.config.stored import read_stored
from gan_runner.config.validation import validate
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.report import Report, evaluate_samples
from gan_runner.ranges import Count, Seed, TwoOrMore
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

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
            metrics: FeatureMetrics = make(config.metrics)
            training = load_images(config)
            held_out = bind_to_data(metrics, config, training, device)
            found = evaluate_samples(config.samples, training, held_out, metrics, config.real, config.num, config.seed)
            tell_report(config.samples, found, Path(config.output or "evaluation"))
            return
        runs = [config.run] if isinstance(config.run, str) else list(config.run)
        for run in runs:
            output = Path(run, config.output or f"evaluation-{config.checkpoint}")
            tell_report(run, _of_run(run, config, device), output)


def _of_run(run: str, config: DictConfig, device: torch.device) -> Report:
    folder = RunFolder.of_run(run, "run")
    trust = [config.trust] if isinstance(config.trust, str) else list(config.trust)
    stored = OmegaConf.create(read_stored(Path(run), trust, "run").config)
    state = folder.checkpoints.load(str(config.checkpoint), device)
    metrics: FeatureMetrics = make(config.metrics)
    training = load_images(stored)
    held_out = bind_to_data(metrics, stored, training, device)
    if training.fingerprint != state["about"]["data_fingerprint"]:
        raise UserError(
            f"run is {run}, but the images that its config names are no longer those that it was trained on.",
            "Put them back to where data.root leads, or draw pictures with gan-sample and give samples=PATH data=NAME.",
        )
    how = {"num": config.num, "real": config.real, "seed": config.seed, "device": device}
    return report_of_checkpoint(stored, state, metrics, training, held_out, **how)


def _no_default(key: str) -> object:
    raise KeyError(key)
