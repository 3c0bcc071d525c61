"""What a config must not be, and what becomes of a part whose place another one takes."""

import random
import re
import sys
import types
from collections.abc import Sequence
from typing import Literal

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from gan_runner.building.signatures import taken_as
from gan_runner.config.build import build
from gan_runner.config.checking import check
from gan_runner.config.validation import validate
from gan_runner.data.image_set import InMemoryImages
from gan_runner.errors import UserError
from gan_runner.ranges import Count, Fraction, NonNegative, TwoOrMore
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


def test_a_component_on_the_command_line_gets_no_values_of_the_replaced_file_that_it_does_not_take():
    config = checked("data._target_=mine.load", "data.image_size=12")
    assert {"split", "holdout"}.isdisjoint(config.data)
    assert config.data.resident == "auto"  # which is not for the part to read
    assert build(config).images.shape == (1, 12, 12)


@pytest.mark.parametrize("typed", ["data.split=test", "data.holdout=0.5"])
def test_a_typed_key_that_a_component_does_not_take_is_refused(typed):
    key, _, value = typed.partition("=")
    assert refusal_of("data._target_=mine.load", typed).startswith(f"{key} is {value}, but there is no such key")


def test_a_misspelt_key_of_a_replacing_component_is_refused():
    assert "data.limits is 5" in refusal_of("data._target_=mine.load", "+data.limits=5")


def test_a_network_on_the_command_line_need_not_mention_the_initialisers_of_the_replaced_one():
    config = checked("model.discriminator._target_=mine.Discriminator", "+model.discriminator.norms=false")
    assert set(config.model.discriminator) == {"_target_", "norms"}
    assert isinstance(build(config).players.discriminator.net, Discriminator)


def test_a_component_that_cannot_be_imported_is_reported_as_such():
    assert "no such class or function can be imported" in refusal_of("data._target_=mine.nothing")


# ---- what no part of a config may be --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("model.generator.activation._partial_=3", "must be true or false"),
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
        ("model=keras_mlp model.discriminator.first_weights.std=-0.5", "std -0.5"),
        ("+model.discriminator.activation.inplace=null model.discriminator.activation._target_=torch.nn.Softplus", ""),
        (f"model.latent_dim={10**18}", "overflow"),
    ],
)
def test_what_pytorch_refuses_while_a_component_is_built_is_reported_as_a_mistake_of_the_user(typed, said):
    with pytest.raises(UserError) as refused:
        build(checked(*typed.split()))
    assert said in str(refused.value)


@pytest.mark.parametrize("typed", ["health.usual.labels.flip=3", "health.usual.labels.flip=[0,a,1]"])
def test_a_usual_range_is_three_numbers(typed):
    with pytest.raises(UserError, match=r"health\.usual\.labels\.flip is .*three numbers"):
        build(checked(typed))


# ---- numbers that arrive as text ------------------------------------------------------------------------


SETTINGS = {
    "count": Count | None,
    "rate": NonNegative,
    "switch": Literal["auto"] | bool,
    "pair": tuple[Fraction, Fraction],
    "widths": Sequence[Count],
    "word": str,
    "precision": Literal["auto", "fp32"],
}
GIVEN = {"count": 1, "rate": 0.1, "switch": True, "pair": [0.1, 0.2], "widths": [8], "word": "a", "precision": "auto"}


def validated(key, value):
    config = OmegaConf.create(GIVEN | {key: value})
    validate(config, SETTINGS, (), [], GIVEN.__getitem__)
    return OmegaConf.to_container(config, resolve=True)[key]


@pytest.mark.parametrize(
    ("key", "value", "taken"),
    [
        *(("count", value, 1000) for value in (1e3, 1000.0, "1e3", "1_000", " 1000 ", "1000.", "${oc.env:BATCH}")),
        *(("count", value, None) for value in ("None", "null")),
        *(("rate", value, 1e-4) for value in ("1e-4", "1E-4", ".0001", "0.0001")),
        ("rate", "1", 1),
        *(("switch", value, False) for value in ("False", "false")),
        ("pair", ["0.5", 0.9], [0.5, 0.9]),
        ("widths", ["16", 1e1], [16, 10]),
        *(("word", value, value) for value in ("1e3", "null", "True")),
    ],
)
def test_text_that_reads_as_a_number_is_taken_as_a_number_where_one_is_needed(key, value, taken, monkeypatch):
    monkeypatch.setenv("BATCH", "1000")
    found = validated(key, value)
    assert (found, repr(found)) == (taken, repr(taken))


def test_a_value_taken_from_text_is_used_and_stored_as_its_type(monkeypatch):
    monkeypatch.setenv("RATE", "1e-3")
    config = checked("optimizer.lr=${oc.env:RATE}", "trainer.iterations=1e1")
    assert (config.optimizer.d.lr, config.trainer.iterations) == (0.001, 10)
    assert "lr: 0.001" in OmegaConf.to_yaml(config.optimizer)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("count", "32.5", 'count is "32.5", but must be a whole number, at least 1 or null.'),
        ("count", "ten", "count is ten, but must be a whole number"),
        ("count", "50,", "Try count=50."),
        ("count", "-5", 'count is "-5", but'),
        ("count", "", 'count is "", but'),
        ("count", 2.5, "count is 2.5, but"),
        ("count", "9" * 6000, "must be a whole number"),
        ("rate", "0,1", "Try rate=0.1."),
        ("rate", "1e-4x", "rate is 1e-4x, but must be a number"),
        ("rate", "1e400", "must be a number"),
        ("rate", "nan", "must be a number"),
        ("precision", "FP32", "Try precision=fp32."),
        ("widths", [16, "x"], "widths is [16,x], but"),
        ("widths", "16 16", "Try 'widths=[8]', which is its default."),
    ],
)
def test_a_suggestion_is_never_what_was_refused(key, value, said):
    with pytest.raises(UserError) as refused:
        validated(key, value)
    assert said in str(refused.value)
    assert f"{key}={value}" not in re.split(r"[., ]+ ", f"{refused.value.remedy} ")


