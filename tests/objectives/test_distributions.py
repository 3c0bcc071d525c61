import math

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.objectives.distributions import refuse_unreachable, truncated_normal

CPU = torch.device("cpu")
INTERVALS = [
    # mean, std, low, high
    (0.0, 1.0, -1.0, 1.0),
    (0.0, 1.0, 0.7, 1.2),
    (0.0, 1.0, 0.0, 0.3),
    (0.5, 2.0, -1.0, 4.0),
    (0.0, 1.0, -40.0, 40.0),
    (0.0, 0.1, 0.7, 1.2),  # seven standard deviations out, where 1 - probability is 1e-12
    (0.0, 0.1, -1.2, -0.7),
    (0.0, 0.0551, 0.7, 1.2),  # nearly as far out as float32 can draw
]


def moments(mean, std, low, high):
    """Mean and variance of a truncated normal (Johnson, Kotz and Balakrishnan 1994, section 10.1)."""
    a, b = (low - mean) / std, (high - mean) / std
    if a > 0:  # the lower tail is where floating point keeps its digits
        mirrored, variance = moments(-mean, std, -high, -low)
        return -mirrored, variance
    density_a, density_b = (math.exp(-x * x / 2) / math.sqrt(2 * math.pi) for x in (a, b))
    mass = (math.erfc(-b / math.sqrt(2)) - math.erfc(-a / math.sqrt(2))) / 2
    shift = (density_a - density_b) / mass
    variance = 1 + (a * density_a - b * density_b) / mass - shift**2
    return mean + std * shift, std**2 * variance


@pytest.mark.parametrize(("mean", "std", "low", "high"), INTERVALS)
def test_a_truncated_normal_has_the_mean_and_the_variance_of_its_closed_form(mean, std, low, high):
    n = 100_000
    draws = truncated_normal((n,), mean=mean, std=std, low=low, high=high, device=CPU).double()
    wanted_mean, wanted_variance = moments(mean, std, low, high)
    assert abs(float(draws.mean()) - wanted_mean) < 5 * math.sqrt(wanted_variance / n)
    # A variance's standard error is that of a normal at most, for the tails are gone; far out it is an exponential's.
    assert float(draws.var()) == pytest.approx(wanted_variance, rel=5 * math.sqrt(8 / n))


@pytest.mark.parametrize(("mean", "std", "low", "high"), INTERVALS)
def test_a_truncated_normal_stays_in_its_interval(mean, std, low, high):
    draws = truncated_normal((4, 10_000), mean=mean, std=std, low=low, high=high, device=CPU)
    assert draws.shape == (4, 10_000)
    assert draws.dtype == torch.float32
    bounds = torch.tensor([low, high])  # as float32 has them
    assert draws.min() >= bounds[0]
    assert draws.max() <= bounds[1]


@pytest.mark.parametrize(("mean", "std", "low", "high"), INTERVALS)
def test_a_valid_distribution_is_not_refused(mean, std, low, high):
    refuse_unreachable(mean, std, low, high)


@pytest.mark.parametrize(("low", "high"), [(0.7, 1.2), (-1.2, -0.7)])
@pytest.mark.parametrize("std", [0.05, 0.03, 1e-9])
def test_an_interval_in_which_all_samples_would_be_one_number_is_refused(std, low, high):
    with pytest.raises(UserError, match=r"(?s)nothing between low=.*Try a larger std"):
        refuse_unreachable(0.0, std, low, high)


def test_only_the_generator_decides_the_samples_and_the_global_random_state_does_not_change():
    def draw(seed):
        return truncated_normal(
            (50,), mean=0, std=1, low=-1, high=1, device=CPU, generator=torch.Generator().manual_seed(seed)
        )

    before = torch.get_rng_state()
    first = draw(1)
    torch.testing.assert_close(draw(1), first, rtol=0, atol=0)
    assert not torch.equal(draw(2), first)
    assert torch.equal(torch.get_rng_state(), before)
