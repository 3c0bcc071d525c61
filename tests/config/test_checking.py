"""What a config must not be, and what becomes of a part whose place another one takes."""

import sys
import types

import pytest
import torch
from torch import nn

from gan_runner.config.build import build
from gan_runner.config.checking import check
from gan_runner.data.image_set import InMemoryImages
from gan_runner.errors import UserError
from gan_runner.ranges import Count
from tests.config.test_every_choice import QUICK, composed, no_default

TINY = [*QUICK, "data.limit=64", "model.generator.widths=[8]"]


def checked(*typed):
    words = [*TINY, *typed]
    config, choices = composed(words)
    check(config, words, choices, no_default)
    return config


def refusal_of(*typed):
    with pytest.raises(UserError) as refused:
        checked(*typed)
    return str(refused.value)


def load(image_size: Count, limit: Count) -> InMemoryImages:
    images = torch.zeros(limit, 1, image_size, image_size, dtype=torch.uint8)
    return InMemoryImages("blank", images, None, ())


class Discriminator(nn.Sequential):
    def __init__(self, image_shape, norms: bool) -> None:
        size = image_shape[1] * image_shape[2]
        middle = [nn.BatchNorm1d(8)] if norms else []
        super().__init__(nn.Flatten(), nn.Linear(size, 8), *middle, nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))


@pytest.fixture(autouse=True)
def mine(monkeypatch):
    module = types.ModuleType("mine")
    module.load, module.Discriminator = load, Discriminator
    monkeypatch.setitem(sys.modules, "mine", module)


# ---- a part in another's place --------------------------------------------------------------------------


def test_a_part_named_on_the_command_line_is_not_given_what_only_the_file_of_the_replaced_one_has():
    config = checked("data._target_=mine.load", "data.image_size=12")
    assert {"split", "holdout"}.isdisjoint(config.data)
    assert config.data.resident == "auto"  # which is not for the part to read
    assert build(config).images.shape == (1, 12, 12)


@pytest.mark.parametrize("typed", ["data.split=test", "data.holdout=0.5"])
def test_a_key_that_was_typed_for_a_part_that_does_not_take_it_is_refused(typed):
    key, _, value = typed.partition("=")
    assert refusal_of("data._target_=mine.load", typed).startswith(f"{key} is {value}, but there is no such key")


def test_a_misspelt_key_of_a_part_in_anothers_place_is_refused():
    assert "data.limits is 5" in refusal_of("data._target_=mine.load", "+data.limits=5")


def test_a_network_named_on_the_command_line_needs_no_word_about_the_replaced_ones_weights():
    config = checked("model.discriminator._target_=mine.Discriminator", "+model.discriminator.norms=false")
    assert set(config.model.discriminator) == {"_target_", "norms"}
    assert isinstance(build(config).players.discriminator.net, Discriminator)


def test_a_part_that_cannot_be_imported_is_told_as_such():
    assert "no such class or function can be imported" in refusal_of("data._target_=mine.nothing")


# ---- what no part of a config may be --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model.generator.weights._partial_=3", "must be true or false"),
        ("+loss._convert_=5", "must be none, partial, object or all"),
        ("+loss._args_=5", "must be a list"),
        (f"model.latent_dim={2**63}", "at least 1, of 63 bits at most"),
        (f"labels.fake.value={10**40}", "must be a number, of 63 bits at most"),
    ],
)
def test_hydras_own_keys_and_numbers_too_large_for_arrays_are_refused(typed, said):
    refusal = refusal_of(typed)
    assert refusal.startswith(f"{typed.lstrip('+').partition('=')[0]} is ")
    assert said in refusal


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model.discriminator.first_weights.std=-0.5", "std -0.5"),
        ("+model.discriminator.activation.inplace=null model.discriminator.activation._target_=torch.nn.Softplus", ""),
        (f"model.latent_dim={10**18}", "overflow"),
    ],
)
def test_what_pytorch_refuses_while_a_part_is_made_is_the_users_to_put_right(typed, said):
    with pytest.raises(UserError) as refused:
        build(checked(*typed.split()))
    assert said in str(refused.value)


@pytest.mark.parametrize("typed", ["health.usual.labels.flip=3", "health.usual.labels.flip=[0,a,1]"])
def test_a_usual_range_is_three_numbers(typed):
    with pytest.raises(UserError, match=r"health\.usual\.labels\.flip is .*three numbers"):
        build(checked(typed))


# ---- combinations without meaning -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "bound",
    [
        "penalty=gradient_penalty",
        "penalty=r1",
        "penalty=none model.spectral_norm=true",
        "penalty=several +penalty@penalty.parts.r2=r2",
        "penalty=none model.discriminator._target_=mine.Discriminator +model.discriminator.norms=false",
    ],
)
def test_a_critic_is_fine_where_something_bounds_its_slope_or_it_is_the_users_own(bound):
    checked("loss=wasserstein", *bound.split())


@pytest.mark.parametrize("unbound", ["penalty=none", "penalty=several", "penalty=r1 penalty.gamma=0"])
def test_a_critic_whose_slope_nothing_bounds_is_refused(unbound):
    refusal = refusal_of("loss=wasserstein", *unbound.split())
    assert refusal.startswith("loss is wasserstein")
    assert "penalty=gradient_penalty or model.spectral_norm=true" in refusal


def test_spectral_normalisation_is_not_offered_to_a_model_without_it():
    assert "spectral_norm" not in refusal_of("loss=wasserstein", "model=dcgan", "penalty=none")


def test_a_finite_difference_among_several_penalties_wants_a_d_without_dropout():
    words = ["penalty=several", "+penalty@penalty.parts.noise=finite_difference"]
    assert "model.dropout is 0.3" in refusal_of(*words, "model.dropout=0.3")
    checked(*words, "model.dropout=0")
    checked("experiment=plain", *words, "model.discriminator.dropout=0")


OF_ONES_OWN = ["model.discriminator._target_=mine.Discriminator"]


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1_r2", "gradient_penalty"])
def test_a_slope_at_each_image_is_refused_for_a_d_that_normalises_over_the_batch(penalty):
    config = checked(*OF_ONES_OWN, "+model.discriminator.norms=true", f"penalty={penalty}")
    with pytest.raises(UserError, match=r"batch normalisation \(2\).*\n.*penalty=none"):
        build(config)


def test_a_d_that_normalises_over_the_batch_is_fine_without_a_penalty():
    build(checked(*OF_ONES_OWN, "+model.discriminator.norms=true", "penalty=none"))


# ---- labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "warned"), [("nonsaturating", True), ("minimax", True), ("least_squares", False)])
def test_labels_above_one_are_warned_of_where_they_unbound_the_loss(caplog, loss, warned):
    build(checked(f"loss={loss}", "labels=noisy"))
    assert ("no lower bound" in caplog.text) == warned


def test_a_target_that_is_something_else_is_refused_by_key():
    with pytest.raises(UserError, match=r"labels\.generator is .*no .*high"):
        build(checked("labels.generator._target_=torch.nn.ReLU"))
