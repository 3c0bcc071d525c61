"""What is measured of two domains without pairs, on players whose numbers are known, and the alarms for bad ones."""

import pytest
import torch
from torch import nn

from gan_runner.data import Batch, InMemoryImages
from gan_runner.data.batch import IMAGE_LABEL, SOURCE, SOURCE_LABEL, TARGET, TRUTH
from gan_runner.data.transforms import inverted
from gan_runner.data.unpaired import Unpaired
from gan_runner.errors import UserError
from gan_runner.games import Cycle
from gan_runner.health.symptoms import HiddenInNoise, InputCopied, Moment, OneOutput
from gan_runner.metrics.features import Features
from gan_runner.metrics.pairs import UNCHANGED, baselines
from gan_runner.metrics.unpaired import UnpairedMetrics
from gan_runner.models.both_ways import Translators

CPU = torch.device("cpu")
COUNT = 40


class Levels:
    """Features are the means of the image's quarters; the class is whether the left half is the lighter one."""

    name, dim, classes, fingerprint = "levels", 4, 2, "levels"

    def __call__(self, images):
        floats = images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()
        quarters = nn.functional.adaptive_avg_pool2d(floats, 2).flatten(1)
        lighter = (quarters[:, 0] + quarters[:, 2] > quarters[:, 1] + quarters[:, 3]).long()
        return Features(quarters, nn.functional.one_hot(lighter, 2).float())


def levels(images, device):
    return Levels()


