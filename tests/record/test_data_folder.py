"""Files that nobody vouches for are read as data, within bounds, or named."""

import json

import pytest

from gan_runner.record.data_folder import DataFolder, number, text, whole


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)


def test_a_missing_file_is_empty_and_no_problem(folder):
    assert folder.json("a.json") == folder.yaml("a.yaml") == {}
    assert list(folder.json_lines("a.jsonl")) == folder.yaml_list("a.yaml") == []
    assert folder.problems == []


def test_interpolations_and_tags_of_yaml_are_not_resolved(folder, tmp_path):
    (tmp_path / "a.yaml").write_text("a: ${oc.env:HOME}\nb: {_target_: os.system, command: rm}\n")
    assert folder.yaml("a.yaml") == {"a": "${oc.env:HOME}", "b": {"_target_": "os.system", "command": "rm"}}


HOSTILE = {
    "a tag that makes an object": "a: !!python/object/apply:os.system ['touch ran']",
    "aliases that grow": "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]",
    "brackets without end": "[" * 5000,
    "levels without end": "{a: " * 5000,
    "a list": "[1, 2]",
    "no YAML": "a: [",
    "a number that is too long": f"a: {'1' * 5000}",
    "bytes": "\x00\x01",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_yaml_that_is_not_a_plain_mapping_is_reported_and_has_no_effect(folder, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(content)
    assert folder.yaml("a.yaml") == {}
    (problem,) = folder.problems
    assert problem.startswith("a.yaml ")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, '{"a": ' + "1" * 5000 + "}", "\x00"])
def test_json_that_is_not_a_mapping_is_reported(folder, tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert folder.json("a.json") == {}
    assert len(folder.problems) == 1


def test_a_link_out_of_the_folder_is_ignored(tmp_path):
    (tmp_path / "secret.json").write_text('{"a": 1}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run/summary.json").symlink_to(tmp_path / "secret.json")
    (tmp_path / "run/gone.json").symlink_to(tmp_path / "nowhere")
    folder = DataFolder(tmp_path / "run")
    assert folder.json("summary.json") == folder.json("gone.json") == {}
    assert folder.problems == ["summary.json cannot be read: it is a link.", "gone.json cannot be read: it is a link."]
    assert folder.files("*.json") == []


def test_a_folder_in_place_of_a_file_is_reported(folder, tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    assert list(folder.json_lines("metrics.jsonl")) == []
    assert folder.problems == ["metrics.jsonl cannot be read: it is not a regular file."]


def test_damaged_lines_are_counted_and_a_cut_off_last_line_is_ignored(folder, tmp_path):
    lines = ['{"a": 1}', "{", "[2]", '{"a": 3}', '{"a": 4']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert list(folder.json_lines("a.jsonl")) == [{"a": 1}, {"a": 3}]
    assert folder.problems == ["a.jsonl: 2 lines cannot be read."]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.5, 0.5), (True, None), ("nan", None), (float("nan"), None), (float("inf"), None), (10**400, None)],
)
def test_only_finite_numbers_are_numbers(value, expected):
    assert number(value) == expected


def test_a_whole_number_must_be_one_that_every_program_can_hold():
    assert whole(3.0) == 3
    assert whole(2.0**60) is None


def test_text_is_one_line_that_can_be_shown_on_any_terminal():
    assert text(None) == ""
    assert text("a\n b\tc") == "a b c"
    assert text("\x1b[31mred") == "\ufffd[31mred"
    assert text("turned\u202earound") == "turned\ufffdaround"
    assert text(json.loads('"\\ud800"')) == "?"
    assert text("x" * 5000) == "x" * 999 + "…"
