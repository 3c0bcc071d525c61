"""gan-compare from end to end: what it leaves, what it prints, and what it says to mistakes."""

import json
import re
import shlex
from pathlib import Path

import pytest

from gan_runner.commands import main
from gan_runner.config.command_line import named_folders
from tests.command_line import QUICK, Result, call, gan_run
from tests.report.made_up import make_run, make_sweep

DOCS = Path(__file__).parent.parent.parent / "docs/compare.md"


def gan_compare(folder, *arguments) -> Result:
    return call(main.compare, folder, *arguments)


def test_a_sweep_is_compared_by_a_table_a_csv_file_and_a_page(tmp_path):
    assert gan_run(tmp_path, "-m", *QUICK, "hydra.sweep.dir=sweep", "optimizer.lr=1e-4,1e-3", "seed=1,2").code == 0
    result = gan_compare(tmp_path, "sweep=sweep")
    assert result.code == 0, result.text
    lines = result.out.splitlines()
    assert lines[0].startswith("4 runs of digits (64 images, ")
    assert lines[0].endswith("): frechet_cnn_16, lower is better")
    assert lines[1].split()[:4] == ["optimizer.lr", "runs", "best", "last"]
    assert {line.split()[0] for line in lines[2:4]} == {"0.0001", "0.001"}
    assert lines[-2:] == ["Table: sweep/summary.csv", "Page: sweep/compare.html"]
    assert len((tmp_path / "sweep/summary.csv").read_text().splitlines()) == 5
    assert "data:image/webp" in (tmp_path / "sweep/compare.html").read_text()
    assert gan_compare(tmp_path, "sweep=sweep").code == 0  # in the place of the first one's


def test_a_resumed_run_is_compared_with_one_that_was_not(tmp_path):
    chosen = ["evaluation=fast", "labels=smooth"]
    for name, length in (("a", "4"), ("b", "2")):
        run = [f"seed={length}", f"trainer.iterations={length}", f"hydra.run.dir={name}"]
        assert gan_run(tmp_path, *QUICK, *chosen, *run).code == 0
    assert gan_run(tmp_path, "resume=b", "trainer.iterations=4").code == 0
    result = gan_compare(tmp_path, "runs=[a,b]")
    assert result.code == 0, result.text
    assert result.out.splitlines()[1].split()[:3] == ["runs", "best", "last"]  # nothing differs but the seed
    assert gan_run(tmp_path, "resume=b", *chosen, "trainer.iterations=6").code == 0
    assert "metric/frechet_cnn_16" in json.loads((tmp_path / "b/summary.json").read_text())["metrics"]


def test_runs_are_compared_by_folders_and_in_the_current_one(tmp_path):
    make_sweep(tmp_path / "sweep", lrs=(1e-4,), pictures=1)
    folders = [f"sweep/model.dropout=0.{n},optimizer.lr=0.0001,seed=1" for n in (1, 3)]
    result = gan_compare(tmp_path, f"runs=[{folders[0]},{folders[1]}]")
    assert result.code == 0, result.text
    assert result.out.startswith("2 runs of digits")
    assert (tmp_path / "summary.csv").exists()
    assert gan_compare(tmp_path, f"runs={folders[0]}", "output=new/folder").out.startswith("1 run of digits")
    assert (tmp_path / "new/folder/compare.html").exists()


@pytest.mark.parametrize(
    ("typed", "folders"),
    [
        ("[a,b]", ["a", "b"]),
        ("[ 'a' , \"b\" ]", ["a", "b"]),
        ("[a=1,b=2,a=1,b=3]", ["a=1,b=2", "a=1,b=3"]),
        ("['a=1,b=2',none]", ["a=1,b=2", "none"]),
        ("a=1,b=2", ["a=1,b=2"]),
        ("[]", []),
    ],
)
def test_a_comma_in_a_folder_name_does_not_split_it(tmp_path, monkeypatch, typed, folders):
    monkeypatch.chdir(tmp_path)
    for name in ("a=1,b=2", "a=1,b=3", "b"):
        (tmp_path / name).mkdir()
    assert named_folders(typed) == folders


def test_runs_that_cannot_be_compared_are_reported(tmp_path):
    make_sweep(tmp_path / "sweep", lrs=(1e-4,), pictures=1)
    make_run(tmp_path / "sweep/other", pictures=1, told={"data": {"name": "mnist", "fingerprint": "f", "count": 9}})
    lines = gan_compare(tmp_path, "sweep=sweep").out.splitlines()
    assert lines[0] == "These runs form 2 sets that cannot be compared with each other."
    assert [line.split(" (")[0] for line in lines if " of " in line and line[0].isdigit()][:2] == [
        "4 runs of digits",
        "1 run of mnist",
    ]


