import math
from functools import partial

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import nn
from torch.nn.init import constant_

from gan_runner.errors import UserError
from gan_runner.models import dcgan, mlp
from gan_runner.models.initial_weights import initialise
from gan_runner.models.layers import Dropout

LEAKY = partial(nn.LeakyReLU, 0.2)
SHAPES = [(channels, size, size) for channels in (1, 3) for size in (28, 32, 64)]


def small(model, shape, dropout=0.3):
    """A pair of networks, G then D, of a few weights."""
    if model == "mlp":
        return (
            mlp.Generator(shape, 5, [6, 7], LEAKY, None, None),
            mlp.Discriminator(shape, [7, 6], dropout, LEAKY, None, None),
        )
    return (
        dcgan.Generator(shape, 5, [4, 3, 2, 2], 0.1, 1e-3, None, None),
        dcgan.Discriminator(shape, [2, 3, 4], dropout, 0.2, None, None),
    )


@pytest.fixture(scope="module")
def published(compose_config):
    """The networks of a recipe for 28x28 grey images, as its config describes them: G, D."""
    made = {}

    def make(experiment):
        if experiment not in made:
            torch.manual_seed(0)
            model = compose_config(f"experiment={experiment}").model
            made[experiment] = [
                instantiate(part, image_shape=(1, 28, 28), _convert_="all")
                for part in (model.generator, model.discriminator)
            ]
        return made[experiment]

    return make


def parameters(net):
    return sum(parameter.numel() for parameter in net.parameters())


def weighted(net):
    return [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


def sizes_through(net, value, kinds):
    """Shapes after each layer of some kinds, without the batch."""
    shapes = []
    hooks = [
        module.register_forward_hook(lambda m, i, output: shapes.append(tuple(output.shape[1:])))
        for module in net.modules()
        if isinstance(module, kinds)
    ]
    net(value)
    for hook in hooks:
        hook.remove()
    return shapes


# ---- any model --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_g_draws_images_of_the_shape_and_range_of_the_data_and_d_gives_each_a_logit(model, shape):
    g, d = small(model, shape)
    images = g(50 * torch.randn(3, 5))  # far latents, to reach the ends of the range
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert images.min() < -0.1
    assert images.max() > 0.1
    assert d(images).shape == (3,)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_images_that_are_not_square_keep_height_and_width_apart(model):
    g, d = small(model, (1, 8, 12))
    images = g(torch.randn(2, 5))
    assert images.shape == (2, 1, 8, 12)
    assert d(images).shape == (2,)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_d_has_dropout_in_training_and_none_in_evaluation(model):
    _, d = small(model, (1, 8, 8), dropout=0.5)
    images = torch.randn(4, 1, 8, 8)
    assert not torch.equal(d(images), d(images))
    d.eval()
    assert torch.equal(d(images), d(images))


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_a_d_without_dropout_is_the_same_in_training_and_in_evaluation(model):
    _, d = small(model, (1, 8, 8), dropout=0.0)
    images = torch.randn(4, 1, 8, 8)
    trained = d(images)
    assert torch.equal(d.eval()(images), trained)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_in_evaluation_an_image_does_not_depend_on_the_others_of_its_batch(model):
    g, _ = small(model, (1, 8, 8))
    with torch.no_grad():
        g(torch.randn(16, 5))  # some running statistics
        g.eval()
        latents = torch.randn(6, 5)
        torch.testing.assert_close(g(latents)[:2], g(latents[:2]))
        assert torch.equal(g(latents), g(latents))


def test_in_training_a_dcgan_normalises_over_the_batch():
    g, _ = small("dcgan", (1, 8, 8))
    latents = torch.randn(6, 5)
    assert not torch.allclose(g(latents)[:2], g(latents[:2]), atol=1e-3)


# ---- initial weights --------------------------------------------------------------------------------------


def test_the_first_layer_the_others_and_the_biases_have_the_configured_initialisation():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Conv2d(3, 2, 1), nn.ConvTranspose2d(2, 1, 1))
    initialise(net, partial(constant_, val=5.0), partial(constant_, val=7.0))
    assert [layer.weight.unique().tolist() for layer in (net[0], net[2], net[3])] == [[5.0], [7.0], [7.0]]
    assert all((layer.bias == 0).all() for layer in (net[0], net[2], net[3]))
    assert (net[1].weight == 1).all()


