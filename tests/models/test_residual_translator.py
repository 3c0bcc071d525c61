"""CycleGAN's generator: its shapes at every size, the paper's figures, and what an image depends on."""

import pytest
import torch
from torch import nn

from gan_runner.errors import UserError
from gan_runner.models.residual_translator import Generator
from tests.batch_mates import hold_apart


def generator(image=(3, 32, 32), source=(1, 32, 32), width=4, blocks=None, norm="instance"):
    return Generator(image, source, width, blocks, norm, None)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (30, 41), (64, 64)])
def test_images_of_any_size_are_drawn(height, width):
    drawn = generator((3, height, width), (1, height, width), blocks=1)(torch.rand(2, 1, height, width))
    assert drawn.shape == (2, 3, height, width)
    assert drawn.abs().max() <= 1


@pytest.mark.parametrize(("size", "blocks"), [(128, 6), (256, 9)])
def test_the_published_network_has_the_papers_number_of_parameters(size, blocks):
    """By hand: c7s1-64, d128, d256, R256 six or nine times, u128, u64, c7s1-3; a bias where no norm follows."""
    with torch.device("meta"):
        g = generator((3, size, size), (3, size, size), width=64)
    ends = 2 * 49 * 3 * 64 + 3
    halvings = 2 * 9 * (64 * 128 + 128 * 256)  # on the way down and back
    assert sum(parameter.numel() for parameter in g.parameters()) == ends + halvings + blocks * 2 * 9 * 256**2


def test_the_number_of_blocks_can_be_set_and_each_starts_as_the_identity():
    g = generator(blocks=2)
    assert len(g.blocks) == 2
    x = torch.rand(1, 16, 8, 8)
    for layer in (each for each in g.blocks[0].layers if isinstance(each, nn.Conv2d)):
        nn.init.zeros_(layer.weight)
    assert torch.equal(g.blocks[0](x), x)


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_a_drawn_image_depends_only_on_its_source_in_training_too(norm):
    hold_apart(generator(blocks=1, norm=norm).train(), torch.rand(4, 1, 32, 32))


def test_images_that_cannot_be_halved_twice_are_refused():
    with pytest.raises(UserError, match="8 pixels and more"):
        generator((1, 4, 4), (1, 4, 4))
