"""The players of pix2pix: their shapes at every size, the paper's figures, and what an image depends on."""

import pytest
import torch
from torch import nn

from gan_runner.errors import UserError
from gan_runner.models.unet import Discriminator, Generator
from tests.batch_mates import hold_apart


def generator(image=(3, 32, 32), source=(1, 32, 32), width=4, norm="instance", dropout=0.0):
    return Generator(image, source, width, norm, dropout, None)


def discriminator(image=(3, 32, 32), width=4, layers=None, norm="none", spectral_norm=False):
    return Discriminator(image, width, layers, norm, spectral_norm, None)


SIZES = {(8, 8): 3, (28, 28): 5, (32, 32): 5, (48, 48): 4, (64, 96): 5, (100, 100): 4, (256, 256): 8}


@pytest.mark.parametrize(("size", "halvings"), SIZES.items(), ids=[f"{h}x{w}" for h, w in SIZES])
def test_images_of_any_size_are_drawn_with_as_many_halvings_as_possible(size, halvings):
    net = generator((3, *size), (1, *size), width=2)
    assert len(net.down) == len(net.up) == halvings
    drawn = net(torch.rand(2, 1, *size))
    assert drawn.shape == (2, 3, *size)
    assert drawn.abs().max() <= 1
    assert discriminator((4, *size), width=2)(torch.rand(2, 4, *size)).dim() == 3


def test_the_published_networks_have_the_papers_parameters_and_patches():
    """By hand, for 256 pixels: 4x4 kernels, a bias where no norm follows; patches of 70 pixels, 30 x 30 of them.

    Of a kernel that leads to one pixel, or from it, the 2x2 in its middle are there: the rest would meet padding alone.
    """
    widths = [64, 128, 256, 512, 512, 512, 512, 512]
    down = sum(16 * a * b for a, b in zip([3, *widths], widths, strict=False)) + 64 + 512  # the first and the last
    ups = [(512, 512), *[(1024, 512)] * 3, (1024, 256), (512, 128), (256, 64), (128, 3)]
    g = generator((3, 256, 256), (3, 256, 256), width=64)
    unused = 2 * 12 * 512 * 512
    assert sum(parameter.numel() for parameter in g.parameters()) == down + sum(16 * a * b for a, b in ups) + 3 - unused
    d = discriminator((6, 256, 256), width=64)
    layers = [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert [tuple(layer.weight.shape[1::-1]) for layer in d.layers if isinstance(layer, nn.Conv2d)] == layers
    field = 1
    for layer in reversed([layer for layer in d.layers if isinstance(layer, nn.Conv2d)]):
        field = (field - 1) * layer.stride[0] + layer.kernel_size[0]
    assert field == 70
    with torch.device("meta"):
        assert discriminator((6, 256, 256))(torch.empty(1, 6, 256, 256)).shape == (1, 30, 30)


def test_around_one_pixel_the_published_kernels_equal_their_middle():
    net = generator().double()
    for layer, plain, source in (
        (net.down[-1][1], nn.Conv2d, torch.randn(3, 32, 2, 2, dtype=torch.float64)),
        (net.up[0][1], nn.ConvTranspose2d, torch.randn(3, 32, 1, 1, dtype=torch.float64)),
    ):
        assert layer.kernel_size == (2, 2)
        published = plain(32, 32, 4, 2, 1, bias=False).double()
        with torch.no_grad():
            published.weight[:, :, 1:3, 1:3] = layer.weight
        torch.testing.assert_close(
            layer(source), published(source) + (0 if layer.bias is None else layer.bias[:, None, None])
        )
    assert {
        layer.kernel_size for layer in generator((3, 48, 48), (1, 48, 48)).modules() if isinstance(layer, nn.Conv2d)
    } == {(4, 4)}, "where three pixels are left, all of a kernel is used"


@pytest.mark.parametrize(("size", "layers"), [(16, 1), (28, 2), (32, 2), (64, 3), (256, 3)])
def test_patches_grow_with_the_image(size, layers):
    d = discriminator((2, size, size), width=1)
    assert sum(layer.stride == (2, 2) for layer in d.layers if isinstance(layer, nn.Conv2d)) == layers


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_a_drawn_image_depends_only_on_its_source_in_training_too(norm):
    hold_apart(generator(norm=norm).train(), torch.rand(4, 1, 32, 32))
    hold_apart(discriminator(norm=norm).train(), torch.rand(4, 3, 32, 32))


def test_a_single_pixel_is_not_normalised_because_nothing_would_be_left():
    net = generator()
    kinds = [[type(layer) for layer in down] for down in net.down]
    assert nn.InstanceNorm2d in kinds[-2]
    assert nn.InstanceNorm2d not in kinds[-1]
    source = torch.rand(1, 1, 32, 32)
    drawn, deepest = net(source), net.down[-1][1]
    nn.init.zeros_(deepest.weight)
    assert not torch.equal(net(source), drawn), "what is deepest has a say"


def test_dropout_is_in_the_first_three_layers_of_the_decoder_and_off_when_drawing():
    net = generator(dropout=0.5)
    assert [any("Dropout" in type(layer).__name__ for layer in up) for up in net.up] == [True, True, True, False, False]
    source = torch.rand(1, 1, 32, 32)
    assert not torch.equal(net(source), net(source))
    net.eval()
    assert torch.equal(net(source), net(source))


def test_the_source_reaches_the_last_layer_through_the_outermost_skip_connection():
    """With all that comes from below silenced, the image still depends on the source, through the first layer."""
    net = generator()
    with torch.no_grad():
        for up in net.up[:-1]:
            up[1].weight.zero_()
    source = torch.rand(1, 1, 32, 32).requires_grad_()
    net(source).sum().backward()
    assert source.grad.abs().sum() > 0


def test_sizes_without_room_for_patches_are_refused():
    with pytest.raises(UserError, match=r"discriminator\.layers is 5, but images of 32x32 can be halved 3 times"):
        discriminator(layers=5)
    with pytest.raises(UserError, match="images of 8 pixels and more, and these are 4x4"):
        generator((1, 4, 4), (1, 4, 4))
