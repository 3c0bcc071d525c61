"""Common mistakes on the command line: `--lr 1e-4`, `model = dcgan`, `lr: 1e-4`, typographic quotes.

They are refused with the whole corrected command, ready to paste; nothing is corrected silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import Sweep
from omegaconf import DictConfig, ListConfig, OmegaConf

from gan_runner.building.signatures import as_typed
from gan_runner.config.command_line import UnknownOptionError, command_line, option_named, parted
from gan_runner.config.explaining import choices_of, settings, whole_keys
from gan_runner.config.overrides import UNREADABLE, reading, takes_a_path
from gan_runner.errors import UserError, closest
from gan_runner.machine import shell
from gan_runner.override import Override

_KEY = re.compile(r"[\w$][\w$./-]*(@[\w$./:]*)?")
_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("\u201c\u201d\u201e\xab\xbb", '"'),
        **dict.fromkeys("\u2018\u2019\u201a", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        "\N{EM DASH}": "--",
        "\N{NO-BREAK SPACE}": " ",
        "\N{FULLWIDTH EQUALS SIGN}": "=",
        "\N{FULLWIDTH COMMA}": ",",
    }
)


def refuse_mistyped(arguments: Sequence[str], compose: Callable[[], DictConfig], *, sweeps: bool) -> None:
    """Refuse arguments that are neither an option nor an override, and several values outside of a sweep.

    Args:
        arguments: the words after the command's name.
        compose: gives what the command composes, for the names of keys and their values.
        sweeps: whether the command has sweeps.

    Raises:
        UserError: there is such an argument; the message has the whole corrected command.
    """
    problem = _problem(arguments)
    if problem is None:
        return
    meant = _Mended(compose(), sweeps=sweeps).words(arguments)
    if meant != list(arguments) and _problem(meant) is None:
        command = shell.command_line([command_line()[0], *meant])
        raise UserError(problem, f"Try: {command}")
    raise UserError(problem, "The keys and what they may be are in --help.")


def _problem(arguments: Sequence[str]) -> str | None:
    """The problem with the first wrong argument; None if there is none."""
    try:
        words = parted(arguments)
    except UnknownOptionError as error:
        return f"{error.word} is not an option: a setting is KEY=VALUE, without dashes."
    for word in words.overrides:
        override = Override.of(word)
        key, value = override.key, override.value
        if plain(word.partition("=")[0]) != word.partition("=")[0]:
            return f"{word} has typographic quotes, dashes or spaces, which are not allowed in a setting."
        if value is None and override.sign != "~":
            return f"{word} lacks an equals sign: a setting is KEY=VALUE, in one word."
        if not _KEY.fullmatch(key):
            return f"{word} names no key: a setting is KEY=VALUE, in one word."
        if value is None or takes_a_path(key):
            continue
        found = reading(value)
        if len(_overrides_in(word)) > 1:
            return f"{word} is one word, but several settings: quotes go around each."
        if found is UNREADABLE and _mended_value(value) != value:
            return f"{key} is {value}, which cannot be parsed as a value."
        if isinstance(found, Sweep) and not words.multirun:
            return f"{key} is {value}: several values, which only a sweep takes (-m), or a list in brackets."
    return None


def plain(text: str) -> str:
    """A text with typographic quotes, dashes and spaces replaced by plain ones."""
    return text.translate(_TYPOGRAPHIC)


def _mended_value(value: str) -> str:
    """A value without what is often left around it; itself where that does not help."""
    text = plain(value)
    inner = text.strip(" ,;'\"`")
    for attempt in (inner, text) if re.fullmatch(r"[\w.,+-]+", inner) else (text, text.strip(" ,;"), inner):
        if attempt and attempt != value and reading(attempt) is not UNREADABLE:
            return attempt
    return value


def _overrides_in(word: str) -> list[str]:
    """The overrides that have come to be one word, as quotes around them all make of them."""
    parts = word.split()
    together = len(parts) > 1 and all(re.match(rf"\+*{_KEY.pattern}=.", part) for part in parts)
    return parts if together and not takes_a_path(Override.of(word).key) else [word]


class _Mended:
    """A command line as it was probably meant.

    Args:
        config: what the command composes, for the names of keys and their values.
        sweeps: whether the command has sweeps.
    """

    def __init__(self, config: DictConfig, *, sweeps: bool) -> None:
        self._config = config
        self._sweeps = sweeps
        self._settings = list(settings(config))
        self._groups = {str(key): list(choices_of(str(key))) for key in ("experiment", *map(str, config))}

    def words(self, arguments: Sequence[str]) -> list[str]:
        """Give options and overrides."""
        left, done = list(arguments), list[str]()
        while left:
            word = left.pop(0)
            bare = plain(word)
            if bare.startswith("-"):
                self._option(bare, left, done)
            elif done and (joined := self._joined(done[-1], word)) is not None:
                done[-1] = joined
                if joined.endswith("=") and left:
                    done[-1] += left.pop(0)
            elif len(parts := _overrides_in(bare)) > 1:
                done += parts
            elif "=" in bare:
                done.append(word if "=" in word else bare)
            else:
                done.append(self._without_equals(bare, left))
        done = [self._value(word) if "=" in word and not word.startswith("-") else word for word in done]
        several = [word for word in done if self._is_sweep(word)]
        return ["-m", *done] if several and self._sweeps and not {"-m", "--multirun"} & set(done) else done

    def _option(self, word: str, left: list[str], done: list[str]) -> None:
        front, equals, value = word.partition("=")
        name = front.lstrip("-")
        option = next((found for text in (front, f"-{name}", f"--{name}") if (found := option_named(text))), None)
        if option is None and front.startswith("-m") and equals:  # -mseed=1,2
            done += ["-m", word.removeprefix("-m")]
        elif option is not None:
            done.append(option.name)
            if option.takes_a_value and (equals or left):
                done.append(value if equals else left.pop(0))
            elif equals and "=" in value:  # --multirun=seed=1,2
                done.append(value)
        elif (negated := re.fullmatch(r"no[-_](.+)", name)) and (key := self._key(negated[1])):
            done.append(f"{key}=false")
        elif key := self._key(name):
            done.append(f"{key}={value if equals else self._following(key, left)}")
        else:
            done.append(closest(front, ["--multirun", "--help", "--cfg"]) or word)

    def _following(self, key: str, left: list[str]) -> str:
        """The value of an option that is a key: the next word, or what a switch means, or what the key is by itself."""
        if left and "=" not in left[0] and not re.match(r"-+[A-Za-z]", left[0]):
            return left.pop(0)
        current = OmegaConf.select(self._config, key, throw_on_resolution_failure=False)
        return "true" if isinstance(current, bool) or current == "auto" else self._by_itself(key)

    def _by_itself(self, key: str) -> str:
        """A value that a key may have: its own, or a group's first choice."""
        current = OmegaConf.select(self._config, key, throw_on_resolution_failure=False)
        return (self._groups[key] or [""])[0] if key in self._groups else as_typed(current)

    def _joined(self, before: str, word: str) -> str | None:
        """What a word makes with the one before it, where a space has come between them; None where it stands alone."""
        if before.startswith("-"):
            return None
        key, equals, value = before.partition("=")
        if word.startswith("=") or (equals and not value and "=" not in word):
            return f"{before}{word}"
        if equals and "=" not in word and takes_a_path(key):
            return f"{before} {word}"
        if value.count("[") > value.count("]"):
            return f"{before}{word}"
        return None

    def _without_equals(self, word: str, left: list[str]) -> str:
        key, colon, value = word.partition(":")
        if colon and self._key(key):
            return f"{key}={value or (left.pop(0) if left else '')}"
        if left and f"{word}.{left[0].partition('=')[0]}" in self._settings:  # trainer epochs=5
            return f"{word}.{left.pop(0)}"
        if left and left[0].startswith("="):
            return word
        if self._key(word):
            stands_alone = not left or "=" in left[0] or left[0].startswith("-")
            return f"{word}={self._by_itself(self._key(word)) if stands_alone else left.pop(0)}"
        chosen = [group for group, choices in self._groups.items() if word in choices]
        return f"{chosen[0]}={word}" if len(chosen) == 1 else word

    def _value(self, word: str) -> str:
        front, _, value = word.partition("=")
        override = Override.of(f"{plain(front).strip(chr(39) + chr(34) + ' ')}=")
        key = override.key if "@" in override.key else self._key(override.key) or override.key
        if not takes_a_path(key):
            value = value.strip() if reading(value) is not UNREADABLE else _mended_value(value)
            if self._is_sweep(f"{key}={value}"):
                value = self._several(key, value)
        elif front != plain(front):
            value = plain(value).strip("'\"")
        return str(Override(override.sign, key, value))

    def _several(self, key: str, value: str) -> str:
        current = OmegaConf.select(self._config, key, throw_on_resolution_failure=False)
        if isinstance(current, ListConfig):
            return f"[{value}]"
        if isinstance(current, float) and re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", value):
            return value.replace(",", ".")
        return value

    def _is_sweep(self, word: str) -> bool:
        key, equals, value = word.partition("=")
        return bool(equals) and not key.startswith("-") and not takes_a_path(key) and isinstance(reading(value), Sweep)

    def _key(self, name: str) -> str:
        """The key that a name means: itself, the whole of which it is the end, or one spelt alike; "" where none is."""
        name = name.replace("-", "_")
        if name in self._groups or name in self._settings or not name:
            return name
        if whole := [key for key in whole_keys(name, self._settings) if key in self._settings]:
            return whole[0]
        return "" if "." not in name else closest(name, self._settings)
