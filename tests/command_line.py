"""Call the commands in this process, as a user would in a shell."""

import contextlib
import copy
import hashlib
import io
import json
import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from gan_runner.commands import main
from gan_runner.runs.resuming import STORED

QUICK = [
    "data.limit=64",
    "trainer.batch_size=16",
    "trainer.iterations=4",
    "evaluation.num_images=16",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
]


@dataclass(frozen=True)
class Result:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


OURS = ("pkg://gan_runner", "pkg://hydra", "structured://")
# Experiments of ours that leave it to the command line whether there is one job or a sweep.
EXPERIMENTS = {
    path.stem
    for path in (Path(__file__).parent.parent / "conf/experiment").glob("*.yaml")
    if "mode:" not in path.read_text(encoding="utf-8").split()
}
_MOST = 200  # compositions of 50 kB, most of which belong to tests that are over
_composed: dict[object, bytes] = {}


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """In here no config file of a package is parsed twice; to read it from bytes is much quicker than a deep copy."""
    Plugins.instance()  # looks for the sources that there are
    in_packages = SourcesRegistry.instance().resolve("pkg")
    read, results = in_packages.load_config, {}

    def load_config(source: ConfigSource, config_path: str) -> ConfigResult:
        if not f"{source.scheme()}://{source.path}".startswith(OURS):
            return read(source, config_path)
        key = (source.path, source.provider, config_path)
        if key not in results:
            results[key] = pickle.dumps(read(source, config_path))
        result: ConfigResult = pickle.loads(results[key])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_packages, "load_config", load_config)
        yield


@contextlib.contextmanager
def composing_once() -> Iterator[None]:
    """In here Hydra composes nothing twice; by itself it does for every command, and for every job of a sweep.

    A composition takes about as long as the shortest training. It is kept for later commands, unless a run or files of
    a test are among its sources.
    """
    if len(_composed) > _MOST:
        _composed.clear()
    composed: dict[object, bytes] = {}
    compose = ConfigLoaderImpl.load_configuration

    def load_configuration(
        loader: ConfigLoaderImpl, config_name: str, overrides: list[str], run_mode: RunMode, *more: bool, **named: bool
    ) -> DictConfig:
        sources = [str(source.path) for source in loader.get_search_path().get_path()]
        always_the_same = config_name != STORED and all(source.startswith(OURS) for source in sources)
        kept = _composed if always_the_same else composed
        key = (sys.argv[0], config_name, *overrides, run_mode, *more, *named.items(), *sources)
        if key not in kept:
            kept[key] = pickle.dumps(compose(loader, config_name, overrides, run_mode, *more, **named))
        config: DictConfig = pickle.loads(kept[key])
        with read_write(config.hydra):
            config.hydra.runtime.cwd = os.getcwd()
        return config

    def get_mode(hydra: Hydra, config_name: str, overrides: list[str]) -> RunMode | None:
        """What it composes to look up one value, which only these can have set."""
        for override in overrides:
            key, _, value = override.partition("=")
            if "hydra.mode" in key or ("experiment" in key and value not in EXPERIMENTS):
                return look_up(hydra, config_name, overrides)
        return None

    def keep(cache: CachingConfigRepository, delegate: ConfigRepository) -> None:
        """What it copies deeply for every group that a page of help lists, with all configs that plug-ins brought."""
        cache.delegate = copy.copy(delegate)
        cache.cache = {}

    look_up = Hydra.get_mode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachingConfigRepository, "__init__", keep)
        patch.setattr(ConfigLoaderImpl, "load_configuration", load_configuration)
        patch.setattr(Hydra, "get_mode", get_mode)
        yield


def call(command: Callable[[], None], folder: Path, *arguments: str, terminal: io.StringIO | None = None) -> Result:
    """Call a command in a folder, perhaps on a terminal; a bug's exception comes through."""
    out, err = (io.StringIO(), io.StringIO()) if terminal is None else (terminal, terminal)
    before, levels = sys.argv, {logger: logger.level for logger in map(logging.getLogger, ("", "gan_runner"))}
    sys.argv = [f"gan-{command.__name__}", *arguments]
    code = 0
    try:
        with (
            composing_once(),
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            command()
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = None  # it says where the command was typed, which the next one must not believe
        for logger, level in levels.items():
            logger.setLevel(level)
        if loky := sys.modules.get("joblib.externals.loky"):  # its processes stay in the folder that they began in
            loky.get_reusable_executor().shutdown(wait=True)
        for handler in logging.getLogger().handlers[:]:
            if handler.__class__.__module__ in ("logging", "logging.handlers", "gan_runner.bars"):
                logging.getLogger().removeHandler(handler)
                handler.close()
    return Result(code, out.getvalue(), err.getvalue())


def gan_run(folder: Path, *arguments: str, terminal: io.StringIO | None = None) -> Result:
    return call(main.run, folder, *arguments, terminal=terminal)


def gan_check(folder: Path, *arguments: str) -> Result:
    return call(main.check, folder, *arguments)


def gan_sample(folder: Path, *arguments: str) -> Result:
    return call(main.sample, folder, *arguments)


def only_run(folder: Path) -> Path:
    """The folder of the one run below `outputs`."""
    (run,) = folder.glob("outputs/*/*")
    return run


def everything_but_times(folder: Path) -> dict[str, object]:
    """Hashes of pictures, the metrics without the speed, and the checkpoint without the seconds."""
    left: dict[str, object] = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "samples").iterdir()
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["speed/images_per_second"]
    left["metrics"] = lines
    state = torch.load(folder / "checkpoints/last.pt", weights_only=True)
    del state["progress"]["seconds"]
    left["state"] = _hashed(state)
    return left


def _hashed(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: _hashed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hashed(inner) for inner in value]
    return value
