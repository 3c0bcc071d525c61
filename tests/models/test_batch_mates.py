"""No model looks across a batch when it draws or judges."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gan_runner.building.making import asked_for
from gan_runner.config.build import build_network
from gan_runner.data.image_set import Kind
from tests.batch_mates import hold_apart

MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf/model").glob("*.yaml"))


@pytest.mark.parametrize("which", ["generator", "discriminator"])
@pytest.mark.parametrize("model", MODELS)
def test_the_output_for_an_image_or_a_latent_does_not_depend_on_its_batch(compose_config, model, which):
    config = compose_config(f"model={model}")
    pairs = ["game=paired"] if "source_shape" in asked_for(config.model.generator, {"source_shape": None}) else []
    config, shape = compose_config(f"model={model}", *pairs), (1, 28, 28)
    built = build_network(config, which, Kind(shape, (), shape if pairs else None)).eval()
    net = partial(_of_both, built) if pairs and which == "discriminator" else built
    for norm in (module for module in built.modules() if isinstance(module, _BatchNorm)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    from_latents = which == "generator" and not pairs
    hold_apart(net, torch.randn(5, config.model.latent_dim) if from_latents else torch.rand(5, *shape))


def _of_both(d, images):
    return d(images, images.flip(2))
