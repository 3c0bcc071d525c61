import itertools

import pytest
import torch
from torch import nn

from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games import Adversarial, accuracy_of, area_under_roc, total
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
    return Adversarial(Normal(4, 1.0), loss, penalty)


def images_with(*logits):
    images = torch.full((len(logits), 1, 2, 2), 99.0)
    images[:, 0, 0, 0] = torch.tensor(logits)
    return images


def outcome_of_d(loss, real, fake, penalty=None):
    return game_of(loss, penalty).d_terms(FirstPixel(), Batch(images_with(*real)), Batch(images_with(*fake)))


def outcome_of_g(loss, fake):
    g = nn.Unflatten(1, (1, 2, 2))
    return game_of(loss).g_terms(FirstPixel(), g, images_with(*fake).flatten(1), None)


def numbers(outcome):
    """What was measured, and the loss."""
    every = {"loss": total(outcome.terms), **outcome.measured}
    assert all(number.shape == () for number in every.values())
    return {name: number.item() for name, number in every.items()}


def measured_of_d(loss, real, fake, penalty=None):
    return numbers(outcome_of_d(loss, real, fake, penalty))


def measured_of_g(loss, fake):
    return numbers(outcome_of_g(loss, fake))


# ---- the truth about D ------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("loss_class", [NonSaturating, Minimax])
def test_ds_accuracy_counts_what_images_are_whatever_the_targets(loss_class, labels):
    loss = loss_class(labels, joined=True)
    measured = measured_of_d(loss, real=[2.0, 0.1, -0.5, 7.0], fake=[-1.0, 3.0, -0.1, -9.0, -2.0])
    assert measured["accuracy/d_real"] == 0.75
    assert measured["accuracy/d_fake"] == pytest.approx(0.8)
    assert measured_of_g(loss, fake=[-1.0, 3.0])["accuracy/d_fake"] == 0.5


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_a_d_that_is_always_right_has_accuracy_1_with_soft_targets_too(labels):
    # The published keras_dcgan shows 0 throughout: Keras compares a soft target with a rounded answer.
    measured = measured_of_d(NonSaturating(labels, joined=True), real=[4.0] * 128, fake=[-4.0] * 128)
    assert (measured["accuracy/d_real"], measured["accuracy/d_fake"]) == (1.0, 1.0)


def test_a_d_that_is_always_wrong_has_accuracy_0():
    measured = measured_of_d(NonSaturating(LABELS["all flipped"], joined=True), real=[-4.0] * 3, fake=[4.0] * 3)
    assert (measured["accuracy/d_real"], measured["accuracy/d_fake"]) == (0.0, 0.0)


def test_an_undecided_d_has_accuracy_one_half():
    measured = measured_of_d(Hinge(), real=[0.0] * 3, fake=[0.0] * 3)
    assert measured["accuracy/d_real"] + measured["accuracy/d_fake"] == 1.0


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_the_probabilities_are_the_means_of_ds_outputs(labels):
    loss = NonSaturating(labels, joined=True)
    real, fake = [2.0, -1.0, 0.3], [-2.0, 1.5]
    measured = measured_of_d(loss, real, fake)
    assert measured["probability/real"] == pytest.approx(float(torch.tensor(real).sigmoid().mean()))
    assert measured["probability/fake"] == pytest.approx(float(torch.tensor(fake).sigmoid().mean()))
    in_gs_step = measured_of_g(loss, fake)["probability/fake"]
    assert in_gs_step == pytest.approx(float(torch.tensor(fake).sigmoid().mean()))


def test_real_and_generated_logits_are_separated_in_batches_of_different_sizes():
    seen = []

    class Seeing(Critic):
        def d(self, real_logits, fake_logits):
            seen.extend([real_logits.tolist(), fake_logits.tolist()])
            return super().d(real_logits, fake_logits)

    outcome_of_d(Seeing(), [1.0, 2.0, 3.0], [4.0, 5.0])
    assert seen == [[1.0, 2.0, 3.0], [4.0, 5.0]]


def test_ds_accuracy_weights_real_and_generated_images_equally():
    assert accuracy_of({"accuracy/d_real": 0.75, "accuracy/d_fake": 0.25, "loss/d": 7.0}) == 0.5


# ---- critics ----------------------------------------------------------------------------------------------


def test_without_a_sign_of_logits_the_area_under_the_roc_replaces_the_accuracy():
    # Of the 3 * 2 pairs 4 are in order and one is a tie; every score is positive.
    measured = measured_of_d(Critic(), real=[5.0, 3.0, 2.0], fake=[3.0, 1.0])
    assert measured["accuracy/d_real"] == measured["accuracy/d_fake"] == pytest.approx(4.5 / 6)


def test_without_a_sign_of_logits_gs_step_has_no_accuracy_of_d():
    assert measured_of_g(Critic(), fake=[3.0, 1.0]) == {"loss": -2.0}


