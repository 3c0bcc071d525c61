import json
import math

import pytest
from hydra.utils import instantiate

from gan_runner.build import check_config
from gan_runner.health import (
    NOT_FINITE,
    NOT_FINITE_HELPS,
    Alarm,
    CoinToss,
    Collapse,
    Constant,
    Saturated,
    Watch,
)

HEALTHY = {
    "accuracy/d": 0.8,
    "grad_norm/g": 0.5,
    "grad_norm/d": 0.4,
    "loss/d": 0.6,
    "loss/g": 0.9,
    "health/diversity": 0.9,
}
SATURATED = {"accuracy/d": 0.999, "grad_norm/g": 1e-5}


def point(**changes):
    return HEALTHY | changes


def watch(symptoms, on_alarm="warn"):
    return Watch(on_alarm, rollback_rate=0.5, max_rollbacks=3, pictures=64, symptoms=symptoms)


def saturated(patience=0):
    return Saturated(accuracy=0.99, gradient=1e-3, patience=patience)


def constant(points=3, spread=1e-6, patience=0):
    return Constant("loss/d", points, spread, patience)


def alarms_of(looker, points):
    """The iterations at which alarms are raised, a point every ten iterations."""
    raised = []
    for number, each in enumerate(points, start=1):
        raised += [(alarm.iteration, alarm.since) for alarm in looker.look(each, 10 * number, None)[1]]
    return raised


SICK, WELL = point(**SATURATED), point()


# ---- symptoms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symptom", "changes", "words"),
    [
        (saturated(), SATURATED, "D is right 99.9% of the time and G's gradient has vanished (norm 1e-05)"),
        (saturated(), {"accuracy/d": 0.99, "grad_norm/g": 1e-3}, "D is right 99.0% of the time"),
        (CoinToss(0.5, 0), {"accuracy/d": 0.5}, "D is right 50.0% of the time, as a coin would be"),
        (CoinToss(0.5, 0), {"accuracy/d": 0.31}, "D is right 31.0% of the time"),
        (Collapse(0.1, 0), {"health/diversity": 0.1}, "pictures from different latents differ 10.0% as much as real"),
        (Collapse(0.1, 0), {"health/diversity": 0.0}, "pictures from different latents differ 0.0% as much"),
    ],
)
def test_a_symptom_is_seen_and_put_into_words_with_its_numbers(symptom, changes, words):
    assert symptom.seen_in(point(**changes)).startswith(words)


@pytest.mark.parametrize(
    ("symptom", "changes"),
    [
        (saturated(), {}),
        (saturated(), {"accuracy/d": 0.999}),  # sure, but it still teaches
        (saturated(), {"grad_norm/g": 1e-5}),
        (saturated(), {"accuracy/d": 0.9899, "grad_norm/g": 1e-5}),
        (CoinToss(0.5, 0), {}),
        (CoinToss(0.5, 0), {"accuracy/d": 0.501}),
        (Collapse(0.1, 0), {}),
        (Collapse(0.1, 0), {"health/diversity": 0.101}),
    ],
)
def test_a_symptom_is_not_seen_in_health(symptom, changes):
    assert symptom.seen_in(point(**changes)) == ""


@pytest.mark.parametrize("missing", ["accuracy/d", "grad_norm/g"])
def test_d_is_not_called_saturated_in_the_stretches_in_which_only_one_plays(missing):
    assert saturated().seen_in({name: value for name, value in SICK.items() if name != missing}) == ""


def test_d_is_not_called_a_coin_toss_while_it_does_not_play():
    assert CoinToss(0.5, 0).seen_in({"loss/g": 1.0}) == ""


@pytest.mark.parametrize(
    ("losses", "seen"),
    [
        ([0.5, 0.5, 0.5], [False, False, True]),
        ([0.5, 0.5, 0.6, 0.6, 0.6], [False, False, False, False, True]),
        ([0.0, 0.0, 0.0], [False, False, True]),
        ([-100.0, -100.00001, -100.0], [False, False, True]),  # against its size, that is nothing
        ([1e-9, 2e-9, 1e-9], [False, False, False]),
    ],
)
def test_a_loss_is_called_constant_once_enough_log_points_are_equal_to_its_spread(losses, seen):
    symptom = constant(points=3, spread=1e-6)
    assert [bool(symptom.seen_in({"loss/d": loss})) for loss in losses] == seen


