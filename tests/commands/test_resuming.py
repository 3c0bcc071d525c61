"""A run that is stopped and goes on equals one that never stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from tqdm import tqdm

from gan_runner.config.build import build
from gan_runner.machine.signals import STOPPING
from gan_runner.record.journal import RunJournal
from gan_runner.record.loggers import RunToLog
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.loop import Run, train
from tests.command_line import everything_but_times, gan_run

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
DCGAN = ["model=dcgan", "model.generator.widths=[8,8,4]", "model.discriminator.widths=[8,8]"]
FLIPPED = [*DCGAN, "labels=noisy", "data.flip=true"]
ROUNDS = [*MLP, "schedule=rounds", "schedule.d_steps=4", "schedule.g_steps=3", "schedule.check_every=2"]
FIXED = [*ROUNDS, "schedule.fixed_set=40", "data.replacement=true", "learning_rate=cosine"]


def play(folder: Path, config: DictConfig, stop_after: int | None = None) -> None:
    """Train in this process, from the folder's checkpoint if there is one."""
    folder.mkdir(exist_ok=True)
    experiment = build(config)
    run_folder = RunFolder(folder)
    resumed = run_folder.checkpoints.any()
    with (
        contextlib.closing(run_folder),
        contextlib.closing(experiment.loader),
        experiment.logger.open(RunToLog(folder)) as events,
        tqdm(disable=True) as bar,
    ):
        run = Run(experiment, RunJournal(run_folder, events, bar, experiment.settings.sample_columns))
        if resumed:
            run.load_state_dict(run_folder.checkpoints.load_newest(experiment.compute.device))
            run_folder.rewind_metrics(run.progress.iteration)
        train(run, lambda: stop_after is not None and run.progress.iteration >= stop_after)
        run.write_timeline()


@pytest.mark.parametrize(
    "overrides", [MLP, FLIPPED, ROUNDS, FIXED], ids=["mlp", "dcgan on mirrored images", "rounds", "a fixed set"]
)
def test_a_run_stopped_in_the_middle_of_an_epoch_resumes_bit_for_bit(tmp_path, compose_config, overrides):
    config = compose_config(*SMALL, *overrides)
    play(tmp_path / "whole", config)
    play(tmp_path / "stopped", config, stop_after=9)
    assert not (tmp_path / "stopped/samples/iteration_00000018.png").exists()
    play(tmp_path / "stopped", config)
    assert everything_but_times(tmp_path / "stopped") == everything_but_times(tmp_path / "whole")


def test_metrics_after_the_checkpoint_of_a_killed_run_are_moved_and_written_again(tmp_path, compose_config):
    config = compose_config(*SMALL, *MLP)
    play(tmp_path / "whole", config)
    play(tmp_path / "killed", config, stop_after=9)
    with (tmp_path / "killed/metrics.jsonl").open("a") as file:
        file.write('{"iteration": 10, "epoch": 1.6667}\n{"iteration": 1')  # a line that the kill cut short
    play(tmp_path / "killed", config)
    assert everything_but_times(tmp_path / "killed")["metrics"] == everything_but_times(tmp_path / "whole")["metrics"]
    assert json.loads((tmp_path / "killed/metrics.abandoned.jsonl").read_text())["iteration"] == 10


COMMAND = [sys.executable, "-c", "from gan_runner.commands.main import run; run()"]


@contextlib.contextmanager
def endless_run(folder: Path, *overrides: str) -> Iterator[subprocess.Popen[str]]:
    """A process that trains in `here` below a folder, in its third epoch at least; it ends with the test."""
    command = [*COMMAND, *SMALL, *MLP, "trainer.epochs=100000", "hydra.run.dir=here", *overrides]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if line.startswith("epoch 3"))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_saves_says_how_to_resume_and_resumes(tmp_path, number, code):
    with endless_run(tmp_path) as process:
        process.send_signal(number)
        rest, _ = process.communicate()
    assert process.returncode == code
    assert "Stopping; a second signal stops at once." in rest
    assert "gan-run resume=here" in rest
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert summary["status"] == "interrupted"

    epochs = int(summary["epochs"]) + 2
    again = gan_run(tmp_path, "resume=here", f"trainer.epochs={epochs}")
    assert again.code == 0, again.text
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert (summary["status"], summary["epochs"]) == ("finished", epochs)
    iterations = [json.loads(line)["iteration"] for line in (tmp_path / "here/metrics.jsonl").read_text().splitlines()]
    assert iterations == sorted(set(iterations))
    assert not (tmp_path / "outputs").exists()


