"""One run by several processes, as torchrun starts them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from gan_runner.config.build import build
from gan_runner.errors import UserError
from gan_runner.training.distributed import Processes
from tests.command_line import gan_run, gan_sample, only_run

SMALL = [
    "data.limit=48",
    "trainer.batch_size=12",  # 4 iterations an epoch
    "trainer.log_every=1",
    "trainer.sample_every=1",
    "trainer.ema=0.9",
    "trainer.device=cpu",
    "evaluation.num_images=16",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
]


def torchrun(folder: Path, processes: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call gan-run as `torchrun --nproc_per_node=N -m gan_runner ...` does, on a port of its own."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    command = [*start, "-m", "gan_runner", *SMALL, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_a_run_by_two_processes_has_one_folder_and_resumes_with_three_and_with_one(tmp_path):
    result = torchrun(tmp_path, 2, "trainer.epochs=1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("2 processes train together, each on 6 images of a batch.") == 1
    assert result.stdout.count("Look: ") == result.stdout.count("Dashboard: ") == 1
    run = only_run(tmp_path)
    log = (run / "gan-run.log").read_text()
    assert log.count("2 processes train together") == log.count(" writes to ") == 1
    assert len(list(run.glob("events.out.tfevents.*"))) == 1

    assert torchrun(tmp_path, 3, f"resume={run}", "trainer.epochs=2").returncode == 0
    assert "trained by 2 processes, and is resumed with 3" in (run / "gan-run.log").read_text()
    result = gan_run(tmp_path, f"resume={run}", "trainer.epochs=3")
    assert result.code == 0, result.text
    assert "trained by 3 processes, and is resumed with 1" in result.text
    assert only_run(tmp_path) == run
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [point["iteration"] for point in points] == list(range(1, 13))
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["iterations"], summary["processes"]) == ("finished", 12, 1)
    assert gan_sample(tmp_path, f"run={run}", "num=4", "output=four.png").code == 0


PLANTED = """
import os, signal
from gan_runner.objectives.losses import NonSaturating

class Planted(NonSaturating):
    updates = 0

    def g(self, fake_logits, real_logits=None):
        self.updates += 1
        if self.updates == 5 and os.environ["RANK"] == "1":
            DO
        return super().g(fake_logits, real_logits)
"""


def planted(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    (folder / "planted.py").write_text(PLANTED.replace("DO", what))
    return torchrun(folder, 2, "loss._target_=planted.Planted", "trainer.epochs=100000", "hydra.run.dir=here")


def test_a_signal_to_one_process_makes_all_of_them_save_and_end(tmp_path):
    result = planted(tmp_path, "os.kill(os.getpid(), signal.SIGTERM)")
    assert "Interrupted by SIGTERM. To resume: gan-run resume=here" in result.stdout, result.stderr
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert summary["status"] == "interrupted"
    checkpoint = torch.load(tmp_path / "here/checkpoints/last.pt", weights_only=True)
    assert checkpoint["progress"]["iteration"] == summary["iterations"] >= 5


def test_a_failure_of_one_process_ends_all_and_is_reported_with_its_rank(tmp_path):
    result = planted(tmp_path, "raise ValueError('the fifth update')")
    assert result.returncode == 1
    assert "Process 1 of this run has failed: the fifth update" in result.stderr
    assert len(re.findall(r"^\[rank1\]: ValueError: the fifth update$", result.stderr, re.MULTILINE)) == 1
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert summary["status"] == "failed"
    assert "Process 1" in summary["error"]


def test_a_sweep_under_torchrun_is_refused_with_how_to_run_it(tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    result = gan_run(tmp_path, "-m", "seed=1,2")
    assert result.code == 1
    assert "torchrun starts the processes of one run, but -m asks for a sweep." in result.err
    assert "gan-run -m hydra/launcher=joblib" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_three_processes_cannot_share_is_refused(compose_config):
    config = compose_config("trainer.batch_size=16", "trainer.device=cpu")
    with pytest.raises(UserError, match="is 16, but 3 processes share these images") as error:
        build(config, Processes(0, 3, dist.HashStore(), 0, 3))
    assert "Try trainer.batch_size=15 or 18." in error.value.remedy
