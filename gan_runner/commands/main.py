"""The commands: compose a config, hand it on, and put what goes wrong into words.

PyTorch is imported by the job, not here, so that help and completion answer at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha1
from importlib import resources
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from gan_runner import CONFIG_MODULE
from gan_runner.errors import UserError, closest, either, was_told

# OpenMP's threads spin for long while they wait, which makes jobs that share a processor's cores ten times slower; a
# short spin costs one that has them to itself next to nothing.
OPENMP = {"GOMP_SPINCOUNT": "10000"}

_LONGEST_FOLDER_NAME = 160


def run() -> None:
    """`gan-run`: train; with `-m` a sweep; with `resume=DIR` go on with a run."""
    with _explained("config"):
        arguments = _with_paths_quoted(sys.argv[1:], ["resume"])
        if any(argument.startswith("resume=") for argument in arguments):
            from gan_runner.config.resuming import arguments_to_resume

            arguments = arguments_to_resume(arguments)
        _launch("config", _train, arguments)


def _train(config: DictConfig) -> float | None:
    # Not inside `run`: launchers that start processes find it by its name, and this module with it.
    from gan_runner.commands.train import run_job

    with _without_hydras_line():
        return run_job(config)


def check() -> None:
    """`gan-check`: look over what `gan-run` would do with the same overrides; with `-m` every job of a sweep."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.check import check_job

        with _without_hydras_line():
            check_job(config, verdicts)

    verdicts: list[str] = []
    arguments = sys.argv[1:]
    with _explained("check"), tempfile.TemporaryDirectory() as folder:
        nowhere = [f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"]
        try:
            _launch("check", job, [*arguments, *nowhere])
        finally:
            if {"-m", "--multirun"} & set(arguments):
                print(*verdicts, sep="\n")


def sample() -> None:
    """`gan-sample`: pictures from a run."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.sample import sample_job

        with _without_hydras_line():
            sample_job(config)

    with _explained("sample"):
        _launch("sample", job, _with_paths_quoted(sys.argv[1:], ["run", "output"]))


def compare() -> None:
    """`gan-compare`: runs side by side."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.compare import compare_job

        with _without_hydras_line():
            compare_job(config)

    with _explained("compare"):
        _launch("compare", job, _with_paths_quoted(sys.argv[1:], ["sweep", "runs", "output"]))


def _launch(config_name: str, job: Callable[[DictConfig], object], arguments: list[str]) -> None:
    for name, value in OPENMP.items():  # read once, when PyTorch is loaded
        os.environ.setdefault(name, value)
    # Hydra would print errors in its own words and leave; this has it raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = arguments
    hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(job)()


def job_folder(number: int, overrides: str) -> str:
    """Name a sweep job's folder by its overrides, as far as a folder's name can hold them.

    No two jobs of a sweep get the same name: what is left out is told apart by a hash.

    Args:
        number: the job's number in the sweep.
        overrides: such as "model.dropout=0.1,optimizer.lr=0.0001".
    """
    name = re.sub(r"[^\w.,=+-]+", "_", overrides)[:_LONGEST_FOLDER_NAME]
    if name != overrides:
        name = f"{name}-{sha1(overrides.encode()).hexdigest()[:8]}"
    return name or str(number)


def new_folder(path: str) -> str:
    """Make a folder for a run or a sweep to begin in, and give its name: `path`, or `path-2` where that is taken."""
    for name in itertools.chain([path], (f"{path}-{number}" for number in itertools.count(2))):
        with contextlib.suppress(FileExistsError):
            Path(name).mkdir(parents=True)
            return name
    raise AssertionError("never out of numbers")


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("new_folder", new_folder, replace=True, use_cache=True)


def _with_paths_quoted(arguments: list[str], keys: list[str]) -> list[str]:
    """Quote paths for Hydra, to which a sweep folder's commas and equals signs would mean something else.

    These keys are in the config already: a plus before one has nothing to add.
    """
    quoted = []
    for argument in arguments:
        key, equals, value = argument.lstrip("+").partition("=")
        if not equals or key not in keys:
            quoted.append(argument)
        elif value in ("", "null") or value[0] in "'\"":
            quoted.append(f"{key}={value}")
        else:
            escaped = value.replace("\\", "\\\\").replace("'", "\\'")
            quoted.append(f"{key}='{escaped}'")
    return quoted


@contextlib.contextmanager
def _explained(config_name: str) -> Iterator[None]:
    """Leave with one message where the user can put things right; anything else is a bug and keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if was_told(error):
            _leave("")
        elif isinstance(error, ConfigCompositionException | MissingConfigException):
            _leave(explain(error, config_name))
        elif isinstance(error, OverrideParseException):
            _leave(_explain_grammar(error))
        elif isinstance(error, HydraException):
            _leave(str(error))
        elif "Config group override must be a string" in str(error):
            _leave(_explain_no_choice())
        elif isinstance(error, OmegaConfBaseException):
            _leave(f"The config does not resolve: {error}\n  Look for the ${{...}} that it names.")
        elif isinstance(error, YAMLError):
            _leave(f"A YAML file of the config cannot be read: {error}\n  Mend it there, or leave out what chooses it.")
        elif isinstance(error, OSError) and error.filename:
            _leave(f"{error.filename} cannot be used: {error.strerror}.\n  Give another folder or file.")
        raise


@contextlib.contextmanager
def _without_hydras_line() -> Iterator[None]:
    """Leave a single run with its one message: to an error that reaches Hydra, it adds a line that says less.

    In a sweep the error goes through, for Hydra to tell which job failed and to go on with the others.
    """
    try:
        yield
    except UserError as error:
        if HydraConfig.get().mode is not RunMode.RUN:
            raise
        _leave("" if was_told(error) else str(error))


class BelowError(logging.Filter):
    """Keeps errors out of a handler's output: conf/config.yaml has them go to stderr, the rest to stdout."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this is said on stdout."""
        return record.levelno < logging.ERROR


def _leave(message: str) -> NoReturn:
    if message:
        print(message, file=sys.stderr)
    sys.exit(1)


def explain(error: HydraException, config_name: str) -> str:
    """Put Hydra's refusal of an override into this program's words: key, value, rule, what to type."""
    text = str(error)
    if found := re.search(r"Could not override '([^']+)'", text):
        return _explain_unknown_key(found[1], config_name)
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options: list[str] = re.findall(r"\t(\S+)", text.partition("Config search path")[0])
        return _explain_unknown_choice(found[1], found[2], options)
    return text


def _explain_unknown_choice(group: str, choice: str, options: list[str]) -> str:
    similar = closest(choice, options)
    remedy = f"Try {group}={similar or options[0]}"
    kind = group.removeprefix("hydra/")
    if not similar and kind in ("launcher", "sweeper"):
        # Hydra's own plug-ins are named like hydra-submitit-launcher, which brings submitit_local and submitit_slurm.
        remedy += f", or install the plug-in, such as: pip install hydra-{choice.partition('_')[0]}-{kind}"
    return f"{group} is {choice}, but must be {either(options)}.\n  {remedy}."


def _explain_unknown_key(key: str, config_name: str) -> str:
    config = _composed_by_choices(config_name)
    parent = key
    node: object = None
    while parent and not isinstance(node, DictConfig):
        parent = parent.rpartition(".")[0]
        node = OmegaConf.select(config, parent) if parent else config
    assert isinstance(node, DictConfig)
    prefix = f"{parent}." if parent else ""
    names = [f"{prefix}{name}" for name in map(str, node) if not name.startswith("_")]
    name = key.rpartition(".")[2]
    elsewhere = [setting for setting in _settings(config) if setting.rpartition(".")[2] == name]
    similar = closest(key, names)
    if elsewhere and (not similar or key != prefix + name):
        remedy = f"Did you mean {either(elsewhere)}?"
    elif similar:
        remedy = f"Did you mean {similar}?"
    elif names:
        remedy = f"{parent or config_name} has: {', '.join(names)}."
    else:
        remedy = f"Leave it out: {parent} has no keys here."
    return f"There is no key {key} here.\n  {remedy}"


def _settings(config: DictConfig, path: str = "") -> Iterator[str]:
    """The keys of plain values, but for Hydra's, those nearest to the top first."""
    nodes = []
    for key in map(str, config):
        node = OmegaConf.select(config, key, throw_on_missing=False) if key != "hydra" else None
        if isinstance(node, DictConfig):
            nodes.append((node, f"{path}{key}."))
        else:
            yield f"{path}{key}"
    for node, prefix in nodes:
        yield from _settings(node, prefix)


def _explain_grammar(error: OverrideParseException) -> str:
    key, equals, value = error.override.partition("=")
    if not equals:
        return f"{key} lacks an equals sign: a setting is KEY=VALUE.\n  Try {key}=VALUE or KEY={key}, or see --help."
    return f"{key} is {value}, which cannot be read as a value.\n  In quotes anything can: '{key}=\"{value}\"'"


# Groups whose name makes one expect a number, and the key that takes it.
_TAKES_THE_NUMBER = {"learning_rate": "optimizer.lr"}


def _explain_no_choice() -> str:
    """Put Hydra's refusal of `group=null` or of a number for a choice into this program's words."""
    arguments = [argument for argument in sys.argv[1:] if "=" in argument and not argument.startswith("-")]
    folder = resources.files(CONFIG_MODULE)
    for override in OverridesParser.create().parse_overrides(arguments):
        group, value = override.key_or_group, override.value()
        if isinstance(value, str | list) or not group or not folder.joinpath(group).is_dir():
            continue
        if value is None:
            return (
                f"{group} is chosen as nothing, but a group needs one of its choices.\n"
                f"  Leave {group} out, or see --help."
            )
        choices = sorted(file.name.removesuffix(".yaml") for file in folder.joinpath(group).iterdir())
        remedy = f"Try {_TAKES_THE_NUMBER.get(group, group)}={value if group in _TAKES_THE_NUMBER else choices[0]}."
        return f"{group} is {value}, but must be {either(choices)}.\n  {remedy}"
    return "A group is chosen as what is no name.\n  See --help for the choices."


def _composed_by_choices(config_name: str) -> DictConfig:
    """Compose what was asked for as far as choices of groups go, which is where the keys come from."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    choices = [argument for argument in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w]+", argument)]
    if folder := get_args_parser().parse_args(sys.argv[1:]).config_dir:
        choices.append(f"hydra.searchpath={json.dumps(['file://' + os.path.abspath(folder)])}")
    with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        try:
            return compose(config_name, overrides=choices)
        except HydraException:
            return compose(config_name)
