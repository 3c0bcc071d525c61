import math

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.training.meters import FiniteCounter, Meter, Reading

CPU = torch.device("cpu")


def numbers(*values):
    return [torch.tensor(value) for value in values]


def named(*values):
    return dict(zip("ab", numbers(*values), strict=True))


def meter_after(*updates):
    meter = Meter(CPU)
    for values in updates:
        meter.add(named(*values))
    return meter


# ---- Meter ------------------------------------------------------------------------------------------------


def test_a_meter_gives_every_reader_the_means_since_its_own_last_reading():
    meter = Meter(CPU)
    start = meter.read()
    meter.add(named(1.0, 10.0))
    meter.add(named(3.0, 30.0))
    middle = meter.read()
    meter.add(named(8.0, 5.0))
    end = meter.read()
    assert middle.means_since(start) == {"a": 2.0, "b": 20.0}
    assert end.means_since(middle) == {"a": 8.0, "b": 5.0}
    assert end.means_since(start) == {"a": 4.0, "b": 15.0}


def test_a_meter_without_updates_since_the_last_reading_has_no_means():
    reading = meter_after((1.0, 2.0)).read()
    assert reading.means_since(reading) == {}


def test_a_meter_counts_beyond_the_precision_of_float32():
    meter = meter_after((2.0**24, 0.0))
    before = meter.read()
    for _ in range(3):
        meter.add(named(1.0, 0.1))
    after = meter.read()
    assert after.totals["a"] == 2.0**24 + 3
    assert after.means_since(before) == {"a": 1.0, "b": torch.tensor(0.1).item()}


def test_a_reading_does_not_change_when_the_meter_continues():
    meter = meter_after((1.0, 2.0))
    reading = meter.read()
    meter.add(named(5.0, 5.0))
    assert reading.totals == {"a": 1.0, "b": 2.0}
    assert reading.updates == 1


def test_a_meter_takes_numbers_of_any_type_and_does_not_affect_gradients():
    weight = torch.tensor(2.0, requires_grad=True)
    meter = Meter(CPU)
    meter.add({"a": 3 * weight, "b": torch.tensor(0.5, dtype=torch.bfloat16)})
    assert meter.read().totals == {"a": 6.0, "b": 0.5}
    assert not meter.state_dict()["totals"].requires_grad


def test_a_meter_restores_its_state_in_the_same_tensor():
    meter = meter_after((1.0, 2.0), (3.0, 4.0))
    state = meter.state_dict()
    meter.add(named(9.0, 9.0))  # must not reach the state
    other = meter_after((7.0, 7.0))
    address = other._totals.data_ptr()
    other.load_state_dict(state)
    other.add(named(5.0, 6.0))
    assert other.read() == meter_after((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)).read()
    assert other._totals.data_ptr() == address


def test_a_meter_that_has_measured_nothing_takes_the_names_of_a_state():
    other = Meter(CPU)
    other.load_state_dict(meter_after((1.0, 2.0)).state_dict())
    other.add(named(5.0, 6.0))
    assert other.read() == meter_after((1.0, 2.0), (5.0, 6.0)).read()


def test_a_meter_before_its_first_update_is_empty_and_restores_that_too():
    empty = Meter(CPU)
    assert empty.read() == Reading({}, 0.0)
    other = meter_after((1.0, 2.0))
    other.load_state_dict(empty.state_dict())
    assert other.read() == Reading({}, 0.0)
    other.add(named(5.0, 6.0))
    assert other.read().means_since(empty.read()) == {"a": 5.0, "b": 6.0}


@pytest.mark.parametrize("second", [{"a": 1.0}, {"a": 1.0, "b": 2.0, "c": 3.0}, {"b": 2.0, "a": 1.0}])
def test_an_update_that_measures_other_names_than_before_is_refused(second):
    meter = meter_after((1.0, 2.0))
    later = Meter(CPU)
    later.load_state_dict(meter.state_dict())
    for each in (meter, later):
        with pytest.raises(UserError, match="but those before it measured a, b"):
            each.add({name: torch.tensor(value) for name, value in second.items()})
        assert each.read().totals == {"a": 1.0, "b": 2.0}


# ---- FiniteCounter ----------------------------------------------------------------------------------------


def counter_after(iterations):
    counter = FiniteCounter(CPU)
    for losses in iterations:
        counter.add(numbers(*losses))
    return counter


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("first", [1, 2, 7])
def test_the_first_bad_iteration_is_reported_however_many_follow(bad, place, first):
    good, ill = (0.5, -3.0), (bad, 1.0) if place == 0 else (1.0, bad)
    counter = counter_after([good] * (first - 1) + [ill])
    assert counter.first_bad() == first
    for losses in (good, ill, good):
        counter.add(numbers(*losses))
    assert counter.first_bad() == first


def test_large_losses_are_not_reported_as_bad():
    assert counter_after([(3e38, 3e38), (0.0, 1e-45)]).first_bad() is None
    assert FiniteCounter(CPU).first_bad() is None


@pytest.mark.parametrize("ill", [False, True])
def test_a_counter_resumes_from_its_state(ill):
    counter = counter_after([(1.0,), (math.nan if ill else 1.0,)])
    state = counter.state_dict()
    counter.add(numbers(math.inf))  # must not reach the state
    other = FiniteCounter(CPU)
    other.load_state_dict(state)
    other.add(numbers(1.0))
    other.add(numbers(math.nan))
    assert other.first_bad() == (2 if ill else 4)
