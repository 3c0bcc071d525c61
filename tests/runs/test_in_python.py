"""Runs and sweeps from Python: the same as the commands', and nothing left behind in the program that asks for them."""

import contextlib
import io
import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module, version
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import gan_runner as gr
from gan_runner.runs.words import words_of
from tests.command_line import QUICK, everything_but_times, gan_run, gan_sample, only_run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def surroundings():
    """What a program has that a run could leave otherwise."""
    ours = logging.getLogger("gan_runner")
    return {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "random numbers": torch.random.get_rng_state().tolist(),
        "numpy's": np.random.get_state()[1].tolist(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "cudnn": torch.backends.cudnn.deterministic,
        "handlers": [list(logger.handlers) for logger in (ours, logging.getLogger())],
        "levels": [logger.level for logger in (ours, logging.getLogger())],
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)},
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg, version.getbase()),
        "stored configs": sorted(ConfigStore.instance().repo),
        "thread names": sorted(thread.name for thread in threading.enumerate()),
    }


def test_a_run_from_python_equals_the_commands_bit_for_bit_and_leaves_no_global_state(tmp_path):
    (tmp_path / "typed").mkdir()
    assert gan_run(tmp_path / "typed", *QUICK).code == 0
    before = surroundings()
    run = gr.train(*QUICK, quiet=True)
    after = surroundings()
    assert {name for name in before if before[name] != after[name]} == set()
    typed = only_run(tmp_path / "typed")
    assert everything_but_times(run.folder) == everything_but_times(typed)
    names = [{path.name.partition(".out.")[0] for path in folder.iterdir()} for folder in (run.folder, typed)]
    assert names[0] == names[1]
    told = json.loads((typed / "summary.json").read_text())
    same = ("status", "command", "seed", "iterations", "metrics", "best", "data", "alarms")
    assert {key: run.summary[key] for key in same} == {key: told[key] for key in same}
    assert (run.folder / ".hydra/config.yaml").read_text() == (typed / ".hydra/config.yaml").read_text()
    assert (run.folder / ".hydra/overrides.yaml").read_text() == (typed / ".hydra/overrides.yaml").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four iterations, which no test changes."""
    with contextlib.chdir(tmp_path_factory.mktemp("run")):
        return gr.load(Path(gr.train(*QUICK, quiet=True).folder).absolute())


def test_a_run_has_its_settings_and_its_result(run):
    assert run.status == "finished"
    assert run.config["trainer"]["iterations"] == 4
    assert run.config["optimizer"]["g"]["lr"] == run.config["optimizer"]["lr"]  # references are followed
    assert run.metrics
    assert run.best["value"] in [point[run.summary["objective_name"]] for point in run.history.to_dict("records")]
    assert run.alarms == []
    assert run.checkpoints[:2] == ["last", "best"]
    assert repr(run).startswith(f"<SavedRun {run.folder}, finished, 4 iterations, metric/")
    assert "finished" in run._repr_html_()


def test_samples_of_a_run_are_those_of_gan_sample(run, tmp_path):
    assert gan_sample(tmp_path, f"run={run.folder}", "num=5", "seed=3", "output=five.npz").code == 0
    drawn = run.sample(5, seed=3)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (5, 28, 28, 1)
    assert np.array_equal(drawn, np.load("five.npz")["arr_0"])
    assert not np.array_equal(drawn, run.sample(5, seed=4))


def test_images_are_shown_as_a_grid_and_other_arrays_are_not(run):
    images = run.sample(5)
    assert images._repr_png_().startswith(b"\x89PNG")
    for other in (images[0], images[:0], images.astype(float), images[..., 0]):
        assert other._repr_png_() is None


def test_metrics_of_a_run_are_compared_with_real_images_and_noise(run):
    report = run.evaluate("num=40", real=40, checkpoint="last")
    found = report.as_dict()
    assert found["count"] == 32  # beside as many real ones, of the 64 that it was trained on
    assert found["metrics"].keys() == found["real"].keys() == found["noise"].keys()
    with pytest.raises(gr.UserError, match="There is no key nums"):
        run.evaluate(nums=3)


MISTYPED = [
    "trainer.epoch=3",
    "trainer.epochs=-3",
    "trainer.epochs=three",
    "model=dcgn",
    "lr=1e-4",
    "--lr=3",
    "model",
    "model.dropout=0.1,0.2",
    "optimizer.lr=[",
    "data=image_folder",
    "model=null",
    "penalty=several",
    "resume=nowhere",
]


@pytest.mark.parametrize("word", MISTYPED)
def test_what_the_command_refuses_raises_an_exception_with_the_same_message(tmp_path, word):
    typed = gan_run(tmp_path, word)
    before = surroundings()
    with pytest.raises(gr.UserError) as error:
        gr.train(word)
    assert surroundings() == before
    assert typed.code == 1
    assert str(error.value).strip() == typed.err.strip()
    assert not list(tmp_path.glob("outputs/*/*"))


def test_settings_may_be_given_as_keyword_arguments():
    given = {"model": "dcgan", "trainer": {"epochs": 50, "ema": None}, "data": {"root": Path("a b")}, "seed": 3}
    assert words_of(["loss=hinge"], given) == [
        *("loss=hinge", "model=dcgan", "trainer.epochs=50", "trainer.ema=null", "data.root=a b", "seed=3"),
    ]
    widths = {"model": {"generator": {"widths": [16, 32]}, "spectral_norm": True, "dropout": 0.1}}
    assert words_of([], widths) == [
        *("model.generator.widths=[16,32]", "model.spectral_norm=true", "model.dropout=0.1"),
    ]


@pytest.mark.parametrize(("words", "settings"), [([3], {}), ([], {"seed": object()}), ([], {"seed": float("nan")})])
def test_values_that_cannot_be_settings_are_refused(words, settings):
    with pytest.raises(gr.UserError):
        gr.train(*words, **settings)


def test_train_refuses_a_sweep():
    for words in (["-m", "seed=1,2"], ["sweep_resume=multirun/x"]):
        with pytest.raises(gr.UserError, match=r"gan_runner\.sweep"):
            gr.train(*words)


def test_runs_in_several_threads_equal_runs_one_by_one_bit_for_bit(tmp_path):
    seeds = [1, 2, 3]
    alone = [everything_but_times(gr.train(*QUICK, seed=seed, quiet=True).folder) for seed in seeds]
    together, level = dict.fromkeys(seeds), logging.getLogger("gan_runner").level

    def train(seed):
        together[seed] = gr.train(*QUICK, f"hydra.run.dir=together/{seed}", seed=seed, quiet=True)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    drawn = [gr.load(f"{next(tmp_path.glob('outputs/*/*'))}").sample(3) for _ in range(3)]
    for thread in threads:
        thread.join()
    assert np.array_equal(drawn[0], drawn[-1])
    assert logging.getLogger("gan_runner").level == level
    for seed, expected in zip(seeds, alone, strict=True):
        assert everything_but_times(together[seed].folder) == expected
        assert (together[seed].folder / "gan-run.log").read_text().count("Finished in") == 1


def test_a_program_that_uses_hydra_keeps_its_config_and_version():
    with initialize_config_module("hydra.conf", job_name="theirs", version_base="1.2"):
        before = GlobalHydra.instance().hydra, version.getbase()
        run = gr.train(*QUICK, quiet=True)
        assert (GlobalHydra.instance().hydra, version.getbase()) == before
        assert compose(overrides=["+key=1"]).key == 1
    assert run.status == "finished"


def stop_once_saved(folder, pattern):
    until = time.monotonic() + 60
    while time.monotonic() < until and not list(folder.glob(pattern)):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_and_returns_a_run_that_resumes_bit_for_bit(tmp_path):
    often = [*QUICK, "trainer.log_every=2", "trainer.checkpoint_every=2"]
    stopper = threading.Thread(target=stop_once_saved, args=(tmp_path, "outputs/*/*/checkpoints/last.pt"))
    stopper.start()
    run = gr.train(*often, "trainer.iterations=100000", quiet=True)
    stopper.join()
    assert run.status == "interrupted"
    reached = run.summary["iterations"]
    resumed = run.resume(iterations=reached + 2, quiet=True)
    assert resumed.folder == run.folder
    assert resumed.status == "finished"
    whole = gr.train(*often, f"trainer.iterations={reached + 2}", quiet=True)
    states = [each.load_checkpoint()["players"]["generator"]["net"] for each in (resumed, whole)]
    for name, weights in states[1].items():
        assert torch.equal(states[0][name], weights), name


def test_a_resume_refuses_what_the_command_refuses(run):
    with pytest.raises(gr.UserError, match="that run trains something else"):
        run.resume("model.dropout=0.7", iterations=6)
    assert run.status == "finished"


def test_messages_are_printed_if_nobody_else_logs_them(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for quiet, wanted in ((True, ""), (False, "4 iterations")):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            run = gr.train(*QUICK, quiet=quiet)
        assert wanted in out.getvalue()
        assert bool(out.getvalue()) is not quiet
        assert "4 iterations" in (run.folder / "gan-run.log").read_text()


def test_a_folder_without_a_run_is_refused_with_what_to_type(tmp_path, run):
    Path("empty").mkdir()
    Path("sweep").mkdir()
    Path("sweep/sweep.json").write_text("{}")
    for folder, said in (("nowhere", "no such folder"), ("empty", "not the folder of a run"), ("sweep", "load_sweep")):
        with pytest.raises(gr.UserError, match=said):
            gr.load(folder)
    for folder in ("nowhere", "empty"):
        with pytest.raises(gr.UserError, match="not the folder of a sweep"):
            gr.load_sweep(folder)
    with pytest.raises(gr.UserError, match="There is no checkpoint"):
        run.sample(checkpoint="7")
    with pytest.raises(gr.UserError, match="num is 0"):
        run.sample(0)


def test_an_untrusted_folder_builds_only_what_is_trusted(tmp_path, run):
    import shutil

    shutil.copytree(run.folder, "theirs")
    config = Path("theirs/.hydra/config.yaml")
    config.write_text(config.read_text().replace("gan_runner.models.mlp.Generator", "os.system"))
    theirs = gr.load("theirs")
    for use in (theirs.sample, theirs.evaluate, theirs.resume, lambda: theirs.config):
        with pytest.raises(gr.UserError, match=r"asks for model\.generator\._target_=os\.system"):
            use()


def test_a_sweep_returns_a_row_for_each_job_and_its_runs(tmp_path):
    swept = gr.sweep(*QUICK, "model.dropout=0.1,0.3", quiet=True)
    assert swept.folder.parent.parent == Path("multirun")
    rows = swept.table.to_dict("records")
    assert [row["model.dropout"] for row in rows] == ["0.1", "0.3"]
    assert {row["state"] for row in rows} == {"finished"}
    assert [run.config["model"]["dropout"] for run in swept.runs] == [0.1, 0.3]
    assert repr(swept) == f"<SavedSweep {swept.folder}, 2 finished>"
    assert [run.status for run in gr.load_sweep(swept.folder).runs] == ["finished"] * 2
    with pytest.raises(gr.UserError, match="model is dcgn, but must be"):
        gr.sweep("model=dcgn", "seed=1,2", quiet=True)
    assert len(list(tmp_path.glob("multirun/*/*"))) == 1
