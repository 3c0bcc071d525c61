import logging
import os

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import image_folder
from gan_runner.errors import UserError

GREY = np.full((8, 8), 100, np.uint8)
RED = np.full((8, 8, 3), (200, 20, 20), np.uint8)


def load(folder, image_size=8, channels=3, limit=None):
    return image_folder.load(str(folder), image_size, channels, limit)


def everything(images):
    return images.pixels(torch.arange(len(images)))


def message_of(folder):
    with pytest.raises(UserError) as error:
        load(folder)
    return str(error.value)


def test_images_of_every_format_are_read_in_the_order_of_their_names(tmp_path, write_picture):
    for number, name in enumerate(["a.png", "b.jpg", "c.JPEG", "d/e/f.webp", "g.bmp"]):
        write_picture(tmp_path / name, np.full((8, 8, 3), 50 * number, np.uint8))
    (tmp_path / "notes.txt").write_text("not an image, and not asked to be one")
    write_picture(tmp_path / ".hidden.png", GREY)
    images = load(tmp_path)
    assert (images.name, images.shape, len(images)) == ("image_folder", (3, 8, 8), 5)
    levels = everything(images).float().mean((1, 2, 3))
    torch.testing.assert_close(levels, torch.tensor([0.0, 50.0, 100.0, 150.0, 200.0]), atol=2, rtol=0)


def test_folders_below_the_root_are_the_classes(tmp_path, write_picture):
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png"):
        write_picture(tmp_path / name, GREY)
    (tmp_path / "empty").mkdir()
    images = load(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.labels.tolist() == [0, 0, 1]
    assert images.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        (["1.png", "2.png"], []),
        (["1.png", "cat/1.png"], ["1.png lies beside folders such as cat, so that no image has a class."]),
    ],
)
def test_images_outside_such_folders_make_a_set_without_labels(tmp_path, write_picture, caplog, names, warning):
    for level, name in enumerate(names):
        write_picture(tmp_path / name, GREY + level)
    images = load(tmp_path)
    assert images.labels is None
    assert images.classes == ()
    assert caplog.messages == warning


def test_a_link_to_a_parent_folder_is_followed_once(tmp_path, write_picture):
    write_picture(tmp_path / "cat" / "1.png", GREY)
    os.symlink(tmp_path, tmp_path / "cat" / "up")
    assert len(load(tmp_path)) == 1


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (Image.fromarray(GREY), (100, 100, 100)),
        (Image.fromarray(RED), (200, 20, 20)),
        (Image.fromarray(RED).quantize(4), (200, 20, 20)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (200, 20, 20, 255)), (200, 20, 20)),
        (Image.new("LA", (8, 8), (0, 51)), (204, 204, 204)),
        (Image.fromarray(np.full((8, 8), 100 * 256, np.uint16)), (100, 100, 100)),
    ],
    ids=["grey", "colour", "palette", "bits", "transparent", "opaque", "grey over white", "16 bit grey"],
)
def test_every_kind_of_png_becomes_colour_or_grey(tmp_path, write_picture, picture, colour):
    write_picture(tmp_path / "a.png", picture)
    assert everything(load(tmp_path))[0, :, 4, 4].tolist() == list(colour)
    grey = everything(load(tmp_path, channels=1))
    assert grey.shape == (1, 1, 8, 8)
    assert grey[0, 0, 4, 4] == Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))


def test_a_transparent_palette_colour_becomes_white(tmp_path, write_picture):
    write_picture(tmp_path / "a.png", Image.new("P", (8, 8), 0), transparency=0)
    assert everything(load(tmp_path)).unique().tolist() == [255]


def test_a_cmyk_jpeg_is_read(tmp_path, write_picture):
    write_picture(tmp_path / "a.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    red, green, blue = everything(load(tmp_path))[0, :, 4, 4].tolist()
    assert red > 200
    assert max(green, blue) < 60


def test_images_are_scaled_and_cropped_to_their_centre(tmp_path, write_picture):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 13:27] = 255
    write_picture(tmp_path / "wide.png", wide)
    write_picture(tmp_path / "high.png", wide.transpose(1, 0, 2))
    assert everything(load(tmp_path, image_size=5)).unique().tolist() == [255]


