"""Numbers by class: what healthy pictures have, and faults that were planted."""

import dataclasses

import pytest
import torch

from gan_runner.data import InMemoryImages
from gan_runner.metrics.by_class import ByClass, OfOneClass, by_class

CPU = torch.device("cpu")


def measured(metrics, images, label):
    return by_class(metrics.extractor(images), label, metrics, 1000)


@pytest.fixture
def held_out(halves):
    """Pictures that might have been drawn, with their classes."""
    return halves[1].images.clone(), halves[1].labels.clone()


def test_real_pictures_are_recognised_cover_their_classes_and_nothing_is_found(bound, held_out):
    found = measured(bound, *held_out)
    assert found.accuracy == pytest.approx(found.real_accuracy)
    assert found.accuracy > 0.9
    assert [sum(row) for row in found.recognised] == held_out[1].bincount().tolist()
    assert sum(found.recognised[number][number] for number in range(10)) == round(found.accuracy * len(held_out[1]))
    for drawn, real in zip(found.drawn, found.real, strict=True):
        assert drawn == real
        assert drawn.coverage > 0.6
        assert 0.5 < drawn.spread < 2
    assert found.findings == []


@pytest.mark.parametrize("seed", range(3))
def test_classes_that_are_shuffled_or_cut_off_are_ignored(bound, held_out, seed):
    images, label = held_out
    shuffled = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))]
    first, *_ = measured(bound, images, shuffled).findings
    assert first.startswith("Classes are ignored: ")
    assert "where chance gives 10.1%" in first


@pytest.mark.parametrize("number", [0, 7])
def test_a_class_of_which_one_picture_is_drawn_has_collapsed_and_is_named(bound, held_out, number):
    images, label = held_out
    mine = (label == number).nonzero()[:, 0]
    images[mine] = images[mine[0]].clone()
    (finding,) = measured(bound, images, label).findings
    assert finding.startswith(f"Class {number} has collapsed: its images vary 0.0% as much")


def found_with(accuracy, real_accuracy, count=1000):
    def of_all(share):
        return [OfOneClass(count, share, 1.0, 0.9, 1.0)] * 2

    return ByClass(("a", "b"), of_all(accuracy), of_all(real_accuracy), [[1, 0], [0, 1]])


def test_classes_that_are_easier_to_recognise_than_real_ones_are_named_beyond_chance():
    (finding,) = found_with(0.99, 0.92).findings
    assert "easier to recognise than in real images, 99.0% against 92.0%" in finding
    assert not found_with(0.93, 0.92).findings
    assert not found_with(0.99, 0.92, count=30).findings, "of so few it may be chance"


def test_the_accuracy_of_real_pictures_is_weighted_as_the_generated_classes_are():
    drawn = [OfOneClass(30, 1.0, None, None, None), OfOneClass(10, 0.5, None, None, None)]
    real = [OfOneClass(100, 0.8, None, None, None), OfOneClass(900, 0.4, None, None, None)]
    found = ByClass(("a", "b"), drawn, real, [[30, 0], [5, 5]])
    assert found.accuracy == pytest.approx(0.875)
    assert found.real_accuracy == pytest.approx(0.7)


def test_too_few_pictures_of_a_class_have_no_distance_and_none_at_all_no_accuracy(bound, held_out):
    images, label = held_out
    few = torch.cat([(label == 0).nonzero()[:3, 0], (label == 1).nonzero()[:, 0]])
    found = measured(bound, images[few], label[few])
    assert found.drawn[0].count == 3
    assert (found.drawn[0].frechet, found.drawn[0].coverage, found.drawn[2].accuracy) == (None, None, None)
    assert found.drawn[1].frechet is not None
    assert set(found.as_dict()["classes"]) == {str(number) for number in range(10)}


def test_where_the_extractor_does_not_know_the_classes_there_are_no_numbers_by_class(bound, held_out):
    images, label = held_out
    seen = dataclasses.replace(bound.extractor(images), probabilities=None)
    assert by_class(seen, label, bound, 100) is None
    assert isinstance(bound.training, InMemoryImages)
