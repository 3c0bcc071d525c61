import pytest

from gan_runner.errors import UserError
from gan_runner.files import appending, refusals_explained, replacing, set_aside, write_text


def names_in(path):
    return sorted(each.name for each in path.iterdir())


def test_a_file_that_cannot_be_written_is_told_by_its_path(tmp_path):
    with (
        pytest.raises(UserError, match=r"nowhere/last\.pt cannot be written: No such file or directory\."),
        replacing(tmp_path / "nowhere/last.pt") as file,
    ):
        file.write(b"")


def test_what_fails_while_it_is_written_leaves_the_old_file_and_no_rest(tmp_path):
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


def test_only_what_the_system_refuses_is_the_users_to_put_right(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), refusals_explained(tmp_path):
        raise RuntimeError("a bug")
    with pytest.raises(OSError, match="cannot draw"), refusals_explained(tmp_path):
        raise OSError("cannot draw that")  # as Pillow does, without a number


def test_damaged_files_are_set_aside_under_names_that_none_has_yet(tmp_path):
    for content in ("one", "two", "three"):
        path = tmp_path / "summary.json"
        path.write_text(content)
        set_aside(path)
    assert [(tmp_path / f"summary.json.damaged-{n}").read_text() for n in (1, 2, 3)] == ["one", "two", "three"]
