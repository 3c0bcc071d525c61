"""The job of `gan-eval`: how good a run's pictures are, or those of any program."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf

from gan_runner.config.build import load_images, make, sampler_of_checkpoint
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.stored import read_stored
from gan_runner.config.validation import validate
from gan_runner.data import ImageSet
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import as_bytes
from gan_runner.metrics.report import Report, evaluate_samples, report
from gan_runner.ranges import Count, Seed, TwoOrMore
from gan_runner.record.atomic import write_text
from gan_runner.record.pictures import save_atomically
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
            training, held_out = _bound(metrics, config, device)
            found = evaluate_samples(config.samples, training, held_out, metrics, config.real, config.num, config.seed)
            _tell(config.samples, found, Path(config.output or "evaluation"))
            return
        runs = [config.run] if isinstance(config.run, str) else list(config.run)
        for run in runs:
            _tell(run, _of_run(run, config, device), Path(run, config.output or f"evaluation-{config.checkpoint}"))


def _of_run(run: str, config: DictConfig, device: torch.device) -> Report:
    folder = RunFolder.of_run(run, "run")
    trust = [config.trust] if isinstance(config.trust, str) else list(config.trust)
    stored = OmegaConf.create(read_stored(Path(run), trust, "run").config)
    state = folder.checkpoints.load(str(config.checkpoint), device)
    metrics: FeatureMetrics = make(config.metrics)
    training, held_out = _bound(metrics, stored, device)
    if training.fingerprint != state["about"]["data_fingerprint"]:
        raise UserError(
            f"run is {run}, but the images that its config names are no longer those that it was trained on.",
            "Put them back to where data.root leads, or draw pictures with gan-sample and give samples=PATH data=NAME.",
        )
    sampler = sampler_of_checkpoint(stored, state, config.seed, device)
    drawn = sampler.draw(sampler.like_data("evaluation latents", config.num))
    images = as_bytes(torch.cat([batch.images for batch in drawn]))
    return report(
        images,
        training,
        held_out,
        metrics,
        config.real,
        config.seed,
        average=state["players"]["average"] is not None,
        checkpoint=f"iteration {state['progress']['iteration']}",
    )


def _bound(metrics: FeatureMetrics, config: DictConfig, device: torch.device) -> tuple[ImageSet, ImageSet | None]:
    """Load the training pictures and those held out, if there are any, and let the metrics learn of them."""
    training = load_images(config)
    held_out: ImageSet | None = None
    whole: ImageSet | None = None
    if config.data.get("limit") is not None:
        whole = load_images(_with(config, limit=None))
    if "split" in config.data:
        try:
            held_out = load_images(_with(config, split="test", limit=None))
        except NoTestSplitError:
            log.info("%s holds nothing out: copies are looked for, but not tested for.", training.name)
    metrics.bind(training, held_out, device, learn_from=whole)
    return training, held_out


def _with(config: DictConfig, **data: Any) -> DictConfig:
    changed = OmegaConf.create({"data": OmegaConf.to_container(config.data, resolve=True)})
    assert isinstance(changed, DictConfig)
    changed.data.update(data)
    return changed


def _tell(what: str, found: Report, output: Path) -> None:
    log.info("%s\n%s", what, found.table())
    write_text(output.with_suffix(".json"), json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    save_atomically(found.picture(), output.with_suffix(".png"))
    log.info("Numbers: %s\nPicture: %s", output.with_suffix(".json"), output.with_suffix(".png"))


def _no_default(key: str) -> object:
    raise KeyError(key)
