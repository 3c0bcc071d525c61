"""Composing a config by Hydra's rules, without changing Hydra's global state."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Sequence

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE
from gan_runner.override import Override

VERSION_BASE = "1.3"  # of Hydra's behaviour
_SEARCH_PATH = "hydra.searchpath"
_one_at_a_time = threading.Lock()


def compose(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose one of the package's primary configs, with Hydra's own part below `hydra`.

    The calling program may use Hydra itself, with its own config, search path and version base: they have no effect
    here, and are not changed.

    Args:
        config_name: such as "config" for what gan-run composes.
        overrides: in Hydra's grammar.

    Raises:
        HydraException: the overrides contradict each other, or cannot be parsed.
    """
    with _one_at_a_time, _behaving_as(VERSION_BASE):
        loader = ConfigLoaderImpl(create_config_search_path(f"pkg://{CONFIG_MODULE}"))
        return loader.load_configuration(config_name, list(overrides), RunMode.RUN, from_shell=False)


@contextlib.contextmanager
def _behaving_as(wanted: str) -> Iterator[None]:
    kept = version.VersionBase.instance()
    before = kept.version_base
    version.setbase(wanted)
    try:
        yield
    finally:
        kept.version_base = before


def search_path(*folders: str | None) -> list[str]:
    """The override that adds the user's folders of YAML files to the search path; none without a folder."""
    named = [f"file://{os.path.abspath(folder)}" for folder in folders if folder]
    return [f"{_SEARCH_PATH}={json.dumps(named)}"] if named else []


def default_of(config_name: str, overrides: Sequence[str], hydra: DictConfig, key: str) -> object:
    """The value that a key has with the same choices of groups and no other override.

    Args:
        config_name: see `compose`.
        overrides: what was typed.
        hydra: Hydra's part of what was composed of them.
        key: such as "trainer.batch_size".

    Raises:
        KeyError: there is no such key then.
    """
    groups = hydra.runtime.choices
    typed = map(Override.of, overrides)
    choices = [str(override) for override in typed if override.key in groups and not override.takes_away]
    # Wherever folders of the user's own were named: by --config-dir, or as an override.
    folders = [source.path for source in hydra.runtime.config_sources if source.schema == "file"]
    config = compose(config_name, [*choices, *search_path(*folders)])
    value = OmegaConf.select(config, key, default=KeyError)
    if value is KeyError:
        raise KeyError(key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
