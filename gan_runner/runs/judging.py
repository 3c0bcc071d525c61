"""How good the pictures of a run's checkpoint are: what gan-eval says of it, and a run at its end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from gan_runner.config.build import sampler_of_checkpoint
from gan_runner.files import write_text
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import as_bytes
from gan_runner.metrics.report import EvaluationReport, report
from gan_runner.ranges import Seed, TwoOrMore
from gan_runner.record.pictures import save_atomically

log = logging.getLogger(__name__)


def report_of_checkpoint(
    config: DictConfig,
    state: Mapping[str, Any],
    metrics: FeatureMetrics,
    *,
    checkpoint: str,
    num: TwoOrMore,
    real: TwoOrMore,
    seed: Seed,
    device: torch.device,
) -> EvaluationReport:
    """Draw pictures from a checkpoint and hold them against its data.

    Args:
        config: the run's.
        state: the checkpoint.
        metrics: the numbers, bound to what the run was trained on.
        checkpoint: which that is: `best` or `last`, or an iteration.
        num: pictures that are drawn, but no more than real ones can stand beside them.
        real: real pictures that they are held against.
        seed: of what is drawn.
        device: where to compute.
    """
    sampler = sampler_of_checkpoint(config, state, seed, device)
    if (fewer := metrics.comparable(num)) < num:
        log.info("%s pictures are drawn and not %s: as many as there are real ones to stand beside them.", fewer, num)
    drawn = sampler.draw(sampler.like_data("evaluation latents", fewer))
    images = as_bytes(torch.cat([batch.images for batch in drawn]))
    return report(
        images,
        metrics,
        real,
        seed,
        average=state["players"]["average"] is not None,
        checkpoint=checkpoint,
        iteration=state["progress"]["iteration"],
        split=split_of(config),
        label=torch.cat([batch.conditions["label"] for batch in drawn]) if sampler.draws_by_class else None,
    )


def split_of(config: DictConfig) -> str:
    """Which part of a data set a config names."""
    return str(config.data.get("split", "train"))


def tell_report(what: str, found: EvaluationReport, output: Path) -> None:
    """Say what was found, and write it as JSON and as one picture.

    Args:
        what: what was looked at.
        found: what came of it.
        output: a path that .json and .png are added to.
    """
    numbers, picture = (output.with_name(f"{output.name}{end}") for end in (".json", ".png"))
    log.info("%s\n%s", what, found.table())
    write_text(numbers, json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    save_atomically(found.picture(), picture)
    log.info("Numbers: %s\nPicture: %s", numbers, picture)
