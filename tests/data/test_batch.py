import pytest
import torch

from gan_runner.data import Batch, as_float
from gan_runner.data.batch import joined

CPU = torch.device("cpu")


def batch_of(n, start=0):
    """n images of 1x2x2 whose pixels, class and source all tell their number."""
    numbers = torch.arange(start, start + n)
    pixels = numbers.to(torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 2).clone()
    return Batch(pixels, {"label": numbers * 10, "source": pixels + 100})


def numbers_of(batch):
    """The number of each image, which every part of the batch must agree on."""
    numbers = batch.images[:, 0, 0, 0].long()
    assert torch.equal(batch.images, numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2))
    assert torch.equal(batch.conditions["label"], numbers * 10)
    assert torch.equal(batch.conditions["source"], batch.images + 100)
    assert [name for name, _ in batch.parts()] == ["images", "label", "source"]
    return numbers.tolist()


def test_rows_are_selected_from_images_and_conditions_alike_repeatedly_and_in_any_order():
    assert numbers_of(batch_of(5).rows(torch.tensor([4, 0, 4]))) == [4, 0, 4]


@pytest.mark.parametrize(
    ("count", "first"), [(1, [0]), (3, [0, 1, 2]), (5, [0, 1, 2, 0, 1]), (7, [0, 1, 2, 0, 1, 2, 0])]
)
def test_the_first_images_are_repeated_if_there_are_fewer(count, first):
    assert numbers_of(batch_of(3).first(count)) == first


@pytest.mark.parametrize(
    ("size", "parts"), [(2, [[0, 1], [2, 3], [4]]), (5, [[0, 1, 2, 3, 4]]), (9, [[0, 1, 2, 3, 4]])]
)
def test_a_batch_is_split_into_parts_of_which_the_last_may_be_smaller(size, parts):
    assert [numbers_of(part) for part in batch_of(5).split(size)] == parts


def test_parts_are_views_so_that_a_recorded_step_finds_its_images():
    batch = batch_of(4)
    second = list(batch.split(2))[1]
    batch.fill_from(batch_of(4, start=50), torch.arange(4))
    assert numbers_of(second) == [52, 53]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_parts_joined_are_the_batch(size):
    assert numbers_of(joined(list(batch_of(5).split(size)))) == [0, 1, 2, 3, 4]


def test_batches_without_conditions_are_joined_too():
    whole = joined([Batch(torch.zeros(2, 1, 2, 2)), Batch(torch.ones(1, 1, 2, 2))])
    assert (len(whole), whole.conditions) == (3, {})


def test_an_empty_copy_of_a_batch_has_the_same_kind_and_leaves_the_first_unchanged():
    batch = batch_of(3)
    like = batch.like(7, CPU)
    for (name, one), (other_name, other) in zip(batch.parts(), like.parts(), strict=True):
        assert (name, one.dtype, one.shape[1:]) == (other_name, other.dtype, other.shape[1:])
        assert len(other) == 7
    like.fill_from(batch_of(7, start=20), torch.arange(7))
    assert numbers_of(batch) == [0, 1, 2]


def test_a_batch_is_filled_in_pieces_in_place():
    out = batch_of(1).like(5, CPU)
    places = [tensor.data_ptr() for _, tensor in out.parts()]
    out.fill_from(batch_of(9), torch.tensor([8, 1]))
    out.fill_from(batch_of(9), torch.tensor([3, 3, 0]), start=2)
    assert numbers_of(out) == [8, 1, 3, 3, 0]
    assert [tensor.data_ptr() for _, tensor in out.parts()] == places


def test_images_become_floats_and_other_conditions_stay():
    decoded = batch_of(3).as_float()
    assert torch.equal(decoded.images, as_float(batch_of(3).images))
    assert torch.equal(decoded.conditions["source"], as_float(batch_of(3).conditions["source"]))
    assert torch.equal(decoded.conditions["label"], batch_of(3).conditions["label"])
    again = decoded.as_float()
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(decoded.parts(), again.parts(), strict=True))


def test_the_length_of_a_batch_is_its_number_of_images():
    assert len(batch_of(4)) == 4
    assert len(Batch(torch.empty(0))) == 0
