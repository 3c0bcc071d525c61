"""Configs that lie in a run's folder: data that may come from a stranger, and never a program.

What such a config may build is on a list; anything else is refused by key and value before it is imported. It is read
without resolvers, and what it says of Hydra itself is never obeyed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE
from gan_runner.config.groups import GROUPS
from gan_runner.errors import UserError

_LARGEST = 2**20  # bytes of a stored YAML file
_DEEPEST = 32  # levels of nesting
_RESOLVER = re.compile(r"\$\{[^}]*:")
_NAME = re.compile(r"[\w.-]{1,100}")

# What of PyTorch a config may name besides this package's own parts.
_TORCH = re.compile(
    r"torch\.nn\.init\.(\w+_)"
    r"|torch\.optim\.(Adadelta|Adagrad|Adam|Adamax|AdamW|ASGD|NAdam|RAdam|RMSprop|Rprop|SGD)"
    r"|torch\.nn\.(CELU|ELU|GELU|Hardtanh|Identity|LeakyReLU|Mish|PReLU|ReLU|ReLU6|SELU|SiLU|Sigmoid|Softplus|Tanh)"
)


@dataclass(frozen=True)
class Stored:
    """What a run's folder says of its config.

    Attributes:
        config: as composed, `${key}` of its own keys in it, nothing that computes.
        overrides: what was typed to compose it.
        choices: the file chosen of each group, by the group.
        cwd: the folder that it was started in; None where it does not say.
    """

    config: dict[str, Any]
    overrides: list[str]
    choices: dict[str, str]
    cwd: Path | None

    def root_from_elsewhere(self) -> Path | None:
        """Where the run, started in another folder, found its data, if that is not where data.root leads from here."""
        root = OmegaConf.select(OmegaConf.create(self.config), "data.root", throw_on_resolution_failure=False)
        if not isinstance(root, str) or self.cwd is None or Path(root).expanduser().exists():
            return None
        there = self.cwd / root
        return there if there.exists() else None


def to_store(config: DictConfig) -> str:
    """A composed config as YAML: what a resolver computes, such as `${oc.env:HOME}`, is replaced by its value."""
    written = OmegaConf.to_container(config, resolve=False)

    def settled(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: settled(inner, f"{path}[{key}]" if path else str(key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [settled(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
        if isinstance(value, str) and _RESOLVER.search(value):
            found = OmegaConf.select(config, path)
            return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
        return value

    return OmegaConf.to_yaml(OmegaConf.create(settled(written, "")))


def read_stored(folder: Path, trust: Sequence[str], key: str) -> Stored:
    """Read the config of a run's folder.

    Args:
        folder: the run's.
        trust: modules besides this package and PyTorch whose parts it may name, as the user typed them.
        key: what the folder was typed as, for messages.

    Raises:
        UserError: a file is damaged, or names what is not trusted.
    """
    config = _mapping(folder / ".hydra/config.yaml", key)
    config.pop("hydra", None)
    for path, value in _leaves(config):
        if path.rpartition(".")[2] == "_target_":
            refuse_foreign(folder, path, value, trust, key)
        elif isinstance(value, str) and _RESOLVER.search(value):
            raise UserError(
                f"{key} is {folder}, but in its config {path} is {value}, which would be computed when it is read.",
                "A run's folder is data: write the value itself there, or start a new run.",
            )
    for group in GROUPS:
        if group.optional:  # there may have been no such group yet
            config.setdefault(group.name, {})
        elif group.name not in config:
            raise UserError(
                f"{key} is {folder}, but its .hydra/config.yaml says nothing of {group.name}, which every run has.",
                "Mend or restore that file, or start a new run.",
            )
    data = config.get("data")
    if isinstance(data, dict) and "download" in data:
        data["download"] = False  # a folder fetches nothing; who wants that types it
    hydra = _mapping_or_none(folder / ".hydra/hydra.yaml").get("hydra", {})
    return Stored(
        config,
        _texts(folder / ".hydra/overrides.yaml"),
        _choices(_at(hydra, "runtime", "choices")),
        Path(cwd) if isinstance(cwd := _at(hydra, "runtime", "cwd"), str) else None,
    )


def refuse_foreign(folder: Path, path: str, value: object, trust: Sequence[str], key: str) -> None:
    """Refuse what a stored config asks to build, unless it is this package's, PyTorch's or trusted.

    Args:
        folder: where it is stored.
        path: the key that asks for it.
        value: what it asks for.
        trust: modules that may be named besides.
        key: what the folder was typed as, for the message.

    Raises:
        UserError: it is none of these.
    """
    named = isinstance(value, str)
    if named and (value in _own_targets() or _TORCH.fullmatch(str(value))):
        return
    if named and any(str(value).startswith(f"{module}.") for module in trust):
        return
    module = str(value).partition(".")[0]
    raise UserError(
        f"{key} is {folder}, but its config asks for {path}={value}, which is no part of gan-runner: a run's folder "
        "may come from anybody, and that would run.",
        f"If you know what it is, add trust=[{module}]." if _NAME.fullmatch(module) else "Start a new run.",
    )


@functools.cache
def _own_targets() -> frozenset[str]:
    """Every class and function that this package's own YAML files name."""
    found = set()
    for group in resources.files(CONFIG_MODULE).iterdir():
        if group.is_dir():
            for file in group.iterdir():
                if file.name.endswith(".yaml"):
                    found |= set(re.findall(r"_target_: *(gan_runner\.[\w.]+)", file.read_text(encoding="utf-8")))
    return frozenset(found)


class _PlainLoader(yaml.SafeLoader):
    """Plain values only, each written where it is: aliases can make a small file a huge config."""

    def compose_node(self, parent: Any, index: int) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("it uses aliases")
        return super().compose_node(parent, index)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it has more than {_LARGEST:,} bytes")
    value = yaml.load(content.decode(), Loader=_PlainLoader)  # a loader of plain values
    _refuse_depth(value)
    return value


def _refuse_depth(value: Any, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"it nests deeper than {_DEEPEST} levels")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        _refuse_depth(each, depth + 1)


def _mapping(path: Path, key: str) -> dict[str, Any]:
    try:
        value = _load(path)
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise ValueError("it holds no mapping of keys")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(
            f"{key} is {path.parents[1]}, but {path} is damaged: {' '.join(str(error).split())}",
            "Mend or restore that file, or start a new run.",
        ) from error
    return value


def _mapping_or_none(path: Path) -> dict[str, Any]:
    """A mapping that a run can do without; {} where it cannot be read."""
    try:
        value = _load(path)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(path: Path) -> list[str]:
    try:
        value = _load(path)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return []
    return [str(item) for item in value] if isinstance(value, list) else []


def _choices(value: object) -> dict[str, str]:
    found = value if isinstance(value, dict) else {}
    return {str(group): str(choice) for group, choice in found.items() if _NAME.fullmatch(str(choice))}


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value by its dotted path; a `_target_` that is none is one too."""
    if isinstance(value, dict) and not path.endswith("._target_"):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and not path.endswith("._target_"):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{number}")
    else:
        yield path, value