def two_sets(count=COUNT, classes=("right", "left")):
    """Images with one lighter half, and others that are the same, inverted: then the other half is the lighter one."""
    torch.manual_seed(0)
    images = torch.randint(0, 100, (2 * count, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(2 * count) % 2
    images[labels == 1, :, :, :4] += 120
    images[labels == 0, :, :, 4:] += 120
    a, b = images[:count], inverted(images[count:])
    return (
        InMemoryImages("a", a, labels[:count] if classes else None, classes),
        InMemoryImages("b", b, labels[count:] if classes else None, classes),
    )


def domains(partners=False, classes=("right", "left")):
    a, b = two_sets(classes=classes)
    if partners:
        b = InMemoryImages("b", inverted(a.images), a.labels, a.classes)
    return Unpaired("two", b, a, partners=partners)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def negative(images):
    return -images


def measured(there, back, *, partners=True, both_ways=True, classes=("right", "left")):
    """The numbers of two functions as generators, the metrics, and what was drawn."""
    metrics = UnpairedMetrics(levels, 3, 0, both_ways)
    training, held_out = domains(classes=classes), domains(partners, classes)
    metrics.bind(training, held_out, CPU)
    real = held_out.batch(torch.arange(COUNT)).as_float()
    game = Cycle.__new__(Cycle)
    drawn = game.generate(
        Translators(Function(there), Function(back)), torch.zeros(COUNT, 0), {**real.conditions, TARGET: real.images}
    )
    batches = [Batch(drawn.images, drawn.conditions)]
    statistics = metrics.statistics(training.batch(part).as_float() for part in torch.arange(COUNT).split(16))
    return metrics.measure(batches, statistics), metrics, batches, statistics


def test_the_true_translation_has_the_best_numbers_in_both_directions():
    numbers, metrics, *_ = measured(negative, negative)
    assert numbers.keys() == metrics.numbers.keys()
    for way in ("", "_back"):
        assert numbers[f"l1{way}"] == pytest.approx(0, abs=1e-6)
        assert numbers[f"ssim{way}"] == pytest.approx(1)
        assert numbers[f"cycle_l1{way}"] == pytest.approx(0, abs=1e-6)
        assert 0 < numbers[f"cycle_noise_l1{way}"] <= 1 / 127.5 + 1e-6
        assert numbers[f"variety{way}"] == pytest.approx(1)
        assert numbers[f"coverage_levels{way}"] > 0.5
    assert numbers["classes_kept"] == 0, "this classifier takes what is inverted for the other class"
    assert numbers["classes_kept_back"] == 1
    mean = (numbers["frechet_levels"] + numbers["frechet_levels_back"]) / 2
    assert numbers["frechet_levels_both"] == pytest.approx(mean)


def test_numbers_of_unchanged_inputs_are_those_of_the_baseline():
    same = lambda images: images  # noqa: E731
    numbers, metrics, batches, statistics = measured(same, same)
    assert (numbers["change"], numbers["change_back"]) == (0, 0)
    assert numbers["classes_kept"] == 1
    beside = baselines(batches, torch.zeros(1, 8, 8))
    assert beside.keys() == {UNCHANGED}
    of_baseline = metrics.measure(beside[UNCHANGED], statistics)
    for name in ("frechet_levels", "coverage_levels_back", "l1", "l1_back", "classes_kept", "cycle_l1", "variety"):
        assert of_baseline[name] == pytest.approx(numbers[name])
    assert of_baseline["cycle_noise_l1"] == pytest.approx(1 / 127.5, rel=1e-3)
    other, *_ = measured(negative, negative)
    assert other["frechet_levels_both"] < 0.1 * numbers["frechet_levels_both"]


def test_metrics_that_the_data_do_not_allow_are_not_listed():
    numbers, *_ = measured(negative, negative, partners=False, classes=())
    assert not {"l1", "ssim", "classes_kept"} & numbers.keys()
    numbers, *_ = measured(negative, negative, both_ways=False)
    assert not any(name.endswith("_back") or name.startswith("cycle") for name in numbers)
    assert "l1" in numbers


def test_real_images_are_measured_in_both_directions():
    _, metrics, _, statistics = measured(negative, negative)
    real, count = metrics.of_real(statistics, 30)
    assert count == 30
    assert {name for name, value in real.items() if value is not None} == {
        *("frechet_levels", "coverage_levels", "frechet_levels_back", "coverage_levels_back", "frechet_levels_both"),
        *("classes_kept", "classes_kept_back"),
    }
    assert (real["classes_kept"], real["classes_kept_back"]) == (0, 1), "as this classifier has it"


def hiding(images):
    """Draws one flat image, and hides what it was given in levels that nobody sees: below the 256 of a file."""
    return images / 127.5 / 4


def found(images):
    return (images * 127.5 * 4).clamp(-1, 1)


ALARMS = [InputCopied(0.02, 10), OneOutput(0.05, 10), HiddenInNoise(0.5, 10)]


@pytest.mark.parametrize(
    ("there", "back", "raised"),
    [
        (negative, negative, []),
        (lambda images: 0.999 * images, lambda images: images, ["InputCopied"]),
        (lambda images: torch.full_like(images, 0.3), negative, ["OneOutput"]),
        (hiding, found, ["HiddenInNoise", "OneOutput"]),
        (lambda images: -0.9 * images + 0.1 * images.roll(1, -1), negative, []),
    ],
    ids=["true", "identity", "one output", "steganography", "imperfect"],
)
def test_alarms_are_raised_by_injected_faults_only(there, back, raised):
    numbers, metrics, *_ = measured(there, back)
    point = {f"judged/{name}": value for name, value in metrics.for_alarms(numbers, COUNT).items()}
    now = Moment(100, 100, 100)
    assert sorted(type(alarm).__name__ for alarm in ALARMS if _seen(alarm, point, now)) == raised


def _seen(alarm, point, now):
    alarm.forget()
    return alarm.observe({tag: point[tag] for tag in alarm.tags}, now)


def test_other_data_and_other_games_are_refused():
    metrics = UnpairedMetrics(levels, 3, 0, both_ways=True)
    with pytest.raises(UserError, match="Try evaluation=fast, or data=unpaired"):
        metrics.bind(two_sets()[0], None, CPU)
    metrics.bind(domains(), None, CPU)
    with pytest.raises(UserError, match="Try evaluation=fast, or game=cycle"):
        metrics.measure([Batch(torch.zeros(4, 1, 8, 8))], {})


def test_conditions_of_both_sides_are_supported():
    conditions = domains(partners=True).conditions(torch.arange(3))
    assert conditions.keys() == {SOURCE, TRUTH, SOURCE_LABEL, IMAGE_LABEL}