def test_an_override_that_changes_what_is_trained_is_refused_with_the_difference(tmp_path):
    assert gan_run(tmp_path, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir='a,b=c'").code == 0
    before = files_of(tmp_path / "a,b=c")
    result = gan_run(tmp_path, "resume=a,b=c", "model.dropout=0.5", "loss=minimax")
    assert result.code == 1
    assert "model.dropout: 0.1 -> 0.5" in result.err
    assert (
        "loss._target_: gan_runner.objectives.losses.NonSaturating -> gan_runner.objectives.losses.Minimax"
        in result.err
    )
    assert "resume_force=true" in result.err
    assert "Traceback" not in result.err
    assert files_of(tmp_path / "a,b=c") == before

    forced = gan_run(tmp_path, "resume=a,b=c", "model.dropout=0.5", "resume_force=true", "trainer.epochs=2")
    assert forced.code == 0, forced.text
    assert json.loads((tmp_path / "a,b=c/summary.json").read_text())["epochs"] == 2
    assert "dropout: 0.5" in (tmp_path / "a,b=c/.hydra/config.yaml").read_text()
    assert os.listdir(tmp_path) == ["a,b=c"]


def write_pictures(folder: Path, seed: int) -> None:
    """32 images whose files have the same names and sizes whatever the seed."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(32):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.bmp")


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A short run has ended in the folder `here` of this one; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("short")
    assert gan_run(folder, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir=here").code == 0
    return folder


def files_of(run: Path) -> dict[str, bytes]:
    """Every file of a run but the log, which may grow."""
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name != "gan-run.log"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.device=cuda:9"], "trainer.device is cuda:9"),
        (["trainer.batch_size=0"], "trainer.batch_size is 0"),
        (["labels=smooth"], "labels.real.value: 1.0 -> 0.9"),
        (["optimizer.d._target_=torch.optim.AdamW"], "optimizer.d._target_: gan_runner.optim.adam.Adam -> torch.optim"),
        (["data.limit=48", "resume_force=true", "trainer.device=tpu"], "trainer.device is tpu"),
        (["seed=99999999999999999", "resume_force=true"], "seed is 99999999999999999, but must be a whole number"),
    ],
)
def test_a_resume_that_fails_before_it_trains_leaves_the_run_as_it_was(short, overrides, said):
    before = files_of(short / "here")
    result = gan_run(short, "resume=here", *overrides)
    assert (result.code, said in result.text, "Traceback" in result.text) == (1, True, False), result.text
    assert files_of(short / "here") == before


def test_a_checkpoint_that_does_not_fit_is_refused_with_a_message(short):
    before = files_of(short / "here")
    result = gan_run(short, "resume=here", "model.latent_dim=50", "resume_force=true")
    assert result.code == 1
    assert "resume is here, but its checkpoint does not fit these settings" in result.text
    assert "size mismatch" in result.text
    assert "Traceback" not in result.text
    after = files_of(short / "here")
    assert before == {name: content for name, content in after.items() if name in before}


def test_a_run_resumes_after_a_resume_that_failed(tmp_path):
    assert gan_run(tmp_path, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir=here").code == 0
    assert gan_run(tmp_path, "resume=here", "trainer.device=cuda:9").code == 1
    result = gan_run(tmp_path, "resume=here", "trainer.epochs=2")
    assert result.code == 0, result.text
    assert json.loads((tmp_path / "here/summary.json").read_text())["epochs"] == 2


def test_a_resume_cannot_add_a_fixed_set(tmp_path):
    assert gan_run(tmp_path, *SMALL, *ROUNDS, "trainer.iterations=2", "hydra.run.dir=here").code == 0
    result = gan_run(tmp_path, "resume=here", "schedule.fixed_set=40", "trainer.iterations=4")
    assert result.code == 1
    assert "schedule.fixed_set: null -> 40" in result.text


def test_a_run_resumes_with_the_same_images_elsewhere_and_not_with_others(tmp_path):
    write_pictures(tmp_path / "photos", seed=0)
    run = ["data=image_folder", "data.root=photos", "data.image_size=8", "hydra.run.dir=here", *SMALL[1:], *MLP]
    assert gan_run(tmp_path, *run, "trainer.iterations=2").code == 0
    (tmp_path / "photos").rename(tmp_path / "moved")
    result = gan_run(tmp_path, "resume=here", "data.root=moved", "trainer.iterations=4")
    assert result.code == 0, result.text

    write_pictures(tmp_path / "others", seed=1)
    before = files_of(tmp_path / "here")
    result = gan_run(tmp_path, "resume=here", "data.root=others", "trainer.iterations=6")
    assert result.code == 1
    was = json.loads(before["summary.json"])["data"]["fingerprint"]
    assert f"that run trains on other images: their fingerprint was {was}, and that of image_folder is" in result.text
    assert files_of(tmp_path / "here") == before
    forced = gan_run(tmp_path, "resume=here", "data.root=others", "trainer.iterations=6", "resume_force=true")
    assert forced.code == 0, forced.text


def test_an_option_typed_again_keeps_what_the_experiment_has_set_in_it(tmp_path):
    assert gan_run(tmp_path, *SMALL, "model=dcgan", "trainer.iterations=1", "hydra.run.dir=here").code == 0
    again = gan_run(tmp_path, "resume=here", "model=dcgan", "penalty=r1", "trainer.iterations=2")
    assert again.code == 0, again.text
    other = gan_run(tmp_path, "resume=here", "penalty=r2", "trainer.iterations=3")
    assert "penalty._target_: gan_runner.objectives.penalties.R1 -> gan_runner.objectives.penalties.R2" in other.text


def test_a_folder_is_used_by_one_process_at_a_time(tmp_path):
    assert gan_run(tmp_path, *SMALL, *MLP, "trainer.epochs=1", "hydra.run.dir=here").code == 0
    with endless_run(tmp_path, "resume=here") as process:
        config = (tmp_path / "here/.hydra/overrides.yaml").read_text()
        for arguments, key in ((["resume=here"], "resume"), ([*SMALL, "++hydra.run.dir=here"], "hydra.run.dir")):
            result = gan_run(tmp_path, *arguments)
            said = f"{key} is here, but that run is being trained by process {process.pid}."
            assert (result.code, said in result.text) == (1, True), result.text
    assert (tmp_path / "here/.hydra/overrides.yaml").read_text() == config


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Puts a module into the folder, where a run finds it; no signal that a run lets through ends the tests."""
    came_through: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came_through.append(number)) for number in STOPPING}
    monkeypatch.syspath_prepend(str(tmp_path))
    names = set(sys.modules)
    yield lambda name, text: (tmp_path / f"{name}.py").write_text(text)
    for name in set(sys.modules) - names:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    for number, handler in before.items():
        signal.signal(number, handler)
    assert came_through == []


