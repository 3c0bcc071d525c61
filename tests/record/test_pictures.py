import re
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from gan_runner.errors import UserError
from gan_runner.record.pictures import (
    animation,
    check_output,
    first_middle_last,
    folder_names,
    grid,
    grid_by_class,
    near_square,
    save_atomically,
    timeline,
    to_uint8,
    write_samples,
)

GREY = np.arange(7 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(7, 28, 28, 1)
RGB = GREY.repeat(3, axis=3)


def frames(count, mode="L"):
    shades = np.linspace(0, 200, count).astype(int)
    return [(f"epoch {i}", Image.new("L", (120, 90), int(s)).convert(mode)) for i, s in enumerate(shades)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_to_uint8_inverts_the_scaling_of_every_byte(dtype):
    levels = torch.arange(256, dtype=torch.uint8)
    images = (levels.to(dtype) / 127.5 - 1).reshape(1, 1, 16, 16)
    assert to_uint8(images).reshape(-1).tolist() == levels.tolist()


def test_to_uint8_rounds_clamps_and_draws_a_diverged_network_grey():
    images = torch.tensor([-2.0, -1.0, 0.3 / 127.5 - 1, 0.7 / 127.5 - 1, 1.0, 2.0, torch.inf, torch.nan])
    assert to_uint8(images.reshape(1, 1, 2, 4)).reshape(-1).tolist() == [0, 0, 0, 1, 255, 255, 255, 128]


def test_to_uint8_puts_channels_last_for_any_memory_format_and_type():
    images = torch.rand(2, 3, 4, 5, requires_grad=True) * 2 - 1
    expected = to_uint8(images)
    assert expected.shape == (2, 4, 5, 3)
    assert expected.dtype == np.uint8
    assert np.array_equal(to_uint8(images.to(memory_format=torch.channels_last)), expected)
    assert np.abs(to_uint8(images.bfloat16()).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("of_each", [1, 2, 7, 10, 11, 12, 13, 23, 40])
def test_rows_of_a_class_are_about_equally_long_and_not_longer_than_the_grid_is_high(of_each):
    images, label = np.zeros((3 * of_each, 28, 28, 1), np.uint8), np.arange(3).repeat(of_each)
    page = grid_by_class(images, label, ["", "", ""])
    columns, rows = page.width // 58, page.height // 58
    assert rows % 3 == 0
    assert columns <= max(10, near_square(3 * of_each))
    assert 0 <= columns * rows // 3 - of_each < rows // 3, "no more cells are left over than a class has rows"


@pytest.mark.parametrize("images", [GREY, RGB], ids=["grey", "rgb"])
def test_a_grid_enlarges_28_pixels_to_sharp_cells_of_56_in_reading_order(images):
    picture = grid(images, columns=3)
    assert picture.mode == ("L" if images.shape[-1] == 1 else "RGB")
    assert picture.size == (3 * 58 + 2, 3 * 58 + 2)
    pixels = np.asarray(picture).reshape(176, 176, -1)
    for number, (top, left) in {0: (2, 2), 2: (2, 118), 3: (60, 2), 6: (118, 2)}.items():
        cell = pixels[top : top + 56, left : left + 56]
        assert np.array_equal(cell[::2, ::2], images[number])
        assert np.array_equal(cell[1::2, 1::2], images[number])


def test_empty_cells_of_the_last_row_have_the_colour_of_the_gaps():
    pixels = np.asarray(grid(GREY, columns=3))
    assert (pixels[116:, 60:] == pixels[0, 0]).all()


@pytest.mark.parametrize(("side", "enlarged"), [(8, 64), (28, 56), (32, 64), (33, 33), (64, 64), (128, 128)])
def test_only_small_images_are_enlarged(side, enlarged):
    assert grid(np.zeros((1, side, side, 1), np.uint8), columns=1).size == (enlarged + 4, enlarged + 4)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4), (100, 10)])
