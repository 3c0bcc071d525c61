import copy
from functools import partial

import pytest
import torch
from torch import nn

from gan_runner.models import mlp, resnet
from gan_runner.models.spectral_norm import SpectralNorm, normalise_spectrally
from gan_runner.optim.adam import Adam
from gan_runner.optim.learning_rates import Constant
from gan_runner.training.player import Player

SHAPE = (1, 8, 8)


def discriminator(model="mlp"):
    if model == "mlp":
        return mlp.Discriminator(SHAPE, [7, 6], 0.0, partial(nn.LeakyReLU, 0.2), None, None, spectral_norm=True)
    return resnet.Discriminator(SHAPE, [4, 8], [1], group=2, spectral_norm=True)


def largest(weight):
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), ord=2))


def of_layers(net):
    return [module.weight for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def state_of(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def unchanged(net, before):
    return all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3, 3)])
def test_a_normalised_weight_is_the_weight_divided_by_its_largest_singular_value(shape):
    weight = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight)
    for _ in range(200):
        normalised = norm(weight)
    torch.testing.assert_close(normalised, weight / largest(weight))


def test_its_gradient_equals_pytorchs_with_the_same_singular_vectors():
    weight = torch.randn(5, 3, dtype=torch.float64)
    theirs = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 5, bias=False, dtype=torch.float64))
    theirs.parametrizations.weight.original.data.copy_(weight)
    ours = SpectralNorm(weight)
    ours.u.copy_(theirs.parametrizations.weight[0]._u)
    ours.v.copy_(theirs.parametrizations.weight[0]._v)
    own_weight = weight.clone().requires_grad_()
    factor = torch.randn(5, 3, dtype=torch.float64)
    (expected,) = torch.autograd.grad((theirs.weight * factor).sum(), theirs.parametrizations.weight.original)
    (gradient,) = torch.autograd.grad((ours(own_weight) * factor).sum(), own_weight)
    torch.testing.assert_close(gradient, expected)


def test_a_weight_of_zeros_stays_zero():
    weight = torch.zeros(4, 3, requires_grad=True)
    assert torch.equal(SpectralNorm(weight)(weight), weight)


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_every_layer_of_a_discriminator_starts_with_a_slope_of_about_1(model):
    weights = of_layers(discriminator(model))
    assert len(weights) >= 3
    assert all(largest(weight) == pytest.approx(1.0, abs=0.1) for weight in weights)


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_every_layer_of_a_normalised_discriminator_learns(model):
    net = discriminator(model)
    net(torch.randn(6, *SHAPE)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for name, parameter in net.named_parameters() if "bias" not in name)


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_a_normalised_discriminator_changes_only_in_its_own_step(model):
    net = discriminator(model)
    player = Player(net, Adam(net.parameters(), 0.01, (0.5, 0.999), 1e-8, 0.0), Constant())
    images = torch.randn(6, *SHAPE, requires_grad=True)
    before = state_of(net)
    with player.frozen():
        net(images).sum().backward()
    assert images.grad.abs().max() > 0
    assert unchanged(net, before)
    with torch.no_grad():
        net(images)
    net.eval()
    net(images)
    net.train()
    assert unchanged(net, before)
    player.minimise({"loss": net(images.detach()).square().mean()})
    assert not any(torch.equal(value, before[name]) for name, value in net.state_dict().items() if "original" in name)
    assert any(not torch.equal(value, before[name]) for name, value in net.state_dict().items() if name.endswith(".u"))


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_a_copy_and_a_checkpoint_contain_the_whole_state_of_a_normalised_discriminator(model):
    net = discriminator(model)
    images = torch.randn(6, *SHAPE)
    copied, loaded = copy.deepcopy(net), discriminator(model)
    loaded.load_state_dict(net.state_dict())
    assert torch.equal(copied.eval()(images), net.eval()(images))
    assert torch.equal(loaded.eval()(images), net.eval()(images))
    copied.train()(images)
    assert torch.equal(loaded(images), net(images))  # the copy has its own singular vectors


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_a_step_with_a_penalty_uses_a_normalised_discriminator_twice(model):
    net = discriminator(model)
    images = torch.randn(6, *SHAPE, requires_grad=True)
    logits = net(images)
    (slope,) = torch.autograd.grad(net(images).sum(), images, create_graph=True)
    (logits.mean() + slope.square().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("model", ["mlp", "resnet"])
def test_in_bfloat16_the_weights_are_normalised_in_float32(model):
    net, images = discriminator(model).eval(), torch.randn(6, *SHAPE)
    exact = net(images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(net(images).float(), exact, rtol=0.05, atol=0.02)
        assert all(weight.dtype == torch.float32 for weight in of_layers(net))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_in_bfloat16_nothing_synchronises_with_the_device(never_waiting):
    net, images = discriminator().cuda(), torch.randn(6, *SHAPE, device="cuda")
    for _ in range(2):
        with never_waiting(), torch.autocast("cuda", torch.bfloat16):
            loss = net(images).square().mean()
        loss.backward()


def test_norms_and_biases_are_not_normalised():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 1))
    normalise_spectrally(net)
    assert [name for name, _ in net.named_parameters()] == [
        "0.bias",
        "0.parametrizations.weight.original",
        "1.weight",
        "1.bias",
        "3.bias",
        "3.parametrizations.weight.original",
    ]
