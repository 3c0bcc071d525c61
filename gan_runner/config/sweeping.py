"""What a sweep is made of: the keys that it sweeps, its jobs, and the settings that they share."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, read_write

from gan_runner import CONFIG_MODULE, files
from gan_runner.building.parts import Parts, names_in, table
from gan_runner.config.command_line import Typed
from gan_runner.config.groups import GROUPS
from gan_runner.config.references import is_plain, is_plain_with_any
from gan_runner.errors import UserError, is_one_line, printable
from gan_runner.incidental import OF_A_START, is_below, is_incidental
from gan_runner.machine.shell import command_line, quoted
from gan_runner.override import key_of
from gan_runner.record.plain_yaml import LARGEST, LONGEST
from gan_runner.trees import KeyPath, dotted, leaves, nodes

# The settings of Hydra that are taken from a sweep's folder: which sweeper searches where, and how many jobs run at a
# time. The others could write anywhere or run commands, so the user has to type them again.
_HARMLESS = re.compile(
    r"\+*hydra/(sweeper|launcher)=\w+"
    r"|\+*hydra\.launcher\.n_jobs=(-1|\d+)"
    r"|\+*hydra\.sweeper\.(n_jobs|max_batch_size)=(\d+|null)"
    r"|\+*hydra\.sweeper\.n_trials=\d+"
    r"|\+*hydra\.sweeper\.sampler\.seed=\w+"
)
_OF_A_SEARCH = re.compile(r"\+*hydra\.sweeper\.params\.(?P<key>\w[\w./]*)=.*")
_CHOICE = re.compile(r"\w[\w-]*")
_PATTERN = re.compile(r"[\w*?-]+")
_OF_MAKING = ("download", "_args_", "_recursive_", "_convert_")  # change how a component is built, or download
MOST_JOBS = 1000  # in a sweep that is resumed from its folder alone
MOST_AT_ONCE = 64  # processes, likewise
_KINDS = (bool, int, float, str, QuotedString, list, dict, type(None), Glob)
_MOST_ARGUMENTS = 200
_MOST_VALUES = 1000  # after references in a folder's overrides are resolved
_NAMED = re.compile(r"_target_['\"]?\s*:\s*['\"]?([\w.]+)")
_MOST_CHOICES = 50  # files of a group
_DEEPEST = 20  # levels of brackets in an override


@dataclass(frozen=True)
class Plan:
    """What a sweeper will do, as far as that is known before it starts.

    Attributes:
        swept: the keys that it sweeps.
        jobs: the overrides of each job; None if the sweeper searches.
        total: the number of jobs; None if it is unknown.
    """

    swept: list[str]
    jobs: list[list[str]] | None
    total: int | None


def plan(config: DictConfig, loader: ConfigLoader) -> Plan:
    """Read the plan of a sweep from its config.

    Args:
        config: the config of the whole sweep, with Hydra's settings.
        loader: knows the options of each group, for `key=glob(*)`.
    """
    sweeper = config.hydra.sweeper
    given = [f"{key}={value}" for key, value in (sweeper.get("params") or {}).items()]
    typed = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    assert isinstance(typed, list)
    overrides = OverridesParser.create(config_loader=loader).parse_overrides([*given, *map(str, typed)])
    swept = [key_of(override.get_key_element()) for override in overrides if override.is_sweep_override()]
    swept += [str(key) for key in sweeper.get("search_space") or {}]
    if sweeper._target_.rpartition(".")[2] != BasicSweeper.__name__:
        return Plan(swept, None, sweeper.get("n_trials"))
    try:
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
    except HydraException:  # Hydra reports the error when it reads the overrides itself
        return Plan(swept, None, None)
    return Plan(swept, jobs, len(jobs))


def continue_search(config: DictConfig, ended: int) -> None:
    """Make a resumed search end after `n_trials` trials in all.

    A study with a storage continues where it was, so only its remaining trials are left to do. A study without one
    starts again. With a seeded sampler it suggests the same trials, and those that have ended are skipped, so its
    sampler is given a seed.

    Args:
        config: the config of the whole sweep, with Hydra's settings; changed in place.
        ended: how many jobs of the sweep have finished, failed or been pruned.
    """
    sweeper = config.hydra.sweeper
    with read_write(config):
        if sweeper.get("storage") is not None:
            sweeper.n_trials = max(0, int(sweeper.n_trials) - ended)
        elif OmegaConf.select(sweeper, "sampler.seed", default=0) is None:
            sweeper.sampler.seed = config.seed


def refuse_senseless_search(config: DictConfig) -> None:
    """Refuse a search without an objective, or in the wrong direction.

    Raises:
        UserError: evaluation is off, or the direction is not minimize.
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
            f"hydra.sweeper.direction is {direction}, but must be minimize. If evaluation.goal is maximize, the "
            "sweeper gets the objective with its sign changed.",
            "Leave hydra.sweeper.direction out.",
        )


