"""The game of patches that are compared: its terms, what its players are given, and how it goes with all else."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from gan_runner.config.build import build
from gan_runner.data import Batch
from gan_runner.data.batch import SOURCE
from gan_runner.errors import UserError
from gan_runner.games import Contrast
from gan_runner.games.contrast import info_nce
from gan_runner.models.patch_features import WithPatchFeatures
from gan_runner.models.residual_translator import Generator
from gan_runner.objectives.losses import LeastSquares
from gan_runner.training.first_look import first_look
from gan_runner.training.schedules import Turn

SMALL = [
    *("experiment=fastcut", "model.width=4", "model.blocks=2", "data.limit=48", "data.image_size=16"),
    *("trainer.batch_size=4", "evaluation=pixels", "trainer.device=cpu", "trainer.precision=fp32"),
]
SHAPE = (1, 4, 4)


class Pixels(nn.Module):
    """Draws what it is given, times what it learns, and sees places of an image as a direction each."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, source):
        return self.factor * source

    def maps(self, images):
        return [images]

    def embedded(self, layer, features):
        return torch.cat([features.cos(), features.sin()], -1)


class Total(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, images):
        return self.weight * images.flatten(1).sum(1)


def game_of(labels, mirrored=False, weight=10.0, patches=16):
    return Contrast(LeastSquares(labels), None, None, (SHAPE, SHAPE), weight, 0.07, patches, mirrored)


def test_info_nce_is_the_cross_entropy_of_the_matching_key_in_float64():
    queries, keys = (normalize(torch.randn(2, 5, 3, dtype=torch.float64), dim=-1) for _ in range(2))
    expected = []
    for query, key in zip(queries, keys, strict=True):
        for row in range(5):
            cosines = [float(query[row] @ key[other]) / 0.07 for other in range(5)]
            expected.append(math.log(sum(map(math.exp, cosines))) - cosines[row])
    assert float(info_nce(queries, keys, 0.07)) == pytest.approx(sum(expected) / len(expected))
    assert float(info_nce(keys.expand(2, -1, -1), torch.ones_like(keys), 0.07)) == pytest.approx(math.log(5))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_copy_matches_its_own_place_even_if_the_source_is_mirrored(hard_labels, mirrored):
    torch.manual_seed(0)
    source = torch.linspace(0, 6, 16, dtype=torch.float64).view(1, 1, 4, 4)
    real = Batch(source.clone(), {SOURCE: source})
    game = game_of(hard_labels, mirrored)
    terms = [game.g_terms(Total(), g, torch.zeros(1, 0), real).terms for g in (Pixels(), Pixels(-1.0))]
    own, other = (float(each["contrast"].detach()) / 10 for each in terms)
    embedded = torch.stack([source.flatten().cos(), source.flatten().sin()], 1)[None].float()
    assert own == pytest.approx(float(info_nce(embedded, embedded, 0.07)), rel=1e-5)
    assert other > 2 * own


def test_the_comparison_trains_only_g_and_its_heads():
    torch.manual_seed(0)
    g = WithPatchFeatures(Generator((1, 16, 16), (1, 16, 16), 4, 6, "instance", None), dim=8)
    maps = g.maps(torch.rand(2, 1, 16, 16))
    assert [each.shape[1] for each in maps] == g.net.channels_seen == [1, 8, 16, 16, 16]
    assert [each.shape[2] for each in maps] == [16, 8, 4, 4, 4]
    for layer, each in enumerate(maps):
        assert g.embedded(layer, each.flatten(2).transpose(1, 2)).shape == (2, each.shape[2] ** 2, 8)
    x = torch.rand(1, 1, 16, 16)
    assert torch.equal(g(x), g.net(x))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["penalty=r1", "loss=nonsaturating", "augment=diffaugment", "trainer.ema=0.9"],
        ["loss=relativistic", "trainer.precision=bf16", "data.image_size=28", "game.patches=32", "schedule.d_steps=2"],
    ],
    ids=lambda overrides: " ".join(overrides) or "as published",
)
def test_it_works_with_losses_penalties_and_schedules(compose_config, overrides):
    experiment = build(compose_config(*SMALL, *overrides))
    first_look(experiment)
    before = {name: value.clone() for name, value in experiment.players.generator.net.state_dict().items()}
    position = 0
    for turn in (Turn(1, 1), Turn(1, 1)):
        position = experiment.step.play(turn, position)
    assert experiment.step.finite.first_bad() is None
    after = experiment.players.generator.net.state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def test_grids_show_the_source_the_drawn_image_and_the_true_image_if_known(compose_config):
    experiment = build(compose_config(*SMALL))
    inputs = experiment.sampler.for_grid("a test", 4, 9)
    cells = experiment.sampler.cells(inputs).unflatten(0, (4, 3))
    assert torch.equal(cells[:, 0], inputs.conditions[SOURCE])
    assert torch.equal(cells[:, 1], experiment.sampler.pictures(inputs))
    all_train = build(compose_config(*SMALL, "data.holdout=0"))
    assert all_train.sampler.cells_of_a_picture == ("input", "output")
    assert len(all_train.sampler.cells(all_train.sampler.for_grid("a test", 4, 9))) == 8


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["data=paired"], "game=contrast learns to draw the images of one domain from another's, but this"),
        (["model=unet", "model.width=4"], r"does not tell what its encoder sees"),
    ],
)
def test_incompatible_settings_are_refused_with_what_to_type(compose_config, overrides, problem):
    small = [word for word in SMALL if word != "model.blocks=2"] if "model=unet" in overrides else SMALL
    with pytest.raises(UserError, match=problem):
        build(compose_config(*small, *overrides))


def test_domains_with_different_channels_are_refused(hard_labels):
    with pytest.raises(UserError, match=r"Give both as many, by data\.channels"):
        Contrast(LeastSquares(hard_labels), None, None, ((3, 4, 4), SHAPE), 1.0, 0.07, 16, mirrored=True)