def test_without_initialisers_pytorchs_defaults_are_kept():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = [parameter.clone() for parameter in net.parameters()]
    initialise(net, None, None)
    assert all(map(torch.equal, before, net.parameters()))


def glorot(weight):
    """Bound of Glorot's uniform distribution (Glorot and Bengio 2010)."""
    return math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()))


@pytest.mark.parametrize("player", [0, 1], ids=["g", "d"])
def test_keras_mlp_starts_with_a_narrow_normal_layer_and_then_glorots_uniform_ones(published, player):
    first, *rest = weighted(published("keras_mlp")[player].requires_grad_(False))
    n = first.weight.numel()
    assert float(first.weight.mean()) == pytest.approx(0.0, abs=5 * 0.02 / math.sqrt(n))
    assert float(first.weight.std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * n))
    assert first.weight.abs().max() > 0.06  # a normal's tail, beyond a uniform's end at 0.035
    for layer in rest:
        bound, count = glorot(layer.weight), layer.weight.numel()
        assert 0.98 * bound < layer.weight.abs().max() <= bound
        assert float(layer.weight.std()) == pytest.approx(bound / math.sqrt(3), rel=5 / math.sqrt(2 * count))
    assert all((layer.bias == 0).all() for layer in (first, *rest))


@pytest.mark.parametrize("player", [0, 1], ids=["g", "d"])
def test_keras_dcgan_starts_with_glorots_uniform_in_all_layers(published, player):
    for layer in weighted(published("keras_dcgan")[player].requires_grad_(False)):
        bound = glorot(layer.weight)
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert (layer.bias == 0).all()


# ---- the published shapes ---------------------------------------------------------------------------------


def test_keras_mlp_has_the_published_numbers_of_parameters(published):
    g, d = published("keras_mlp")
    assert (parameters(g), parameters(d)) == (1_486_352, 1_460_225)


def test_keras_mlps_layers_are_as_published(published):
    g, d = published("keras_mlp")
    assert [m.out_features for m in weighted(g)] == [256, 512, 1024, 784]
    assert [m.out_features for m in weighted(d)] == [1024, 512, 256, 1]
    assert [m.negative_slope for m in (*g.modules(), *d.modules()) if isinstance(m, nn.LeakyReLU)] == [0.2] * 6
    assert [m.p for m in d.modules() if isinstance(m, Dropout)] == [0.3] * 3
    assert not any(isinstance(m, Dropout) for m in g.modules())


def test_keras_dcgans_generator_goes_from_7_to_14_to_28(published):
    g, _ = published("keras_dcgan")
    with torch.no_grad():
        shapes = sizes_through(g, torch.randn(2, 100), nn.Linear | nn.ConvTranspose2d)
    assert shapes == [(7 * 7 * 256,), (128, 14, 14), (64, 28, 28), (32, 28, 28), (1, 28, 28)]


def test_keras_dcgans_discriminator_goes_from_28_to_14_to_7_to_4_and_stays(published):
    _, d = published("keras_dcgan")
    with torch.no_grad():
        shapes = sizes_through(d, torch.randn(2, 1, 28, 28), nn.Linear | nn.Conv2d)
    assert shapes == [(64, 14, 14), (128, 7, 7), (256, 4, 4), (512, 4, 4), (1,)]


def test_keras_dcgan_has_the_published_numbers_of_parameters(published):
    g, d = published("keras_dcgan")
    # Weights and biases by hand; batch norm has a scale and a shift a channel.
    dense = 100 * 12_544 + 12_544 + 2 * 12_544
    up = sum(9 * a * b + b for a, b in ((256, 128), (128, 64), (64, 32), (32, 1))) + 2 * (128 + 64 + 32)
    down = sum(9 * a * b + b for a, b in ((1, 64), (64, 128), (128, 256), (256, 512))) + 4 * 4 * 512 + 1
    assert (parameters(g), parameters(d)) == (dense + up, down)