# ---- settings -------------------------------------------------------------------------------------------


def settings_of(config: Mapping[str, Any] | DictConfig, *, resolve: bool) -> dict[str, Any]:
    """The settings that decide what a run computes, by dotted key.

    Args:
        config: a composed config.
        resolve: whether `${key}` is replaced by its value.
    """
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    own = OmegaConf.masked_copy(node, [str(key) for key in node if key != "hydra"])
    if resolve:
        found = {
            inner: value
            for path, _ in leaves(OmegaConf.to_container(own, resolve=False))
            for inner, value in leaves(_resolved(own, path), path)
        }
    else:
        found = dict(leaves(OmegaConf.to_container(own, resolve=False)))
    return {dotted(path): value for path, value in found.items() if not is_incidental(dotted(path))}


def _resolved(config: DictConfig, path: KeyPath) -> Any:
    """The plain value at a path; None if it does not resolve."""
    first, *more = path or ("",)
    value = OmegaConf.select(
        config,
        f"{first}{''.join(f'[{step}]' for step in more)}",
        throw_on_resolution_failure=False,
        throw_on_missing=False,
    )
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def choices_of(config: DictConfig) -> dict[str, str]:
    """The option chosen in each group that decides what a run computes."""
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    return {k: v for k, v in choices.items() if "hydra/" not in k and not is_incidental(k)}


def with_later_groups(old: Mapping[str, Any], new: Mapping[str, Any], config: DictConfig) -> dict[str, Any]:
    """The settings of an older sweep, with the defaults of groups that did not exist then, which are empty.

    Args:
        old: settings and options of the older sweep.
        new: settings and options now.
        config: the config now.
    """
    later = (group.name for group in GROUPS if group.optional and group.name in new and not config[group.name])
    return {name: new[name] for name in later} | dict(old)


