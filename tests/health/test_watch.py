import json
import math

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_runner.config.checking import check
from gan_runner.errors import UserError
from gan_runner.health.symptoms import (
    Ahead,
    CoinToss,
    Collapse,
    Constant,
    Moment,
    Narrower,
    Observation,
    Saturated,
    Symptom,
)
from gan_runner.health.watch import NOT_FINITE, Alarm, Watch

HEALTHY = {
    "accuracy/d": 0.8,
    "accuracy/d_real": 0.9,
    "accuracy/d_fake": 0.7,
    "grad_norm/g": 0.5,
    "grad_norm/d": 0.4,
    "loss/d": 0.6,
    "loss/g": 0.9,
    "health/diversity": 0.9,
    "health/repeats": 0.0,
    "health/distance": 0.3,
    "untrained/diversity": 0.2,
    "data/contrast": 0.5,
    "data/smoothness": 0.9,
}
SURE = {"accuracy/d": 0.999, "accuracy/d_real": 1.0, "accuracy/d_fake": 0.998}
SATURATED = SURE | {"grad_norm/g": 1e-5}
SETTINGS = {
    "seed": 0,
    "loss": "NonSaturating",
    "labels.real": "Exactly",
    "labels.real.value": 1.0,
    "optimizer.d.lr": 2e-4,
    "optimizer.g.lr": 1e-4,
    "model.dropout": 0.3,
    "trainer.precision": "fp32",
}


def point(**changes):
    return HEALTHY | changes


def watch(symptoms, on_alarm="warn"):
    return Watch(on_alarm, 0.5, 3, pictures=64, symptoms=symptoms, usual={}, settings=SETTINGS)


def at(iteration):
    """A log point of turns of one update each."""
    return Moment(iteration, iteration, iteration)


def coin_toss(patience=0):
    return CoinToss(0.52, 0.05, patience)


def collapse():
    return Collapse(0.1, 0.5, 0.1, patience=0)


def saturated(patience=0):
    return Saturated(accuracy=0.99, gradient=1e-3, patience=patience)


def constant(points=3, spread=1e-6, patience=0):
    return Constant("loss/d", points, spread, patience)


def alarms_of(looker, points):
    """The iterations at which alarms are raised, a point every ten iterations."""
    raised = []
    for number, each in enumerate(points, start=1):
        raised += [(alarm.iteration, alarm.since) for alarm in looker.look(each, at(10 * number), None)[1]]
    return raised


SICK, WELL = point(**SATURATED), point()


# ---- stretches in which only one plays --------------------------------------------------------------------

# What is measured while D alone plays, and while G alone does; G's pictures are measured always.
OF_D = {"accuracy/d", "accuracy/d_real", "accuracy/d_fake", "loss/d", "grad_norm/d", "health/diversity"}
OF_G = {"accuracy/d_fake", "loss/g", "grad_norm/g", "health/diversity"}


def only(tags, **changes):
    return {tag: value for tag, value in point(**changes).items() if tag in tags}


def test_a_symptom_lasts_while_it_cannot_be_measured():
    looker = watch({"coin_toss": coin_toss(50)})
    tossing, g_plays = only(OF_D, **{"accuracy/d": 0.5}), only(OF_G)
    points = [tossing, tossing, g_plays, g_plays, g_plays, tossing, tossing]
    present = [looker.look(each, at(10 * n), None)[0]["health/coin_toss"] for n, each in enumerate(points, start=1)]
    assert present == [1.0] * 7
    assert [(alarm.iteration, alarm.since) for alarm in looker.raised] == [(60, 10)]


def test_a_symptom_ends_once_it_is_measured_as_absent():
    looker = watch({"coin_toss": coin_toss(30)})
    tossing, g_plays, well = only(OF_D, **{"accuracy/d": 0.5}), only(OF_G), only(OF_D)
    assert alarms_of(looker, [tossing, g_plays, g_plays, well, g_plays, tossing, g_plays]) == []


def test_saturation_of_d_uses_the_latest_measurements_of_d_and_of_g():
    # D has won and G's gradient has vanished, but no log point has both.
    stretches = [only(OF_D, **SATURATED)] * 3 + [only(OF_G, **SATURATED)] * 3
    assert alarms_of(watch({"saturated": saturated(40)}), stretches * 2) == [(80, 40)]


def test_d_is_not_called_saturated_once_g_has_fooled_it():
    # G's gradient is as small, but since D takes all that it draws for real.
    won, fooled = only(OF_D, **SURE), only(OF_G, **{"grad_norm/g": 1e-5, "accuracy/d_fake": 0.0})
    assert alarms_of(watch({"saturated": saturated()}), [won, *[fooled] * 9]) == []