def test_keras_dcgans_batch_norm_momentum_and_dropout_are_as_published(published):
    g, d = published("keras_dcgan")
    norms = [m for m in g.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    # Keras' momentum 0.9 is what stays, PyTorch's 0.1 is what comes; Keras' epsilon is 1e-3.
    assert [(norm.momentum, norm.eps) for norm in norms] == [(0.1, 1e-3)] * 4
    assert [m.p for m in d.modules() if isinstance(m, Dropout)] == [0.4] * 4


@pytest.mark.slow
@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_up_to_32_pixels_keras_dcgan_equals_the_recipe_bit_for_bit(compose_config, channels, size):
    """The layers written out, in their order, and each begun as it is made by the same random numbers."""
    model = compose_config("experiment=keras_dcgan").model

    def norm(kind, width):
        return kind(width, eps=1e-3, momentum=0.1)

    base = size // 4
    torch.manual_seed(0)
    features = base * base * 256
    layers = [nn.Linear(100, features), norm(nn.BatchNorm1d, features)]
    for before, after, stride in ((256, 128, 2), (128, 64, 2), (64, 32, 1)):
        layers += [nn.ConvTranspose2d(before, after, 3, stride, 1, stride - 1), norm(nn.BatchNorm2d, after)]
    layers += [nn.ConvTranspose2d(32, channels, 3, 1, 1)]
    generator = nn.Sequential(*layers)
    initialise(generator, nn.init.xavier_uniform_, nn.init.xavier_uniform_)
    layers = [
        nn.Conv2d(before, after, 3, stride, 1)
        for before, after, stride in ((channels, 64, 2), (64, 128, 2), (128, 256, 2), (256, 512, 1))
    ]
    discriminator = nn.Sequential(*layers, nn.Linear(4 * 4 * 512, 1))
    initialise(discriminator, nn.init.xavier_uniform_, nn.init.xavier_uniform_)

    torch.manual_seed(0)
    for part, written_out in ((model.generator, generator), (model.discriminator, discriminator)):
        net = instantiate(part, image_shape=(channels, size, size), _convert_="all")
        made, expected = (list(each.state_dict().values()) for each in (net, written_out))
        assert [value.shape for value in made] == [value.shape for value in expected]
        assert all(map(torch.equal, made, expected))


# ---- larger images ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 28, 32, 40, 48, 64, 96, 128, 256])
def test_a_dcgan_starts_from_8x8_at_the_most_and_d_ends_at_4x4(compose_config, size):
    model = compose_config("model=keras_dcgan").model
    g, d = (
        instantiate(part, image_shape=(3, size, size), _convert_="all")
        for part in (model.generator, model.discriminator)
    )
    assert max(parameters(g), parameters(d)) < 2_200_000
    assert 4 <= g.base[0] <= 8
    with torch.no_grad():
        drawn = sizes_through(g, torch.randn(2, 100), nn.ConvTranspose2d)
        judged = sizes_through(d, torch.randn(2, 3, size, size), nn.Conv2d)
    assert drawn[-1] == (3, size, size)
    assert judged[-1][0] == 512
    assert judged[-1][1] <= 4


def test_further_doublings_and_halvings_have_half_the_width_of_their_neighbours():
    g = dcgan.Generator((1, 128, 128), 5, [32, 24, 16, 6], 0.1, 1e-3, None, None)
    d = dcgan.Discriminator((1, 128, 128), [16, 24, 32], 0.0, 0.2, None, None)
    assert [(m.out_channels, m.stride[0]) for m in weighted(g)[1:]] == [
        (24, 2),
        (16, 2),
        (8, 2),
        (8, 2),
        (6, 1),
        (1, 1),
    ]
    assert [(m.out_channels, m.stride[0]) for m in weighted(d)[:-1]] == [(8, 2), (8, 2), (16, 2), (24, 2), (32, 1)]


def widths_of(net):
    return [m.out_channels for m in weighted(net)[:-1] if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


@pytest.mark.parametrize(
    ("size", "of_g", "of_d"),
    [
        (28, [128, 64, 32, 16], [32, 64, 128, 256]),
        (32, [128, 64, 32, 16], [32, 64, 128, 256]),
        (64, [192, 96, 48, 24, 16], [24, 48, 96, 192, 384]),
        (128, [192, 96, 48, 24, 16, 16], [16, 24, 48, 96, 192, 384]),
    ],
)
def test_a_dcgan_is_wider_for_images_above_32_pixels(compose_config, size, of_g, of_d):
    model = compose_config("model=dcgan").model
    g, d = (
        instantiate(part, image_shape=(3, size, size), _convert_="all")
        for part in (model.generator, model.discriminator)
    )
    assert [g.base[2], *widths_of(g)] == of_g
    assert widths_of(d) == of_d


def test_without_a_factor_networks_for_larger_images_equal_those_of_earlier_runs(compose_config):
    for size in (64, 128):
        stored = OmegaConf.to_container(compose_config("model=dcgan").model, resolve=True)
        for part in (stored["generator"], stored["discriminator"]):
            del part["widening"]
        g, d = (
            instantiate(part, image_shape=(3, size, size), _convert_="all")
            for part in (stored["generator"], stored["discriminator"])
        )
        further = [16] * (1 if size == 64 else 2)
        assert [g.base[2], *widths_of(g)] == [128, 64, 32, *further, 16]
        assert widths_of(d) == [*further, 32, 64, 128, 256]


@pytest.mark.parametrize("shape", [(1, 48, 64), (3, 128, 32), (1, 64, 8)])
def test_large_images_that_are_not_square_keep_height_and_width_apart(shape):
    g, d = small("dcgan", shape)
    images = g(torch.randn(2, 5))
    assert images.shape == (2, *shape)
    assert d(images).shape == (2,)


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "shown", "remedy"),
    [
        (29, "29x29", "data.image_size is 29. Try data.image_size=28 or 32."),
        (31, "31x31", "data.image_size is 31. Try data.image_size=28 or 32."),
        (2, "2x2", "data.image_size is 2. Try data.image_size=4 or 8."),
    ],
)
def test_a_dcgan_refuses_a_size_that_doubling_cannot_reach(size, shown, remedy):
    with pytest.raises(UserError) as refusal:
        small("dcgan", (1, size, size))
    assert str(refusal.value) == (
        f"model=dcgan cannot draw {shown} images: it doubles its size twice, so height and width must be "
        f"multiples of 4.\n  {remedy}"
    )


