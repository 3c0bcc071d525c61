import inspect
import math

import pytest
import torch
from torch import nn

from gan_runner.models.packing import Packed
from gan_runner.objectives import penalties
from gan_runner.objectives.augment import DiffAugment
from gan_runner.objectives.penalties import (
    R1,
    R1R2,
    R2,
    FiniteDifference,
    GradientPenalty,
    Several,
    due,
    parts_of,
)

F64 = torch.float64

CLASSES = [
    value
    for name, value in inspect.getmembers(penalties, inspect.isclass)
    if value.__module__ == penalties.__name__ and name not in {"Penalty", "Several"}
]


def made(penalty_class, gamma=2.0):
    """A penalty with whatever its constructor takes; a new argument wants a value here."""
    values = {"gamma": gamma, "interval": 1, "sigma": 1e-3, "generated": True}
    return penalty_class(**{name: values[name] for name in inspect.signature(penalty_class).parameters})


def linear(slope):
    return lambda x: (x * slope).sum((1, 2, 3))


def bent(x):
    """A critic of slope 3 x."""
    return 1.5 * x.square().sum((1, 2, 3))


class Judge(nn.Module):
    """A small critic with a bend, a logit an image or a map of patches."""

    def __init__(self, channels=1, patches=False):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 2 if patches else 8, 2)
        )
        self.patches = patches

    def forward(self, images):
        logits = self.layers(images)[:, 0]
        return logits if self.patches else logits.flatten()


# ---- every penalty ----------------------------------------------------------------------------------------


def test_the_tests_below_cover_all_penalties_of_the_package():
    assert {R1, R2, R1R2, GradientPenalty, FiniteDifference} <= set(CLASSES)


@pytest.mark.parametrize("patches", [False, True], ids=["scalar", "patches"])
@pytest.mark.parametrize("penalty_class", CLASSES)
def test_a_penalty_is_a_number_with_gradients_for_every_layer_and_does_not_change_the_images(penalty_class, patches):
    judge = Judge(patches=patches)
    real, fake = torch.randn(2, 6, 1, 8, 8)
    penalty = made(penalty_class)(judge, real, fake)
    assert penalty.shape == ()
    assert penalty.isfinite()
    assert penalty > 0
    gradients = torch.autograd.grad(penalty, [m.weight for m in judge.layers if isinstance(m, nn.Conv2d)])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert not real.requires_grad
    assert not fake.requires_grad


@pytest.mark.parametrize("penalty_class", CLASSES)
def test_a_penalty_is_proportional_to_gamma(penalty_class):
    real, fake = torch.randn(2, 5, 1, 8, 8, dtype=F64)
    values = []
    for gamma in (0.0, 1.0, 3.0):
        torch.manual_seed(1)  # what a penalty draws is drawn again
        values.append(made(penalty_class, gamma)(bent, real, fake).item())
    assert values[0] == 0
    assert values[2] == pytest.approx(3 * values[1], rel=1e-12)


@pytest.mark.parametrize("penalty_class", [R1, R2, R1R2, FiniteDifference])
def test_a_constant_critic_has_no_penalty(penalty_class):
    images = torch.randn(2, 1, 4, 4)
    assert made(penalty_class)(lambda x: (0.0 * x).sum((1, 2, 3)), images, images).item() == 0.0


@pytest.mark.parametrize("penalty_class", CLASSES)
def test_the_output_for_an_image_is_the_mean_of_its_map(penalty_class):
    judge = Judge(patches=True).double()
    real, fake = torch.randn(2, 5, 1, 8, 8, dtype=F64)
    torch.manual_seed(1)
    of_maps = made(penalty_class)(judge, real, fake)
    torch.manual_seed(1)
    torch.testing.assert_close(of_maps, made(penalty_class)(lambda x: judge(x).mean((1, 2)), real, fake))


@pytest.mark.parametrize("penalty_class", CLASSES)
def test_a_penalty_in_bfloat16_is_close_to_that_in_float32(penalty_class):
    judge = Judge()
    real, fake = torch.randn(2, 64, 1, 8, 8)
    torch.manual_seed(1)
    exact = made(penalty_class)(judge, real, fake)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = made(penalty_class)(judge, real, fake.bfloat16())  # as G gives them there
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0)


