"""Wrapped networks give what the equations say, and know of classes whatever they are made of."""

import pytest
import torch
from torch import nn

from gan_runner.errors import UserError
from gan_runner.models.conditional import (
    ClassifyingDiscriminator,
    ConcatenationDiscriminator,
    ConditionalGenerator,
    ProjectionDiscriminator,
)
from gan_runner.models.spectral_norm import normalise_spectrally

SHAPE, CLASSES = (1, 4, 4), 5
LABEL = torch.tensor([3, 0, 4])


@pytest.fixture(autouse=True)
def _double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Discriminator(nn.Module):
    """One of a user's own: its last layer is registered last, and its answer is reshaped afterwards."""

    def __init__(self, layers, answer):
        super().__init__()
        self.layers, self.answer = layers, answer

    def forward(self, images):
        return self.answer(self.layers(images)).squeeze(1)


def dense(image_shape, answer=1):
    return Discriminator(nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh()), nn.Linear(6, answer))


def patches(image_shape):
    return Discriminator(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh()), nn.Conv2d(3, 1, 2, stride=2))


def test_the_logit_is_the_unconditional_one_plus_the_features_times_the_embedding_of_the_class():
    d, images = ProjectionDiscriminator(dense, SHAPE, CLASSES), torch.randn(3, *SHAPE)
    features = d.net.layers(images)
    expected = d.net(images) + (features * d.classes.weight[LABEL]).sum(1)
    torch.testing.assert_close(d(images, LABEL), expected, rtol=0, atol=1e-14)
    assert not torch.allclose(d(images, LABEL), d(images, LABEL.flip(0)))


def test_a_map_of_logits_is_projected_at_every_place():
    d, images = ProjectionDiscriminator(patches, SHAPE, CLASSES), torch.randn(3, *SHAPE)
    features = d.net.layers(images)
    unconditional = d.net(images)
    for row, label in enumerate(LABEL):
        by_class = nn.functional.conv2d(features[row : row + 1], d.classes.weight[label][None], stride=2)
        torch.testing.assert_close(d(images, LABEL)[row], unconditional[row] + by_class[0, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("make", [dense, patches])
def test_the_unconditional_logits_are_those_of_the_network_alone_and_need_no_second_pass(make):
    d, images = ProjectionDiscriminator(make, SHAPE, CLASSES), torch.randn(3, *SHAPE)
    conditional, unconditional = d.with_unconditional(images, LABEL)
    torch.testing.assert_close(conditional, d(images, LABEL), rtol=0, atol=1e-14)
    torch.testing.assert_close(unconditional, d.net(images), rtol=0, atol=1e-14)
    passes = []
    d.net.layers.register_forward_hook(lambda *_: passes.append(1))
    d.with_unconditional(images, LABEL)
    assert len(passes) == 1


def test_an_additional_classifier_gets_the_same_features_and_does_not_change_the_logit():
    d, images = ClassifyingDiscriminator(dense, SHAPE, CLASSES, 2), torch.randn(3, *SHAPE)
    logits, classes = d.with_classes(images)
    assert torch.equal(logits, d.net(images))
    assert torch.equal(logits, d(images, LABEL))
    torch.testing.assert_close(classes, d.net.layers(images) @ d.classes.weight.T, rtol=0, atol=1e-14)
    assert classes.shape == (3, 2 * CLASSES)


def test_a_classifier_of_a_map_gives_the_mean_over_its_places():
    d, images = ClassifyingDiscriminator(patches, SHAPE, CLASSES, 1), torch.randn(3, *SHAPE)
    logits, classes = d.with_classes(images)
    assert logits.dim() == 3
    expected = d.classes(d.net.layers(images)).mean((2, 3))
    torch.testing.assert_close(classes, expected, rtol=0, atol=1e-14)


def test_the_embedding_of_a_class_is_trained_only_by_images_of_that_class():
    d = ProjectionDiscriminator(dense, SHAPE, CLASSES)
    d(torch.randn(3, *SHAPE), LABEL).sum().backward()
    assert d.classes.weight.grad.any(1).tolist() == [True, False, False, True, True]


def test_a_network_with_spectral_normalisation_has_its_projection_normalised_too():
    def make(image_shape):
        net = dense(image_shape)
        normalise_spectrally(net)
        return net

    d = ProjectionDiscriminator(make, SHAPE, CLASSES)
    assert torch.linalg.matrix_norm(d.classes.weight, 2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda image_shape: dense(image_shape, answer=2), "its last, answer, has 2"),
        (lambda image_shape: nn.Flatten(), "it has none"),
    ],
)
def test_a_discriminator_without_a_layer_for_the_logit_is_refused(make, said):
    with pytest.raises(UserError, match=f"This game.conditioning looks for .*{said}") as refused:
        ProjectionDiscriminator(make, SHAPE, CLASSES)
    assert "game.conditioning=concatenation" in refused.value.remedy


def test_the_generator_gets_each_latent_concatenated_with_the_embedding_of_its_class():
    g = ConditionalGenerator(lambda image_shape, latent_dim: nn.Linear(latent_dim, 1), SHAPE, 4, CLASSES, 3)
    g.net = nn.Identity()
    latents = torch.randn(3, 4)
    torch.testing.assert_close(
        g(latents, LABEL), torch.cat([latents, g.embedding.weight.T[LABEL]], 1), rtol=0, atol=1e-14
    )


def test_concatenation_gives_the_discriminator_the_class_as_one_more_channel():
    d = ConcatenationDiscriminator(lambda image_shape: nn.Conv2d(image_shape[0], 1, 1), SHAPE, CLASSES)
    d.net = nn.Identity()
    images = torch.randn(3, *SHAPE)
    given = d(images, LABEL)
    assert torch.equal(given[:, :1], images)
    torch.testing.assert_close(given[:, 1], d.embedding.weight.T[LABEL].view(3, 4, 4), rtol=0, atol=1e-14)