@pytest.mark.parametrize("tags", [OF_D, OF_G])
def test_nothing_is_concluded_from_measurements_that_do_not_exist(tags):
    looker = watch({"saturated": saturated(), "coin_toss": coin_toss()})
    assert looker.look(only(tags - {"accuracy/d"}, **SATURATED), at(10), None)[1] == []


def test_a_loss_is_not_constant_while_its_network_is_not_trained():
    looker = watch({"constant_d": constant(points=3)})
    assert alarms_of(looker, [{"loss/d": 0.5}, {}, {}, {"loss/d": 0.5}, {}, {"loss/d": 0.6}]) == []


# ---- patience ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patience", "raised"), [(0, [(10, 10)]), (1, [(20, 10)]), (20, [(30, 10)]), (21, [(40, 10)]), (90, [])]
)
def test_an_alarm_is_raised_once_when_its_symptom_has_lasted_for_its_patience(patience, raised):
    assert alarms_of(watch({"saturated": saturated(patience)}), [SICK] * 6) == raised


def test_a_symptom_that_disappears_starts_again_and_can_raise_another_alarm():
    sick_and_well = [SICK, SICK, WELL, SICK, SICK, SICK, WELL, SICK, SICK, SICK, SICK]
    assert alarms_of(watch({"saturated": saturated(20)}), sick_and_well) == [(60, 40), (100, 80)]


def test_each_symptom_has_a_tag_that_says_whether_it_is_present_whatever_its_patience():
    looker = watch({"saturated": saturated(1000), "collapse": collapse()})
    assert looker.look(SICK, at(10), None) == (
        {"health/not_finite": 0.0, "health/saturated": 1.0, "health/collapse": 0.0},
        [],
    )
    assert looker.look(WELL, at(20), None)[0]["health/saturated"] == 0.0


def test_symptoms_are_tracked_independently():
    looker = watch({"coin": coin_toss(20), "collapse": collapse()})
    tossing = point(**{"accuracy/d": 0.4})
    both = tossing | {"health/diversity": 0.0}
    assert [[alarm.name for alarm in looker.look(each, at(10 * n), None)[1]] for n, each in
            enumerate([tossing, both, both, both])] == [[], ["collapse"], ["coin"], []]  # fmt: skip


def test_an_alarm_says_what_was_measured_since_when_and_what_to_try():
    looker = watch({"saturated": saturated(10)})
    looker.look(SICK, at(150), None)
    _, (alarm,) = looker.look(SICK, at(200), None)
    assert alarm == Alarm(
        "saturated",
        200,
        150,
        "saturated: D is right 99.9% of the time and G's gradient has vanished (norm 1e-05), since iteration 150. "
        "Try one of these: labels=smooth  optimizer.d.lr=0.0001  model.dropout=0.5",
    )
    assert looker.raised == [alarm]


# ---- numbers that are not finite --------------------------------------------------------------------------


BAD = Observation("a loss is NaN or infinite", at(37))


def test_a_loss_that_is_nan_raises_an_alarm_immediately_with_its_iteration():
    looker = watch({"collapse": collapse()})
    seen, (alarm,) = looker.look(point(**{"loss/d": math.nan}), at(50), BAD)
    assert seen == {"health/not_finite": 1.0}
    assert (alarm.name, alarm.iteration, alarm.since) == (NOT_FINITE, 50, 37)
    assert alarm.message == (
        "not_finite: a loss is NaN or infinite, since iteration 37. "
        "Try one of these: optimizer.d.lr=0.0001  optimizer.g.lr=5e-05"
    )


def test_a_loss_that_stays_nan_is_one_alarm_until_a_rollback():
    looker = watch({})
    assert [len(looker.look(WELL, at(n), BAD)[1]) for n in (50, 60, 70)] == [1, 0, 0]
    looker.forget()
    assert looker.look(WELL, at(80), None) == ({"health/not_finite": 0.0}, [])
    assert len(looker.look(WELL, at(90), BAD)[1]) == 1
    assert len(looker.raised) == 2


# ---- rollback and checkpoints -----------------------------------------------------------------------------


def test_after_a_rollback_every_symptom_is_reset():
    looker = watch({"saturated": saturated(20), "constant_d": constant(points=3)})
    assert alarms_of(looker, [SICK] * 3) == [(30, 10), (30, 10)]
    looker.forget()
    # Patience runs again, and so do the points of a loss: what is compared belongs to weights that are gone.
    assert alarms_of(looker, [SICK] * 3) == [(30, 10), (30, 10)]


