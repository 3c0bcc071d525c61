"""gan-augment on a stranger's run and in a stranger's folder of a comparison: refused in words, or done again."""

import shutil

import pytest
import yaml

from benchmarks import attacks, mutations
from tests.command_line import gan_run

AUGMENT = ("augment", "run=run", "seeds=2", "updates=2", "batch_size=4", "device=cpu", "output=compared")


@pytest.fixture(scope="module")
def good_run_by_class(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_class")
    words = (*attacks.RUN, "game=conditional", "data.limit=400", "data.holdout=0.25", "data.scarce={3: 10}")
    assert gan_run(folder, *words, "hydra.run.dir=run").code == 0
    return folder / "run"


@pytest.fixture
def run(good_run_by_class, tmp_path):
    mutations.plant(tmp_path)
    return shutil.copytree(good_run_by_class, tmp_path / "run")


def with_data(run, **values):
    path = run / ".hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"].update(values)
    path.write_text(yaml.safe_dump(config))


ODD = {
    "scarce": ["half", [5], 0, 1.5, True, {"3": -5}, {"3": None}, {"nowhere": 5}, {}],
    "image_size": ["large", -1],
    "holdout": ["some", 0],
    "split": ["test", "no", None],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in ODD.items() for value in values], ids=str)
def test_odd_data_settings_of_a_run_are_refused(run, opened, key, value):
    with_data(run, **{key: value})
    result = opened(*AUGMENT)
    assert result.code == 1, result.text
    assert len(result.err.strip().splitlines()) <= 3


def test_data_sets_that_a_trusted_module_only_imports_are_not_built(run, opened):
    """They are not made when images are drawn, so gan-augment has to refuse them itself."""
    target = "benchmarks.attacks.os.system"
    path = run / ".hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    config["data"] = {"_target_": target, "command": "touch outside/new", "scarce": 0.5}
    path.write_text(yaml.safe_dump(config))
    result = opened(*AUGMENT, "trust=benchmarks")
    assert result.code == 1
    assert target in result.err
