import math

import pytest
import torch

from gan_runner.metrics.modes import modes

EVEN = torch.full((1000,), 1e-3, dtype=torch.float64)


def test_modes_drawn_as_often_as_in_the_data_are_all_found_with_no_divergence():
    assert modes(torch.arange(1000).repeat(26), EVEN) == (1000, pytest.approx(0.0, abs=1e-12))


@pytest.mark.parametrize("drawn", [1, 10, 500])
def test_k_of_1000_equal_modes_have_a_divergence_of_the_logarithm_of_1000_over_k(drawn):
    number, distance = modes(torch.arange(drawn).repeat(4), EVEN)
    assert number == drawn
    assert distance == pytest.approx(math.log(1000 / drawn), rel=1e-12)


def test_frequencies_are_compared_with_those_of_the_data():
    data = torch.tensor([0.75, 0.25], dtype=torch.float64)
    assert modes(torch.tensor([0, 0, 0, 1]), data) == (2, pytest.approx(0.0, abs=1e-12))
    number, distance = modes(torch.tensor([0, 1]), data)
    assert number == 2
    assert distance == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25), rel=1e-12)


def test_one_image_is_enough_for_a_mode():
    assert modes(torch.tensor([7] * 99 + [3]), EVEN[:10] * 100)[0] == 2


def test_a_mode_outside_the_data_has_infinite_divergence():
    data = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    assert modes(torch.tensor([0, 2]), data) == (2, math.inf)
