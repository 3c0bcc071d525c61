import logging
import struct
import tempfile
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from gan_runner.errors import UserError
from gan_runner.record import loggers
from gan_runner.record.loggers import Hyperparameters, InBackground, RunToLog, Several, opened_log, require
from gan_runner.record.mlflow import MLflow
from gan_runner.record.wandb import WandB

HYPERPARAMETERS = Hyperparameters({"seed": 0, "optimizer.lr": 2e-4}, {"seed": "number"}, {"seed"})
PICTURE = Image.new("L", (8, 8))


class Lists:
    """A logger that keeps what it is given, and fails where it is asked to."""

    images = True

    def __init__(self, writes_outside=False, failing=""):
        self.writes_outside = writes_outside
        self.failing = failing
        self.calls = []

    def open(self, run):
        return self

    def view_commands(self, folder, shown):
        return [f"look {shown}"]

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == self.failing:
                raise OSError("the server is gone")

        return call


def every_call(log):
    log.begin(HYPERPARAMETERS, ["loss/d"])
    log.describe({"loss/d": "D's loss"})
    log.scalars({"loss/d": 1.0}, 1)
    log.image("samples/fixed", PICTURE, 1)
    log.text("run/command", "gan-run", 1)
    log.alarm("steep", "D's gradient grows", 1)
    log.end("finished")
    log.close()


ALL = ["begin", "describe", "scalars", "image", "text", "alarm", "end", "close"]


def test_several_pass_on_every_call(tmp_path):
    parts = {"a": Lists(), "b": Lists(writes_outside=True)}
    several = Several(parts)
    every_call(opened_log(several, RunToLog(tmp_path)))
    assert parts["a"].calls == parts["b"].calls == ALL
    assert several.view_commands(tmp_path, "r") == ["look r", "look r"]


@pytest.mark.parametrize("failing", ALL)
def test_a_failure_outside_the_runs_folder_is_one_warning(tmp_path, failing, caplog):
    parts = {"outside": Lists(writes_outside=True, failing=failing), "inside": Lists()}
    every_call(opened_log(Several(parts), RunToLog(tmp_path)))
    assert parts["inside"].calls == ALL
    assert "close" in parts["outside"].calls
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning == "Lists has failed and is not used any more; the run continues: the server is gone"


def test_a_failure_in_the_runs_folder_ends_the_run(tmp_path):
    parts = {"inside": Lists(failing="scalars"), "outside": Lists(writes_outside=True)}
    log = opened_log(Several(parts), RunToLog(tmp_path))
    with pytest.raises(OSError, match="gone"):
        log.scalars({"loss/d": 1.0}, 1)
    assert parts["outside"].calls == ["scalars"]


def test_several_without_loggers_is_refused():
    with pytest.raises(UserError, match=r"logger.parts has none"):
        Several({})


def test_a_slow_server_does_not_delay_the_run(monkeypatch):
    monkeypatch.setattr(loggers, "_SECONDS_TO_CLOSE", 0.01)
    answer, called, background = threading.Event(), [], InBackground()
    background.do(answer.wait)
    background.do(lambda: called.append(1))
    with pytest.raises(TimeoutError, match="not taken everything"):
        background.close()
    assert called == []
    answer.set()


