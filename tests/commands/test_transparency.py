"""A run on oblong images with transparency goes through every command, and its grids show them on white."""

import json

import numpy as np
import pytest
from PIL import Image

from gan_runner.commands import main
from gan_runner.export import load_exported
from gan_runner.metrics import features
from tests.command_line import QUICK, call, gan_run, gan_sample

HEIGHT, WIDTH = 16, 24
DATA = ["data=emoji", "data.channels=4", f"data.image_size=[{HEIGHT},{WIDTH}]", "data.flip=true"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "_MOST_SHOWN", 500)  # what has to be learned need not be learned well
    result = gan_run(tmp_path, *DATA, *QUICK, "evaluation=pixels", "hydra.run.dir=run")
    assert result.code == 0, result.text
    return tmp_path


def size_and_mode(path):
    with Image.open(path) as picture:
        return picture.size, picture.mode


@pytest.mark.slow
def test_a_run_on_images_with_transparency_that_are_not_square_works_with_every_command(folder):
    cells = 10 * (2 * WIDTH + 2) + 2, 10 * (2 * HEIGHT + 2) + 2  # drawn at twice the size, with gaps of 2
    assert size_and_mode(folder / "run/samples/iteration_00000004.png") == (cells, "RGB")
    for output in ("grid.png", "arrays.npz", "pictures/"):
        assert gan_sample(folder, "run=run", "num=40", f"output={output}").code == 0
    assert size_and_mode(folder / "grid.png")[1] == "RGB"
    drawn = np.load(folder / "arrays.npz")["arr_0"]
    assert (drawn.shape, drawn.dtype) == ((40, HEIGHT, WIDTH, 4), np.uint8)
    assert size_and_mode(folder / "pictures/00000.png") == ((WIDTH, HEIGHT), "RGBA")

    assert call(main.export, folder, "run=run", "output=exported").code == 0
    assert np.array_equal(load_exported(folder / "exported").sample(40), drawn)
    assert call(main.export, folder, "run=run", "output=page.html").code == 0

    result = call(main.evaluate, folder, "run=run", "checkpoint=last", "num=60", "real=60", "metrics.numbers=[frechet]")
    assert result.code == 0, result.text
    metrics = json.loads((folder / "run/evaluation-last.json").read_text())["metrics"]
    assert metrics
    assert all(value > 0 for value in metrics.values())

    result = call(main.compare, folder, "runs=[run]", "output=table")
    assert result.code == 0, result.text