def hash_of(settings: Mapping[str, Any]) -> str:
    """A hash that is equal for equal settings."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], but: Sequence[str] = ()) -> list[str]:
    """Lines of "key: old -> new" for the settings that differ.

    Args:
        old: as `settings_of` gives them.
        new: likewise.
        but: keys not to compare, with what is below them.
    """
    return [
        f"  {printable(key)}: {_text(old.get(key, 'none'))} -> {_text(new.get(key, 'none'))}"
        for key in sorted(old.keys() | new.keys())
        if not is_below(key, list(but)) and _text(old.get(key)) != _text(new.get(key))
    ]


def _text(value: Any) -> str:
    return json.dumps(value, default=str).strip('"')


# ---- resuming from the folder alone ---------------------------------------------------------------------


@dataclass(frozen=True)
class FromFolder:
    """The command line of a sweep, as its folder has it.

    Attributes:
        words: the arguments for Hydra.
        notes: lines to print: what was left out.
        vouched: components that its jobs may build although they are not on the allow-list, because the user's command
            names them.
    """

    words: list[str]
    notes: list[str]
    vouched: list[str]


def words_of_sweep(arguments: Sequence[str], folder: Path, typed: Typed, parts: Parts) -> FromFolder:
    """The arguments for Hydra that resume a sweep which is named by its folder alone.

    The folder may come from others, so only these are taken from it: options of groups, if they are files of this
    package or of the `--config-dir` that is typed now; values of settings that consist of plain values, references to
    other keys, and components that may be built; which sweeper searches where, and how many jobs run at a time.

    Args:
        arguments: what the sweep was started with, as sweep.json has it.
        folder: the sweep's folder.
        typed: the command now, which overrides `arguments`.
        parts: the components that may be built.

    Raises:
        UserError: `arguments` has anything else.
    """
    type_it = f"Type what started it, and hydra.sweep.dir={quoted(str(folder))}."
    if len(arguments) > _MOST_ARGUMENTS:
        raise UserError(
            f"sweep_resume is {folder}, but its sweep.json is damaged: it has {len(arguments):,} arguments, more than "
            f"{_MOST_ARGUMENTS}.",
            type_it,
        )
    if (word := next((word for word in arguments if not _is_readable(word)), None)) is not None:
        raise UserError(
            f"sweep_resume is {folder}, but that sweep was started with {printable(word)[:200]}. An override in a "
            "sweep's folder must be one line, compute nothing, and be neither too long nor too deeply nested.",
            type_it,
        )
    try:
        stored = OverridesParser.create().parse_overrides(list(arguments))
    except (HydraException, RecursionError, ValueError) as error:
        raise UserError(
            f"sweep_resume is {folder}, but its sweep.json is damaged: {' '.join(str(error).split())}", type_it
        ) from error
    now = [o for o in typed.overrides if key_of(o) != "sweep_resume"]
    keys = set(map(key_of, now))
    kept, refused, notes = [], [], []
    outside = any(_may_log_outside(override) for override in stored)
    jobs = values = 1
    for override in stored:
        text = override.input_line or ""
        key = override.key_or_group
        if key_of(override.get_key_element()) in keys or f"hydra/{'.'.join(key.split('.')[1:2])}" in keys:
            continue  # typed again, or belongs to a launcher or sweeper that is typed again
        if key in OF_A_START:
            continue
        if key.partition(".")[0] == "logger" and outside:
            notes.append(
                f"{printable(text)} from the sweep's folder is ignored: it would send data elsewhere. Type it again if "
                "you want it."
            )
        elif key.rpartition(".")[2] == "download":
            notes.append(
                f"{printable(text)} from the sweep's folder is ignored: it would download. Type it again if you want "
                "it."
            )
        elif times := _jobs_asked_for(override, folder, typed, parts):
            kept.append(text)
            jobs *= times
            values *= max(1, text.count("${"))
        else:
            refused.append(text)
    if refused:
        raise UserError(
            f"sweep_resume is {folder}, but that sweep was started with {printable(command_line(refused))[:1000]}, "
            "which is not taken from a folder, because folders may come from others.",
            "Read it, and type what you want of it after sweep_resume.",
        )
    if jobs > MOST_JOBS:
        raise UserError(
            f"sweep_resume is {folder}, but its sweep.json asks for {jobs:,} jobs. A sweep that is resumed from its "
            f"folder alone has at most {MOST_JOBS:,}.",
            type_it,
        )
    if values > _MOST_VALUES:  # lists of references to lists of references grow exponentially
        raise UserError(
            f"sweep_resume is {folder}, but the settings in its sweep.json have too many references to each other.",
            type_it,
        )
    escaped = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    flags = [flag for flag in typed.flags if flag not in ("-m", "--multirun")]
    words = ["--multirun", *flags, *kept, *now, f"hydra.sweep.dir='{escaped}'"]
    return FromFolder(words, notes, sorted({*parts.trust, *_names_of_the_users(now, typed.config_dir)}))


def _names_of_the_users(typed: Sequence[str], config_dir: str | None) -> set[str]:
    """The classes and functions that the user's command or the files of its `--config-dir` name."""
    found: set[str] = set()
    for override in OverridesParser.create().parse_overrides(list(typed)):
        for value in _values_of(override.value()) or []:
            found |= names_in(_placed(override.key_or_group.split("."), value))
    folders = (*(group.name for group in GROUPS), "experiment")
    for folder in folders if config_dir is not None else ():
        for path in files.listed(Path(str(config_dir), folder), "*.yaml", link=True):
            with files.opened(path) as file:
                found |= set(_NAMED.findall(file.read(LARGEST).decode(errors="replace")))
    return found


def _placed(path: Sequence[str], value: Any) -> Any:
    """A value nested in mappings of one key, so that it is at `path`."""
    return functools.reduce(lambda inner, name: {name: inner}, reversed(path), value)


def _is_readable(text: str) -> bool:
    """Whether an override is short and shallow enough for Hydra's parser, and printable on one line."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return len(text) <= LONGEST and deepest <= _DEEPEST and is_plain(text) and is_one_line(text)


def _may_log_outside(override: Override) -> bool:
    """Whether an override chooses a logger other than TensorBoard, which writes only into the jobs' folders."""
    group, *below = override.key_or_group.split(".")
    of_no_choice = below and not any("_target_" in path for path, _ in nodes(_placed(below, override.value())))
    return group == "logger" and not of_no_choice and override.value() != "tensorboard"


