import pytest
import torch

from gan_runner.data import Batch
from gan_runner.metrics.grain import Grain, noise_variance


def ramp(height=20, width=24):
    return torch.linspace(-1, 1, height)[:, None] + torch.linspace(-0.5, 0.5, width)


def measured(fake, real):
    metric = Grain()
    return metric.measure([Batch(fake[:5]), Batch(fake[5:])], metric.statistics([Batch(real)]))["grain"]


@pytest.mark.parametrize("std", [0.01, 0.3])
def test_grain_of_independent_noise_is_its_variance(std):
    noise = std * torch.randn(50, 3, 20, 24)
    assert float(noise_variance(noise).mean()) == pytest.approx(std**2, rel=0.03)
    assert float(noise_variance(noise + ramp()).mean()) == pytest.approx(std**2, rel=0.03)


def test_variation_along_one_axis_is_not_grain():
    edges = (torch.arange(20) % 7 > 3).float()[:, None].expand(20, 24)
    for image in (ramp(), edges, edges.T):
        assert float(noise_variance(image.expand(2, 1, -1, -1)).max()) < 1e-10


def test_grain_of_a_checkerboard_has_a_known_value():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1  # every second difference is 16
    assert noise_variance(board.expand(3, 2, -1, -1)).tolist() == [pytest.approx(256 / 36)] * 3


def test_images_without_second_differences_have_no_grain():
    assert noise_variance(torch.rand(2, 1, 2, 8)).isnan().all()


def test_grain_is_1_for_the_same_images_and_otherwise_the_ratio_of_standard_deviations():
    real = torch.randn(40, 1, 16, 16)
    assert measured(real, real) == pytest.approx(1)
    assert measured(3 * real, real) == pytest.approx(3)
    assert measured(torch.nn.functional.avg_pool2d(real, 3, 1, 1), real) < 0.5
