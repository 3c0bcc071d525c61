"""What the tests of the core share: a small game on small pictures."""

import contextlib
import dataclasses
import gc
import gzip
import os
import signal
import struct
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn

from gan_runner.commands.main import job_folder
from gan_runner.data import ImageSet, IndexSampler, ResidentLoader, digits, fashion_mnist
from gan_runner.games import Adversarial
from gan_runner.machine.signals import STOPPING, not_ignored
from gan_runner.metrics import features
from gan_runner.models import dcgan, mlp
from gan_runner.objectives.latents import Normal
from gan_runner.objectives.losses import NonSaturating
from gan_runner.objectives.targets import Exactly, Labels
from gan_runner.optim.adam import Adam
from gan_runner.optim.averages import MovingAverage
from gan_runner.optim.learning_rates import Constant
from gan_runner.training.devices import Compute
from gan_runner.training.player import Player, Players
from gan_runner.training.train_step import BatchSizes, TrainStep
from tests.command_line import composing_once, reading_once

CPU = torch.device("cpu")
FASHION_MNIST = fashion_mnist.FASHION_MNIST
torch.set_num_threads(1)  # networks this small lose time to a second one
os.environ["OMP_NUM_THREADS"] = "1"  # in the processes that tests start, too
# Whole commands, processes, browsers: what the fast tier leaves out besides tests that are marked by themselves.
SLOW = (
    *("attacks/", "commands/", "export/", "plugins/", "runs/", "report/test_in_a_browser.py"),
    *("config/test_every_choice.py", "config/test_stored.py", "detection/test_guard.py", "games/test_conditional.py"),
    *("health/test_advice.py", "health/test_alarms.py"),
    *("machine/test_imitated.py", "machine/test_signals.py", "machine/test_load.py"),
    *(
        "metrics/test_damage.py",
        "metrics/test_feature_metrics.py",
        "metrics/test_features.py",
        "metrics/test_report.py",
    ),
    *("models/test_batch_mates.py", "models/test_recipes.py", "record/test_loggers.py", "record/test_tensorboard.py"),
    *("training/test_alarms_by_class.py", "training/test_distributed.py", "training/test_first_look.py"),
    *("training/test_log_point.py", "training/test_loop.py", "training/test_rollback.py", "training/test_threads.py"),
)
for ignored in set(STOPPING) - set(not_ignored(STOPPING)):  # as by nohup, or a script's `&`: tests send them
    signal.signal(ignored, signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    """Mark as slow what lies in those files."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Leave out what is imported, and all tests, wherever a run ends by collecting garbage: that took 0.25 s each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_random_numbers_whatever_ran_before():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _what_tests_keep_is_kept_apart(tmp_path_factory):
    """One cache for all, so that an extractor is learned once, and none of the user's."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _config_files_are_read_once():
    with reading_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_test_waits_for_the_disk():
    """Nothing here is to outlive a power cut, and a run waits a dozen times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def judge_that_learns_little(tmp_path_factory):
    """An extractor that is the same one for all tests of a file, where none of what it says is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(features, "_FEWEST_SHOWN", 512)
        patch.setattr(features, "_MOST_SHOWN", 512)
        yield


@pytest.fixture
def write_idx():
    """Writes an array as an IDX file, gzipped where the name says so."""

    def write(path: Path, array: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return path

    return write


@pytest.fixture
def hard_labels():
    return Labels(Exactly(1.0), Exactly(0.0), Exactly(1.0), flip=0.0)


@pytest.fixture(scope="session", autouse=True)
def _data_that_only_some_machines_have_are_hidden():
    """So that every test does the same where Debian's package of Fashion-MNIST is installed and where it is not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fashion_mnist, "FASHION_MNIST", dataclasses.replace(FASHION_MNIST, other_folders=()))
        yield


@pytest.fixture
def installed_fashion_mnist(monkeypatch):
    """Debian's package of Fashion-MNIST, for the tests of the real one."""
    if not Path(fashion_mnist.DEBIAN_FOLDER).is_dir():
        pytest.skip("Debian's package is not installed")
    monkeypatch.setattr(fashion_mnist, "FASHION_MNIST", FASHION_MNIST)


@pytest.fixture(scope="session")
def compose_config():
    """Composes the real config with overrides, the choice of each group included."""
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)

    def composed(*overrides):
        with composing_once(), initialize_config_module("gan_runner.conf", version_base="1.3"):
            return compose("config", list(overrides), return_hydra_config=True)

    return composed


@dataclass
class Table:
    """A game that is set up: who plays, and with what."""

    step: TrainStep
    d: Player
    g: Player
    average: MovingAverage | None
    game: Adversarial
    images: ImageSet
    order: IndexSampler


def _networks(model, shape, latent_dim, dropout):
    if model == "mlp":
        leaky = partial(nn.LeakyReLU, 0.2)
        return (
            mlp.Discriminator(shape, [16], dropout, leaky, None, None),
            mlp.Generator(shape, latent_dim, [16], leaky, None, None),
        )
    if model == "norms in d":
        d = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
        return d, _networks("mlp", shape, latent_dim, dropout)[1]
    return (
        dcgan.Discriminator(shape, [4, 6], dropout, 0.2, None, None),
        dcgan.Generator(shape, latent_dim, [8, 6, 4], 0.1, 1e-3, None, None),
    )


@pytest.fixture
def set_up(hard_labels):
    """Sets up a game of tiny networks on 60 digits of 8x8; everything follows from `seed`."""

    def make(
        model="mlp",
        *,
        seed=0,
        batch_size=8,
        g_batch_size=8,
        dropout=0.0,
        lr=0.01,
        eps=1e-8,
        ema=None,
        penalty=None,
        channels_last=False,
        precision="fp32",
        device=CPU,
    ):
        torch.manual_seed(seed)
        images = digits.load(image_size=None, limit=60)
        d_net, g_net = (net.to(device) for net in _networks(model, images.shape, 5, dropout))
        if channels_last:
            d_net, g_net = (net.to(memory_format=torch.channels_last) for net in (d_net, g_net))
        d, g = (Player(net, Adam(net.parameters(), lr, (0.5, 0.999), eps, 0.0), Constant()) for net in (d_net, g_net))
        average = None
        if ema is not None:
            copied = _networks(model, images.shape, 5, dropout)[1].to(device)
            copied.load_state_dict(g_net.state_dict())
            average = MovingAverage(copied, ema)
        game = Adversarial(Normal(5, 1.0), NonSaturating(hard_labels, joined=True), penalty)
        players = Players(d, g, average)
        order = IndexSampler(len(images), seed, replacement=False)
        loader = ResidentLoader(images, order, device)
        step = TrainStep(game, players, loader, BatchSizes(batch_size, g_batch_size), Compute(device, precision))
        torch.manual_seed(seed)
        return Table(step, d, g, average, game, images, order)

    return make


def _state_of(player):
    """Everything of a player that a step may change, copied: weights, running statistics, gradients."""
    state = {name: value.clone() for name, value in player.net.state_dict().items()}
    for name, parameter in player.net.named_parameters():
        if parameter.grad is not None:
            state[f"gradient of {name}"] = parameter.grad.clone()
    return state


@pytest.fixture(scope="session")
def state_of():
    return _state_of


@pytest.fixture(scope="session")
def same_bits():
    """Whether two states have the same names and hold the same numbers to the bit."""

    def compare(one, other):
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return compare


@pytest.fixture
def never_waiting():
    """A context in which a call that waits for the GPU fails."""

    def mode(name):
        with warnings.catch_warnings():  # PyTorch calls this a prototype, once
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode(name)

    @contextlib.contextmanager
    def context():
        mode("error")
        try:
            yield
        finally:
            mode("default")

    return context
