"""Thumbnails show the first cells of every grid, each pixel of G once, in few bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from gan_runner.record.pictures import CELL, CELLS, NAMES, grid, png_bytes
from gan_runner.report.runs import RunRecord, read_run
from gan_runner.report.thumbnails import Thumbnails
from tests.report.made_up import make_run


def a_run(folder, images, columns, rows, *, told_columns=None):
    grid(images, columns).save(folder / "iteration_00000001.png")
    settings = {"trainer.sample_columns": told_columns or columns, "trainer.sample_rows": rows}
    return RunRecord("a", settings=settings, pictures={1: folder / "iteration_00000001.png"})


def strip_of(run, *, cells=5, times=12, grids=1000, kilobytes=1000):
    thumbnails = Thumbnails(cells, times, grids, kilobytes)
    (strip,) = thumbnails.strips([run], thumbnails.times([run]))
    return strip


def pixels_of(strip):
    with Image.open(io.BytesIO(strip.webp)) as picture:
        assert picture.size == (strip.width, strip.height * len(strip.iterations))
        return np.asarray(picture.convert("RGB")).astype(int)


def a_run_by_class(folder, names):
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 1), np.uint8)
    run = a_run(folder, images, columns=4, rows=3)
    file = folder / "iteration_00000001.png"
    file.write_bytes(png_bytes(grid(images, 4, names)))
    return run


def test_class_names_of_a_grid_are_shown_beside_its_thumbnail_and_not_in_it(tmp_path):
    with_names = strip_of(a_run_by_class(tmp_path, ["cat", "a dog", "</script>"]), cells=2)
    assert with_names.names == ["cat", "a dog"], "as many as rows are shown"
    without = strip_of(a_run_by_class(tmp_path, []), cells=2)
    assert without.names == []
    assert (with_names.width, with_names.height) == (without.width, without.height)
    np.testing.assert_array_equal(pixels_of(with_names), pixels_of(without))


def a_run_of_pairs(folder, cells, *, columns=9):
    images = np.random.default_rng(0).integers(0, 256, (2 * columns, 16, 16, 1), np.uint8)
    run = a_run(folder, images, columns, rows=2, told_columns=10)
    run.pictures[1].write_bytes(png_bytes(grid(images, columns, cells=cells)))
    return run, images


@pytest.mark.parametrize(("most", "shown"), [(2, 3), (5, 3), (6, 6), (10, 9)])
def test_cells_that_belong_to_one_image_are_shown_together_with_what_they_show(tmp_path, most, shown):
    run, images = a_run_of_pairs(tmp_path, ["input", "output", "truth"])
    strip = strip_of(run, cells=most)
    assert (run.problems, strip.cells) == ([], ["input", "output", "truth"])
    assert (strip.width, strip.height) == (17 * shown - 1, 33)
    first = pixels_of(strip)[:16, :16, 0]
    assert np.abs(first - images[0, ..., 0]).mean() < np.abs(first - images[1, ..., 0]).mean() / 2


@pytest.mark.parametrize("damaged", ["{", "5", "[]", '["a", "b"]', str(["a"] * 12).replace("'", '"'), "[" * 100_000])
def test_damaged_names_of_cells_are_no_reason_to_lose_an_image(tmp_path, damaged):
    run, _ = a_run_of_pairs(tmp_path, ["input", "output", "truth"])
    with Image.open(run.pictures[1]) as picture:
        picture.load()
        picture.info[CELLS] = damaged
        run.pictures[1].write_bytes(png_bytes(picture))
    strip = strip_of(run, cells=4)
    assert (run.problems, strip.cells, strip.width) == ([], [], 17 * 4 - 1)


@pytest.mark.parametrize("damaged", ["{", "5", '{"a": 1}', "[" * 100_000, "[1, null]"])
def test_damaged_names_do_not_lose_a_grid(tmp_path, damaged):
    run = a_run_by_class(tmp_path, ["cat", "dog", "cow"])
    with Image.open(run.pictures[1]) as picture:
        picture.load()
        picture.info[NAMES] = damaged
        run.pictures[1].write_bytes(png_bytes(picture))
    assert strip_of(run, cells=2).names in ([], ["1", "None"])
    assert run.problems == []


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 32, 32), (1, 8, 12), (3, 40, 64)])
def test_the_first_cells_are_shown_pixel_by_pixel(tmp_path, channels, height, width):
    images = np.zeros((12, height, width, channels), np.uint8)
    images += (np.arange(12) * 20).astype(np.uint8)[:, None, None, None]
    images[:, 0, 0] = 255
    strip = strip_of(a_run(tmp_path, images, columns=4, rows=3), cells=2)
    assert (strip.width, strip.height) == (2 * width + 1, 2 * height + 1)
    pixels = pixels_of(strip)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = pixels[row * (height + 1) + height - 3, column * (width + 1) + width - 3]
        np.testing.assert_allclose(corner, 20 * (4 * row + column), atol=12)


def test_cells_larger_than_those_of_the_page_are_shrunk(tmp_path):
    images = np.random.default_rng(0).integers(40, 61, (4, 3 * CELL, 2 * CELL, 1), np.uint8)
    strip = strip_of(a_run(tmp_path, images, columns=2, rows=2))
    assert (strip.width, strip.height) == (2 * (2 * CELL // 3) + 1, 2 * CELL + 1)
    np.testing.assert_allclose(pixels_of(strip)[5, 5], 50, atol=10)


def test_a_cell_is_as_large_as_the_largest_image_needs(tmp_path):
    folder = make_run(tmp_path / "a", iterations=40, pictures=4)
    grid(np.zeros((36, 8, 8, 1), np.uint8), 6).save(folder / "samples/iteration_00000010.png")
    assert strip_of(read_run(folder, "a")).width == 5 * 9 - 1


def test_grids_of_a_run_without_a_config_are_shown_whole(tmp_path):
    run = a_run(tmp_path, np.random.default_rng(0).integers(0, 256, (16, 28, 28, 1), np.uint8), columns=4, rows=4)
    run.settings = {}
    assert (strip_of(run).width, strip_of(run).height) == (4 * 58 + 2, 4 * 58 + 2)
    assert strip_of(run, cells=2).width == 2 * CELL


def test_a_grid_of_another_layout_or_size_is_reported(tmp_path):
    images = np.full((4, 28, 28, 1), 50, np.uint8)
    run = a_run(tmp_path, images, columns=2, rows=2, told_columns=7)
    assert strip_of(run) is None
    assert run.problems == ["samples/iteration_00000001.png cannot be read: it is not a grid of 7 columns and 2 rows."]
    folder = make_run(tmp_path / "a", iterations=40, pictures=4)
    grid(np.zeros((36, 12, 12, 1), np.uint8), 6).save(folder / "samples/iteration_00000030.png")
    run = read_run(folder, "a")
    assert strip_of(run).iterations == [10, 20, 40]
    assert len(run.problems) == 1


def test_times_are_spread_over_all_iterations_that_were_drawn(tmp_path):
    runs = [
        RunRecord("a", pictures=dict.fromkeys(range(0, 100, 10))),
        RunRecord("b", pictures=dict.fromkeys(range(5, 60, 10))),
    ]
    assert Thumbnails(5, 20, 1000, 100).times(runs) == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 70, 80, 90]
    assert Thumbnails(5, 4, 1000, 100).times(runs) == [0, 25, 50, 90]
    assert Thumbnails(5, 20, 8, 100).times(runs) == [0, 25, 50, 90]
    assert Thumbnails(5, 20, 1, 100).times(runs) == [0, 90]
    assert Thumbnails(5, 20, 1000, 100).times([RunRecord("c")]) == []


def test_a_run_shows_at_each_time_its_latest_grid(tmp_path):
    run = read_run(make_run(tmp_path / "a", iterations=40, pictures=4), "a")
    thumbnails = Thumbnails(2, 12, 1000, 100)
    strips = thumbnails.strips([run, RunRecord("without")], [5, 10, 35, 90])
    assert strips[0].iterations == [10, 30, 40]
    assert strips[1] is None


def test_noisy_grids_are_compressed_more_so_that_the_page_stays_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (25, 64, 64, 3), dtype=np.uint8)
    run = a_run(tmp_path, noise, columns=5, rows=5)
    sharp, small = strip_of(run), strip_of(run, kilobytes=30)
    assert len(small.webp) < 30_000 < len(sharp.webp)
    assert (small.width, small.height) == (sharp.width // 2, sharp.height // 2)


NOT_PICTURES = {
    "empty": b"",
    "text": b"not a picture",
    "another format": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "half a picture": None,
    "more pixels than memory": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
    + b"\x00\x00\xff\xff" * 2
    + b"\x08\x02\x00\x00\x00",
}


@pytest.mark.parametrize("content", NOT_PICTURES.values(), ids=NOT_PICTURES)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_that_is_not_an_image_is_reported_and_others_are_shown(tmp_path, content):
    folder = make_run(tmp_path / "a", iterations=40, pictures=4)
    damaged = folder / "samples/iteration_00000020.png"
    damaged.write_bytes(damaged.read_bytes()[:200] if content is None else content)
    run = read_run(folder, "a")
    assert strip_of(run).iterations == [10, 30, 40]
    (problem,) = run.problems
    assert problem.startswith("samples/iteration_00000020.png cannot be read")
