"""Pairs in folders: every layout gives the same pairs, and what is wrong with a folder is said."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import paired_folder
from gan_runner.data.batch import SOURCE
from gan_runner.data.image_set import batch_of, kind_of
from gan_runner.data.paired_folder import load
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError

SIZE = 8
NAMES = ("one", "three", "two")  # sorted


def noise(seed, channels=3):
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def picture(number, side, split="train"):
    return noise(["train", "test"].index(split) * 100 + number * 10 + "AB".index(side))


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def side_by_side(root, splits):
    for split in splits:
        for number, name in enumerate(NAMES):
            both = np.concatenate([picture(number, "A", split), picture(number, "B", split)], 1)
            save(both, root / (split if len(splits) > 1 else "") / f"{name}.png")
    return {"root": str(root)}


def two_folders(root, splits):
    for split in splits:
        for number, name in enumerate(NAMES):
            for side in "AB":
                below = split if len(splits) > 1 else ""
                save(picture(number, side, split), root / side / below / f"{name}.{'png' if side == 'A' else 'bmp'}")
    return {"root": str(root)}


def split_and_side(root, splits):
    for split in splits:
        for number, name in enumerate(NAMES):
            for side in "AB":
                save(picture(number, side, split), root / f"{split}{side}" / f"{name}.png")
    return {"root": str(root)}


def two_roots(root, splits):
    two_folders(root / "x", splits)
    (root / "x/B").rename(root / "elsewhere")
    return {"root": str(root / "x/A"), "other_root": str(root / "elsewhere")}


LAYOUTS = [side_by_side, two_folders, split_and_side, two_roots]


def pairs(root, other_root=None, *, size=SIZE, channels=3, source_channels=3, direction="AtoB", limit=None, **which):
    return load(root, other_root, size, channels, source_channels, direction, limit, **which)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_gives_the_pairs_in_the_order_of_their_names(tmp_path, layout, direction, caplog):
    where = layout(tmp_path / "data", ["train", "test"])
    caplog.set_level(logging.INFO, "gan_runner")
    for split in ("train", "test"):
        images = pairs(**where, direction=direction, split=split)
        batch = batch_of(images, torch.arange(3))
        for number in range(3):
            given, drawn = (picture(number, side, split) for side in direction.split("to"))
            assert np.array_equal(batch.conditions[SOURCE][number].permute(1, 2, 0), given)
            assert np.array_equal(batch.images[number].permute(1, 2, 0), drawn)
    assert "3 pairs" in caplog.text


@pytest.mark.parametrize("layout", LAYOUTS[:2] + LAYOUTS[3:], ids=lambda layout: layout.__name__)
def test_without_a_folder_for_tests_a_share_can_be_held_out(tmp_path, layout):
    where = layout(tmp_path / "data", ["train"])
    with pytest.raises(NoTestSplitError, match=r"data.holdout is 0"):
        pairs(**where, split="test")
    train, test = (pairs(**where, split=split, holdout=1 / 3) for split in ("train", "test"))
    assert (len(train), len(test)) == (2, 1)
    assert len(pairs(**where, limit=1)) == 1


@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=lambda layout: layout.__name__)
def test_channels_may_differ_between_the_sides(tmp_path, layout):
    where = layout(tmp_path / "data", ["train"])
    images = pairs(**where, channels=3, source_channels=1, size=4)
    kind = kind_of(images)
    assert (kind.shape, kind.source) == ((3, 4, 4), (1, 4, 4))
    assert batch_of(images, torch.tensor([2])).conditions[SOURCE].shape == (1, 1, 4, 4)


def test_other_contents_sizes_and_directions_give_another_fingerprint(tmp_path):
    where = two_folders(tmp_path / "data", ["train"])
    made = [pairs(**where), pairs(**where, size=4), pairs(**where, direction="BtoA"), pairs(**where, source_channels=1)]
    before = {images.fingerprint for images in made}
    save(noise(7), tmp_path / "data/B/two.bmp")
    assert len(before | {pairs(**where).fingerprint}) == 5


def test_images_without_a_partner_are_reported(tmp_path):
    where = two_folders(tmp_path / "data", ["train"])
    (tmp_path / "data/B/three.bmp").unlink()
    save(noise(1), tmp_path / "data/B/four.bmp")
    with pytest.raises(UserError, match=r"1 image of A in .* \(three\) and 1 image of B in .* \(four\) have no"):
        pairs(**where)


def test_an_empty_side_is_reported(tmp_path):
    save(noise(1), tmp_path / "A/one.png")
    with pytest.raises(UserError, match=r"B in .* holds no images"):
        pairs(str(tmp_path))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UserError, match=r"nothing holds no images"):
        pairs(str(tmp_path / "A"), str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="no pair of images there can be read"):
        pairs(str(tmp_path / "nothing"))


def test_two_candidates_for_the_same_partner_are_reported(tmp_path):
    where = two_folders(tmp_path / "data", ["train"])
    save(noise(1), tmp_path / "data/A/one.bmp")
    with pytest.raises(UserError, match=r"one\.png and .*one\.bmp|one\.bmp and .*one\.png"):
        pairs(**where)


@pytest.mark.parametrize("shape", [(8, 8), (8, 15), (16, 8)])
def test_an_image_that_cannot_be_two_side_by_side_is_reported_with_its_size(tmp_path, shape):
    side_by_side(tmp_path, ["train"])
    save(np.zeros((*shape, 3), np.uint8), tmp_path / "odd.png")
    with pytest.raises(UserError, match=rf"odd\.png, which is {shape[1]}x{shape[0]} and cannot be two images"):
        pairs(str(tmp_path))


def test_partners_of_different_proportions_are_reported(tmp_path):
    where = two_folders(tmp_path / "data", ["train"])
    save(np.zeros((8, 12, 3), np.uint8), tmp_path / "data/B/two.bmp")
    with pytest.raises(UserError, match=r"two\.png is 8x8 and its partner .*two\.bmp 12x8"):
        pairs(**where)
    save(np.zeros((16, 16, 3), np.uint8), tmp_path / "data/B/two.bmp")
    assert len(pairs(**where)) == 3, "another size of the same proportions will do"


def test_an_unreadable_pair_is_left_out_and_reported(tmp_path, caplog):
    where = two_folders(tmp_path / "data", ["train"])
    (tmp_path / "data/B/one.bmp").write_bytes(b"<html>no image</html>")
    images = pairs(**where)
    assert len(images) == 2
    assert "left out with their partners: 1 file is a web page, HTML (one.bmp)" in caplog.text


def test_a_pair_that_breaks_during_a_run_is_replaced_by_the_next_pair(tmp_path, caplog):
    images = pairs(**two_folders(tmp_path / "data", ["train"]))
    (tmp_path / "data/A/three.png").write_bytes(b"gone")
    for _ in range(2):
        batch = batch_of(images, torch.tensor([0, 1]))
    assert np.array_equal(batch.conditions[SOURCE][1].permute(1, 2, 0), picture(2, "A"))
    assert np.array_equal(batch.images[1].permute(1, 2, 0), picture(2, "B"))
    assert caplog.text.count("A pair can no longer be read") == 1


@pytest.mark.parametrize("again", ["A", "A/", "A/../A", "link"])
def test_one_folder_is_refused_for_both_sides_however_it_is_spelled(tmp_path, again):
    save(noise(1), tmp_path / "A/one.png")
    (tmp_path / "link").symlink_to("A")
    with pytest.raises(UserError, match=r"data\.other_root is .*, which is data\.root too"):
        pairs(str(tmp_path / "A"), f"{tmp_path}/{again}")


def turned(upright, path, mark=6):
    """As a camera saves what it was held sideways for: the pixels lie, and a mark says how to turn them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = mark
    lying = Image.fromarray(upright).transpose({6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[mark])
    how = {".jpg": {"quality": 95}, ".webp": {"lossless": True}}.get(path.suffix, {})
    lying.save(path, exif=exif, **how)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("layout", ["side by side", "two folders"])
@pytest.mark.parametrize("headers_alone", [False, True])
def test_proportions_are_those_after_a_cameras_rotation_mark(tmp_path, monkeypatch, ending, layout, headers_alone):
    if headers_alone:
        monkeypatch.setattr(paired_folder, "READ_ALL_UP_TO", 0)
    left, right = np.full((8, 12, 3), 40, np.uint8), np.full((8, 12, 3), 200, np.uint8)
    if layout == "side by side":
        turned(np.concatenate([left, right], 1), tmp_path / f"one.{ending}")
    else:
        turned(left, tmp_path / f"A/one.{ending}")
        save(right, tmp_path / "B/one.png")
    batch = batch_of(pairs(str(tmp_path), size=[8, 12]), torch.tensor([0]))
    assert (batch.conditions[SOURCE].int() - 40).abs().max() <= 12
    assert (batch.images.int() - 200).abs().max() <= 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(2, 1), (16, 8)])
def test_images_of_every_mode_and_size_make_pairs(tmp_path, mode, channels, size):
    picture = Image.new("L", size, 255).convert("L" if mode in ("I;16", "F") else mode)
    if mode in ("I;16", "F"):
        picture = Image.fromarray(np.ones(size[::-1], np.uint16 if mode == "I;16" else np.float32))
    picture.save(tmp_path / "one.tif" if mode in ("CMYK", "F", "YCbCr") else tmp_path / "one.png")
    batch = batch_of(pairs(str(tmp_path), channels=channels, source_channels=channels), torch.tensor([0]))
    assert batch.images.shape == batch.conditions[SOURCE].shape == (1, channels, SIZE, SIZE)
    assert torch.equal(batch.images, batch.conditions[SOURCE])
