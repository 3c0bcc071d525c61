import copy
import math

import pytest

from gan_runner.metrics import Evaluation
from gan_runner.metrics.diversity import Diversity
from gan_runner.metrics.evaluation import NoEvaluation
from gan_runner.training.best import Best

TAG = "metric/diversity_10"


def best_of(goal="lower", num_images=10, stop_after=None):
    return Best(Evaluation(1, num_images, {"diversity": Diversity()}, "diversity", goal, stop_after))


@pytest.mark.parametrize(
    ("goal", "values", "better"),
    [
        ("lower", [3.0, 4.0, 2.0, 2.0, 1.0], [True, False, True, False, True]),
        ("higher", [3.0, 4.0, 2.0, 4.0, 5.0], [True, True, False, False, True]),
        ("lower", [math.nan, math.inf, 2.0, math.nan, -math.inf], [False, False, True, False, False]),
        ("higher", [math.inf, -5.0], [False, True]),
    ],
)
def test_what_beats_the_best_so_far_is_the_best_and_no_number_never_is(goal, values, better):
    best = best_of(goal)
    offered = [best.offer({TAG: value}, iteration) for iteration, value in enumerate(values, start=1)]
    assert offered == better
    last = max(number for number, each in enumerate(better, start=1) if each)
    assert best.found == {"value": values[last - 1], "iteration": last}


def test_the_last_numbers_are_remembered_whether_or_not_they_are_the_best():
    best = best_of()
    best.offer({TAG: 1.0, "metric/other": 5.0}, 1)
    best.offer({TAG: 2.0, "metric/other": 6.0}, 2)
    assert best.metrics == {TAG: 2.0, "metric/other": 6.0}
    assert best.measured_at == 2
    assert best.found == {"value": 1.0, "iteration": 1}


def test_without_an_evaluation_nothing_is_the_best():
    best = Best(NoEvaluation())
    assert not best.offer({}, 3)
    assert (best.found, best.metrics) == (None, {})


def test_the_best_goes_on_from_its_state():
    first, second = best_of(), best_of()
    first.offer({TAG: 2.0}, 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (second.found, second.metrics) == (first.found, first.metrics)
    assert not second.offer({TAG: 3.0}, 5)
    assert second.offer({TAG: 1.0}, 6)


@pytest.mark.parametrize("other", [best_of("higher"), best_of(num_images=20), Best(NoEvaluation())])
def test_a_best_that_was_measured_otherwise_is_not_compared_with(other, caplog):
    caplog.set_level("INFO")
    first = best_of()
    first.offer({TAG: 2.0}, 4)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert other.found is None
    assert "the search for it begins again" in caplog.text


def test_where_there_was_no_best_yet_nothing_begins_anew(caplog):
    caplog.set_level("INFO")
    best_of("higher").load_state_dict(best_of().state_dict())
    assert caplog.messages == []


@pytest.mark.parametrize(("stop_after", "given_up"), [(2, [False, False, False, False, True]), (None, [False] * 5)])
def test_a_run_gives_up_after_so_many_evaluations_without_a_new_best(stop_after, given_up):
    best = best_of(stop_after=stop_after)
    seen = []
    for iteration, value in enumerate([3.0, 4.0, 2.0, 2.0, math.nan], start=1):
        best.offer({TAG: value}, iteration)
        seen.append(best.gives_up)
    assert seen == given_up


def test_giving_up_goes_on_from_its_state_and_another_evaluation_begins_to_count_anew():
    first, second, other = best_of(stop_after=2), best_of(stop_after=2), best_of("higher", stop_after=2)
    for value in (1.0, 2.0, 3.0):
        first.offer({TAG: value}, 1)
    for best, gives_up in ((second, True), (other, False)):
        best.load_state_dict(copy.deepcopy(first.state_dict()))
        assert best.gives_up is gives_up
