"""The attacks themselves: what their watch catches and lets pass, and what they mutate."""

import os
import shutil

import pytest

from benchmarks import attacks, mutations


@pytest.fixture
def watch(tmp_path, monkeypatch):
    (tmp_path / "here/out/deep").mkdir(parents=True)
    (tmp_path / "here/out/deep/README.md").write_text("export")
    (tmp_path / "here/mine").mkdir()
    (tmp_path / "here/mine/README.md").write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    return attacks.watched(tmp_path / "here")


def remove(path, folder=None):
    os.remove(path, dir_fd=folder)


def test_a_whole_folder_that_is_allowed_to_change_can_be_removed(watch):
    with attacks.looking(watch):
        shutil.rmtree("out")
    assert watch.seen == []


@pytest.mark.parametrize(
    "change",
    [
        lambda: os.remove("mine/README.md"),
        lambda: shutil.rmtree("mine"),
        lambda: remove("README.md", os.open("mine", os.O_RDONLY)),
        lambda: os.rename("mine/README.md", "out/README.md"),
        lambda: os.truncate("mine/README.md", 0),
        lambda: os.mkdir("../beside"),
        lambda: open("mine/new", "w").close(),
    ],
    ids=["remove", "rmtree", "in an open folder", "rename", "truncate", "mkdir", "write"],
)
def test_a_change_of_anything_else_there_is_detected(watch, change):
    with attacks.looking(watch), pytest.raises(PermissionError):
        change()
    assert watch.seen
    assert (watch.here / "mine/README.md").read_text() == "mine"


def test_a_container_in_several_places_is_mutated_once():
    shared = [1]
    for _ in range(100):  # 2^100 places if each were counted where it is found
        shared = [shared, shared]
    assert len(mutations.places_of({"x": shared})) == 1 + 100 * 2 + 1
    assert mutations.places_of("text") == []
