"""Scores of detectors, beside scikit-learn's and closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from gan_runner.detection.scores import scores_of

ONE = torch.zeros(1)


@pytest.mark.parametrize("levels", [3, 1000])
def test_scores_agree_with_scikit_learn_with_ties_and_without(levels):
    random = np.random.default_rng(0)
    generated, real = (random.integers(shift, levels, size) for shift, size in ((levels // 3, 70), (0, 110)))
    found = scores_of(torch.tensor(generated), torch.tensor(real), ONE)
    truth, both = np.repeat([1, 0], [70, 110]), np.concatenate([generated, real])
    assert found.auc == pytest.approx(roc_auc_score(truth, both), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(truth, both), abs=1e-12)


def test_scores_of_perfect_useless_and_inverted_detectors_are_known():
    low, high = torch.arange(-100, 0), torch.arange(1, 101)
    told = scores_of(high, low, low)
    assert (told.auc, told.average_precision, told.hits, told.false_alarms, told.accuracy) == (1, 1, 1, 0.01, 1)
    alike = scores_of(torch.ones(100), torch.ones(100), torch.ones(100))
    assert (alike.auc, alike.average_precision, alike.hits, alike.false_alarms, alike.accuracy) == (0.5, 0.5, 0, 0, 0.5)
    wrong = scores_of(low, high, high)
    assert (wrong.auc, wrong.hits, wrong.accuracy) == (0, 0, 0)


def test_the_threshold_uses_other_real_images_and_needs_enough_of_them():
    others = torch.arange(200)
    found = scores_of(torch.tensor([196.5, 198.0, 300.0]), torch.tensor([0.0, 199.0]), others)
    assert (found.hits, found.false_alarms) == (2 / 3, 1 / 2)  # above 197, which 2 of 200 are
    found = scores_of(torch.ones(3), torch.zeros(3), others[:99], by_sign=False)
    assert (found.hits, found.false_alarms, found.accuracy) == (None, None, None)


def test_the_standard_deviation_is_that_of_areas_by_chance():
    generator = torch.Generator().manual_seed(0)
    areas = [scores_of(*torch.randn(2, 40, generator=generator), ONE).auc for _ in range(2000)]
    expected = scores_of(torch.randn(40), torch.randn(40), ONE).deviation
    assert np.std(areas) == pytest.approx(expected, rel=0.05)
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * expected / math.sqrt(2000))
