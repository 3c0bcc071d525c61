import inspect

import pytest
import torch

from gan_runner.data import IndexSampler, InMemoryImages, ResidentLoader, digits, fashion_mnist, idx, mnist
from gan_runner.data.splits import NoTestSplitError
from gan_runner.data.stacked import load, number_of
from gan_runner.errors import UserError


def stacked(source="digits", *, image_size=None, count=50, stack_seed=0, limit=None, split="train", holdout=0.0):
    return load(source, "nowhere", False, image_size, count, stack_seed, limit, split, holdout)


def test_a_stack_has_three_images_of_the_source_in_its_channels_and_their_number_as_label():
    source, images = digits.load(None, None), stacked()
    assert (len(images), images.shape) == (50, (3, 8, 8))
    pixels = images.pixels(torch.tensor([4, 0, 4]))
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels[0], pixels[2])
    for row, stack in ((0, 4), (1, 0)):
        layers = images.layers[stack]
        assert torch.equal(pixels[row], source.images[layers, 0])
        hundreds, tens, ones = source.labels[layers].tolist()
        assert int(images.labels[stack]) == 100 * hundreds + 10 * tens + ones
        assert images.classes[images.labels[stack]] == f"{hundreds}{tens}{ones}"
    assert torch.equal(images.conditions(torch.tensor([4, 0]))["label"], images.labels[[4, 0]])


def test_digits_make_1000_modes_about_equally_often():
    images = stacked(count=128_000)
    counts = torch.bincount(images.labels, minlength=1000)
    assert len(images.classes) == len(counts) == 1000
    assert counts.min() > 60
    assert counts.max() < 220


def test_the_same_seed_gives_the_same_stacks_and_another_one_others():
    every = torch.arange(50)
    one, again, other = stacked(stack_seed=1), stacked(stack_seed=1), stacked(stack_seed=2)
    assert torch.equal(one.pixels(every), again.pixels(every))
    assert not torch.equal(one.pixels(every), other.pixels(every))
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_a_limit_keeps_the_first_stacks():
    few, all_of_them = stacked(limit=7), stacked()
    first = torch.arange(7)
    assert len(few) == len(few.labels) == 7
    assert torch.equal(few.pixels(first), all_of_them.pixels(first))
    assert few.fingerprint != all_of_them.fingerprint


def test_the_test_split_stacks_the_held_out_images_of_the_source():
    train, test = (stacked(split=split, holdout=0.25, limit=7) for split in ("train", "test"))
    assert (len(train), len(test)) == (7, 50)  # a limit is of what trains
    assert len(train.source) + len(test.source) == 1797
    assert len(test.source) == 449
    assert torch.equal(test.source.images, digits.load(None, None, "test", 0.25).images)


def test_without_held_out_images_there_is_no_test_split():
    with pytest.raises(NoTestSplitError, match=r"data\.holdout is 0"):
        stacked(split="test")
    own = InMemoryImages("own", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0]), ("one",))
    with pytest.raises(NoTestSplitError, match=r"data\.source is own"):
        stacked(own, split="test")


def test_the_source_has_the_requested_size():
    assert stacked(image_size=28).shape == (3, 28, 28)


@pytest.mark.parametrize("source", [digits, idx, mnist, fashion_mnist])
def test_all_settings_of_a_set_can_be_given_where_it_is_stacked(source):
    assert inspect.signature(source.load).parameters.keys() <= inspect.signature(load).parameters.keys()


def test_one_of_several_sets_in_a_folder_is_stacked_and_transposed(tmp_path, write_idx):
    images = torch.randint(0, 256, (2, 20, 5, 5), dtype=torch.uint8)
    for letter, some in zip("ab", images, strict=True):
        write_idx(tmp_path / f"{letter}-train-images-idx3-ubyte", some.numpy())
        write_idx(tmp_path / f"{letter}-train-labels-idx1-ubyte", (torch.arange(20) % 10).byte().numpy())
    stacks = load("idx", str(tmp_path), False, None, 9, 0, None, prefix="b-train", transpose=True)
    assert torch.equal(stacks.pixels(torch.arange(9)), images[1].mT[stacks.layers])


def test_a_custom_set_can_be_stacked():
    grey = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1)
    own = InMemoryImages("own", grey, torch.tensor([0, 1, 1, 0]), ("ant", "bee"))
    images = stacked(own)
    assert images.name == "stacked_own"
    assert images.classes[3] == "ant+bee+bee"
    assert len(images.classes) == 8
    assert torch.equal(images.pixels(torch.arange(50))[:, :, 0, 0].long(), images.layers)


@pytest.mark.parametrize(
    ("channels", "labels", "lack"), [(1, None, "has no classes"), (3, torch.zeros(2, dtype=torch.int64), "3 channels")]
)
def test_sets_that_cannot_be_stacked_are_refused(channels, labels, lack):
    own = InMemoryImages("own", torch.zeros(2, channels, 4, 4, dtype=torch.uint8), labels, ("one",))
    with pytest.raises(UserError, match=f"data.source is own, but that .*{lack}"):
        stacked(own)


def test_stacks_are_loaded_like_other_images():
    images = stacked()
    order = IndexSampler(50, 0, replacement=False)
    loader = ResidentLoader(images, order, torch.device("cpu"))
    batch = loader.buffer(8)
    loader.load(0, batch)
    assert torch.equal(batch.images, images.pixels(order.indices(0, 8)))
    assert torch.equal(batch.conditions["label"], images.labels[order.indices(0, 8)])


def test_the_number_of_a_stack_starts_with_its_first_channel():
    classes = torch.tensor([[0, 0, 0], [1, 2, 3], [9, 9, 9]])
    assert number_of(classes, 10).tolist() == [0, 123, 999]
    assert number_of(torch.tensor([[1, 1, 0]]), 2).tolist() == [6]


def test_the_frequency_of_a_mode_is_the_product_of_the_frequencies_of_its_classes():
    source = InMemoryImages("letters", torch.zeros(4, 1, 4, 4).byte(), torch.tensor([0, 1, 1, 1]), ("a", "b"))
    stacks = load(source, "nowhere", False, None, 1, 0, None)
    assert stacks.mode_frequencies.dtype == torch.float64
    assert stacks.mode_frequencies.tolist() == [4.0**-3 * 3 ** bin(mode).count("1") for mode in range(8)]
