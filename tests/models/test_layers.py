"""The layers computed in the runner's own way equal PyTorch's, in value or in law."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, dropout, pad

from gan_runner.data import Batch
from gan_runner.games import total
from gan_runner.models.layers import (
    ConvTranspose2d,
    Dropout,
    Flatten,
    SmallMapConv2d,
    SmallMapConvTranspose2d,
    Smoothing,
)

TYPES = [torch.float32, torch.bfloat16, torch.float64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_dropout_drops_its_share_and_scales_the_rest_to_keep_the_mean(p, dtype):
    count = 400_000
    dropped = Dropout(p).train()(torch.ones(count, dtype=dtype))
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=5 * (p * (1 - p) / count) ** 0.5)
    kept = dropped[dropped != 0]
    levels = round(p * 65536)
    torch.testing.assert_close(kept, torch.full_like(kept, 65536 / (65536 - levels)))


def test_the_four_decisions_cut_from_one_random_word_are_independent():
    kept = (Dropout(0.3).train()(torch.ones(4 * 100_000)) != 0).double().view(-1, 4)
    correlations = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlations.abs().max() < 5 / 100_000**0.5


def test_neighbouring_decisions_of_two_calls_are_independent():
    layer, ones = Dropout(0.5).train(), torch.ones(100_000)
    first, second = ((layer(ones) != 0).double() for _ in range(2))
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 5 / 100_000**0.5
    assert torch.corrcoef(torch.stack([first[1:], first[:-1]]))[0, 1].abs() < 5 / 100_000**0.5


def test_dropout_depends_on_the_seed_and_uses_the_same_count_of_random_numbers_at_any_rate():
    layer, x = Dropout(0.3).train(), torch.randn(33, 7)
    torch.manual_seed(5)
    first, after = layer(x), torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(layer(x), first)
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_at_rate_0_or_in_evaluation_is_the_identity(training):
    x = torch.randn(5, 6)
    layer = Dropout(0.0 if training else 0.9).train(training)
    assert layer(x) is x


def test_the_gradient_of_dropout_is_its_mask_and_has_a_second_derivative():
    x = torch.randn(6, 50, dtype=torch.float64, requires_grad=True)
    y = Dropout(0.4).train()(x)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(slope * x, y)
    torch.manual_seed(1)
    z = Dropout(0.4).train()(x.square())
    (first,) = torch.autograd.grad(z.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.manual_seed(1)
    torch.testing.assert_close(second, 2 * Dropout(0.4).train()(torch.ones_like(x)))


def test_dropout_keeps_the_memory_format_of_its_input():
    x = torch.randn(2, 3, 5, 5).to(memory_format=torch.channels_last)
    y = Dropout(0.3).train()(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] * 65536 / (65536 - round(0.3 * 65536)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_dropout_is_pytorchs():
    x = torch.randn(64, 64, device="cuda")
    torch.manual_seed(2)
    ours = Dropout(0.3).train()(x)
    torch.manual_seed(2)
    assert torch.equal(ours, dropout(x, 0.3))


@pytest.mark.parametrize(("stride", "bias"), [(1, True), (2, True), (2, False)])
def test_the_transposed_convolution_equals_pytorchs_in_value_and_gradients(stride, bias):
    arguments = {"stride": stride, "padding": 1, "output_padding": stride - 1, "bias": bias, "dtype": torch.float64}
    ours, plain = ConvTranspose2d(5, 4, 3, **arguments), nn.ConvTranspose2d(5, 4, 3, **arguments)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(3, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    results = [layer(x) for layer in (ours, plain)]
    torch.testing.assert_close(*results)
    gradients = [
        torch.autograd.grad(result.square().sum(), [x, *layer.parameters()])
        for result, layer in zip(results, (ours, plain), strict=True)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_a_step_in_bfloat16_has_the_gradients_of_float64_up_to_the_formats_precision(model, set_up):
    """One update of D and one of G, from the same weights, images, latents and masks."""
    slopes = {}
    for dtype in (torch.float64, torch.bfloat16):
        table = set_up(model, batch_size=32)
        real = torch.rand(32, *table.images.shape, dtype=torch.float64) * 2 - 1
        fake = torch.rand(32, *table.images.shape, dtype=torch.float64) * 2 - 1
        z = torch.randn(32, 5, dtype=torch.float64)
        low = dtype == torch.bfloat16
        for player in (table.d, table.g):
            player.net.to(torch.float32 if low else torch.float64)
        real, fake, z = (value.float() if low else value for value in (real, fake, z))
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            d_loss = total(table.game.d_terms(table.d.net, Batch(real), Batch(fake)).terms)
            g_loss = total(table.game.g_terms(table.d.net, table.g.net, z, None).terms)
        slopes[dtype] = [
            *torch.autograd.grad(d_loss, list(table.d.net.parameters())),
            *torch.autograd.grad(g_loss, list(table.g.net.parameters())),
        ]
    exact = torch.cat([slope.double().flatten() for slope in slopes[torch.float64]])
    rounded = torch.cat([slope.double().flatten() for slope in slopes[torch.bfloat16]])
    # A number in bfloat16 is off by up to 2^-8. A dozen such roundings follow each other here, and the slopes of
    # a batch's images, which are rounded one by one, partly cancel.
    assert (rounded - exact).norm() / exact.norm() < 16 * 2**-8


# ---- Flatten ----------------------------------------------------------------------------------------------


def test_images_are_flattened_in_their_memory_order():
    images = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
    flat = Flatten()(images)
    assert flat.shape == (2, 60)
    assert flat.data_ptr() == images.data_ptr()  # nothing was copied
    assert torch.equal(flat[:, :3], images[:, :, 0, 0])
    flat.square().sum().backward()
    assert images.grad.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images.grad, 2 * images.detach())


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (3, 4, 5, 7), (1, 3, 1, 2)])
def test_smoothing_is_a_binomial_filter_that_repeats_the_border(shape):
    images = torch.randn(shape, dtype=torch.float64)
    side = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
    kernel = torch.outer(side, side).expand(shape[1], 1, 3, 3)
    expected = conv2d(pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=shape[1])
    torch.testing.assert_close(Smoothing()(images), expected)


def test_smoothing_has_a_second_derivative():
    images = torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(Smoothing(), images)


SMALL_MAPS = {
    "halves": (SmallMapConv2d, 4, 2, 1, (4, 6)),
    "to one pixel": (SmallMapConv2d, 2, 2, 0, (2, 2)),
    "one pixel fewer": (SmallMapConv2d, 4, 1, 1, (5, 4)),
    "doubles": (SmallMapConvTranspose2d, 4, 2, 1, (2, 3)),
    "from one pixel": (SmallMapConvTranspose2d, 2, 2, 0, (1, 1)),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("channels", [5, 80])
@pytest.mark.parametrize(("kind", "kernel", "stride", "padding", "size"), SMALL_MAPS.values(), ids=SMALL_MAPS)
def test_a_convolution_of_a_small_map_has_pytorchs_values_and_gradients(
    kind, kernel, stride, padding, size, channels, bias, layout
):
    """In float64, to the second derivative, which R1 takes; with many channels it is a matrix product."""
    layer = kind(channels, channels, kernel, stride, padding, bias).double().to(memory_format=layout)
    plain = nn.Conv2d if kind is SmallMapConv2d else nn.ConvTranspose2d
    pytorchs = plain(channels, channels, kernel, stride, padding, bias=bias).double()
    pytorchs.load_state_dict(layer.state_dict())
    x = torch.randn(3, channels, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    found = []
    for each in (layer, pytorchs):
        images = each(x)
        parameters = list(each.parameters())
        first = torch.autograd.grad(images.tanh().sum(), [x, *parameters], create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), parameters[0])
        found.append((images, *first, *second))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)
    if not bias:
        assert ("Convolution" in type(layer(x).grad_fn).__name__) is (channels == 5)