def test_without_a_sign_of_logits_there_is_no_probability():
    """A sigmoid of a score without a zero is no belief."""
    assert measured_of_d(Critic(), real=[5.0], fake=[3.0]).keys() == {"loss", "accuracy/d_real", "accuracy/d_fake"}
    classifying = measured_of_d(Hinge(), real=[5.0], fake=[3.0])
    assert classifying.keys() == {
        *("loss", "accuracy/d_real", "accuracy/d_fake", "probability/real", "probability/fake"),
    }


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_area_under_the_roc_is_the_share_of_ordered_pairs_with_ties_as_halves(levels):
    real, fake = (torch.randint(levels, (n,)).float() for n in (17, 23))
    pairs = list(itertools.product(real.tolist(), fake.tolist()))
    share = sum((r > f) + 0.5 * (r == f) for r, f in pairs) / len(pairs)
    assert float(area_under_roc(real, fake)) == pytest.approx(share)


@pytest.mark.parametrize(("shift", "area"), [(10.0, 1.0), (-10.0, 0.0)])
def test_the_area_under_the_roc_is_0_or_1_if_the_scores_do_not_overlap(shift, area):
    scores = torch.rand(9)
    assert float(area_under_roc(scores + shift, scores)) == area


# ---- terms ------------------------------------------------------------------------------------------------


def test_the_loss_of_d_is_the_sum_of_its_terms_and_the_penalty_is_logged_separately():
    without = measured_of_d(Hinge(), real=[2.0, 0.5], fake=[0.0, -3.0])
    assert without["loss"] == pytest.approx(0.25 + 0.5)
    assert "penalty/d" not in without
    # The first pixel's slope is 1, so that R1 is half of gamma.
    with_penalty = measured_of_d(Hinge(), real=[2.0, 0.5], fake=[0.0, -3.0], penalty=R1(gamma=6.0))
    assert with_penalty["penalty/d"] == pytest.approx(3.0)
    assert with_penalty["loss"] == pytest.approx(0.75 + 3.0)
    assert without["accuracy/d_real"] == with_penalty["accuracy/d_real"] == 1.0


def test_gs_terms_use_ds_logits_for_gs_images():
    assert measured_of_g(Hinge(), fake=[-1.0, 3.0, 4.0])["loss"] == pytest.approx(-2.0)


def test_measuring_does_not_affect_gradients():
    d = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Flatten(0))
    images = Batch(torch.randn(3, 1, 2, 2))
    of_d = game_of(Hinge()).d_terms(d, images, images)
    of_g = game_of(Hinge()).g_terms(d, nn.Unflatten(1, (1, 2, 2)), torch.randn(3, 4), None)
    for outcome in (of_d, of_g):
        assert total(outcome.terms).requires_grad
        assert outcome.measured
        assert not any(number.requires_grad for number in outcome.measured.values())


# ---- shapes of logits -------------------------------------------------------------------------------------


