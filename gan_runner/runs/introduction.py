"""What a run says before it trains: the data, the device, and both networks layer by layer."""

from __future__ import annotations

import logging

import torch
from torchinfo import summary as parameter_summary

from gan_runner.training.experiment import Experiment
from gan_runner.training.threads import named

log = logging.getLogger(__name__)


def introduce(experiment: Experiment) -> dict[str, str]:
    """Say what is being trained: data, device, and both players layer by layer; gives the tables of layers by name."""
    tables = {}
    images, compute, game = experiment.images, experiment.compute, experiment.game
    channels, height, width = images.shape
    log.info("%s: %s images, %dx%dx%d", images.name, f"{len(images):,}", height, width, channels)
    threads = f", {named(torch.get_num_threads())}," if compute.device.type == "cpu" else ""
    log.info("Computing on %s%s in %s with seed %d.", compute.device, threads, compute.precision, experiment.seed)
    if (size := experiment.world.size) > 1:
        log.info("%d processes train together, each on %d images of a batch.", size, experiment.step.sizes.d)
    if not game.classifies:
        log.info("This loss does not classify: the area under the ROC curve stands in for accuracy/*.")
    players = experiment.players
    for name, net in (("Generator", players.generator.net), ("Discriminator", players.discriminator.net)):
        try:
            inputs = [_latents_of(experiment)] if name == "Generator" else [experiment.examples(2).images]
            table = parameter_summary(
                net, input_data=inputs, verbose=0, col_names=("output_size", "num_params"), depth=2
            )
        except RuntimeError:  # a network that takes more than a picture or a latent: without the shapes
            table = parameter_summary(net, verbose=0, col_names=("num_params",), depth=2)
        log.info("%s\n%s", name, table)
        tables[name.lower()] = str(table)
    return tables


def _latents_of(experiment: Experiment) -> torch.Tensor:
    cpu = torch.device("cpu")
    return experiment.game.latents(2, cpu, torch.Generator()).to(experiment.compute.device)
