"""What was typed after a command's name: Hydra's options, and overrides in Hydra's grammar."""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from gan_runner.config.overrides import in_hydras_grammar, path_of
from gan_runner.errors import UserError, either
from gan_runner.override import Override

_SWEEP = frozenset({"-m", "--multirun"})


def named_folders(typed: str | Sequence[str]) -> list[str]:
    """The folders in `[A,B,C]`, `A,B,C` or `A`, as it was typed, or in a list.

    A comma may be part of a folder's name, as in most jobs' names: the longest existing names are taken.
    """
    if not isinstance(typed, str):
        return [str(folder) for folder in typed]
    if Path(typed).is_dir():
        return [typed]
    pieces = (typed.removeprefix("[").removesuffix("]") if typed.startswith("[") else typed).split(",")
    folders = []
    while pieces:
        names = [",".join(pieces[:end]).strip(" '\"") for end in range(len(pieces), 0, -1)]
        name = next((name for name in names if name and Path(name).is_dir()), names[-1])
        pieces = pieces[len(pieces) - names.index(name) :]
        folders += [name] if name else []
    return folders


@dataclass(frozen=True)
class Typed:
    """A command line in its parts.

    Attributes:
        flags: Hydra's own options, with their values.
        overrides: the rest, in Hydra's grammar.
    """

    flags: list[str]
    overrides: list[str]

    @property
    def arguments(self) -> list[str]:
        """The whole command line in Hydra's order: options first."""
        return [*self.flags, *self.overrides]

    @property
    def multirun(self) -> bool:
        """Whether a sweep is asked for."""
        return bool(_SWEEP & set(self.flags)) or "hydra.mode=MULTIRUN" in self.overrides

    @property
    def config_dir(self) -> str | None:
        """The folder of further YAML files, where one is named."""
        return config_dir_of(self.flags)

    def value_of(self, key: str) -> object:
        """The value that an override gives a key; None if there is none, or if it cannot be parsed."""
        for override in self.overrides:
            if (parts := Override.of(override)).key == key and parts.value is not None:
                try:
                    return OverridesParser.create().parse_override(override).value()
                except HydraException:
                    return None
        return None


def config_dir_of(words: Sequence[str]) -> str | None:
    """The folder that `--config-dir` names; None if it is not given."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd", nargs="?")
    found: str | None = parser.parse_known_args(list(words))[0].config_dir
    return found


# The command's arguments as typed, and as passed to Hydra.
_words: ContextVar[Sequence[str]] = ContextVar("_words", default=())
_arguments: ContextVar[Sequence[str] | None] = ContextVar("_arguments", default=None)


def keep_words(words: Sequence[str]) -> None:
    """Keep a command's arguments as they were typed."""
    _words.set(list(words))


@contextlib.contextmanager
def command_in_python(words: Sequence[str], arguments: Sequence[str]) -> Iterator[None]:
    """While a Python function executes a command.

    Args:
        words: the arguments that would have been typed, with the command's name first.
        arguments: what follows the name, as Hydra takes it.
    """
    tokens = _words.set(list(words)), _arguments.set(list(arguments))
    try:
        yield
    finally:
        _words.reset(tokens[0])
        _arguments.reset(tokens[1])


def command_line() -> list[str]:
    """The command that was typed, as a list of arguments; in a launcher's own process, that process's command."""
    command, *arguments = _words.get() or sys.argv
    return [Path(command).name, *arguments]


def hydras_arguments() -> list[str]:
    """What follows the command's name, as Hydra takes it."""
    arguments = _arguments.get()
    return sys.argv[1:] if arguments is None else list(arguments)


def parted(arguments: Sequence[str]) -> Typed:
    """Separate Hydra's options from overrides, in any order.

    Raises:
        UnknownOptionError: an argument begins with a dash but is not an option.
    """
    flags: list[str] = []
    overrides: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        option = option_named(name)
        if option is None or (equals and not option.takes_a_value):
            raise UnknownOptionError(word)
        flags.append(option.name)
        if not option.takes_a_value:
            continue
        if not equals and words and (not option.optional or words[0] in option.choices):
            value = words.pop(0)
        value = value or option.left_out
        if option.choices and value not in option.choices:
            raise UserError(
                f"{option.name} is {value or 'without a value'}, but must be {either(option.choices)}.",
                f"Try {option.name} {option.choices[0]}",
            )
        if option.name in ("--config-dir", "-cd"):
            value = _existing(option.name, path_of(value))
        flags += [value] if value else []
    return Typed(flags, overrides)


def _existing(option: str, folder: str) -> str:
    if Path(folder).is_dir() and folder:
        return folder
    raise UserError(
        f"{option} is {folder or 'without a value'}, but there is no such folder.",
        "Give the folder of your YAML files, in which each group of the config is a folder.",
    )


class UnknownOptionError(UserError):
    """An argument that begins with a dash and is not one of Hydra's options.

    Attributes:
        word: as it was typed.
    """

    def __init__(self, word: str) -> None:
        super().__init__(f"There is no option {word}.", "A setting is KEY=VALUE, without dashes; see --help.")
        self.word = word


@dataclass(frozen=True)
class Option:
    """An option of Hydra's.

    Attributes:
        name: as it is passed on.
        takes_a_value: whether a value follows.
        choices: what that may be; () for any.
        optional: whether the value may be left out.
        left_out: what that means.
    """

    name: str
    takes_a_value: bool
    choices: tuple[str, ...] = ()
    optional: bool = False
    left_out: str = ""


@functools.cache
def option_named(name: str) -> Option | None:
    """Hydra's option that an argument names, in full or by a prefix; None if there is none."""
    from hydra._internal.utils import get_args_parser

    options = get_args_parser()._option_string_actions
    if name not in options:
        longer = [option for option in options if name.startswith("--") and option.startswith(name) and name != "--"]
        if len(longer) != 1:
            return None
        (name,) = longer
    action = options[name]
    left_out = action.const if action.nargs == "?" and action.const else ""
    return Option(name, action.nargs != 0, tuple(action.choices or ()), action.nargs == "?", left_out)


def typed(arguments: Sequence[str], names: Mapping[str, str] | None = None) -> Typed:
    """The arguments from the shell, in Hydra's grammar.

    Args:
        arguments: the words after the command's name.
        names: other names of keys, such as {"evaluation": "metrics.numbers"}.

    Raises:
        UserError: an unknown option, or an empty path.
    """
    words = parted(arguments)
    return Typed(words.flags, in_hydras_grammar(words.overrides, words.config_dir, sweep=words.multirun, names=names))


def typed_overrides(hydra: DictConfig | None = None) -> list[str]:
    """The overrides of a job's config, without Hydra's own settings.

    Args:
        hydra: Hydra's part of the job's config; by default the job at hand.
    """
    # Hydra keeps them in a config, which would replace ${...} by values.
    overrides = OmegaConf.to_container((hydra or HydraConfig.get()).overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]


def shown(path: Path) -> Path:
    """A path relative to the folder in which the command was typed, if it is below it."""
    path, here = path.absolute(), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