def test_a_cameras_rotation_mark_is_applied(tmp_path, write_picture):
    left = np.zeros((16, 16, 3), np.uint8)
    left[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise, to show it upright
    write_picture(tmp_path / "a.jpg", left, exif=exif)
    image = everything(load(tmp_path, image_size=16))[0, 0]
    assert image[:6].min() > 200
    assert image[10:].max() < 50


def test_scaling_down_is_antialiased(tmp_path, write_picture):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    write_picture(tmp_path / "a.png", stripes)
    assert (everything(load(tmp_path, channels=1)).float() - 127.5).abs().max() < 20


def broken_files(folder, whole):
    folder.mkdir(exist_ok=True)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("hello")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    return ["cut.png", "empty.png", "text.jpg"]


def test_broken_images_are_reported_and_left_out(tmp_path, ten_pictures, caplog):
    broken_files(ten_pictures, (ten_pictures / "3.png").read_bytes())
    images = load(ten_pictures)
    assert len(images) == 10
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 4
    assert sorted(caplog.messages)[1:] == [
        "1 file is empty (empty.png).",
        "1 file is text (text.jpg).",
        "10 of 13 files with images are left to train on.",
    ]
    assert sorted(caplog.messages)[0].startswith("1 file cannot be decoded (cut.png): ")


def test_an_implausibly_large_image_is_left_out(ten_pictures, write_picture, caplog, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    write_picture(ten_pictures / "bomb.png", np.zeros((100, 100), np.uint8))
    assert len(load(ten_pictures)) == 10
    assert "1 file cannot be decoded (bomb.png): Image size (10000 pixels) exceeds limit" in caplog.text


def test_only_the_headers_of_a_large_folder_are_read(ten_pictures, caplog, monkeypatch):
    monkeypatch.setattr(image_folder, "READ_ALL_UP_TO", 5)
    broken_files(ten_pictures, (ten_pictures / "3.png").read_bytes())
    assert len(load(ten_pictures)) == 11
    assert len(caplog.messages) == 3


def test_an_image_that_turns_out_broken_later_is_replaced_by_the_next_with_one_warning(ten_pictures, caplog):
    images = load(ten_pictures)
    whole = everything(images)
    content = (ten_pictures / "9.png").read_bytes()
    (ten_pictures / "9.png").write_bytes(content[: len(content) // 2])
    for _ in range(2):
        torch.testing.assert_close(everything(images), whole[[0, 1, 2, 3, 4, 5, 6, 7, 8, 0]])
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{ten_pictures / '9.png'} is no image that can be read: ")
    assert caplog.messages[0].endswith("; the next image takes its place.")


def test_a_folder_that_vanishes_is_an_error(ten_pictures):
    images = load(ten_pictures)
    for path in ten_pictures.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"The images in data\.root have changed: 100 images in a row"):
        everything(images)


def test_a_folder_without_images_is_an_error(tmp_path):
    assert message_of(tmp_path).startswith(
        f"data.root is {tmp_path}, but no image there can be read: there are no files.\n  Put PNG, JPEG, WEBP, BMP, "
    )


def test_a_folder_of_broken_images_is_an_error(tmp_path):
    broken_files(tmp_path, b"")
    assert message_of(tmp_path).startswith(
        f"data.root is {tmp_path}, but no image there can be read: 2 files are empty (cut.png, empty.png). "
        "1 file is text (text.jpg).\n"
    )


def test_a_limit_takes_the_first_files_by_name(ten_pictures):
    assert torch.equal(everything(load(ten_pictures, limit=4)), everything(load(ten_pictures))[:4])


def test_the_fingerprint_depends_on_names_sizes_and_shape(ten_pictures, write_picture):
    first = load(ten_pictures).fingerprint
    assert load(ten_pictures).fingerprint == first
    others = [load(ten_pictures, image_size=9).fingerprint, load(ten_pictures, channels=1).fingerprint]
    (ten_pictures / "0.png").rename(ten_pictures / "zero.png")
    others.append(load(ten_pictures).fingerprint)
    write_picture(ten_pictures / "zero.png", GREY)
    others.append(load(ten_pictures).fingerprint)
    assert len({first, *others}) == 5


def test_the_fingerprint_depends_on_pixels_if_names_and_sizes_stay(tmp_path, write_picture, monkeypatch):
    def fingerprint_of(*levels):
        for number, level in enumerate(levels):
            write_picture(tmp_path / f"{number}.bmp", np.full((4, 4), level, np.uint8))
        return load(tmp_path).fingerprint

    assert len({fingerprint_of(*levels) for levels in ((0, 0, 0), (9, 0, 0), (0, 0, 9), (0, 9, 0))}) == 4
    monkeypatch.setattr(image_folder, "READ_ALL_UP_TO", 2)  # of more, every other one lends its contents
    assert fingerprint_of(0, 0, 0) != fingerprint_of(0, 0, 9)


def bitmap(level):
    """A BMP file of 4x4 grey pixels, byte for byte the same whatever writes it."""
    head = b"BM" + (1078 + 16).to_bytes(4, "little") + bytes(4) + (1078).to_bytes(4, "little")
    info = b"".join(value.to_bytes(4, "little") for value in (40, 4, 4, 1 | 8 << 16, 0, 16, 0, 0, 256, 0))
    return head + info + b"".join(bytes((grey, grey, grey, 0)) for grey in range(256)) + bytes([level] * 16)


FINGERPRINTS = {
    "flat": (["a.bmp", "b.bmp", "c.bmp"], "29278807e9ab3e90"),
    "in a folder": (["images/a.bmp", "images/b.bmp"], "ab23505b7393f5f5"),
    "classes": (["cats/a.bmp", "cats/deep/b.bmp", "dogs/a.bmp"], "0e79a4d27c5261f8"),
    "beside classes": (["a.bmp", "cats/a.bmp"], "39269bb377b4da06"),
}


@pytest.mark.parametrize(("names", "known"), FINGERPRINTS.values(), ids=FINGERPRINTS)
def test_a_folder_keeps_its_fingerprint_in_later_versions_so_that_its_runs_resume(tmp_path, names, known):
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bitmap(60 * (number + 1)))
    assert load(tmp_path).fingerprint == known


def test_the_fingerprint_depends_on_nested_classes_and_the_range_of_deep_images(tmp_path, write_picture):
    for name in ("archive/cats/a.png", "archive/dogs/b.png"):
        write_picture(tmp_path / name, np.full((8, 8), 4000, np.uint16))
    first = load(tmp_path)
    assert first.classes == ("cats", "dogs")
    as_one_class = image_folder.FolderImages(tmp_path, ["archive/cats/a.png", "archive/dogs/b.png"], (8, 8), 3)
    assert first.fingerprint != as_one_class.fingerprint


def test_parts_of_a_folder_of_deep_images_have_the_range_of_the_whole(tmp_path, write_picture):
    for part, most in (("train", 1000), ("test", 4095)):
        for number in range(4):
            values = np.full((8, 8), most * (number + 1) // 4, np.uint16)
            write_picture(tmp_path / part / f"{number}.png", values)
    whole, limited = load(tmp_path, channels=1), load(tmp_path, channels=1, limit=1)
    assert everything(whole)[:, 0, 0, 0].tolist() == [250 // 16, 500 // 16, 750 // 16, 1000 // 16]
    assert everything(limited)[0, 0, 0, 0] == 250 // 16
    held_out = image_folder.load(str(tmp_path), 8, 1, None, "test")
    assert everything(held_out)[:, 0, 0, 0].tolist() == [1023 // 16, 2047 // 16, 3071 // 16, 255]


def test_a_limit_takes_images_of_every_class_and_a_larger_one_contains_it(tmp_path, write_picture):
    for number, name in enumerate(f"{c}/{n}.png" for c in "abc" for n in range(8)):
        write_picture(tmp_path / name, np.full((8, 8), 10 * number, np.uint8))
    kept = [load(tmp_path, limit=limit) for limit in (2, 6, 7, 24)]
    assert all(images.classes == ("a", "b", "c") for images in kept)
    assert [torch.bincount(images.labels, minlength=3).tolist() for images in kept] == [
        [1, 1, 0], [2, 2, 2], [3, 2, 2], [8, 8, 8],
    ]  # fmt: skip
    levels = [set(everything(images)[:, 0, 0, 0].tolist()) for images in kept]
    assert levels[0] < levels[1] < levels[2] < levels[3]


def test_classes_keep_their_numbers_where_a_share_is_held_out_or_a_limit_is_small(tmp_path, write_picture, caplog):
    for number, name in enumerate(["a/1.png", "b/1.png", "b/2.png", "b/3.png", "c/1.png"]):
        write_picture(tmp_path / name, GREY + number)
    one = load(tmp_path, limit=1)
    assert (one.classes, one.labels.tolist()) == (("a", "b", "c"), [0])
    assert "data.limit takes images of 1 of 3 classes." in caplog.messages
    held_out = image_folder.load(str(tmp_path), 8, 3, None, "test", 0.4)
    assert (held_out.classes, held_out.labels.tolist()) == (("a", "b", "c"), [1, 2])


def test_images_that_break_during_a_run_are_reported_in_a_few_lines(ten_pictures, write_picture, caplog):
    for number in range(10, 40):
        write_picture(ten_pictures / f"{number}.png", GREY + number)
    images = load(ten_pictures)
    for path in sorted(ten_pictures.iterdir())[:30]:
        path.write_bytes(b"")
    caplog.clear()
    everything(images)
    assert len(caplog.messages) == 6
    assert caplog.messages[-1].startswith("10 images that cannot be read have been replaced so far, the last: ")


@pytest.mark.parametrize("size", [(8, 12), (12, 8), (5, 5)])
@pytest.mark.parametrize("stored", [(40, 60), (60, 40), (9, 9), (4, 30)])
def test_images_cover_a_size_that_is_not_square_and_keep_their_centre(tmp_path, write_picture, size, stored):
    rows, columns = np.mgrid[: stored[0], : stored[1]]
    write_picture(tmp_path / "a.png", np.stack([rows, columns, rows], -1).astype(np.uint8))
    images = load(tmp_path, list(size))
    assert images.shape == (3, *size)
    pixels = images.pixels(torch.tensor([0]))[0].double()
    for axis, drawn in ((0, pixels[0].mean(1)), (1, pixels[1].mean(0))):
        assert drawn.mean() == pytest.approx((stored[axis] - 1) / 2, abs=0.6)  # the middle
        scale = max(size[0] / stored[0], size[1] / stored[1])
        assert drawn[-1] - drawn[0] == pytest.approx((size[axis] - 1) / scale, abs=1.2)  # the same scale both ways


def test_a_size_that_is_not_square_is_reported_as_typed_if_it_crops_or_enlarges_much(tmp_path, write_picture, caplog):
    write_picture(tmp_path / "tall.png", np.zeros((90, 20, 3), np.uint8) + 99)
    with caplog.at_level("WARNING"):
        load(tmp_path, [30, 60])
    assert "data.image_size=[30,60], the smallest 3 times (tall.png, 20x90)" in caplog.text
    assert "1 of 1 image loses more than half to the crop to [30,60], the worst 89%" in caplog.text


@pytest.mark.parametrize("size", [8, 16])
def test_transparency_is_a_fourth_channel_on_request(tmp_path, write_picture, size):
    image = np.zeros((16, 16, 4), np.uint8)
    image[:, :8] = (10, 200, 30, 255)
    image[:, 8:] = (77, 77, 77, 0)  # a colour that nobody sees
    write_picture(tmp_path / "a.png", image)
    write_picture(tmp_path / "b.png", np.full((16, 16), 50, np.uint8))
    images = load(tmp_path, size, 4)
    assert images.shape == (4, size, size)
    first, second = images.pixels(torch.arange(2)).permute(0, 2, 3, 1)
    assert (first[:, 0].tolist(), first[:, -1].tolist()) == ([[10, 200, 30, 255]] * size, [[255, 255, 255, 0]] * size)
    assert (second == torch.tensor([50, 50, 50, 255])).all()
    on_white = load(tmp_path, 16, 3).pixels(torch.tensor([0]))[0]
    assert on_white[:, 0, -1].tolist() == [255, 255, 255]


def test_a_missing_fourth_channel_is_an_error(ten_pictures):
    with pytest.raises(UserError) as error:
        load(ten_pictures, channels=4)
    assert str(error.value) == (
        f"data.channels is 4, but none of the 10 images of {ten_pictures} is transparent.\n"
        "  Try data.channels=3, or PNG or WebP files with an alpha channel."
    )
