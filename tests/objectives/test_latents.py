import math

import pytest
import torch

from gan_runner.objectives.latents import Normal, TruncatedNormal, Uniform

CPU = torch.device("cpu")
LATENTS = [Normal(7, 2.0), TruncatedNormal(7, 1.0, -1.0, 1.0), Uniform(7, -1.0, 3.0)]


@pytest.mark.parametrize("latent", LATENTS, ids=lambda latent: type(latent).__name__)
def test_latents_have_a_row_for_each_image_and_depend_only_on_their_generator(latent):
    before = torch.get_rng_state()
    first, again, other = (latent.sample(3, CPU, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert first.shape == (3, latent.dim) == (3, 7)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("latent", LATENTS, ids=lambda latent: type(latent).__name__)
def test_latents_without_a_generator_use_the_global_random_state(latent):
    first, second = latent.sample(3, CPU), latent.sample(3, CPU)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(latent.sample(3, CPU), first)


@pytest.mark.parametrize(
    ("latent", "mean", "std"),
    [
        (Normal(50, 2.0), 0.0, 2.0),
        # Cut at one standard deviation: variance 1 - 2 phi(1) / (Phi(1) - Phi(-1)).
        (TruncatedNormal(50, 1.0, -1.0, 1.0), 0.0, math.sqrt(1 - 2 * 0.24197072451914337 / 0.6826894921370859)),
        (Uniform(50, -1.0, 3.0), 1.0, 4 / math.sqrt(12)),
    ],
    ids=["normal", "truncated normal", "uniform"],
)
def test_latents_have_the_mean_and_the_spread_of_their_distribution(latent, mean, std):
    draws = latent.sample(2_000, CPU).double()
    assert float(draws.mean()) == pytest.approx(mean, abs=5 * std / math.sqrt(draws.numel()))
    assert float(draws.std()) == pytest.approx(std, rel=5 / math.sqrt(2 * draws.numel()))


def test_uniform_latents_fill_their_whole_interval():
    draws = Uniform(50, -1.0, 3.0).sample(2_000, CPU)
    assert -1.0 <= draws.min() < -0.999
    assert 2.999 < draws.max() < 3.0
