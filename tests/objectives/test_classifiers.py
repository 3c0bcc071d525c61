"""The losses of a classifier beside D, in closed form."""

import math

import pytest
import torch

from gan_runner.objectives.classifiers import CLASSIFIERS, Auxiliary, Discriminative

REAL, FAKE = (torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
LABEL = torch.tensor([2, 0, 1, 1])


def surprise(logits, answers):
    """-log of the share that a softmax gives to an answer, a mean."""
    shares = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -shares[torch.arange(len(logits)), answers].log().mean()


def test_an_auxiliary_classifier_learns_the_classes_of_real_and_generated_images_and_g_to_be_recognised():
    loss = Auxiliary()
    expected = surprise(REAL, LABEL) + surprise(FAKE, LABEL.flip(0))
    torch.testing.assert_close(loss.d(REAL, LABEL, FAKE, LABEL.flip(0)), expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(loss.g(FAKE, LABEL), surprise(FAKE, LABEL), rtol=0, atol=1e-14)


def test_a_discriminative_classifier_tells_real_images_of_a_class_from_generated_ones():
    loss = Discriminative()
    expected = surprise(REAL, LABEL) + surprise(FAKE, 3 + LABEL.flip(0))
    torch.testing.assert_close(loss.d(REAL, LABEL, FAKE, LABEL.flip(0)), expected, rtol=0, atol=1e-14)
    rows = torch.arange(4)
    difference = (FAKE[rows, 3 + LABEL] - FAKE[rows, LABEL]).mean()
    torch.testing.assert_close(loss.g(FAKE, LABEL), difference, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("name", "loss"), CLASSIFIERS.items())
def test_a_classifier_that_knows_nothing_has_the_logarithm_of_its_number_of_outputs_as_loss(name, loss):
    nothing = torch.zeros(4, 3 * loss.answers_per_class)
    assert loss().d(nothing, LABEL, nothing, LABEL).item() == pytest.approx(2 * math.log(nothing.shape[1]))


def test_where_real_and_generated_images_of_a_class_look_alike_adc_gan_gives_g_no_gradient_and_ac_gan_does():
    """The best classifier of images that are of class 0 in 7 of 10 cases, and of class 1 in the others."""
    of_class = torch.tensor([0.7, 0.3], dtype=torch.float64)
    pixel = torch.zeros((), dtype=torch.float64, requires_grad=True)
    slope = torch.tensor([1.0, -1.0], dtype=torch.float64)
    auxiliary = (of_class.log() + pixel * slope)[None]
    discriminative = torch.cat([auxiliary, auxiliary], 1)  # as likely real as generated, wherever the pixel is
    losses = Auxiliary().g(auxiliary, torch.tensor([0])), Discriminative().g(discriminative, torch.tensor([0]))
    pulls = [torch.autograd.grad(loss, pixel, retain_graph=True)[0].item() for loss in losses]
    assert pulls == pytest.approx([-0.6, 0.0])


def test_classifiers_compute_in_float32_at_least():
    low = torch.zeros(4, 6, dtype=torch.bfloat16)
    assert Auxiliary().g(low, LABEL).dtype == torch.float32
