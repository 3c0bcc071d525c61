import pytest
import torch
from torch import nn

from gan_runner.errors import UserError
from gan_runner.models.packing import Packed, packed


def test_a_pack_contains_neighbouring_images_in_its_channels():
    images = torch.arange(6)[:, None, None, None] * 10 + torch.arange(3)[None, :, None, None] + torch.zeros(6, 3, 2, 2)
    packs = packed(images, 2)
    assert packs.shape == (3, 6, 2, 2)
    assert packs[1, :, 0, 0].tolist() == [20, 21, 22, 30, 31, 32]


def test_a_pack_of_one_is_the_image():
    images = torch.randn(4, 3, 2, 2)
    assert torch.equal(packed(images, 1), images)


def test_a_packed_discriminator_gives_a_logit_for_each_pack_and_does_not_mix_real_with_generated_images():
    class Mean(nn.Module):
        def forward(self, images):
            return images.mean((1, 2, 3))

    real, fake = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)
    assert Packed(Mean(), 2)(torch.cat([real, fake])).tolist() == [1, 1, 0, 0]


def test_a_d_with_more_inputs_than_images_cannot_judge_packs():
    d = Packed(nn.Sequential(nn.Flatten(), nn.Linear(8, 1)), 2)
    images, classes = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 3])
    for told in ({"label": classes}, {}):
        with pytest.raises(UserError, match=r"game\.packing is 2.*\n.*game\.packing=1"):
            d(images, *([] if told else [classes]), **told)
