import io
import logging
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
def test_images_that_gan_sample_writes_are_read_back(tmp_path, shape, output):
    images = pixels(shape)
    write_samples(images, f"{tmp_path}/{output}")
    read = read_samples(f"{tmp_path}/{output}", shape)
    assert read.dtype == torch.uint8
    assert torch.equal(read, torch.from_numpy(images).permute(0, 3, 1, 2))


def save(image, path, **how):
    """Write pixels [H, W, C] as a file of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image.squeeze())).save(path, **how)


def as_tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def test_files_are_read_in_the_order_of_their_paths_with_subfolders_and_a_line_says_what_is_read(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    images = pixels(GREY)
    for name, image in zip(("c.PNG", "a.png", "b/x.png", "b/c/y.bmp"), images, strict=False):
        save(image, tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "photo.heic").write_text("an image of another kind")
    for hidden in (".hidden.png", "__MACOSX/a.png"):
        save(images[4], tmp_path / hidden)
    assert torch.equal(read_samples(str(tmp_path), GREY), as_tensor(images[[1, 3, 2, 0]]))
    said, warned = (record.getMessage() for record in caplog.records)
    assert said == f"{tmp_path}: 4 images (3 .png, 1 .bmp), also of 2 folders below (b, b/c)."
    assert warned.startswith("1 file that may hold images is not read: 1 .heic (photo.heic).")


def test_a_missing_path_or_another_kind_of_file_is_reported(tmp_path):
    assert "there is no such file or folder.\n  Give a folder of images" in message_of(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("")
    assert "that is a file of another kind." in message_of(tmp_path / "a.txt")
    (tmp_path / "empty").mkdir()
    assert "it holds no images that can be read: there are no files." in message_of(tmp_path / "empty")
    (tmp_path / "empty/a.heic").write_text("")
    assert "it holds no images that can be read: there are 1 .heic." in message_of(tmp_path / "empty")
    (tmp_path / "empty/drawn.npz").write_text("")
    assert message_of(tmp_path / "empty").endswith(f"Try samples={tmp_path}/empty/drawn.npz")


def in_mode(image, mode):
    """An image as Pillow has it in a mode, none of whose pixels changes on the way."""
    if mode == "P":
        return Image.fromarray(image[..., 0]).convert("P")  # 256 levels in a palette
    picture = Image.fromarray(image.squeeze())
    return picture if mode == picture.mode else picture.convert(mode)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".ppm"])
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_grey_images_are_the_same_in_any_mode_and_format(tmp_path, mode, ending):
    images = pixels(GREY)
    for number, image in enumerate(images):
        try:
            save(
                in_mode(image, mode),
                tmp_path / f"{number}{ending}",
                **({"lossless": True} if ending == ".webp" else {}),
            )
        except OSError:
            pytest.skip(f"Pillow writes no {ending} of mode {mode}")
    assert torch.equal(read_samples(str(tmp_path), GREY), as_tensor(images))
    save(pixels(COLOUR)[0], tmp_path / "z.png")
    said = "1 of 6 images (z.png) has colours, where the real images are grey.\n  Write the images in grey"
    assert said in message_of(tmp_path)


def test_a_grey_file_among_colour_ones_is_a_colour_image_and_a_folder_of_grey_files_is_grey(tmp_path):
    grey, colour = pixels(GREY)[0], pixels(COLOUR)[0]
    save(grey, tmp_path / "a.png")
    said = "all its images are grey, where the real images are in colour.\n  Write the images in RGB"
    assert said in message_of(tmp_path, COLOUR)
    save(colour, tmp_path / "b.png")
    read = read_samples(str(tmp_path), COLOUR)
    assert torch.equal(read, as_tensor(np.stack([grey.repeat(3, -1), colour])))


def test_a_jpeg_of_grey_images_is_grey(tmp_path):
    save(in_mode(pixels(GREY)[0], "RGB"), tmp_path / "a.jpg")
    assert read_samples(str(tmp_path), GREY).shape == (1, *GREY)


def test_images_of_more_than_8_bits_are_refused(tmp_path):
    save(pixels(GREY)[0].astype(np.uint16) * 257, tmp_path / "a.png")
    assert "1 of 1 image (a.png) has more than 8 bits a channel" in message_of(tmp_path)


def test_an_image_with_a_cameras_rotation_mark_has_the_size_that_it_is_shown_at(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    save(pixels(COLOUR)[0], tmp_path / "a.jpg", exif=turned)
    assert "its images are of 8x6 pixels, where the real images are of 6x8." in message_of(tmp_path, COLOUR)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([(9, 9)] * 3, "its images are of 9 pixels, where the real images are of 8.\n  Try data.image_size=9, or"),
        ([(9, 8)] * 3, "its images are of 9x8 pixels, where the real images are of 8.\n  Write them at 8 pixels"),
        ([(8, 8), (9, 9)], "images of 8 and 9 pixels (1 differ: 1.png), where the real images are of 8."),
        ([(8, 8), (10, 10), (9, 9)], "images of 8, 9 and 10 pixels (2 differ: 1.png, 2.png), where"),
        ([(7, 7), (9, 8)] * 2, "images of 7 and 9x8 pixels (4 differ: 0.png, 1.png, ...), where"),
        ([(8, 8 + n) for n in range(7)], "images of 7 sizes from 8 to 8x14 pixels (6 differ: 1.png, 2.png, ...)"),
    ],
)
def test_different_sizes_are_reported_together_before_any_image_is_decoded(tmp_path, monkeypatch, sizes, said):
    monkeypatch.setattr(samples, "examined", None)
    for number, size in enumerate(sizes):
        save(Image.new("L", size), tmp_path / f"{number}.png")
    assert said in (message := message_of(tmp_path, (1, 8, 8)))
    if len(set(sizes)) > 1:
        assert message.endswith("Write all images at 8 pixels, or remove those of other sizes.")


def test_a_broken_png_is_reported_by_name(tmp_path):
    Image.fromarray(pixels(GREY)[0, ..., 0]).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:50])
    assert "not all its images can be read: 1 file cannot be decoded (a.png)" in message_of(tmp_path)
    (tmp_path / "a.png").write_bytes(content[:20])
    assert "not all its images can be read: 1 file cannot be decoded (a.png)" in message_of(tmp_path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (pixels(GREY).astype(np.float32), "arr_0 is float32 [5, 8, 6, 1], where uint8 [N, height, width, channels] is"),
        (pixels(GREY)[..., 0], "Reshape the array; grey images have one channel at the end: x[..., None]."),
        (pixels(GREY).transpose(0, 3, 1, 2), "Move the channels to the end: x.transpose(0, 2, 3, 1)."),
        (pixels(COLOUR), "arr_0 has colours, where the real images are grey."),
        (pixels(GREY).repeat(2, -1), "arr_0 has 2 channels, where the real images have 1."),
        (pixels((1, 8, 8)), "its images are of 8 pixels, where the real images are of 6x8."),
        (pixels(GREY)[:0], "arr_0 is empty."),
        (pixels(GREY) // 128, "no pixel is above 1, where they go from 0 to 255."),
        (np.array([{"code": 1}], dtype=object), "arr_0 is object [1]"),
    ],
    ids=["floats", "no channels", "channels first", "colour", "two channels", "size", "empty", "range", "objects"],
)
def test_an_array_of_another_shape_is_refused_with_what_to_do(tmp_path, array, said):
    np.savez(tmp_path / "a.npz", array)
    assert said in message_of(tmp_path / "a.npz")


def test_an_array_of_grey_images_in_three_channels_is_grey(tmp_path):
    np.savez(tmp_path / "a.npz", pixels(GREY).repeat(3, -1))
    assert torch.equal(read_samples(str(tmp_path / "a.npz"), GREY), as_tensor(pixels(GREY)))
    np.savez(tmp_path / "a.npz", pixels(GREY))
    assert "arr_0 has 1 channel, where the real images have 3." in message_of(tmp_path / "a.npz", COLOUR)


def test_a_file_without_the_array_or_that_is_not_an_npz_is_reported(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(GREY))
    assert "it has no array arr_0.\n  Write it with numpy.savez(PATH, images), without a name." in message_of(
        tmp_path / "a.npz"
    )
    (tmp_path / "b.npz").write_bytes(b"PK nonsense")
    assert "it cannot be read: " in message_of(tmp_path / "b.npz")


def test_a_file_that_would_unpack_to_too_much_is_refused_by_its_header(tmp_path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 8, 6, 1)}
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive, archive.open("arr_0.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    assert "its 1,000,000,000 images take 48.0 GB, where 4.3 GB are read at most." in message_of(tmp_path / "bomb.npz")


def test_a_folder_of_too_many_images_is_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_LARGEST", 100)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    assert "its 3 images take 0.0 GB" in message_of(tmp_path)


@pytest.mark.parametrize("names", [("arr_0.npy", "arr_0"), ("arr_0.npy", "arr_0.npy")])
def test_two_entries_for_one_array_are_refused(tmp_path, names):
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


def test_a_truncated_array_is_reported_and_one_in_column_order_is_read(tmp_path):
    array = pixels(GREY)
    np.savez(tmp_path / "a.npz", np.asfortranarray(array))
    assert torch.equal(read_samples(str(tmp_path / "a.npz"), GREY), torch.from_numpy(array).permute(0, 3, 1, 2))
    buffer = io.BytesIO()
    np.save(buffer, array)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("arr_0.npy", buffer.getvalue()[:-5])
    assert "it ends early" in message_of(tmp_path / "b.npz")
