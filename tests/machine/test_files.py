"""File systems as people mount them: without hard links, without locks, and drives that lose hold of a file."""

import errno
import fcntl
import os

import pytest

from gan_runner.machine.files import move_unless_there, once_more
from gan_runner.machine.locks import Lock


def failing(code, times, then="read"):
    """An action that fails so often, and the list of its calls."""
    calls = []

    def action():
        calls.append(code)
        if len(calls) <= times:
            raise OSError(code, os.strerror(code))
        return then

    return action, calls


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_a_temporary_error_of_a_network_drive_is_retried(code):
    action, _ = failing(code, 1)
    assert once_more(action) == "read"
    action, calls = failing(code, 9)
    with pytest.raises(OSError, match=os.strerror(code)):
        once_more(action)
    assert len(calls) == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOENT, errno.EACCES, errno.EROFS])
def test_a_permanent_error_is_not_retried(code):
    action, calls = failing(code, 9)
    with pytest.raises(OSError, match=os.strerror(code)):
        once_more(action)
    assert len(calls) == 1


@pytest.mark.parametrize("code", [None, errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_gets_its_name_with_and_without_hard_links_unless_the_name_is_taken(tmp_path, monkeypatch, code):
    if code is not None:
        monkeypatch.setattr(os, "link", lambda *_: failing(code, 1)[0]())
    for content in ("first", "second"):
        temporary = tmp_path / content
        temporary.write_text(content)
        move_unless_there(temporary, tmp_path / "name")
        assert (tmp_path / "name").read_text() == "first"


def test_a_lock_is_exclusive_until_it_is_released(tmp_path):
    lock, other = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert not lock.held_elsewhere()
    assert lock.take() is None
    assert other.held_elsewhere()
    with pytest.raises(TimeoutError):
        other.take(0.1)  # as where a job on another machine hangs
    lock.release()
    assert not other.held_elsewhere()
    assert other.take() is None
    other.release()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_on_a_file_system_without_locks_the_reason_is_given_and_nothing_else_is_logged(tmp_path, monkeypatch, code):
    monkeypatch.setattr(fcntl, "flock", lambda *_: failing(code, 1)[0]())
    lock = Lock(tmp_path / "lock")
    assert lock.take() == os.strerror(code)  # and no warning, which would be an error here
    lock.release()
    assert not lock.held_elsewhere()