class Answering(nn.Module):
    """A D that answers what a function makes of the images."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda images: images.flatten(1)[:, :1], "4x1"),
        (lambda images: images.flatten(1), "4x4"),
        (lambda images: images.mean(), ""),
        (lambda images: images.flatten(1)[:2, 0], "2"),
        (lambda images: images[:3], "3x1x2x2"),
        (lambda images: (images, images), "tuple"),
    ],
    ids=["[B, 1]", "[B, n]", "0-d", "[B / 2]", "a map too few", "tuple"],
)
def test_a_d_with_output_of_another_shape_is_refused(answer, said):
    """[B, 1] against targets [B] would make [B, B] without an error."""
    real, fake = Batch(images_with(1.0, 2.0)), Batch(images_with(3.0, 4.0))
    with pytest.raises(UserError) as refusal:
        game_of(Hinge()).d_terms(Answering(answer), real, fake)
    assert str(refusal.value) == (
        f"model.discriminator gives {said} for 4 images, but must give one logit each.\n"
        "  Let its forward return a tensor of shape [B], or a map of logits [B, h, w]."
    )


def test_a_wrong_shape_is_refused_in_gs_step_and_in_a_penalty_too():
    def one_column(images):
        return images.flatten(1)[:, :1]

    with pytest.raises(UserError, match="gives 2x1 for 2 images"):
        game_of(Hinge()).g_terms(Answering(one_column), nn.Unflatten(1, (1, 2, 2)), torch.randn(2, 4), None)

    def right_about_joined_batches_alone(images):
        return images.flatten(1)[:, 0] if len(images) == 4 else one_column(images)

    images = Batch(images_with(1.0, 2.0))
    with pytest.raises(UserError, match="gives 2x1 for 2 images"):
        game_of(Hinge(), R1(1.0)).d_terms(Answering(right_about_joined_batches_alone), images, images)


def test_a_map_of_logits_is_measured_logit_by_logit():
    """Two real images and one generated, each judged in four patches."""
    real = torch.tensor([[[1.0, -2.0], [3.0, 0.5]], [[-1.0, -1.0], [2.0, 0.0]]])
    fake = torch.tensor([[[1.0, -2.0], [-3.0, 0.0]]])
    patches = Answering(lambda images: images[:, 0])
    outcome = game_of(Hinge()).d_terms(patches, Batch(real[:, None]), Batch(fake[:, None]))
    measured = numbers(outcome)
    assert measured["accuracy/d_real"] == 4 / 8
    assert measured["accuracy/d_fake"] == 3 / 4
    assert measured["probability/real"] == pytest.approx(real.sigmoid().mean().item())
    assert measured["probability/fake"] == pytest.approx(fake.sigmoid().mean().item())
    # max(0, 1 - real) = 0 3 0 .5 2 2 0 1 and max(0, 1 + fake) = 2 0 0 1.
    assert measured["loss"] == pytest.approx(8.5 / 8 + 3.0 / 4)


def test_a_map_is_measured_logit_by_logit_in_gs_step_too():
    fake = torch.tensor([[[1.0, -2.0], [-3.0, 0.0]]])
    patches = Answering(lambda images: images[:, 0])
    measured = numbers(game_of(Hinge()).g_terms(patches, nn.Unflatten(1, (1, 2, 2)), fake.flatten(1), None))
    assert measured == {
        "loss": pytest.approx(1.0),
        "accuracy/d_fake": 3 / 4,
        "probability/fake": pytest.approx(fake.sigmoid().mean().item()),
    }


def test_without_a_sign_of_logits_a_map_counts_as_its_mean():
    real = torch.tensor([[[9.0, -3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])  # means 1.5 and 0
    fake = torch.tensor([[[4.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, -4.0]]])  # means 1 and -1
    patches = Answering(lambda images: images[:, 0])
    measured = numbers(game_of(Critic()).d_terms(patches, Batch(real[:, None]), Batch(fake[:, None])))
    assert measured["accuracy/d_real"] == measured["accuracy/d_fake"] == 3 / 4


# ---- conditions -------------------------------------------------------------------------------------------


def test_a_game_without_conditions_ignores_them():
    game, seen = game_of(Hinge()), []
    real = Batch(images_with(1.0, 2.0), {"label": torch.tensor([3, 4])})
    d = Answering(lambda images: seen.append(images) or images[:, 0, 0, 0])
    drawn = game.generate(nn.Unflatten(1, (1, 2, 2)), torch.randn(2, 4), real.conditions)
    game.d_terms(d, real, drawn)
    assert drawn.conditions == {}
    assert game.grid_conditions(4, 2, lambda count: real) == {}
    assert torch.equal(seen[0], torch.cat([real.images, drawn.images]))


class ByLabel(Adversarial):
    """G draws its label, and D's logit is how far the label is from what it sees."""

    def generate(self, g, latents, conditions):
        images = g(latents) * 0 + conditions["label"].float()[:, None, None, None]
        return Batch(images, {"label": conditions["label"]})

    def judge(self, d, images, conditions):
        return d(images) - conditions["label"].float()


def test_a_conditional_game_gives_each_image_its_own_condition_real_and_generated():
    game = ByLabel(Normal(4, 1.0), Critic(), R1(gamma=2.0))
    real = Batch(images_with(10.0, 20.0, 30.0), {"label": torch.tensor([1, 2, 3])})
    fake = Batch(images_with(5.0, 6.0), {"label": torch.tensor([4, 5])})
    outcome = game.d_terms(FirstPixel(), real, fake)
    assert outcome.terms["adversarial"].item() == pytest.approx((1 + 1) / 2 - (9 + 18 + 27) / 3)
    assert outcome.terms["penalty"].item() == pytest.approx(1.0)


def test_gs_images_are_judged_with_the_conditions_that_they_were_drawn_for():
    game = ByLabel(Normal(4, 1.0), Critic(), None)
    real = Batch(images_with(9.0, 9.0), {"label": torch.tensor([7, 2])})
    outcome = game.g_terms(FirstPixel(), nn.Unflatten(1, (1, 2, 2)), torch.randn(2, 4), real)
    assert outcome.terms["adversarial"].item() == 0.0  # what G drew is its label


# ---- zero -------------------------------------------------------------------------------------------------


def test_a_logit_of_zero_counts_as_generated_in_both_steps():
    of_d = measured_of_d(Hinge(), real=[0.0], fake=[0.0])
    assert (of_d["accuracy/d_real"], of_d["accuracy/d_fake"]) == (0.0, 1.0)
    assert measured_of_g(Hinge(), fake=[0.0])["accuracy/d_fake"] == 1.0
