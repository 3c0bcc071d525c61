"""Intervals, scores and the reading of a learning curve, against closed forms and known values."""

import json
import math
from dataclasses import asdict

import pytest
import torch

from gan_runner.record.data_folder import DataFolder
from gan_runner.worth.scores import Counts, scores_of
from gan_runner.worth.statistics import Curve, interval, rising, t_quantile

RATIOS = (0.0, 1.0, 3.0, 7.0)  # equally far apart in log(1 + ratio)


def curve(*repetitions):
    return Curve(RATIOS, torch.tensor(repetitions, dtype=torch.float64))


def scores(*values):
    return torch.tensor(values, dtype=torch.float64)


# Tables of Student's t: one degree of freedom to thirty, odd and even.
KNOWN_T = {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445, 6: 2.570582, 11: 2.228139, 31: 2.042272}


@pytest.mark.parametrize(("count", "expected"), KNOWN_T.items())
def test_the_t_quantile_agrees_with_tables(count, expected):
    assert t_quantile(0.95, count) == pytest.approx(expected, abs=1e-6)


def test_the_t_quantile_of_one_degree_of_freedom_is_that_of_the_cauchy_distribution():
    for confidence in (0.5, 0.9, 0.99):
        assert t_quantile(confidence, 2) == pytest.approx(math.tan(math.pi * confidence / 2))


def test_an_interval_is_that_of_students_t():
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), abs=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_an_interval_of_equal_values_has_no_width():
    assert interval([0.5] * 5).low == interval([0.5] * 5).high == 0.5


def test_decreasing_values_are_pooled_into_their_mean():
    assert rising([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    assert rising([1.0, 3.0, 2.0, 4.0]) == [1.0, 2.5, 2.5, 4.0]
    assert rising([3.0, 2.0, 1.0]) == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.41, 1.0, 2.5, 3.0, 6.9, 7.0])
def test_a_curve_without_noise_is_inverted_exactly(ratio):
    """It is linear in log(1 + ratio), whatever each repetition adds to all of its scores."""
    offsets = (0.0, 0.03, -0.02)
    line = [math.log1p(place) for place in RATIOS]
    found = curve(*([offset + value for value in line] for offset in offsets)).worth(
        scores(*(offset + math.log1p(ratio) for offset in offsets))
    )
    assert (found.ratio, found.low, found.high) == pytest.approx((ratio, ratio, ratio), abs=1e-6)
    assert not found.harms


def test_an_interval_of_worth_contains_all_numbers_that_a_paired_test_does_not_reject():
    """With a curve of slope 1 in log(1 + ratio), its ends are where the differences are t standard errors off 0."""
    line = [math.log1p(place) for place in RATIOS]
    noise = torch.tensor([0.1, -0.05, 0.02, -0.07], dtype=torch.float64)
    found = curve(*([line] * 4)).worth(math.log1p(2.0) + noise)
    reach = t_quantile(0.95, 4) * float(noise.std()) / 2
    middle = math.log1p(2.0) + float(noise.mean())
    assert math.log1p(found.low) == pytest.approx(middle - reach, abs=2e-3)
    assert math.log1p(found.high) == pytest.approx(middle + reach, abs=2e-3)
    assert math.log1p(found.ratio) == pytest.approx(middle, abs=2e-3)


def test_differences_that_all_repetitions_share_do_not_widen_the_interval():
    line = [math.log1p(place) for place in RATIOS]
    offsets = (0.0, 5.0, -3.0)
    shared = curve(*([offset + value for value in line] for offset in offsets))
    found = shared.worth(scores(*(offset + 1.0 + 1e-6 * offset for offset in offsets)))
    assert found.high - found.low < 1e-3


def test_below_the_curve_images_are_worth_nothing_and_are_harmful():
    found = curve([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.81]).worth(scores(0.4, 0.41))
    assert (found.ratio, found.low, found.high, found.harms) == (0.0, 0.0, 0.0, True)


def test_above_the_curve_only_its_end_is_known():
    found = curve([0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.81]).worth(scores(0.95, 0.951))
    assert (found.ratio, found.low, found.high, found.harms) == (7.0, 7.0, 7.0, False)


def test_noise_around_zero_is_worth_zero_up_to_a_bound():
    found = curve([0.50, 0.60, 0.70, 0.80], [0.51, 0.6, 0.7, 0.8], [0.49, 0.6, 0.7, 0.8]).worth(scores(0.5, 0.5, 0.5))
    assert found.low == 0.0
    assert 0.0 < found.high < 2.0
    assert not found.harms


def test_scores_follow_their_definition():
    """Two classes: 3 right and 1 wrong of the first, 2 right and 4 wrong of the second."""
    found = scores_of(Counts(correct=[3, 2], predicted=[7, 3]), tested=[4, 6])
    assert found.accuracy == 0.5
    assert found.recall == (0.75, pytest.approx(1 / 3))
    assert found.f1 == (pytest.approx(6 / 11), pytest.approx(4 / 9))
    assert found.macro_f1 == pytest.approx((6 / 11 + 4 / 9) / 2)
    assert found.f1_of([1]) == pytest.approx(4 / 9)


def test_a_class_without_images_and_predictions_has_score_zero():
    assert scores_of(Counts([2, 0], [2, 0]), [2, 0]).f1 == (1.0, 0.0)


def test_a_result_of_thousands_of_classes_is_read_back_from_one_line(tmp_path):
    """Of 600 classes a whole confusion matrix would be longer than `DataFolder` reads."""
    counts = Counts([100] * 5000, [100] * 5000)
    (tmp_path / "results.jsonl").write_text(f"{json.dumps(asdict(counts))}\n")
    assert list(DataFolder(tmp_path).json_lines("results.jsonl")) == [asdict(counts)]


def test_scores_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    true, taken = torch.randint(4, (2, 200), generator=generator)
    correct, predicted, tested = (each.bincount(minlength=4).tolist() for each in (true[true == taken], taken, true))
    found = scores_of(Counts(correct, predicted), tested)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(true, taken))
    assert found.f1 == pytest.approx(tuple(metrics.f1_score(true, taken, average=None)))
    assert found.recall == pytest.approx(tuple(metrics.recall_score(true, taken, average=None)))
