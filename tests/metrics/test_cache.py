import errno
import logging
import os
import pickle

import pytest
import torch

from gan_runner.metrics import cache


def value(number=1.0):
    return lambda: {"weights": {"layer": torch.full((3,), number)}, "note": "said"}


def never():
    raise AssertionError("it was kept")


def test_the_caches_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GAN_CACHE", "~/own")
    assert cache.folder() == tmp_path / "home/own"
    monkeypatch.delenv("GAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "gan-runner"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == tmp_path / "home/.cache/gan-runner"


def test_a_result_is_computed_once_and_kept(own_cache):
    made = cache.kept("a.pt", value())
    again = cache.kept("a.pt", never)
    assert torch.equal(made["weights"]["layer"], again["weights"]["layer"])
    assert again["note"] == "said"
    assert [file.name for file in own_cache.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: b"<html>",
    ],
    ids=["cut off", "empty", "a flipped bit", "another file"],
)
def test_a_damaged_file_is_renamed_and_computed_again(own_cache, caplog, damage):
    cache.kept("a.pt", value())
    path = own_cache / "a.pt"
    spoilt = damage(path.read_bytes())
    path.write_bytes(spoilt)
    assert cache.kept("a.pt", value(2.0))["weights"]["layer"].tolist() == [2.0] * 3
    assert (own_cache / "a.pt.damaged").read_bytes() == spoilt
    assert "is renamed a.pt.damaged and made again" in caplog.text
    cache.kept("a.pt", never)


def test_code_in_a_file_is_not_run_even_if_the_hash_is_right(own_cache, tmp_path):
    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    own_cache.mkdir()
    payload = pickle.dumps(Code())
    import hashlib

    (own_cache / "a.pt").write_bytes(hashlib.sha256(payload).hexdigest().encode() + payload)
    cache.kept("a.pt", value())
    assert not (tmp_path / "ran").exists()


def test_the_second_process_takes_what_the_first_wrote(own_cache):
    def slow():
        cache.kept("a.pt", value(1.0))  # another job of the sweep was faster
        return value(2.0)()

    assert cache.kept("a.pt", slow)["weights"]["layer"].tolist() == [1.0] * 3
    assert [file.name for file in own_cache.iterdir()] == ["a.pt"]


def test_a_cache_that_cannot_be_written_ends_no_run(own_cache, caplog):
    own_cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert cache.kept("a.pt", value())["note"] == "said"
    assert "will be computed again next time" in caplog.text


def test_without_a_home_folder_results_are_computed_again_and_the_setting_is_named_once(monkeypatch, caplog):
    for name in ("GAN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987654)  # whom /etc/passwd does not know
    cache._tell_once.cache_clear()
    for number in (1.0, 2.0):
        assert cache.kept("a.pt", value(number))["weights"]["layer"].tolist() == [number] * 3
    assert caplog.text.count("GAN_CACHE=FOLDER") == 1


def test_without_hard_links_results_are_kept(own_cache, monkeypatch, caplog):
    def refused(*_):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    cache.kept("a.pt", value())
    cache.kept("a.pt", never)
    assert ([file.name for file in own_cache.iterdir()], caplog.text) == (["a.pt"], "")


def test_digests_of_different_lists_differ():
    assert cache.digest("a", 1) == cache.digest("a", 1) != cache.digest("a", "1")