@pytest.mark.parametrize("penalty_class", CLASSES)
def test_a_penalty_passes_through_augmentation_up_to_second_derivatives(penalty_class):
    judge = Judge().double()
    augment = DiffAugment(p=1.0, brightness=0.5, saturation=1.0, contrast=0.5, translation=0.125, cutout=0.5)
    real, fake = torch.randn(2, 4, 1, 8, 8, dtype=F64)
    view = augment.draw(real)

    def penalty(weight):
        torch.manual_seed(1)

        def critic(images):
            return torch.func.functional_call(judge, {"layers.0.weight": weight}, view(images))

        return made(penalty_class)(critic, real, fake)

    weight = judge.layers[0].weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(penalty, weight, eps=1e-7, atol=1e-5, rtol=1e-3)
    # A pixel that a cutout hides has no slope, so the penalty sees another function than the bare critic's.
    assert not torch.isclose(penalty(weight), made(penalty_class)(judge, real, fake), rtol=0.01)


@pytest.mark.parametrize("penalty_class", CLASSES)
def test_a_pack_counts_as_one_image(penalty_class):
    judge = Judge(channels=2).double()
    real, fake = torch.randn(2, 6, 1, 8, 8, dtype=F64)
    torch.manual_seed(1)
    of_packs = made(penalty_class)(Packed(judge, 2), real, fake)
    if penalty_class is GradientPenalty:  # mixes each image of a pack by itself
        assert of_packs > 0
        return
    torch.manual_seed(1)
    together = made(penalty_class)(judge, real.view(3, 2, 8, 8), fake.view(3, 2, 8, 8))
    torch.testing.assert_close(of_packs, together)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("penalty_class", [R1, R2, R1R2])
def test_a_recorded_penalty_equals_the_eager_one(penalty_class):
    judge = Judge().cuda()
    real, fake = torch.randn(2, 6, 1, 8, 8, device="cuda")
    penalty, parameters = made(penalty_class), list(judge.parameters())
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        eager = torch.autograd.grad(penalty(judge, real, fake), parameters, allow_unused=True)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        recorded = torch.autograd.grad(penalty(judge, real, fake), parameters, allow_unused=True)
    graph.replay()
    for one, other in zip(recorded, eager, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


# ---- R1 and R2 --------------------------------------------------------------------------------------------


def test_r1_of_a_linear_critic_is_half_gamma_times_its_squared_gradient():
    slope = torch.randn(3, 8, 8, dtype=F64)
    images = torch.randn(5, 3, 8, 8, dtype=F64)
    penalty = R1(gamma=4.0)(linear(slope), images, torch.zeros_like(images))
    torch.testing.assert_close(penalty, 2.0 * slope.square().sum())


def test_r1_of_a_quadratic_critic_is_a_mean_over_the_real_images():
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=F64)
    torch.testing.assert_close(R1(gamma=10.0)(bent, real, fake), 5.0 * 9.0 * real.square().sum() / 5)


def test_r1_gives_the_critic_the_gradient_of_its_own_definition():
    weight = torch.randn(1, 4, 4, dtype=F64, requires_grad=True)
    images = torch.randn(5, 1, 4, 4, dtype=F64)
    (gradient,) = torch.autograd.grad(R1(gamma=4.0)(linear(weight), images, images), weight)
    torch.testing.assert_close(gradient, 4.0 * weight.detach())


def test_r2_is_r1_of_the_generated_images():
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=F64)
    torch.testing.assert_close(R2(gamma=10.0)(bent, real, fake), R1(gamma=10.0)(bent, fake, real))


def test_r1_r2_is_the_sum_of_r1_and_r2():
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=F64)
    both = R1(gamma=3.0)(bent, real, fake) + R2(gamma=3.0)(bent, real, fake)
    torch.testing.assert_close(R1R2(gamma=3.0)(bent, real, fake), both)


