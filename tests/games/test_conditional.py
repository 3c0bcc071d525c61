"""The game by class: whose classes are drawn, and what its losses and penalties are in closed form."""

import pytest
import torch
from torch import nn

from gan_runner.config.build import build
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games import Conditional
from gan_runner.objectives.classifiers import CLASSIFIERS
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import Hinge, Relativistic
from gan_runner.objectives.penalties import R1, R1R2
from gan_runner.training.first_look import first_look
from gan_runner.training.schedules import Turn

SLOPES = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]], dtype=torch.float64)
REAL_LABEL = torch.tensor([2, 0, 1, 1])
SMALL = (
    *("game=conditional", "data.limit=40", "evaluation=off", "trainer.batch_size=8", "trainer.g_batch_size=12"),
    *("trainer.device=cpu", "trainer.precision=fp32"),
)


class Linear(nn.Module):
    """D(x, y) = slope_y . x + offset_y, of images [B, 1, 1, 2]."""

    def forward(self, images, label):
        return (images.flatten(1) * SLOPES[label]).sum(1) + 100.0 * label


class Recording(nn.Module):
    """A network of a user's own that takes the class by itself, and notes which classes it is given."""

    def __init__(self, image_shape, num_classes):
        super().__init__()
        self.shape, self.labels = image_shape, []
        self.weight = nn.Parameter(torch.ones(num_classes))


class RecordingG(Recording):
    def forward(self, latents, label):
        self.labels.append(label.tolist())
        values = self.weight[label] * latents[:, 0]
        return values[:, None, None, None].expand(-1, *self.shape).tanh()


class RecordingD(Recording):
    def forward(self, images, label):
        self.labels.append(label.tolist())
        return images.mean((1, 2, 3)) + self.weight[label]


class Talkative(Linear):
    """It says more: logits that are the pixels' sum whatever the class, and a classifier's, slope_c . x for class c."""

    def with_unconditional(self, images, label):
        return self(images, label), images.flatten(1).sum(1)

    def with_classes(self, images):
        return images.flatten(1).sum(1), images.flatten(1) @ SLOPES.T


def game_of(loss, penalty=None, num_classes=3, conditioning="projection", **further):
    return Conditional(Normal(4, 1.0), loss, penalty, None, num_classes, conditioning, 2, **further)


def batches():
    real, fake = (torch.randn(4, 1, 1, 2, dtype=torch.float64) for _ in range(2))
    return Batch(real, {"label": REAL_LABEL}), Batch(fake, {"label": REAL_LABEL})


@pytest.mark.parametrize(("penalty", "kinds"), [(R1(0.6), 1), (R1R2(0.6), 2)])
def test_a_penalty_uses_each_image_with_its_class(penalty, kinds):
    outcome = game_of(Hinge(), penalty).d_terms(Linear(), *batches())
    expected = kinds * 0.3 * SLOPES[REAL_LABEL].square().sum(1).mean()
    torch.testing.assert_close(outcome.terms["penalty"], expected, rtol=0, atol=1e-12)


def test_a_relativistic_loss_compares_within_a_class():
    """So that what D adds for a class, however much, changes nothing."""
    real, fake = batches()
    outcome = game_of(Relativistic()).d_terms(Linear(), real, fake)
    difference = ((real.images - fake.images).flatten(1) * SLOPES[REAL_LABEL]).sum(1)
    expected = nn.functional.softplus(-difference).mean()
    torch.testing.assert_close(outcome.terms["adversarial"], expected, rtol=0, atol=1e-12)


class Drawing(nn.Module):
    """G's images are its latents, whatever the class."""

    def forward(self, latents, label):
        return latents.view(-1, 1, 1, 2)


@pytest.mark.parametrize("loss", [Hinge(), Relativistic()])
def test_the_unconditional_part_is_the_same_loss_without_classes(loss):
    game, d, (real, fake) = game_of(loss, unconditional=0.5), Talkative(), batches()
    outcome = game.d_terms(d, real, fake)
    whole = {name: d.with_unconditional(batch.images, REAL_LABEL) for name, batch in (("x", real), ("z", fake))}
    for name, which, weight in (("adversarial", 0, 2 / 3), ("unconditional", 1, 1 / 3)):
        expected = weight * loss.d(whole["x"][which], whole["z"][which])
        torch.testing.assert_close(outcome.terms[name], expected, rtol=0, atol=1e-12)
    outcome = game.g_terms(d, Drawing(), fake.images.flatten(1), real)
    for name, which, weight in (("adversarial", 0, 2 / 3), ("unconditional", 1, 1 / 3)):
        given = (whole["z"][which], whole["x"][which]) if loss.paired else (whole["z"][which],)
        torch.testing.assert_close(outcome.terms[name], weight * loss.g(*given), rtol=0, atol=1e-12)


@pytest.mark.parametrize("conditioning", CLASSIFIERS)
def test_a_classifier_adds_a_term_to_d_and_g_and_the_penalty_uses_only_the_logit(conditioning):
    game = game_of(Hinge(), R1(0.6), 3, conditioning, classifier_weight=0.25)
    loss, d, (real, fake) = CLASSIFIERS[conditioning](), Doubled(), batches()
    said = [d.with_classes(batch.images)[1] for batch in (real, fake)]
    terms = game.d_terms(d, real, fake).terms
    expected = 0.25 * loss.d(said[0], REAL_LABEL, said[1], REAL_LABEL)
    torch.testing.assert_close(terms["classifier"], expected, rtol=0, atol=1e-12)
    logits = [batch.images.flatten(1).sum(1) for batch in (real, fake)]
    torch.testing.assert_close(terms["adversarial"], Hinge().d(*logits), rtol=0, atol=1e-12)
    torch.testing.assert_close(terms["penalty"].item(), 0.3 * 2, rtol=0, atol=1e-12)
    terms = game.g_terms(d, Drawing(), fake.images.flatten(1), real).terms
    torch.testing.assert_close(terms["classifier"], 0.25 * loss.g(said[1], REAL_LABEL), rtol=0, atol=1e-12)