IMPATIENT = """
import os, signal, time
from gan_runner.metrics.diversity import Diversity

class Impatient(Diversity):
    asked = 0

    def measure(self, fake, real):
        self.asked += 1
        if self.asked > 1:  # the first is the first look
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(PAUSE)
            os.kill(os.getpid(), signal.SIGINT)
        return super().measure(fake, real)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("pause", [0, 0.6])
def test_a_second_signal_stops_immediately_and_is_recorded_but_one_close_by_counts_as_the_same(
    tmp_path, beside, capfd, name, code, pause
):
    beside("impatient", IMPATIENT.replace("SIGINT", name).replace("PAUSE", str(pause)))
    part = "evaluation.metrics.diversity._target_=impatient.Impatient"
    result = gan_run(tmp_path, *SMALL, *MLP, part, "hydra.run.dir=here")
    assert (result.code, "Traceback" in result.text) == (code, False), result.text
    assert "Stopping; a second signal stops at once." in capfd.readouterr().err
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert summary["status"] == "interrupted"
    kept = RunFolder(tmp_path / "here").checkpoints.load_newest(torch.device("cpu"))["progress"]["iteration"]
    assert (kept == summary["iterations"], "To resume: " in result.out) == (pause == 0, pause == 0)


def test_ctrl_c_saves_if_nobody_reads_the_output(tmp_path):
    """As in `gan-run | tee log`, where the same Ctrl-C ends tee."""
    command = [*COMMAND, *SMALL, *MLP, "trainer.epochs=100000", "hydra.run.dir=here", "trainer.progress=true"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "here/checkpoints/last.pt").exists():
            assert process.poll() is None
        process.stdout.close()
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 130
    assert json.loads((tmp_path / "here/summary.json").read_text())["status"] == "interrupted"


LEAVING = """
import sys

def load(image_size: int | None, limit: int | None, split: str, holdout: float):
    sys.exit(0)
"""


def test_a_component_that_exits_the_program_makes_a_failed_run(tmp_path, beside):
    beside("leaving", LEAVING)
    assert gan_run(tmp_path, *SMALL, *MLP, "data._target_=leaving.load", "hydra.run.dir=here").code == 1
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", "sys.exit(0)")


FAILING = """
import logging, os, signal, sys
from gan_runner.errors import UserError

def load(image_size: int | None, limit: int | None, split: str, holdout: float):
    log = logging.getLogger("gan_runner.runs.job")
    log.addFilter(signalled_when_an_error_is_told)
    FAIL

def signalled_when_an_error_is_told(record: logging.LogRecord) -> bool:
    if record.levelno == logging.ERROR:
        logging.getLogger("gan_runner.runs.job").removeFilter(signalled_when_an_error_is_told)
        os.kill(os.getpid(), signal.SIGNAL)
    return True
