"""Classes to draw: as often as in the data, evenly, and as they are asked for."""

import pytest
import torch

from gan_runner.data import InMemoryImages
from gan_runner.data.classes import as_often, class_counts, classes_asked_for, evenly_many, with_few_images
from gan_runner.data.image_set import turns
from gan_runner.errors import UserError
from tests.plugins.translation import Pairs

NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress")


def test_classes_are_as_frequent_as_in_the_data():
    counts = (700, 0, 200, 100)
    assert as_often(counts, 10).bincount(minlength=4).tolist() == [7, 0, 2, 1]
    assert as_often(counts, 10_000).bincount(minlength=4).tolist() == [7000, 0, 2000, 1000]
    for count in (1, 3, 37):
        drawn = as_often(counts, count)
        assert len(drawn) == count
        exact = torch.tensor(counts) * count / 1000
        assert ((drawn.bincount(minlength=4) - exact).abs() < 1).all()


def test_classes_are_distributed_evenly_in_their_order():
    assert evenly_many([7, 3], 5).tolist() == [7, 7, 7, 3, 3]
    assert evenly_many(range(10), 4).tolist() == [0, 2, 5, 7]
    assert evenly_many(range(10), 64).bincount().tolist() == [7, 6, 7, 6, 6, 7, 6, 7, 6, 6]


def test_turns_count_earlier_images_of_the_same_class():
    assert turns(torch.tensor([2, 0, 2, 2, 0, 1])).tolist() == [0, 0, 1, 2, 1, 0]


def test_the_counts_of_a_set_come_from_its_labels_only():
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    labelled = InMemoryImages("some", images, torch.tensor([2, 0, 2, 2]), ("a", "b", "c"))
    assert class_counts(labelled) == (1, 0, 3)
    assert class_counts(InMemoryImages("some", images, None, ())) is None
    assert class_counts(Pairs("pairs", images, torch.tensor([0, 0, 0, 0]), ("a",))) is None, "more is known of each"


def test_a_class_is_chosen_by_name_or_number():
    assert classes_asked_for([3, "Trouser", "0"], NAMES) == [3, 1, 0]
    assert classes_asked_for("Dress", NAMES) == [3]
    assert classes_asked_for([7, 2], ("2", "7", "9")) == [1, 0], "a name comes first"


@pytest.mark.parametrize(
    ("asked", "said", "remedy"),
    [
        ([4], "classes has 4, but there are 4 classes, 0 to 3: T-shirt/top, Trouser", "Try 'classes=[Dress]'."),
        ("Trousers", "classes has Trousers", "Try 'classes=[Trouser]'."),
        ([-1], "classes has -1", "Try 'classes=[Dress]'."),
        ([], "classes is []", "Leave classes out"),
        *((word, f"classes has {word}", "Try classes=like_data.") for word in ("like_dat", "likedata", "Like_data")),
        (["like_data"], "classes has like_data", "Try classes=like_data."),
    ],
)
def test_an_unknown_class_is_refused_with_the_most_similar_possibility(asked, said, remedy):
    with pytest.raises(UserError) as refused:
        classes_asked_for(asked, NAMES)
    assert said in refused.value.problem
    assert remedy in refused.value.remedy


def test_classes_with_few_images_are_listed_with_the_smallest_first():
    assert with_few_images(["cat", "dog", "cow"], [50, 70, 1000]) == ""
    assert with_few_images(["cat", "dog", "cow"], [49, 70, 0]) == "cow (0), cat (49)"
    assert with_few_images(list("abcdefg"), [1] * 7) == "a (1), b (1), c (1), d (1), e (1) and 2 more"
