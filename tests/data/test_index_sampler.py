import pytest
import torch

from gan_runner.data import IndexSampler
from gan_runner.data.index_sampler import Share


def test_every_epoch_shows_each_image_once():
    order = IndexSampler(count=10, seed=1, replacement=False)
    for number in range(5):
        assert order.indices(number * 10, 10).sort().values.tolist() == list(range(10))


def test_epochs_and_seeds_differ():
    passes = [
        tuple(IndexSampler(50, seed, replacement=False).indices(start, 50).tolist())
        for seed in (0, 1)
        for start in (0, 50)
    ]
    assert len(set(passes)) == 4


@pytest.mark.parametrize("replacement", [False, True])
def test_the_stream_resumes_from_any_position(replacement):
    stream = IndexSampler(10, 3, replacement).indices(0, 60)
    for start in range(0, 40, 7):
        torch.testing.assert_close(IndexSampler(10, 3, replacement).indices(start, 17), stream[start : start + 17])


def test_an_earlier_position_gives_the_same_again():
    order = IndexSampler(10, 3, replacement=False)
    early = order.indices(5, 10)
    order.indices(500, 30)
    assert torch.equal(order.indices(5, 10), early)


@pytest.mark.parametrize("replacement", [False, True])
def test_half_of_each_epoch_is_mirrored_and_other_images_in_the_next(replacement):
    order = IndexSampler(1000, 0, replacement, views=2)
    passes = [order.indices(number * 1000, 1000) for number in range(3)]
    for indices in passes:
        assert 430 < (indices >= 1000).sum() < 570
        assert 0 <= indices.min() < indices.max() < 2000
    if not replacement:
        first, second = ((indices >= 1000)[(indices % 1000).argsort()] for indices in passes[:2])
        assert 430 < (first != second).sum() < 570


def test_drawing_with_replacement_repeats_and_misses_images():
    drawn = IndexSampler(1000, 0, replacement=True).indices(0, 1000)
    assert 600 < len(drawn.unique()) < 660  # 1 - 1/e of them
    assert drawn.dtype == torch.int64


def test_one_image_has_an_order_too():
    assert IndexSampler(1, 0, replacement=False).indices(3, 4).tolist() == [0, 0, 0, 0]


def test_a_stream_keeps_at_most_two_epochs():
    order = IndexSampler(10, 0, replacement=False)
    order.indices(0, 100)
    assert len(order._passes) == 2


def test_negative_seeds_are_valid():
    assert not torch.equal(
        IndexSampler(99, -1, replacement=False).of_pass(0), IndexSampler(99, 1, replacement=False).of_pass(0)
    )


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_processes_take_alternate_positions_of_the_order_across_epochs(size, start):
    whole = IndexSampler(10, 3, replacement=False).indices(start * size, 9 * size)
    for rank in range(size):
        share = IndexSampler(10, 3, False, Share(rank, size))
        assert torch.equal(share.indices(start, 9), whole[rank::size])
