import math

import pytest
import torch

from gan_runner.objectives.targets import Exactly, Labels, NormalWithin

CPU = torch.device("cpu")
N = 50_000


def phi(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def mean_between(low, high):
    """Mean of the standard normal restricted to [low, high]."""
    mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    return (phi(low) - phi(high)) / mass


NOISY_REAL, NOISY_FAKE = NormalWithin(0.0, 1.0, 0.7, 1.2), NormalWithin(0.0, 1.0, 0.0, 0.3)
HARD = {"real": Exactly(1.0), "fake": Exactly(0.0), "generator": Exactly(1.0)}
SMOOTH = HARD | {"real": Exactly(0.9)}
NOISY = {"real": NOISY_REAL, "fake": NOISY_FAKE, "generator": NOISY_REAL}


@pytest.mark.parametrize(("kinds", "real"), [(HARD, 1.0), (SMOOTH, 0.9)], ids=["hard", "smooth"])
def test_hard_and_smooth_labels_are_the_same_for_every_image(kinds, real):
    labels = Labels(**kinds, flip=0.0)
    torch.testing.assert_close(labels.real(3, CPU), torch.full((3,), real), rtol=0, atol=0)
    torch.testing.assert_close(labels.fake(3, CPU), torch.zeros(3), rtol=0, atol=0)
    # One-sided: what G wants to hear is not smoothed.
    torch.testing.assert_close(labels.generator(3, CPU), torch.ones(3), rtol=0, atol=0)


@pytest.mark.parametrize(("which", "low", "high"), [("real", 0.7, 1.2), ("fake", 0.0, 0.3), ("generator", 0.7, 1.2)])
def test_noisy_labels_stay_in_their_interval_and_have_its_mean(which, low, high):
    targets = getattr(Labels(**NOISY, flip=0.0), which)(N, CPU).double()
    assert targets.shape == (N,)
    assert targets.min() >= low - 1e-7
    assert targets.max() <= high + 1e-7
    # The spread is below that of a uniform, (high - low) / sqrt(12).
    assert float(targets.mean()) == pytest.approx(mean_between(low, high), abs=5 * (high - low) / math.sqrt(12 * N))


@pytest.mark.parametrize("flip", [0.0, 0.05, 0.5, 1.0])
def test_flips_swap_the_targets_of_real_and_generated_images_at_their_rate(flip):
    labels = Labels(**SMOOTH, flip=flip)
    tolerance = 5 * math.sqrt(flip * (1 - flip) / N)
    real, fake = labels.real(N, CPU), labels.fake(N, CPU)
    kinds = torch.tensor([0.9, 0.0])
    assert torch.isin(real, kinds).all()
    assert torch.isin(fake, kinds).all()
    assert float((real == 0).double().mean()) == pytest.approx(flip, abs=tolerance)
    assert float((fake != 0).double().mean()) == pytest.approx(flip, abs=tolerance)


def test_flipped_noisy_labels_have_the_distribution_of_the_other_kind():
    labels = Labels(**NOISY, flip=1.0)
    real, fake = labels.real(1000, CPU), labels.fake(1000, CPU)
    assert real.max() <= 0.3
    assert fake.min() >= 0.7 - 1e-7
    assert real.unique().numel() > 900
    assert fake.unique().numel() > 900


def test_the_generators_targets_are_never_flipped():
    assert torch.equal(Labels(**HARD, flip=1.0).generator(100, CPU), torch.ones(100))


@pytest.mark.parametrize(("kinds", "highest"), [(HARD, 1.0), (SMOOTH, 1.0), (NOISY, 1.2)])
def test_the_highest_label_is_the_maximum_over_all_three_kinds(kinds, highest):
    assert Labels(**kinds, flip=0.0).highest == highest


@pytest.mark.parametrize("which", ["real", "fake", "generator"])
def test_a_label_above_all_others_is_the_highest_in_any_kind(which):
    assert Labels(**HARD | {which: Exactly(1.5)}, flip=0.0).highest == 1.5
