import math

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn.functional import conv2d

from gan_runner.errors import UserError
from gan_runner.models import resnet
from gan_runner.objectives.penalties import R1R2

SHAPES = [(channels, size, size) for channels in (1, 3) for size in (28, 32, 64)]


def players(shape, *, widths=(4, 6), blocks=(0, 1), group=2, spectral_norm=False):
    """A pair of networks of few weights, G then D."""
    return (
        resnet.Generator(shape, 5, widths, blocks, group),
        resnet.Discriminator(shape, widths, blocks, group, spectral_norm),
    )


def blocks_of(net):
    return [module for module in net.modules() if isinstance(module, resnet.Block)]


def woken(net):
    """The network with what begins at zero set to something, so that blocks do what they can."""
    for block in blocks_of(net):
        nn.init.normal_(block.reduce.weight, std=0.3)
    return net


# ---- shapes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_g_draws_images_of_the_shape_and_range_of_the_data_and_d_gives_each_a_logit(shape):
    g, d = players(shape)
    images = g(50 * torch.randn(3, 5))  # far latents, to reach the ends of the range
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert images.min() < -0.9
    assert images.max() > 0.9
    assert d(images).shape == (3,)


def test_images_that_are_not_square_keep_height_and_width_apart():
    g, d = players((1, 8, 12))
    images = g(torch.randn(2, 5))
    assert images.shape == (2, 1, 8, 12)
    assert d(images).shape == (2,)


@pytest.mark.parametrize(
    ("size", "sizes"), [(28, [28, 14, 7]), (32, [32, 16, 8, 4]), (40, [40, 20, 10, 5]), (64, [64, 32, 16, 8, 4])]
)
def test_each_stage_has_half_the_size_of_the_one_before_down_to_7_or_4(size, sizes):
    g, d = players((1, size, size))
    through = {g: [], d: []}
    for net in (g, d):
        for stage in net.stages:
            stage.register_forward_hook(lambda m, i, output, net=net: through[net].append(output.shape[-1]))
    d(g(torch.randn(2, 5)))
    assert through == {g: sizes[::-1], d: sizes}


def test_the_last_width_and_number_of_blocks_apply_to_all_coarser_stages():
    _, d = players((1, 64, 64), widths=[2, 4, 6], blocks=[0, 2])
    assert [[block.expand.in_channels for block in stage] for stage in d.stages] == [[], [4, 4], *[[6, 6]] * 3]


@pytest.mark.parametrize("player", [0, 1], ids=["g", "d"])
def test_an_image_does_not_depend_on_the_others_of_its_batch(player):
    net = woken(players((1, 8, 8))[player])
    batch = torch.randn(6, 5) if player == 0 else torch.randn(6, 1, 8, 8)
    torch.testing.assert_close(net(batch)[:2], net(batch[:2]))


# ---- the start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", [0, 1], ids=["g", "d"])
def test_every_block_starts_as_the_identity_and_learns_from_the_first_step_on(player):
    net = players((1, 28, 28))[player]
    for block in blocks_of(net):
        x = torch.randn(2, block.expand.in_channels, 7, 7)
        assert torch.equal(block(x), x)
    out = net(torch.randn(4, 5) if player == 0 else torch.randn(4, 1, 28, 28))
    out.square().mean().backward()
    assert all(block.reduce.weight.grad.abs().max() > 0 for block in blocks_of(net))


def test_initial_weights_have_a_variance_that_falls_with_the_number_of_blocks():
    _, d = players((1, 32, 32), widths=[64], blocks=[4], group=16)  # 16 blocks in four stages
    wide = math.sqrt(2 / (1 + 0.2**2)) * 16**-0.25
    d.requires_grad_(False)
    for block in blocks_of(d):
        assert float(block.expand.weight.std()) == pytest.approx(wide / math.sqrt(64), rel=0.05)
        assert float(block.mix.weight.std()) == pytest.approx(wide / math.sqrt(16 * 9), rel=0.05)
        assert (block.expand.bias == 0).all()
        assert (block.mix.bias == 0).all()
    for transition in d.transitions:
        assert float(transition.weight.std()) == pytest.approx(1 / 8, rel=0.05)
    assert float(d.basis.weight.std()) == pytest.approx(1 / 4, rel=0.15)


def test_untrained_images_and_logits_have_the_scale_of_data():
    torch.manual_seed(1)
    g = resnet.Generator((1, 28, 28), 64, [16, 32, 128], [0, 1, 1], 8)
    d = resnet.Discriminator((1, 28, 28), [16, 32, 128], [0, 1, 1], 8, False)
    images = g(torch.randn(500, 64))
    assert 0.3 < images.std() < 0.8
    assert 0.05 < d(torch.rand(500, 1, 28, 28) * 2 - 1).std() < 2