def test_near_square_gives_the_smallest_square_for_all_images(count, columns):
    assert near_square(count) == columns


@pytest.mark.parametrize(
    ("count", "picked"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 2, 3]), (101, [0, 50, 100])]
)
def test_first_middle_last_has_no_frame_twice(count, picked):
    everything = [(f"epoch {i}", Image.new("L", (1, 1))) for i in range(count)]
    assert first_middle_last(everything) == [everything[i] for i in picked]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_timeline_shows_every_frame_under_its_caption(count, mode):
    strip = timeline(frames(count, mode))
    assert strip.mode == mode
    assert strip.size == (count * 120 + (count - 1) * 12, 120)
    pixels = np.asarray(strip.convert("L"))
    for number, (_, picture) in enumerate(frames(count)):
        columns = slice(number * 132, number * 132 + 120)
        assert np.array_equal(pixels[30:, columns], np.asarray(picture))
        assert (pixels[:30, columns] < 128).sum() > 50, "no ink where the caption belongs"


def test_a_caption_wider_than_its_image_is_not_cut():
    tiny = Image.new("L", (10, 10))
    strip = timeline([("iteration 123456", tiny)])
    assert strip.width > 100
    assert (np.asarray(strip)[:, -2:] == 255).all()


def test_a_timeline_of_grey_and_colour_is_in_colour():
    assert timeline([*frames(1, "L"), *frames(1, "RGB")]).mode == "RGB"


@pytest.mark.parametrize("name", ["timeline.webp", "timeline.gif"])
@pytest.mark.parametrize(("count", "each"), [(5, 500), (40, 200), (400, 40)])
def test_an_animation_shows_all_frames_at_a_sensible_speed_and_pauses_at_the_last(tmp_path, count, each, name):
    path = tmp_path / name
    numbered = [(f"iteration {9 * i}", Image.new("L", (8, 8), i % 256)) for i in range(count)]
    animation(numbered, path)
    with Image.open(path) as animated:
        durations = [frame.load() and frame.info["duration"] for frame in ImageSequence.Iterator(animated)]
    assert durations == [each] * (count - 1) + [2000]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_gif_keeps_the_colours_of_images_with_few(tmp_path):
    path = tmp_path / "timeline.gif"
    colours = ["red", "lime", "blue"]
    animation([(name, Image.new("RGB", (60, 60), name)) for name in colours], path)
    with Image.open(path) as gif:
        shown = [frame.convert("RGB").getpixel((30, 60)) for frame in ImageSequence.Iterator(gif)]
    assert shown == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_webp_keeps_every_colour_of_every_frame(tmp_path, count, mode):
    path = tmp_path / "timeline.webp"
    noise = np.random.default_rng(0).integers(0, 256, (count, 90, 200, 3), np.uint8)
    pictures = [Image.fromarray(each).convert(mode) for each in noise]
    animation([(f"epoch {number}", picture) for number, picture in enumerate(pictures)], path)
    with Image.open(path) as webp:
        shown = [np.asarray(frame.convert("RGB"))[30:] for frame in ImageSequence.Iterator(webp)]
    assert np.array_equal(shown, [np.asarray(picture.convert("RGB")) for picture in pictures])


def test_frames_too_large_for_a_webp_are_drawn_smaller(tmp_path):
    path = tmp_path / "timeline.webp"
    animation([(name, Image.new("L", (100, 17_000), level)) for level, name in enumerate("ab")], path)
    with Image.open(path) as webp:
        assert (webp.n_frames, webp.size) == (2, (50, 8_515))


def test_an_image_that_cannot_be_written_leaves_the_old_one_and_no_other_file(tmp_path):
    path = tmp_path / "grid.png"
    save_atomically(Image.new("L", (2, 2), 7), path)
    with pytest.raises(OSError, match="cannot write mode"):
        save_atomically(Image.new("HSV", (2, 2)), path)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]
    with Image.open(path) as kept:
        assert kept.getpixel((0, 0)) == 7


