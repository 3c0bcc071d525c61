import math
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_runner.config.build import build
from gan_runner.config.checking import check
from gan_runner.health import advice
from gan_runner.health.advice import Usual, advise
from gan_runner.health.symptoms import Moment, Observation

SETTINGS = {
    "seed": 0,
    "loss": "NonSaturating",
    "labels.real": "Exactly",
    "labels.real.value": 1.0,
    "optimizer.lr": 2e-4,
    "optimizer.d.lr": 2e-4,
    "optimizer.g.lr": 2e-4,
    "model.dropout": 0.3,
    "trainer.batch_size": 128,
    "trainer.precision": "fp32",
    "trainer.ema": "null",
    "learning_rate.d": "Constant",
}


@pytest.fixture(scope="module")
def usual(compose_config):
    return Usual(OmegaConf.to_container(compose_config().health.usual))


def test_usual_settings_are_not_reported(usual):
    assert usual.departures(SETTINGS) == {}


@pytest.mark.parametrize(
    ("changes", "departures"),
    [
        ({"optimizer.d.lr": 0}, {"optimizer.d.lr": 2e-4}),
        ({"optimizer.g.lr": 0.0}, {"optimizer.g.lr": 2e-4}),
        ({"optimizer.d.lr": 2e-2}, {"optimizer.d.lr": 2e-4}),
        # The key that both follow, where both do.
        ({"optimizer.lr": 10, "optimizer.d.lr": 10, "optimizer.g.lr": 10}, {"optimizer.lr": 2e-4}),
        ({"optimizer.lr": 10, "optimizer.d.lr": 10}, {"optimizer.d.lr": 2e-4}),
        ({"optimizer.d.lr": 10, "optimizer.g.lr": 10}, {"optimizer.d.lr": 2e-4, "optimizer.g.lr": 2e-4}),
        ({"labels.real.value": math.nan}, {"labels.real.value": 1.0}),
        ({"model.dropout": 0.9}, {"model.dropout": 0.3}),
        ({"trainer.batch_size": 2}, {"trainer.batch_size": 64}),
        ({"model.latent_dim": 1}, {"model.latent_dim": 100}),
        ({"trainer.ema": "null"}, {}),
        ({"optimizer.d.lr": None}, {}),
    ],
)
def test_a_value_outside_the_usual_range_is_reported_with_one_from_within(usual, changes, departures):
    assert usual.departures(SETTINGS | changes) == departures


def test_a_range_can_be_removed():
    assert Usual({"optimizer": {"d": {"lr": None}}}).departures(SETTINGS | {"optimizer.d.lr": 9.0}) == {}


def test_unusual_settings_come_first_and_no_other_advice_changes_them(usual):
    helps = (advice.slower_d, advice.slower_g, advice.penalty)
    said = advise(helps, SETTINGS | {"optimizer.d.lr": 10.0}, usual)
    assert said == (
        "Unusual: optimizer.d.lr is 10. Try: optimizer.d.lr=0.0002. Try one of these: optimizer.g.lr=0.0001  penalty=r1"
    )


def test_all_advice_stays_in_the_usual_range(usual):
    assert advise((advice.faster_d,), SETTINGS | {"optimizer.d.lr": 8e-4}, usual) == ""
    assert advise((advice.slower_d,), SETTINGS | {"optimizer.d.lr": 1.5e-5}, usual) == ""


@pytest.mark.parametrize(
    ("help_", "settings", "override"),
    [
        (advice.slower_d, {}, "optimizer.d.lr=0.0001"),
        (advice.faster_g, {}, "optimizer.g.lr=0.0004"),
        (advice.larger_batch, {}, "trainer.batch_size=256"),
        (advice.more_dropout, {}, "model.dropout=0.5"),
        (advice.more_dropout, {"model.dropout": 0.55}, ""),
        (advice.more_dropout, {"penalty.parts.noise": "FiniteDifference"}, ""),
        (advice.less_dropout, {}, "model.dropout=0.1"),
        (advice.less_dropout, {"model.dropout": None}, ""),
        (advice.another_seed, {}, "seed=1"),
        (advice.nonsaturating, {}, ""),
        (advice.nonsaturating, {"loss": "Minimax"}, "loss=nonsaturating"),
        (advice.nonsaturating, {"loss": "Hinge"}, ""),
        (advice.smooth_labels, {}, "labels=smooth"),
        (advice.smooth_labels, {"labels.real.value": 0.9}, ""),
        (advice.hard_labels, {}, ""),
        (advice.hard_labels, {"labels.real": "NormalWithin"}, "labels=hard"),
        (advice.full_precision, {"trainer.precision": "bf16"}, "trainer.precision=fp32"),
        (advice.penalty, {}, "penalty=r1"),
        (advice.penalty, {"penalty": "R1"}, ""),
        (advice.average, {}, "trainer.ema=0.999"),
        (advice.average, {"trainer.ema": 0.99}, ""),
        (advice.average, {"trainer.ema_half_life": 1000.0}, ""),
        (advice.decay, {}, "learning_rate=linear"),
        (advice.decay, {"learning_rate.d": "Cosine"}, ""),
    ],
)
def test_a_suggestion_is_an_override_of_an_existing_setting_or_nothing(usual, help_, settings, override):
    assert help_(SETTINGS | settings, usual) == override


# ---- through the config -----------------------------------------------------------------------------------

