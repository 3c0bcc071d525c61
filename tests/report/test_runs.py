"""Runs are read from what their folders promise, and as far as they have come."""

import json
import shlex

import numpy as np
import pytest

from gan_runner.errors import UserError
from gan_runner.report.runs import as_plain, read_run, runs_at, runs_of_sweep, shown
from tests.report.made_up import ALARM, make_run, make_sweep


def test_a_finished_run_says_what_it_is_and_how_it_went(tmp_path):
    run = read_run(make_run(tmp_path / "a", lr=1e-4, seed=3, told={"alarms": [ALARM]}), "a")
    assert (run.name, run.status, run.seed, run.error) == ("a", "finished", 3, "")
    assert (run.data, run.fingerprint, run.count) == ("digits", "0123456789abcdef", 1797)
    assert (run.objective, run.goal, run.best_iteration) == ("metric/distance", "lower", 60)
    assert run.best == run.last == run.metrics["metric/distance"]
    assert run.value("optimizer.lr") == 1e-4
    assert run.value("optimizer.d.lr") == "${optimizer.lr}"
    assert run.value("model") == "mlp"
    assert run.command == "gan-run optimizer.lr=0.0001 model.dropout=0.3 seed=3"
    assert [(alarm.name, alarm.iteration) for alarm in run.alarms] == [("coin_toss", 40)]
    assert run.curves["loss/d"].iterations.tolist() == list(range(5, 61, 5))
    assert list(run.pictures) == [15, 30, 45, 60]
    assert run.problems == []


def test_the_objective_of_a_summary_comes_first(tmp_path):
    told = {"objective_name": "metric/diversity", "goal": "higher", "best": None, "objective": 0.5}
    run = read_run(make_run(tmp_path / "a", told=told), "a")
    assert (run.objective, run.goal) == ("metric/diversity", "higher")
    assert (run.best, run.best_iteration, run.last) == (1.0, 60, 1.0)


def test_the_name_of_a_metric_may_lack_its_number_of_images(tmp_path):
    metrics = {"metric/distance_other": 1, "metric/distance_10k": 0.25}
    run = read_run(make_run(tmp_path / "a", points=1, told={"metrics": metrics}), "a")
    assert (run.objective, run.last) == ("metric/distance_10k", 0.25)


def test_the_command_of_a_job_repeats_the_job_and_not_its_sweep(tmp_path):
    sweep = ["gan-run", "-m", "--config-dir", "my files", "seed=1,2", "hydra.sweep.dir=here"]
    overrides = ("data.root=my pictures; ls", "resume=a", "model.dropout=0.5")
    run = read_run(make_run(tmp_path / "a", overrides=overrides, told={"command": sweep}), "a")
    assert run.command == ("gan-run optimizer.lr=0.0002 model.dropout=0.5 seed=1 'data.root=my pictures; ls'")


@pytest.mark.parametrize("word", ["x\nrm -rf /", "x\u202e", "x;y", 3, None, ["-cd"]])
def test_a_command_stays_one_line_with_one_program(tmp_path, word):
    typed = (f"model.x={word}",)
    run = read_run(make_run(tmp_path / "a", overrides=typed, told={"command": ["rm", "-cd", word]}), "a")
    assert run.command.isprintable()
    program, *words = shlex.split(run.command)
    assert (program, len(words)) == ("gan-run", 4)


def test_a_run_that_has_just_begun_is_read_from_its_curves(tmp_path):
    folder = make_run(tmp_path / "a", points=4, iterations=40)
    (folder / "summary.json").unlink()
    run = read_run(folder, "a")
    assert (run.status, run.iterations, run.epochs, run.images_per_second) == ("unknown", 40, 10.0, 1001.0)
    assert run.best == run.last == run.metrics["metric/distance"]
    assert run.best_iteration == 30
    assert run.problems == ["summary.json is missing: the run ended before training, or is just starting."]


def test_the_progress_of_a_running_run_is_that_of_its_newest_line(tmp_path):
    run = read_run(
        make_run(tmp_path / "a", status="running", iterations=40, told={"iterations": 4, "epochs": 2.0}), "a"
    )
    assert (run.status, run.iterations, run.epochs) == ("running", 40, 10.0)


