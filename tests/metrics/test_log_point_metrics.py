import math

import pytest
import torch

from gan_runner.metrics.log_point_metrics import LogPointMetrics, neighbour_correlation


def pictures(count=32, size=6):
    return torch.rand(count, 1, size, size) * 2 - 1


def test_real_images_compared_with_themselves_have_distance_0_and_diversity_1():
    real = pictures()
    measured = LogPointMetrics(real).measure(real)
    assert measured == {"distance": 0.0, "diversity": pytest.approx(1.0), "repeats": 0.0}


def test_a_shift_of_every_pixel_is_a_distance_that_grows_with_it():
    real = pictures() * 0.1
    comparison = LogPointMetrics(real)
    one, two = (comparison.measure(real + shift)["distance"] for shift in (0.2, 0.4))
    assert two == pytest.approx(2 * one, rel=1e-5)
    assert comparison.measure(real + 0.2)["diversity"] == pytest.approx(1.0)


def test_equal_images_have_diversity_0_and_all_are_repeats():
    measured = LogPointMetrics(pictures()).measure(torch.full((32, 1, 6, 6), 0.3))
    assert (measured["diversity"], measured["repeats"]) == (0.0, 1.0)


def test_two_alternating_images_have_half_of_the_diversity_and_all_are_repeats():
    real = pictures()
    two = real[:2].repeat(16, 1, 1, 1)
    measured = LogPointMetrics(real).measure(two)
    # Of the 32 * 31 pairs 2 * 16 * 16 differ, by the distance of the two.
    apart = float((real[0] - real[1]).norm())
    mean = float(torch.pdist(real.flatten(1)).mean())
    assert measured["diversity"] == pytest.approx(512 / 992 * apart / mean, rel=1e-4)
    assert measured["repeats"] == 1.0


@pytest.mark.parametrize("times", [2, 5])
def test_repeated_images_of_a_small_data_set_change_neither_repeats_nor_diversity(times):
    few, drawn = pictures(10), pictures(10 * times)
    drawn[:8] = few[:1] + 1e-4 * torch.arange(8.0).view(8, 1, 1, 1)
    measured = LogPointMetrics(few.repeat(times, 1, 1, 1)).measure(drawn)
    assert measured["repeats"] == pytest.approx(8 / len(drawn))
    expected = torch.pdist(drawn.flatten(1).double()).mean() / torch.pdist(few.flatten(1).double()).mean()
    assert measured["diversity"] == pytest.approx(float(expected), rel=1e-5)


def test_only_images_that_repeat_another_are_counted():
    real = pictures()
    some = real.clone()
    some[:8] = real[0]
    assert LogPointMetrics(real).measure(some)["repeats"] == 8 / 32


@pytest.mark.parametrize(("share", "repeats"), [(0.09, 1.0), (0.11, 0.0)])
def test_nearly_equal_is_a_tenth_of_the_usual_distance_to_the_nearest_real_image(share, repeats):
    # Real ones in a row, each 1 from the next: the nearest is always 1 away.
    row = torch.arange(8.0).view(8, 1, 1, 1) * 0.1
    assert LogPointMetrics(row).measure(row * share)["repeats"] == repeats


def test_equal_real_images_leave_diversity_without_a_number():
    alike = torch.zeros(8, 1, 4, 4)
    comparison = LogPointMetrics(alike)
    assert math.isnan(comparison.measure(pictures(8, 4))["diversity"])
    assert comparison.data["data/contrast"] == 0.0
    assert math.isnan(comparison.data["data/smoothness"])


def test_contrast_is_the_root_mean_square_difference_of_a_pixel():
    two = torch.stack([torch.full((1, 5, 5), -0.5), torch.full((1, 5, 5), 0.5)])
    assert LogPointMetrics(two).data["data/contrast"] == pytest.approx(1.0)


def test_neighbouring_pixels_of_a_ramp_correlate_and_those_of_noise_do_not():
    ramp = torch.linspace(-1, 1, 64).view(1, 1, 1, 64).expand(1, 1, 64, 64)
    assert neighbour_correlation(ramp) == pytest.approx(1.0, abs=0.01)
    chequered = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)[None, None]
    assert neighbour_correlation(chequered) == pytest.approx(-1.0)
    assert abs(neighbour_correlation(torch.randn(64, 1, 28, 28))) < 0.02
