"""Folders whose files are of another kind than the program leaves: a message or success, soon, and nothing elsewhere.

`benchmarks.mutations` draws the folders; here come a few of each kind, the same ones every time.
"""

import contextlib
import random
import signal

import pytest

from benchmarks import attacks, mutations

OF_A_RUN = {
    "gan-sample": ("sample", "run=run", "num=4", "device=cpu"),
    "resume": ("run", "resume=run", "trainer.iterations=3"),
    "hydra.run.dir": ("run", *attacks.RUN, "hydra.run.dir=run"),
    "gan-compare": ("compare", "runs=[run]", "output=run"),
    "gan-eval": ("eval", "run=run", "num=8", "real=8", "device=cpu"),
    "gan-detect": ("detect", "run=run", "num=40", "device=cpu"),
}
OF_A_SWEEP = {
    "sweep_resume": ("run", "-m", "sweep_resume=sweep"),
    "hydra.sweep.dir": ("run", "-m", *attacks.RUN, "seed=0,1", "hydra.sweep.dir=sweep"),
    "gan-compare of a sweep": ("compare", "sweep=sweep"),
}
SECONDS = 120  # far more than any case takes: a guard against what never ends


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
def opens(request, opened):
    """Mutates a good folder and opens it by a command."""

    def opens_(command, *mutate, draw=None):
        folder = request.getfixturevalue("sweep" if command in OF_A_SWEEP else "run")
        about = f"{'; '.join(each(draw, folder) for each in mutate)}: {command}"
        with no_longer_than(SECONDS):
            return opened(*(OF_A_SWEEP | OF_A_RUN)[command], about=about)

    return opens_


@pytest.mark.parametrize("command", OF_A_RUN | OF_A_SWEEP)
def test_another_kind_of_file_anywhere_in_a_folder_is_reported_or_harmless(opens, command):
    opens(command, mutations.another_kind_of_file, draw=random.Random(command))


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
def test_links_and_fifos_are_reported_before_anything_is_opened(opens, command, kind, name):
    def lay(draw, run):
        mutations.make_kind(kind, run / name, run.parent)
        return f"{name} is {kind}"

    result = opens(command, lay)
    assert result.code == 1
    assert f"run/{name} is a {'link to' if kind == 'a link out' else 'FIFO'}" in result.err


@pytest.mark.parametrize("command", ["sweep_resume", "hydra.sweep.dir"])
@pytest.mark.parametrize("name", ["gan-run.log", "checkpoints", ""])
def test_a_sweep_never_writes_through_a_link(opens, command, name):
    def lay(draw, sweep):
        job = sorted(path.parent for path in sweep.glob("*/.hydra"))[0]
        mutations.make_kind("a link out", job / name if name else job, sweep.parent)
        return f"a job's {name} is a link"

    result = opens(command, lay)
    assert result.code == 1
    assert "is a link to" in result.err


@pytest.mark.parametrize("what", mutations.ARCHIVES)
def test_a_checkpoint_that_is_not_a_valid_archive_gives_one_message(opens, what):
    def archive(draw, run):
        return mutations.odd_archive(draw, run, what)

    assert opens("gan-sample", archive, draw=random.Random(0)).code == 1


@pytest.mark.parametrize("command", ["resume", "gan-compare", "sweep_resume", "gan-compare of a sweep"])
def test_odd_json_and_images_are_reported_or_left_out(opens, command):
    opens(command, mutations.odd_json, mutations.odd_picture, draw=random.Random(command))
