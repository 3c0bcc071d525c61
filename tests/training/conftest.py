"""Small whole runs."""

import contextlib
import json

import pytest
import torch
from tqdm import tqdm

from gan_runner.config.build import build
from gan_runner.health.watch import Watch
from gan_runner.record.journal import RunJournal
from gan_runner.record.loggers import RunToLog
from gan_runner.record.run_folder import RunFolder
from gan_runner.training.loop import Run

SMALL = [
    "penalty=none",
    "trainer.ema=null",
    "data.limit=96",
    "trainer.batch_size=16",  # 6 iterations an epoch
    "trainer.epochs=3",
    "trainer.sample_every=1",
    "trainer.checkpoint_every=1",
    "trainer.log_every=2",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
]


@pytest.fixture
def start(tmp_path, compose_config):
    """Starts a run with small networks, in `tmp_path` or a folder in it; closes it when the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(*overrides, folder=".", symptoms=None):
            evaluation = [] if "evaluation=off" in overrides else ["evaluation.num_images=32"]
            experiment = build(compose_config(*SMALL, *evaluation, *overrides))
            if symptoms is not None:  # roll back at these and no others
                settings = {"loss": "NonSaturating", "trainer.precision": "fp32"}
                experiment.watch = Watch(
                    "rollback", 0.5, 3, pictures=64, symptoms=symptoms, usual={}, settings=settings
                )
            path = tmp_path / folder
            path.mkdir(exist_ok=True)
            run_folder = stack.enter_context(contextlib.closing(RunFolder(path)))
            stack.enter_context(contextlib.closing(experiment.loader))
            events = stack.enter_context(experiment.logger.open(RunToLog(path)))
            bar = stack.enter_context(tqdm(disable=True))
            return Run(experiment, RunJournal(run_folder, events, bar, experiment.settings.sample_columns))

        yield begin


def _points_of(run):
    return [json.loads(line) for line in (run.journal.folder.path / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def points_of():
    """A run's log points, as metrics.jsonl has them."""
    return _points_of


def _checkpoint_of(run, name="last"):
    run.journal.folder.finish_writing()
    return run.journal.folder.checkpoints.load(name, torch.device("cpu"))


@pytest.fixture(scope="session")
def checkpoint_of():
    """A checkpoint of a run, read from the disk when all is written."""
    return _checkpoint_of
