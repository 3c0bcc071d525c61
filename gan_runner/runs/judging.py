"""Evaluate the images of a run's checkpoint, for gan-eval and for the end of a run."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from gan_runner.arithmetic import measuring_device
from gan_runner.building.networks import draws_both_ways, gives_source
from gan_runner.config.build import bind_to_data, make, plain, sampler_of_checkpoint
from gan_runner.data.image_set import ImageSet, kind_of
from gan_runner.data.unpaired import Unpaired
from gan_runner.detection.detectors import FEWEST, trained_network
from gan_runner.detection.scores import scores_of
from gan_runner.files import write_text
from gan_runner.health.symptoms import Symptom, seen_at_once
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import as_bytes, even_rows
from gan_runner.metrics.pairs import PairMetrics
from gan_runner.metrics.report import EvaluationReport, Told, report
from gan_runner.metrics.unpaired import OfSources, UnpairedMetrics
from gan_runner.ranges import Seed, TwoOrMore
from gan_runner.record.pictures import save_atomically

log = logging.getLogger(__name__)

MOST_SHOWN = 20_000
"""Images that the network of gan-eval is shown, so that it takes seconds; that of gan-detect sees more."""


def report_of_checkpoint(
    config: DictConfig,
    state: Mapping[str, Any],
    metrics: FeatureMetrics,
    training: ImageSet,
    *,
    checkpoint: str,
    num: TwoOrMore,
    real: TwoOrMore,
    seed: Seed,
    device: torch.device,
    detector: bool = False,
) -> EvaluationReport:
    """Draw images from a checkpoint and compare them with its data.

    Args:
        config: the run's.
        state: the checkpoint.
        metrics: the metrics, bound to the run's training data.
        training: those.
        checkpoint: `best`, `last` or an iteration.
        num: images to draw, at most as many as there are real ones to compare with.
        real: real images to compare with.
        seed: of the latents.
        device: where to compute.
        detector: whether a network is trained to tell them from real ones.
    """
    sampler = sampler_of_checkpoint(config, state, seed, device)
    if (fewer := metrics.comparable(num)) < num:
        log.info("Drawing %s images, not %s: there are only as many real images.", f"{fewer:,}", f"{num:,}")
    drawn = sampler.draw(sampler.like_data("evaluation latents", fewer))
    images = as_bytes(torch.cat([batch.images for batch in drawn]))
    found = report(
        images,
        metrics,
        real,
        seed,
        average=state["players"]["average"] is not None,
        checkpoint=checkpoint,
        iteration=state["progress"]["iteration"],
        split=split_of(config),
        label=torch.cat([batch.conditions["label"] for batch in drawn]) if sampler.draws_by_class else None,
        drawn=[batch.to(measuring_device(device)).map(Tensor.float) for batch in drawn] if sampler.draws_pairs else (),
        further=_of_sources(config, training, metrics, device),
    )
    if detector:
        found = replace(found, told=told_from_real(images, metrics, seed, device))
    if found.by_class is None:
        return found
    said = seen_at_once(_symptoms(config), found.by_class.judged)
    return replace(found, by_class=replace(found.by_class, findings=said))


def _of_sources(
    config: DictConfig, training: ImageSet, metrics: FeatureMetrics, device: torch.device
) -> OfSources | None:
    """Further metrics of a run whose generator draws from images, bound to its data; None for other runs.

    Args:
        config: the run's.
        training: the images that it was trained on.
        metrics: whose extractor and settings those of two domains have, in both directions if the run draws both.
        device: where to compute.
    """
    game = plain(config.game)
    if not gives_source(game) or kind_of(training).source is None:
        return None
    further: OfSources = (
        UnpairedMetrics.like(metrics, draws_both_ways(game)) if isinstance(training, Unpaired) else PairMetrics()
    )
    bind_to_data(further, config, training, device)
    return further


def told_from_real(images: Tensor, metrics: FeatureMetrics, seed: Seed, device: torch.device) -> Told | None:
    """Train a network to tell images from real ones, and measure it on others of both kinds.

    Args:
        images: uint8 [N, C, H, W]; every second one trains it.
        metrics: bound to the data: it learns the reference, and is measured on real images outside of it.
        seed: of the training.
        device: where it learns.

    Returns:
        How well it does; None where there are too few images.
    """
    started = time.monotonic()
    training, unseen = metrics.reference, metrics.unseen
    learned, others = (images[first::2] for first in (0, 1))
    if unseen is None or min(len(others), len(unseen)) < FEWEST:
        log.warning("There are too few images for a network that tells them from real ones: it needs %d.", 2 * FEWEST)
        return None
    real = training.pixels(even_rows(len(training), len(learned)))
    network = trained_network(real, learned, seed, device, "a network learns to tell them from real ones", MOST_SHOWN)
    measured = [network(each) for each in (others, unseen.pixels(even_rows(len(unseen), len(others))))]
    scores = scores_of(measured[0], measured[1], measured[1])
    assert scores.accuracy is not None
    return Told(scores.accuracy, scores.auc, len(others), round(time.monotonic() - started, 1))


def _symptoms(config: DictConfig) -> dict[str, Symptom]:
    """The symptoms that a run watches for, by name; {} if its `health` is the user's own and has no such key."""
    nodes = config.health.get("symptoms")
    return {str(name): make(node) for name, node in nodes.items() if node} if OmegaConf.is_dict(nodes) else {}


def split_of(config: DictConfig) -> str:
    """Which split of a data set a config names."""
    return str(config.data.get("split", "train"))


def tell_report(what: str, found: EvaluationReport, output: Path) -> None:
    """Log the report, and write it as JSON and as one image.

    Args:
        what: what was evaluated.
        found: the report.
        output: a path that .json and .png are added to.
    """
    numbers, picture = (output.with_name(f"{output.name}{end}") for end in (".json", ".png"))
    log.info("%s\n%s", what, found.table())
    write_text(numbers, json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    save_atomically(found.picture(), picture)
    log.info("Numbers: %s\nImage: %s", numbers, picture)
