import json
import math
from functools import partial

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.metrics import Evaluation
from gan_runner.metrics.diversity import diversity, mean_pairwise_distance
from gan_runner.metrics.sliced_wasserstein import sliced_wasserstein
from tests.command_line import QUICK, gan_run, only_run


def distance(real, fake, projections=64, seed=0):
    return sliced_wasserstein(real, fake, projections=projections, seed=seed).item()


# ---- sliced Wasserstein -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.25, -0.5])
def test_in_one_dimension_sets_that_are_shifted_are_as_far_apart_as_the_shift(shift):
    # An image of one pixel has only the lines 1 and -1.
    pixels = torch.rand(50, 1, 1, 1)
    assert distance(pixels, pixels[torch.randperm(50)] + shift) == pytest.approx(abs(shift), rel=1e-5)


def test_in_one_dimension_the_distance_is_that_of_the_cheapest_pairing():
    real, fake = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, -1.0, 1.0])
    assert distance(real.view(3, 1, 1, 1), fake.view(3, 1, 1, 1)) == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 4)])
def test_a_shift_of_every_pixel_is_seen_as_the_mean_length_of_its_shadows(shape):
    """The mean of |u . c 1| over unit vectors u in n dimensions is c sqrt(n) Gamma(n/2) / (sqrt(pi) Gamma((n+1)/2))."""
    n, c, projections = math.prod(shape), 0.3, 20_000
    mean = c * math.sqrt(n) * math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)
    images = torch.rand(3, *shape)
    # |u . c 1| has the second moment c^2, which bounds its variance.
    assert distance(images, images + c, projections) == pytest.approx(mean, abs=5 * c / math.sqrt(projections))


def test_sets_of_the_same_images_are_at_no_distance_in_whatever_order():
    images = torch.rand(30, 3, 4, 4)
    assert distance(images, images) == 0.0
    assert distance(images, images[torch.randperm(30)]) == pytest.approx(0.0, abs=1e-6)


def test_the_distance_is_symmetric_grows_with_the_images_and_keeps_the_triangle_inequality():
    a, b, c = torch.rand(3, 20, 1, 4, 4)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-6)
    assert distance(2 * a, 2 * b) == pytest.approx(2 * distance(a, b), rel=1e-5)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-6


def test_every_evaluation_looks_along_the_same_lines_and_takes_no_random_numbers_from_the_run():
    a, b = torch.rand(2, 20, 1, 4, 4)
    before = torch.get_rng_state()
    assert distance(a, b, seed=1) == distance(a, b, seed=1)
    assert distance(a, b, seed=1) != distance(a, b, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


# ---- diversity --------------------------------------------------------------------------------------------


def test_the_mean_pairwise_distance_leaves_out_each_images_distance_from_itself():
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]).view(3, 1, 1, 2)
    assert mean_pairwise_distance(corners).item() == pytest.approx((3 + 4 + 5) / 3)


def test_a_set_is_as_diverse_as_itself_and_a_set_of_half_the_spread_half_as_much():
    images = torch.rand(20, 1, 4, 4)
    assert diversity(images, images).item() == 1.0
    assert diversity(images, images[torch.randperm(20)]).item() == pytest.approx(1.0)
    assert diversity(images, 0.5 * images + 0.2).item() == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, 0.9, -1.0])
def test_the_same_picture_over_and_over_has_no_diversity_to_the_bit(value):
    noise = torch.rand(1, 1, 8, 8) + value
    assert diversity(torch.rand(20, 1, 8, 8), noise.expand(20, -1, -1, -1)).item() == 0.0


def test_generated_images_may_be_fewer_than_real_ones():
    real = torch.rand(40, 1, 4, 4)
    expected = mean_pairwise_distance(real[:10]) / mean_pairwise_distance(real)
    assert diversity(real, real[:10]).item() == expected.item()


# ---- Evaluation -------------------------------------------------------------------------------------------


def evaluation(objective="one", goal="lower", metrics=None):
    def count(real, fake, times):
        return torch.tensor(float(times * (len(real) - len(fake))))

    named = {"one": partial(count, times=1), "two": partial(count, times=2)}
    return Evaluation(1, 10, named if metrics is None else metrics, objective, goal)


def test_an_evaluation_gives_each_metric_by_its_tag():
    both = evaluation()
    assert both.measure(torch.zeros(5, 1, 2, 2), torch.zeros(2, 1, 2, 2)) == {"metric/one": 3.0, "metric/two": 6.0}
    assert both.tags == ["metric/one", "metric/two"]
    assert evaluation("two").objective == "metric/two"


@pytest.mark.parametrize(
    ("goal", "value", "best", "improves"),
    [
        ("lower", 1.0, None, True),
        ("lower", 1.0, 2.0, True),
        ("lower", 2.0, 1.0, False),
        ("lower", 1.0, 1.0, False),
        ("lower", 1.0, 0.0, False),
        ("higher", 2.0, 1.0, True),
        ("higher", 1.0, 2.0, False),
        ("higher", 1.0, 1.0, False),
        ("higher", -1.0, None, True),
        ("lower", math.nan, None, False),
        ("lower", math.nan, 1.0, False),
        ("higher", math.nan, 1.0, False),
    ],
)
def test_an_objective_improves_when_it_beats_the_best_and_no_number_never_does(goal, value, best, improves):
    assert evaluation(goal=goal).improves(value, best) is improves


RETURNED = """from pathlib import Path
from hydra.experimental.callback import Callback

class Note(Callback):
    def on_job_end(self, config, job_return, **_):
        Path("returned").write_text(str(job_return.return_value))
"""


@pytest.mark.parametrize(("goal", "sign"), [("lower", 1), ("higher", -1)])
def test_a_run_returns_its_objective_so_that_lower_is_better_whatever_the_goal(tmp_path, monkeypatch, goal, sign):
    (tmp_path / "returned_note.py").write_text(RETURNED)
    monkeypatch.syspath_prepend(str(tmp_path))
    what = ["evaluation.objective=diversity", f"evaluation.goal={goal}"]
    result = gan_run(tmp_path, *QUICK, *what, "+hydra.callbacks.note._target_=returned_note.Note")
    assert result.code == 0, result.text
    measured = json.loads((only_run(tmp_path) / "summary.json").read_text())["objective"]
    assert float((tmp_path / "returned").read_text()) == sign * measured != 0


@pytest.mark.parametrize(("metrics", "names", "remedy"), [(None, "one, two", "one"), ({}, "", "sliced_wasserstein")])
def test_an_objective_that_is_not_measured_is_refused_with_those_that_are(metrics, names, remedy):
    with pytest.raises(UserError) as refusal:
        evaluation("fid", metrics=metrics)
    assert str(refusal.value) == (
        f"evaluation.objective is fid, but must be one of the metrics: {names}.\n  Try evaluation.objective={remedy}."
    )
