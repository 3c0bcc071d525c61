import copy

import pytest
import torch
from torch import nn

from gan_runner.data import Batch
from gan_runner.games import Adversarial
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import Hinge
from gan_runner.optim.averages import MovingAverage
from gan_runner.training.sampler import STATISTICS_OF, STATISTICS_TO_WATCH, Sampler

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


def test_latents_depend_on_purpose_number_and_seed():
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
def test_images_drawn_later_share_no_latent_with_the_runs_own(seed):
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


def test_drawing_uses_none_of_the_runs_random_numbers():
    sampler, before = sampler_of(), torch.get_rng_state()
    sampler.pictures(sampler.for_grid("fixed latents", 6, 3))
    sampler.draw(sampler.like_data("evaluation latents", 6))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grid_has_conditions_from_the_game_and_an_evaluation_those_of_the_data():
    sampler = sampler_of(game=Labelled)
    assert sampler.for_grid("fixed latents", 6, 2).conditions["label"].tolist() == [0, 0, 1, 1, 2, 2]
    assert sampler.like_data("evaluation latents", 9).conditions["label"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_images_come_in_batches_each_with_its_conditions():
    sampler = sampler_of(game=Labelled)
    inputs = sampler.like_data("evaluation latents", 700)
    drawn = sampler.draw(inputs)
    assert sum(len(batch) for batch in drawn) == 700
    assert max(len(batch) for batch in drawn) <= 256
    labels = torch.cat([batch.conditions["label"] for batch in drawn])
    assert torch.equal(labels, inputs.conditions["label"])
    by_hand = inputs.latents.view(-1, 1, 2, 2) + labels.float()[:, None, None, None]
    assert torch.equal(sampler.pictures(inputs), by_hand)


def test_the_first_inputs_belong_to_the_first_images():
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


# ---- a moving average -------------------------------------------------------------------------------------


def normed():
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (1, 2, 2)))


def averaged(average, game=Adversarial, given=examples, **settings):
    return Sampler(game(Normal(4, 1.0), Hinge(), None), average.net, given, 0, CPU, average, **settings)


def test_a_changed_average_draws_with_its_own_statistics_whatever_was_drawn_before():
    """So that a run that was interrupted, looked at more often or loaded draws the same pictures to the bit."""
    average, often = (MovingAverage(copy.deepcopy(net), 0.5) for net in [normed()] * 2)
    sampler, looked_at = averaged(average), averaged(often)
    inputs = sampler.for_grid("fixed latents", 40, 8)
    before = sampler.pictures(inputs)
    for _ in range(3):
        source = normed()
        for each in (average, often):
            each.update(source)
            each.statistics_of = 0
        looked_at.pictures(inputs)
    drawn = sampler.pictures(inputs)
    assert torch.equal(drawn, looked_at.pictures(inputs))
    assert not torch.equal(drawn, before)
    given = average.net[0](sampler.like_data("batch norm's statistics", STATISTICS_OF).latents)
    torch.testing.assert_close(average.net[1].running_mean, given.mean(0))
    torch.testing.assert_close(average.net[1].running_var, given.var(0), rtol=1e-2, atol=0)


def test_computing_statistics_uses_none_of_the_runs_random_numbers_and_happens_once_per_change():
    average = MovingAverage(normed(), 0.5)
    average.statistics_of = 0
    sampler, before = averaged(average), torch.get_rng_state()
    sampler.refresh()
    average.net[1].running_mean.fill_(5.0)
    sampler.refresh()
    assert (average.net[1].running_mean == 5.0).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_statistics_of_few_images_for_monitoring_are_computed_again_for_drawing():
    average = MovingAverage(normed(), 0.5)
    average.statistics_of = 0
    drawing, watching = averaged(average), averaged(average, statistics_of=STATISTICS_TO_WATCH)
    means = []
    for sampler in (watching, drawing, watching):
        sampler.refresh()
        means.append(average.net[1].running_mean.clone())
    assert not torch.equal(means[0], means[1])
    assert torch.equal(means[1], means[2])


def test_statistics_of_a_conditional_g_use_conditions_as_frequent_as_in_the_data():
    class Noted(Labelled):
        seen = ()

        def generate(self, g, latents, conditions):
            Noted.seen = (*Noted.seen, *conditions["label"].tolist())
            return super().generate(g, latents, conditions)

    average = MovingAverage(normed(), 0.5)
    average.statistics_of = 0
    averaged(average, game=Noted).refresh()
    assert list(Noted.seen) == examples(STATISTICS_OF).conditions["label"].tolist()


def test_a_g_without_batch_norm_is_unchanged():
    def none(count):
        raise AssertionError

    average = MovingAverage(nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (1, 2, 2))), 0.5)
    average.statistics_of = 0
    averaged(average, game=Labelled, given=none).refresh()
    assert average.statistics_of == STATISTICS_OF
