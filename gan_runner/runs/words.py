"""Settings given to Python functions, as the words that one would type."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gan_runner.errors import UserError


def words_of(words: Sequence[object], settings: Mapping[str, object]) -> list[str]:
    """Overrides as typed, from words and from keyword arguments.

    Args:
        words: such as "model=dcgan"; paths are taken as text.
        settings: such as {"model": "dcgan", "trainer": {"epochs": 50}}, which is model=dcgan trainer.epochs=50.

    Raises:
        UserError: a word is no text, or a value is none that a setting can have.
    """
    for word in words:
        if not isinstance(word, str):
            raise UserError(
                f"{word!r} is given for a setting, but a setting is a text such as 'trainer.epochs=50'.",
                "Try trainer={'epochs': 50}, or the words of gan-run, one text each.",
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
    """A value as one types it."""
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
