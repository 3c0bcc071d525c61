"""Folders whose files are of another kind than the program leaves: a message or success, soon, and nothing elsewhere.

`benchmarks.odd_files` draws the folders; here come a few of each kind, the same ones every time.
"""

import contextlib
import random
import shutil
import signal

import pytest

from benchmarks import odd_files
from gan_runner.commands import main
from tests.command_line import call, gan_run

RUN = [
    *("data.limit=32", "trainer.batch_size=16", "trainer.iterations=2", "trainer.progress=false", "trainer.device=cpu"),
    *("model.generator.widths=[8]", "model.discriminator.widths=[8]", "trainer.sample_rows=2"),
    *("evaluation=off", "trainer.sample_columns=2", "trainer.precision=fp32"),
]
COMMANDS = {
    "gan-sample": (main.sample, "run=run", "num=4", "device=cpu"),
    "resume": (main.run, "resume=run", "trainer.iterations=3"),
    "hydra.run.dir": (main.run, *RUN, "hydra.run.dir=run"),
    "gan-compare": (main.compare, "runs=[run]", "output=run"),
    "gan-eval": (main.evaluate, "run=run", "num=8", "real=8", "device=cpu"),
    "sweep_resume": (main.run, "-m", "sweep_resume=run"),
    "hydra.sweep.dir": (main.run, "-m", *RUN, "seed=0,1", "hydra.sweep.dir=run"),
    "gan-compare of a sweep": (main.compare, "sweep=run"),
}
OF_A_SWEEP = ("sweep_resume", "hydra.sweep.dir", "gan-compare of a sweep")
SECONDS = 120  # far more than any case takes: a guard against what never ends


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good_run")
    assert gan_run(folder, *RUN, "hydra.run.dir=run").code == 0
    return folder / "run"


@pytest.fixture(scope="module")
def good_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good_sweep")
    assert gan_run(folder, "-m", *RUN, "seed=0,1", "hydra.sweep.dir=run").code == 0
    path = folder / "run/sweep.json"
    path.write_text(path.read_text().replace('"state": "finished"', '"state": "interrupted"', 1))
    return folder / "run"


@contextlib.contextmanager
def no_longer_than(seconds):
    def hangs(*_):
        raise AssertionError(f"it hangs for {seconds} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def opens(tmp_path, good_run, good_sweep):
    """Mutates a good folder and opens it by a command: one message or success, and nothing is written outside."""

    def opens_(command, *mutations, draw=None):
        good = good_sweep if command in OF_A_SWEEP else good_run
        for left in tmp_path.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        shutil.copytree(good, tmp_path / "run")
        outside = tmp_path / odd_files.OUTSIDE
        (outside / "folder").mkdir(parents=True)
        (outside / "precious.txt").write_text("precious")
        about = f"{'; '.join(each(draw, tmp_path / 'run') for each in mutations)}: {command}"
        job, *words = COMMANDS[command]
        try:
            with no_longer_than(SECONDS):
                result = call(job, tmp_path, *words)
        except BaseException as error:
            error.add_note(about)
            raise
        assert "Traceback" not in result.text, f"{about}: {result.text[-3000:]}"
        assert result.code == 0 or result.text.strip(), f"{about}: it says nothing"
        left = sorted(str(path.relative_to(outside)) for path in outside.rglob("*"))
        assert left == ["folder", "precious.txt"], about
        assert (outside / "precious.txt").read_text() == "precious", about
        return result

    return opens_


@pytest.mark.parametrize("command", COMMANDS)
def test_another_kind_of_file_anywhere_in_a_folder_is_told_or_does_no_harm(opens, command):
    opens(command, odd_files.another_kind_of_file, draw=random.Random(command))


@pytest.mark.parametrize(
    ("command", "kind", "name"),
    [
        ("resume", "a link out", ".hydra/hydra.yaml"),
        ("resume", "a FIFO", "gan-run.log"),
        ("resume", "a FIFO", "samples/iteration_00000002.png"),
        ("gan-sample", "a link out", "checkpoints"),
        ("gan-sample", "a FIFO", ".hydra/overrides.yaml"),
    ],
)
def test_links_and_fifos_are_named_before_anything_is_opened(opens, command, kind, name):
    def lay(draw, run):
        odd_files.make_kind(kind, run / name, run.parent)
        return f"{name} is {kind}"

    result = opens(command, lay)
    assert result.code == 1
    assert f"run/{name} is a {'link to' if kind == 'a link out' else 'FIFO'}" in result.err


@pytest.mark.parametrize("name", ["gan-run.log", "checkpoints", ""])
def test_a_sweep_writes_through_no_link(opens, name):
    def lay(draw, sweep):
        job = sorted(path.parent for path in sweep.glob("*/.hydra"))[0]
        odd_files.make_kind("a link out", job / name if name else job, sweep.parent)
        return f"a job's {name} is a link"

    for command in ("sweep_resume", "hydra.sweep.dir"):
        result = opens(command, lay)
        assert result.code == 1
        assert "is a link to" in result.err


@pytest.mark.parametrize("what", odd_files._ARCHIVES)
def test_a_checkpoint_that_is_no_archive_of_ours_is_told_in_one_message(opens, what, monkeypatch):
    monkeypatch.setattr(odd_files, "_ARCHIVES", {what: odd_files._ARCHIVES[what]})
    assert opens("gan-sample", odd_files.odd_archive, draw=random.Random(0)).code == 1


@pytest.mark.parametrize("command", ["gan-sample", "resume"])
def test_an_odd_state_is_gone_on_from_or_told_in_one_message(opens, command):
    for seed in range(3):
        opens(command, odd_files.odd_state, draw=random.Random(f"{command} {seed}"))


@pytest.mark.parametrize("command", ["resume", "gan-compare", "sweep_resume", "gan-compare of a sweep"])
def test_odd_json_and_pictures_are_told_or_left_out(opens, command):
    opens(command, odd_files.odd_json, odd_files.odd_picture, draw=random.Random(command))