"""


@pytest.mark.parametrize(
    ("failure", "error", "signal_"),
    [
        ("raise ValueError('odd')", "odd", "SIGTERM"),
        ("raise UserError('This is odd.', 'Try another.')", "This is odd.\n  Try another.", "SIGINT"),
        ("sys.exit(3)", "sys.exit(3)", "SIGHUP"),
    ],
)
def test_a_signal_during_the_report_of_a_failure_does_not_hide_it(tmp_path, beside, failure, error, signal_):
    """As torchrun sends one to the other processes as soon as one has failed."""
    beside("failing", FAILING.replace("FAIL", failure).replace("SIGNAL", signal_))
    assert gan_run(tmp_path, *SMALL, *MLP, "data._target_=failing.load", "hydra.run.dir=here").code == 1
    summary = json.loads((tmp_path / "here/summary.json").read_text())
    assert (summary["status"], summary["error"]) == ("failed", error)


ASKED_EARLY = """
import logging, os, signal

def signalled_when_the_folder_is_claimed(record: logging.LogRecord) -> bool:
    os.kill(os.getpid(), signal.SIGTERM)
    return True

logging.getLogger("gan_runner.record.run_folder").addFilter(signalled_when_the_folder_is_claimed)
from gan_runner.commands.main import run
run()
"""


def test_a_signal_before_anything_is_built_ends_the_run_and_is_recorded(tmp_path):
    command = [sys.executable, "-c", ASKED_EARLY, *SMALL, *MLP, "hydra.run.dir=here"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 143
    assert "Interrupted by SIGTERM before the training began." in result.stdout
    assert json.loads((tmp_path / "here/summary.json").read_text())["status"] == "interrupted"


@pytest.mark.parametrize("length", ["trainer.epochs=1", "trainer.iterations=6"])
def test_a_finished_run_says_so_and_continues_for_more_epochs(tmp_path, length):
    small = [argument for argument in SMALL if not argument.startswith("trainer.epochs")]
    assert gan_run(tmp_path, *small, *MLP, length, "hydra.run.dir=run").code == 0
    again = gan_run(tmp_path, "resume=run")
    assert again.code == 0, again.text
    assert f"Nothing is left to do. To train on, ask for more {length.partition('=')[0]}." in again.text
    assert "The run is at iteration 6, epoch 1." in again.text
    assert gan_run(tmp_path, "resume=run", "trainer.epochs=2").code == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["iterations"] == 12


def test_a_resume_with_nothing_left_to_do_changes_only_the_log(tmp_path):
    assert gan_run(tmp_path, *SMALL, *MLP, "hydra.run.dir=run").code == 0
    before = files_of(tmp_path / "run")
    again = gan_run(tmp_path, "resume=run", "schedule.d_steps=2", "optimizer.lr=0.1")
    assert again.code == 0
    assert "Nothing is left to do." in again.text
    assert files_of(tmp_path / "run") == before


def test_epochs_at_a_resume_win_over_iterations_of_the_experiment(tmp_path):
    small = ["data.limit=64", "trainer.batch_size=16", "model.generator.widths=[16]", "model.discriminator.widths=[16]"]
    first = gan_run(tmp_path, "experiment=smoke", *small, "trainer.iterations=6", "hydra.run.dir=run")
    assert first.code == 0, first.text
    again = gan_run(tmp_path, "resume=run", "trainer.epochs=2")
    assert again.code == 0, again.text
    assert json.loads((tmp_path / "run/summary.json").read_text())["iterations"] == 8


def test_a_run_resumes_from_another_folder_or_when_moved_and_keeps_its_relative_data_root(tmp_path):
    home, elsewhere = tmp_path / "home, sweet home", tmp_path / "elsewhere"
    (home / "photos").mkdir(parents=True)
    elsewhere.mkdir()
    for number in range(8):
        Image.new("L", (8, 8), 30 * number).save(home / f"photos/{number}.png")
    data = ["data=image_folder", "data.root=photos", "data.image_size=8", "data.channels=1", "data.limit=null"]
    first = gan_run(
        home,
        *SMALL,
        *MLP,
        *data,
        "trainer.batch_size=4",
        "trainer.epochs=1",
        "hydra.run.dir=run",
        "hydra.job.chdir=true",
    )
    assert first.code == 0, first.text  # a relative path is the shell's, wherever Hydra would go
    again = gan_run(elsewhere, f"resume={home}/run", "trainer.epochs=2")
    assert again.code == 0, again.text
    assert json.loads((home / "run/summary.json").read_text())["epochs"] == 2.0
    assert "  root: photos\n" in (home / "run/.hydra/config.yaml").read_text()
    home.rename(tmp_path / "moved")
    third = gan_run(tmp_path / "moved", "resume=run", "trainer.epochs=3")
    assert third.code == 0, third.text
