"""The job of `gan-eval`: measure how good a run's images are, or those of any program."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from omegaconf import DictConfig

from gan_runner.config.build import bind_to_data, load_images, make
from gan_runner.config.command_line import named_folders, typed_overrides
from gan_runner.config.validation import validate
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.machine.shell import quoted
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import even_rows
from gan_runner.metrics.report import EvaluationReport, evaluate_samples, side_by_side
from gan_runner.metrics.samples import read_samples
from gan_runner.override import key_of
from gan_runner.ranges import Count, Seed, TwoOrMore
from gan_runner.record.links import check_way_to
from gan_runner.runs.judging import split_of, tell_report, told_from_real
from gan_runner.runs.saved import OTHERWISE, SavedRun
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str | Sequence[str] | None,
    "samples": str | None,
    "checkpoint": Literal["last", "best"] | Count,
    "num": TwoOrMore,
    "real": TwoOrMore,
    "detector": bool,
    "output": str | None,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


def evaluate_job(config: DictConfig) -> None:
    """Evaluate, print a table, and write a JSON file and an image beside what was evaluated.

    Raises:
        UserError: a setting is wrong, or there is nothing to evaluate, or no real images to compare with.
    """
    validate(config, SETTINGS, (), typed_overrides())
    if (config.run is None) == (config.samples is None):
        raise UserError(
            "gan-eval needs a run or samples, and only one of the two.",
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
    """The path to write to, checked before anything is computed."""
    if not output.parent.is_dir():
        raise UserError(
            f"output is {output}, but there is no folder {output.parent}.",
            f"Make it first: mkdir -p {quoted(str(output.parent))}",
        )
    return output


def _of_samples(config: DictConfig, device: torch.device) -> EvaluationReport:
    metrics: FeatureMetrics = make(config.metrics)
    training = load_images(config)
    images = read_samples(config.samples, training.shape)
    bind_to_data(metrics, config, training, device)
    found = evaluate_samples(config.samples, images, metrics, config.real, config.num, config.seed, split_of(config))
    if not config.detector:
        return found
    images = images[even_rows(len(images), metrics.comparable(config.num))]
    return replace(found, told=told_from_real(images, metrics, config.seed, device))


def _tell_of_runs(config: DictConfig, device: torch.device) -> None:
    typed = [override for override in typed_overrides() if key_of(override).startswith("data")]
    if typed:
        raise UserError(
            f"{' '.join(typed)} is given together with run={config.run}, but a run is evaluated on its own data.",
            f"Leave {' '.join(typed)} out, {OTHERWISE}",
        )
    runs = named_folders(config.run)
    if not runs:
        raise UserError("run is [], but must name a run.", "Try run=outputs/DATE/TIME, or run=A,B.")
    if len(runs) > 1 and config.output is not None and Path(config.output).is_absolute():
        raise UserError(
            f"output is {config.output}, but {len(runs)} runs are evaluated, and each would write there.",
            "Give a name, which is written into each run's folder.",
        )
    found = {}
    for run in runs:
        saved = SavedRun(run, config.trust)
        checkpoint = saved.checkpoint_for(str(config.checkpoint))
        output = _writable(Path(run, config.output or f"evaluation-{checkpoint}"))
        check_way_to(output, Path(run), "output")
        metrics: FeatureMetrics = make(config.metrics)
        found[run] = saved.evaluated(
            metrics,
            checkpoint=checkpoint,
            num=config.num,
            real=config.real,
            seed=config.seed,
            device=device,
            detector=config.detector,
        )
        tell_report(f"{run}, the {checkpoint} checkpoint", found[run], output)
    if len(found) > 1:
        log.info("\n%s", side_by_side(found))