def test_failed_runs_and_unreadable_files_are_reported_and_the_rest_is_shown(tmp_path):
    make_sweep(tmp_path / "sweep", lrs=(1e-4,), pictures=1)
    make_run(tmp_path / "sweep/failed", status="failed", pictures=1, told={"error": "Too little memory."})
    damaged = make_run(tmp_path / "sweep/damaged", status="running", pictures=1)
    (damaged / "summary.json").write_text("{")
    result = gan_compare(tmp_path, "sweep=sweep")
    assert result.code == 0
    assert "Failed:\n  failed: Too little memory." in result.out
    assert "Missing or unreadable:\n  damaged: summary.json cannot be read:" in result.out
    assert "damaged: summary.json cannot be read" in (tmp_path / "sweep/compare.html").read_text()


def test_a_sweep_without_a_folder_yet_is_shown_as_it_is(tmp_path):
    jobs = [{"name": f"seed={n}", "overrides": [f"seed={n}"], "state": "waiting"} for n in (1, 2)]
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text(json.dumps({"jobs": jobs}))
    result = gan_compare(tmp_path, "sweep=sweep")
    assert result.code == 0, result.text
    assert result.out.startswith("2 runs of data that is not known yet, without an objective")


DOCUMENTED = re.findall(r"^gan-compare .*?(?=  +#|$)", DOCS.read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", DOCUMENTED)
def test_the_pages_command_compares(tmp_path, line):
    make_sweep(tmp_path / "multirun/DATE/TIME", lrs=(1e-4,), pictures=1)
    for name in ("TIME", "TIME-2"):
        make_run(tmp_path / "outputs/DATE" / name, pictures=1)
    result = gan_compare(tmp_path, *shlex.split(line)[1:])
    assert result.code == 0, result.text
    assert len(list(tmp_path.rglob("compare.html"))) == 1


MISTAKES = {
    "nothing to compare": ([], "neither sweep nor runs is given", "Try sweep=multirun/DATE/TIME"),
    "too much to compare": (["sweep=sweep", "runs=[a]"], "sweep and runs are both given", "Try sweep="),
    "no run": (["runs=[]"], "runs is [], but must name a run", "Try runs=A,B"),
    "no folder": (["sweep=none"], "sweep is none, but there is no such folder", "Try sweep=multirun/DATE/TIME"),
    "no sweep": (["sweep=empty"], "sweep is empty, but there are no runs in it", "Try sweep=multirun/DATE/TIME"),
    "a run": (["sweep=sweep/a"], "that is the folder of one run", "Try sweep=sweep, or runs=sweep/a,..."),
    "no folder of a run": (
        ["runs=[sweep/a,empty]"],
        "runs names empty, but that is not the folder of a run",
        "Leave it out",
    ),
    "a sweep among runs": (["runs=[sweep]"], "that is not the folder of a run", "Try sweep=sweep."),
    "a file for a folder": (["sweep=sweep", "output=file"], "that is not a folder", "Choose another output."),
    "too many cells": (["sweep=sweep", "pictures.cells=11"], "pictures.cells is 11, but must be", "at most 10"),
    "a wrong key": (["sweeps=sweep"], "There is no key sweeps here.", "Did you mean sweep?"),
    "somebody's file": (["sweep=sweep", "output=mine"], "mine/summary.csv exists already", "output=comparison"),
}


@pytest.mark.parametrize(("arguments", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gives_one_message_and_overwrites_nothing(tmp_path, arguments, problem, remedy):
    make_run(tmp_path / "sweep/a", pictures=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/summary.csv").write_text("my own table")
    result = gan_compare(tmp_path, *arguments)
    assert result.code == 1
    assert problem in result.err
    assert remedy in result.err
    assert len(result.err.splitlines()) <= 3
    assert (tmp_path / "mine/summary.csv").read_text() == "my own table"
    assert not list(tmp_path.rglob("compare.html"))


def test_the_command_has_its_own_help(tmp_path):
    result = gan_compare(tmp_path, "--help")
    assert result.code == 0
    assert result.out.startswith("gan-compare: ")
    assert "  gan-compare sweep=FOLDER" in result.out
    assert "Powered by Hydra" not in result.out
