"""A few random mistakes and damages of each kind, the same ones every time; `benchmarks.faults` draws thousands."""

import contextlib
import random
import shutil
import warnings

import pytest
from omegaconf import DictConfig, OmegaConf

from benchmarks import faults
from benchmarks.step import configured
from gan_runner.commands import main
from gan_runner.errors import UserError
from tests.command_line import call, gan_run

COMMANDS = {"run": main.run, "check": main.check, "sample": main.sample, "compare": main.compare, "eval": main.evaluate}
QUICK = ["data.limit=64", "trainer.batch_size=16", "trainer.precision=fp32", "trainer.device=cpu"]


@pytest.fixture(autouse=True)
def _nothing_large_and_no_word_of_what_is_odd(monkeypatch):
    monkeypatch.setattr(faults, "HUGE", (1e308, 2**63, 10**30))
    with warnings.catch_warnings():  # odd values are what is drawn here
        warnings.simplefilter("ignore")
        yield


def _called(folder, about, name, *words):
    try:
        result = call(COMMANDS[name], folder, *words)
    except Exception as error:
        error.add_note(about)
        raise
    assert "This is a bug" not in result.text, about
    assert result.code == 0 or result.text.strip(), f"{about}: it says nothing"


@pytest.mark.parametrize("seed", range(5))
def test_nonsensical_values_are_refused_or_can_be_trained_with(seed):
    draw = random.Random(seed)
    choices = faults.some_choices(draw)
    config = configured(*(f"{group}={choice}" for group, choice in choices.items()), *QUICK)
    keys = faults.keys_of(config)
    for _ in range(8):
        values = faults.some_values(draw, keys)
        try:
            with contextlib.suppress(UserError):
                faults.tried(config, choices, values)
        except Exception as error:
            error.add_note(f"{choices} {values}")
            raise


@pytest.mark.parametrize("instead", [{"_target_": "os.getcwd"}, [-1]], ids=["a part of another kind", "a list"])
def test_a_wrong_object_in_place_of_any_component_is_refused_or_can_be_trained_with(instead):
    config = configured(*QUICK)
    parts = [key for key in faults.keys_of(config) if isinstance(OmegaConf.select(config, key), DictConfig)]
    assert {"labels", "learning_rate.d", "health.symptoms", "evaluation.metrics.features.extractor"} <= set(parts)
    for path in parts:
        try:
            with contextlib.suppress(UserError):
                faults.tried(config, {}, {path: instead})
        except Exception as error:
            error.add_note(path)
            raise


@pytest.fixture(scope="module")
def keys():
    return faults.keys_of(configured())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert gan_run(folder, *faults.RUN, "data.limit=64").code == 0
    return folder / "run"


@pytest.mark.parametrize("seed", range(6))
def test_a_nonsensical_command_line_ends_in_a_message_or_in_a_run(tmp_path, keys, whole, seed):
    name, words = faults.some_overrides(random.Random(seed), keys)
    if name == "sample":
        shutil.copytree(whole, tmp_path / "run")
    _called(tmp_path, f"gan-{name} {' '.join(words)}", name, *words)


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_run_folder_ends_in_a_message_or_resumes(tmp_path, whole, seed):
    draw = random.Random(seed)
    shutil.copytree(whole, tmp_path / "run")
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    path = draw.choice(files)
    about = f"{faults.damage(draw, tmp_path / 'run' / path)} of {path}"
    words = draw.choice(faults.OF_A_RUN)
    _called(tmp_path, f"{about}: gan-{' '.join(words)}", *words)


@pytest.mark.parametrize("seed", range(3))
def test_an_odd_folder_of_images_ends_in_a_message_or_is_trained_on(tmp_path, seed):
    draw = random.Random(seed)
    about = faults.odd_pictures(draw, tmp_path / "pictures")
    words = draw.choice(faults.OF_PICTURES)
    _called(tmp_path, f"{about}: gan-{' '.join(words)}", *words)