def test_a_default_that_would_be_refused_itself_is_not_suggested():
    with pytest.raises(UserError, match=r"Give count a whole number, at least 2\."):
        validate(OmegaConf.create(GIVEN), SETTINGS | {"count": TwoOrMore}, (), [], GIVEN.__getitem__)


def test_numbers_are_parsed_as_in_python_and_whole_ones_stay_whole():
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices("0123456789.eE+-_ x", k=draw.randint(1, 6)))
        try:
            number = float(text)
        except ValueError:
            number = None
        taken = taken_as(text, float)
        if taken is not text:
            assert taken == number
        elif number is not None:  # what Python takes besides
            assert re.search(r"_|\s", text) or abs(number) > 3.4e38  # the largest that arrays hold
        whole = taken_as(text, int)
        assert whole is text or (type(whole) is int and whole == number)
        assert taken_as(text, str) is text


# ---- experiments of one's own ---------------------------------------------------------------------------


def test_settings_that_ended_up_below_experiment_are_refused_with_their_file():
    config, choices = composed([*TINY, "+experiment.trainer.iterations=20"])
    with pytest.raises(UserError, match=r"mine\.yaml does not apply .*trainer would.*\n.*# @package _global_"):
        check(config, TINY, {**choices, "experiment": "mine"}, no_default)


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
def test_a_critic_is_accepted_where_its_slope_is_bounded_or_it_is_custom(bound):
    checked("loss=wasserstein", *bound.split())


@pytest.mark.parametrize("unbound", ["penalty=none", "penalty=several", "penalty=r1 penalty.gamma=0"])
def test_a_critic_without_a_bound_on_its_slope_is_refused(unbound):
    refusal = refusal_of("loss=wasserstein", *unbound.split())
    assert refusal.startswith("loss is wasserstein")
    assert "penalty=gradient_penalty or model.spectral_norm=true" in refusal


def test_spectral_normalisation_is_not_offered_to_a_model_without_it():
    assert "spectral_norm" not in refusal_of("loss=wasserstein", "model=dcgan", "penalty=none")


def test_a_finite_difference_among_several_penalties_needs_a_d_without_dropout():
    words = ["penalty=several", "+penalty@penalty.parts.noise=finite_difference"]
    assert "model.dropout is 0.3" in refusal_of(*words, "model.dropout=0.3")
    checked(*words, "model.dropout=0")
    checked(*words, "model.discriminator.dropout=0")


OF_ONES_OWN = ["model.discriminator._target_=mine.Discriminator"]


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1_r2", "gradient_penalty"])
def test_a_penalty_on_slopes_is_refused_for_a_d_that_normalises_over_the_batch(penalty):
    config = checked(*OF_ONES_OWN, "+model.discriminator.norms=true", f"penalty={penalty}")
    with pytest.raises(UserError, match=r"batch normalisation \(2\).*\n.*penalty=none"):
        build(config)


def test_a_d_that_normalises_over_the_batch_is_accepted_without_a_penalty():
    build(checked(*OF_ONES_OWN, "+model.discriminator.norms=true", "penalty=none"))


# ---- labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "warned"), [("nonsaturating", True), ("minimax", True), ("least_squares", False)])
def test_labels_above_one_give_a_warning_where_they_make_the_loss_unbounded(caplog, loss, warned):
    build(checked(f"loss={loss}", "labels=noisy"))
    assert ("no lower bound" in caplog.text) == warned


def test_a_target_of_another_type_is_refused_with_its_key():
    with pytest.raises(UserError, match=r"labels\.generator is .*no .*high"):
        build(checked("labels.generator._target_=torch.nn.ReLU"))


# ---- threads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["auto", "1", "2"])
def test_threads_are_auto_or_as_many_as_there_are_cores(monkeypatch, setting):
    monkeypatch.setattr("gan_runner.config.checking.cores", lambda: 2)
    checked(f"trainer.threads={setting}")


@pytest.mark.parametrize(
    ("typed", "cores", "said"),
    [
        (
            ["trainer.threads=3"],
            2,
            "trainer.threads is 3, but this process may use 2 processor cores.\n"
            "  Try trainer.threads=2, or trainer.threads=auto.",
        ),
        (
            ["trainer.threads=2"],
            1,
            "trainer.threads is 2, but this process may use 1 processor core.\n"
            "  Try trainer.threads=1, or trainer.threads=auto.",
        ),
        (
            ["trainer.threads=1", "trainer.adapt_threads=true"],
            2,
            "trainer.threads is 1, which keeps that number, but trainer.adapt_threads is true and changes it.\n"
            "  Try trainer.threads=auto, or trainer.adapt_threads=false.",
        ),
    ],
)
def test_more_threads_than_cores_or_a_fixed_number_that_may_change_is_refused(monkeypatch, typed, cores, said):
    monkeypatch.setattr("gan_runner.config.checking.cores", lambda: cores)
    assert refusal_of(*typed) == said


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["0", "-1", "1.5", "all", "null", "true"])
def test_an_invalid_number_of_threads_is_refused(setting):
    assert refusal_of(f"trainer.threads={setting}").startswith(f"trainer.threads is {setting}, but must be auto or ")
