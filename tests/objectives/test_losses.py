import inspect
import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from gan_runner.errors import UserError
from gan_runner.objectives import losses
from gan_runner.objectives.losses import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
    cross_entropy,
)
from gan_runner.objectives.targets import Exactly, Labels, NormalWithin

REAL = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
FAKE = torch.tensor([-2.0, 0.3, 1.5], dtype=torch.float64)
AS_MANY_FAKE = torch.tensor([-2.0, 0.3, 1.5, 0.1], dtype=torch.float64)

CLASSES = [
    value
    for name, value in inspect.getmembers(losses, inspect.isclass)
    if value.__module__ == losses.__name__ and not name.startswith("_") and name != "AdversarialLoss"
]


def labels(real=1.0, fake=0.0, generator=1.0):
    return Labels(Exactly(real), Exactly(fake), Exactly(generator), flip=0.0)


def made(loss_class):
    """A loss with whatever its constructor takes; a new argument wants a value here."""
    values = {"labels": labels(), "joined": True}
    return loss_class(**{name: values[name] for name in inspect.signature(loss_class).parameters})


# ---- cross-entropy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [-0.3, 0.0, 0.1, 0.5, 0.9, 1.0, 1.2])
def test_cross_entropy_is_its_definition_for_targets_inside_and_outside_of_0_and_1(target):
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    s = torch.sigmoid(logits)
    definition = -target * torch.log(s) - (1 - target) * torch.log(1 - s)
    computed = cross_entropy(logits, torch.full_like(logits, target))
    torch.testing.assert_close(computed, definition, rtol=1e-10, atol=1e-12)


def test_cross_entropy_has_the_gradient_of_its_definition_namely_probability_minus_target():
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64, requires_grad=True)
    targets = torch.linspace(-0.2, 1.2, 33, dtype=torch.float64)
    (slope,) = torch.autograd.grad(cross_entropy(logits, targets).sum(), logits)
    torch.testing.assert_close(slope, torch.sigmoid(logits.detach()) - targets)


@pytest.mark.parametrize(
    ("logit", "target", "value"), [(1e4, 1.0, 0.0), (-1e4, 0.0, 0.0), (1e4, 0.0, 1e4), (-1e4, 1.0, 1e4)]
)
def test_cross_entropy_stays_exact_where_a_probability_would_round_to_0_or_1(logit, target, value):
    logits = torch.tensor([logit], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([target]))
    assert loss.item() == value
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert slope.item() == float(logit > 0) - target


# ---- every loss -------------------------------------------------------------------------------------------


def test_the_tests_below_cover_all_losses_of_the_package():
    assert {NonSaturating, Minimax, LeastSquares, Hinge, Wasserstein, Relativistic} <= set(CLASSES)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_ds_loss_falls_when_real_logits_rise_and_generated_ones_fall_and_gs_when_generated_ones_rise(loss_class):
    loss = made(loss_class)
    real = torch.linspace(-0.45, 0.45, 6, dtype=torch.float64, requires_grad=True)
    fake = torch.linspace(-0.4, 0.4, 6, dtype=torch.float64, requires_grad=True)
    slope_real, slope_fake = torch.autograd.grad(loss.d(real, fake), [real, fake])
    assert (slope_real < 0).all()
    assert (slope_fake > 0).all()
    (slope_of_g,) = torch.autograd.grad(loss.g(fake, real), fake)
    assert (slope_of_g < 0).all()


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("loss_class", CLASSES)
def test_losses_are_single_finite_numbers_with_finite_gradients_however_large_the_logits_are(loss_class, size):
    loss = made(loss_class)
    real, fake = torch.tensor([-size, size], requires_grad=True), torch.tensor([size, -size], requires_grad=True)
    for value in (loss.d(real, fake), loss.g(fake, real)):
        assert value.shape == ()
        assert value.isfinite()
        slopes = torch.autograd.grad(value, [real, fake], allow_unused=True)
        assert all(slope.isfinite().all() for slope in slopes if slope is not None)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_loss_does_not_depend_on_the_order_of_the_images(loss_class):
    loss = made(loss_class)
    real, fake = REAL, AS_MANY_FAKE
    torch.testing.assert_close(loss.d(real.flip(0), fake.flip(0)), loss.d(real, fake))
    torch.testing.assert_close(loss.g(fake.flip(0), real.flip(0)), loss.g(fake, real))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_map_of_patches_counts_as_the_mean_over_the_patches(loss_class):
    loss = made(loss_class)
    real, fake = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    by_patch = [(loss.d(r, f), loss.g(f, r)) for r, f in zip(real.view(4, 6).T, fake.view(4, 6).T, strict=True)]
    of_d, of_g = (torch.stack(values).mean() for values in zip(*by_patch, strict=True))
    torch.testing.assert_close(loss.d(real, fake), of_d)
    torch.testing.assert_close(loss.g(fake, real), of_g)


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_map_of_one_patch_equals_one_logit_per_image_bit_for_bit(loss_class):
    loss = made(loss_class)
    real, fake = torch.randn(2, 64)
    assert torch.equal(loss.d(real[:, None, None], fake[:, None, None]), loss.d(real, fake))
    assert torch.equal(loss.g(fake[:, None, None], real[:, None, None]), loss.g(fake, real))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_loss_says_whether_g_needs_logits_of_real_images_and_works_without_them_if_not(loss_class):
    loss = made(loss_class)
    if loss.paired:
        with pytest.raises(TypeError, match="real"):
            loss.g(FAKE)
    else:
        assert torch.equal(loss.g(FAKE), loss.g(FAKE, REAL))


