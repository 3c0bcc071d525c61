"""What a run prints before it trains: data, device, settings, and tables of the networks' layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torchinfo import summary as parameter_summary

from gan_runner.data import ResidentLoader
from gan_runner.data.classes import FEW, with_few_images
from gan_runner.data.unread import counted
from gan_runner.games import Conditional
from gan_runner.training.experiment import Experiment
from gan_runner.training.progress import duration
from gan_runner.training.threads import named

log = logging.getLogger(__name__)

_WHY = {"conditional": ", by class"}


def introduce(experiment: Experiment) -> dict[str, str]:
    """Log data and device; returns the tables of layers by name, which go to the log file only."""
    images, compute, game = experiment.images, experiment.compute, experiment.game
    channels, height, width = images.shape
    held = "in memory" if isinstance(experiment.loader, ResidentLoader) else "read from files"
    log.info("Data: %s, %s images %dx%dx%d, %s", images.name, f"{len(images):,}", height, width, channels, held)
    threads = f", {named(torch.get_num_threads())}" if compute.device.type == "cpu" else ""
    log.info("Device: %s%s, %s, seed %d", compute.device, threads, compute.precision, experiment.seed)
    if (size := experiment.world.size) > 1:
        log.info("%d processes train together, each on %d images of a batch.", size, experiment.step.sizes.d)
    if not game.classifies:
        log.info("This loss does not classify: accuracy/* are the area under the ROC curve.")
    for said in what_to_know(experiment):
        log.warning("%s", said)
    tables = layer_tables(experiment)
    for name, table in tables.items():
        log.debug("%s\n%s", name.capitalize(), table)
    return tables


def what_to_know(experiment: Experiment) -> list[str]:
    """Warnings about the game's settings and about classes with few images."""
    game, counts = experiment.game, experiment.class_counts
    said = list(getattr(game, "caveats", ()))
    if isinstance(game, Conditional) and not game.unconditional and counts is not None:
        few = with_few_images(experiment.images.classes, counts)
        said += [
            f"Few images of some classes: {few}. Below {FEW}, G may draw the same few images of a class over and over. "
            "Try augment=diffaugment, or game.unconditional=1, and look at the coverage of each class in gan-eval."
        ] * bool(few)
    return said


def layer_tables(experiment: Experiment) -> dict[str, str]:
    """Both networks layer by layer, by name."""
    players = experiment.players
    tables = {}
    for name, net in (("generator", players.generator.net), ("discriminator", players.discriminator.net)):
        try:
            inputs = [_latents_of(experiment)] if name == "generator" else [experiment.examples(2).images]
            table = parameter_summary(
                net, input_data=inputs, verbose=0, col_names=("output_size", "num_params"), depth=2
            )
        except RuntimeError:  # a network with further inputs: without the shapes
            table = parameter_summary(net, verbose=0, col_names=("num_params",), depth=2)
        tables[name] = str(table)
    return tables


def what_is_trained(experiment: Experiment, config: DictConfig, choices: Mapping[str, str]) -> str:
    """The chosen options, learning rates, batch size and the sizes of the networks, in two lines."""
    chosen = [f"{group}={choices[group]}" for group in ("experiment", "model", "loss", "penalty") if choices.get(group)]
    rates = {letter.upper(): config.optimizer[letter].get("lr") for letter in ("d", "g")}
    if len(set(rates.values())) == 1:
        chosen.append(f"lr {_rate(rates['D'])}")
    else:
        chosen.append("lr " + " ".join(f"{letter} {_rate(rate)}" for letter, rate in rates.items()))
    chosen.append(f"batch {experiment.settings.batch_size}")
    players = experiment.players
    sizes = f"G {_parameters(players.generator.net)}, D {_parameters(players.discriminator.net)} parameters"
    return f"{' '.join(chosen)}\n{sizes}"


def what_is_better(
    config: DictConfig, choices: Mapping[str, str | None], class_counts: Sequence[int] | None = None
) -> str | None:
    """The experiments with better images, and by how much; None where none is known or another experiment is chosen.

    The numbers are `model.recommended.gain` of the config, by experiment and data set: those of the data set that is
    trained on, or else the first ones.

    Args:
        config: of the run.
        choices: the chosen option of each config group.
        class_counts: images of each class; None for data without classes.
    """
    gains = OmegaConf.select(config, "model.recommended.gain")
    chosen = choices.get("experiment")
    if not gains or chosen not in (None, "recommended"):
        return None
    better = ["recommended"] if chosen is None else []
    if choices.get("game") == "adversarial" and class_counts and min(class_counts) >= FEW:
        better.append("conditional")
    known = gains.get(chosen or "recommended", {})
    data = choices.get("data") if choices.get("data") in known else next(iter(known), None)
    measured = {experiment: gains[experiment][data] for experiment in better if data in gains.get(experiment, {})}
    if not measured:
        return None
    without = 1.0 if chosen is None else known[data].times
    lines = [
        f"  experiment={experiment}  Frechet distance {gain.times / without:.2g} times lower{_WHY.get(experiment, '')}"
        for experiment, gain in measured.items()
    ]
    gain = next(iter(measured.values()))
    after = duration(60 * gain.minutes).removesuffix(" 0 s")
    return "\n".join([f"Better images after {after} of one core on {data} ({counted(gain.seeds, 'seed')}):", *lines])


def _rate(rate: object) -> str:
    """A learning rate as a user types it: 2e-4."""
    if not isinstance(rate, float) or rate >= 0.01 or rate <= 0:
        return str(rate)
    digits, _, power = f"{rate:.3e}".partition("e-")
    return f"{float(digits):g}e-{int(power)}"


def _parameters(net: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in net.parameters())
    return f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"


def _latents_of(experiment: Experiment) -> torch.Tensor:
    cpu = torch.device("cpu")
    return experiment.game.latents(2, cpu, torch.Generator()).to(experiment.compute.device)
