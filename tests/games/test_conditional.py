"""The game by class: whose classes are drawn, and what its losses and penalties are in closed form."""

import pytest
import torch
from torch import nn

from gan_runner.config.build import build
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games import Conditional
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import Hinge, Relativistic
from gan_runner.objectives.penalties import R1, R1R2
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


def game_of(loss, penalty=None, num_classes=3):
    return Conditional(Normal(4, 1.0), loss, penalty, None, num_classes, "projection", 2)


def batches():
    real, fake = (torch.randn(4, 1, 1, 2, dtype=torch.float64) for _ in range(2))
    return Batch(real, {"label": REAL_LABEL}), Batch(fake, {"label": REAL_LABEL})


@pytest.mark.parametrize(("penalty", "kinds"), [(R1(0.6), 1), (R1R2(0.6), 2)])
def test_a_penalty_is_of_the_slope_at_each_image_as_one_of_its_class(penalty, kinds):
    outcome = game_of(Hinge(), penalty).d_terms(Linear(), *batches())
    expected = kinds * 0.3 * SLOPES[REAL_LABEL].square().sum(1).mean()
    torch.testing.assert_close(outcome.terms["penalty"], expected, rtol=0, atol=1e-12)


def test_a_loss_that_compares_does_so_within_a_class():
    """So that what D adds for a class, however much, changes nothing."""
    real, fake = batches()
    outcome = game_of(Relativistic()).d_terms(Linear(), real, fake)
    difference = ((real.images - fake.images).flatten(1) * SLOPES[REAL_LABEL]).sum(1)
    expected = nn.functional.softplus(-difference).mean()
    torch.testing.assert_close(outcome.terms["adversarial"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
@pytest.mark.parametrize("turn", [Turn(2, 1), Turn(1, 0), Turn(0, 1)], ids=["D twice, then G", "D alone", "G alone"])
def test_generated_images_take_the_classes_of_the_real_batch_in_both_updates(compose_config, loss, turn):
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


@pytest.mark.parametrize("conditioning", ["projection", "concatenation"])
@pytest.mark.parametrize("model", ["mlp", "dcgan", "resnet"])
def test_every_model_plays_whatever_the_way_of_conditioning(compose_config, model, conditioning):
    widths = (
        ["model.widths=[8]"]
        if model == "resnet"
        else [f"model.{p}.widths=[4,4,4]" for p in ("generator", "discriminator")]
    )
    config = compose_config(*SMALL, f"model={model}", *widths, f"game.conditioning={conditioning}", "trainer.ema=0.9")
    experiment = build(config)
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


def test_a_grid_of_fewer_rows_than_classes_shows_some_at_even_distances():
    label = game_of(Hinge(), num_classes=100).grid_conditions(20, 2, None)["label"]
    assert label[::2].tolist() == list(range(0, 100, 10))
    assert game_of(Hinge(), num_classes=3).grid_conditions(10, 2, None)["label"][::2].tolist() == [0, 1, 2, 0, 1]