def test_a_png_of_samples_is_one_near_square_grid(tmp_path):
    write_samples(GREY, tmp_path / "new" / "samples.png")
    with Image.open(tmp_path / "new" / "samples.png") as picture:
        assert picture.size == (176, 176)


def test_an_npz_of_samples_holds_arr_0(tmp_path):
    write_samples(RGB, f"{tmp_path}/samples.npz")
    with np.load(tmp_path / "samples.npz") as file:
        assert file.files == ["arr_0"]
        assert file["arr_0"].dtype == np.uint8
        assert np.array_equal(file["arr_0"], RGB)


@pytest.mark.parametrize("images", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("ending", ["/", ""], ids=["slash", "empty_folder"])
def test_a_folder_of_samples_has_a_file_for_each_image(tmp_path, images, ending):
    folder = tmp_path / "samples.d"
    if not ending:
        folder.mkdir()
    write_samples(images, f"{folder}{ending}")
    assert sorted(file.name for file in folder.iterdir()) == [f"0000{i}.png" for i in range(7)]
    with Image.open(folder / "00003.png") as picture:
        assert np.array_equal(np.asarray(picture).reshape(28, 28, -1), images[3])


@pytest.mark.parametrize("output", ["samples.jpg", "samples"])
def test_an_unknown_file_ending_is_refused_with_the_three_possibilities(output):
    with pytest.raises(UserError) as error:
        write_samples(GREY, output)
    assert str(error.value) == (
        f"output={output} has no known format for samples.\n"
        "  End it in .png for one grid, in .npz for an array arr_0 of uint8 [N, H, W, C], "
        "or in / for a folder of PNG files."
    )


@pytest.mark.parametrize("name", ["samples.png", "samples.npz", "samples/"])
def test_samples_never_overwrite_anything(tmp_path, name):
    output = f"{tmp_path}/{name}"
    check_output(output)
    write_samples(GREY[:2], output)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    with pytest.raises(UserError, match=r"exists already.*\n  Choose another path for output"):
        write_samples(GREY, output)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before


def test_a_folder_of_samples_does_not_replace_a_file(tmp_path):
    (tmp_path / "samples").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        check_output(f"{tmp_path}/samples/")


NAMES = [
    *("", ".", "..", " ", "...", "/", "//", "../..", "a/b", "a-b", "a\\b", "a:b", "a?b", ".hidden", "dot.", "blank "),
    *("CON", "con", "Con.x", "nul", "NUL.txt", "aux ", "prn", "com1", "COM9.tar.gz", "lpt0", "com\u00b2", "conin$"),
    *("console", "com10", "comx", "null"),
    *("Cat", "cat", "CAT", "\u00e9t\u00e9", "e\u0301te\u0301", "stra\u00dfe", "STRASSE", "\u732b", "\U0001f408"),
    *("line\nbreak", "\x00", "\x1b[31m", "\u202eturned", "\udcff", "a" * 300, "a" * 400, "\u732b" * 120, "cat-2"),
]


def test_folder_names_of_classes_are_valid_on_any_system_and_all_different(tmp_path):
    names = folder_names(NAMES)
    devices = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
    for wanted, name in zip(NAMES, names, strict=True):
        assert name.strip(" .") == name != "", wanted
        assert not set(name) & set('<>:"/\\|?*'), wanted
        assert name.isprintable(), wanted
        assert not devices.fullmatch(name), wanted
        assert len(name.encode()) < 250, wanted
        (tmp_path / name).mkdir()
        assert (tmp_path / name).resolve().parent == tmp_path.resolve(), wanted
    for form in ("NFC", "NFD"):
        assert len({unicodedata.normalize(form, name).lower() for name in names}) == len(NAMES)
    for wanted in ("console", "com10", "null", "Cat", "\u732b"):
        assert names[NAMES.index(wanted)] == wanted
