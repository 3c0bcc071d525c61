import contextlib
import json
import math
import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from PIL import Image

from gan_runner.errors import UserError
from gan_runner.record.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path):
    with contextlib.closing(RunFolder(tmp_path)) as opened:
        yield opened


def points(*iterations):
    return [{"iteration": iteration, "epoch": iteration / 10, "loss/d": 0.5} for iteration in iterations]


def append(folder, *iterations):
    for point in points(*iterations):
        folder.append_metrics(point)


def names_in(path):
    return sorted(each.name for each in path.iterdir())


# ---- metrics ----------------------------------------------------------------------------------------------


def test_log_points_are_read_back_unchanged(folder):
    assert folder.read_metrics() == []
    append(folder, 1, 2, 3)
    assert folder.read_metrics() == points(1, 2, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_express_is_null(folder, tmp_path, value):
    folder.append_metrics({"iteration": 1, "epoch": 0.1, "loss/d": value})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss/d"] is None
    folder.write_summary({"objective": value, "best": {"value": [value, 1.0]}, "metrics": (value,)})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {"objective": None, "best": {"value": [None, 1.0]}, "metrics": [None]}


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\x00",
        b"{",
        b"[1, 2]",
        b"null",
        b'"iteration"',
        b'{"epoch": 1}',
        b'{"iteration": "2", "epoch": 0.2}',
        b'{"iteration": 2}',
        b'{"iteration": 2, "epoch": null}',
        b'{"iteration": 2, "epoch": 0.2, "loss/d": "large"}',
        b'{"iteration": 2, "epoch": 0.2, "loss/d": [1]}',
        b"[" * 100_000,
        b'{"iteration": ' + b"9" * 5000 + b"}",
        b"",
    ],
    ids=lambda damage: damage[:30].decode(errors="replace"),
)
def test_with_a_damaged_line_the_file_is_renamed_and_the_other_lines_are_kept(folder, tmp_path, caplog, damage):
    append(folder, 1)
    path = tmp_path / "metrics.jsonl"
    broken = path.read_bytes() + damage + b"\n"
    path.write_bytes(broken)
    append(folder, 3)
    broken = path.read_bytes()
    assert folder.read_metrics() == points(1, 3)
    aside = tmp_path / "metrics.jsonl.damaged-1"
    assert aside.read_bytes() == broken
    assert caplog.messages == [f"{path} is damaged: it is renamed {aside.name}, and its readable lines are kept."]
    assert folder.read_metrics() == points(1, 3)  # and is whole from now on
    assert len(caplog.messages) == 1


def test_a_second_damaged_file_is_renamed_beside_the_first(folder, tmp_path):
    for _ in range(2):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write("rubbish\n")
        folder.read_metrics()
    assert {"metrics.jsonl.damaged-1", "metrics.jsonl.damaged-2"} <= set(names_in(tmp_path))


def test_a_line_cut_off_by_a_kill_is_not_reported_as_damage(folder, tmp_path, caplog):
    append(folder, 1, 2)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert folder.read_metrics() == points(1)
    assert caplog.messages == []


