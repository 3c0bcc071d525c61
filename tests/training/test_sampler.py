import pytest
import torch
from torch import nn

from gan_runner.data import Batch
from gan_runner.games import Adversarial
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import Hinge
from gan_runner.training.sampler import Sampler

CPU = torch.device("cpu")


class Labelled(Adversarial):
    """G is given a class; a grid has one a row."""

    def generate(self, g, latents, conditions):
        assert conditions["label"].shape == (len(latents),)
        return Batch(g(latents) + conditions["label"].float()[:, None, None, None], dict(conditions))

    def grid_conditions(self, count, columns, examples):
        return {"label": torch.arange(count) // columns}


def examples(count):
    return Batch(torch.zeros(count, 1, 2, 2), {"label": torch.arange(count) % 7})


def sampler_of(net=None, seed=0, game=Adversarial):
    return Sampler(game(Normal(4, 1.0), Hinge(), None), net or nn.Unflatten(1, (1, 2, 2)), examples, seed, CPU)


def test_the_same_purpose_number_and_seed_give_the_same_latents_and_any_other_differ():
    ways = [
        (seed, purpose, number)
        for seed in (0, 1)
        for purpose in ("fixed latents", "fresh latents")
        for number in (0, 6)
    ]
    drawn = [sampler_of(seed=seed).for_grid(purpose, 5, 5, number).latents for seed, purpose, number in ways]
    again = [sampler_of(seed=seed).for_grid(purpose, 5, 5, number).latents for seed, purpose, number in ways]
    assert all(torch.equal(one, other) for one, other in zip(drawn, again, strict=True))
    assert len({tuple(latents.flatten().tolist()) for latents in drawn}) == len(ways)


@pytest.mark.parametrize("seed", [0, 1])
def test_pictures_that_are_asked_for_later_share_no_latent_with_the_runs_own(seed):
    """gan-sample's own purpose keeps its pictures apart from the run's grids and evaluations, whatever the seeds."""
    asked = sampler_of(seed=seed).for_grid("sampled latents", 100, 10).latents
    run = sampler_of(seed=1)
    own = [
        run.for_grid("fixed latents", 100, 10).latents,
        run.for_grid("fresh latents", 100, 10, 468).latents,
        run.like_data("evaluation latents", 100).latents,
    ]
    for latents in own:
        assert torch.cdist(asked, latents).min() > 1e-4


def test_drawing_takes_none_of_the_runs_random_numbers():
    sampler, before = sampler_of(), torch.get_rng_state()
    sampler.pictures(sampler.for_grid("fixed latents", 6, 3))
    sampler.draw(sampler.like_data("evaluation latents", 6))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grid_has_the_games_conditions_and_an_evaluation_those_of_the_data():
    sampler = sampler_of(game=Labelled)
    assert sampler.for_grid("fixed latents", 6, 2).conditions["label"].tolist() == [0, 0, 1, 1, 2, 2]
    assert sampler.like_data("evaluation latents", 9).conditions["label"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_pictures_come_in_batches_each_with_its_own_conditions():
    sampler = sampler_of(game=Labelled)
    inputs = sampler.like_data("evaluation latents", 700)
    drawn = sampler.draw(inputs)
    assert sum(len(batch) for batch in drawn) == 700
    assert max(len(batch) for batch in drawn) <= 256
    labels = torch.cat([batch.conditions["label"] for batch in drawn])
    assert torch.equal(labels, inputs.conditions["label"])
    by_hand = inputs.latents.view(-1, 1, 2, 2) + labels.float()[:, None, None, None]
    assert torch.equal(sampler.pictures(inputs), by_hand)


def test_the_first_inputs_are_those_of_the_first_pictures():
    inputs = sampler_of(game=Labelled).for_grid("fixed latents", 6, 2)
    first = inputs.first(3)
    assert torch.equal(first.latents, inputs.latents[:3])
    assert first.conditions["label"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("training", [True, False])
def test_a_network_draws_in_evaluation_mode_without_gradients_and_is_left_as_it_was(training):
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Unflatten(1, (1, 2, 2)))
    net.train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    sampler = sampler_of(net)
    inputs = sampler.for_grid("fixed latents", 5, 5)
    pictures = sampler.pictures(inputs)
    assert torch.equal(pictures, sampler.pictures(inputs))
    assert not pictures.requires_grad
    assert net.training is training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    alone = torch.cat([sampler.pictures(inputs.first(1)), pictures[1:]])
    torch.testing.assert_close(alone, pictures)  # a picture does not depend on what is drawn beside it