def test_an_error_in_the_background_is_raised_by_the_next_call():
    background = InBackground()
    background.do(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.close()
    with pytest.raises(ZeroDivisionError):
        background.do(lambda: None)


def test_a_missing_library_is_reported_with_how_to_install_it():
    with pytest.raises(UserError, match=r"logger=mlflow needs the package not_there") as refused:
        require("not_there", "mlflow", "logger=mlflow")
    assert refused.value.remedy == "In the clone of gan-runner, try pip install -e '.[mlflow]'"


@pytest.mark.parametrize("content", ["", "[]", '{"run_id": 1}', '{"run_id": "../x"}', "[" * 9000, "x" * 20_000])
def test_a_damaged_or_unknown_identifier_is_ignored(tmp_path, content):
    run = RunToLog(tmp_path, last_logged=2)
    loggers.keep_id(run, "mlflow", "abc")
    assert loggers.kept_id(run, "mlflow") == "abc"
    assert loggers.kept_id(RunToLog(tmp_path), "mlflow") is None  # a run that starts again
    (tmp_path / "mlflow.json").write_text(content)
    assert loggers.kept_id(run, "mlflow") is None


# ---- the libraries themselves ---------------------------------------------------------------------------


def starts(logger, folder):
    """A run that is stopped, one that goes on, and one that was cut short after it had logged iteration 6."""
    folder.mkdir()
    for first, logged, points, status in ((1, None, (2, 4), "interrupted"), (5, 4, (6,), ""), (5, 6, (6, 8), "failed")):
        if isinstance(logger, WandB):  # which names a start's folder by the second
            time.sleep(1.0 - time.time() % 1.0)
        log = logger.open(RunToLog(folder, first, logged, name="tiny", sweep="2026/a"))
        changed = {**HYPERPARAMETERS.values, "optimizer.lr": 1e-4 if logged else 2e-4}
        log.begin(Hyperparameters(changed, {}, set()), [])
        log.text("run/command", "gan-run", first - 1)
        for iteration in points:
            log.scalars({"loss/d": float(iteration), "loss/g": float("nan")}, iteration)
            log.image("samples/fixed", PICTURE, iteration)
        if status == "interrupted":
            log.alarm("steep", "D's gradient grows", 4)
        if status:
            log.end(status)
        log.close()


def test_mlflow_has_one_run_for_all_starts_and_no_point_twice(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tempfile.TemporaryDirectory() as gone:  # where a run of this process was kept before
        monkeypatch.chdir(gone)
        MLflow(None, None, True).open(RunToLog(Path(gone))).close()
        monkeypatch.chdir(tmp_path)
    starts(MLflow(tracking_uri=None, experiment=None, images=True), tmp_path / "run")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("2026/a").experiment_id])
    assert [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, "loss/d")] == [
        *((2, 2.0), (4, 4.0), (6, 6.0), (8, 8.0))
    ]
    assert (run.info.status, run.info.run_name) == ("FAILED", "tiny")
    assert run.data.params == {"seed": "0", "optimizer.lr": "0.0002"}
    assert run.data.tags["resumed.optimizer.lr"] == "0.0001"
    assert run.data.tags["alarm.steep"] == "iteration 4: D's gradient grows"
    pictures = client.list_artifacts(run.info.run_id, "images")
    assert len([file for file in pictures if file.path.endswith(".png")]) == 4
    with pytest.raises(UserError, match="cannot keep runs in ftp://host"):
        MLflow("ftp://user:secret@host", None, True).open(RunToLog(tmp_path))


def test_wandb_has_the_same_identifier_in_all_starts_and_no_point_twice(tmp_path):
    pytest.importorskip("wandb")
    starts(WandB(online=False, project="p", folder=str(tmp_path), images=True), tmp_path / "run")
    identifier = loggers.kept_id(RunToLog(tmp_path / "run", last_logged=4), "wandb")
    folders = list((tmp_path / "wandb").glob("offline-run-*"))
    files = [next(folder.glob("*.wandb")) for folder in folders]
    assert {file.name for file in files} == {f"run-{identifier}.wandb"}
    until = time.monotonic() + 30  # wandb's own process writes the end of a file after `finish` has returned
    while (steps := sorted(step for file in files for step in steps_in(file))) != [2, 4, 6, 8]:
        assert time.monotonic() < until, steps
        time.sleep(0.1)
    assert len(list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples/*.png"))) == 4


def steps_in(file):
    """The steps at which a file of wandb's has a point of loss/d."""
    from wandb.proto import wandb_internal_pb2

    for content in records_in(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if any("/".join(item.nested_key) == "loss/d" or item.key == "loss/d" for item in record.history.item):
            yield record.history.step.num


def records_in(content):
    """The records of a log of LevelDB's format behind wandb's own 7 bytes: checksum, length, whole or part, bytes."""
    position, parts, block = 7, b"", 32768
    while position + 7 <= len(content):
        if block - position % block < 7:
            position += block - position % block
        length, kind = struct.unpack_from("<HB", content, position + 4)
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""