def test_the_basis_is_weighted_by_a_linear_map_of_the_latent():
    g, _ = players((1, 8, 8))
    seen = []
    g.stages[0].register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    z = torch.randn(3, 5)
    g(z)
    strengths = z @ g.strengths.weight.T
    torch.testing.assert_close(seen[0], torch.einsum("chw,bc->bchw", g.basis, strengths))


# ---- resampling -------------------------------------------------------------------------------------------


EDGE, CORNER = 7 / 8, (7 / 8) ** 2  # of the filter's weights that lie on the image


def square(image):
    return image.double().expand(1, 2, 8, 8)


def test_halving_and_doubling_do_not_shift_a_ramp():
    ramp = square(torch.arange(8))
    # The middle of pixels 2j and 2j + 1 is 2j + 0.5, that of the new pixels 0.25 left and right of the old one.
    torch.testing.assert_close(resnet._halved(ramp + 6)[0, 0, 1, 1:3], torch.tensor([8.5, 10.5]).double())
    torch.testing.assert_close(resnet._doubled(ramp)[0, 0, 5, 1:-1], torch.arange(0.25, 7, 0.5).double())


def test_halving_and_doubling_pad_with_zeros_equally_on_all_sides():
    ones = square(torch.ones(8))
    half = torch.tensor([EDGE, 1, 1, EDGE]).double()
    double = torch.tensor([0.75, *[1] * 14, 0.75]).double()
    torch.testing.assert_close(resnet._halved(ones)[0, 1], half[:, None] * half)
    torch.testing.assert_close(resnet._halved(ones)[0, 1, 0], torch.tensor([CORNER, EDGE, EDGE, CORNER]).double())
    torch.testing.assert_close(resnet._doubled(ones)[0, 1], double[:, None] * double)


def test_halving_uses_the_filter_1_3_3_1_and_doubling_is_four_times_its_transpose():
    taps = torch.tensor([1, 3, 3, 1]).double() / 8
    image = torch.randn(2, 2, 6, 8, dtype=torch.float64, requires_grad=True)
    filtered = conv2d(image, (taps[:, None] * taps).expand(2, 1, 4, 4), stride=2, padding=1, groups=2)
    halved = resnet._halved(image)
    torch.testing.assert_close(halved, filtered)
    small = torch.randn_like(halved)
    (back,) = torch.autograd.grad(halved, image, small)
    torch.testing.assert_close(resnet._doubled(small), 4 * back)


# ---- training ---------------------------------------------------------------------------------------------


def test_a_second_derivative_through_d_reaches_every_weight():
    _, d = players((1, 8, 8))
    woken(d)
    real, fake = torch.randn(2, 4, 1, 8, 8)
    gradients = torch.autograd.grad(
        R1R2(gamma=1.0)(d, real, fake), [p for n, p in d.named_parameters() if "bias" not in n]
    )
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_in_bfloat16_both_networks_give_about_the_same():
    g, d = (woken(net) for net in players((1, 28, 28)))
    z = torch.randn(4, 5)
    images = g(z)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(g(z).float(), images, rtol=0, atol=0.1)
        torch.testing.assert_close(d(images).float(), d(images.bfloat16()).float(), rtol=0, atol=0.1)


# ---- the choices of conf/model ----------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["resnet", "resnet_large"])
def test_both_options_draw_from_28_to_64_pixels(compose_config, choice):
    model = compose_config(f"model={choice}", "model.widths=[4,8]", "model.group=2").model
    for shape in SHAPES:
        g, d = (
            instantiate(part, image_shape=shape, _convert_="all") for part in (model.generator, model.discriminator)
        )
        assert d(g(torch.randn(2, model.latent_dim))).shape == (2,)


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1, 29, 29), "data.image_size is 29. Try data.image_size=28 or 32."),
        ((1, 30, 28), "Try 'data.image_size=[32,28]', which scales and crops them."),
        ((1, 3, 3), "data.image_size is 3. Try data.image_size=8 or 12."),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_one_that_fits(shape, remedy):
    with pytest.raises(UserError) as refusal:
        players(shape)
    assert str(refusal.value).endswith(remedy)
    assert f"model=resnet cannot draw {shape[1]}x{shape[2]} images" in str(refusal.value)


def test_a_width_that_is_not_a_multiple_of_the_group_size_is_refused():
    with pytest.raises(UserError, match=r"(?s)model\.widths is \[4, 6\] and model\.group is 8.*model\.group=2"):
        players((1, 8, 8), group=8)