def test_every_file_may_be_missing_or_damaged(tmp_path):
    names = ["summary.json", "metrics.jsonl", ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/hydra.yaml"]
    for number, name in enumerate(names):
        folder = make_run(tmp_path / f"damaged {number}")
        (folder / name).write_bytes(b"\xff[{\n")
        (problem,) = read_run(folder, "a").problems
        assert problem.startswith(name)
        folder = make_run(tmp_path / f"missing {number}")
        (folder / name).unlink()
        assert len(read_run(folder, "a").problems) == (name == "summary.json")


KEYS = ["best", "metrics", "alarms", "data", "versions", "seed", "status", "seconds", "goal", "objective_name"]


@pytest.mark.parametrize("value", [None, "text", 3, [1], {"a": {"b": 1}}, True, -1e300, "nan"], ids=repr)
def test_of_a_damaged_summary_the_readable_values_are_used(tmp_path, value):
    folder = make_run(tmp_path / "a", pictures=1)
    summary = json.loads((folder / "summary.json").read_text())
    for key in KEYS:
        (folder / "summary.json").write_text(json.dumps(summary | {key: value}))
        run = read_run(folder, "a")
        assert run.fingerprint == ("" if key == "data" else "0123456789abcdef")
        for number in (run.best, run.last, run.seconds):
            assert number is None or isinstance(number, float)


def test_numbers_written_as_text_are_ignored(tmp_path):
    run = read_run(make_run(tmp_path / "a", told={"metrics": {"metric/distance": "nan"}, "seconds": "inf"}), "a")
    assert (run.metrics["metric/distance"], run.seconds) == (None, None)


def test_shortened_curves_keep_their_mean(tmp_path):
    folder = make_run(tmp_path / "a")
    values = np.random.default_rng(0).random(2500)
    lines = (json.dumps({"iteration": n + 1, "loss/d": value}) + "\n" for n, value in enumerate(values))
    (folder / "metrics.jsonl").write_text("".join(lines))
    curve = read_run(folder, "a").curves["loss/d"]
    assert len(curve.values) == 834  # threes, and one left over
    assert curve.iterations[:2].tolist() == [3, 6]
    assert curve.iterations[-1] == 2500
    np.testing.assert_allclose(curve.values[0], values[:3].mean())
    np.testing.assert_allclose(curve.values[-1], values[-1])


def test_all_runs_of_a_sweep_are_found_in_natural_order(tmp_path):
    for number in (10, 9, 1):
        make_run(tmp_path / f"job{number}")
    make_run(tmp_path / "deeper/job2")
    (tmp_path / "job9/samples/.hydra").mkdir()
    runs, problems = runs_of_sweep(tmp_path)
    assert [run.name for run in runs] == ["deeper/job2", "job1", "job9", "job10"]
    assert problems == []


def test_a_sweep_file_lists_jobs_that_have_no_folder(tmp_path):
    make_run(tmp_path / "first", status="running", told={"seconds": None})
    make_run(tmp_path / "second")
    (tmp_path / "fifth").mkdir()
    (tmp_path / "fifth/gan-run.log").touch()
    jobs = [
        {"name": "fifth", "overrides": ["model.dropout=1.5"], "state": "failed", "folder": "fifth"},
        {"name": "first", "folder": "first", "state": "interrupted", "seconds": 7, "error": "killed"},
        {"name": "second", "folder": str(tmp_path / "second"), "state": "running"},
        {"name": "third", "overrides": ["optimizer.lr=1e-3", "seed=5"], "state": "waiting", "folder": None},
        {"name": "fourth", "overrides": ["optimizer.lr=-1"], "state": "failed", "error": "too low", "folder": "../.."},
    ]
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    runs = {run.name: run for run in runs_of_sweep(tmp_path)[0]}
    assert {name: run.status for name, run in runs.items()} == {
        "first": "interrupted",
        "second": "finished",
        "third": "waiting",
        "fourth": "failed",
        "fifth": "failed",
    }
    assert (runs["first"].seconds, runs["first"].error) == (7.0, "killed")
    assert (runs["third"].value("optimizer.lr"), runs["third"].seed) == (1e-3, 5)
    assert runs["third"].command == "gan-run optimizer.lr=1e-3 seed=5"
    assert runs["fourth"].error == "too low"
    assert (runs["fifth"].value("model.dropout"), runs["fifth"].problems) == (1.5, [])


@pytest.mark.parametrize("content", ["[", '{"jobs": 3}', '{"jobs": [3, null, {"overrides": 5, "name": []}]}', "[]"])
def test_a_damaged_sweep_json_does_not_hide_the_runs(tmp_path, content):
    make_run(tmp_path / "a")
    (tmp_path / "sweep.json").write_text(content)
    runs, _ = runs_of_sweep(tmp_path)
    assert "a" in [run.name for run in runs]


def test_a_folder_without_runs_is_refused_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "multirun/day/time/job")
    (tmp_path / "empty").mkdir()
    for path, problem in ((tmp_path / "empty", "there are no runs in it"), (tmp_path / "none", "no such folder")):
        with pytest.raises(UserError, match=problem) as raised:
            runs_of_sweep(path)
        assert "Try sweep=multirun/day/time" in raised.value.remedy
    with pytest.raises(UserError, match="that is the folder of one run") as raised:
        runs_of_sweep(tmp_path / "multirun/day/time/job")
    assert f"Try sweep={tmp_path}/multirun/day/time, or runs=" in raised.value.remedy


def test_runs_given_by_folder_are_each_read_once(tmp_path):
    make_sweep(tmp_path / "sweep", lrs=(1e-4,), dropouts=(0.1,), pictures=1)
    names = [str(path) for path in sorted((tmp_path / "sweep").iterdir())]
    assert [run.name for run in runs_at([*names, f"{names[0]}/."])] == names
    with pytest.raises(UserError, match="no such folder"):
        runs_at([*names, str(tmp_path / "none")])
    with pytest.raises(UserError, match="that is not the folder of a run") as raised:
        runs_at([str(tmp_path / "sweep")])
    assert raised.value.remedy == f"Try sweep={tmp_path}/sweep."


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1e-4", 1e-4),
        ("3", 3),
        ("true", True),
        ("null", "null"),
        ("mlp", "mlp"),
        ("'1'", "1"),
        ("nan", "nan"),
        ("", ""),
    ],
)
def test_overrides_are_read_as_hydra_reads_plain_ones(typed, value):
    assert as_plain(typed) == value
    assert type(as_plain(typed)) is type(value)


def test_values_are_shown_as_they_are_typed():
    assert [shown(value) for value in (None, True, 2e-4, 1e-05, 3, "mlp")] == [
        "-",
        "true",
        "0.0002",
        "1e-05",
        "3",
        "mlp",
    ]
