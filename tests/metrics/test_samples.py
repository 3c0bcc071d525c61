import io
import warnings
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.errors import UserError
from gan_runner.metrics import samples
from gan_runner.metrics.samples import read_samples
from gan_runner.record.pictures import write_samples

GREY, COLOUR = (1, 8, 6), (3, 8, 6)


def pixels(shape, count=5):
    channels, height, width = shape
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def message_of(path, shape=GREY):
    with pytest.raises(UserError) as error:
        read_samples(str(path), shape)
    return str(error.value)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
@pytest.mark.parametrize("output", ["pictures/", "pictures.npz"])
def test_what_the_runner_writes_is_read_back(tmp_path, shape, output):
    images = pixels(shape)
    write_samples(images, f"{tmp_path}/{output}")
    read = read_samples(f"{tmp_path}/{output}", shape)
    assert read.dtype == torch.uint8
    assert torch.equal(read, torch.from_numpy(images).permute(0, 3, 1, 2))


def test_files_are_read_in_the_order_of_their_names_and_others_are_left_alone(tmp_path):
    images = pixels(GREY)
    for name, image in zip("cab", images, strict=False):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{name}.PNG", format="PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    Image.fromarray(images[4, ..., 0]).save(tmp_path / ".hidden.png")
    assert torch.equal(read_samples(str(tmp_path), GREY)[:, 0], torch.from_numpy(images[[1, 2, 0], ..., 0]))


def test_what_is_not_there_or_is_something_else_is_said(tmp_path):
    assert "there is no such file or folder.\n  Give a folder of PNG files" in message_of(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("")
    assert "that is a file of another kind." in message_of(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    assert "it holds no PNG files." in message_of(tmp_path / "empty")


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (Image.new("L", (9, 8), 200), "a.png is 8x9 pixels, where the real pictures are 8x6.\n  Try data.image_size=8"),
        (
            Image.new("RGB", (6, 8)),
            "a.png has 3 channels, where the real pictures have 1.\n  Write the pictures in",
        ),
        (Image.new("RGBA", (6, 8)), "a.png is a PNG of mode RGBA, where grey (L) or RGB are needed.\n  Convert the"),
        (Image.new("P", (6, 8)), "a PNG of mode P"),
    ],
)
def test_pictures_of_another_size_or_kind_are_refused(tmp_path, picture, said):
    picture.save(tmp_path / "a.png")
    assert said in message_of(tmp_path)


def test_a_broken_png_is_named(tmp_path):
    Image.fromarray(pixels(GREY)[0, ..., 0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:50])
    assert "a.png cannot be read" in message_of(tmp_path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pixels(GREY).astype(np.float32), "arr_0 is float32 [5, 8, 6, 1], where uint8 [N, height, width, channels] is"),
        (pixels(GREY)[..., 0], "Reshape the array; grey pictures have one channel at the end: x[..., None]."),
        (pixels(GREY).transpose(0, 3, 1, 2), "Move the channels to the end: x.transpose(0, 2, 3, 1)."),
        (pixels(COLOUR), "arr_0 has 3 channels, where the real pictures have 1."),
        (pixels((1, 8, 8)), "arr_0 is 8x8 pixels, where the real pictures are 8x6."),
        (pixels(GREY)[:0], "arr_0 is empty."),
        (pixels(GREY) // 128, "no pixel is above 1, where they go from 0 to 255."),
        (np.array([{"code": 1}], dtype=object), "arr_0 is object [1]"),
    ],
    ids=["floats", "no channels", "channels first", "colour", "size", "empty", "range", "objects"],
)
def test_an_array_of_another_form_is_refused_with_what_to_do(tmp_path, array, said):
    np.savez(tmp_path / "a.npz", array)
    assert said in message_of(tmp_path / "a.npz")


def test_an_npz_without_the_array_or_that_is_none_is_said(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(GREY))
    assert "it has no array arr_0.\n  Write it with numpy.savez(PATH, images), without a name." in message_of(
        tmp_path / "a.npz"
    )
    (tmp_path / "b.npz").write_bytes(b"PK nonsense")
    assert "it cannot be read: " in message_of(tmp_path / "b.npz")


def test_a_file_that_would_unpack_to_more_than_is_read_is_refused_by_its_header(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 8, 6, 1)}
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive, archive.open("arr_0.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    assert "its 1,000,000,000 pictures take 48.0 GB, where 4.3 GB are read at most." in message_of(
        tmp_path / "bomb.npz"
    )


def test_a_folder_of_too_many_is_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_LARGEST", 100)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    assert "its 3 pictures take 0.0 GB" in message_of(tmp_path)


@pytest.mark.parametrize("names", [("arr_0.npy", "arr_0"), ("arr_0.npy", "arr_0.npy")])
def test_of_two_entries_for_one_array_none_is_chosen(tmp_path, names):
    buffer = io.BytesIO()
    np.save(buffer, pixels(GREY))
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's own, of the second name
        for name in names:
            archive.writestr(name, buffer.getvalue())
    assert "it has 2 entries for arr_0" in message_of(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little"), "header of an array with named fields"),
        (b"\x93NUMPY\x01\x00", "it cannot be read"),
        (b"", "it cannot be read"),
    ],
)
def test_a_header_is_read_within_bounds(tmp_path, content, said):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", content)
    assert said in message_of(tmp_path / "a.npz")


def test_an_array_that_ends_early_is_told_and_one_by_columns_is_turned(tmp_path):
    array = pixels(GREY)
    np.savez(tmp_path / "a.npz", np.asfortranarray(array))
    assert torch.equal(read_samples(str(tmp_path / "a.npz"), GREY), torch.from_numpy(array).permute(0, 3, 1, 2))
    buffer = io.BytesIO()
    np.save(buffer, array)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("arr_0.npy", buffer.getvalue()[:-5])
    assert "it ends early" in message_of(tmp_path / "b.npz")
