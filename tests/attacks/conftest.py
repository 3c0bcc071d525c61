"""Good folders, and a watch over what a command does with a bad one."""

import json
import pickle
import shutil
from types import SimpleNamespace

import pytest

from benchmarks import attacks, mutations
from gan_runner.commands import main
from tests import command_line
from tests.command_line import call, gan_run

COMMANDS = {
    "augment": main.augment,
    "run": main.run,
    "sample": main.sample,
    "compare": main.compare,
    "detect": main.detect,
    "eval": main.evaluate,
    "export": main.export,
    "load": attacks.load,
}


@pytest.fixture(scope="session")
def good_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good_run")
    assert gan_run(folder, *attacks.RUN, "hydra.run.dir=run").code == 0
    return folder / "run"


@pytest.fixture(scope="session")
def good_sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good_sweep")
    assert gan_run(folder, "-m", *attacks.RUN, "seed=0,1", "hydra.sweep.dir=sweep").code == 0
    content = json.loads((folder / "sweep/sweep.json").read_text())
    content["jobs"][1]["state"] = "interrupted"
    (folder / "sweep/sweep.json").write_text(json.dumps(content))
    return folder / "sweep"


@pytest.fixture(scope="session")
def good_export(good_run):
    result = call(main.export, good_run.parent, "run=run", "output=export", "device=cpu")
    assert result.code == 0, result.text
    return good_run.parent / "export"


@pytest.fixture
def export(good_export, tmp_path):
    mutations.plant(tmp_path)
    return shutil.copytree(good_export, tmp_path / "export")


@pytest.fixture
def run(good_run, tmp_path):
    mutations.plant(tmp_path)
    return shutil.copytree(good_run, tmp_path / "run")


@pytest.fixture
def sweep(good_sweep, tmp_path):
    mutations.plant(tmp_path)
    return shutil.copytree(good_sweep, tmp_path / "sweep")


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a stranger's folder by a command, which must do nothing but its work, and say so or why not."""
    monkeypatch.setenv(mutations.VARIABLE, mutations.SECRET)
    monkeypatch.setenv("HOME", str(tmp_path / "outside"))

    def open_(*words, about=""):
        watch = attacks.watched(tmp_path)

        def unpickled(kept):
            """What tests keep of composed configs is no untrusted pickle."""
            looked, watch.on = watch.on, False
            try:
                return pickle.loads(kept)
            finally:
                watch.on = looked

        monkeypatch.setattr(command_line, "pickle", SimpleNamespace(dumps=pickle.dumps, loads=unpickled))
        try:
            with attacks.looking(watch):
                result = call(COMMANDS[words[0]], tmp_path, *words[1:])
        except BaseException as error:
            error.add_note(f"{about} {watch.seen}")
            raise
        assert not watch.seen, about
        assert not attacks.leaked(tmp_path, result.text), about
        assert not attacks.speaks_for_us(result.text), about
        assert attacks.outside_as_it_was(tmp_path), about
        assert "Traceback" not in result.text, f"{about}: {result.text[-3000:]}"
        assert result.code == 0 or result.text.strip(), f"{about}: it says nothing"
        return result

    return open_
