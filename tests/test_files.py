import pytest

from benchmarks import mutations
from gan_runner.errors import UserError
from gan_runner.files import (
    LogFile,
    appending,
    copy,
    is_file,
    listed,
    made_folder,
    opened,
    read,
    refusals_explained,
    replacing,
    set_aside,
    write_text,
)


def names_in(path):
    return sorted(each.name for each in path.iterdir())


def test_a_file_that_cannot_be_written_is_reported_with_its_path(tmp_path):
    with (
        pytest.raises(UserError, match=r"nowhere/last\.pt cannot be written: No such file or directory\."),
        replacing(tmp_path / "nowhere/last.pt") as file,
    ):
        file.write(b"")


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def half_written():
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_written()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("laid", ["notes.txt", ".writing-notes.txt"])
def test_a_link_at_either_name_is_replaced_and_not_followed(tmp_path, laid):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / laid).symlink_to(mine)
    write_text(tmp_path / "notes.txt", "new")
    assert mine.read_text() == "mine"
    assert (tmp_path / "notes.txt").read_text() == "new"
    assert not (tmp_path / "notes.txt").is_symlink()
    assert names_in(tmp_path) == ["mine.txt", "notes.txt"]


def test_lines_are_added_to_a_file_and_never_to_what_a_link_leads_to(tmp_path):
    path, mine = tmp_path / "metrics.jsonl", tmp_path / "mine.txt"
    for line in ("one\n", "two\n"):
        with appending(path) as file:
            file.write(line)
    assert path.read_text() == "one\ntwo\n"
    mine.write_text("mine")
    path.unlink()
    path.symlink_to(mine)
    with pytest.raises(UserError, match=r"metrics\.jsonl cannot be written: "), appending(path) as file:
        file.write("three\n")
    assert mine.read_text() == "mine"


def test_only_errors_of_the_system_are_reported_as_the_users(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), refusals_explained(tmp_path):
        raise RuntimeError("a bug")
    with pytest.raises(OSError, match="cannot draw"), refusals_explained(tmp_path):
        raise OSError("cannot draw that")  # as Pillow does, without a number


def test_damaged_files_get_new_names(tmp_path):
    for content in ("one", "two", "three"):
        path = tmp_path / "summary.json"
        path.write_text(content)
        set_aside(path)
    assert [(tmp_path / f"summary.json.damaged-{n}").read_text() for n in (1, 2, 3)] == ["one", "two", "three"]


@pytest.mark.parametrize("write", [lambda path: appending(path), lambda path: LogFile(str(path)).stream])
def test_appended_text_does_not_reach_other_hard_links_of_the_file(tmp_path, write):
    (tmp_path / "backup").write_text("before")
    (tmp_path / "log").hardlink_to(tmp_path / "backup")
    with write(tmp_path / "log") as file:
        file.write(", after")
    assert (tmp_path / "log").read_text() == "before, after"
    assert (tmp_path / "backup").read_text() == "before"
    assert names_in(tmp_path) == ["backup", "log"]


# ---- what lies in a file's place ---------------------------------------------------------------------------


def of_each_kind(place, base):
    """Every kind of file that is no regular one, laid in turn at a place."""
    (base / "outside").mkdir()
    (base / "outside/precious.txt").write_text("precious")
    for kind in ("a link out", "a link to nothing", "a link to itself", "a link to /dev/zero", "a FIFO", "a socket"):
        mutations.make_kind(kind, place, base)
        yield kind


USES = {
    "opened": lambda path: opened(path).close(),
    "read": lambda path: read(path, 100),
    "appending": lambda path: appending(path).__enter__(),
    "a log": lambda path: LogFile(str(path)),
    "copied from": lambda path: copy(path, path.with_name("copy")),
    "made a folder": made_folder,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_file_that_is_not_regular_is_refused_immediately(tmp_path, use):
    (tmp_path / "run").mkdir()
    for kind in of_each_kind(tmp_path / "run/file.txt", tmp_path):
        with pytest.raises((OSError, UserError)):
            use(tmp_path / "run/file.txt")
        assert (tmp_path / "outside/precious.txt").read_text() == "precious", kind
        assert names_in(tmp_path / "outside") == ["precious.txt"], kind


def test_anything_in_place_of_a_replaced_file_stays_unchanged(tmp_path):
    (tmp_path / "run").mkdir()
    for kind in of_each_kind(tmp_path / "run/file.txt", tmp_path):
        write_text(tmp_path / "run/file.txt", "new")
        assert is_file(tmp_path / "run/file.txt"), kind
        assert (tmp_path / "outside/precious.txt").read_text() == "precious", kind


def test_no_folder_on_the_way_to_a_file_may_be_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/config.yaml").write_text("seed: 0")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.hydra").symlink_to(tmp_path / "outside")
    (tmp_path / "named").symlink_to(tmp_path / "run")
    with pytest.raises(OSError, match="it is a link"):
        opened(tmp_path / "run/.hydra/config.yaml", below=tmp_path / "run")
    assert listed(tmp_path / "run/.hydra", "*") == []
    (tmp_path / "run/.hydra").unlink()
    (tmp_path / "outside").rename(tmp_path / "run/.hydra")
    assert read(tmp_path / "named/.hydra/config.yaml", 100, below=tmp_path / "named") == b"seed: 0"


def test_a_file_is_read_up_to_its_limit_only(tmp_path):
    mutations.make_kind("a file of holes", tmp_path / "file", tmp_path)
    with pytest.raises(OSError, match="larger than 1 MB"):
        read(tmp_path / "file", 2**20)
