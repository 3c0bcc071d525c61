"""A sweep keeps count of its jobs, goes on where it was cut short, and stops as one."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups, metadata
from tensorboard.plugins.hparams.backend_context import Context

from gan_runner.record.sweep_folder import FILE, SweepFolder
from tests.command_line import QUICK as SMALL
from tests.command_line import gan_run
from tests.slurm import stand_in

QUICK = ["penalty=none", "evaluation=pixels", *SMALL]
LONG = ["trainer.iterations=200", "trainer.intervals_in=iterations", "trainer.sample_every=200"]
KEPT = ["trainer.checkpoint_every=20", "trainer.log_every=20", "trainer.precision=fp32"]
TINY = [*QUICK, *LONG, *KEPT]


def jobs(folder):
    return {job["name"]: job for job in json.loads((folder / FILE).read_text())["jobs"]}


def states(folder):
    return {name: job["state"] for name, job in jobs(folder).items()}


def content(folder):
    """Every file below, but for the sweep's own."""
    return {path: path.read_bytes() for path in folder.rglob("*/*") if path.is_file() and ".sweep" not in path.parts}


def weights(run):
    state = torch.load(run / "checkpoints/last.pt", weights_only=True)
    assert state["progress"]["iteration"] == 200
    return state["players"]


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two jobs that has ended, and what it printed."""
    folder = tmp_path_factory.mktemp("swept")
    result = gan_run(folder, "-m", *QUICK, "hydra.sweep.dir=here", "seed=1,2")
    assert result.code == 0, result.text
    return folder, result


@pytest.fixture
def swept_here(swept, tmp_path):
    """A copy of that sweep, which a test may change, and what goes on with it."""
    shutil.copytree(swept[0] / "here", tmp_path / "here")
    return ["-m", *QUICK, "hydra.sweep.dir=here"]


def test_a_sweep_reports_its_progress_and_each_jobs_settings_after_each_job(swept):
    folder, result = swept
    assert "seed=1: finished. Sweep: 1 of 2 done, about " in result.out
    page, counts, dashboard = result.out.splitlines()[-3:]
    assert page == "All runs on one page: here/compare.html"
    assert (counts, dashboard) == ("Sweep: 2 of 2 done.", "Dashboard: tensorboard --logdir here")
    assert (folder / "here/compare.html").is_file()
    found = jobs(folder / "here")
    assert list(found) == ["seed=1", "seed=2"]
    for name, job in found.items():
        summary = json.loads((folder / "here" / name / "summary.json").read_text())
        assert job["state"] == "finished"
        assert job["error"] is None
        assert (job["objective"], job["seconds"]) == (summary["objective"], summary["seconds"])
        assert job["overrides"] == [*QUICK, name]
    assert found["seed=1"]["hash"] != found["seed=2"]["hash"]


@pytest.mark.parametrize("again", [["hydra.sweep.dir=here", *QUICK, "seed=1,2"], ["sweep_resume=here"]])
def test_a_repeated_sweep_does_not_change_finished_jobs(swept, again):
    folder, _ = swept
    before = content(folder / "here")
    result = gan_run(folder, "-m", *again)
    assert result.code == 0, result.text
    assert result.out.count(" is finished already, with objective ") == 2
    assert content(folder / "here") == before


def test_a_larger_grid_trains_new_jobs_and_may_add_a_key(tmp_path, swept_here):
    before = content(tmp_path / "here")
    result = gan_run(tmp_path, *swept_here, "seed=1,2,3")
    assert result.code == 0, result.text
    assert result.out.count("is finished already") == 2
    result = gan_run(tmp_path, *swept_here, "seed=3", "model.dropout=0.1,0.3")
    assert result.code == 0, result.text
    assert result.out.count("is finished already") == 1  # one of them is what it had
    assert set(states(tmp_path / "here").values()) == {"finished"}
    assert len(jobs(tmp_path / "here")) == 4
    assert content(tmp_path / "here").items() >= before.items()


def test_settings_that_differ_from_the_sweeps_are_refused_with_the_difference(swept):
    folder, _ = swept
    before = content(folder)
    result = gan_run(folder, "-m", *QUICK, "hydra.sweep.dir=here", "seed=1,2", "optimizer.lr=1e-3", "trainer.keep=1")
    assert result.code == 1
    assert result.err.splitlines() == [
        "hydra.sweep.dir is here, but that sweep has other settings:",
        "  optimizer.lr: 0.0002 -> 0.001",
        "  Leave these as they were, or try another hydra.sweep.dir.",
    ]
    assert "Traceback" not in result.text
    assert content(folder) == before


def test_a_job_with_changed_settings_is_refused_and_not_touched(tmp_path, swept_here):
    file = tmp_path / "here" / FILE
    known = json.loads(file.read_text())
    known["settings"]["optimizer.lr"] = 1e-3
    file.write_text(json.dumps(known))
    before = content(tmp_path / "here")
    result = gan_run(tmp_path, *swept_here, "seed=1,2", "optimizer.lr=1e-3")
    assert result.code == 1
    assert "has a job seed=1 already, but with other settings:\n" in result.err
    assert "  optimizer.lr: 0.0002 -> 0.001\n" in result.err
    assert content(tmp_path / "here") == before


def test_repeated_combinations_get_separate_folders_and_are_found_again(tmp_path):
    sweep = ["-m", *QUICK, "hydra.sweep.dir=here", "seed=1,1,1"]
    result = gan_run(tmp_path, *sweep)
    assert result.code == 0, result.text
    assert list(jobs(tmp_path / "here")) == ["seed=1", "seed=1-2", "seed=1-3"]
    assert len({job["objective"] for job in jobs(tmp_path / "here").values()}) == 1
    assert gan_run(tmp_path, *sweep).out.count("is finished already") == 3


def test_the_user_may_name_folders(tmp_path):
    sweep = ["-m", *QUICK, "hydra.sweep.dir=here", "hydra.sweep.subdir=job-${hydra.job.num}", "seed=1,2"]
    assert gan_run(tmp_path, *sweep).code == 0
    assert states(tmp_path / "here") == {"job-0": "finished", "job-1": "finished"}
    assert gan_run(tmp_path, *sweep).out.count("is finished already") == 2


def test_a_failed_job_is_reported_at_the_end_with_its_reason_and_the_command_to_repeat_it(tmp_path):
    result = gan_run(tmp_path, "-m", *QUICK, "hydra.sweep.dir=here", "model.dropout=1.5,0.1")
    assert result.code == 1
    assert states(tmp_path / "here") == {"model.dropout=1.5": "failed", "model.dropout=0.1": "finished"}
    assert jobs(tmp_path / "here")["model.dropout=1.5"]["error"].startswith("model.dropout is 1.5, but must be")
    *_, counts, failed, reason, alone, on, dashboard = result.out.splitlines()
    assert counts == "Sweep: 1 of 2 done, 1 failed."
    assert failed == "Failed: model.dropout=1.5"
    assert reason == "  model.dropout is 1.5, but must be a number, at least 0 and below 1."
    assert alone.startswith("  Again, alone: gan-run penalty=none ")
    assert on == "To resume: gan-run -m sweep_resume=here"
    assert dashboard == "Dashboard: tensorboard --logdir here"
    again = gan_run(tmp_path, "-m", "sweep_resume=here")
    assert again.code == 1
    assert again.out.count("is finished already") == 1
    assert "model.dropout=1.5: failed." in again.out


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (["model.dropout=1.5"], "model.dropout is 1.5, but must be"),
        (["data=image_folder", "data.root=nowhere"], "there is no such folder"),
        (["loss._target_=failing.Bug", "labels=hard"], "a bug of its own"),
    ],
    ids=["a value", "the data", "a bug in a part"],
)
def test_a_failure_of_all_jobs_is_reported_at_the_first_and_once_at_the_end(tmp_path, monkeypatch, wrong, problem):
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = gan_run(tmp_path, "-m", *QUICK[:2], *QUICK[3:], *wrong, "hydra.sweep.dir=here", "seed=1,2,3")
    assert result.code == 1
    assert result.text.count(problem) == 2 + ("Traceback" in result.text), result.text
    assert result.text.count("Again, alone: ") == 1
    assert "Failed: all 3 jobs" in result.out
    assert all((tmp_path / f"here/seed={seed}/gan-run.log").read_text().count(problem) for seed in (1, 2, 3))


def test_different_failures_of_a_sweep_are_reported_separately(tmp_path):
    result = gan_run(tmp_path, "-m", *QUICK, "hydra.sweep.dir=here", "model.dropout=1.5,1.7", "seed=1,2")
    for value in (1.5, 1.7):
        assert result.text.count(f"model.dropout is {value}") == 2, result.text
        assert f"Failed: 2 jobs: model.dropout={value},seed=1; model.dropout={value},seed=2" in result.out


def test_a_failed_job_frees_its_memory(tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = gan_run(tmp_path, "-m", *QUICK, "loss._target_=failing.OutOfMemory", "seed=1,2", "hydra.sweep.dir=here")
    assert "There is too little memory for this" in result.text
    assert [reference() for reference in sys.modules["failing"].made] == [None, None]
    assert sys.modules["failing"].alive_at_start == [0, 0]


FAILING = """
import weakref
from gan_runner.objectives.losses import NonSaturating