class Doubled(Talkative):
    """As many answers for real and for generated images of a class; its logit knows no class."""

    def forward(self, images, label):
        return images.flatten(1).sum(1)

    def with_classes(self, images):
        logits, classes = super().with_classes(images)
        return logits, torch.cat([classes, classes.flip(1)], 1)


@pytest.mark.parametrize(
    ("further", "method"),
    [({"conditioning": "adc_gan"}, "with_classes"), ({"unconditional": 1.0}, "with_unconditional")],
)
def test_a_custom_network_without_what_the_game_needs_is_refused(further, method):
    with pytest.raises(UserError, match=rf"but model.discriminator \(.*Linear\) has no method {method}"):
        game_of(Hinge(), **further).d_terms(Linear(), *batches())


@pytest.mark.parametrize("conditioning", ["concatenation", "ac_gan", "adc_gan"])
def test_only_projection_has_an_unconditional_part(conditioning):
    with pytest.raises(UserError, match=f"game.unconditional is 1, but game.conditioning is {conditioning}"):
        game_of(Hinge(), conditioning=conditioning, unconditional=1.0)


def test_every_conditioning_but_projection_alone_gives_a_hint():
    assert game_of(Hinge()).caveats == []
    for conditioning in ("concatenation", "ac_gan", "adc_gan"):
        (said,) = game_of(Hinge(), conditioning=conditioning).caveats
        assert said.startswith(f"game.conditioning={conditioning}: ")
    (said,) = game_of(Hinge(), unconditional=1.0).caveats
    assert said.startswith("game.unconditional=1: ")


@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
@pytest.mark.parametrize("turn", [Turn(2, 1), Turn(1, 0), Turn(0, 1)], ids=["D twice, then G", "D alone", "G alone"])
def test_generated_images_have_the_classes_of_the_real_batch_in_both_updates(compose_config, loss, turn):
    target = "tests.games.test_conditional.Recording"
    networks = [f"+networks.{which}._target_={target}{which[0].upper()}" for which in ("generator", "discriminator")]
    config = compose_config(*SMALL, f"loss={loss}", "penalty=none", *networks)
    config.model = {"latent_dim": 4, **config.networks}
    experiment = build(config)
    d, g = (experiment.players.by_letter()[letter].net for letter in "dg")
    labels = experiment.images.labels
    experiment.step.play(turn, 0)
    order = [labels[rows].tolist() for rows in rows_of(experiment, turn)]
    for update in range(turn.d_steps):
        assert g.labels[update] == order[update]
        assert d.labels[update] == 2 * order[update], "real and generated images joined"
    if turn.g_steps:
        last = order[-1]
        expected = (last + last)[:12]  # a smaller batch of D's comes round again
        assert g.labels[-1] == expected
        assert all(labels == expected for labels in d.labels[turn.d_steps :])
        assert len(d.labels) > turn.d_steps


def rows_of(experiment, turn):
    """The rows of the data that a turn from the start takes, an update each."""
    size = 8 if turn.d_steps else 12
    order = experiment.loader._order
    return [order.indices(update * size, size) for update in range(max(1, turn.d_steps))]


WAYS = {
    "projection": (),
    "concatenation": ("game.conditioning=concatenation",),
    "AC-GAN": ("game.conditioning=ac_gan", "trainer.precision=bf16"),
    "ADC-GAN": ("game.conditioning=adc_gan", "game.classifier_weight=0.5"),
    "a share without classes": ("game.unconditional=1", "trainer.precision=bf16"),
}


@pytest.mark.parametrize(
    ("model", "way"), [(model, way) for model in ("mlp", "dcgan") for way in WAYS] + [("resnet", "ADC-GAN")]
)
def test_every_model_works_with_every_conditioning(compose_config, model, way):
    widths = (
        ["model.widths=[8]"]
        if model == "resnet"
        else [f"model.{p}.widths=[4,4,4]" for p in ("generator", "discriminator")]
    )
    lazy = ("penalty=r1", "penalty.interval=2")
    experiment = build(compose_config(*SMALL, f"model={model}", *widths, *lazy, *WAYS[way], "trainer.ema=0.9"))
    first_look(experiment)
    embeddings = [name for name, _ in experiment.players.generator.net.named_parameters() if "embedding" in name]
    before = [value.clone() for value in experiment.players.generator.net.state_dict().values()]
    for position in (0, 8):
        experiment.step.play(Turn(1, 1), position)
    assert embeddings
    after = experiment.players.generator.net.state_dict().values()
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True) if one.is_floating_point())
    inputs = experiment.sampler.for_grid("a test", 20, 2)
    assert inputs.conditions["label"].tolist() == [number // 2 for number in range(20)]
    assert torch.equal(inputs.latents[:2], inputs.latents[-2:]), "a column has one latent"
    assert experiment.sampler.pictures(inputs).shape == (20, 1, 28, 28)


def test_data_without_classes_are_refused():
    with pytest.raises(UserError, match="game=conditional draws images by class, but these data have no classes"):
        game_of(Hinge(), num_classes=0)


def test_a_grid_with_fewer_rows_than_classes_shows_evenly_spaced_classes():
    label = game_of(Hinge(), num_classes=100).grid_conditions(20, 2, None)["label"]
    assert label[::2].tolist() == list(range(0, 100, 10))
    assert game_of(Hinge(), num_classes=3).grid_conditions(10, 2, None)["label"][::2].tolist() == [0, 1, 2, 0, 1]
