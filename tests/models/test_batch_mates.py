"""No model looks across a batch when it draws or judges."""

from pathlib import Path

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from gan_runner.config.build import build_network
from tests.batch_mates import hold_apart

MODELS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf/model").glob("*.yaml"))


@pytest.mark.parametrize("which", ["generator", "discriminator"])
@pytest.mark.parametrize("model", MODELS)
def test_what_comes_of_an_image_or_a_latent_is_of_it_alone(compose_config, model, which):
    config = compose_config(f"model={model}")
    net = build_network(config, which, (1, 28, 28), ()).eval()
    for norm in (module for module in net.modules() if isinstance(module, _BatchNorm)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    hold_apart(net, torch.randn(5, config.model.latent_dim) if which == "generator" else torch.rand(5, 1, 28, 28))