made, alive_at_start = [], []


class Bug(NonSaturating):
    def d(self, *logits):
        raise KeyError("a bug of its own")


class OutOfMemory(NonSaturating):
    def __init__(self, labels, joined: bool) -> None:
        super().__init__(labels, joined)
        alive_at_start.append(sum(reference() is not None for reference in made))
        made.append(weakref.ref(self))

    def d(self, *logits):
        raise RuntimeError("CUDA out of memory. Tried to allocate 1 TB")
"""


def test_a_job_whose_folder_was_removed_runs_again(tmp_path, swept_here):
    (tmp_path / "here/seed=2").rename(tmp_path / "gone")
    assert gan_run(tmp_path, *swept_here, "seed=1,2").out.count("is finished already") == 1
    assert same_ends(tmp_path / "gone", tmp_path / "here/seed=2")


def same_ends(one, other):
    states = [torch.load(run / "checkpoints/last.pt", weights_only=True)["players"] for run in (one, other)]
    return same(*states)


def test_a_damaged_sweep_json_is_renamed_and_the_jobs_are_found_by_their_folders(tmp_path, swept_here):
    (tmp_path / "here" / FILE).write_text('{"jobs": [{"name": 3')
    before = content(tmp_path / "here")
    result = gan_run(tmp_path, *swept_here, "seed=1,2")
    assert result.code == 0, result.text
    assert result.out.count("is finished already") == 2
    assert (tmp_path / "here/sweep.json.damaged-1").is_file()
    assert content(tmp_path / "here") == before


def test_two_simultaneous_sweeps_in_one_folder_are_refused(tmp_path):
    first = SweepFolder(tmp_path / "here")
    first.take()
    result = gan_run(tmp_path, "-m", *QUICK, "hydra.sweep.dir=here", "seed=1,2")
    first.release()
    assert result.code == 1
    assert "hydra.sweep.dir is here, but another sweep is going on there." in result.err
    assert not list((tmp_path / "here").glob("*"))[1:]  # its lock


NOT_TAKEN = "which is not taken from a folder"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["loss._target_=os.system"], "asks for loss._target_=os.system, which is not part of gan-runner"),
        (["+x={_target_:os.system}"], NOT_TAKEN),
        (["+model.x={_target_:os.system}"], "asks for model.x._target_=os.system"),
        (["loss._target_=gan_runner.a,os.system"], "which is not part of gan-runner"),
        (["hydra.sweeper.params.loss._target_=os.system"], "asks for loss._target_=os.system"),
        (["data.root=${oc.env:HOME}"], "data.root=${oc.env:HOME}. An override in"),
        (["hydra.callbacks.mine._target_=os.system"], NOT_TAKEN),
        (["+model@hydra.callbacks=mlp"], NOT_TAKEN),
        ([r"model.generator.activation=$\{oc.create\:\{_target_\:os.system\,command\:ls\}\}"], NOT_TAKEN),
        ([r"model.generator.activation=choice($\{oc.create\:a\})"], NOT_TAKEN),
        ([r"trainer.device=$\{oc.env\:HOME\}"], NOT_TAKEN),
        (["+model.h=$", "+model.i='{oc.env:HOME}'", "data.root=${model.h}${model.i}"], NOT_TAKEN),
        (["hydra.launcher.setup=[reboot]"], NOT_TAKEN),
        (
            ["+model.h='{_target_:os.system,command:ls}'", "hydra.sweeper.params.model.generator=${model.h}"],
            "params.model.generator=${model.h}', which is not taken from a folder",
        ),
        (["hydra.sweeper.params.model={h:1}"], NOT_TAKEN),
        (["hydra.sweeper.params.seed=1"], "hydra.sweeper.params is null here, and has no keys"),
        (
            ["+model.c0=x", *(f"+model.c{n}=[${{model.c{n - 1}}},${{model.c{n - 1}}}]" for n in range(1, 41))],
            "too many references to each other",
        ),
        (["seed=1,2", "seed"], "sweep.json is damaged"),
    ],
)
def test_only_harmless_overrides_are_taken_from_a_sweeps_folder(tmp_path, arguments, problem):
    folder = SweepFolder(tmp_path)
    folder.take()
    sweep = folder.read()
    sweep.arguments = arguments
    folder.begin(sweep)
    folder.release()
    before = content(tmp_path)
    result = gan_run(tmp_path, "-m", "sweep_resume=.")
    assert result.code == 1
    assert problem in result.err
    assert content(tmp_path) == before


OWN_LOSS = """
from gan_runner.objectives.losses import Hinge

