"""A run that is stopped and goes on equals one that never stopped."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from tqdm import tqdm

from gan_runner.build import build
from gan_runner.run_directory import RunDirectory
from gan_runner.training import Run, train

SMALL = [
    "data.limit=96",
    "trainer.batch_size=16",  # 6 iterations an epoch
    "trainer.epochs=3",
    "trainer.sample_every=1",
    "trainer.checkpoint_every=1",
    "trainer.log_every=2",
    "trainer.ema=0.9",
    "evaluation.num_images=32",
]
MLP = ["model=mlp", "model.generator.widths=[16]", "model.discriminator.widths=[16]"]
DCGAN = ["model=dcgan", "model.generator.widths=[8,8,4]", "model.discriminator.widths=[8,8]", "labels=noisy"]
ROUNDS = [*MLP, "schedule=rounds", "schedule.d_steps=4", "schedule.g_steps=3", "schedule.check_every=2"]
FIXED = [*ROUNDS, "schedule.fixed_set=40", "data.replacement=true", "learning_rate=cosine"]


def play(folder: Path, overrides: list[str], stop_after: int | None = None) -> None:
    """Train in this process, from the folder's checkpoint if there is one."""
    folder.mkdir(exist_ok=True)
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        config = compose("config", overrides=[*SMALL, *overrides])
    experiment = build(config)
    directory = RunDirectory(folder)
    resumed = (folder / "checkpoints/last.pt").exists()
    with (
        contextlib.closing(directory),
        contextlib.closing(experiment.feed),
        experiment.dashboard.open(folder, 1) as events,
        tqdm(disable=True) as bar,
    ):
        run = Run(experiment, directory, events, bar)
        if resumed:
            run.load_state_dict(directory.load_checkpoint("last", experiment.device))
            directory.rewind_metrics(run.progress.iteration)
        train(run, lambda: stop_after is not None and run.progress.iteration >= stop_after)
        directory.write_timeline(run.captions())


def everything_but_times(folder: Path) -> dict[str, object]:
    """Hashes of pictures, the metrics without the speed, and the checkpoint without the seconds."""
    left: dict[str, object] = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "samples").iterdir()
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["speed/images_per_second"]
    left["metrics"] = lines
    state = torch.load(folder / "checkpoints/last.pt", weights_only=True)
    del state["progress"]["seconds"]
    left["state"] = _hashed(state)
    return left


def _hashed(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: _hashed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hashed(inner) for inner in value]
    return value


@pytest.mark.parametrize(
    "overrides", [MLP, DCGAN, ROUNDS, FIXED], ids=["mlp", "dcgan", "rounds", "rounds on a fixed set"]
)
def test_a_run_stopped_in_the_middle_of_an_epoch_goes_on_to_the_bit(tmp_path, overrides):
    play(tmp_path / "whole", overrides)
    play(tmp_path / "stopped", overrides, stop_after=9)
    assert not (tmp_path / "stopped/samples/iteration_00000018.png").exists()
    play(tmp_path / "stopped", overrides)
    assert everything_but_times(tmp_path / "stopped") == everything_but_times(tmp_path / "whole")


def test_metrics_after_the_checkpoint_of_a_killed_run_move_aside_and_come_again(tmp_path):
    play(tmp_path / "whole", MLP)
    play(tmp_path / "killed", MLP, stop_after=9)
    with (tmp_path / "killed/metrics.jsonl").open("a") as file:
        file.write('{"iteration": 10, "epoch": 1.6667}\n{"iteration": 1')  # a line that the kill cut short
    play(tmp_path / "killed", MLP)
    assert everything_but_times(tmp_path / "killed")["metrics"] == everything_but_times(tmp_path / "whole")["metrics"]
    assert json.loads((tmp_path / "killed/metrics.abandoned.jsonl").read_text())["iteration"] == 10


COMMAND = [sys.executable, "-c", "from gan_runner.cli import run; run()"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_saves_says_how_to_resume_and_goes_on(tmp_path, number, code):
    overrides = [*SMALL, *MLP, "trainer.epochs=100000", "hydra.run.dir=here"]
    command = [*COMMAND, *overrides]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 3"):
                break
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == code
    assert "gan-run resume=here" in rest
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert summary["status"] == "interrupted"

    epochs = int(summary["epochs"]) + 2
    again = [*COMMAND, "resume=here", f"trainer.epochs={epochs}"]
    subprocess.run(again, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("finished", epochs)
    iterations = [json.loads(line)["iteration"] for line in (tmp_path / "here/metrics.jsonl").read_text().splitlines()]
    assert iterations == sorted(set(iterations))
    assert not (tmp_path / "outputs").exists()


def test_an_override_that_changes_what_is_trained_is_refused_with_the_difference(tmp_path):
    run = [*COMMAND, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir='a,b=c'"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    before = {path: path.read_bytes() for path in (tmp_path / "a,b=c").rglob("*") if path.is_file()}

    refused = [*COMMAND, "resume=a,b=c", "model.dropout=0.5", "loss=minimax"]
    result = subprocess.run(refused, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "model.dropout: 0.3 -> 0.5" in result.stderr
    assert "loss._target_: gan_runner.losses.NonSaturating -> gan_runner.losses.Minimax" in result.stderr
    assert "resume_force=true" in result.stderr
    assert "Traceback" not in result.stderr
    assert before == {path: path.read_bytes() for path in (tmp_path / "a,b=c").rglob("*") if path.is_file()}

    forced = [*COMMAND, "resume=a,b=c", "model.dropout=0.5", "resume_force=true", "trainer.epochs=2"]
    subprocess.run(forced, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert json.loads((tmp_path / "a,b=c/summary.json").read_text())["epochs"] == 2
    assert "dropout: 0.5" in (tmp_path / "a,b=c/.hydra/config.yaml").read_text()
    assert os.listdir(tmp_path) == ["a,b=c"]


def test_a_resume_that_fails_before_it_trains_keeps_the_counts_of_the_summary(tmp_path):
    run = [*COMMAND, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir=here"]
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    before = json.loads((tmp_path / "here/summary.json").read_text())
    resume = [*COMMAND, "resume=here", "trainer.device=cuda:9"]
    assert subprocess.run(resume, cwd=tmp_path, capture_output=True, timeout=120).returncode == 1
    after = json.loads((tmp_path / "here/summary.json").read_text())
    assert (after.pop("status"), "trainer.device is cuda:9" in after.pop("error")) == ("failed", True)
    assert after == {key: value for key, value in before.items() if key not in ("status", "error")}
