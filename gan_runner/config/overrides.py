"""Overrides: `key=value` as the shell passes it, and in Hydra's grammar.

Hydra reads `1e3` as a number, `a,b` as two values, and cannot read `archive (1)` at all. For a key that takes a path,
the text is the path, whatever its characters; for other keys, what Hydra cannot parse is text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from pkgutil import resolve_name

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse
from yaml import YAMLError

import gan_runner
from gan_runner import CONFIG_MODULE
from gan_runner.building.signatures import hints_of, is_path
from gan_runner.config.groups import GROUPS
from gan_runner.errors import UserError
from gan_runner.machine.files import at_home
from gan_runner.override import Override

# The commands' own keys that take paths, and may be null.
_SETTINGS = frozenset({"resume", "sweep_resume", "run", "runs", "others", "samples", "output", "sweep"})
# Keys of parts of this package, and of Hydra. Parts of the user's own say by an annotation which parameters are paths.
_FOLDERS_OF_HYDRA = re.compile(r"hydra\.(run|sweep)\.dir")
_OF_PARTS = re.compile(rf"data(\.\w+)*\.root|{_FOLDERS_OF_HYDRA.pattern}")
# Chosen in every config of gan-run, so that a plus has nothing to add.
_CHOSEN = frozenset({"experiment", *(group.name for group in GROUPS)})
# gan-augment's settings of another command, of which its own config has only some: none of them needs a plus.
_OF_ANOTHER_COMMAND = "gan."
_CHOICE = re.compile(r"\w[\w-]*")
_FUNCTION = re.compile(r"(choice|glob|shuffle|sort|tag|str)\(.*\)")


def takes_a_path(key: str) -> bool:
    """Whether a key of a command, of this package's parts or of Hydra takes a path."""
    return key in _SETTINGS or _OF_PARTS.fullmatch(key) is not None


def in_hydras_grammar(
    words: Sequence[str],
    config_dir: str | None = None,
    *,
    sweep: bool = False,
    names: Mapping[str, str] | None = None,
) -> list[str]:
    """Overrides as the shell passes them, in Hydra's grammar.

    Args:
        words: such as "data.root=archive (1)".
        config_dir: the user's folder of YAML files, if one is named.
        sweep: whether commas part values, of paths too.
        names: other names of keys.

    Raises:
        UserError: a path is empty, as that of a shell's variable that is not set.
    """
    overrides = [override for word in words for override in _with_each_choice(Override.of(word))]
    targets = _Targets(overrides, config_dir)
    return [str(_for_hydra(override, targets, sweep, names or {})) for override in overrides]


def _with_each_choice(override: Override) -> list[Override]:
    """Several choices of a group that has a file `several`, such as "logger=[tensorboard,mlflow]", as its parts."""
    group, text = override.key, override.value or ""
    if group not in _CHOSEN or override.sign == "~" or not text.startswith("["):
        return [override]
    choices = reading(text)
    if not isinstance(choices, list) or not all(isinstance(c, str) and _CHOICE.fullmatch(c) for c in choices):
        return [override]
    if not choices or not resources.files(CONFIG_MODULE).joinpath(group, "several.yaml").is_file():
        return [override]
    parts = [Override("+", f"{group}@{group}.parts.{choice}", choice) for choice in dict.fromkeys(choices)]
    return [Override("", group, "several"), *parts]


def _for_hydra(override: Override, targets: _Targets, sweep: bool, names: Mapping[str, str]) -> Override:
    sign, key, value = override.sign, names.get(override.key, override.key), override.value
    if sign.startswith("+") and (key in _SETTINGS | _CHOSEN or _FOLDERS_OF_HYDRA.fullmatch(key)):
        sign = ""
    elif key.startswith(_OF_ANOTHER_COMMAND) and sign != "~":
        sign = "++"
    if value is None or sign == "~":
        return Override(sign, key, value)
    if takes_a_path(key) or (not _is_itself(value) and targets.take_a_path(key)):
        value = _path(key, value, sweep)
    elif (found := reading(value)) is UNREADABLE:
        value = _quoted(value)
    elif isinstance(found, str) and not _parses(value) and _parses(found):
        value = _quoted(found)
    return Override(sign, key, value)