class Mine(Hinge):
    def __init__(self, name: str):
        pass
"""


def test_jobs_of_a_resumed_sweep_build_only_allowed_components_and_those_typed_now(tmp_path, monkeypatch):
    (tmp_path / "my_losses_here.py").write_text(OWN_LOSS)
    (tmp_path / "own/loss").mkdir(parents=True)
    (tmp_path / "own/loss/mine.yaml").write_text("_target_: ${loss.name}\nname: my_losses_here.Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = ["--config-dir", "own", "-m"]
    assert gan_run(tmp_path, *own, *QUICK, "seed=1,2", "loss=mine", "hydra.sweep.dir=here").code == 0
    before = json.loads((tmp_path / "here/sweep.json").read_text())
    before["jobs"][0]["state"] = "interrupted"  # it has a checkpoint to go on from
    before["jobs"][1]["state"] = "waiting"
    shutil.rmtree(tmp_path / "here" / before["jobs"][1]["folder"])

    def gone_on_with(*words):
        (tmp_path / "here/sweep.json").write_text(json.dumps(before))
        return gan_run(tmp_path, *words, "sweep_resume=here")

    assert "loss=mine" in gone_on_with("-m").err, "it is no file of ours, and no folder of files is typed"
    result = gone_on_with(*own)
    assert result.code == 1
    assert "_target_=my_losses_here.Mine, which is not part of gan-runner" in result.err
    assert "2 failed" in result.out
    (tmp_path / "own/loss/other.yaml").write_text("_target_: my_losses_here.Mine\n")
    assert gone_on_with(*own).code == 0


@pytest.mark.parametrize(
    ("folder", "problem"), [("gone", "there is no such folder"), (".", "not the folder of a sweep")]
)
def test_a_folder_without_a_sweep_cannot_be_resumed(tmp_path, folder, problem):
    result = gan_run(tmp_path, "-m", f"sweep_resume={folder}")
    assert result.code == 1
    assert problem in result.err
    assert not list(tmp_path.iterdir())


def test_the_hparams_page_has_the_metrics_and_the_settings_with_the_swept_ones_first(swept):
    folder, _ = swept
    for name in ("seed=1", "seed=2"):
        events = EventAccumulator(str(folder / "here" / name)).Reload().PluginTagToContent("hparams")
        experiment = metadata.parse_experiment_plugin_data(events[metadata.EXPERIMENT_TAG])
        columns = [(info.name, info.differs) for info in experiment.hparam_infos]
        assert columns == [("seed", True), *((override.partition("=")[0], False) for override in QUICK)]
        assert experiment.metric_infos[0].name.tag == "metric/sliced_wasserstein_16"


def test_every_column_of_the_hparams_page_sorts_and_filters_and_failed_jobs_are_rows(tmp_path):
    swept = ["trainer.ema=null,0.9", "trainer.keep=2,all", "trainer.g_batch_size=16,0"]
    result = gan_run(tmp_path, "-m", *QUICK, "trainer.progress=false", *swept, "hydra.sweep.dir=here")
    assert result.code == 1
    page = HparamsPage(tmp_path / "here")
    columns = {column.name: column for column in page.columns()}
    assert set(columns) >= {"trainer.ema", "trainer.keep", "trainer.g_batch_size", "seed"}
    assert "trainer.progress" not in columns
    for name, column in columns.items():
        rows = page.rows(api_pb2.ColParams(hparam=name, order=api_pb2.ORDER_ASC))
        assert len(rows) == 8, f"{name}: a job that failed is a row too"
        values = [getattr(row.hparams[name], row.hparams[name].WhichOneof("kind") or "null_value") for row in rows]
        if column.type == api_pb2.DATA_TYPE_FLOAT64:
            interval = api_pb2.Interval(min_value=0.5, max_value=math.inf)
            above = page.rows(api_pb2.ColParams(hparam=name, filter_interval=interval, exclude_missing_values=True))
            assert len(above) == sum(isinstance(value, float) and value >= 0.5 for value in values)
    kinds = {name: {row.hparams[name].WhichOneof("kind") for row in page.rows()} for name in columns}
    assert kinds["trainer.ema"] == {None, "number_value"}, "null leaves its cell empty"
    assert kinds["trainer.keep"] == {"string_value"}, "2 is text beside all"
    assert all(row.hparams["optimizer.lr"].number_value > 0 for row in page.rows()), "what nobody typed has its value"
    assert sum(row.sessions[0].status == api_pb2.STATUS_FAILURE for row in page.rows()) == 4


class HparamsPage:
    """TensorBoard's own page of hyperparameters on a folder."""

    def __init__(self, folder):
        runs = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
        self._context = Context(base_plugin.TBContext(data_provider=MultiplexerDataProvider(runs, str(folder))))

    def columns(self):
        found = get_experiment.Handler(RequestContext(), self._context, "", api_pb2.GetExperimentRequest()).run()
        return found.hparam_infos

    def rows(self, *columns):
        every = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
        request = api_pb2.ListSessionGroupsRequest(allowed_statuses=every, slice_size=100, col_params=columns)
        return list_session_groups.Handler(RequestContext(), self._context, "", request).run().session_groups