def _jobs_asked_for(override: Override, folder: Path, typed: Typed, parts: Parts) -> int:
    """By how much an override from a sweep's folder multiplies the number of jobs; 0 if it is not allowed there.

    Raises:
        UserError: it names a component that may not be built.
    """
    key, element, text = override.key_or_group, key_of(override.get_key_element()), override.input_line or ""
    value = override.value()
    if key.startswith("hydra"):
        if found := _OF_A_SEARCH.fullmatch(text):
            # Hydra would resolve a reference, and parse a list or mapping again after printing it
            if "$" in text or isinstance(value, list | dict):
                return 0
            given = _plain(value) if isinstance(value, str | QuotedString) else text.partition("=")[2]
            return _jobs_of_a_search(f"{found['key']}={given}", folder, typed, parts)
        return int(bool(_HARMLESS.fullmatch(text)) and (not isinstance(value, int) or value <= MOST_AT_ONCE))
    group, *below = key.split(".")
    values = _values_of(value)
    if element != key or values is None or group not in {"seed", "experiment", *(each.name for each in GROUPS)}:
        return 0
    if override.is_delete():
        return 1
    # Hydra's parser removes backslashes, which can turn plain text into an interpolation.
    if not all(is_plain_with_any(leaf) for each in values for _, leaf in leaves(each) if isinstance(leaf, str)):
        return 0
    if not below and group != "seed" and not any(isinstance(each, dict) for each in values):
        chosen = bool(values) and all(each is None or _is_choice(group, each, typed) for each in values)
        return _points(value) if chosen else 0
    for each in values:
        tree = _placed(below, each)
        if any(word in path for path, _ in nodes(tree) for word in _OF_MAKING):
            return 0
        parts.hold(tree, group, (group,), f"sweep_resume is {folder}, but its sweep.json")
    return _points(value)


def _jobs_of_a_search(text: str, folder: Path, typed: Typed, parts: Parts) -> int:
    """`_jobs_asked_for` of an override that a search passes to each job."""
    try:
        override = OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError, ValueError):
        return 0
    return 0 if override.key_or_group.startswith("hydra") else _jobs_asked_for(override, folder, typed, parts)


def _is_choice(group: str, value: object, typed: Typed) -> bool:
    """Whether a value names a file of a group, in this package or in the `--config-dir` that is typed now."""
    name = str(value)
    if isinstance(value, Glob):
        return all(_PATTERN.fullmatch(pattern) for pattern in (*value.include, *value.exclude))
    if not isinstance(value, str) or not _CHOICE.fullmatch(name):
        return False
    ours = resources.files(CONFIG_MODULE).joinpath(group, f"{name}.yaml").is_file()
    return ours or (typed.config_dir is not None and Path(typed.config_dir, group, f"{name}.yaml").is_file())


def _values_of(value: Any) -> list[Any] | None:
    """The values that an override can give its key, none for a range; None for anything else."""
    if isinstance(value, ChoiceSweep):
        return [_plain(each) for each in value.list]
    if isinstance(value, RangeSweep | IntervalSweep):
        return []
    return [_plain(value)] if isinstance(value, _KINDS) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.text if isinstance(value, QuotedString) else value


def _points(value: Any) -> int:
    """How many values an override gives, as far as it says so itself."""
    if isinstance(value, Glob):
        return _MOST_CHOICES
    if isinstance(value, ChoiceSweep):
        return max(1, len(value.list))
    if not isinstance(value, RangeSweep):
        return 1
    start, stop, step = (0 if end is None else float(end) for end in (value.start, value.stop, value.step))
    steps = (stop - start) / step if step else math.inf
    return max(1, math.ceil(steps)) if math.isfinite(steps) else MOST_JOBS + 1


def hold_to_parts(config: DictConfig, parts: Parts, asking: str) -> None:
    """Refuse a job's config that names other parts than it may have made, before anything is imported.

    Args:
        config: the job's, as composed.
        parts: what it may have made.
        asking: who asks for it, for messages.

    Raises:
        UserError: it names another one.
    """
    for group in GROUPS:
        if OmegaConf.is_config(node := config.get(group.name)):
            parts.hold(OmegaConf.to_container(node, resolve=True), group.name, (group.name,), asking)


def names_typed(config: DictConfig) -> list[str]:
    """The classes and functions that a config of the user's own names besides the table's: what is typed is trusted."""
    return sorted(name for name in names_in(OmegaConf.to_container(config, resolve=False)) if name not in table())


def in_own_process() -> bool:
    """Whether the job at hand has been started by a launcher in a process of its own."""
    target: str = HydraConfig.get().launcher._target_
    return target.rpartition(".")[2] != "BasicLauncher"
