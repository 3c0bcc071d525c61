"""A run in surroundings as containers, clusters and shells have them: the bits and files are the same."""

import _multiprocessing
import errno
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.command_line import QUICK, everything_but_times, gan_run

RUN = [*QUICK, "hydra.run.dir=run", "trainer.device=cpu", "trainer.progress=false", "trainer.intervals_in=iterations"]
RUN += ["trainer.log_every=1", "trainer.checkpoint_every=2", "trainer.sample_every=2", "evaluation=pixels"]


def left_by(folder):
    """What a run has left: names of files, pictures, metrics and weights, but for what tells the time."""
    names = {
        re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(folder)))
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {"names": names - {".hydra/lock"}, **everything_but_times(folder)}


@pytest.fixture(scope="module")
def at_home(tmp_path_factory):
    """What the run leaves in the surroundings of the other tests."""
    folder = tmp_path_factory.mktemp("at_home")
    assert gan_run(folder, *RUN).code == 0
    return left_by(folder / "run")


def refused(code):
    def call(*_, **__):
        raise OSError(code, os.strerror(code), "a file")

    return call


def another_clock_and_machine(patch):
    """A clock that jumps back and forth by a day, another time zone, and 64 cores."""
    real, jumps = time.time, random.Random(0)
    patch.setattr(time, "time", lambda: real() + jumps.choice([-1e5, 1e5, 0]))
    patch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    patch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    patch.setattr(os, "cpu_count", lambda: 64)


def another_file_system(patch):
    """Neither hard links nor locks."""
    patch.setattr(os, "link", refused(errno.EPERM))
    patch.setattr(fcntl, "flock", refused(errno.ENOSYS))


@pytest.mark.parametrize("surroundings", [another_clock_and_machine, another_file_system])
def test_the_environment_changes_neither_bits_nor_files(tmp_path, monkeypatch, at_home, surroundings):
    with monkeypatch.context() as patch:
        surroundings(patch)
        result = gan_run(tmp_path, *RUN)
    time.tzset()
    assert result.code == 0, result.text
    assert left_by(tmp_path / "run") == at_home
    assert result.err == ""
    assert result.out.count("cannot be locked") == (surroundings is another_file_system)


def test_a_parallel_sweep_is_refused_where_semaphores_are_not_available(tmp_path, monkeypatch):
    import multiprocessing.synchronize  # noqa: F401  (reads a constant of what is replaced)

    monkeypatch.setattr(_multiprocessing, "SemLock", refused(errno.EACCES))  # as where /dev/shm is closed
    sweep = ["-m", "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep"]
    result = gan_run(tmp_path, *QUICK, *sweep)
    assert (result.code, result.err.count("/dev/shm"), result.err.count("\n")) == (1, 1, 2), result.text
    assert not (tmp_path / "sweep/sweep.json").exists()


@pytest.mark.parametrize("words", [[], ["-m", "seed=1,2"]], ids=["run", "sweep"])
def test_a_working_folder_that_is_read_only_is_refused_with_the_key_to_set(tmp_path, monkeypatch, words):
    monkeypatch.setattr(os, "mkdir", refused(errno.EROFS))
    result = gan_run(tmp_path, *QUICK, *words)
    key = "hydra.sweep.dir" if words else "hydra.run.dir"
    assert (result.code, "Read-only file system" in result.err, key in result.err) == (1, True, True), result.text
    assert result.err.count("\n") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_while_a_command_is_loading_ends_it(tmp_path, number):
    command = [sys.executable, "-X", "importtime", "-m", "gan_runner", *RUN]  # says what it has loaded
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert any("omegaconf" in line for line in process.stderr)
            process.send_signal(number)
            assert "Traceback" not in process.stderr.read()
            assert process.wait(10) == 128 + number
        finally:
            process.kill()


def ignoring_and_masking():
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)


def in_a_container(*command):
    """The command as it is run by a user whom nobody knows, as process 1, without shared memory; None where refused."""
    found = shutil.which("unshare")
    if found is None:
        return None
    root = [found, "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    someone = f"exec {found} --user --map-user=12345 --map-group=12345 "
    closed = ["sh", "-c", f'mount -t tmpfs -o size=4k,mode=0 none /dev/shm && {someone} "$@"', "sh"]
    tried = subprocess.run([*root, *closed, "true"], capture_output=True)
    return [*root, *closed, *command] if tried.returncode == 0 else None


def test_a_container_changes_neither_bits_nor_files(tmp_path, at_home):
    """No home, name or shared memory, process 1, a strict umask, ignored signals, a bare locale, another hash seed."""
    command = [sys.executable, "-m", "gan_runner", *RUN]
    env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "77", "TZ": "Asia/Kathmandu"}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    result = subprocess.run(
        in_a_container(*command) or command,
        cwd=tmp_path,
        env=env,
        preexec_fn=ignoring_and_masking,
        capture_output=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, b""), result.stdout
    assert left_by(tmp_path / "run") == at_home
