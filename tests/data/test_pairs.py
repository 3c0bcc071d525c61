"""Pairs that are made of other sets: what becomes of an image, and how a pair goes through a run."""

from functools import partial

import pytest
import torch

from gan_runner.data import IndexSampler, InMemoryImages, ResidentLoader, StreamedLoader, digits, emoji
from gan_runner.data.batch import SOURCE
from gan_runner.data.halves import halves
from gan_runner.data.image_set import batch_of, checked_images, kind_of
from gan_runner.data.pairs import MadePairs, load
from gan_runner.data.splits import NoTestSplitError
from gan_runner.data.transforms import edges, grey, hole, low_resolution, with_channels
from gan_runner.errors import UserError

CPU = torch.device("cpu")


def pairs(dataset="digits", transform="edges", direction="AtoB", *, split="train", holdout=0.25, limit=None, size=16):
    return load(dataset, transform, direction, "nowhere", False, size, 3, limit, split, holdout)


def a_step():
    """An image that is black on its left and white on its right, uint8 [1, 1, 8, 8]."""
    image = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    image[..., 4:] = 255
    return image


def test_edges_are_black_lines_on_white_where_an_image_changes():
    lines = edges(a_step(), threshold=0.25)
    expected = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    expected[..., 3:5] = 0
    assert torch.equal(lines, expected)
    assert (edges(torch.full((1, 3, 8, 8), 90, dtype=torch.uint8), threshold=0.0) == 255).all()
    assert (edges(a_step(), threshold=1.0) == 255).all(), "no edge is steeper than from black to white"


def test_grey_is_the_luminance_of_each_colour():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    levels = grey(colours.view(4, 3, 1, 1)).flatten().tolist()
    assert levels == [76, 150, 29, 255]


def test_low_resolution_keeps_the_mean_and_a_flat_image():
    flat = torch.full((1, 3, 9, 7), 200, dtype=torch.uint8)
    assert torch.equal(low_resolution(flat, 4), flat)
    coarse = low_resolution(a_step(), 2)
    assert coarse.shape == (1, 1, 8, 8)
    assert abs(float(coarse.float().mean()) - 127.5) < 1
    assert len(coarse.unique()) > 2, "the edge has become a slope"


def test_a_hole_is_grey_and_the_rest_is_unchanged():
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    holed = hole(image, 0.5)
    assert (holed[..., 2:6, 2:6] == 128).all()
    changed = (holed != image).nonzero()
    assert changed[:, 2:].min() >= 2
    assert changed[:, 2:].max() < 6
    assert image[0, 0, 3, 3] == 27, "the image itself is not changed"


@pytest.mark.parametrize("floating", [False, True])
def test_channels_are_added_and_removed_with_white_for_transparency(floating):
    black, white = (-1.0, 1.0) if floating else (0, 255)
    kind = torch.float32 if floating else torch.uint8
    level = torch.full((1, 1, 2, 2), white, dtype=kind)
    assert (with_channels(level, 3) == white).all()
    assert (with_channels(level, 4)[:, 3] == white).all(), "opaque"
    see_through = torch.full((1, 4, 2, 2), black, dtype=kind)
    assert (with_channels(see_through, 3) == white).all()
    assert (with_channels(see_through, 1) == white).all()
    for shape in (1, 3, 4):
        image = torch.full((2, shape, 2, 2), white, dtype=kind)
        assert with_channels(image, shape) is image
        for channels in (1, 3, 4):
            given = with_channels(image, channels)
            assert (given.shape, given.dtype) == ((2, channels, 2, 2), kind)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_the_direction_says_which_side_is_drawn(direction):
    images = pairs("emoji", "grey", direction, size=None)
    rows = torch.tensor([5, 0, 5])
    colour = emoji.load(None, 3, None, "train", 0.25).pixels(rows)
    drawn, source = (colour, grey(colour)) if direction == "AtoB" else (grey(colour), colour)
    batch = batch_of(images, rows)
    assert torch.equal(batch.images, drawn)
    assert torch.equal(batch.conditions[SOURCE], source)
    assert torch.equal(images.pixels(rows), drawn)
    assert torch.equal(images.conditions(rows)[SOURCE], source)
    kind = kind_of(images)
    assert (kind.shape, kind.source) == (drawn.shape[1:], source.shape[1:])
    assert (
        images.fingerprint != pairs("emoji", "grey", "BtoA" if direction == "AtoB" else "AtoB", size=None).fingerprint
    )


def test_images_held_out_of_the_set_are_held_out_of_the_pairs_and_a_limit_counts_training_pairs():
    train, test = (pairs(split=split, limit=9) for split in ("train", "test"))
    assert (len(train), len(test)) == (9, 449)
    assert torch.equal(test.pixels(torch.arange(449)), digits.load(16, None, "test", 0.25).images)
    own = InMemoryImages("own", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), None, ())
    assert pairs(own).labels is None
    with pytest.raises(NoTestSplitError, match="made without asking for its test split"):
        pairs(own, split="test")


def test_other_settings_of_a_transform_give_another_fingerprint():
    made = {
        load("digits", transform, "AtoB", "nowhere", False, 8, 3, 5, factor=factor).fingerprint
        for transform in ("edges", "low_resolution")
        for factor in (2, 4)
    }
    assert len(made) == 4


def test_images_that_are_grey_already_are_refused():
    with pytest.raises(UserError, match=r"data\.transform is grey, but the images of digits are grey already"):
        pairs(transform="grey")


@pytest.mark.parametrize(
    "make", [ResidentLoader, partial(StreamedLoader, batch=6, workers=2)], ids=["held", "streamed"]
)
def test_both_images_of_a_pair_stay_together_in_any_order(make):
    images = pairs(limit=20)
    order = IndexSampler(20, 3, replacement=False)
    loader = make(images, order, device=CPU)
    for start in (0, 6):
        batch = loader.buffer(6)
        loader.load(start, batch)
        assert torch.equal(edges(batch.images, 0.25), batch.conditions[SOURCE])
        assert torch.equal(batch.images, images.pixels(order.indices(start, 6)))
    floats = loader.sample(4, seed=0).as_float().conditions[SOURCE]
    assert sorted(floats.unique().tolist()) == [-1.0, 1.0]
    loader.close()


def test_halves_of_a_set_of_pairs_are_pairs():
    even, odd = halves(pairs(limit=20))
    for half in (even, odd):
        rows = torch.arange(len(half))
        assert torch.equal(edges(half.pixels(rows), 0.25), half.conditions(rows)[SOURCE])


def test_sources_of_another_size_than_their_images_are_refused():
    small = InMemoryImages("small", torch.zeros(4, 1, 8, 8, dtype=torch.uint8), None, ())
    halved = MadePairs(small, lambda images: images[..., ::2, ::2], "own", "AtoB")
    with pytest.raises(UserError, match=r"as source for two images of \[1, 8, 8\]"):
        checked_images(halved, "mine")
