"""The defaults are what conf/config.yaml says, a model states what suits it, and recipes stay as published."""

import itertools
import json
import re
import shutil
import statistics
from importlib import resources
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gan_runner.data.classes import FEW
from gan_runner.runs.introduction import what_is_better

ROOT = Path(__file__).parents[2]
CONF = resources.files("gan_runner.conf")
MODELS = sorted(path.stem for path in Path(str(CONF), "model").glob("*.yaml"))
PUBLISHED = ("keras_mlp", "keras_dcgan", "tf_mlp", "minimax", "nonsaturating", "rounds", "stacked_modes")
# The groups that decide what is trained; of trainer the keys below.
TRAINED = ("model", "optimizer", "learning_rate", "labels", "latent", "game", "loss", "penalty", "augment", "schedule")
OF_TRAINER = ("iterations", "batch_size", "g_batch_size", "ema", "ema_half_life")


@pytest.fixture
def own(tmp_path):
    """A user's folder: an experiment on top of the recommended one, and a model that says nothing of its training."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [recommended, _self_]\ntrainer: {epochs: 5}\n"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model/shallow.yaml").write_text(
        "latent_dim: 8\ngenerator: {_target_: mine.Generator}\ndiscriminator: {_target_: mine.Discriminator}\n"
    )
    return f"hydra.searchpath=[file://{tmp_path}]"


def test_a_run_without_overrides_has_the_settings_of_the_defaults_list(compose_config):
    config = compose_config()
    listed = {
        group: choice
        for line in OmegaConf.load(str(CONF / "config.yaml")).defaults
        if line != "_self_"
        for group, choice in line.items()
    }
    assert {group: config.hydra.runtime.choices[group] for group in listed} == listed
    assert listed["experiment"] is None
    assert config.optimizer.d._target_ == "gan_runner.optim.adam.Adam"
    assert config.optimizer.d.lr == config.optimizer.g.lr == 2e-4
    assert config.optimizer.d.betas == config.optimizer.g.betas == [0.5, 0.999]


@pytest.mark.parametrize(
    ("model", "experiment"),
    [
        *itertools.product([*MODELS, "shallow"], [None, "recommended"]),
        *itertools.product(["dcgan", "shallow"], ["mine", "lr_dropout_sweep", "smoke"]),
    ],
)
def test_settings_that_depend_on_the_model_follow_the_model_in_any_experiment(compose_config, own, model, experiment):
    chosen = [f"experiment={experiment}"] if experiment else []
    config = compose_config(f"model={model}", *chosen, own)
    said = OmegaConf.load(str(CONF / "config.yaml")).model if model == "shallow" else config.model
    assert config.penalty.gamma == said.r1.gamma
    assert config.penalty.interval == said.r1.interval
    recommended = experiment in ("recommended", "mine")
    assert config.optimizer.d.lr == config.optimizer.g.lr == (said.recommended.lr if recommended else 2e-4)
    assert config.optimizer.d.betas == ([0.0, 0.99] if recommended else [0.5, 0.999])
    assert config.trainer.batch_size == (said.recommended.batch_size if recommended else 32)
    assert config.model.discriminator.get("dropout", 0) == (0 if recommended else config.model.get("dropout", 0))


def test_overrides_win_over_what_the_model_and_the_recommended_experiment_say(compose_config):
    typed = {"penalty.gamma": 7.0, "penalty.interval": 2, "optimizer.lr": 3e-4, "trainer.batch_size": 16}
    config = compose_config(
        "experiment=recommended", "model=dcgan", *(f"{key}={value}" for key, value in typed.items())
    )
    assert {key: OmegaConf.select(config, key) for key in typed} == typed


def published(folder, name):
    """What decides what a recipe trains, composed from a folder of YAML files."""
    with initialize_config_dir(str(folder), version_base="1.3"):
        config = compose("config", [f"experiment={name}"])
    groups = {group: OmegaConf.to_container(config[group], resolve=True) for group in TRAINED}
    groups["model"] = {name: groups["model"][name] for name in ("generator", "discriminator")}
    length = () if config.trainer.iterations else ("epochs",)
    return groups | {key: config.trainer[key] for key in (*OF_TRAINER, *length)} | {"again": config.data.replacement}


def changed(text):
    """Every number in a YAML file increased by one."""
    return re.sub(r"(?<![\w.-])\d+(\.\d+)?(e-?\d+)?(?![\w.])", lambda found: f"{float(found[0]) + 1:g}", text)


@pytest.fixture(scope="module")
def other_defaults(tmp_path_factory):
    """The package's YAML files with other choices and other numbers wherever a recipe may rest on them."""
    folder = tmp_path_factory.mktemp("conf")
    shutil.copytree(str(CONF), folder, dirs_exist_ok=True)
    others = {
        "model": "resnet",
        "optimizer": "ttur",
        "learning_rate": "cosine",
        "labels": "noisy",
        "latent": "uniform",
        "loss": "hinge",
        "penalty": "r1_r2",
        "augment": "ada",
        "schedule": "rounds",
    }
    config = (folder / "config.yaml").read_text()
    for group, choice in others.items():
        config = re.sub(rf"^  - {group}: \w+$", f"  - {group}: {choice}", config, flags=re.MULTILINE)
    (folder / "config.yaml").write_text(config.replace("replacement: false", "replacement: true"))
    unpublished = [f"model/{name}.yaml" for name in MODELS if name not in PUBLISHED]
    for name in ("optimizer/adam.yaml", "trainer/default.yaml", *unpublished):
        text = (folder / name).read_text()
        (folder / name).write_text(changed(text).replace("null", "8"))
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_does_not_change_when_a_default_does(name, other_defaults):
    assert published(other_defaults, name) == published(str(CONF), name)


