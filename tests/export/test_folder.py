"""A folder that is exported draws what its run draws, in a process that has none of what a run needs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import gan_runner
from gan_runner import UserError
from gan_runner.export import load_exported
from tests.batch_mates import hold_apart
from tests.command_line import gan_run, gan_sample
from tests.export.conftest import PAGE, SMALL

PLUGINS = Path(__file__).parents[1] / "plugins/conf"
WITHOUT = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("hydra", "omegaconf", "tensorboard"):
            raise ImportError(f"{name} is not for an exported folder")

sys.meta_path.insert(0, Refuses())
import numpy as np
from gan_runner.export import load_exported
np.save("without.npy", load_exported("my_gan").sample(37, seed=5))
"""


def test_exported_images_equal_the_runs_bit_for_bit_without_hydra_omegaconf_and_tensorboard(folder, exported):
    assert (
        gan_sample(folder, "run=run", "checkpoint=best", "num=37", "seed=5", "output=run.npz", "device=cpu").code == 0
    )
    subprocess.run([sys.executable, "-c", WITHOUT], cwd=folder, check=True, timeout=120)
    pictures = np.load(folder / "without.npy")
    assert (pictures.dtype, pictures.shape) == (np.uint8, (37, 28, 28, 1))
    np.testing.assert_array_equal(pictures, np.load(folder / "run.npz")["arr_0"])


def test_a_loaded_network_treats_each_image_of_a_batch_on_its_own(exported, exported_d):
    hold_apart(load_exported(exported).net, torch.randn(5, 100))
    hold_apart(load_exported(exported_d).net, torch.rand(5, 1, 28, 28))


def test_loading_and_drawing_do_not_change_the_callers_random_state(exported):
    state = torch.get_rng_state()
    assert load_exported(exported).sample(2).shape == (2, 28, 28, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_can_be_exported_in_python(folder, tmp_path):
    run = gan_runner.load(folder / "run")
    assert "bit for bit" in run.export(tmp_path / "deeper/mine", device="cpu")
    images = gan_runner.load(tmp_path / "deeper/mine").sample(3, seed=2)
    np.testing.assert_array_equal(images, run.sample(3, seed=2, checkpoint="best", device="cpu"))
    with pytest.raises(UserError, match="what is both"):
        run.export(tmp_path / "x", what="both")


def test_model_hubs_can_read_the_card_and_it_says_what_was_measured(folder, exported):
    text = (exported / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["license"] == "unknown"
    assert {"gan", "gan-runner"} <= set(told["tags"])
    summary = json.loads((folder / "run/summary.json").read_text())
    assert summary["data"]["fingerprint"] in body
    assert "64 images" in body
    for name, value in summary["metrics"].items():
        assert f"| {name} | {value:.4g} |" in body
    with Image.open(exported / "grid.png") as grid:
        assert grid.width == grid.height > 300


def test_the_python_code_of_the_card_and_the_page_works(folder, exported, monkeypatch):
    monkeypatch.chdir(folder)
    for text in ((exported / "README.md").read_text(), PAGE):
        code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        names = {}
        exec(code, names)
        assert names["images"].shape == (64, 28, 28, 1)


def test_the_card_has_gan_evals_results_beside_real_images_and_noise(folder, export, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    found = {"metrics": {"frechet": 1.25}, "real": {"frechet": 0.5}, "noise": {"frechet": 99.0}, "better": {}}
    (tmp_path / "run/evaluation-best.json").write_text(json.dumps(found | {"iteration": 2, "count": 1000}))
    assert export("run=run", within=tmp_path).code == 0
    card = (tmp_path / "run/generator-best/README.md").read_text()
    assert "| frechet | 1.25 | 0.5 | 99 |  |" in card
    assert "1,000 generated images" in card


def test_a_discriminator_gives_the_same_logits(folder, exported_d, exported):
    d, pictures = load_exported(exported_d), load_exported(exported).sample(4)
    logits = d.judge(pictures)
    assert (logits.dtype, logits.shape) == (np.float32, (4,))
    with pytest.raises(UserError, match="draws nothing"):
        d.sample(1)
    with pytest.raises(UserError, match=r"judges uint8 \[N, 28, 28, 1\]"):
        d.judge(pictures[:, :27])
    state = torch.load(folder / "run/checkpoints/best.pt", weights_only=True)["players"]["discriminator"]["net"]
    assert all(torch.equal(value, d.net.state_dict()[name]) for name, value in state.items())


def test_a_custom_game_is_exported_with_its_latents_and_loaded_if_trusted(tmp_path, export):
    result = gan_run(tmp_path, *SMALL, "game=by_class", "model=conditional", "--config-dir", str(PLUGINS))
    assert result.code == 0, result.text
    assert "trust=tests" in export("run=run", "output=mine", within=tmp_path).err
    result = export("run=run", "output=mine", "trust=tests", within=tmp_path)
    assert result.code == 0, result.text
    sampled = gan_sample(tmp_path, "run=run", "num=9", "output=run.npz", "trust=tests", "device=cpu", "checkpoint=best")
    assert sampled.code == 0, sampled.text
    with pytest.raises(UserError, match="not part of gan-runner"):
        load_exported(tmp_path / "mine")
    pictures = load_exported(tmp_path / "mine", trust="tests").sample(9)
    np.testing.assert_array_equal(pictures, np.load(tmp_path / "run.npz")["arr_0"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("output=run",), "exists already"),
        (("output=a.pth",), "has no known format"),
        (("output=run/summary.json/x",), "is no folder"),
        (("output=x", "checkpoint=77"), "There is no checkpoint"),
        (("output=x", "what=both"), "discriminator"),
    ],
)
def test_what_cannot_be_exported_gives_one_message_and_writes_nothing(folder, export, exported, words, said):
    before = sorted(folder.iterdir())
    result = export("run=run", *words)
    assert result.code == 1
    assert said in result.err
    assert len(result.err.splitlines()) <= 4
    assert sorted(folder.iterdir()) == before


def test_a_folder_of_something_else_is_reported_as_such(folder, tmp_path):
    for path in (folder / "run", tmp_path, tmp_path / "nothing"):
        with pytest.raises(UserError, match="gan-export run=DIR output=FOLDER"):
            load_exported(path)


def test_the_command_has_its_own_help(export):
    result = export("--help")
    assert result.code == 0
    assert result.out.startswith("gan-export: ")
    assert "  gan-export run=FOLDER" in result.out
