"""sweep.json of any shape is read as a sweep, or set aside as damaged."""

import json
from dataclasses import asdict

import pytest

from gan_runner.record.sweep_folder import FILE, Job, Sweep, SweepFolder

WHOLE = asdict(Sweep([Job("a", ["seed=0"], folder="a")], ["seed=0,1"], ["seed"], {"model": "mlp"}, "start", 1.0, 2))
ODD = (None, True, -1, 1.5, 2**70, "", "x", [], [1], {}, {"x": 1}, [[]], "../..", "/", "\x00")


def places_of(tree):
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in inner for place in [[key], *([key, *rest] for rest in places_of(value))]]


def changed(path, value):
    tree = json.loads(json.dumps(WHOLE))
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return tree


@pytest.mark.parametrize("path", places_of(WHOLE), ids=str)
def test_one_odd_value_leaves_a_usable_sweep_or_none(tmp_path, path):
    for value in ODD:
        for left in tmp_path.iterdir():
            left.unlink()
        (tmp_path / FILE).write_text(json.dumps(changed(path, value)))
        sweep = SweepFolder(tmp_path).read()
        assert sweep == Sweep() or not list(tmp_path.glob("*.damaged-1")), value
        sweep.progress()
        sweep.point(["seed=3"])
        sweep.claim(0, ["seed=7"], tmp_path)
        assert all((tmp_path / job.folder).resolve().is_relative_to(tmp_path) for job in sweep.jobs), value


@pytest.mark.parametrize("content", ["", "[]", '{"jobs": 1}', '{"jobs": [1]}', '{"jobs": [[]]}', "[" * 100_000, "NaN"])
def test_a_file_that_is_not_a_sweep_is_renamed(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    assert SweepFolder(tmp_path).read() == Sweep()
    assert (tmp_path / f"{FILE}.damaged-1").read_text() == content


def test_a_sweep_without_jobs_is_new(tmp_path):
    (tmp_path / FILE).write_text('{"jobs": []}')
    assert SweepFolder(tmp_path).read() == Sweep()
    assert not (tmp_path / f"{FILE}.damaged-1").exists()