def test_the_sweep_in_the_readme_contains_the_defaults(compose_config):
    line = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("gan-run -m optimizer")
    )
    config, swept = compose_config(), re.findall(r"((?:optimizer|model)\.\w+)=([\d.,e-]+)", line)
    assert [key for key, _ in swept] == ["optimizer.lr", "model.dropout"]
    for key, values in swept:
        assert OmegaConf.select(config, key) in map(float, values.split(",")), key


def test_the_common_settings_in_the_help_are_the_defaults(compose_config):
    config = compose_config()
    template = OmegaConf.to_container(config.hydra.help, resolve=False)["template"]
    shown = template.partition("Common settings, with their defaults")[2].partition("Examples")[0]
    settings = re.findall(r"([\w.]+)=(\S+)", shown)
    assert len(settings) > 8
    for key, value in settings:
        default = OmegaConf.select(config, key)
        assert default == (float(value) if isinstance(default, int | float) else value), key


def recorded_gain(model, experiment, data):
    """By how much an experiment is nearer than the defaults: the medians over the seeds after equal processor time.

    The rows are those of `python -m benchmarks.equal_time --processor-minutes 1.5 --data digits --pictures 898`.
    """
    rows = [json.loads(line) for line in (ROOT / "benchmarks/defaults.jsonl").read_text().splitlines()]
    default, better = (
        {
            row["seed"]: row
            for row in rows
            if (row["run"], row["data"]) == (f"{chosen}model={model}", data) and row.get("processor_minutes")
        }
        for chosen in ("", f"experiment={experiment} ")
    )
    assert default.keys() == better.keys(), "both have the same seeds"
    (minutes,) = {row["processor_minutes"] for run in (default, better) for row in run.values()}
    (number,) = {name for row in default.values() for name in row["metrics"] if re.match(r"frechet_cnn_\d", name)}
    medians = (statistics.median(row["metrics"][number] for row in run.values()) for run in (default, better))
    return {"times": next(medians) / next(medians), "minutes": minutes, "seeds": len(default)}


@pytest.mark.parametrize("model", MODELS)
def test_the_gains_that_a_run_reports_for_experiments_are_the_recorded_ones(compose_config, model):
    gains = OmegaConf.select(compose_config(f"model={model}"), "model.recommended.gain") or {}
    assert gains or model not in ("mlp", "dcgan")
    for experiment, by_data in gains.items():
        for data, gain in by_data.items():
            assert gain == pytest.approx(recorded_gain(model, experiment, data), abs=0.051)


@pytest.fixture
def measured_gains():
    """A config with gains of two experiments, of which one was measured on two data sets."""
    on_digits = {
        experiment: {"digits": {"times": times, "minutes": 1.5, "seeds": 1}}
        for experiment, times in (("recommended", 1.7), ("conditional", 3.4))
    }
    on_digits["recommended"]["emoji"] = {"times": 2.0, "minutes": 20, "seeds": 5}
    return OmegaConf.create({"model": {"recommended": {"gain": on_digits}}})


def test_a_run_reports_the_gain_of_recommended_settings_on_its_own_data_if_that_was_measured(measured_gains):
    start, better = "Better images after", "  experiment=recommended  Frechet distance"
    on_digits = f"{start} 1 min 30 s of one core on digits (1 seed):\n{better} 1.7 times lower"
    assert what_is_better(measured_gains, {"data": "fashion_mnist", "experiment": None}) == on_digits
    on_emoji = f"{start} 20 min of one core on emoji (5 seeds):\n{better} 2 times lower"
    assert what_is_better(measured_gains, {"data": "emoji", "experiment": None}) == on_emoji
    assert what_is_better(measured_gains, {"data": "digits", "experiment": "mine"}) is None
    assert what_is_better(OmegaConf.create({"model": {}}), {"data": "digits"}) is None


def test_a_run_that_ignores_the_classes_of_its_data_reports_what_they_would_bring(measured_gains):
    choices = {"data": "digits", "experiment": None, "game": "adversarial"}
    enough, too_few = [FEW, FEW], [FEW, FEW - 1]
    recommended, conditional = (f"  experiment={name}  Frechet distance" for name in ("recommended", "conditional"))
    both = what_is_better(measured_gains, choices, enough).splitlines()[1:]
    assert both == [f"{recommended} 1.7 times lower", f"{conditional} 3.4 times lower, by class"]
    beside_recommended = what_is_better(measured_gains, choices | {"experiment": "recommended"}, enough)
    assert beside_recommended.splitlines()[1:] == [f"{conditional} 2 times lower, by class"]
    for game, counts in (("conditional", enough), ("adversarial", too_few), ("adversarial", None)):
        assert what_is_better(measured_gains, choices | {"experiment": "recommended", "game": game}, counts) is None
