import contextlib
import logging
import os
import zipfile

import pytest
import torch

from benchmarks.mutations import ODD, places_of
from gan_runner.errors import UserError
from gan_runner.record.checkpoint_files import FORMAT, CheckpointFiles
from gan_runner.training.devices import Compute, precision_to_go_on, tell_other_arithmetic

CPU = torch.device("cpu")


def state_of(iteration, **changes):
    state = {
        "format": FORMAT,
        "about": {"image_shape": [1, 2, 3], "classes": [], "data_fingerprint": "0", "precision": "fp32", "threads": 1},
        "random": {"cpu": torch.get_rng_state(), "device": None, "kind": "cpu"},
        "progress": dict.fromkeys(("images", "d_steps", "g_steps", "position", "seconds"), 0)
        | {"iteration": iteration},
        "players": {
            "generator": {"net": {"weight": torch.arange(6.0).view(2, 3) + iteration, "steps": torch.tensor(7)}},
            "discriminator": {"net": {}},
            "average": None,
        },
        "rates": {letter: dict.fromkeys(("configured", "last", "next"), 0.1) for letter in "dg"},
        "names": ["a", "b"],
    }
    return state | changes


@pytest.fixture
def files(tmp_path):
    return CheckpointFiles(tmp_path / "checkpoints")


def save(files, *iterations, best=False, keep=2):
    for iteration in iterations:
        files.save(state_of(iteration), best=best, keep=keep)


def iteration_of(files, name):
    return files.load(name, CPU)["progress"]["iteration"]


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    return type(one) is type(other) and one == other


def damage(path):
    path.write_bytes(path.read_bytes()[:-100])


# ---- what is there ----------------------------------------------------------------------------------------


def test_a_saved_checkpoint_is_loaded_unchanged(files):
    assert not files.any()
    save(files, 5)
    assert files.any()
    assert equal(files.load("last", CPU), state_of(5))


def test_the_previous_checkpoint_is_kept_under_its_iteration(files, tmp_path):
    save(files, 0, 5, 9, keep=None)
    assert [iteration_of(files, name) for name in ("last", "5", "0")] == [9, 5, 0]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "iteration_00000000.pt",
        "iteration_00000005.pt",
        "last.pt",
    ]


@pytest.mark.parametrize(
    ("keep", "kept"), [(1, []), (2, [40]), (3, [30, 40]), (9, [10, 20, 30, 40]), (None, [10, 20, 30, 40])]
)
def test_as_many_checkpoints_as_configured_are_kept_with_the_last_one(files, keep, kept):
    save(files, 10, 20, 30, 40, 50, keep=keep)
    assert files.iterations() == kept
    assert iteration_of(files, "last") == 50


def test_the_best_is_kept_in_addition(files):
    save(files, 1)
    save(files, 2, best=True)
    save(files, 3, 4, 5, keep=1)
    assert files.iterations() == []
    assert [iteration_of(files, name) for name in ("best", "last")] == [2, 5]


def test_a_start_keeps_the_checkpoint_of_an_earlier_one(files, tmp_path):
    save(files, 3)
    save(CheckpointFiles(tmp_path / "checkpoints"), 8)
    assert [iteration_of(files, name) for name in ("last", "3")] == [8, 3]


def test_a_damaged_previous_checkpoint_is_not_kept(files, tmp_path):
    save(files, 3)
    damage(files.path("last"))
    save(CheckpointFiles(tmp_path / "checkpoints"), 8)
    assert files.iterations() == []


def test_the_same_iteration_saved_twice_leaves_one(files):
    save(files, 3, 3)
    assert files.iterations() == []
    assert iteration_of(files, "last") == 3


def test_files_that_are_not_checkpoints_are_not_touched(files, tmp_path):
    save(files, 1)
    mine = [tmp_path / "checkpoints" / name for name in ("iteration_mine.pt", "iteration_.pt", "notes.txt")]
    for path in mine:
        path.write_text("mine")
    save(files, 2, 3, 4, keep=1)
    assert all(path.read_text() == "mine" for path in mine)


def test_without_hard_links_the_previous_checkpoint_is_copied(files, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    save(files, 1, 2)
    assert [iteration_of(files, name) for name in ("last", "1")] == [2, 1]


# ---- damage -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_flipped_bit_is_detected_or_has_no_effect_wherever_it_is(files):
    save(files, 4)
    path, expected = files.path("last"), state_of(4)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 3):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            found = files.load("last", CPU)
        except UserError as error:
            noticed += 1
            assert str(path) in error.problem  # noqa: PT017
        else:
            assert equal(found, expected), f"byte {place} of {len(whole)}"
    assert noticed > 100


def test_one_flipped_bit_of_a_weight_is_detected(files):
    weights = torch.full((1000,), 1.5)
    files.save(state_of(4, weights=weights), best=False, keep=2)
    path = files.path("last")
    content = path.read_bytes()
    start = content.index(weights.numpy().tobytes())
    for place in (0, 1999, 3999):
        broken = bytearray(content)
        broken[start + place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"last\.pt is damaged, .* does not match its checksum"):
            files.load("last", CPU)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_not_a_checkpoint_is_reported_as_damaged(files, content):
    save(files, 4)
    files.path("last").write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt is damaged, and cannot be read as a checkpoint: "):
        files.load("last", CPU)


@pytest.mark.parametrize("length", [10, 500, -200, -1])
def test_a_truncated_file_is_reported_as_damaged(files, length):
    save(files, 4)
    path = files.path("last")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="is damaged"):
        files.load("last", CPU)


