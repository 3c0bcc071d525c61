"""What the README shows works: every command is called, or is called by .ci/run."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command_line import gan_check, gan_run, gan_sample, only_run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [
    line.partition("  #")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
# What makes a command quick without making it another one.
SHORT = ["trainer.iterations=2", "data.limit=40", "evaluation.num_images=16", "trainer.batch_size=8"]
CHECK_SHORT = ["data.limit=40", "trainer.batch_size=8", "preflight.seconds=0.01", "optimizer.lr=1e-2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the README's commands assume: pictures, IDX files, a finished run."""
    random = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(40):
        pixels = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"photos/{number}.jpg")
    (tmp_path / "my_idx_files").mkdir()
    header = bytes([0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 28, 0, 0, 0, 28])
    images = random.integers(0, 256, (40, 28, 28), dtype=np.uint8).tobytes()
    (tmp_path / "my_idx_files/train-images-idx3-ubyte").write_bytes(header + images)
    monkeypatch.setenv("GAN_DATA", str(tmp_path / "my_idx_files"))
    return tmp_path


def commands(start):
    return [line for line in LINES if line.startswith(start)]


@pytest.mark.parametrize("line", [line for line in commands("gan-run") if "resume=" not in line and "help" not in line])
def test_a_training_command_of_the_readme_trains(folder, line):
    result = gan_run(folder, *shlex.split(line)[1:], *SHORT)
    assert result.code == 0, result.text
    runs = [path for pattern in ("outputs/*/*", "multirun/*/*/*/") for path in folder.glob(pattern)]
    assert len(runs) == (4 if " -m " in line else 1)
    for run in runs:
        assert json.loads((run / "summary.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("line", commands("gan-check"))
def test_a_checking_command_of_the_readme_checks(folder, line):
    result = gan_check(folder, *shlex.split(line)[1:], *CHECK_SHORT)
    assert result.code == 0, result.text


def test_the_commands_that_use_a_run_work_on_one(folder):
    assert gan_run(folder, *SHORT[1:], "trainer.epochs=1").code == 0
    run = str(only_run(folder).relative_to(folder))
    lines = commands("gan-sample")
    assert lines
    for line in lines:
        result = gan_sample(folder, *shlex.split(line.replace("outputs/DATE/TIME", run))[1:])
        assert result.code == 0, result.text
    (resume,) = [line for line in commands("gan-run") if "resume=" in line]
    shorter = resume.replace("trainer.epochs=200", "trainer.epochs=2")
    assert shorter != resume
    result = gan_run(folder, *shlex.split(shorter.replace("outputs/DATE/TIME", run))[1:])
    assert result.code == 0, result.text
    assert json.loads((folder / run / "summary.json").read_text())["epochs"] == 2


def test_the_part_that_the_readme_adds_trains_without_an_edit(folder, monkeypatch):
    blocks = {first.lstrip("# "): block for _, block in BLOCKS for first in [block.splitlines()[0]]}
    (folder / "my_losses.py").write_text(blocks["my_losses.py"])
    (folder / "my_conf/loss").mkdir(parents=True)
    (folder / "my_conf/loss/lsgan.yaml").write_text(blocks["my_conf/loss/lsgan.yaml"])
    (line,) = commands("PYTHONPATH=. gan-run")
    monkeypatch.syspath_prepend(str(folder))
    result = gan_run(folder, *shlex.split(line)[2:], *SHORT)
    assert result.code == 0, result.text
    assert "ROC" in result.text
    lines = [json.loads(text) for text in (only_run(folder) / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["accuracy/d_real"] == lines[-1]["accuracy/d_fake"] == lines[-1]["accuracy/d"]

    run = str(only_run(folder).relative_to(folder))
    again = [[], ["--config-dir", "my_conf"], ["--config-dir=my_conf"]]
    for iterations, flags in enumerate(again, start=3):
        result = gan_run(folder, *flags, f"resume={run}", f"trainer.iterations={iterations}", "trust=my_losses")
        assert result.code == 0, result.text
        assert json.loads((folder / run / "summary.json").read_text())["iterations"] == iterations
    refused = gan_run(folder, f"resume={run}", "trainer.log_every=0", "trust=[my_losses]")
    assert "Try trainer.log_every=" in refused.text
    assert gan_sample(folder, f"run={run}", "num=4", "output=four.png", "trust=my_losses").code == 0


def test_installing_testing_and_measuring_are_what_ci_does():
    ci = (ROOT / ".ci/run").read_text()
    for said in ('pip install -e ".[dev]"', "pytest -n 2"):
        assert any(said in line for line in LINES)
        assert said.replace("pip install", "pip install -q") in ci
    assert ci.rstrip().endswith("pytest -n 2")
    for module in re.findall(r"python -m (benchmarks\.\w+)", README):
        assert f"python -m {module}" in ci


def test_every_picture_and_page_that_the_readme_shows_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)|`(docs/[\w.]+)`", README):
        path = ROOT / (target[0] or target[1])
        assert path.is_file(), path
