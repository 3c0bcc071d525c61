"""Configs in runs' folders, which may be untrusted: they are data, and never executed.

They are read as plain values (`gan_runner.record.plain_yaml`), their references are resolved by us
(`gan_runner.config.references`), and the components that they name are looked up in a table
(`gan_runner.building.parts`). Only groups and the seed are taken from them; their settings of Hydra are ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from gan_runner import files
from gan_runner.building.parts import Parts
from gan_runner.config.groups import GROUPS
from gan_runner.config.references import is_plain, resolved, without_references_to
from gan_runner.errors import UserError, is_one_line, printable, shown_key
from gan_runner.incidental import PLACES_OF_DATA
from gan_runner.machine.files import at_home
from gan_runner.record.plain_yaml import LARGEST, NotPlainError, Tree, plain_yaml
from gan_runner.trees import leaves

_NAME = re.compile(r"[\w.-]{1,100}")
_TAKEN = {"seed", *(group.name for group in GROUPS)}
"""The keys at the top of a stored config that a run is resumed with; the others are of the start that stored it."""


@dataclass(frozen=True)
class Stored:
    """What a run's folder says of its config.

    Attributes:
        config: of its groups and its seed, as composed: texts may refer to its own keys, as in `${model.latent_dim}`.
        values: the same, the references replaced by what they refer to.
        overrides: what was typed to compose it.
        choices: the file chosen of each group, by the group.
        cwd: the folder that it was started in; None where it does not say.
    """

    config: dict[str, Any]
    values: dict[str, Any]
    overrides: list[str]
    choices: dict[str, str]
    cwd: Path | None

    def places_from_elsewhere(self) -> dict[str, str]:
        """Where the run, started in another folder, found its data, by `root` and the like: where these lead elsewhere.

        Of a place that is there as seen from here, or was not there either, nothing is said.
        """
        found = {}
        for name in PLACES_OF_DATA:
            place = _at(self.values, "data", name)
            if isinstance(place, str) and self.cwd is not None and not os.path.exists(at_home(place)):
                there = self.cwd / place
                if os.path.exists(there):
                    found[name] = str(there)
        return found


def to_store(config: DictConfig) -> str:
    """A composed config as YAML: what a resolver computes, such as `${oc.env:HOME}`, is replaced by its value."""
    written = OmegaConf.to_container(config, resolve=False)
    if all(is_plain(value) for _, value in leaves(cast("Tree", written)) if isinstance(value, str)):
        return OmegaConf.to_yaml(config)  # as nearly always, and in a quarter of the time

    def settled(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: settled(inner, f"{path}[{key}]" if path else str(key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [settled(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
        if isinstance(value, str) and not is_plain(value):
            found = OmegaConf.select(config, path)
            return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        return value

    return OmegaConf.to_yaml(OmegaConf.create(settled(written, "")))


def read_stored(folder: Path, parts: Parts, key: str) -> Stored:
    """Read the config of a run's folder.

    Args:
        folder: the run's.
        parts: what it may ask to build.
        key: what the folder was typed as, for messages.

    Raises:
        UserError: a file is damaged, or asks for what may not be built or computed.
    """
    path = folder / ".hydra/config.yaml"
    try:
        config: Any = _plain(path)
        if not isinstance(config, dict) or not all(isinstance(name, str) for name in config):
            raise NotPlainError("it holds no mapping of keys")
        config.pop("hydra", None)
        _refuse_computed(config, folder, key)
        config = without_references_to(_without_downloads(config), lambda name: name not in _TAKEN)
        for group in GROUPS:
            if group.optional:  # there may have been no such group yet
                config.setdefault(group.name, {})
            elif group.name not in config:
                raise UserError(
                    f"{key} is {folder}, but its .hydra/config.yaml says nothing of {group.name}, which every run has.",
                    "Correct or restore that file, or start a new run.",
                )
        values = resolved(config)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key} is {folder}, but {path} is damaged: {' '.join(str(error).split())}",
            "Correct or restore that file, or start a new run.",
        ) from error
    for name, value in values.items():
        parts.hold(value, name, (name,), f"{key} is {folder}, but its config")
    hydra = _or_nothing(folder / ".hydra/hydra.yaml")
    listed = _or_nothing(folder / ".hydra/overrides.yaml")
    overrides = listed if isinstance(listed, list) else []
    cwd = _at(hydra, "hydra", "runtime", "cwd")
    return Stored(
        config,
        values,
        [text for text in overrides if isinstance(text, str) and is_one_line(text)],
        _choices(_at(hydra, "hydra", "runtime", "choices")),
        Path(cwd) if isinstance(cwd, str) and is_one_line(cwd) else None,
    )


def _refuse_computed(config: dict[str, Tree], folder: Path, key: str) -> None:
    """Refuse a text that is more than text and references, or that would print lines of its own."""
    for path, value in leaves(config):
        for text in (text for text in (*path, value) if isinstance(text, str)):
            if not is_plain(text) or (text is not value and "${" in text):
                raise UserError(
                    f"{key} is {folder}, but in its config {shown_key(path)} is {printable(value)[:200]}, which would "
                    "be computed when it is read.",
                    "A run's folder is data: write the value itself there, or start a new run.",
                )
            if not is_one_line(text):
                raise NotPlainError(
                    f"{shown_key(path)} is {printable(value)[:200]}, which is more than one line of text"
                )


def _without_downloads(tree: Any) -> Any:
    """A config that fetches nothing, wherever in it that may be asked for; who wants that types it."""
    if isinstance(tree, dict):
        return {key: False if key == "download" else _without_downloads(inner) for key, inner in tree.items()}
    return [_without_downloads(inner) for inner in tree] if isinstance(tree, list) else tree


def _plain(path: Path) -> Tree:
    content = files.read(path, 4 * LARGEST, below=path.parents[1])
    return plain_yaml(content.decode("utf-8-sig"))


def _or_nothing(path: Path) -> Tree:
    """What a run can do without; None where it cannot be read."""
    try:
        return _plain(path)
    except (OSError, ValueError):
        return None


def _choices(value: object) -> dict[str, str]:
    found = value if isinstance(value, dict) else {}
    return {str(group): str(choice) for group, choice in found.items() if _NAME.fullmatch(str(choice))}


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