@pytest.mark.filterwarnings("ignore")  # what Optuna's plug-in takes from others is older than they are
@pytest.mark.parametrize(
    "kept",
    [["hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=dropouts"], []],
    ids=["a study that is kept", "one that is not"],
)
def test_a_resumed_search_reaches_its_number_of_trials(tmp_path, kept):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "model.dropout=interval(0.0,0.5)", *kept]
    for count in (2, 3, 3):
        result = gan_run(tmp_path, "-m", *QUICK, *search, f"hydra.sweeper.n_trials={count}", "hydra.sweep.dir=here")
        assert result.code == 0, result.text
        assert len(jobs(tmp_path / "here")) == count
    assert set(states(tmp_path / "here").values()) == {"finished"}


# ---- cut short ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep that nobody has cut short."""
    folder = tmp_path_factory.mktemp("whole")
    result = gan_run(folder, "-m", *TINY, "hydra.sweep.dir=here", "seed=1,2,3")
    assert result.code == 0, result.text
    return folder / "here"


def started(folder, *arguments, seeds="1,2,3"):
    program = "from gan_runner.commands.main import run; run()"
    command = [sys.executable, "-c", program, "-m", *TINY, "hydra.sweep.dir=here", f"seed={seeds}", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(process, there, seconds=120):
    until = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_killed_sweep_resumes_bit_for_bit(tmp_path, whole):
    process = started(tmp_path)
    here = tmp_path / "here"
    wait_for(process, (here / "seed=2/checkpoints/last.pt").is_file)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert states(here) == {"seed=1": "finished", "seed=2": "running", "seed=3": "waiting"}
    before = content(here / "seed=1")
    result = gan_run(tmp_path, "-m", "sweep_resume=here")
    assert result.code == 0, result.text
    assert "Resumed at iteration " in result.out
    assert content(here / "seed=1") == before
    for name in ("seed=1", "seed=2", "seed=3"):
        assert same(weights(here / name), weights(whole / name))
    one, other = jobs(here), jobs(whole)
    assert [job["objective"] for job in one.values()] == [job["objective"] for job in other.values()]
    assert [job["hash"] for job in one.values()] == [job["hash"] for job in other.values()]


@pytest.mark.parametrize("to", ["the group", "the parent"])
def test_a_signal_makes_every_job_of_a_parallel_sweep_save_and_end(tmp_path, whole, to):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    process = started(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    here = tmp_path / "here"
    wait_for(process, lambda: any((here / name / "checkpoints/last.pt").is_file() for name in ("seed=1", "seed=2")))
    if to == "the group":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == (130 if to == "the group" else 143), out
    assert "Traceback" not in out
    assert set(states(here).values()) <= {"interrupted", "finished", "waiting"}
    assert "To resume: gan-run -m sweep_resume=here" in out
    for name, state in states(here).items():
        if state == "interrupted":
            assert json.loads((here / name / "summary.json").read_text())["status"] == "interrupted"
    result = gan_run(tmp_path, "-m", "sweep_resume=here", "hydra/launcher=basic")
    assert result.code == 0, result.text
    for name in ("seed=1", "seed=2", "seed=3"):
        assert same(weights(here / name), weights(whole / name))


def signal_once_saved(process, run, number):
    """Send a signal to the process that trains a run, once it has saved for the first time."""
    wait_for(process, (run / "checkpoints/last.pt").is_file)
    *_, trains = re.findall(r"Process (\d+) writes", (run / "gan-run.log").read_text())
    os.kill(int(trains), number)


@pytest.mark.parametrize("launcher", ["submitit_local", "slurm"])
def test_a_preempted_job_saves_is_requeued_and_resumes_bit_for_bit(tmp_path, whole, launcher, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", f"{stand_in(tmp_path)}:{os.environ['PATH']}")
    process = started(tmp_path, f"hydra/launcher={launcher}", seeds="1,2")
    here = tmp_path / "here"
    signal_once_saved(process, here / "seed=2", signal.SIGUSR2)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0, out
    assert "Traceback" not in out
    assert set(states(here).values()) == {"finished"}
    log = (here / "seed=2/gan-run.log").read_text()
    assert "Interrupted by SIGUSR2." in log
    assert "Resumed at iteration " in log
    for name in ("seed=1", "seed=2"):
        assert same(weights(here / name), weights(whole / name))
        assert f"{name}: finished. Sweep: " in out  # although the jobs' own words go elsewhere


def test_a_signal_makes_submitits_jobs_save_and_end(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    process = started(tmp_path, "hydra/launcher=submitit_local", "trainer.iterations=20000", seeds="1,2")
    here = tmp_path / "here"
    wait_for(process, lambda: all((here / f"seed={n}/checkpoints/last.pt").is_file() for n in (1, 2)))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert set(states(here).values()) == {"interrupted"}
    assert "To resume: gan-run -m sweep_resume=here" in out


def test_a_sweep_whose_jobs_the_cluster_has_killed_ends_and_says_so(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", f"{stand_in(tmp_path)}:{os.environ['PATH']}")
    process = started(tmp_path, "hydra/launcher=slurm", "trainer.iterations=20000", seeds="1,2")
    here = tmp_path / "here"
    for name in ("seed=1", "seed=2"):
        signal_once_saved(process, here / name, signal.SIGKILL)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 1, out
    assert set(states(here).values()) == {"interrupted"}
    assert "To resume: gan-run -m sweep_resume=here" in out
    assert "A job's process was killed, by a user or by the cluster." in out


def test_requests_to_slurm_are_those_of_the_file_and_the_command_line(tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    programs = stand_in(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    asked = ["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=60"]
    result = gan_run(tmp_path, "-m", *QUICK, "hydra.sweep.dir=here", "seed=1,2", *asked)
    assert result.code == 0, result.text
    flags = set(re.findall(r"^#SBATCH --(.*)$", (programs / "asked").read_text(), re.MULTILINE))
    assert flags >= {"partition=gpu", "time=60", "gpus-per-node=1", "cpus-per-task=4", "mem=16GB", "requeue"}
    assert flags >= {"signal=USR2@120", "array=0-1%2"}


def test_a_job_on_ray_is_counted_like_any_other(tmp_path):
    pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    process = started(tmp_path, "hydra/launcher=ray")
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0, out
    assert set(states(tmp_path / "here").values()) == {"finished"}


def test_a_job_that_is_worse_than_the_median_of_the_finished_ones_is_pruned(tmp_path):
    often = ["trainer.intervals_in=iterations", "trainer.sample_every=2", "trainer.log_every=2"]
    rule = ["pruning=median", "pruning.jobs=1", "pruning.after=2"]
    sweep = ["-m", *QUICK, *often, *rule, "hydra.sweep.dir=here", "optimizer.lr=1e-2,1e-7,2e-2"]
    result = gan_run(tmp_path, *sweep)
    assert result.code == 0, result.text
    good, bad, better = jobs(tmp_path / "here").values()
    assert (good["state"], bad["state"]) == ("finished", "pruned")
    assert better["state"] in ("finished", "pruned")
    assert "Pruned at iteration 2: metric/sliced_wasserstein_16 was " in result.out
    assert "optimizer.lr=1e-07: pruned. Sweep: 1 of 3 done, 1 pruned, about " in result.out
    assert "To resume" not in result.out
    summary = json.loads((tmp_path / "here" / bad["folder"] / "summary.json").read_text())
    assert (summary["status"], summary["iterations"], summary["objective"]) == ("pruned", 2, bad["objective"])
    again = gan_run(tmp_path, *sweep)
    assert again.code == 0, again.text
    assert f"optimizer.lr=1e-07 is pruned already, with objective {bad['objective']:.4g}." in again.out


def test_pruning_without_an_objective_is_refused(tmp_path):
    result = gan_run(tmp_path, "-m", "pruning=median", "evaluation=off", "seed=1,2")
    assert result.code == 1
    assert "pruning needs the objective, but evaluation is off." in result.err


def test_a_sweep_from_before_a_group_existed_resumes(tmp_path, swept_here):
    file = tmp_path / "here" / FILE
    known = json.loads(file.read_text())
    del known["settings"]["augment"]
    known["jobs"][1] |= {"state": "interrupted", "hash": "another"}
    file.write_text(json.dumps(known))
    config = tmp_path / "here/seed=2/.hydra/config.yaml"
    config.write_text(config.read_text().replace("augment: {}\n", ""))
    result = gan_run(tmp_path, *swept_here, "seed=1,2")
    assert result.code == 0, result.text
    assert set(states(tmp_path / "here").values()) == {"finished"}


def test_jobs_that_fail_before_training_are_in_every_logger_and_resume_there(tmp_path):
    plugins = ["--config-dir", str(Path(__file__).parents[1] / "plugins/conf"), "logger=lines", "trainer.log_every=4"]
    sweep = ["-m", *QUICK, *plugins, "trainer.batch_size=16,0", "trainer.device=cpu,cuda:99", "hydra.sweep.dir=here"]
    for start, before in enumerate((None, 0)):
        result = gan_run(tmp_path, *sweep)
        assert result.code == 1
        assert "trainer.batch_size is 0, but must be a whole number, at least 1." in result.text
        assert result.out.count("Dashboard: less lines.txt") == 2
        assert "tensorboard --logdir" not in result.out
        of_a_job = defaultdict(list)
        for line in (tmp_path / "lines.txt").read_text().splitlines():
            name, _, said = line.partition(" after ")
            of_a_job[name].append(said)
        trained = of_a_job.pop("trainer.batch_size=16,trainer.device=cpu")
        assert trained == ["None: begins with seed 0", "None: iteration 4", "None: finished"]
        assert [said[2 * start :] for said in of_a_job.values()] == [
            [f"{before}: begins with seed 0", f"{before}: failed"]
        ] * 3
