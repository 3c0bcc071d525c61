import json
import math

import pytest
import torch

from gan_runner.data import Batch, IndexSampler, InMemoryImages, ResidentLoader
from gan_runner.errors import UserError
from gan_runner.metrics import Evaluation, RealImages
from gan_runner.metrics.diversity import Diversity, mean_pairwise_distance
from gan_runner.metrics.evaluation import NoEvaluation
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import cnn
from gan_runner.metrics.sliced_wasserstein import SlicedWasserstein
from tests.command_line import QUICK, gan_run, only_run


def measured(metric, real, fake):
    """The one number of a metric, from images as one batch."""
    (value,) = metric.measure([Batch(fake)], metric.statistics([Batch(real)])).values()
    return value


def distance(real, fake, projections=64, seed=0):
    return measured(SlicedWasserstein(projections=projections, seed=seed), real, fake)


def diversity(real, fake):
    return measured(Diversity(), real, fake)


# ---- sliced Wasserstein -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.25, -0.5])
def test_in_one_dimension_the_distance_of_shifted_sets_is_the_shift(shift):
    # An image of one pixel has only the lines 1 and -1.
    pixels = torch.rand(50, 1, 1, 1)
    assert distance(pixels, pixels[torch.randperm(50)] + shift) == pytest.approx(abs(shift), rel=1e-5)


def test_in_one_dimension_the_distance_is_that_of_the_cheapest_matching():
    real, fake = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([3.0, -1.0, 1.0])
    assert distance(real.view(3, 1, 1, 1), fake.view(3, 1, 1, 1)) == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 4)])
def test_the_distance_of_shifted_images_is_the_mean_length_of_the_shifts_projections(shape):
    """The mean of |u . c 1| over unit vectors u in n dimensions is c sqrt(n) Gamma(n/2) / (sqrt(pi) Gamma((n+1)/2))."""
    n, c, projections = math.prod(shape), 0.3, 20_000
    mean = c * math.sqrt(n) * math.exp(math.lgamma(n / 2) - math.lgamma((n + 1) / 2)) / math.sqrt(math.pi)
    images = torch.rand(3, *shape)
    # |u . c 1| has the second moment c^2, which bounds its variance.
    assert distance(images, images + c, projections) == pytest.approx(mean, abs=5 * c / math.sqrt(projections))


def test_sets_of_the_same_images_in_any_order_have_distance_zero():
    images = torch.rand(30, 3, 4, 4)
    assert distance(images, images) == 0.0
    assert distance(images, images[torch.randperm(30)]) == pytest.approx(0.0, abs=1e-6)


def test_the_distance_is_symmetric_scales_with_the_images_and_satisfies_the_triangle_inequality():
    a, b, c = torch.rand(3, 20, 1, 4, 4)
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-6)
    assert distance(2 * a, 2 * b) == pytest.approx(2 * distance(a, b), rel=1e-5)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-6


def test_every_evaluation_uses_the_same_projections_and_no_random_numbers_of_the_run():
    a, b = torch.rand(2, 20, 1, 4, 4)
    before = torch.get_rng_state()
    assert distance(a, b, seed=1) == distance(a, b, seed=1)
    assert distance(a, b, seed=1) != distance(a, b, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


# ---- diversity --------------------------------------------------------------------------------------------


def test_the_mean_pairwise_distance_excludes_an_images_distance_to_itself():
    corners = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]).view(3, 1, 1, 2)
    assert mean_pairwise_distance(corners).item() == pytest.approx((3 + 4 + 5) / 3)


def test_a_set_has_relative_diversity_one_and_a_set_of_half_the_spread_one_half():
    images = torch.rand(20, 1, 4, 4)
    assert diversity(images, images) == 1.0
    assert diversity(images, images[torch.randperm(20)]) == pytest.approx(1.0)
    assert diversity(images, 0.5 * images + 0.2) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, 0.9, -1.0])
def test_repeated_images_have_exactly_zero_diversity(value):
    noise = torch.rand(1, 1, 8, 8) + value
    assert diversity(torch.rand(20, 1, 8, 8), noise.expand(20, -1, -1, -1)) == 0.0


def test_generated_images_may_be_fewer_than_real_ones():
    real = torch.rand(40, 1, 4, 4)
    expected = mean_pairwise_distance(real[:10]) / mean_pairwise_distance(real)
    assert diversity(real, real[:10]) == expected.item()


@pytest.mark.parametrize("metric", [SlicedWasserstein(projections=16, seed=0), Diversity()])
@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_metric_does_not_depend_on_the_batches(metric, size):
    real, fake = torch.rand(2, 20, 1, 4, 4)
    whole = measured(metric, real, fake)
    statistics = metric.statistics(Batch(real).split(size))
    assert metric.names == tuple(metric.measure(Batch(fake).split(size), statistics))
    assert [*metric.measure(Batch(fake).split(size), statistics).values()] == pytest.approx([whole], rel=1e-5)


# ---- Evaluation -------------------------------------------------------------------------------------------


