"""The job of `gan-sample`: pictures from a run."""

from __future__ import annotations

import logging
from typing import Literal

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from gan_runner.config.build import build_generator, build_latent
from gan_runner.config.validation import typed_overrides, validate
from gan_runner.errors import too_little_memory_explained
from gan_runner.ranges import Count, Seed
from gan_runner.record.pictures import check_output, to_uint8, write_samples
from gan_runner.record.run_folder import CheckpointName, RunDirectory
from gan_runner.training.devices import choose_device

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str,
    "num": Count,
    "output": str,
    "checkpoint": Literal["last", "best"],
    "seed": Seed,
    "device": str,
}
_BATCH = 256


def sample_job(config: DictConfig) -> None:
    """Draw `num` pictures with a run's generator, or its moving average, and write them.

    Raises:
        UserError: a setting is wrong, `run` is no run's folder, or something is at `output` already.
    """
    validate(config, SETTINGS, (), typed_overrides(), _no_default)
    device = choose_device(config.device, "device")
    directory = RunDirectory.of_run(config.run, "run")
    check_output(config.output)
    net = trained_generator(directory, config.checkpoint, device)
    generator = torch.Generator().manual_seed(config.seed)
    with too_little_memory_explained("Try a smaller num, and another seed for each part."):
        latents = build_latent(directory.config()).sample(config.num, torch.device("cpu"), generator)
        write_samples(to_uint8(draw(net, latents.to(device))), config.output)
    log.info("%d pictures: %s", config.num, config.output)


def trained_generator(directory: RunDirectory, checkpoint: CheckpointName, device: torch.device) -> nn.Module:
    """Load what draws a run's pictures, in evaluation mode: the moving average where there is one, else G."""
    state = directory.load_checkpoint(checkpoint, device)
    channels, height, width = state["image_shape"]
    net = build_generator(directory.config(), (channels, height, width)).to(device)
    net.load_state_dict(state["average"] or state["generator"]["net"])
    return net.eval()


def draw(net: nn.Module, latents: Tensor) -> Tensor:
    """Let a network draw in evaluation mode and float32; [N, latent_dim] to [N, C, H, W] in [-1, 1]."""
    was_training = net.training
    net.eval()
    with torch.no_grad():
        images = torch.cat([net(batch) for batch in latents.split(_BATCH)])
    net.train(was_training)
    return images


def _no_default(key: str) -> object:
    raise KeyError(key)