@pytest.mark.parametrize("stop", range(9))
def test_a_watch_resumes_from_its_state_at_any_point(stop):
    points = [SICK, SICK, SICK, SICK, WELL, SICK, SICK, SICK, SICK]

    def looker():
        return watch({"saturated": saturated(20), "constant_d": constant(points=4, patience=10)})

    whole, first, second = looker(), looker(), looker()
    for number, each in enumerate(points):
        whole.look(each, at(10 * number), None)
        if number < stop:
            first.look(each, at(10 * number), None)
    state = json.loads(json.dumps(first.state_dict()))  # plain values
    second.load_state_dict(state)
    assert second.raised == first.raised
    for number, each in enumerate(points[stop:], start=stop):
        second.look(each, at(10 * number), None)
    assert len(whole.raised) == 3
    assert second.raised == whole.raised
    assert second.state_dict() == whole.state_dict()


def test_a_symptom_that_is_new_in_the_config_starts_without_history():
    old, new = watch({"saturated": saturated(20)}), watch({"collapse": collapse(), "constant_d": constant()})
    old.look(SICK, at(10), None)
    new.load_state_dict(old.state_dict())
    assert new.state_dict()["courses"] == watch({"collapse": collapse()}).state_dict()["courses"] | {
        "constant_d": {"since": None, "raised": False}
    }


@pytest.mark.parametrize(
    ("points", "suspects"),
    [
        ([], []),
        ([WELL], [10]),  # a loss may turn out to have stood still since then
        ([point(**{"loss/d": loss}) for loss in (0.5, 0.6, 0.6)], [20]),
        ([point(**SATURATED, **{"loss/d": loss}) for loss in (0.5, 0.6, 0.7)], [10, 30]),
        ([point(**{"loss/d": loss}) for loss in (0.5, 0.6, 0.6, 0.6, 0.6)], [20, 30]),
    ],
)
def test_the_watch_knows_how_far_back_a_coming_alarm_may_roll_back(points, suspects):
    looker = watch({"saturated": saturated(100), "constant_d": constant(points=3)})
    alarms_of(looker, points)
    assert looker.suspects == suspects


# ---- the config -------------------------------------------------------------------------------------------


@pytest.fixture
def configured(compose_config):
    return instantiate(compose_config().health, _convert_="all", settings=SETTINGS)


def test_the_configured_watch_raises_no_alarm_for_healthy_values(configured):
    falling = [point(**{"loss/d": 0.7 - n / 100, "loss/g": 0.8 + n / 100}) for n in range(20)]
    assert alarms_of(configured, falling) == []


@pytest.mark.parametrize("key", ["health.pictures", "evaluation.num_images"])
def test_a_single_image_is_refused_because_it_differs_from_no_other(compose_config, key):
    config = compose_config(f"{key}=1")
    read = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    with pytest.raises(UserError, match=f"{key} is 1, but must be a whole number, at least 2."):
        check(read, [f"{key}=1"], config.hydra.runtime.choices, default_of=lambda key: 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "iterations"),
    [
        ("sure", SURE, 710),
        ("saturated", SATURATED, 210),
        ("coin_toss", {"accuracy/d": 0.5, "health/distance": 0.5}, 510),
        ("collapse", {"health/diversity": 0.05}, 710),
        ("collapse", {"health/diversity": 0.49, "health/repeats": 1.0}, 710),
        ("low_diversity", {"health/diversity": 0.3}, 1010),
        ("no_progress", {"health/distance": 1.1}, 1010),
        ("odd_data", {"data/smoothness": 0.0}, 10),
        ("constant_d", {}, 50),
        ("constant_g", {}, 50),
    ],
)
def test_the_configured_watch_reports_each_fault_after_its_patience(compose_config, name, changes, iterations):
    looker = instantiate(compose_config().health, _convert_="all", settings=SETTINGS)
    number = 0
    while not any(alarm.name == name for alarm in looker.raised):
        number += 10
        # All losses but the one in question move.
        moving = {f"loss/{p}": 1.0 + number / 100 for p in "dg" if name != f"constant_{p}"}
        looker.look(point(**changes) | moving, at(number), None)
        assert number < 2000
    assert number == iterations
    assert {alarm.name for alarm in looker.raised} == {name}


def test_the_configured_watch_ignores_d_while_it_warms_up(configured):
    for number in range(100):
        warming_up = only(OF_D | {"health/repeats", "health/distance"}, **SURE, **{"health/diversity": 0.05})
        configured.look(warming_up | {"loss/d": 1.0 + number}, Moment(10 * number, 10 * number, 0), None)
    assert configured.raised == []


def test_only_results_of_another_evaluation_are_forgotten():
    looker = watch({"narrower": Narrower(0.4, patience=20), "coin": coin_toss(1000)})
    for number in range(1, 6):
        looker.look(point(**{"judged/coverage": 0.6, "accuracy/d": 0.5}), at(10 * number), None)
    looker.forget_what_was_judged()
    for number in range(6, 12):
        seen, alarms = looker.look(point(**{"judged/coverage": 0.1, "accuracy/d": 0.5}), at(10 * number), None)
        assert (alarms, seen["health/narrower"], seen["health/coin"]) == ([], 0.0, 1.0)


