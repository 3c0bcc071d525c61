import logging
import os

import numpy as np
import pytest
import torch

from gan_runner.data import idx
from gan_runner.errors import UserError

IMAGES = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
LABELS = np.array([2, 0, 1, 1, 0, 0], dtype=np.uint8)
REPLACE = "Replace or complete the files there, or try data=digits, which ships inside the package."


def load(folder, image_size=None, limit=None):
    return idx.load(str(folder), image_size, limit)


def message_of(folder):
    with pytest.raises(UserError) as error:
        load(folder)
    return str(error.value)


@pytest.mark.parametrize("packing", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("prefix", ["train-", "", "emnist-letters-train-", "t10k-"])
def test_files_are_found_under_their_usual_names(tmp_path, write_idx, prefix, mark, packing):
    write_idx(tmp_path / f"{prefix}images{mark}idx3-ubyte{packing}", IMAGES)
    write_idx(tmp_path / f"{prefix}labels{mark}idx1-ubyte{packing}", LABELS)
    images = load(tmp_path)
    assert (images.name, images.shape, len(images)) == ("idx", (1, 5, 4), 6)
    assert torch.equal(images.images[:, 0], torch.from_numpy(IMAGES))
    assert images.labels.tolist() == LABELS.tolist()
    assert images.labels.dtype == torch.int64
    assert images.classes == ("0", "1", "2")


def test_labels_are_optional(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    images = load(tmp_path)
    assert images.labels is None
    assert images.classes == ()


def test_training_files_are_preferred_to_test_files(tmp_path, write_idx):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", IMAGES[:2])
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    assert len(load(tmp_path)) == 6


def test_image_size_crops_the_longer_side_and_scales(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    assert load(tmp_path, image_size=4).shape == (1, 4, 4)
    square = load(tmp_path, image_size=8)
    assert square.shape == (1, 8, 8)
    assert square.images[0].float().mean() == pytest.approx(IMAGES[0].mean(), abs=1)


def test_a_limit_keeps_the_first_images(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    images = load(tmp_path, limit=2)
    assert torch.equal(images.images[:, 0], torch.from_numpy(IMAGES[:2]))
    assert images.labels.tolist() == [2, 0]


def test_a_limit_beyond_the_set_takes_all_with_a_warning(tmp_path, write_idx, caplog):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    assert len(load(tmp_path, limit=1000)) == 6
    (record,) = caplog.records
    assert (record.levelno, record.message) == (
        logging.WARNING,
        "data.limit is 1,000, but there are 6 images: all are used.",
    )


def test_the_fingerprint_depends_on_pixels_labels_and_shape(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    first = load(tmp_path).fingerprint
    assert load(tmp_path).fingerprint == first
    others = [load(tmp_path, limit=5).fingerprint, load(tmp_path, image_size=9).fingerprint]
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    others.append(load(tmp_path).fingerprint)
    write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS[::-1])
    others.append(load(tmp_path).fingerprint)
    assert len({first, *others}) == 5


def test_a_truncated_file_is_reported_with_where_it_ends(tmp_path, write_idx):
    path = write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((60_000, 28, 28), np.uint8))
    path.write_bytes(path.read_bytes()[:1000])
    expected = f"data.root is {tmp_path}, but {path} ends after 1,000 of 47,040,016 bytes.\n  {REPLACE}"
    assert message_of(tmp_path) == expected


def test_a_truncated_gzipped_file_is_reported_too(tmp_path, write_idx):
    path = write_idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    path.write_bytes(path.read_bytes()[:40])
    assert f"{path} ends after " in message_of(tmp_path)
    assert " of 136 bytes" in message_of(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read: the file is empty"),
        (b"no images", "is no IDX file: it does not open with two zero bytes, a type and a rank"),
        (b"<!DOCTYPE html><title>403", "is a web page, HTML, for its download failed: fetch it again"),
        (b"\0\0\x0d\x03" + bytes(12), "holds numbers of type 0x0d, where unsigned bytes, 0x08, are needed"),
        (b"\0\0\x08\x03" + bytes(4), "ends after 8 of 16 bytes"),
        (b"\0\0\x08\x03" + bytes(12), "is empty: its dimensions are [0, 0, 0]"),
        (b"\0\0\x08\x01\0\0\0\x02ab", "has 1 dimensions, where 3 are needed"),
        (b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 + b"ab", "continues beyond the 17 bytes that its header promises"),
        (b"\0\0\x08\xff" + b"\0\0\0\x01" * 255 + b"a", "has 255 dimensions, where 3 are needed"),
        (b"\x1f\x8bnonsense", "cannot be unpacked: Unknown compression method"),
    ],
)
def test_a_malformed_file_is_reported_with_what_is_wrong(tmp_path, content, problem):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    assert message_of(tmp_path) == f"data.root is {tmp_path}, but {path} {problem}.\n  {REPLACE}"


def test_a_gzipped_file_with_a_flipped_bit_is_reported_as_damaged(tmp_path, write_idx):
    path = write_idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # in the checksum at the end
    path.write_bytes(content)
    assert "cannot be unpacked" in message_of(tmp_path)


def test_there_must_be_as_many_labels_as_images(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    labels = write_idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:4])
    assert f"{labels} has 4 entries, where 6 are needed." in message_of(tmp_path)


def test_a_folder_without_images_is_refused_with_what_it_needs(tmp_path):
    assert message_of(tmp_path) == (
        f"data.root is {tmp_path}, but it holds no file named *images-idx3-ubyte, where one file of images "
        "is needed.\n  Name it train-images-idx3-ubyte(.gz), try data.root=FOLDER with another one, "
        "or data=digits, which ships inside the package."
    )


def test_several_files_of_images_are_refused_as_ambiguous(tmp_path, write_idx):
    write_idx(tmp_path / "a-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "b-images-idx3-ubyte", IMAGES)
    assert "it holds several sets: a, b.\n" in message_of(tmp_path)


def test_a_root_that_does_not_exist_is_an_error(tmp_path):
    typo = tmp_path / "minst"
    assert message_of(typo) == (
        f"data.root is {typo}, but there is no such folder.\n"
        "  Try data.root=FOLDER with another one, or data=digits, which ships inside the package."
    )


def test_a_root_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "that is a file, where a folder is needed." in message_of(tmp_path / "file")


def test_a_root_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may read all
    assert "that folder may not be read." in message_of(tmp_path)


def write_letters(write_idx, folder, split, labels):
    """Files of EMNIST: images that lie on their side, letters that count from 1."""
    images = np.random.default_rng(len(split)).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    write_idx(folder / f"emnist-letters-{split}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"emnist-letters-{split}-labels-idx1-ubyte.gz", np.array(labels, dtype=np.uint8))
    return torch.from_numpy(images)


def test_a_set_is_chosen_by_the_prefix_of_its_files_and_finds_its_test_files(tmp_path, write_idx, caplog):
    training = write_letters(write_idx, tmp_path, "train", [*range(1, 27), 2])
    tests = write_letters(write_idx, tmp_path, "test", [26, 1, 3])
    write_idx(tmp_path / "emnist-digits-train-images-idx3-ubyte.gz", IMAGES)
    assert "it holds several sets: emnist-digits-train, emnist-letters-train.\n" in message_of(tmp_path)
    assert message_of(tmp_path).endswith("data.prefix=emnist-digits-train data.transpose=true")
    caplog.set_level("INFO")
    images = idx.load(str(tmp_path), None, None, prefix="emnist-letters-train", transpose=True)
    assert images.classes == tuple(str(letter) for letter in range(1, 27))
    assert images.labels.tolist() == [*range(26), 1]
    assert torch.equal(images.images[:, 0], training.mT)
    held_out = idx.load(str(tmp_path), None, None, "test", prefix="emnist-letters-train")
    assert (held_out.classes, held_out.labels.tolist()) == (images.classes, [25, 0, 2])
    assert torch.equal(held_out.images[:, 0], tests)
    assert not caplog.text
    (tmp_path / "emnist-digits-train-images-idx3-ubyte.gz").unlink()
    assert len(load(tmp_path)) == 27  # the only set, whose test files are no set of their own
    assert "data.transpose=true turns them" in caplog.text


def test_an_unknown_prefix_is_refused_with_the_existing_ones(tmp_path, write_idx):
    write_letters(write_idx, tmp_path, "train", [1, 2])
    with pytest.raises(UserError, match="the sets there are emnist-letters-train") as error:
        idx.load(str(tmp_path), None, None, prefix="letter-train")
    assert error.value.remedy == "Try data.prefix=emnist-letters-train."


def test_a_label_that_occurs_only_in_test_images_is_refused(tmp_path, write_idx):
    write_letters(write_idx, tmp_path, "train", [1, 2, 5])
    write_letters(write_idx, tmp_path, "test", [1, 4])
    with pytest.raises(UserError, match="the label 4, which no training image has"):
        idx.load(str(tmp_path), None, None, "test")


def test_a_file_may_be_in_a_folder_of_its_own_name(tmp_path, write_idx):
    for name, array in (("train-images-idx3-ubyte", IMAGES), ("train-labels-idx1-ubyte", LABELS)):
        write_idx(tmp_path / name / name, array)
    assert load(tmp_path).labels.tolist() == LABELS.tolist()