def test_code_in_a_checkpoint_is_not_run(files, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    save(files, 4)
    torch.save(state_of(4, more=Payload()), files.path("last"))
    with pytest.raises(UserError, match="is damaged"):
        files.load("last", CPU)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_format_is_refused_with_its_name_and_number(files):
    save(files, 4)
    path = files.path("last")
    torch.save(state_of(4) | {"format": 99}, path)
    with pytest.raises(UserError) as refusal:
        files.load("last", CPU)
    assert str(refusal.value) == (
        f"{path} has format 99, where this version of gan-runner reads format {FORMAT}.\n"
        "  Resume with the version of gan-runner that wrote it, or start a new run."
    )


@pytest.mark.parametrize("content", [{"progress": {"iteration": 4}}, [1, 2], torch.ones(2)])
def test_a_checkpoint_without_a_format_is_refused(files, content):
    save(files, 4)
    torch.save(content, files.path("last"))
    with pytest.raises(UserError, match=r"last\.pt has a format without a number, where this version"):
        files.load("last", CPU)


# ---- falling back -----------------------------------------------------------------------------------------


def test_a_run_resumes_from_the_newest_undamaged_checkpoint_of_last_the_previous_ones_and_best(files, caplog):
    save(files, 1, keep=None, best=True)
    save(files, 2, 3, 4, keep=None)
    for name, iteration in (("last", 4), ("3", 3), ("2", 2)):
        assert files.load_newest(CPU)["progress"]["iteration"] == iteration
        damage(files.path(name))
    damage(files.path("1"))
    caplog.clear()
    assert files.load_newest(CPU)["progress"]["iteration"] == 1
    assert len(caplog.messages) == 5
    assert all(f"{files.path(name)} is damaged" in caplog.text for name in ("last", "3", "2", "1"))
    assert caplog.messages[-1] == f"Resuming from {files.path('best')}, iteration 1."
    damage(files.path("best"))
    with pytest.raises(UserError, match=r"last\.pt is damaged"):
        files.load_newest(CPU)


def test_a_run_without_its_last_checkpoint_resumes_from_the_previous_one(files):
    save(files, 1, 2)
    files.path("last").unlink()
    assert files.any()
    assert files.load_newest(CPU)["progress"]["iteration"] == 1


def test_an_undamaged_last_checkpoint_is_loaded_without_a_message(files, caplog):
    caplog.set_level(logging.INFO)
    save(files, 1, 2)
    files.load_newest(CPU)
    assert caplog.messages == []


def test_an_unknown_checkpoint_is_refused_with_the_existing_ones(files):
    save(files, 1, 2)
    with pytest.raises(UserError) as refusal:
        files.load("best", CPU)
    assert str(refusal.value) == (f"There is no checkpoint {files.path('best')}.\n  There is last or 1.")
    with pytest.raises(UserError, match=r"There is no checkpoint .*iteration_00000007\.pt"):
        files.load("7", CPU)


# ---- links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "laid",
    ["last.pt", ".writing-last.pt", "best.pt", ".writing-best.pt", ".writing-iteration_00000001.pt"],
)
def test_a_link_in_place_of_a_new_checkpoint_is_not_followed(files, tmp_path, laid):
    save(files, 1)
    outside = tmp_path / "mine.txt"
    outside.write_text("mine")
    link = tmp_path / "checkpoints" / laid
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    save(files, 2, best=True)
    assert outside.read_text() == "mine"
    assert [iteration_of(files, name) for name in ("last", "best")] == [2, 2]
    assert not files.path("last").is_symlink()
    assert not files.path("best").is_symlink()


def test_a_dangling_link_as_last_checkpoint_creates_no_file_elsewhere(files, tmp_path):
    save(files, 1)
    files.path("last").unlink()
    files.path("last").symlink_to(tmp_path / "nowhere.pt")
    save(files, 2)
    assert not (tmp_path / "nowhere.pt").exists()
    assert iteration_of(files, "last") == 2


def test_a_last_checkpoint_that_was_removed_meanwhile_does_not_end_the_run(files):
    save(files, 1)
    files.path("last").unlink()
    save(files, 2)
    assert files.iterations() == []
    assert iteration_of(files, "last") == 2


# ---- refusals ---------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_existing_checkpoints_and_no_partial_file(files, tmp_path):
    save(files, 1, 2)

    class Unpicklable:
        def __reduce__(self):
            raise TypeError("no")

    with pytest.raises(TypeError):
        files.save(state_of(3, broken=Unpicklable()), best=True, keep=2)
    assert [iteration_of(files, name) for name in ("last", "1")] == [2, 1]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["iteration_00000001.pt", "last.pt"]


def test_pytorch_itself_can_load_the_file(files):
    save(files, 4)
    assert equal(torch.load(files.path("last"), weights_only=True), state_of(4))
    with zipfile.ZipFile(files.path("last")) as archive:
        assert archive.testzip() is None


def test_any_content_of_a_checkpoint_is_refused_or_can_be_read_before_its_run_is_built(files):
    def read(state):
        precision = precision_to_go_on(state, CPU)
        tell_other_arithmetic(state["about"], Compute(CPU, precision))
        int(state["progress"]["iteration"]), float(state["progress"]["seconds"])
        assert all(rate * 1.0 < 1e300 for rates in state.get("rates", {}).values() for rate in rates.values())

    asked = [place for place in places_of(state_of(3)) if place[1] not in ("names", "format")]
    for number in range(len(asked)):
        for odd in (*ODD[number % 4 :: 4], None):
            state = state_of(3)
            tree, key = [place for place in places_of(state) if place[1] not in ("names", "format")][number]
            if odd is None:
                del tree[key]
            else:
                tree[key] = odd()
            files._folder.mkdir(exist_ok=True)
            try:
                torch.save(state, files.path("last"))
            except Exception:  # some of it cannot be saved
                continue
            with contextlib.suppress(UserError):
                read(files.load("last", CPU))
