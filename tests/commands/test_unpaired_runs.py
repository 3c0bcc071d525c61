"""A run of two domains without pairs, from its start to the images of gan-translate in both directions."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import gan_runner
from gan_runner.commands import main
from gan_runner.errors import UserError
from gan_runner.record.pictures import CELL, GAP
from tests.command_line import call, gan_check

pytestmark = pytest.mark.usefixtures("judge_that_learns_little")

SMALL = {
    "experiment": "cyclegan_recommended",
    "data": {"limit": 96, "image_size": 16},
    "model": {"width": 4, "blocks": 1},
    "evaluation": {"every": 4, "num_images": 100},
    "game": {"pool": 6},
    "trainer": {
        "batch_size": 4,
        "log_every": 4,
        "sample_every": 4,
        "checkpoint_every": 2,
        "intervals_in": "iterations",
        "device": "cpu",
        "precision": "fp32",
        "sample_rows": 2,
    },
}
LENGTH = 4


def train(folder, iterations, **more):
    return gan_runner.train(f"hydra.run.dir={folder}", f"trainer.iterations={iterations}", quiet=True, **SMALL, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory, judge_that_learns_little):
    return train(tmp_path_factory.mktemp("domains") / "run", LENGTH)


def test_metrics_of_both_directions_are_beside_those_of_the_unchanged_input(run):
    names = {tag.removeprefix("metric/").rpartition("_")[0] for tag in run.metrics}
    for name in ("frechet_cnn", "coverage_cnn", "classes_kept", "cycle_l1", "l1", "ssim"):
        assert {name, f"{name}_back"} <= names
    real = run.summary["real"]
    assert real["baselines"].keys() == {"source"}
    assert {"metric/frechet_cnn_both_100", "metric/l1_back_100"} <= real["baselines"]["source"].keys()
    logged = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"cycle/g", "identity/g"} <= logged.keys()


def test_a_row_of_a_grid_has_both_directions_and_the_translations_back(run):
    with Image.open(run.folder / f"samples/iteration_{LENGTH:08d}.png") as picture:
        step = CELL // 16 * 16 + GAP
        assert picture.size == (6 * step + GAP, 2 * step + GAP)


def test_it_resumes_bit_for_bit_with_its_pools(run, tmp_path):
    stopped = train(tmp_path / "stopped", LENGTH // 2)
    resumed = stopped.resume(iterations=LENGTH, quiet=True)
    one, other = (each.load_checkpoint("last", "cpu") for each in (run, resumed))
    for who in ("discriminator", "generator"):
        for name, value in one["players"][who]["net"].items():
            assert torch.equal(value, other["players"][who]["net"][name]), f"{who}.{name}"
    for name in ("pool_images", "pool_sources"):
        assert int(one["game"][name]["shown"]) == 4 * LENGTH
        assert torch.equal(one["game"][name]["images"], other["game"][name]["images"])
    assert run.metrics == resumed.metrics


def test_images_are_translated_in_both_directions_and_alone_bit_for_bit_the_same(run, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1), dtype=np.uint8)
    there, back = (np.asarray(run.translate(images, device="cpu", direction=way)) for way in ("AtoB", "BtoA"))
    assert there.shape == back.shape == (3, 16, 16, 1)
    assert not np.array_equal(there, back)
    assert np.array_equal(np.asarray(run.translate(images, device="cpu")), there)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / f"in/{number}.png")
    assert run.translate_folder(tmp_path / "in", tmp_path / "out", device="cpu", direction="BtoA") == 3
    for number in range(3):
        with Image.open(tmp_path / f"out/{number}.png") as drawn:
            assert np.array_equal(np.asarray(drawn), back[number, ..., 0])


def same_from_a_folder(run, folder, directions):
    run.export(folder, "last", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 1), dtype=np.uint8)
    network, drawn = gan_runner.load(folder), []
    for way in directions:
        drawn.append(np.asarray(run.translate(images, "last", "cpu", way)))
        assert np.array_equal(network.translate(images, way), drawn[-1])
        assert np.array_equal(network.translate(images[1:2], way), drawn[-1][1:2])
    return drawn


def test_an_exported_folder_translates_in_both_directions_as_the_run_does(run, tmp_path):
    own, there, back = same_from_a_folder(run, tmp_path / "g", (None, "AtoB", "BtoA"))
    assert np.array_equal(own, there)
    assert not np.array_equal(there, back)
    with Image.open(tmp_path / "g/grid.png") as grid:
        assert json.loads(grid.text["cells"])[:3] == ["input", "output", "input again"]
    assert run.export(tmp_path / "page.html", "last", device="cpu").endswith("It draws in both directions.")


def test_a_run_on_pairs_translates_in_one_direction_only(tmp_path):
    small = {**SMALL, "experiment": "pix2pix_recommended", "evaluation": "off", "game": {}, "model": {"width": 4}}
    pairs = gan_runner.train(f"hydra.run.dir={tmp_path / 'run'}", "trainer.iterations=1", quiet=True, **small)
    with pytest.raises(UserError, match=r"direction is BtoA.*draws AtoB alone"):
        pairs.translate(np.zeros((1, 16, 16, 1), np.uint8), "last", "cpu", "BtoA")


def test_gan_eval_measures_both_directions_and_gan_sample_draws(run):
    found = run.evaluate("metrics.numbers=fast", checkpoint="last", num=50, real=50, device="cpu")
    rows = {row.name.removesuffix("_50"): row for row in found.rows}
    for name in ("frechet_cnn", "coverage_cnn", "classes_kept", "change", "variety", "cycle_l1", "l1", "ssim"):
        for row in (rows[name], rows[f"{name}_back"]):
            assert row.value is not None
            assert row.baselines["source"] is not None
    assert len(rows) == len(found.rows)
    there, back = (rows[f"frechet_cnn{way}"] for way in ("", "_back"))
    assert rows["frechet_cnn_both"].value == pytest.approx((there.value + back.value) / 2)
    assert there.value != back.value
    assert rows["l1_back"].baselines["source"] == pytest.approx(rows["l1"].baselines["source"])
    assert (rows["l1_back"].real, rows["ssim_back"].real, rows["cycle_l1"].noise) == (0.0, 1.0, None)
    assert run.sample(4, checkpoint="last", device="cpu").shape == (4, 16, 16, 1)


def test_gan_detect_compares_drawn_images_with_real_ones_of_the_domain_that_is_drawn(run):
    assert run.detect(num=80, checkpoint="last", device="cpu").rows


def test_gan_check_accepts_such_a_run(tmp_path):
    small = ["experiment=cyclegan", "evaluation=pixels", "data.limit=24", "data.image_size=16", "model.blocks=1"]
    result = gan_check(tmp_path, *small, "model.width=4", "trainer.device=cpu", "preflight.seconds=0.01")
    assert result.code == 0, result.text
    assert "1 x G, 1 x D" in result.out


def test_every_command_accepts_a_run_that_compares_patches(tmp_path):
    words = ("model.blocks=1", "trainer.iterations=4", f"hydra.run.dir={tmp_path / 'run'}")
    small = {**SMALL, "experiment": "fastcut", "game": {}, "evaluation": {"every": 4, "num_images": 100}}
    contrast = gan_runner.train(*words, quiet=True, **small)
    found = contrast.evaluate("metrics.numbers=fast", checkpoint="last", num=50, real=50, device="cpu")
    assert {row.name for row in found.rows} >= {"classes_kept_50", "l1_50"}
    assert not any("_back" in row.name for row in found.rows)
    assert "mean:" not in found.held_against
    assert contrast.detect(num=80, checkpoint="last", device="cpu").rows
    assert "a pixel differs by at most" in contrast.export(tmp_path / "page.html", "last", device="cpu")
    same_from_a_folder(contrast, tmp_path / "g", (None, "AtoB"))
    with pytest.raises(UserError, match="draws AtoB alone"):
        gan_runner.load(tmp_path / "g").translate(np.zeros((1, 16, 16, 1), np.uint8), "BtoA")
    compared = call(main.compare, tmp_path, f"runs={contrast.folder}")
    assert compared.code == 0, compared.text
    assert '"cells":["input","output","truth"]' in (tmp_path / "compare.html").read_text()
