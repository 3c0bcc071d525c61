"""What an outsider adds trains, is measured and resumes to the bit, with no edit of the package."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.record.pictures import CELL, GAP, NAMES_WIDTH
from tests.command_line import gan_run, gan_sample
from tests.plugins import brightness

CONF = str(Path(__file__).parent / "conf")
LENGTH = 120
SMALL = [
    *("trainer.batch_size=16", "trainer.log_every=30", "trainer.intervals_in=iterations", "trainer.sample_every=60"),
    *("trainer.checkpoint_every=30", "data.limit=200", "evaluation.every=30", "evaluation.num_images=100"),
]
PLUGINS = {
    "a class-conditional game": ["game=by_class", "model=conditional", "optimizer.lr=3e-3"],
    "a game of pictures to pictures": ["game=translation", "model=translation", "data=outlines"],
    "a metric": ["evaluation=brightness", "model.generator.widths=[16]", "model.discriminator.widths=[16]"],
}


def train(folder, name, plugin, iterations):
    arguments = ["--config-dir", CONF, *plugin, *SMALL, f"trainer.iterations={iterations}", f"hydra.run.dir={name}"]
    result = gan_run(folder, *arguments)
    assert result.code == 0, result.text
    return folder / name


def weights(run):
    players = torch.load(run / "checkpoints/last.pt", weights_only=True)["players"]
    return {who: players[who]["net"] for who in ("discriminator", "generator")}


def points(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{tag: value for tag, value in line.items() if not tag.startswith("speed/")} for line in lines]


@pytest.fixture(scope="module", params=PLUGINS.values(), ids=PLUGINS)
def trained(request, tmp_path_factory):
    """A plug-in's name, the folder, the run of 120 iterations, and the one that was stopped at 60 and went on."""
    folder = tmp_path_factory.mktemp("plugin")
    whole = train(folder, "whole", request.param, LENGTH)
    stopped = train(folder, "stopped", request.param, LENGTH // 2)
    again = [f"trainer.iterations={LENGTH}", "trust=tests.plugins"]
    result = gan_run(folder, "resume=stopped", *again)
    assert result.code == 0, result.text
    return request.param, folder, whole, stopped


def test_an_external_component_trains_and_resumes_bit_for_bit(trained):
    _, _, whole, stopped = trained
    assert json.loads((stopped / "summary.json").read_text())["iterations"] == LENGTH
    for who, expected in weights(whole).items():
        for name, value in weights(stopped)[who].items():
            assert torch.equal(value, expected[name]), f"{who}.{name}"
    assert points(stopped) == points(whole)
    for picture in sorted((whole / "samples").glob("iteration_*.png")):
        assert (stopped / "samples" / picture.name).read_bytes() == picture.read_bytes()


def test_an_external_metric_is_measured(trained):
    plugin, _, whole, _ = trained
    last = points(whole)[-1]
    assert 0 <= last["accuracy/d"] <= 1
    if plugin[0] == "game=by_class":
        assert 0.05 < last["data/share_of_zeros"] < 0.2
        with Image.open(whole / f"samples/iteration_{LENGTH:08d}.png") as picture:
            grid = np.asarray(picture).astype(float)[:, int(picture.info[NAMES_WIDTH]) :]
        step = CELL // 28 * 28 + GAP
        cells = np.array(
            [
                [grid[r * step + GAP : (r + 1) * step, c * step + GAP : (c + 1) * step] for c in range(10)]
                for r in range(10)
            ]
        )
        of_classes, within = cells.mean(1).std(0).mean(), cells.std(1).mean()
        assert of_classes > 2 * within / 10**0.5, "a row is a class: rows differ by more than chance"
    elif plugin[0] == "game=translation":
        assert last["distance/g"] < points(whole)[0]["distance/g"]
    else:
        assert {"metric/brightness_pixels_100", "metric/spread_pixels_100"} <= last.keys()
        assert json.loads((whole / "summary.json").read_text())["objective_name"] == "metric/brightness_pixels_100"


def test_an_external_game_draws_by_its_own_rules_in_gan_sample(trained):
    _, folder, whole, _ = trained
    refused = gan_sample(folder, f"run={whole.name}", "num=20", "output=no.npz")
    if refused.code:
        assert "trust=tests" in refused.text
    result = gan_sample(folder, f"run={whole.name}", "num=20", f"output={whole.name}.npz", "trust=tests.plugins")
    assert result.code == 0, result.text
    assert np.load(folder / f"{whole.name}.npz")["arr_0"].shape == (20, 28, 28, 1)


def test_statistics_of_real_images_are_computed_once_per_start(tmp_path):
    brightness.CALLS.clear()
    train(tmp_path, "run", PLUGINS["a metric"], 90)  # three evaluations
    assert brightness.CALLS == ["statistics"]
