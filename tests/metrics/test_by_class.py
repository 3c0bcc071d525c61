"""Numbers by class: what healthy pictures have, and faults that were planted."""

import copy

import pytest
import torch
from hydra.utils import instantiate

from gan_runner import tags
from gan_runner.data import Batch, InMemoryImages
from gan_runner.health.symptoms import seen_at_once
from gan_runner.metrics.by_class import ByClass, OfOneClass, by_class
from gan_runner.metrics.report import report

CPU = torch.device("cpu")


def measured(metrics, images, label):
    return by_class(metrics.extractor(images), label, metrics, 1000)


@pytest.fixture
def said(compose_config):
    """What gan-eval says of numbers by class, with the thresholds of the config."""
    symptoms = {name: each for name, each in instantiate(compose_config().health.symptoms).items() if each is not None}
    return lambda found: seen_at_once(symptoms, found.judged)


@pytest.fixture
def held_out(halves):
    """Pictures that might have been drawn, with their classes."""
    return halves[1].images.clone(), halves[1].labels.clone()


def test_real_images_are_recognised_cover_their_classes_and_raise_no_alarm(bound, held_out, said):
    found = measured(bound, *held_out)
    assert found.accuracy == pytest.approx(found.real_accuracy)
    assert found.accuracy > 0.9
    assert [sum(row) for row in found.recognised] == held_out[1].bincount().tolist()
    assert sum(found.recognised[number][number] for number in range(10)) == round(found.accuracy * len(held_out[1]))
    for drawn, real in zip(found.drawn, found.real, strict=True):
        assert drawn == real
        assert drawn.coverage > 0.6
        assert 0.5 < drawn.spread < 2
    assert said(found) == []


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_are_shuffled_or_cut_off_are_reported_as_ignored(bound, held_out, said, seed):
    images, label = held_out
    shuffled = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))]
    (first,) = said(measured(bound, images, shuffled))
    assert first.startswith("classes_ignored: classes are ignored: ")
    assert "where chance gives 10.1%" in first


@pytest.mark.parametrize("number", [0, 7])
def test_a_class_with_one_image_is_reported_as_collapsed(bound, held_out, said, number):
    images, label = held_out
    mine = (label == number).nonzero()[:, 0]
    images[mine] = images[mine[0]].clone()
    (finding,) = said(measured(bound, images, label))
    assert finding == (
        f"class_collapsed: images of a class vary less than 15% as much as its real ones: {number} (0.0%)."
    )


def test_classes_with_other_shares_than_in_the_data_are_reported(bound, held_out, said):
    images, label = held_out
    few = (label >= 5).nonzero()[:, 0].split(10)[::10]
    rows = torch.cat([(label < 5).nonzero()[:, 0], *few]).sort().values
    (finding,) = said(measured(bound, images[rows], label[rows]))
    assert finding.startswith("class_shares: 3")
    assert "D learns how often a class comes instead of what it looks like" in finding


def of_counts(drawn, data):
    of_each = [OfOneClass(count, 0.9, None, None, None) for count in drawn]
    return ByClass([str(number) for number in range(len(drawn))], of_each, of_each, [], data)


def test_a_share_of_images_of_unwanted_classes_is_compared_with_chance():
    half_off = of_counts([500, 500], [1000, 0]).judged[tags.CLASS_SHARES_OFF]
    assert half_off == pytest.approx(0.5)
    assert of_counts([100, 100], [10, 10]).judged[tags.CLASS_SHARES_OFF] == 0.0
    generator = torch.Generator().manual_seed(0)
    data = [*range(1, 101)]
    drawn = [torch.multinomial(torch.tensor(data).double(), 1000, True, generator=generator) for _ in range(20)]
    offs = [of_counts(each.bincount(minlength=100).tolist(), data).judged[tags.CLASS_SHARES_OFF] for each in drawn]
    assert max(offs) < 0.05, "classes that are drawn at random, as often as in the data"
    even = of_counts([10] * 100, data).judged[tags.CLASS_SHARES_OFF]
    assert even > 0.1


def found_with(accuracy, real_accuracy, count=1000):
    def of_all(share):
        return [OfOneClass(count, share, 1.0, 0.9, 1.0)] * 2

    return ByClass(("a", "b"), of_all(accuracy), of_all(real_accuracy), [[1, 0], [0, 1]], [7, 7])


def test_classes_that_are_easier_to_recognise_than_real_ones_are_reported_if_significant(said):
    (finding,) = said(found_with(0.99, 0.92))
    assert "easier to recognise than in real images, 99.0% against 92.0%" in finding
    assert not said(found_with(0.93, 0.92))
    assert not said(found_with(0.99, 0.92, count=30)), "of so few it may be chance"


def test_labels_without_information_about_real_images_are_reported_instead_of_g(said):
    (finding,) = said(found_with(0.5, 0.51))
    assert finding.startswith("odd_labels: the labels do not fit the real images: ")
    assert "recognises 51.0% of others, where chance gives 50.0%" in finding