def _path(key: str, text: str, sweep: bool) -> str:
    if sweep and key not in _SETTINGS and not key.startswith("hydra."):
        if _FUNCTION.fullmatch(text) and reading(text) is not UNREADABLE:
            return text
        return ",".join(_one_path(key, piece) for piece in _pieces(text))
    return _one_path(key, text)


def _one_path(key: str, text: str) -> str:
    if not text:
        raise UserError(
            f"{key} is empty, but must name a folder or a file.",
            f"Give {key} a path, or leave it out; perhaps a shell variable is not set.",
        )
    if text == "null" and not _OF_PARTS.fullmatch(key):
        return text
    if _is_quoted(text) and not os.path.lexists(text):
        return text  # for Hydra, as the pages of its own advise
    text = path_of(text)
    return text if _is_itself(text) else _quoted(text)


def path_of(text: str) -> str:
    """What a shell makes of a path where it sees one begin: `~` is a home, unless there is a file of that very name."""
    return text if os.path.lexists(text) else at_home(text)


def _pieces(text: str) -> list[str]:
    """The values of a sweep: parted at commas that are in no quotes and no interpolation."""
    return [piece.strip() for piece in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\$\{[^}]*\}|[^,])+|(?<=,)(?=,|$)", text)]


def _quoted(text: str) -> str:
    """A text as Hydra and OmegaConf read it back, letter by letter; interpolations are interpolated."""
    if "${" in text and not _interpolates(text):
        text = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)
    single, double = (QuotedString(text, quote).with_quotes() for quote in (Quote.single, Quote.double))
    # Hydra keeps what was typed in its config too, where a quote behind a backslash breaks an interpolation.
    return double if not _parses(single) and _parses(double) else single


def _interpolates(text: str) -> bool:
    """Whether every `${` begins an interpolation; behind a backslash it is a name of Windows, or meant as it stands."""
    return r"\${" not in text and _parses(text)


def _parses(text: str) -> bool:
    """Whether OmegaConf can read a text."""
    try:
        parse(text)
    except OmegaConfBaseException:
        return False
    return True


UNREADABLE = object()


def reading(text: str) -> object:
    """What Hydra makes of a value."""
    try:
        return OverridesParser.create().parse_override(f"key={text}").value()
    except (HydraException, RecursionError):
        return UNREADABLE


def _is_itself(text: str) -> bool:
    """Whether Hydra reads a text as that text."""
    return reading(text) == text and ("${" not in text or _interpolates(text))


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and isinstance(reading(text), str)


class _Targets:
    """The classes and functions of the user's own that overrides and files name, looked up when a key asks."""

    def __init__(self, overrides: Sequence[Override], config_dir: str | None) -> None:
        self._values = {override.key: override.value for override in overrides if override.value is not None}
        self._config_dir = config_dir

    def take_a_path(self, key: str) -> bool:
        """Whether the parameter that a key sets is annotated as a path; only parts of the user's own are looked at."""
        owner, _, name = key.rpartition(".")
        target = self._values.get(f"{owner}._target_") or self._in_a_file(owner)
        if not owner or not isinstance(target, str) or target.startswith(f"{gan_runner.__name__}."):
            return False
        try:
            return is_path(hints_of(resolve_name(target)).get(name))
        except Exception:  # of the user's own module; told where it is imported for good
            return False

    def _in_a_file(self, owner: str) -> object:
        group, _, rest = owner.partition(".")
        if self._config_dir is None or not (choice := self._values.get(group)):
            return None
        try:
            config = OmegaConf.load(Path(self._config_dir, group, f"{choice}.yaml"))
            return OmegaConf.select(config, f"{rest}._target_" if rest else "_target_")
        except (OSError, ValueError, YAMLError, OmegaConfBaseException):
            return None
