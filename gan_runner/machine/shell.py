"""Lines for the user to paste into the shell at hand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable

# What neither PowerShell nor cmd reads anything into. A comma makes a list in PowerShell.
_PLAIN_ON_WINDOWS = re.compile(r"[\w+=:./\\-]+", re.ASCII)
# What one of them reads something into between double quotes too; PowerShell takes printers' quotes for plain ones.
_SPECIAL_IN_QUOTES = re.compile(r'["$`%!\u2018-\u201f]')
_SINGLE_QUOTES = re.compile("['\u2018-\u201b]")


def command_line(words: Iterable[str]) -> str:
    """The line that the shell at hand reads as these words, the command first."""
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Quote a word as the shell at hand needs it: bash, zsh and their like; on Windows PowerShell or cmd.

    What PowerShell and cmd can both be given alike, is. From PowerShell, a double quote inside a word reaches a program
    since version 7.3.
    """
    if os.name != "nt" or "SHELL" in os.environ:  # as Git Bash sets it
        return shlex.quote(word)
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    if not _SPECIAL_IN_QUOTES.search(word):
        backslashes = len(word) - len(word.rstrip("\\"))  # the last would escape the quote
        return f'"{word}{backslashes * chr(92)}"'
    if "PROMPT" in os.environ:  # as cmd sets it
        return subprocess.list2cmdline([word]) if re.search(r"\s", word) else '"' + word.replace('"', '\\"') + '"'
    return "'" + _SINGLE_QUOTES.sub(lambda quote: 2 * quote[0], word) + "'"
