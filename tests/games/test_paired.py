"""The game of pairs: what each player is given, what it minimises, and how it goes with all else that a run has."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from gan_runner.config.build import build, load_images
from gan_runner.data import Batch
from gan_runner.data.batch import SOURCE, TRUTH
from gan_runner.errors import UserError
from gan_runner.games import Paired
from gan_runner.objectives.augment import DiffAugment
from gan_runner.objectives.losses import NonSaturating
from gan_runner.objectives.penalties import R1, R1R2
from gan_runner.training.first_look import first_look
from gan_runner.training.schedules import Turn

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    *("model.width=4", "data.limit=24", "data.image_size=16", "trainer.batch_size=8", "evaluation=pixels"),
    *("trainer.device=cpu", "trainer.precision=fp32", "game=paired", "data=paired", "model=unet"),
]


class Shift(nn.Module):
    """Draws the source, moved by what it learns."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(0.25, dtype=torch.float64))

    def forward(self, source):
        return source + self.by


class Total(nn.Module):
    """Judges by a weighted sum of the pixels of both images, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.of_image = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.of_source = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))
        self.shown = []

    def forward(self, images, source):
        self.shown.append((images.detach(), source.detach()))
        return self.of_image * images.flatten(1).sum(1) + self.of_source * source.flatten(1).sum(1)


@pytest.fixture
def game_of(hard_labels):
    def make(penalty=None, augment=None, l1_weight=100.0):
        return Paired(NonSaturating(hard_labels, joined=True), penalty, augment, (1, 4, 4), l1_weight)

    return make


def pair(count=3):
    images, source = torch.rand(2, count, 1, 4, 4, dtype=torch.float64) * 2 - 1
    return Batch(images, {SOURCE: source, "label": torch.zeros(count, dtype=torch.int64)})


def test_terms_equal_those_of_the_paper_in_float64(game_of):
    game, real, d, g = game_of(l1_weight=7.0), pair(), Total(), Shift()
    source = real.conditions[SOURCE]
    drawn = source + 0.25

    def logits(images):
        return 0.5 * images.flatten(1).sum(1) - 2 * source.flatten(1).sum(1)

    latents = game.latents(3, torch.device("cpu"))
    assert latents.shape == (3, 0)
    fake = game.generate(g, latents, real.conditions)
    assert torch.equal(fake.images, drawn)
    of_d = game.d_terms(d, real, Batch(fake.images.detach(), fake.conditions))
    expected = -logits(real.images).sigmoid().log().mean() - (1 - logits(drawn).sigmoid()).log().mean()
    assert float(of_d.terms["adversarial"].detach()) == pytest.approx(0.5 * float(expected), rel=1e-6), (
        "halved, as published"
    )
    of_g = game.g_terms(d, g, latents, real)
    assert float(of_g.terms["adversarial"].detach()) == pytest.approx(
        float(-logits(drawn).sigmoid().log().mean()), rel=1e-6
    )
    distance = float((drawn - real.images).abs().mean())
    assert float(of_g.terms["l1"].detach()) == pytest.approx(7.0 * distance, rel=1e-6)
    assert float(of_g.measured["l1/g"]) == pytest.approx(distance, rel=1e-6)


def test_penalties_use_the_image_with_its_source(game_of):
    """The slope with respect to the image is .5 at each of 16 pixels, whatever the source: R1 is half of 16 / 4."""
    real = pair()
    for penalty, expected in ((R1(1.0), 2.0), (R1R2(1.0), 4.0)):
        d = Total()
        outcome = game_of(penalty).d_terms(d, real, Batch(pair().images, {SOURCE: real.conditions[SOURCE]}))
        assert float(outcome.terms["penalty"].detach()) == pytest.approx(expected, rel=1e-6)
        images, source = d.shown[-1]
        assert torch.equal(source, real.conditions[SOURCE].repeat(len(images) // 3, 1, 1, 1))


def test_an_augmentation_changes_both_images_of_a_pair_alike(game_of):
    augment = DiffAugment(1.0, 0.5, 0.0, 0.0, 0.25, 0.5)
    source = torch.rand(6, 1, 8, 8)
    real = Batch(source.clone(), {SOURCE: source})
    d = Total().float()
    game = Paired(game_of().loss, R1(1.0), augment, (1, 8, 8), 1.0)
    game.d_terms(d, real, Batch(source.clone(), {SOURCE: source}))
    game.g_terms(d, nn.Identity(), torch.zeros(6, 0), real)
    assert len(d.shown) == 3
    for images, shown in d.shown:
        assert torch.equal(images, shown)
        assert not torch.equal(images[:6], source)


@pytest.mark.parametrize(
    "overrides",
    [
        ["penalty=r1", "schedule=rounds"],
        ["penalty=none", "model.norm=batch", "model.dropout=0.5", "augment=diffaugment"],
        ["penalty=gradient_penalty", "loss=wasserstein", "model.spectral_norm=true"],
        ["penalty=r1_r2", "loss=relativistic", "augment=diffaugment"],
        ["penalty=finite_difference", "loss=hinge", "trainer.precision=bf16", "data.image_size=28"],
        ["model=residual_translator", "model.width=4", "model.blocks=1", "penalty=r1", "data.random_crop=0.125"],
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_it_works_with_every_loss_penalty_and_schedule(config_with, overrides):
    experiment = build(config_with(*overrides, "trainer.ema=0.9"))
    first_look(experiment)
    before = copy.deepcopy(experiment.players.generator.net.state_dict())
    first, position = experiment.schedule.next_turn(experiment.step, experiment.epoch), 0
    for turn in (first, Turn(1, 1), Turn(1, 1)):
        position = experiment.step.play(turn, position)
    assert experiment.step.finite.first_bad() is None
    after = experiment.players.generator.net.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


@pytest.mark.parametrize("model", ["keras_mlp", "keras_dcgan", "resnet"])
def test_every_discriminator_judges_pairs(config_with, model):
    config = config_with("model.latent_dim=1")
    chosen = OmegaConf.load(CONF / "model" / f"{model}.yaml")
    OmegaConf.set_struct(config, False)
    settings = {key: chosen[key] for key in chosen if key not in ("generator", "discriminator", "latent_dim")}
    config.model = OmegaConf.merge(settings, config.model)
    config.model.discriminator = chosen.discriminator
    experiment = build(config)
    experiment.step.play(Turn(1, 1), 0)
    assert experiment.step.finite.first_bad() is None


def test_generated_images_have_the_sources_of_the_real_batch(config_with, monkeypatch):
    experiment = build(config_with())
    seen = []
    judge = Paired.judge

    def watched(self, d, images, conditions):
        seen.append((images.detach().clone(), conditions[SOURCE].clone()))
        return judge(self, d, images, conditions)

    monkeypatch.setattr(Paired, "judge", watched)
    experiment.step.play(Turn(1, 1), 0)
    (of_d, source_of_d), *_, (_, source_of_g) = seen
    assert torch.equal(source_of_d[:8], source_of_d[8:])
    assert torch.equal(source_of_g, source_of_d[:8])
    rows = experiment.loader._order.indices(0, 8)
    assert torch.equal(of_d[:8], Batch(experiment.images.pixels(rows)).as_float().images)


@pytest.mark.parametrize(("batch_of_g", "drawn"), [(8, [8]), (4, [8, 4])])
def test_g_draws_once_per_turn_if_both_updates_have_the_same_sources(config_with, batch_of_g, drawn):
    experiment, counts = build(config_with("model.norm=batch", f"trainer.g_batch_size={batch_of_g}")), []
    net = experiment.players.generator.net
    net.register_forward_hook(lambda net, given, images: counts.append(len(images)))
    experiment.step.play(Turn(1, 1), 0)
    assert counts == drawn
    followed = {int(norm.num_batches_tracked) for norm in net.modules() if isinstance(norm, nn.BatchNorm2d)}
    assert followed == {1}, "its statistics are of G's own updates"


def test_grids_show_held_out_sources_drawn_images_and_true_images(config_with):
    config = config_with("data.dataset=emoji")
    experiment = build(config)
    assert (experiment.grid_columns, experiment.pictures_in_grid) == (9, 30)
    sampler = experiment.sampler
    inputs = sampler.for_grid("a test", 30, 9)
    cells = sampler.cells(inputs)
    assert cells.shape == (90, 3, 16, 16), "edges are grey, but are shown beside colours"
    assert torch.equal(cells[0::3], inputs.conditions[SOURCE].expand(-1, 3, -1, -1))
    assert torch.equal(cells[1::3], sampler.pictures(inputs))
    assert torch.equal(cells[2::3], inputs.truth)
    test = Batch(load_images(config, split="test", limit=None).images.images).as_float().images
    held_out = {image.numpy().tobytes() for image in test}
    assert all(truth.numpy().tobytes() in held_out for truth in inputs.truth)
    drawn = sampler.draw(sampler.like_data("another", 20))
    assert sum(map(len, drawn)) == 20
    assert drawn[0].conditions.keys() == {SOURCE, TRUTH}


def test_held_out_sources_of_grids_and_metrics_are_the_same_for_every_seed(config_with):
    configs = [config_with("data.holdout=0.5") for _ in range(2)]
    configs[1].seed = 1
    first, second = (build(config).sampler for config in configs)
    for draw in (lambda sampler: sampler.for_grid("a test", 6, 3), lambda sampler: sampler.like_data("a test", 6)):
        assert torch.equal(draw(first).conditions[SOURCE], draw(second).conditions[SOURCE])


def test_one_image_is_drawn_alone_as_among_others_bit_for_bit(config_with):
    sampler = build(config_with()).sampler
    sources = torch.rand(4, 1, 16, 16)
    alone = [sampler.from_source(source[None]) for source in sources]
    for one, other in itertools.pairwise(alone):
        assert not torch.equal(one, other)
    assert torch.equal(sampler.from_source(sources[2:3]), alone[2])


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["data=digits"], "game=paired learns to draw one image of a pair from the other, but this"),
        (["model=keras_mlp"], r"has no parameter source_shape, where this game needs a"),
        (["game=adversarial", "data=digits"], r"is for pairs of images, which this game gives no network"),
        (["game=adversarial"], r"is for pairs of images, which this game gives no network"),
    ],
)
def test_incompatible_settings_are_refused_with_what_to_type(config_with, overrides, problem):
    with pytest.raises(UserError, match=problem):
        build(config_with(*overrides))