def test_a_loss_is_not_called_constant_for_the_time_in_which_its_player_stands_still():
    symptom = constant(points=2)
    assert [bool(symptom.seen_in(each)) for each in ({"loss/d": 0.5}, {}, {}, {"loss/d": 0.6})] == [False] * 4
    assert symptom.recent == [0.5, 0.6]


def test_a_constant_loss_is_named_with_its_value():
    assert Constant("loss/g", 1, 0.0, 0).seen_in({"loss/g": 0.25}) == "loss/g stands still at 0.25"


# ---- patience ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patience", "raised"), [(0, [(10, 10)]), (1, [(20, 10)]), (20, [(30, 10)]), (21, [(40, 10)]), (90, [])]
)
def test_an_alarm_is_raised_once_when_its_symptom_has_lasted_for_its_patience(patience, raised):
    assert alarms_of(watch({"saturated": saturated(patience)}), [SICK] * 6) == raised


def test_a_symptom_that_goes_away_starts_anew_and_can_be_an_alarm_again():
    sick_and_well = [SICK, SICK, WELL, SICK, SICK, SICK, WELL, SICK, SICK, SICK, SICK]
    assert alarms_of(watch({"saturated": saturated(20)}), sick_and_well) == [(60, 40), (100, 80)]


def test_each_symptom_has_a_tag_that_says_whether_it_is_present_patience_or_not():
    looker = watch({"saturated": saturated(1000), "collapse": Collapse(0.1, 0)})
    assert looker.look(SICK, 10, None) == (
        {"health/not_finite": 0.0, "health/saturated": 1.0, "health/collapse": 0.0},
        [],
    )
    assert looker.look(WELL, 20, None)[0]["health/saturated"] == 0.0


def test_symptoms_are_followed_each_on_its_own():
    looker = watch({"coin": CoinToss(0.5, 20), "collapse": Collapse(0.1, 0)})
    tossing = point(**{"accuracy/d": 0.4})
    both = tossing | {"health/diversity": 0.0}
    assert [[alarm.name for alarm in looker.look(each, 10 * n, None)[1]] for n, each in
            enumerate([tossing, both, both, both])] == [[], ["collapse"], ["coin"], []]  # fmt: skip


def test_an_alarm_says_what_was_seen_since_when_and_what_usually_helps():
    looker = watch({"saturated": saturated(10)})
    looker.look(SICK, 150, None)
    _, (alarm,) = looker.look(SICK, 200, None)
    assert alarm == Alarm(
        "saturated",
        200,
        150,
        "saturated: D is right 99.9% of the time and G's gradient has vanished (norm 1e-05), since iteration 150. "
        f"What usually helps, one at a time: {'  '.join(Saturated.helps)}",
    )
    assert looker.raised == [alarm]


# ---- numbers that are not finite --------------------------------------------------------------------------


def test_a_loss_that_is_no_finite_number_is_an_alarm_at_once_that_names_its_iteration():
    looker = watch({"collapse": Collapse(0.1, 0)})
    seen, (alarm,) = looker.look(point(**{"loss/d": math.nan}), 50, 37)
    assert seen == {"health/not_finite": 1.0}
    assert (alarm.name, alarm.iteration, alarm.since) == (NOT_FINITE, 50, 37)
    assert alarm.message == (
        "not_finite: a loss is no finite number, since iteration 37. "
        f"What usually helps, one at a time: {'  '.join(NOT_FINITE_HELPS)}"
    )


def test_a_loss_that_stays_no_number_is_one_alarm_until_a_rollback():
    looker = watch({})
    assert [len(looker.look(WELL, n, 37)[1]) for n in (50, 60, 70)] == [1, 0, 0]
    looker.forget()
    assert looker.look(WELL, 80, None) == ({"health/not_finite": 0.0}, [])
    assert len(looker.look(WELL, 90, 37)[1]) == 1
    assert len(looker.raised) == 2


