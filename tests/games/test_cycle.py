"""The game of two domains without pairs: its terms, its pool, and how it goes with all else that a run has."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_runner.config.build import build, load_images
from gan_runner.data import Batch
from gan_runner.data.batch import CYCLED, CYCLED_TARGET, DRAWN_SOURCE, SOURCE, TARGET, TRUTH
from gan_runner.errors import UserError
from gan_runner.games import Cycle
from gan_runner.models.both_ways import Judges, Translators
from gan_runner.objectives.image_pool import ImagePool
from gan_runner.objectives.losses import LeastSquares
from gan_runner.objectives.penalties import R1
from gan_runner.training.distributed import ALONE
from gan_runner.training.first_look import first_look
from gan_runner.training.schedules import Alternating, Turn

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    *("model.width=4", "model.blocks=1", "data.limit=48", "data.image_size=16", "trainer.batch_size=4"),
    *("evaluation=pixels", "trainer.device=cpu", "trainer.precision=fp32", "game=cycle", "data=unpaired"),
    *("model=residual_translator", "schedule.g_first=true"),
]
CPU = torch.device("cpu")
SHAPE = (1, 4, 4)


class Times(nn.Module):
    """Draws what it is given, times what it learns."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, images):
        return self.factor * images


class Total(nn.Module):
    """Judges by the sum of the pixels, times what it learns, and keeps what it was shown."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))
        self.shown = []

    def forward(self, images):
        self.shown.append(images.detach())
        return self.weight * images.flatten(1).sum(1)


@pytest.fixture
def game_of(hard_labels):
    def make(penalty=None, pool=0, identity=0.5, cycle=10.0):
        return Cycle(LeastSquares(hard_labels), penalty, None, (SHAPE, SHAPE), ALONE, cycle, identity, pool)

    return make


def two_domains(count=3):
    images, source = torch.rand(2, count, *SHAPE, dtype=torch.float64) * 2 - 1
    return Batch(images, {SOURCE: source})


def half_squares(logits, target):
    return float(0.5 * (logits + 0.5 - target).square().mean())


def test_terms_equal_those_of_the_paper_in_float64(game_of):
    game, real = game_of(), two_domains()
    g, d = Translators(Times(2.0), Times(0.25)), Judges(Total(0.5), Total(-1.0))
    b, a = real.images, real.conditions[SOURCE]

    def logits(weight, images):
        return weight * images.flatten(1).sum(1)

    outcome = game.g_terms(d, g, game.latents(3, CPU), real)
    expected = {
        "adversarial": half_squares(logits(0.5, 2 * a), 1),
        "adversarial_of_sources": half_squares(logits(-1.0, b / 4), 1),
        "cycle": 10 * float((a / 2).abs().mean() + (b / 2).abs().mean()),
        "identity": 5 * float(b.abs().mean() + 0.75 * a.abs().mean()),
    }
    assert {name: float(term.detach()) for name, term in outcome.terms.items()} == pytest.approx(expected, rel=1e-6)
    assert torch.equal(outcome.drawn.images, 2 * a)
    assert torch.equal(outcome.drawn.conditions[DRAWN_SOURCE], b / 4)
    assert not outcome.drawn.images.requires_grad
    of_d = game.d_terms(d, real, outcome.drawn)
    assert {name: float(term.detach()) for name, term in of_d.terms.items()} == pytest.approx(
        {
            "adversarial": half_squares(logits(0.5, b), 1) + half_squares(logits(0.5, 2 * a), 0),
            "adversarial_of_sources": half_squares(logits(-1.0, a), 1) + half_squares(logits(-1.0, b / 4), 0),
        },
        rel=1e-6,
    )


def test_each_discriminator_has_its_own_penalty(game_of):
    real, d = two_domains(), Judges(Total(0.5), Total(2.0))
    terms = game_of(R1(1.0)).d_terms(d, real, Batch(real.images, {DRAWN_SOURCE: real.images})).terms
    penalties = [float(terms[name].detach()) for name in ("penalty", "penalty_of_sources")]
    assert penalties == pytest.approx([0.5 * 16 * 0.25, 0.5 * 16 * 4.0], rel=1e-6)


def test_without_identity_loss_nothing_is_drawn_for_it_and_domains_may_have_different_channels(game_of, hard_labels):
    g, d = Translators(Times(1.0), Times(1.0)), Judges(Total(1.0), Total(1.0))
    assert "identity" not in game_of(identity=0.0).g_terms(d, g, torch.zeros(3, 0), two_domains()).terms

    def of_other_channels(identity):
        return Cycle(LeastSquares(hard_labels), None, None, ((3, 4, 4), SHAPE), ALONE, 1.0, identity, 0)

    of_other_channels(0.0)
    with pytest.raises(UserError, match=r"Try game\.identity_weight=0"):
        of_other_channels(0.5)


def test_a_pool_fills_up_and_then_replaces_half_of_what_it_returns():
    torch.manual_seed(0)
    pool, size = ImagePool(50, ALONE), 50
    images = torch.arange(3050.0).view(-1, 1, 1, 1)
    assert torch.equal(pool.shown(images[:size]), images[:size])
    later = torch.cat([pool.shown(part) for part in images[size:].split(4)]).flatten()
    swapped = later != images[size:].flatten()
    assert 0.45 < float(swapped.float().mean()) < 0.55
    assert (later[swapped] < images[size:].flatten()[swapped]).all(), "what is shown instead is older"
    shown_again = later[swapped]
    assert len(shown_again.unique()) == len(shown_again), "what was shown from the pool has left it"


def test_a_pool_resumes_from_its_state_bit_for_bit():
    one, other = ImagePool(4, ALONE), ImagePool(4, ALONE)
    one.shown(torch.rand(7, 1, 2, 2))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    new = torch.rand(5, 1, 2, 2)
    torch.manual_seed(1)
    first = one.shown(new)
    torch.manual_seed(1)
    assert torch.equal(first, other.shown(new))


class HalfOf:
    """One of two processes, which hears of what the other has by the test."""

    def __init__(self, rank):
        self.rank = rank

    def share(self, count, key):
        if count % 2:
            raise UserError(f"{key} is {count}", "Try an even one.")
        return count // 2

    def interleaved(self, rows):
        return torch.stack([rows, rows + 100], 1).flatten(0, 1) if self.rank == 0 else rows

    def shard(self, rows):
        return rows[self.rank :: 2]


def test_every_process_has_its_part_of_a_pool():
    with pytest.raises(UserError, match=r"game\.pool is 5"):
        ImagePool(5, HalfOf(0))
    pool = ImagePool(8, HalfOf(0))
    pool.shown(torch.arange(4.0).view(-1, 1, 1, 1))
    state = pool.state_dict()
    assert state["images"].flatten().tolist() == [0, 100, 1, 101, 2, 102, 3, 103]
    second = ImagePool(8, HalfOf(1))
    second.load_state_dict(state)
    assert second._images.flatten().tolist() == [100, 101, 102, 103]


def test_discriminators_are_shown_the_images_of_gs_preceding_update(config_with, monkeypatch):
    experiment = build(config_with("game.pool=0"))
    seen = {}
    monkeypatch.setattr(Cycle, "g_terms", _kept(Cycle.g_terms, lambda out, args: seen.update(drawn=out.drawn)))
    monkeypatch.setattr(Cycle, "d_terms", _kept(Cycle.d_terms, lambda out, args: seen.update(shown=args[3])))
    monkeypatch.setattr(Cycle, "beside", None)
    experiment.step.play(experiment.schedule.next_turn(experiment.step, experiment.epoch), 0)
    assert seen["drawn"] is seen["shown"]


def _kept(method, keep):
    def kept(*args):
        out = method(*args)
        keep(out, args)
        return out

    return kept


@pytest.mark.parametrize(
    "overrides",
    [
        ["penalty=r1", "schedule=rounds", "trainer.ema=0.9"],
        ["penalty=none", "model.norm=batch", "augment=diffaugment", "loss=least_squares", "game.pool=0"],
        ["penalty=gradient_penalty", "loss=wasserstein", "model.spectral_norm=true", "game.identity_weight=0"],
        ["penalty=finite_difference", "loss=hinge", "trainer.precision=bf16", "data.image_size=28", "model=unet"],
        ["penalty=r1_r2", "loss=relativistic", "trainer.g_batch_size=2", "schedule.d_steps=2"],
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_it_works_with_every_loss_penalty_and_schedule(config_with, overrides):
    if "model=unet" in overrides:
        overrides = [*overrides, "model.width=4"]
    experiment = build(config_with(*overrides))
    first_look(experiment)
    before = copy.deepcopy(experiment.players.generator.net.state_dict())
    first, position = experiment.schedule.next_turn(experiment.step, experiment.epoch), 0
    for turn in (first, Turn(1, 1), Turn(1, 1, g_first=True)):
        position = experiment.step.play(turn, position)
    assert experiment.step.finite.first_bad() is None
    after = experiment.players.generator.net.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def test_grids_show_both_directions_and_the_translations_back(config_with):
    config = config_with("trainer.sample_columns=13")
    experiment = build(config)
    assert experiment.grid_columns == 12
    sampler = experiment.sampler
    inputs = sampler.for_grid("a test", 5, 12)
    cells = sampler.cells(inputs).unflatten(0, (5, 6))
    g = sampler.net.eval()
    with torch.no_grad():
        source, target = inputs.conditions[SOURCE], inputs.conditions[TARGET]
        there, back = g.to_images(source), g.to_sources(target)
        expected = [source, there, g.to_sources(there), target, back, g.to_images(back)]
    torch.testing.assert_close(cells, torch.stack(expected, 1))
    held_out = load_images(config, split="test", limit=None)
    known = {image.numpy().tobytes() for image in held_out.batch(torch.arange(len(held_out))).as_float().images}
    assert all(image.numpy().tobytes() in known for image in target)
    (drawn,) = sampler.draw(sampler.like_data("another", 7))
    assert {SOURCE, TARGET, TRUTH, DRAWN_SOURCE, CYCLED, CYCLED_TARGET} <= drawn.conditions.keys()
    assert torch.equal(drawn.conditions[TRUTH], drawn.conditions[TARGET]), "of made domains partners are known"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["data=digits"], "game=cycle learns to draw the images of two domains from each other, but this"),
        (["data=paired"], "game=cycle learns to draw the images of two domains from each other, but this"),
        (["game=paired"], "game=paired learns to draw one image of a pair from the other, but this"),
        (["model=keras_mlp"], "has no parameter source_shape, where this game needs a"),
    ],
)
def test_incompatible_settings_are_refused_with_what_to_type(config_with, overrides, problem):
    with pytest.raises(UserError, match=problem):
        build(config_with(*overrides))


def test_g_cannot_be_updated_first_with_the_latents_of_d():
    with pytest.raises(UserError, match="plays before D"):
        Alternating(1, 1, 0, same_latents=True, g_first=True)
    assert str(Turn(2, 1, g_first=True)) == "1 x G, 2 x D"
