"""What was typed after a command's name, before and after Hydra has read it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

# Hydra's options that take a value in a word of their own.
_WITH_A_VALUE = (
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--config-dir",
    "-cd",
    "--package",
    "-p",
    "--info",
    "-i",
)


def named_folders(typed: str | Sequence[str]) -> list[str]:
    """The folders in `[A,B,C]` or `A`, as it was typed, or in a list.

    A comma that is part of a folder's name, as of most jobs', parts nothing: the longest names that there are count.
    """
    if not isinstance(typed, str):
        return [str(folder) for folder in typed]
    pieces = typed.removeprefix("[").removesuffix("]").split(",") if typed.startswith("[") else [typed]
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
        overrides: the rest.
    """

    flags: list[str]
    overrides: list[str]

    @property
    def multirun(self) -> bool:
        """Whether a sweep is asked for."""
        return bool({"-m", "--multirun"} & set(self.flags))

    @property
    def config_dir(self) -> str | None:
        """The folder of further YAML files, where one is named."""
        parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
        parser.add_argument("--config-dir", "-cd")
        found: str | None = parser.parse_known_args(self.flags)[0].config_dir
        return found

    def value_of(self, key: str) -> object:
        """The value that an override gives a key; None where none does, or where it cannot be read as one."""
        for override in self.overrides:
            name, equals, _ = override.lstrip("+").partition("=")
            if equals and name == key:
                try:
                    return OverridesParser.create().parse_override(override).value()
                except OverrideParseException:
                    return None
        return None


_words: list[str] = []  # of the command, before anything is made of them for Hydra


def keep_words(words: list[str]) -> None:
    """Keep the words of a command as they were typed."""
    _words[:] = words


def command_line() -> list[str]:
    """The command that was typed, word by word; in a launcher's own process what that calls itself."""
    command, *arguments = _words or sys.argv
    return [Path(command).name, *arguments]


def typed(arguments: list[str]) -> Typed:
    """Tell Hydra's options from overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    waiting = False
    for argument in arguments:
        if waiting or argument.startswith("-"):
            flags.append(argument)
            waiting = not waiting and argument in _WITH_A_VALUE
        else:
            overrides.append(argument)
    return Typed(flags, overrides)


def typed_overrides(hydra: DictConfig | None = None) -> list[str]:
    """What the user typed to compose a job's config, Hydra's own settings left out.

    Args:
        hydra: Hydra's part of the job's config; by default the job at hand.
    """
    # Hydra keeps them in a config, which would put values in the place of what is typed as ${...}.
    overrides = OmegaConf.to_container((hydra or HydraConfig.get()).overrides.task, resolve=False)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]


def shown(path: Path) -> Path:
    """A path as one would type it where the command was typed."""
    path, here = path.absolute(), Path.cwd()
    moved = HydraConfig.initialized() and here != Path(HydraConfig.get().runtime.cwd)  # as hydra.job.chdir does
    return path if moved or not path.is_relative_to(here) else path.relative_to(here)
