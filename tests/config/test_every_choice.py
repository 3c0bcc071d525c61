"""Every YAML file of every group composes, passes the validation, builds, and plays a turn."""

import struct
from importlib import resources

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf, open_dict
from PIL import Image

from gan_runner.config.build import build
from gan_runner.config.checking import check
from tests.torchvision_files import write_cifar10

CONF = resources.files("gan_runner.conf")


def names_in(folder):
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


GROUPS = {folder.name: names_in(folder) for folder in CONF.iterdir() if folder.is_dir() and names_in(folder)}
CHOICES = [(group, name) for group, names in sorted(GROUPS.items()) for name in names]
SMALL_PLAYERS = ["model.generator.widths=[8,8,8]", "model.discriminator.widths=[8,8,8]"]
PAIRS = {"data": "paired", "model": "unet", "game": "paired", "evaluation": "pairs"}  # which go with each other
DOMAINS = {"data": "unpaired", "model": "residual_translator", "game": "cycle"}
BOTH_DOMAINS = {"unpaired", "one_direction"}
OF_DOMAINS = {"cycle", "contrast", "cyclegan", "cyclegan_recommended", "fastcut"}
FROM_IMAGES = {"unet", "residual_translator"}  # models whose generator draws from images
QUICK = ["trainer.device=cpu", "trainer.precision=fp32", "trainer.batch_size=4", "trainer.g_batch_size=4"]


def composed(overrides):
    """The config with these overrides, and the choice of each group."""
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
    choices = config.hydra.runtime.choices
    OmegaConf.set_readonly(config, False)
    with open_dict(config):
        del config["hydra"]
    return config, choices


def no_default(key):
    raise KeyError(key)


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    """A folder that holds four images in each of the formats: IDX pairs, CIFAR's batches, and pictures."""
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(10, dtype=np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / f"train-{name}-ubyte").write_bytes(header + array.tobytes())
    batch = np.zeros((2, 3, 32, 32), np.uint8), [0, 9]
    write_cifar10(tmp_path, monkeypatch, [batch] * 5, batch)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    for side in "AB":
        (tmp_path / side).mkdir()
        Image.fromarray(images[0]).save(tmp_path / side / "0.png")
    return tmp_path


def test_every_group_of_the_contract_has_its_options():
    assert {"digits", "mnist", "fashion_mnist", "cifar10", "emoji", "idx", "image_folder"} <= set(GROUPS["data"])
    assert {"mlp", "dcgan"} <= set(GROUPS["model"])
    assert {"hard", "smooth", "noisy"} <= set(GROUPS["labels"])
    assert {"alternating", "rounds"} <= set(GROUPS["schedule"])
    assert {"off", "fast", "full"} <= set(GROUPS["evaluation"])
    assert {"keras_mlp", "tf_mlp", "keras_dcgan", "rounds", "minimax", "nonsaturating"} <= set(GROUPS["experiment"])


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=[f"{group}={name}" for group, name in CHOICES])
def test_every_option_of_every_group_composes_is_valid_builds_and_trains(group, name, data_root):
    typed = [f"{group}={name}", *QUICK]
    if PAIRS.get(group) == name != "paired" or name in FROM_IMAGES or (group, name) == ("game", "paired"):
        typed += [f"{other}={choice}" for other, choice in PAIRS.items() if other not in (group, "evaluation")]
    if group == "evaluation" and name in BOTH_DOMAINS:
        typed += ["evaluation.metrics.unpaired=null", "evaluation.objective=sliced_wasserstein"]
    if (group == "game" and name in OF_DOMAINS) or (group == "evaluation" and name in BOTH_DOMAINS):
        typed += [f"{other}={choice}" for other, choice in DOMAINS.items() if other != group]
    from_images = name in FROM_IMAGES or any(f"model={each}" in typed for each in FROM_IMAGES)
    if "pix2pix" in name or name in OF_DOMAINS or from_images:
        typed.append("model.width=4")
    elif group != "model":
        typed += SMALL_PLAYERS
    if name == "pairs":  # or an extractor would learn these, too
        typed += ["evaluation.metrics.features=null", "evaluation.objective=l1"]
    if group == "data" and "root" in list(OmegaConf.load(CONF / "data" / f"{name}.yaml")):
        typed.append(f"data.root={data_root}")
    if name == "torchvision":
        typed.append("data.name=CIFAR10")
    if name == "huggingface":
        pytest.importorskip("pyarrow")
        from tests import parquet_files

        pixels = np.zeros((10, 28, 28), np.uint8)
        typed.append(f"data.path={parquet_files.write(data_root / 'set.parquet', pixels, list(range(10)))}")
    if group != "data":
        typed.append("data.limit=64")
    if group not in ("evaluation", "experiment") or "pix2pix" in name or name in OF_DOMAINS:
        typed.append("evaluation=pixels")  # an extractor would learn every one of these data sets
    if name == "wasserstein":
        typed.append("penalty=gradient_penalty")
    if name == "several":
        part = "tensorboard" if group == "logger" else "r1"
        typed.append(f"+{group}@{group}.parts.{part}={part}")
    if name in ("mlflow", "wandb"):
        pytest.importorskip(name)
    if name == "finite_difference":
        typed.append("model.dropout=0")
    config, choices = composed(typed)
    assert choices[group] == name
    check(config, typed, choices, no_default)
    experiment = build(config)
    turn = experiment.schedule.next_turn(experiment.step, experiment.epoch)
    experiment.step.play(turn, 0)
    assert experiment.step.finite.first_bad() is None
    assert experiment.step.read_d().updates == turn.d_steps > 0


@pytest.mark.parametrize("name", names_in(CONF))
def test_the_config_of_every_command_composes(name):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        assert compose(name)


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=[f"{group}={name}" for group, name in CHOICES])
def test_every_option_begins_with_a_comment_that_says_what_it_is(group, name):
    first, *rest = (CONF / group / f"{name}.yaml").read_text().splitlines()
    said = rest[0] if first.startswith("# @package") else first
    assert said.startswith("# ")