class Excess:
    """How many more real images there are than generated ones, times a factor; counts how often it is asked."""

    def __init__(self, name, times):
        self.names = (name,)
        self._times = times
        self.prepared = 0

    def statistics(self, real):
        self.prepared += 1
        return {"count": torch.tensor(sum(len(batch) for batch in real))}

    def measure(self, fake, real):
        return {self.names[0]: float(self._times * (real["count"] - sum(len(batch) for batch in fake)))}


def evaluation(objective="one", goal="lower", metrics=None, num_images=10):
    named = {"first": Excess("one", 1), "second": Excess("two", 2)}
    return Evaluation(1, num_images, named if metrics is None else metrics, objective, goal)


def real_images(seed=0, pixels=0):
    images = InMemoryImages("plain", torch.full((12, 1, 2, 2), pixels, dtype=torch.uint8), None, ())
    return RealImages(ResidentLoader(images, IndexSampler(12, 0, replacement=False), torch.device("cpu")), seed)


FAKE = [Batch(torch.zeros(4, 1, 2, 2)), Batch(torch.zeros(3, 1, 2, 2))]


def test_an_evaluation_gives_each_number_a_tag_with_the_number_of_images():
    both = evaluation()
    assert both.measure(real_images(), FAKE) == {"metric/one_10": 3.0, "metric/two_10": 6.0}
    assert both.tags == ["metric/one_10", "metric/two_10"]
    assert evaluation("two").objective == "metric/two_10"


@pytest.mark.parametrize(
    ("num_images", "written"), [(2, "2"), (999, "999"), (1000, "1k"), (1500, "1500"), (50_000, "50k")]
)
def test_thousands_are_abbreviated(num_images, written):
    assert evaluation(num_images=num_images).objective == f"metric/one_{written}"


def test_statistics_of_real_images_are_computed_once():
    metric = Excess("one", 1)
    evaluated = evaluation(metrics={"only": metric})
    for _ in range(3):
        assert evaluated.measure(real_images(), FAKE) == {"metric/one_10": 3.0}
    assert metric.prepared == 1
    evaluated.measure(real_images(seed=1), FAKE)
    assert metric.prepared == 2
    evaluated.measure(real_images(pixels=1), FAKE)
    assert metric.prepared == 3
    evaluated.measure(real_images(), FAKE)
    assert metric.prepared == 3


def test_two_metrics_keep_separate_statistics():
    metrics = {"first": SlicedWasserstein(4, seed=0), "second": SlicedWasserstein(8, seed=1), "third": Diversity()}
    kept = Evaluation(1, 7, metrics, "diversity", "higher")
    torch.manual_seed(0)
    fake = [Batch(torch.rand(7, 1, 2, 2))]
    images = InMemoryImages("noise", torch.randint(256, (12, 1, 2, 2), dtype=torch.uint8), None, ())
    real = RealImages(ResidentLoader(images, IndexSampler(12, 0, replacement=False), torch.device("cpu")), 0)
    first = kept.measure(real, fake)
    assert kept.measure(real, fake) == first
    alone = metrics["second"].measure(fake, metrics["second"].statistics(real.batches(7)))
    assert first["metric/sliced_wasserstein_7"] == alone["sliced_wasserstein"]


def test_real_images_are_floats_as_many_as_requested_and_always_the_same():
    real = real_images(pixels=255)
    batches = list(real.batches(12))
    assert sum(len(batch) for batch in batches) == 12
    assert all(torch.equal(batch.images, torch.ones_like(batch.images)) for batch in batches)
    assert sum(len(batch) for batch in real.batches(700)) == 700


def test_evaluation_that_is_off_measures_nothing_and_has_no_objective():
    off = NoEvaluation()
    assert off.measure(real_images(), FAKE) == {}
    assert (off.every, off.objective, off.goal, off.tags) == (None, None, None, [])


def test_values_are_comparable_only_if_objective_goal_and_number_of_images_are_the_same():
    same, *others = [
        evaluation(),
        evaluation("two"),
        evaluation(goal="higher"),
        evaluation(num_images=20),
        NoEvaluation(),
    ]
    assert same.fingerprint == evaluation().fingerprint
    assert all(other.fingerprint != same.fingerprint for other in others)
    assert json.loads(json.dumps(same.fingerprint)) == same.fingerprint


def test_values_are_comparable_only_if_the_metric_has_the_same_settings():
    def by(metric):
        return evaluation(metric.names[0], metrics={"only": metric}).fingerprint

    assert by(SlicedWasserstein(4, seed=0)) == by(SlicedWasserstein(4, seed=0))
    assert len({str(by(SlicedWasserstein(*how))) for how in ((4, 0), (8, 0), (4, 1))}) == 3


