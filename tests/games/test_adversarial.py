import itertools

import pytest
import torch
from torch import nn

from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial, Judgement, accuracy_of, area_under_roc
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import Hinge, Minimax, NonSaturating
from gan_runner.objectives.penalties import R1
from gan_runner.objectives.targets import Exactly, Labels, NormalWithin

NOISY_REAL, NOISY_FAKE = NormalWithin(0.0, 1.0, 0.7, 1.2), NormalWithin(0.0, 1.0, 0.0, 0.3)
LABELS = {
    "hard": Labels(Exactly(1.0), Exactly(0.0), Exactly(1.0), flip=0.0),
    "smooth": Labels(Exactly(0.9), Exactly(0.0), Exactly(1.0), flip=0.0),
    "two-sided smooth": Labels(Exactly(0.9), Exactly(0.1), Exactly(0.9), flip=0.0),
    "noisy": Labels(NOISY_REAL, NOISY_FAKE, NOISY_REAL, flip=0.0),
    "some flipped": Labels(Exactly(1.0), Exactly(0.0), Exactly(1.0), flip=0.3),
    "all flipped": Labels(Exactly(1.0), Exactly(0.0), Exactly(1.0), flip=1.0),
    "noisy and flipped": Labels(NOISY_REAL, NOISY_FAKE, NOISY_REAL, flip=0.5),
}


class FirstPixel(nn.Module):
    """A D whose logit is what stands in an image's first pixel."""

    def forward(self, images):
        return images.flatten(1)[:, 0]


class Critic:
    """Wasserstein's pair: a score without a zero."""

    classifies = False

    def d(self, real_logits, fake_logits):
        return fake_logits.mean() - real_logits.mean()

    def g(self, fake_logits):
        return -fake_logits.mean()


def game_of(loss, penalty=None):
    return Adversarial(nn.Unflatten(1, (1, 2, 2)), FirstPixel(), Normal(4, 1.0), loss, penalty)


def images_with(*logits):
    images = torch.full((len(logits), 1, 2, 2), 99.0)
    images[:, 0, 0, 0] = torch.tensor(logits)
    return images


def readings_of_d(loss, real, fake, penalty=None):
    game = game_of(loss, penalty)
    readings = game.read_d(game.d_terms(images_with(*real), images_with(*fake)))
    assert all(reading.shape == () for reading in readings)
    return dict(zip(game.d_readings, map(float, readings), strict=True))


def readings_of_g(loss, fake):
    game = game_of(loss)
    readings = game.read_g(*game.g_terms(images_with(*fake).flatten(1)))
    assert all(reading.shape == () for reading in readings)
    return dict(zip(game.g_readings, map(float, readings), strict=True))


# ---- the truth about D ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("loss_class", [NonSaturating, Minimax])
def test_ds_accuracy_goes_by_what_the_images_are_whatever_the_targets(loss_class, labels):
    loss = loss_class(labels, joined=True)
    readings = readings_of_d(loss, real=[2.0, 0.1, -0.5, 7.0], fake=[-1.0, 3.0, -0.1, -9.0, -2.0])
    assert readings["accuracy/d_real"] == 0.75
    assert readings["accuracy/d_fake"] == pytest.approx(0.8)
    assert readings_of_g(loss, fake=[-1.0, 3.0])["accuracy/d_fake"] == 0.5


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_the_accuracy_of_a_d_that_is_right_is_1_and_not_0_because_targets_are_soft(labels):
    # The published keras_dcgan shows 0 throughout: Keras compares a soft target with a rounded answer.
    readings = readings_of_d(NonSaturating(labels, joined=True), real=[4.0] * 128, fake=[-4.0] * 128)
    assert (readings["accuracy/d_real"], readings["accuracy/d_fake"]) == (1.0, 1.0)


def test_a_d_that_is_wrong_about_everything_has_accuracy_0():
    readings = readings_of_d(NonSaturating(LABELS["all flipped"], joined=True), real=[-4.0] * 3, fake=[4.0] * 3)
    assert (readings["accuracy/d_real"], readings["accuracy/d_fake"]) == (0.0, 0.0)


def test_a_d_that_never_decides_is_right_half_of_the_time():
    readings = readings_of_d(Hinge(), real=[0.0] * 3, fake=[0.0] * 3)
    assert readings["accuracy/d_real"] + readings["accuracy/d_fake"] == 1.0


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_the_probabilities_are_the_means_of_what_d_believes(labels):
    loss = NonSaturating(labels, joined=True)
    real, fake = [2.0, -1.0, 0.3], [-2.0, 1.5]
    readings = readings_of_d(loss, real, fake)
    assert readings["probability/real"] == pytest.approx(float(torch.tensor(real).sigmoid().mean()))
    assert readings["probability/fake"] == pytest.approx(float(torch.tensor(fake).sigmoid().mean()))
    in_gs_step = readings_of_g(loss, fake)["probability/fake"]
    assert in_gs_step == pytest.approx(float(torch.tensor(fake).sigmoid().mean()))