NAMES = (
    "odd_data",
    "sure",
    "saturated",
    "coin_toss",
    "constant_d",
    "constant_g",
    "collapse",
    "low_diversity",
    "no_progress",
    "worse",
    "few_classes",
    "narrower",
)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["health.symptoms.{}=null", "~health.symptoms.{}"])
@pytest.mark.parametrize("names", [*[(name,) for name in NAMES], NAMES], ids=" ".join)
def test_every_symptom_can_be_switched_off(compose_config, names, form):
    overrides = [form.format(name) for name in names]
    config = compose_config(*overrides)
    read = OmegaConf.masked_copy(config, [name for name in config if name != "hydra"])
    check(read, overrides, config.hydra.runtime.choices, default_of=lambda key: None)
    looker = instantiate(config.health, _convert_="all", settings=SETTINGS)
    seen, _ = looker.look(WELL, at(10), None)
    assert seen.keys() == {"health/not_finite", *(f"health/{name}" for name in NAMES if name not in names)}


def test_a_value_that_is_not_a_symptom_is_refused_with_its_key():
    with pytest.raises(UserError, match=r"health\.symptoms\.collapse is 5, but must be a symptom, or null"):
        watch({"collapse": 5})


# ---- a standing player, kept and forgotten ----------------------------------------------------------------

D_ALONE, G_ALONE = SURE, {"grad_norm/g": 1e-5}  # what log points of rounds measure


def test_the_last_values_of_a_network_that_is_not_trained_come_from_the_checkpoint():
    before, after = watch({"saturated": saturated()}), watch({"saturated": saturated()})
    before.look(D_ALONE, at(10), None)
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    seen, alarms = after.look(G_ALONE, at(20), None)
    assert (seen["health/saturated"], [alarm.name for alarm in alarms]) == (1.0, ["saturated"])


def test_the_last_values_of_a_network_that_is_not_trained_are_forgotten_at_a_rollback():
    looker = watch({"saturated": saturated()})
    looker.look(D_ALONE, at(10), None)
    looker.forget()
    seen, alarms = looker.look(G_ALONE, at(20), None)
    assert (seen["health/saturated"], alarms) == (0.0, [])


class Mine(Symptom):
    """A symptom of the user's own, which gives what it is told to."""

    tags = ("loss/d",)
    patience = 0

    def __init__(self, gives) -> None:
        self.gives = gives

    def observe(self, point, now):
        return self.gives


class Bare(Symptom):
    """One that forgets to say what it is judged by, and how long it must last."""

    def observe(self, point, now):
        return None


def test_a_custom_symptom_becomes_an_alarm_with_its_name():
    _, alarms = watch({"mine": Mine(Observation("it is late"))}).look(HEALTHY, at(7), None)
    assert [(alarm.name, alarm.message) for alarm in alarms] == [("mine", "mine: it is late, since iteration 7.")]


def test_a_custom_symptom_that_lacks_something_is_refused_by_name():
    with pytest.raises(UserError, match=r"health\.symptoms\.bare \(.*Bare\) has no tags and no patience"):
        watch({"bare": Bare()})


@pytest.mark.parametrize("gives", ["late", True, 1.0])
def test_a_custom_symptom_with_a_wrong_observation_is_refused(gives):
    with pytest.raises(UserError, match=r"health\.symptoms\.mine \(.*Mine\) gives .* from observe"):
        watch({"mine": Mine(gives)}).look(HEALTHY, at(7), None)


@pytest.mark.parametrize(
    ("rates", "rings"),
    [((2e-4, 1e-4), False), ((2e-2, 1e-4), True), ((2e-4, 1e-6), True), ((None, 1e-4), False)],
)
def test_a_d_that_is_ahead_raises_an_alarm_if_a_learning_rate_is_unusual(rates, rings):
    d, g = rates
    settings = SETTINGS | {"optimizer.d.lr": d, "optimizer.g.lr": g}
    if d is None:
        del settings["optimizer.d.lr"]  # an optimizer of the user's own, whose rate has another name
    usual = {"optimizer": {"d": {"lr": [1e-5, 1e-3, 2e-4]}, "g": {"lr": [1e-5, 1e-3, 2e-4]}}}
    symptom = Ahead(0.9, ["optimizer.d.lr", "optimizer.g.lr"], patience=100)
    looking = Watch("warn", 0.5, 3, 64, {"ahead": symptom}, usual, settings)
    right = point(**{"accuracy/d_real": 0.96, "accuracy/d_fake": 0.94})
    alarms = [alarm for number in range(1, 13) for alarm in looking.look(right, at(10 * number), None)[1]]
    assert [alarm.iteration for alarm in alarms] == [110] * rings
    for alarm in alarms:
        assert "D is right 95.0% of the time, since iteration 10. Unusual: optimizer." in alarm.message