# ---- rollback and checkpoints -----------------------------------------------------------------------------


def test_after_a_rollback_every_symptom_starts_unseen():
    looker = watch({"saturated": saturated(20), "constant_d": constant(points=3)})
    assert alarms_of(looker, [SICK] * 3) == [(30, 10), (30, 30)]
    looker.forget()
    # Patience runs again, and so do the points of a loss: what is compared belongs to weights that are gone.
    assert alarms_of(looker, [SICK] * 3) == [(30, 10), (30, 30)]


@pytest.mark.parametrize("stop", range(9))
def test_a_watch_goes_on_from_its_state_wherever_it_stopped(stop):
    points = [SICK, SICK, SICK, SICK, WELL, SICK, SICK, SICK, SICK]

    def looker():
        return watch({"saturated": saturated(20), "constant_d": constant(points=4, patience=10)})

    whole, first, second = looker(), looker(), looker()
    for number, each in enumerate(points):
        whole.look(each, 10 * number, None)
        if number < stop:
            first.look(each, 10 * number, None)
    state = json.loads(json.dumps(first.state_dict()))  # plain values
    second.load_state_dict(state)
    assert second.raised == first.raised
    for number, each in enumerate(points[stop:], start=stop):
        second.look(each, 10 * number, None)
    assert len(whole.raised) == 3
    assert second.raised == whole.raised
    assert second.state_dict() == whole.state_dict()


def test_a_symptom_that_is_new_to_the_config_starts_unseen():
    old, new = watch({"saturated": saturated(20)}), watch({"collapse": Collapse(0.1, 0), "constant_d": constant()})
    old.look(SICK, 10, None)
    new.load_state_dict(old.state_dict())
    assert new.state_dict()["courses"] == watch({"collapse": Collapse(0.1, 0)}).state_dict()["courses"] | {
        "constant_d": {"since": None, "raised": False}
    }


def test_diversity_is_judged_by_two_pictures_at_least():
    assert Watch("warn", 0.5, 3, pictures=1, symptoms={}).pictures == 2


# ---- the config -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def configured(compose_config):
    return instantiate(compose_config().health, _convert_="all")


def test_the_configured_watch_finds_nothing_in_health(configured):
    falling = [point(**{"loss/d": 0.7 - n / 100, "loss/g": 0.8 + n / 100}) for n in range(20)]
    assert alarms_of(configured, falling) == []


@pytest.mark.parametrize(
    ("name", "changes", "iterations"),
    [
        ("saturated", SATURATED, 210),
        ("coin_toss", {"accuracy/d": 0.5}, 510),
        ("collapse", {"health/diversity": 0.05}, 710),
        ("constant_d", {}, 50),
        ("constant_g", {}, 50),
    ],
)
def test_the_configured_watch_names_each_fault_after_its_patience(compose_config, name, changes, iterations):
    looker = instantiate(compose_config().health, _convert_="all")
    number = 0
    while not any(alarm.name == name for alarm in looker.raised):
        number += 10
        # All losses but the one in question move.
        moving = {f"loss/{p}": 1.0 + number / 100 for p in "dg" if name != f"constant_{p}"}
        looker.look(point(**changes) | moving, number, None)
        assert number < 1000
    assert number == iterations
    assert {alarm.name for alarm in looker.raised} == {name}


HELPS = sorted({*NOT_FINITE_HELPS, *(help for s in (Saturated, CoinToss, Constant, Collapse) for help in s.helps)})


@pytest.mark.parametrize("override", HELPS)
def test_every_override_that_an_alarm_recommends_can_be_typed(compose_config, override):
    config = compose_config(override)
    choices = config.hydra.runtime.choices
    key, _, value = override.partition("=")
    if "." in key:
        node = config
        for part in key.split("."):
            node = node[part]
        assert str(node) == value or float(node) == float(value)
    elif key in choices:
        assert choices[key] == value
    without_hydra = {name: node for name, node in config.items() if name != "hydra"}
    check_config(type(config)(without_hydra), [override], choices, default_of=lambda key: None)