@pytest.mark.parametrize(("size", "times", "sizes"), [(36, 3, (32, 40)), (65, 4, (64, 80)), (129, 5, (128, 160))])
def test_a_dcgan_refuses_larger_sizes_in_coarser_steps_and_names_two_that_work(size, times, sizes):
    with pytest.raises(UserError) as refusal:
        small("dcgan", (1, size, size))
    assert f"it doubles its size {times} times, so height and width must be multiples of {2**times}." in str(
        refusal.value
    )
    assert f"Try data.image_size={sizes[0]} or {sizes[1]}." in str(refusal.value)
    for works in sizes:
        small("dcgan", (1, works, works))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 28, 29), (28, 28)), ((1, 30, 28), (32, 28)), ((1, 28, 64), (32, 64)), ((1, 36, 90), (32, 96))],
)
def test_a_dcgan_refuses_images_of_which_one_side_does_not_fit_and_names_a_size_that_does(shape, size):
    with pytest.raises(UserError) as refusal:
        small("dcgan", shape)
    assert f"cannot draw {shape[1]}x{shape[2]} images" in str(refusal.value)
    assert f"Try 'data.image_size=[{size[0]},{size[1]}]', which scales and crops them." in str(refusal.value)
    small("dcgan", (1, *size))


def test_a_dcgan_without_widths_for_its_doublings_is_refused_with_the_key():
    with pytest.raises(UserError, match=r"(?s)^model\.generator\.widths is \[8, 4\].*Give 3 widths or more, or leave"):
        dcgan.Generator((1, 8, 8), 5, [8, 4], 0.1, 1e-3, None, None)


def test_an_mlp_draws_any_size():
    g, d = small("mlp", (2, 29, 3))
    assert d(g(torch.randn(2, 5))).shape == (2,)