# ---- the gradient penalty ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0, 3.0])
def test_the_gradient_penalty_of_a_linear_critic_is_gamma_times_the_squared_distance_of_its_gradient_from_1(size):
    slope = torch.full((1, 4, 4), size / 4, dtype=F64)
    real, fake = torch.randn(2, 5, 1, 4, 4, dtype=F64)
    penalty = GradientPenalty(gamma=10.0)(linear(slope), real, fake)
    assert penalty.item() == pytest.approx(10.0 * (size - 1.0) ** 2, rel=1e-9, abs=1e-9)


def test_a_constant_critic_gives_no_nan_in_the_gradient_penalty():
    weight = torch.zeros(1, 4, 4, requires_grad=True)
    images = torch.randn(5, 1, 4, 4)
    (gradient,) = torch.autograd.grad(GradientPenalty(gamma=10.0)(linear(weight), images, images), weight)
    assert gradient.isfinite().all()


def test_the_gradient_penalty_samples_its_own_point_between_each_real_and_generated_image():
    seen = []

    def critic(images):
        seen.append(images.detach())
        return images.sum((1, 2, 3))

    GradientPenalty(gamma=1.0)(critic, torch.ones(50, 1, 2, 2), torch.zeros(50, 1, 2, 2))
    shares = seen[0].flatten(1)
    assert (shares.std(dim=1) < 1e-6).all()  # one share an image
    assert shares[:, 0].unique().numel() == 50
    assert shares.min() >= 0
    assert shares.max() <= 1


# ---- the finite difference --------------------------------------------------------------------------------


def test_the_finite_difference_of_a_linear_critic_is_r1_in_the_mean():
    slope = torch.randn(1, 8, 8, dtype=F64)
    real, fake = torch.zeros(2, 4000, 1, 8, 8, dtype=F64)
    estimate = FiniteDifference(gamma=4.0, sigma=0.1, generated=False)(linear(slope), real, fake)
    # A mean of 4,000 squares of a normal number has a relative error of sqrt(2 / 4000).
    assert estimate.item() == pytest.approx(
        R1(gamma=4.0)(linear(slope), real, fake).item(), rel=5 * math.sqrt(2 / 4000)
    )


def test_the_finite_difference_with_generated_images_is_r1_r2_in_the_mean():
    real, fake = torch.rand(4000, 1, 4, 4, dtype=F64), 2 * torch.rand(4000, 1, 4, 4, dtype=F64)
    estimate = FiniteDifference(gamma=4.0, sigma=1e-4, generated=True)(bent, real, fake)
    assert estimate.item() == pytest.approx(R1R2(gamma=4.0)(bent, real, fake).item(), rel=0.1)


def test_the_finite_difference_follows_its_formula():
    real, fake = torch.randn(2, 3, 1, 4, 4, dtype=F64)
    torch.manual_seed(1)
    penalty = FiniteDifference(gamma=2.0, sigma=0.5, generated=False)(bent, real, fake)
    torch.manual_seed(1)
    moved = real + 0.5 * torch.randn_like(real)
    torch.testing.assert_close(penalty, 2.0 / (2 * 0.25) * (bent(real) - bent(moved)).square().mean())


# ---- several ----------------------------------------------------------------------------------------------


def test_one_penalty_none_and_several_are_all_a_mapping_of_terms():
    one, other = R1(gamma=1.0), R2(gamma=1.0, interval=4)
    assert parts_of(None) == {}
    assert parts_of(one) == {"penalty": one}
    assert parts_of(Several({"r1": one, "r2": other})) == {"r1": one, "r2": other}


def test_a_lazy_penalty_counts_in_every_kth_update_from_the_first_on():
    parts = {"always": R1(gamma=1.0), "r1": R1(gamma=1.0, interval=4), "r2": R2(gamma=1.0, interval=6)}
    turns = [due(parts, update) for update in range(13)]
    assert {update: names for update, names in enumerate(turns) if names} == {
        0: ["r1", "r2"],
        4: ["r1"],
        6: ["r2"],
        8: ["r1"],
        12: ["r1", "r2"],
    }
