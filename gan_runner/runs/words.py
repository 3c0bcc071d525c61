"""From the arguments of Python functions to overrides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gan_runner.errors import UserError


def words_of(words: Sequence[object], settings: Mapping[str, object]) -> list[str]:
    """Overrides in the form that is typed, from strings and from keyword arguments.

    Args:
        words: such as "model=dcgan"; paths are taken as text.
        settings: such as {"model": "dcgan", "trainer": {"epochs": 50}}, which is model=dcgan trainer.epochs=50.

    Raises:
        UserError: an argument is not a string, or a value is not possible for a setting.
    """
    for word in words:
        if not isinstance(word, str):
            raise UserError(
                f"{word!r} is given as a setting, but a setting is a string such as 'trainer.epochs=50'.",
                "Try trainer={'epochs': 50}, or the arguments of gan-run, each as a string.",
            )
    return [*map(str, words), *_flat(settings, "")]


def _flat(settings: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name, value in settings.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{key}.")
        else:
            yield f"{key}={_typed(key, value)}"


def _typed(key: str, value: object) -> str:
    """A value as a user types it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | str() | Path():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case list() | tuple():
            return f"[{','.join(_typed(key, inner) for inner in value)}]"
    raise UserError(
        f"{key} is {value!r}, but must be a text, a number, true or false, a list of them, or None.",
        "Name a class or a function of your own in a YAML file; see docs/extending.md.",
    )
