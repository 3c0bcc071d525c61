import math

import pytest
import torch

from gan_runner.config.build import build
from gan_runner.errors import UserError
from gan_runner.training.log_point import LogPoint
from gan_runner.training.progress import Progress
from gan_runner.training.schedules import Turn

SMALL = (
    "data.limit=40",
    "data.image_size=8",
    "trainer.batch_size=8",
    "trainer.precision=fp32",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
    "health.pictures=16",
    "optimizer.lr=1e-2",
)


class Critic:
    """Wasserstein's: a score, and no probability."""

    classifies = False

    def d(self, real_logits, fake_logits):
        return fake_logits.mean() - real_logits.mean()

    def g(self, fake_logits):
        return -fake_logits.mean()


class Course:
    """An experiment, how far it has come, and what measures it."""

    def __init__(self, compose_config, *overrides):
        self.experiment = build(compose_config(*SMALL, *overrides))
        fixed = self.experiment.sampler.for_grid("fixed latents", 16, 4)
        self.measured = LogPoint(self.experiment, fixed)
        self.progress = Progress()

    def play(self, turns, turn=None):
        for _ in range(turns):
            turn = turn or Turn(1, 1)
            self.progress.position = self.experiment.step.play(turn, self.progress.position)
            self.progress.advance(turn, self.experiment.settings.batch_size)

    def point(self):
        return self.measured.measure(self.progress)


@pytest.fixture
def course(compose_config):
    return lambda *overrides: Course(compose_config, *overrides)


def test_the_untrained_g_is_at_a_distance_of_1_from_the_data(course):
    assert course().point()["health/distance"] == 1.0


def test_data_that_equal_the_untrained_gs_images_leave_the_distance_without_a_number(course):
    each = course()
    each.measured._untrained["distance"] = 0.0
    assert math.isnan(each.point()["health/distance"])


def test_a_g_that_does_not_learn_stays_at_that_distance_and_one_that_does_leaves_it(course):
    standing, learning = course("optimizer.g.lr=0"), course()
    for each in (standing, learning):
        each.play(100)
    assert standing.point()["health/distance"] == 1.0
    assert learning.point()["health/distance"] < 0.9


def test_a_resumed_run_compares_with_the_g_that_it_began_with(course):
    first, second = course(), course("seed=1")
    first.play(50)
    second.measured.load_state_dict(first.measured.state_dict())
    assert second.measured.references == pytest.approx(first.measured.references | second.measured._comparison.data)
    assert second.measured.references["untrained/distance"] == first.measured.references["untrained/distance"]


def test_a_young_average_is_not_measured_in_place_of_g(course):
    each = course("trainer.ema=0.99", "trainer.ema_ramp_up=null")
    both = (each.experiment.sampler_of_g, each.experiment.sampler)
    for turns, judged in [(100, 0), (358, 0), (1, 1)]:  # 0.99 ^ 459 is the first power below 0.01
        each.play(turns)
        told = each.point()["health/distance"]
        drawn = [sampler.pictures(each.measured._fixed) for sampler in both]
        distances = [each.measured._comparison.measure(pictures)["distance"] for pictures in drawn]
        assert distances[0] != distances[1]
        assert told == distances[judged] / each.measured.references["untrained/distance"]


def test_measuring_uses_no_random_numbers_of_the_run_and_leaves_g_unchanged(course):
    each = course("model=dcgan", "model.generator.widths=[8,6,4]", "model.discriminator.widths=[4,6]")
    each.play(2)
    net = each.experiment.players.generator.net
    before = torch.get_rng_state(), {name: value.clone() for name, value in net.state_dict().items()}
    each.point()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert all(torch.equal(value, before[1][name]) for name, value in net.state_dict().items())
    assert net.training


def test_there_is_no_accuracy_of_logits_that_are_nan(course):
    each = course("labels.real.value=nan")
    each.play(3)
    point = each.point()
    accuracies = [value for tag, value in point.items() if tag.startswith("accuracy/")]
    assert len(accuracies) == 3
    assert all(math.isnan(value) for value in accuracies)


def test_speed_counts_the_images_of_both_networks_updates(course, monkeypatch):
    each = course("trainer.g_batch_size=24")
    monkeypatch.setattr("time.perf_counter", iter([100.0, 102.0, 103.0]).__next__)
    each.measured.look_away(each.progress)
    each.play(4)
    assert each.point()["speed/images_per_second"] == 4 * (8 + 24) / 2.0
    each.play(1, Turn(g_steps=1))  # as in rounds, where G alone was no image a second
    assert each.point()["speed/images_per_second"] == 24 / 1.0


def test_a_run_logs_its_progress_in_updates_too(course):
    each = course()
    each.play(2, Turn(3, 1))
    assert (each.progress.moment.iteration, each.progress.moment.d_steps, each.progress.moment.g_steps) == (2, 6, 2)


def test_a_schedule_that_does_not_fit_the_game_is_refused_before_training(course):
    critic = ("schedule=rounds", "loss=hinge", f"loss._target_={__name__}.Critic")
    with pytest.raises(UserError, match=r"schedule\.g_probability is 0\.5, but this loss does not classify"):
        course(*critic)
    each = course(*critic, "schedule.g_probability=null")
    each.play(2)
    assert "probability/fake" not in each.point()