def test_lines_after_the_checkpoint_move_to_another_file(folder, tmp_path):
    append(folder, 1, 2, 3, 4)
    folder.rewind_metrics(2)
    assert folder.read_metrics() == points(1, 2)
    append(folder, 3)
    folder.rewind_metrics(2)
    abandoned = (tmp_path / "metrics.abandoned.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in abandoned] == points(3, 4, 3)


# ---- summary ----------------------------------------------------------------------------------------------


def test_a_summary_is_read_back_unchanged(folder):
    assert folder.read_summary() == {}
    folder.write_summary({"status": "running", "epochs": 1.5})
    assert folder.read_summary() == {"status": "running", "epochs": 1.5}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"iterations": ' + b"9" * 5000 + b"}"])
def test_a_damaged_summary_is_renamed_with_a_message_and_the_run_continues(folder, tmp_path, caplog, damage):
    path = tmp_path / "summary.json"
    path.write_bytes(damage)
    assert folder.read_summary() == {}
    assert (tmp_path / "summary.json.damaged-1").read_bytes() == damage
    assert caplog.messages == [f"{path} is damaged: it is renamed summary.json.damaged-1."]
    folder.write_summary({"status": "running"})
    assert folder.read_summary() == {"status": "running"}


# ---- pictures ---------------------------------------------------------------------------------------------


def level(value, size=8):
    return np.full((4, size, size, 1), value, np.uint8)


def test_the_timeline_ends_with_the_run_even_if_a_killed_start_had_drawn_more(folder, tmp_path):
    for iteration, value in ((1, 0), (2, 100), (9, 255)):
        folder.save_samples(level(value), 2, iteration)
    folder.write_timeline({}, until=2)
    with Image.open(tmp_path / "samples/timeline.webp") as animated:
        assert animated.n_frames == 2
    assert (tmp_path / "samples/iteration_00000009.png").exists()


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", None], ids=["empty", "header", "gif", "cut"])
def test_a_damaged_image_is_reported_and_not_in_the_timeline(folder, tmp_path, caplog, damage):
    for iteration, value in ((1, 0), (2, 100), (3, 255)):
        folder.save_samples(level(value), 2, iteration)
    folder.finish_writing()
    path = tmp_path / "samples/iteration_00000002.png"
    path.write_bytes(path.read_bytes()[:60] if damage is None else damage)
    folder.write_timeline({}, until=3)
    with Image.open(tmp_path / "samples/timeline.webp") as animated:
        assert animated.n_frames == 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{path} is damaged and left out of the timeline: ")


def test_other_files_among_the_samples_are_not_in_the_timeline(folder, tmp_path, caplog):
    folder.save_samples(level(7), 2, 1)
    folder.finish_writing()
    for name in ("iteration_best.png", "iteration_.png", "mine.png"):
        (tmp_path / "samples" / name).write_bytes(b"no picture")
    folder.write_timeline({}, until=5)
    assert (tmp_path / "samples/timeline.png").exists()
    assert caplog.messages == []


def test_images_of_another_size_or_kind_are_not_in_the_timeline(folder, tmp_path):
    for iteration in (1, 2, 3):
        folder.save_samples(level(100), 2, iteration)
    folder.finish_writing()
    Image.new("RGBA", (5, 90)).save(tmp_path / "samples/iteration_00000002.png")
    folder.write_timeline({}, until=3)
    with Image.open(tmp_path / "samples/timeline.webp") as animated:
        assert animated.n_frames == 2


def test_without_images_there_is_no_timeline(folder, tmp_path):
    folder.write_timeline({}, until=9)
    assert names_in(tmp_path) == []


# ---- in the background ------------------------------------------------------------------------------------


def test_writing_waits_for_a_slow_disk_before_memory_fills(folder):
    begun, gate = [], threading.Event()

    def work():
        begun.append(1)
        gate.wait()

    def submit():
        for _ in range(50):
            folder.in_background(work)

    submitting = threading.Thread(target=submit)
    submitting.start()
    submitting.join(timeout=0.5)
    assert submitting.is_alive()
    assert len(folder._pending) <= 4
    gate.set()
    submitting.join()
    folder.finish_writing()
    assert len(begun) == 50


def test_files_are_written_in_the_order_of_the_calls(folder):
    done = []
    for number in range(20):
        folder.in_background(lambda number=number: done.append(number))
    folder.finish_writing()
    assert done == list(range(20))


def test_an_error_in_the_background_is_raised_once_by_a_later_call(folder):
    folder.in_background(lambda: 1 / 0)
    folder.settle()
    with pytest.raises(ZeroDivisionError):
        folder.in_background(list)
    folder.finish_writing()
    folder.in_background(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        folder.finish_writing()
    folder.finish_writing()


def hangs(work):
    """Whether a call does not come back; the thread that makes it does not keep the tests waiting."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=10)
    return thread.is_alive()


def test_an_abandoned_write_never_begins_and_is_not_waited_for(tmp_path):
    folder, gate, begun, done = RunFolder(tmp_path), threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        gate.wait()
        done.append("slow")

    folder.in_background(slow)
    begun.wait()
    for number in range(3):
        folder.in_background(lambda number=number: done.append(number))
    assert not hangs(folder.abandon)
    gate.set()
    assert not hangs(folder.settle)
    with pytest.raises(CancelledError):
        folder.finish_writing()
    assert not hangs(folder.close)
    assert done == ["slow"]


@pytest.mark.parametrize("calls", [1, 2])
def test_a_folder_without_pending_writes_can_be_abandoned_too(tmp_path, calls):
    folder = RunFolder(tmp_path)
    for _ in range(calls):
        assert not hangs(folder.abandon)
    assert not hangs(folder.close)


# ---- whose folder it is -----------------------------------------------------------------------------------


def test_a_folder_is_locked_by_one_run_at_a_time(folder, tmp_path):
    folder.claim("resume", new=False)
    (tmp_path / "gan-run.log").write_text("[date][INFO] Process 4711 writes to here\n")
    with contextlib.closing(RunFolder(tmp_path)) as other, pytest.raises(UserError) as refusal:
        other.claim("resume", new=False)
    assert str(refusal.value) == (
        f"resume is {tmp_path}, but that run is being trained by process 4711.\n"
        "  Wait until it has ended, or try another resume."
    )
    folder.close()
    with contextlib.closing(RunFolder(tmp_path)) as third:
        third.claim("resume", new=False)


def test_a_new_run_is_refused_in_a_folder_that_has_one(folder, tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match=r"but there is a run already, and runs are not overwritten\."):
        folder.claim("hydra.run.dir", new=True)


def test_a_folder_without_a_run_is_refused_with_what_is_missing(tmp_path):
    for expected in ("there is no such folder", "it has no .hydra/config.yaml", "has saved no checkpoint"):
        with pytest.raises(UserError, match=expected):
            RunFolder.of_run(str(tmp_path / "run"), "run")
        if expected == "there is no such folder":
            (tmp_path / "run/.hydra").mkdir(parents=True)
        else:
            (tmp_path / "run/.hydra/config.yaml").write_text("seed: 0\n")


@pytest.mark.parametrize("name", ["metrics.jsonl", "summary.json"])
def test_a_folder_in_place_of_a_file_is_reported_with_its_path(folder, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name} cannot be read: it is not a regular file"):
        folder.read_metrics() if name == "metrics.jsonl" else folder.read_summary()
    with pytest.raises(UserError, match=rf"{name} cannot be written: (it is not a regular file|Is a directory)"):
        folder.append_metrics(points(1)[0]) if name == "metrics.jsonl" else folder.write_summary({})


def test_a_checkpoint_is_on_the_disk_before_the_next_one_is_begun(folder, monkeypatch):
    begun, gate = [], threading.Event()

    def slow(state, best, keep):
        begun.append(state["n"])
        gate.wait()

    monkeypatch.setattr(folder.checkpoints, "save", slow)
    folder.save_checkpoint({"n": 1}, best=False, keep=2)
    second = threading.Thread(target=folder.save_checkpoint, args=({"n": 2},), kwargs={"best": False, "keep": 2})
    second.start()
    second.join(timeout=0.2)
    assert second.is_alive()
    assert len(folder._pending) == 1
    gate.set()
    second.join()
    folder.finish_writing()
    assert begun == [1, 2]
