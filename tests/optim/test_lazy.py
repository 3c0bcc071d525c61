import pytest

from gan_runner.objectives.penalties import R1, due
from gan_runner.optim.lazy import corrected, main_share


@pytest.mark.parametrize("interval", [2, 4, 16])
def test_with_one_lazy_penalty_k_of_k_plus_1_updates_of_d_are_without_penalty(interval):
    assert main_share([1, interval]) == pytest.approx(interval / (interval + 1))


def test_without_lazy_penalties_every_update_is_a_full_one_and_nothing_is_corrected():
    assert main_share([]) == main_share([1, 1]) == 1.0
    assert corrected(2e-4, (0.5, 0.999), 1.0) == (2e-4, (0.5, 0.999))


@pytest.mark.parametrize("intervals", [(4,), (4, 4), (4, 6), (4, 16), (2, 3), (2, 3, 5), (6, 10, 15), (1, 3, 1)])
def test_the_share_of_updates_without_penalty_follows_the_schedule(intervals):
    penalties = {str(number): R1(1.0, interval) for number, interval in enumerate(intervals)}
    own = 3600
    further = sum(bool(due(penalties, update)) for update in range(own))
    assert main_share(intervals) == pytest.approx(own / (own + further))


def test_lazy_regularisation_scales_rate_and_betas_as_stylegan2_does():
    rate, betas = corrected(0.002, (0.0, 0.99), main_share([16]))
    assert rate == pytest.approx(0.002 * 16 / 17)
    assert betas == pytest.approx((0.0, 0.99 ** (16 / 17)))


def test_a_running_mean_forgets_as_much_in_k_plus_1_corrected_updates_as_in_k():
    _, (_, beta) = corrected(1.0, (0.5, 0.99), main_share([8]))
    assert beta**9 == pytest.approx(0.99**8)
