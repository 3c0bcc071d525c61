"""What building from a config leaves as it is."""

import contextlib
import copy
import re
import struct

import pytest
import torch

from gan_runner.config.build import NETWORKS, bind_to_data, build_network, load_images, refuse_other_networks
from gan_runner.data.image_set import Kind
from gan_runner.errors import UserError

CLASSES = [str(digit) for digit in range(10)]
SHAPE = (1, 28, 28)
KIND = Kind(SHAPE, tuple(CLASSES))
ABOUT = {"image_shape": SHAPE, "classes": CLASSES}
MODELS = {
    "mlp": ["model=mlp"],
    "mlp, normalised": ["model=mlp", "model.spectral_norm=true"],
    "mlp_relu": ["model=mlp_relu"],
    "dcgan": ["model=dcgan"],
    "resnet": ["model=resnet"],
}


@pytest.fixture
def networks(compose_config):
    def make(*overrides):
        config = compose_config(*overrides)
        return config, {which: build_network(config, which, KIND) for which in NETWORKS}

    return make


@pytest.mark.parametrize("overrides", MODELS.values(), ids=MODELS)
def test_checking_a_checkpoints_networks_does_not_change_what_is_loaded_afterwards(networks, overrides, same_bits):
    config, nets = networks(*overrides)
    weights = {which: net.state_dict() for which, net in nets.items()}
    before, numbers = copy.deepcopy(weights), torch.get_rng_state()
    refuse_other_networks(config, ABOUT, weights)
    assert torch.equal(torch.get_rng_state(), numbers)
    for which in NETWORKS:
        assert same_bits(weights[which], before[which])
        other = build_network(config, which, KIND)
        known = dict(other.named_parameters())  # to an optimizer, say
        other.load_state_dict(weights[which])
        assert all(parameter is known[name] for name, parameter in other.named_parameters())
        assert same_bits(other.state_dict(), before[which])


def test_networks_that_differ_from_the_checkpoint_are_refused_and_not_built(networks):
    config, nets = networks("model=mlp")
    weights = {which: net.state_dict() for which, net in nets.items()}
    config.model.generator.widths = [10**6, 10**6]  # 4 TB
    with pytest.raises(UserError, match="another model"):
        refuse_other_networks(config, ABOUT, weights)


@pytest.mark.parametrize("settings", [["data.limit=10"], ["data.holdout=0.5"]], ids=["a part of it", "held out"])
def test_data_are_reloaded_by_their_settings_and_not_by_what_those_would_resolve_to(
    compose_config, tmp_path, monkeypatch, settings
):
    """A folder called `${oc.env:HOME}`, whose name was put together from two settings, is that folder."""
    pixels = bytes(range(200)) * 40
    folder = tmp_path / "${oc.env:HOME}"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 125, 8, 8) + pixels)
    monkeypatch.chdir(tmp_path)
    put_together = ["+model.h=$", "+model.i='{oc.env:HOME}'", "data.root=${model.h}${model.i}"]
    config = compose_config("data=idx", *put_together, *settings)
    training = load_images(config)
    asked = []

    class Metrics:
        looks_at_held_out = True

        def bind(self, *images, learn_from):
            asked.extend([*images, learn_from])

    bind_to_data(Metrics(), config, training, torch.device("cpu"))
    assert sum(images is not None and hasattr(images, "fingerprint") for images in asked) == 2


INITIALISERS = sorted(name for name in vars(torch.nn.init) if re.fullmatch(r"[a-z]\w*[a-z]_", name))
ACTIVATIONS = ["LeakyReLU", "PReLU", "Softplus", "Hardtanh", "Identity", "CELU"]
CALLED = {
    "weights": [f"torch.nn.init.{name}" for name in INITIALISERS],
    "activation": [*(f"torch.nn.{name}" for name in ACTIVATIONS), "torch.nn.init.normal_", "torch.optim.SGD"],
}


SMALL = {"mlp": "model.generator.widths=[8]", "dcgan": "model.generator.widths=[8,8,8,8]"}


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("key", CALLED)
def test_whatever_a_network_is_given_to_call_is_callable_or_refused_with_a_message(compose_config, model, key):
    config = compose_config(f"model={model}", SMALL[model])
    for target in CALLED[key] if key in config.model.generator else []:
        config.model.generator[key] = {"_target_": target, "_partial_": True}
        with contextlib.suppress(UserError):
            build_network(config, "generator", KIND)
        if target.endswith((".sparse_", ".constant_", ".SGD")):
            with pytest.raises(UserError, match="cannot call it: missing a required argument"):
                build_network(config, "generator", KIND)
