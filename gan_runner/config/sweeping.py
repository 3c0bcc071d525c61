"""What a sweep is made of: the keys that it sweeps, its jobs, and the settings that they share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Sweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gan_runner.config.command_line import Typed
from gan_runner.config.groups import GROUPS
from gan_runner.config.stored import refuse_foreign
from gan_runner.errors import UserError
from gan_runner.machine.shell import command_line, quoted

# What of Hydra's own settings a sweep's folder may say: which sweeper searches where, and how many jobs at a time. The
# rest could write anywhere or run commands, and has to be typed again.
_HARMLESS = re.compile(
    r"\+*hydra/(sweeper|launcher)=\w+"
    r"|\+*hydra\.launcher\.n_jobs=-?\d+"
    r"|\+*hydra\.sweeper\.(n_trials|n_jobs|max_batch_size|sampler\.seed)=\w+"
    r"|\+*hydra\.sweeper\.params\.(?!hydra\b)\w[\w./]*=.*"
)
# The keys that say how a run goes on, computes and is shown, but not what it is.
_OF_NO_CONSEQUENCE = (
    *("resume", "resume_force", "resume_from", "trust", "trainer.device", "trainer.progress", "trainer.keep"),
    *("logger", "pruning", "hydra"),
    *(key for group in GROUPS if group.name == "data" for key in group.keys(group.untrained)),
)


@dataclass(frozen=True)
class Plan:
    """What a sweeper will do, as far as it is known before it does it.

    Attributes:
        swept: the keys that it sweeps.
        jobs: the overrides of each job; None where the sweeper searches.
        total: how many jobs there will be; None where nobody knows.
    """

    swept: list[str]
    jobs: list[list[str]] | None
    total: int | None


def plan(config: DictConfig, loader: ConfigLoader) -> Plan:
    """Read from the config of a whole sweep what it will do.

    Args:
        config: with Hydra's part.
        loader: what knows the choices of groups, for `key=glob(*)`.
    """
    sweeper = config.hydra.sweeper
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    typed = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    assert isinstance(typed, list)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*given, *map(str, typed)])
    swept = [override.get_key_element().lstrip("+") for override in overrides if override.is_sweep_override()]
    swept += [str(key) for key in sweeper.get("search_space") or {}]
    if sweeper._target_.rpartition(".")[2] != BasicSweeper.__name__:
        return Plan(swept, None, sweeper.get("n_trials"))
    try:
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException:  # Hydra says it better, in a moment
        return Plan(swept, None, None)
    return Plan(swept, jobs, len(jobs))


def refuse_senseless_search(config: DictConfig) -> None:
    """Refuse a search that has nothing to search by, or would search the wrong way.

    Raises:
        UserError: it is so.
    """
    sweeper = config.hydra.sweeper
    if "direction" not in sweeper:
        return
    if not config.evaluation:
        raise UserError(
            "evaluation is off, but a sweeper that searches needs its objective.",
            "Leave out evaluation=off, or leave out hydra/sweeper to train a grid.",
        )
    direction = getattr(sweeper.direction, "name", sweeper.direction)
    if direction != "minimize":
        raise UserError(
            f"hydra.sweeper.direction is {direction}, but must be minimize: it is given what is to be minimised, "
            "whatever evaluation.goal is.",
            "Leave hydra.sweeper.direction out.",
        )


# ---- settings -------------------------------------------------------------------------------------------


def settings_of(config: Mapping[str, Any] | DictConfig, *, resolve: bool) -> dict[str, Any]:
    """The settings that make a run what it is, by dotted key.

    Args:
        config: a composed config.
        resolve: whether `${key}` is replaced by its value.
    """
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    own = OmegaConf.masked_copy(node, [str(key) for key in node if key != "hydra"])
    if resolve:
        leaves = {
            key: OmegaConf.select(own, path, throw_on_resolution_failure=False, throw_on_missing=False)
            for key, path, _ in _leaves(OmegaConf.to_container(own, resolve=False))
        }
    else:
        leaves = {key: value for key, _, value in _leaves(OmegaConf.to_container(own, resolve=False))}
    return {key: value for key, value in leaves.items() if not changes_nothing(key)}


def changes_nothing(key: str) -> bool:
    """Whether a setting says how a run goes on, computes and is shown, but not what it is."""
    return _below(key, _OF_NO_CONSEQUENCE)


def choices_of(config: DictConfig) -> dict[str, str]:
    """The choice of each group that makes a run what it is."""
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    return {k: v for k, v in choices.items() if "hydra/" not in k and not changes_nothing(k)}


def with_later_groups(old: Mapping[str, Any], new: Mapping[str, Any], config: DictConfig) -> dict[str, Any]:
    """The settings of an older sweep, with the groups that there were not yet as what they are by default: empty.

    Args:
        old: its settings and choices.
        new: those of now.
        config: of now.
    """
    later = (group.name for group in GROUPS if group.optional and group.name in new and not config[group.name])
    return {name: new[name] for name in later} | dict(old)


def hash_of(settings: Mapping[str, Any]) -> str:
    """Tell settings from others."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], but: Sequence[str] = ()) -> list[str]:
    """Lines of "key: old -> new" for the settings that differ.

    Args:
        old: as `settings_of` gives them.
        new: likewise.
        but: keys not to compare, with what is below them.
    """
    return [
        f"  {key}: {_text(old.get(key, 'none'))} -> {_text(new.get(key, 'none'))}"
        for key in sorted(old.keys() | new.keys())
        if not _below(key, but) and _text(old.get(key)) != _text(new.get(key))
    ]


