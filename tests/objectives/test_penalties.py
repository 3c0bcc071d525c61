import pytest
import torch

from gan_runner.objectives.penalties import R1

F64 = torch.float64


def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_slope():
    slope = torch.randn(3, 8, 8, dtype=F64)
    images = torch.randn(5, 3, 8, 8, dtype=F64)
    penalty = R1(gamma=4.0)(lambda x: (x * slope).sum((1, 2, 3)), images, torch.zeros_like(images))
    torch.testing.assert_close(penalty, 2.0 * slope.square().sum())


def test_r1_of_a_quadratic_critic_is_a_mean_over_the_real_images():
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=F64)
    penalty = R1(gamma=10.0)(lambda x: 1.5 * x.square().sum((1, 2, 3)), real, fake)  # slope 3 x
    torch.testing.assert_close(penalty, 5.0 * 9.0 * real.square().sum() / 5)


def test_r1_teaches_the_critic_by_its_own_slope():
    weight = torch.randn(1, 4, 4, dtype=F64, requires_grad=True)
    images = torch.randn(5, 1, 4, 4, dtype=F64)
    penalty = R1(gamma=4.0)(lambda x: (x * weight).sum((1, 2, 3)), images, images)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 4.0 * weight.detach())


def test_r1_leaves_the_real_images_as_they_were():
    images = torch.randn(2, 1, 4, 4)
    R1(gamma=1.0)(lambda x: x.square().sum((1, 2, 3)), images, images)
    assert not images.requires_grad
    assert images.grad is None


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_r1_of_a_critic_without_slope_is_nothing(gamma):
    images = torch.randn(2, 1, 4, 4)
    penalty = R1(gamma=gamma)(lambda x: (0.0 * x).sum((1, 2, 3)), images, images)
    assert penalty.shape == ()
    assert penalty.item() == 0.0
