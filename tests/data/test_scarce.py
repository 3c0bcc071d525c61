"""Sets with fewer images of some classes: which ones are kept, what is left, and what cannot be meant."""

import pytest
import torch

from gan_runner.data import InMemoryImages
from gan_runner.data.halves import EverySecond
from gan_runner.data.scarce import images_at, kept_and_held_back, with_scarce_classes
from gan_runner.data.some_images import SomeImages
from gan_runner.errors import UserError

CLASSES = ("shirt", "bag", "shoe")


def images(counts=(10, 20, 30), classes=CLASSES):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    pixels = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return InMemoryImages("some", pixels, labels, classes)


def counts_of(some):
    return some.labels.bincount(minlength=len(CLASSES)).tolist()


@pytest.mark.parametrize(
    ("scarce", "expected"),
    [
        ({1: 4}, [10, 4, 30]),
        ({"bag": 4, "0": 3}, [3, 4, 30]),
        ({"shoe": 30}, [10, 20, 30]),
        (0.5, [5, 10, 15]),
        (0.01, [1, 1, 1]),
        (None, [10, 20, 30]),
    ],
)
def test_each_class_keeps_the_requested_number_of_images(scarce, expected):
    assert counts_of(with_scarce_classes(images(), scarce)) == expected


def test_kept_and_held_back_images_are_all_images_without_overlap():
    kept, held_back = kept_and_held_back(images(), {1: 4, 2: 7})
    assert torch.cat([kept, held_back]).sort().values.tolist() == list(range(60))
    assert kept.tolist() == sorted(kept.tolist())


def test_a_smaller_number_keeps_a_subset_of_a_larger_one():
    few, more = (set(kept_and_held_back(images(), {2: count})[0].tolist()) for count in (5, 12))
    assert few < more


def test_a_set_that_is_not_in_memory_is_cut_too():
    """Its images, classes and fingerprint are those of the same images in memory, by their rows."""
    whole = images()
    streamed = EverySecond(whole, 0)
    cut = with_scarce_classes(streamed, {2: 3})
    assert isinstance(cut, SomeImages)
    rows = kept_and_held_back(streamed, {2: 3})[0]
    assert cut.pixels(torch.arange(len(cut))).equal(streamed.pixels(rows))
    assert cut.labels.equal(streamed.labels[rows])
    assert cut.conditions(torch.tensor([1]))["label"].equal(cut.labels[1:2])
    assert len({each.fingerprint for each in (cut, streamed, with_scarce_classes(streamed, {2: 4}))}) == 3
    assert (cut.name, cut.shape, cut.classes) == (streamed.name, streamed.shape, streamed.classes)


def test_rows_of_a_set_in_memory_stay_in_memory():
    assert isinstance(images_at(images(), torch.tensor([3, 5])), InMemoryImages)


@pytest.mark.parametrize(
    ("scarce", "problem", "remedy"),
    [
        ({"bagg": 4}, "data.scarce has bagg, but there are 3 classes", "Try 'data.scarce={bag: 4}'."),
        ({7: 4}, "data.scarce has 7, but there are 3 classes, 0 to 2", "Try 'data.scarce={shoe: 4}'."),
        ({"bag": 21}, "data.scarce keeps 21 images of class bag, but there are 20.", "Try 'data.scarce={bag: 10}'."),
    ],
)
def test_impossible_numbers_are_refused_with_possible_ones(scarce, problem, remedy):
    with pytest.raises(UserError) as refused:
        with_scarce_classes(images(), scarce)
    assert refused.value.problem.startswith(problem)
    assert refused.value.remedy == remedy


def test_images_without_classes_cannot_be_scarce_by_class():
    pixels = torch.zeros(3, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"data.scarce is given, but data=some has no classes"):
        with_scarce_classes(InMemoryImages("some", pixels, None, ()), 0.5)


def test_a_class_that_is_named_twice_is_refused():
    with pytest.raises(UserError, match="scarce has both bag and 1, which are one class"):
        with_scarce_classes(images(), {"bag": 4, 1: 6})