@pytest.mark.parametrize("loss_class", CLASSES)
def test_logits_rounded_to_bfloat16_give_about_the_same_loss(loss_class):
    loss = made(loss_class)
    real, fake = torch.randn(2, 64)
    with torch.autocast("cpu", torch.bfloat16):
        rounded_d = loss.d(real.bfloat16().float(), fake.bfloat16().float())
        rounded_g = loss.g(fake.bfloat16().float(), real.bfloat16().float())
    assert rounded_d.dtype == rounded_g.dtype == torch.float32
    torch.testing.assert_close(rounded_d, loss.d(real, fake), rtol=0, atol=0.01)
    torch.testing.assert_close(rounded_g, loss.g(fake, real), rtol=0, atol=0.01)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("loss_class", CLASSES)
def test_a_recorded_loss_equals_the_eager_one(loss_class):
    loss = made(loss_class)
    real, fake = torch.randn(2, 64, device="cuda")
    eager = loss.d(real, fake), loss.g(fake, real)  # the first call warms up
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = loss.d(real, fake), loss.g(fake, real)
    graph.replay()
    for one, other in zip(recorded, eager, strict=True):
        torch.testing.assert_close(one, other)


# ---- each loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_class", [NonSaturating, Minimax])
def test_an_undecided_d_has_a_loss_of_ln_2_for_a_joined_batch_and_2_ln_2_for_two_means(loss_class):
    zeros = torch.zeros(4, dtype=torch.float64)
    assert loss_class(labels(), joined=True).d(zeros, zeros).item() == pytest.approx(math.log(2), rel=1e-12)
    assert loss_class(labels(), joined=False).d(zeros, zeros).item() == pytest.approx(2 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("loss_class", [NonSaturating, Minimax])
def test_d_minimises_the_value_function_of_the_original_game(loss_class):
    on_real, on_fake = -logsigmoid(REAL), -torch.log(1 - torch.sigmoid(FAKE))
    two_means = loss_class(labels(), joined=False).d(REAL, FAKE)
    torch.testing.assert_close(two_means, on_real.mean() + on_fake.mean())
    # Four real and three generated images in one batch: each of the seven counts alike.
    joined = loss_class(labels(), joined=True).d(REAL, FAKE)
    torch.testing.assert_close(joined, torch.cat([on_real, on_fake]).mean())


def test_the_nonsaturating_g_maximises_the_log_probability_of_being_called_real():
    torch.testing.assert_close(NonSaturating(labels(), joined=True).g(FAKE), -logsigmoid(FAKE).mean())


def test_the_minimax_g_minimises_the_log_probability_of_being_called_generated():
    expected = torch.log(1 - torch.sigmoid(FAKE)).mean()
    torch.testing.assert_close(Minimax(labels(), joined=True).g(FAKE), expected)


def test_minimax_saturates_where_nonsaturating_does_not():
    sure = torch.full((3,), -10.0, dtype=torch.float64, requires_grad=True)
    (strong,) = torch.autograd.grad(NonSaturating(labels(), joined=True).g(sure), sure)
    (weak,) = torch.autograd.grad(Minimax(labels(), joined=True).g(sure), sure)
    caught = 1 / (1 + math.exp(10))
    torch.testing.assert_close(3 * strong, torch.full_like(strong, caught - 1))
    torch.testing.assert_close(3 * weak, torch.full_like(weak, -caught))


def test_the_hinge_loss_counts_what_is_missing_to_its_margin():
    # real: 0, 2, 0.5, 0 short of 1; generated: 0, 1.3, 2.5 above -1
    assert Hinge().d(REAL, FAKE).item() == pytest.approx(2.5 / 4 + 3.8 / 3, rel=1e-12)
    assert Hinge().g(FAKE).item() == pytest.approx(0.2 / 3, rel=1e-12)


def test_losses_of_classifiers_read_each_kind_of_target_from_the_right_place():
    odd = labels(real=0.8, fake=0.1, generator=0.7)
    ce = cross_entropy
    targets_real, targets_fake = torch.full_like(REAL, 0.8), torch.full_like(FAKE, 0.1)
    expected = ce(REAL, targets_real).mean() + ce(FAKE, targets_fake).mean()
    # The targets are float32, hence the tolerance.
    torch.testing.assert_close(NonSaturating(odd, joined=False).d(REAL, FAKE), expected, rtol=1e-6, atol=0)
    wanted = ce(FAKE, torch.full_like(FAKE, 0.7)).mean()
    torch.testing.assert_close(NonSaturating(odd, joined=False).g(FAKE), wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(Minimax(odd, joined=False).g(FAKE), -ce(FAKE, targets_fake).mean(), rtol=1e-6, atol=0)


def test_each_image_has_its_own_noisy_target():
    noisy = NormalWithin(0.0, 1.0, 0.7, 1.2)
    loss = NonSaturating(Labels(noisy, Exactly(0.0), noisy, flip=0.0), joined=False)
    logits = torch.ones(6, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss.g(logits), logits)
    targets = torch.sigmoid(logits.detach()) - 6 * slope
    assert targets.unique().numel() == 6
    assert targets.min() >= 0.7 - 1e-6
    assert targets.max() <= 1.2 + 1e-6


def test_each_image_has_one_target_for_all_of_its_patches():
    noisy = NormalWithin(0.0, 1.0, 0.7, 1.2)
    loss = NonSaturating(Labels(noisy, noisy, noisy, flip=0.0), joined=False)
    real, fake = (torch.ones(6, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    slopes = [
        *torch.autograd.grad(loss.d(real, fake), [real, fake]),
        *torch.autograd.grad(loss.g(fake), fake),
    ]
    for slope in slopes:
        targets = torch.sigmoid(torch.ones_like(slope)) - slope.numel() * slope
        assert targets.view(6, -1).std(dim=1).max() < 1e-12
        assert targets[:, 0, 0].unique().numel() == 6


def test_least_squares_are_half_the_squared_errors_of_d():
    # D is the logit plus 1/2: real 2.5, -0.5, 1, 3.5 against 1; generated -1.5, 0.8, 2 against 0, and for G against 1.
    loss = LeastSquares(labels())
    assert loss.d(REAL, FAKE).item() == pytest.approx((2.25 + 2.25 + 0 + 6.25) / 8 + (2.25 + 0.64 + 4) / 6, rel=1e-6)
    assert loss.g(FAKE).item() == pytest.approx((6.25 + 0.04 + 1) / 6, rel=1e-6)


def test_least_squares_move_d_and_g_to_their_targets():
    loss = LeastSquares(labels(real=0.9, fake=0.1, generator=0.8))
    for wanted, of in (
        (0.9, lambda logits: loss.d(logits, torch.zeros(1))),
        (0.1, lambda logits: loss.d(torch.zeros(1), logits)),
        (0.8, loss.g),
    ):
        logits = torch.full((3,), wanted - 0.5, requires_grad=True)
        (slope,) = torch.autograd.grad(of(logits), logits)
        torch.testing.assert_close(slope, torch.zeros(3))


def test_an_undecided_d_has_a_least_squares_loss_of_a_quarter_and_g_of_an_eighth():
    zeros = torch.zeros(5)
    assert LeastSquares(labels()).d(zeros, zeros).item() == 0.25
    assert LeastSquares(labels()).g(zeros).item() == 0.125


def test_the_wasserstein_critic_computes_a_difference_of_means():
    assert Wasserstein().d(REAL, FAKE).item() == pytest.approx(-0.2 / 3 - 4.5 / 4, rel=1e-12)
    assert Wasserstein().g(FAKE).item() == pytest.approx(0.2 / 3, rel=1e-12)


def test_relativistic_losses_are_cross_entropies_of_the_difference_in_each_pair():
    lead = REAL - AS_MANY_FAKE
    torch.testing.assert_close(Relativistic().d(REAL, AS_MANY_FAKE), -logsigmoid(lead).mean())
    torch.testing.assert_close(Relativistic().g(AS_MANY_FAKE, REAL), -logsigmoid(-lead).mean())
    assert Relativistic().d(REAL, REAL).item() == pytest.approx(math.log(2), rel=1e-12)


@pytest.mark.parametrize("loss_class", [Wasserstein, Relativistic])
def test_adding_a_constant_to_all_logits_changes_nothing_for_d_if_logits_have_no_sign(loss_class):
    loss = loss_class()
    assert not loss.classifies
    torch.testing.assert_close(loss.d(REAL + 5, AS_MANY_FAKE + 5), loss.d(REAL, AS_MANY_FAKE))


def test_relativistic_pairs_need_equally_many_real_and_generated_images():
    for call in (lambda: Relativistic().d(REAL, FAKE), lambda: Relativistic().g(FAKE, REAL)):
        with pytest.raises(UserError, match=r"(?s)pairs real images.*trainer\.g_batch_size"):
            call()


@pytest.mark.parametrize(
    ("loss_class", "classifies", "paired"),
    [
        (NonSaturating, True, False),
        (Minimax, True, False),
        (LeastSquares, True, False),
        (Hinge, True, False),
        (Wasserstein, False, False),
        (Relativistic, False, True),
    ],
)
def test_a_loss_says_whether_d_classifies_and_whether_g_compares(loss_class, classifies, paired):
    assert (loss_class.classifies, loss_class.paired) == (classifies, paired)
