import math

import pytest

from gan_runner.training.pruning import Median


@pytest.mark.parametrize(("best", "hopeless"), [(3.1, True), (3.0, False), (0.5, False), (math.inf, True)])
def test_a_job_is_hopeless_if_it_is_worse_than_the_median(best, hopeless):
    assert Median(jobs=3, after=0).hopeless(10, best, [1.0, 9.0, 3.0]) is hopeless


def test_the_median_of_an_even_number_lies_between_the_middle_two():
    rule = Median(jobs=1, after=0)
    assert not rule.hopeless(10, 2.5, [1.0, 2.0, 3.0, 8.0])
    assert rule.hopeless(10, 2.6, [1.0, 2.0, 3.0, 8.0])


def test_no_job_is_pruned_early_or_by_few_or_by_nan():
    rule = Median(jobs=3, after=100)
    assert not rule.hopeless(99, 9.0, [1.0, 1.0, 1.0])
    assert rule.hopeless(100, 9.0, [1.0, 1.0, 1.0])
    assert not rule.hopeless(100, 9.0, [1.0, 1.0])
    assert not rule.hopeless(100, 9.0, [1.0, 1.0, math.nan])
