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
def test_what_improves_on_the_best_is_the_new_best_and_nan_never_is(goal, values, better):
    best = best_of(goal)
    offered = [best.offer({TAG: value}, iteration) for iteration, value in enumerate(values, start=1)]
    assert offered == better
    last = max(number for number, each in enumerate(better, start=1) if each)
    assert best.found == {"value": values[last - 1], "iteration": last}


def test_the_last_numbers_are_kept_whether_or_not_they_are_the_best():
    best = best_of()
    best.offer({TAG: 1.0, "metric/other": 5.0}, 1)
    best.offer({TAG: 2.0, "metric/other": 6.0}, 2)
    assert best.metrics == {TAG: 2.0, "metric/other": 6.0}
    assert best.measured_at == 2
    assert best.found == {"value": 1.0, "iteration": 1}


def test_without_an_evaluation_there_is_no_best():
    best = Best(NoEvaluation())
    assert not best.offer({}, 3)
    assert (best.found, best.metrics) == (None, {})


def test_the_best_is_restored_from_its_state():
    first, second = best_of(), best_of()
    first.offer({TAG: 2.0}, 4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert (second.found, second.metrics) == (first.found, first.metrics)
    assert not second.offer({TAG: 3.0}, 5)
    assert second.offer({TAG: 1.0}, 6)


@pytest.mark.parametrize("other", [best_of("higher"), best_of(num_images=20), Best(NoEvaluation())])
def test_a_best_that_was_measured_differently_is_not_compared(other, caplog):
    caplog.set_level("INFO")
    first = best_of()
    first.offer({TAG: 2.0}, 4)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert other.found is None
    assert "the search for it begins again" in caplog.text


def test_without_a_best_before_nothing_is_reset(caplog):
    caplog.set_level("INFO")
    best_of("higher").load_state_dict(best_of().state_dict())
    assert caplog.messages == []


@pytest.mark.parametrize(("stop_after", "given_up"), [(2, [False, False, False, False, True]), (None, [False] * 5)])
def test_a_run_stops_early_after_so_many_evaluations_without_a_new_best(stop_after, given_up):
    best = best_of(stop_after=stop_after)
    seen = []
    for iteration, value in enumerate([3.0, 4.0, 2.0, 2.0, math.nan], start=1):
        best.offer({TAG: value}, iteration)
        seen.append(best.gives_up)
    assert seen == given_up


def test_early_stopping_resumes_its_count_and_another_evaluation_resets_it():
    first, second, other = best_of(stop_after=2), best_of(stop_after=2), best_of("higher", stop_after=2)
    for value in (1.0, 2.0, 3.0):
        first.offer({TAG: value}, 1)
    for best, gives_up in ((second, True), (other, False)):
        best.load_state_dict(copy.deepcopy(first.state_dict()))
        assert best.gives_up is gives_up