def _text(value: Any) -> str:
    return json.dumps(value, default=str).strip('"')


def _below(key: str, parents: Sequence[str]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _leaves(value: Any, key: str = "", path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Dotted key, the path that OmegaConf takes there, and the plain value."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name), f"{path}[{name}]" if path else str(name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{number}", f"{path}[{number}]")
    else:
        yield key, path, value


# ---- going on by the folder alone -----------------------------------------------------------------------


def words_of_sweep(arguments: Sequence[str], folder: Path, typed: Typed, trust: Sequence[str]) -> list[str]:
    """What to hand to Hydra to go on with a sweep that is named by its folder alone.

    The folder may come from anybody: what it says is held to what a run's folder may say.

    Args:
        arguments: what was typed when it was started, as sweep.json has it.
        folder: the sweep's.
        typed: what is typed now, which comes before it.
        trust: modules that may be named.

    Raises:
        UserError: it asks for what is not to be trusted.
    """
    try:
        stored = OverridesParser.create().parse_overrides(list(arguments))
    except HydraException as error:
        raise UserError(
            f"sweep_resume is {folder}, but its sweep.json is damaged: {' '.join(str(error).split())}",
            f"Type what started it, and hydra.sweep.dir={quoted(str(folder))}.",
        ) from error
    now = [o for o in typed.overrides if o.lstrip("+").partition("=")[0] != "sweep_resume"]
    keys = {o.lstrip("+~").partition("=")[0] for o in now}
    kept, dropped = [], []
    for override in stored:
        text = override.input_line or ""
        key = override.key_or_group
        if override.get_key_element().lstrip("+~") in keys or f"hydra/{'.'.join(key.split('.')[1:2])}" in keys:
            continue  # typed anew, or a setting of a launcher or sweeper that is
        if key in ("resume", "resume_force", "resume_from", "trust"):
            continue
        hydras = key.startswith("hydra") or "@" in override.get_key_element()
        if hydras and not _HARMLESS.fullmatch(text):
            dropped.append(text)
        else:
            _refuse_foreign_values(override, folder, trust)
            kept.append(text)
    if dropped:
        raise UserError(
            f"sweep_resume is {folder}, but that sweep was started with {command_line(dropped)}, which a folder "
            "that may come from anybody cannot ask for.",
            f"Type what of it you want after sweep_resume, such as {quoted(dropped[0])}.",
        )
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    flags = [flag for flag in typed.flags if flag not in ("-m", "--multirun")]
    return ["--multirun", *flags, *kept, *now, f"hydra.sweep.dir='{escaped}'"]


def _refuse_foreign_values(override: Override, folder: Path, trust: Sequence[str]) -> None:
    key = override.key_or_group
    for path, value in _values(override.value(), key):
        if "_target_" in f"{path}={value}":
            refuse_foreign(folder, path, value, trust, "sweep_resume")
        elif isinstance(value, str) and re.search(r"\$\{[^}]*:", value):
            raise UserError(
                f"sweep_resume is {folder}, but it asks for {path}={value}, which would be computed.",
                "A sweep's folder is data: type its command yourself, and hydra.sweep.dir.",
            )


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every plain value in an override, with the keys that lead there."""
    if isinstance(value, Sweep):
        yield from _values(getattr(value, "list", []), path)  # a range and the like hold numbers
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _values(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, path)
    else:
        yield path, getattr(value, "text", value)  # a text in quotes is an object of its own


def modules_named(config: DictConfig) -> list[str]:
    """The modules of the parts that a config of the user's own names: what was typed is trusted."""
    targets = (
        value
        for key, value in settings_of(config, resolve=True).items()
        if key.rpartition(".")[2] == "_target_" and isinstance(value, str)
    )
    return sorted({target.rpartition(".")[0] for target in targets})


def in_own_process() -> bool:
    """Whether the job at hand has been started by a launcher in a process of its own."""
    target: str = HydraConfig.get().launcher._target_
    return target.rpartition(".")[2] != "BasicLauncher"
