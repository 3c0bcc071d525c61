"""Errors in settings of gan-run that are typed behind a prefix in another command, such as gan.model=mlp."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from gan_runner.config.command_line import command_line
from gan_runner.config.groups import GROUPS
from gan_runner.errors import UserError
from gan_runner.machine import shell
from gan_runner.override import key_of

_COMMAND = re.compile(r" *Try: gan-run (.+)")


@contextlib.contextmanager
def named_as_typed(prefix: str, words: Sequence[str], typed: Sequence[str]) -> Iterator[None]:
    """In this context errors name settings with their prefix, and propose the command that was typed.

    Args:
        prefix: such as "gan.".
        words: all overrides that gan-run is given, without the prefix.
        typed: those of them that can be typed behind the prefix.

    Raises:
        UserError: one of gan-run's, with the prefix before the groups and before the keys of `typed`. The settings of
            the data have none.
    """
    try:
        yield
    except UserError as error:
        keys = "|".join(re.escape(key) for key in {key_of(word) for word in typed})
        groups = "|".join({"experiment", *(group.name for group in GROUPS)} - {"data"})
        setting = re.compile(rf"(?<![\w./={{@-])(?=(?:{groups})[.=]\w|(?:{keys})(?: is |=| lacks | here))")
        lines = []
        for line in f"{error.problem}\n{error.remedy}".split("\n"):
            if found := _COMMAND.match(line):
                command = _as_typed(found[1], prefix, words)
                lines += [f"  Try: {command}"] if command else []
            else:
                lines.append(setting.sub(prefix, line))
        problem, *remedy = lines
        raise UserError(problem, "\n".join(remedy) or f"Give each setting behind {prefix} one value.") from error


def _as_typed(proposed: str, prefix: str, words: Sequence[str]) -> str | None:
    """The command as it was typed, with the override that is proposed; None unless it takes the place of one.

    Args:
        proposed: the arguments of gan-run that are proposed, quoted for the shell.
        prefix: see `named_as_typed`.
        words: likewise.
    """
    new, old = f" {proposed} ", []
    for word in words:
        if (kept := f" {shell.quoted(word)} ") in new:
            new = new.replace(kept, " ", 1)
        else:
            old.append(word)
    new = new.strip()
    typed = command_line()
    places = [place for place, word in enumerate(typed) if [word.lstrip("+").removeprefix(prefix)] == old]
    if not places or not new or new.startswith("-"):
        return None
    quote = new[0] if new[0] in "'\"" else ""
    shown = [shell.quoted(word) for word in typed]
    shown[places[-1]] = f"{quote}{prefix}{new.removeprefix(quote)}"
    return " ".join(shown)