def test_real_and_generated_logits_are_told_apart_in_batches_of_different_sizes():
    judgement = game_of(Hinge()).d_terms(images_with(1.0, 2.0, 3.0), images_with(4.0, 5.0))
    assert judgement.real_logits.tolist() == [1.0, 2.0, 3.0]
    assert judgement.fake_logits.tolist() == [4.0, 5.0]


def test_ds_accuracy_counts_real_and_generated_images_alike():
    assert accuracy_of({"accuracy/d_real": 0.75, "accuracy/d_fake": 0.25, "loss/d": 7.0}) == 0.5


# ---- critics ----------------------------------------------------------------------------------------------


def test_where_the_sign_says_nothing_the_area_under_the_roc_stands_in_for_the_accuracy():
    # Of the 3 * 2 pairs 4 are in order and one is a tie; every score is positive.
    readings = readings_of_d(Critic(), real=[5.0, 3.0, 2.0], fake=[3.0, 1.0])
    assert readings["accuracy/d_real"] == readings["accuracy/d_fake"] == pytest.approx(4.5 / 6)


def test_where_the_sign_says_nothing_a_step_of_g_has_nothing_to_say_about_ds_accuracy():
    assert readings_of_g(Critic(), fake=[3.0, 1.0]) == {
        "loss/g": -2.0,
        "probability/fake": pytest.approx(0.8418, abs=1e-4),
    }


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_area_under_the_roc_is_the_share_of_pairs_in_order_with_ties_as_halves(levels):
    real, fake = (torch.randint(levels, (n,)).float() for n in (17, 23))
    pairs = list(itertools.product(real.tolist(), fake.tolist()))
    share = sum((r > f) + 0.5 * (r == f) for r, f in pairs) / len(pairs)
    assert float(area_under_roc(real, fake)) == pytest.approx(share)


@pytest.mark.parametrize(("shift", "area"), [(10.0, 1.0), (-10.0, 0.0)])
def test_the_area_under_the_roc_has_its_ends_where_the_scores_do_not_overlap(shift, area):
    scores = torch.rand(9)
    assert float(area_under_roc(scores + shift, scores)) == area


# ---- terms ------------------------------------------------------------------------------------------------


def test_the_loss_of_d_is_the_sum_of_its_terms_with_the_penalty_told_apart():
    without = readings_of_d(Hinge(), real=[2.0, 0.5], fake=[0.0, -3.0])
    assert without["loss/d"] == pytest.approx(0.25 + 0.5)
    assert without["penalty/d"] == 0.0
    # The first pixel's slope is 1, so that R1 is half of gamma.
    with_penalty = readings_of_d(Hinge(), real=[2.0, 0.5], fake=[0.0, -3.0], penalty=R1(gamma=6.0))
    assert with_penalty["penalty/d"] == pytest.approx(3.0)
    assert with_penalty["loss/d"] == pytest.approx(0.75 + 3.0)
    assert without["accuracy/d_real"] == with_penalty["accuracy/d_real"] == 1.0


def test_gs_terms_are_ds_verdict_on_what_g_draws():
    assert readings_of_g(Hinge(), fake=[-1.0, 3.0, 4.0])["loss/g"] == pytest.approx(-2.0)


def test_measuring_takes_no_part_in_gradients():
    logits = torch.ones(2, requires_grad=True)
    judgement = Judgement({"adversarial": Hinge().d(logits, logits)}, logits, logits)
    accuracies_and_probabilities = game_of(Hinge()).read_d(judgement)[2:]
    assert not any(reading.requires_grad for reading in accuracies_and_probabilities)


def test_a_d_that_answers_in_another_shape_is_refused():
    """[B, 1] against targets [B] would make [B, B] without an error."""
    game = game_of(Hinge())
    game.discriminator = nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    with pytest.raises(UserError, match=r"model.discriminator gives 4x1 for 4 images, but must give one logit each."):
        game.d_terms(images_with(1.0, 2.0), images_with(3.0, 4.0))


def test_a_logit_of_zero_says_generated_in_the_steps_of_both_players():
    of_d = readings_of_d(Hinge(), real=[0.0], fake=[0.0])
    assert (of_d["accuracy/d_real"], of_d["accuracy/d_fake"]) == (0.0, 1.0)
    assert readings_of_g(Hinge(), fake=[0.0])["accuracy/d_fake"] == 1.0
