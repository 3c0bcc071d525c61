import numpy as np
import pytest
import torch

from gan_runner.data import digits, idx, image_folder, mnist
from gan_runner.data.splits import NoTestSplitError, rows_of
from gan_runner.errors import UserError

IMAGES = np.arange(20 * 4 * 4, dtype=np.uint16).reshape(20, 4, 4).astype(np.uint8)


@pytest.mark.parametrize(("count", "share", "held_out"), [(10, 0.1, [9]), (9, 1 / 3, [2, 5, 8]), (5, 0.5, [1, 3])])
def test_every_kth_row_is_held_out_and_the_two_splits_are_all_rows(count, share, held_out):
    assert rows_of(count, share, "test", "x").tolist() == held_out
    assert rows_of(count, share, "train", "x").tolist() == [row for row in range(count) if row not in held_out]


@pytest.mark.parametrize("share", [0.01, 0.07, 0.1, 0.29, 1 / 3, 0.5, 0.7, 0.999])
def test_a_held_out_share_is_as_large_as_it_was_asked_for(share):
    assert len(rows_of(1000, share, "test", "x")) == int(1000 * share + 1e-9)


def test_with_no_held_out_share_all_rows_train_and_there_is_no_test_split():
    assert rows_of(3, 0, "train", "x").tolist() == [0, 1, 2]
    with pytest.raises(NoTestSplitError) as error:
        rows_of(3, 0, "test", "digits")
    assert str(error.value) == (
        "data=digits has no test images of its own, and data.holdout is 0: all of them train.\n"
        "  Try data.holdout=0.1, which trains on nine in ten and judges by the others."
    )


def test_a_share_too_small_for_one_image_is_refused():
    with pytest.raises(UserError) as error:
        rows_of(8, 0.1, "train", "x")
    assert str(error.value) == (
        "data.holdout is 0.1, but a share so small holds out none of 8 images.\n"
        "  Try data.holdout=0.125 or more, or data.holdout=0."
    )
    assert rows_of(8, 0.125, "test", "x").tolist() == [7]


def test_digits_are_held_out_evenly_and_a_limit_counts_training_digits():
    everything = digits.load(8, None)
    train, test = (digits.load(8, None, split, 0.25) for split in ("train", "test"))
    assert (len(train), len(test)) == (1348, 449)
    assert torch.equal(test.images, everything.images[3::4])
    assert torch.equal(test.labels, everything.labels[3::4])
    assert torch.equal(digits.load(8, 5, "test", 0.25).images, test.images)
    assert torch.equal(digits.load(8, 5, "train", 0.25).images, train.images[:5])


def test_the_training_split_equals_a_set_from_before_splits_existed(tmp_path, write_pair, ten_pictures):
    write_pair(tmp_path / "mnist")
    before, named = (mnist.load(str(tmp_path), False, None, None, *split) for split in ((), ("train",)))
    assert before.fingerprint == named.fingerprint
    assert image_folder.load(str(ten_pictures), 8, 3, None).fingerprint == (
        image_folder.load(str(ten_pictures), 8, 3, None, "train", 0.0).fingerprint
    )


def test_the_test_files_of_known_sets_are_read_completely(tmp_path, write_idx, write_pair):
    write_pair(tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES[:4])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([3, 2, 1, 0], dtype=np.uint8))
    images = mnist.load(str(tmp_path), False, None, 2, "test")
    assert torch.equal(images.images[:, 0], torch.from_numpy(IMAGES[:4]))
    assert images.labels.tolist() == [3, 2, 1, 0]


def test_known_sets_without_test_files_say_which_are_missing(tmp_path, write_pair):
    write_pair(tmp_path / "MNIST" / "raw")
    with pytest.raises(NoTestSplitError, match="there and not t10k-images-idx3-ubyte with its labels"):
        mnist.load(str(tmp_path), False, None, None, "test")
    with pytest.raises(UserError, match="is in none of") as error:
        mnist.load(str(tmp_path / "elsewhere"), False, None, None, "test")
    assert not isinstance(error.value, NoTestSplitError)


@pytest.mark.parametrize("prefix", ["t10k", "test"])
def test_idx_files_for_tests_are_the_test_split_unless_a_share_is_held_out(tmp_path, write_idx, prefix):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    with pytest.raises(NoTestSplitError):
        idx.load(str(tmp_path), None, None, "test")
    write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", IMAGES[:3])
    write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.array([0, 1, 1], dtype=np.uint8))
    images = idx.load(str(tmp_path), None, 1, "test")
    assert (len(images), images.labels.tolist()) == (3, [0, 1, 1])
    held_out = idx.load(str(tmp_path), None, None, "test", 0.1)
    assert torch.equal(held_out.images[:, 0], torch.from_numpy(IMAGES[9::10]))
    assert len(idx.load(str(tmp_path), None, None, "train", 0.1)) == 18


def test_only_test_files_are_trained_on_and_not_used_as_test(tmp_path, write_idx):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES)
    assert len(idx.load(str(tmp_path), None, None)) == 20
    with pytest.raises(NoTestSplitError):
        idx.load(str(tmp_path), None, None, "test")


def test_images_of_a_folder_are_held_out_by_name(ten_pictures):
    def load(split):
        images = image_folder.load(str(ten_pictures), 8, 3, None, split, 0.2)
        return images.pixels(torch.arange(len(images)))

    everything = image_folder.load(str(ten_pictures), 8, 3, None).pixels(torch.arange(10))
    assert torch.equal(load("test"), everything[[4, 9]])
    assert torch.equal(load("train"), everything[[0, 1, 2, 3, 5, 6, 7, 8]])