def test_the_accuracy_of_real_images_is_weighted_by_the_generated_classes():
    drawn = [OfOneClass(30, 1.0, None, None, None), OfOneClass(10, 0.5, None, None, None)]
    real = [OfOneClass(100, 0.8, None, None, None), OfOneClass(900, 0.4, None, None, None)]
    found = ByClass(("a", "b"), drawn, real, [[30, 0], [5, 5]], [3, 1])
    assert found.accuracy == pytest.approx(0.875)
    assert found.real_accuracy == pytest.approx(0.7)


def test_alarms_compare_only_classes_that_have_real_images():
    """A class without real images beside it, which may be the easiest, neither raises nor lowers the accuracy."""
    drawn = [OfOneClass(100, 0.6, None, None, None), OfOneClass(300, 1.0, None, None, None)]
    real = [OfOneClass(50, 0.6, None, None, None), OfOneClass(0, None, None, None, None)]
    judged = ByClass(("a", "b"), drawn, real, [[60, 40], [0, 300]], [1, 3]).judged
    assert judged[tags.CLASS_ACCURACY] == pytest.approx(0.6)
    assert judged[tags.CLASS_ACCURACY_REAL] == pytest.approx(0.6)
    assert judged[tags.CLASS_CHANCE] == pytest.approx(0.25)
    assert judged[tags.CLASS_ERROR] == pytest.approx((0.24 * (1 / 100 + 1 / 50)) ** 0.5)


@pytest.mark.parametrize("real_counts", [(500, 500), (990, 10), (100, 400)])
def test_the_error_of_the_difference_is_that_of_class_weighted_accuracies(real_counts):
    counts = (200, 200)
    generator = torch.Generator().manual_seed(0)

    def drawn(counts):
        return [torch.rand(20000, count, generator=generator).lt(0.7).double().mean(1) for count in counts]

    differences = sum((a - b) / 2 for a, b in zip(drawn(counts), drawn(real_counts), strict=True))
    of_all = [[OfOneClass(count, 0.7, None, None, None) for count in each] for each in (counts, real_counts)]
    judged = ByClass(("a", "b"), *of_all, [[140, 60], [60, 140]], [1, 1]).judged
    assert judged[tags.CLASS_ERROR] == pytest.approx(float(differences.std()), rel=0.03)


def test_a_class_with_too_few_images_has_no_distance_and_without_images_no_accuracy(bound, held_out):
    images, label = held_out
    few = torch.cat([(label == 0).nonzero()[:3, 0], (label == 1).nonzero()[:, 0]])
    found = measured(bound, images[few], label[few])
    assert found.drawn[0].count == 3
    assert (found.drawn[0].frechet, found.drawn[0].coverage, found.drawn[2].accuracy) == (None, None, None)
    assert found.drawn[1].frechet is not None
    assert set(found.as_dict()["classes"]) == {str(number) for number in range(10)}
    spreads = {tag for tag in found.judged if tag.startswith(f"{tags.CLASS_SPREAD}/")}
    assert spreads == {f"{tags.CLASS_SPREAD}/1"}, "of the others there are too few"


def test_a_class_without_held_out_images_has_no_real_values_and_the_table_says_so(metrics_of, halves):
    training, held_out = halves
    rows = (held_out.labels != 4).nonzero()[:, 0]
    metrics = metrics_of()
    metrics.bind(
        training, InMemoryImages("digits", held_out.images[rows], held_out.labels[rows], held_out.classes), CPU
    )
    found = report(training.images, metrics, 448, 0, average=None, checkpoint=None, label=training.labels)
    assert found.by_class.real[4] == OfOneClass(0, None, None, None, None)
    assert found.by_class.drawn[4].frechet is not None
    assert "No images are held out of 4, so there are no values in brackets." in found.table()
    assert found.by_class.real_accuracy > 0.9


def test_evaluations_measure_by_class_as_gan_eval_does_but_only_for_conditional_games(bound, batches, held_out):
    images, label = held_out
    real = bound.statistics(batches(bound.training.images))
    numbers = bound.measure(batches(images), real)
    assert bound.for_alarms(numbers, 448).keys() == {"coverage", "classes"}
    drawn = [Batch(images[:200], {"label": label[:200]}), Batch(images[200:], {"label": label[200:]})]
    numbers = bound.measure(drawn, real)
    bound.measure(batches(images), real)  # noise is measured after the images
    found = bound.for_alarms(numbers, 448)
    judged = by_class(bound.extractor(images), label, bound, len(label)).judged
    assert {f"judged/{name}": value for name, value in found.items() if name.startswith("class_")} == judged


def test_without_an_extractor_of_the_classes_there_are_no_numbers_by_class(metrics_of, learned, halves):
    like = copy.copy(learned)
    like.classes = 0
    metrics = metrics_of("fast", extractor=like)
    metrics.bind(*halves, CPU)
    images, label = halves[1].images, halves[1].labels
    assert by_class(metrics.extractor(images), label, metrics, 100) is None
    metrics.measure([Batch(images, {"label": label})], metrics.statistics([Batch(halves[0].images)]))