SICK = {
    "accuracy/d": 0.5,
    "accuracy/d_real": 1.0,
    "accuracy/d_fake": 1.0,
    "grad_norm/g": 1e-6,
    "loss/d": 0.5,
    "loss/g": 0.5,
    "health/diversity": 0.0,
    "health/repeats": 1.0,
    "health/distance": 1.0,
    "untrained/diversity": 0.5,
    "data/contrast": 0.0,
    "data/smoothness": 0.9,
}


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optimizer=ttur", "labels=smooth", "model=dcgan"],
        ["loss=hinge", "penalty=r1"],
        ["loss=minimax", "schedule=rounds", "model.dropout=0.6", "trainer.precision=fp32"],
        ["experiment=keras_dcgan", "trainer.precision=bf16"],
        ["experiment=tf_mlp"],
        ["optimizer.lr=0"],
        ["optimizer.d.lr=0", "optimizer.g.lr=10", "trainer.batch_size=2", "labels.flip=0.5"],
    ],
    ids=" ".join,
)
def test_every_override_that_an_alarm_recommends_is_taken_and_changes_the_run(compose_config, overrides):
    watched, said = build(compose_config("data.limit=40", *overrides)).watch, " ".join(overrides)
    for number in range(0, 3000, 50):
        distance = {"health/distance": 1.0 if number < 1500 else 5.0}
        watched.look(SICK | distance, Moment(number, number, number), None)
    watched.look({}, Moment(3000, 3000, 3000), Observation("a loss is NaN or infinite"))
    names = {alarm.name for alarm in watched.raised}
    assert len(names - {"ahead", "alike"}) == 11  # those two ring where a setting is unusual
    assert ("ahead" in names, "alike" in names) == ("lr=0" in said, "batch_size=2" in said)
    before = compose_config(*overrides)
    words = {word for alarm in watched.raised for word in alarm.message.replace(". ", " ").split()}
    helps = {word.rstrip(".") for word in words if "=" in word}
    assert len(helps) > 3
    for override in helps:
        after = compose_config(*overrides, override)
        read = OmegaConf.masked_copy(after, [key for key in after if key != "hydra"])
        check(read, [*overrides, override], after.hydra.runtime.choices, default_of=lambda key: None)
        assert any(after[key] != before[key] for key in read), override


def test_a_suggestion_starts_from_the_runs_value(compose_config):
    overrides = ["penalty=none", "trainer.ema=null", "data.limit=40", "model.dropout=0.3"]
    overrides += ["optimizer=ttur", "schedule=rounds", "schedule.d_steps=70"]
    watched = build(compose_config(*overrides)).watch
    for number in (0, 600):
        _, alarms = watched.look({"accuracy/d": 0.5}, Moment(number, number, number), None)
    helps = "optimizer.d.lr=0.0008  optimizer.g.lr=5e-05  schedule.d_steps=140  model.dropout=0.1"
    assert alarms[0].message.endswith(f"one of these: {helps}")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimizer.d.lr=0", "Unusual: optimizer.d.lr is 0. Try: optimizer.d.lr=0.0002."),
        ("optimizer.lr=10", "Unusual: optimizer.lr is 10. Try: optimizer.lr=0.0002."),
        ("labels.real.value=nan", "Unusual: labels.real.value is nan. Try: labels.real.value=1."),
    ],
)
def test_an_alarm_names_the_key_as_it_was_typed(compose_config, override, named):
    watched = build(compose_config("data.limit=40", override)).watch
    _, (alarm,) = watched.look({}, Moment(1, 1, 1), Observation("a loss is NaN or infinite"))
    assert named in alarm.message


@pytest.mark.parametrize(
    "choice",
    [f"{group}={path.stem}" for group in ("experiment", "model") for path in Path("conf", group).glob("*.yaml")],
)
def test_no_option_of_the_package_is_unusual(compose_config, choice):
    few = {
        "experiment=stacked_modes": ["data.count=40"],
        "experiment=pix2pix": ["data.limit=40", "evaluation=pixels"],
        "experiment=pix2pix_recommended": ["data.limit=40", "evaluation=pixels"],
        "experiment=fastcut": ["data.limit=40", "evaluation=pixels"],
        "experiment=cyclegan": ["data.limit=40", "evaluation=pixels"],
        "experiment=cyclegan_recommended": ["data.limit=40", "evaluation=pixels"],
        "model=unet": ["game=paired", "data=paired", "data.limit=40", "evaluation=pixels"],
        "model=residual_translator": ["game=paired", "data=paired", "data.limit=40", "evaluation=pixels"],
    }.get(choice, ["data=digits", "data.limit=40"])
    assert build(compose_config(choice, *few, "trainer.device=cpu")).watch.unusual == ""


def test_the_ranges_can_be_set_on_the_command_line(compose_config):
    health = compose_config("health.usual.model.dropout=[0,0.95,0.3]").health
    watched = instantiate(health, _convert_="all", settings=SETTINGS | {"model.dropout": 0.9})
    _, (alarm,) = watched.look({}, Moment(1, 1, 1), Observation("a loss is NaN or infinite"))
    assert "Unusual" not in alarm.message


@pytest.mark.parametrize(("latent_dim", "rings"), [(1, ["alike"]), (100, [])])
def test_repeated_images_raise_an_alarm_if_a_setting_that_causes_them_is_unusual(compose_config, latent_dim, rings):
    # As model=dcgan draws Fashion-MNIST from one number: along a line, so that a third of 64 pictures have a double.
    watched = build(compose_config("data.limit=40", f"model.latent_dim={latent_dim}")).watch
    drawn = {"health/diversity": 0.9, "health/repeats": 0.35, "health/distance": 0.25, "untrained/diversity": 0.01}
    for number in range(0, 1400, 50):
        watched.look(drawn, Moment(number, number, number), None)
    assert [alarm.name for alarm in watched.raised] == rings