@pytest.mark.parametrize(("objective", "goal"), [("sliced_wasserstein", "higher"), ("coverage_cnn", "lower")])
def test_a_goal_opposite_to_a_numbers_better_side_is_refused(objective, goal):
    metrics = {"shadows": SlicedWasserstein(4, seed=0), "features": FeatureMetrics(cnn, ["coverage"], 5, seed=0)}
    right = {"higher": "lower", "lower": "higher"}[goal]
    with pytest.raises(UserError, match=f"(?s)evaluation.goal is {goal}.*Try evaluation.goal={right}"):
        Evaluation(1, 10, metrics, objective, goal)
    Evaluation(1, 10, metrics, objective, right)


class Neighbours(Excess):
    """One that has to know the data, as those on features have."""

    fewest = 6
    looks_at_held_out = False
    seen = None

    def bind(self, training, held_out, device, learn_from=None):
        self.seen = training

    @property
    def reference(self):
        return self.seen

    def of_real(self, statistics, most):
        return {"near": 0.5}, 3

    def fingerprint(self):
        return "fixed"

    def for_alarms(self, numbers, pictures):
        return {}


def test_few_real_images_are_each_used_once_where_neighbours_matter():
    # Or each would be its own nearest neighbour.
    metrics = {"near": Neighbours("near", 1), "any": Excess("any", 1)}
    both, real = evaluation("near", metrics=metrics, num_images=30), real_images()
    both.bind(real.images, None, torch.device("cpu"))
    assert both.real is None
    assert both.measure(real, FAKE) == {"metric/near_30": 12 - 7, "metric/any_30": 30 - 7}
    noise = both.real.noise["metric/near_30"]
    assert both.real.as_dict() == {
        "count": 3,
        "of": "train",
        "metrics": {"metric/near_30": 0.5},
        "noise": {"metric/near_30": noise},
    }
    assert both.real.beside("metric/near_30") == f"real images 0.5 (3 images), noise {noise:.3g}"
    assert both.scale == f"Near: lower is better; {both.real.beside('metric/near_30')}."
    assert both.real.beside("metric/any_30") == ""


def test_fewer_images_than_a_metric_needs_are_refused_before_training():
    few = InMemoryImages("few", torch.zeros(5, 1, 2, 2, dtype=torch.uint8), None, ())
    with pytest.raises(UserError, match=r"(?s)few has 5 images, but evaluation.metrics.near needs at least 6.*pixels"):
        evaluation("near", metrics={"near": Neighbours("near", 1)}).bind(few, None, torch.device("cpu"))


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
        ("lower", math.inf, None, False),
        ("lower", -math.inf, 1.0, False),  # nothing could beat it ever after
        ("higher", math.inf, 1.0, False),
        ("lower", math.nan, None, False),
        ("lower", math.nan, 1.0, False),
        ("higher", math.nan, 1.0, False),
    ],
)
def test_an_objective_improves_when_it_beats_the_best_and_nan_never_does(goal, value, best, improves):
    assert evaluation(goal=goal).improves(value, best) is improves


RETURNED = """from pathlib import Path
from hydra.experimental.callback import Callback

class Note(Callback):
    def on_job_end(self, config, job_return, **_):
        Path("returned").write_text(str(job_return.return_value))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("goal", "sign"), [("lower", 1), ("higher", -1)])
def test_a_run_returns_its_objective_so_that_lower_is_better_for_any_goal(tmp_path, monkeypatch, goal, sign):
    (tmp_path / "returned_note.py").write_text(RETURNED)
    monkeypatch.syspath_prepend(str(tmp_path))
    what = ["evaluation.objective=diversity", f"evaluation.goal={goal}"]
    result = gan_run(tmp_path, *QUICK, *what, "+hydra.callbacks.note._target_=returned_note.Note")
    assert result.code == 0, result.text
    measured = json.loads((only_run(tmp_path) / "summary.json").read_text())["objective"]
    assert float((tmp_path / "returned").read_text()) == sign * measured != 0


@pytest.mark.parametrize(
    ("objective", "metrics", "names", "remedy"),
    [("fid", None, "one, two", "one"), ("tow", None, "one, two", "two"), ("fid", {}, "", "frechet_cnn")],
)
def test_an_objective_that_is_not_measured_is_refused_with_the_measured_ones(objective, metrics, names, remedy):
    with pytest.raises(UserError) as refusal:
        evaluation(objective, metrics=metrics)
    assert str(refusal.value) == (
        f"evaluation.objective is {objective}, but must be one of the metrics: {names}.\n"
        f"  Try evaluation.objective={remedy}."
    )


class Bare:
    names = ("bare",)

    def statistics(self, real):
        return {}

    def measure(self, fake, real):
        return {"bare": 0.0}


def test_every_metric_of_the_package_says_which_way_is_better_and_so_does_the_objective():
    told = Evaluation(
        every=1,
        num_images=1000,
        metrics={"a": SlicedWasserstein(8, 0), "b": Diversity(), "c": Bare(), "d": Bare()},
        objective="bare",
        goal="higher",
    ).descriptions
    assert told["metric/sliced_wasserstein_1k"].startswith("Lower is better: ")
    assert told["metric/diversity_1k"].startswith("As varied as the real images at 1")
    assert told["metric/bare_1k"] == "Higher is better."
    assert NoEvaluation().descriptions == {}
