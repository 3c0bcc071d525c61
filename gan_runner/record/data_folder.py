"""Reading untrusted folders: each file is parsed as plain data within size limits, or listed as unreadable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from gan_runner import files
from gan_runner.record.plain_yaml import plain_yaml

Plain: TypeAlias = bool | int | float | str | None

LONGEST_TEXT = 1000  # characters that are kept of any text
_LARGEST_LINES = 128 * files.MEGABYTE
_LARGEST_FILE = 16 * files.MEGABYTE  # bytes; a summary or a config has a few thousand
_LONGEST_LINE = 2**20  # bytes
_LARGEST_NUMBER = 1e150
_LARGEST_TEXT = 10**1000


class DataFolder:
    """Reads the files of one folder.

    Args:
        path: the folder.

    Attributes:
        problems: what could not be read so far and why, a line each, by file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []

    def has(self, name: str) -> bool:
        """Whether a file of that name exists, readable or not."""
        return os.path.lexists(self.path / name)

    def json(self, name: str) -> dict[str, Any]:
        """The mapping that a JSON file holds; {} where there is none to be read."""
        return self._mapping(name, json.loads)

    def yaml(self, name: str) -> dict[str, Any]:
        """The mapping that a YAML file holds, interpolations as they are written; {} where there is none to be read."""
        return self._mapping(name, plain_yaml)

    def yaml_list(self, name: str) -> list[str]:
        """The texts of a YAML file that holds a list; [] where there is none to be read."""
        value = self._parsed(name, plain_yaml)
        if not isinstance(value, list | None):
            self.problems.append(f"{name} holds no list.")
            return []
        return [text(item) for item in value or []]

    def json_lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The mappings of a file with one on each line; a half-written last line is left out."""
        if not self.has(name):
            return
        damaged = 0
        try:
            with files.opened(self.path / name, below=self.path) as file:
                while line := file.readline(_LONGEST_LINE):
                    if file.tell() > _LARGEST_LINES:
                        self.problems.append(f"{name}: what comes after {_LARGEST_LINES:,} bytes is left out.")
                        break
                    if not line.endswith(b"\n"):
                        damaged += len(line) == _LONGEST_LINE
                        break
                    try:
                        point = json.loads(line)
                    except (ValueError, RecursionError):
                        point = None
                    if isinstance(point, dict):
                        yield point
                    else:
                        damaged += 1
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}.")
        if damaged:
            self.problems.append(f"{name}: {damaged} line{'s' if damaged > 1 else ''} cannot be read.")

    def files(self, pattern: str) -> list[Path]:
        """The files that match a pattern such as "samples/*.png", sorted by name; no links."""
        folder, _, name = pattern.rpartition("/")
        return files.listed(self.path / folder, name, link=not folder)

    def _mapping(self, name: str, parse: Any) -> dict[str, Any]:
        value = self._parsed(name, parse)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.problems.append(f"{name} holds no mapping.")
        return {}

    def _parsed(self, name: str, parse: Any) -> Any:
        if not self.has(name):
            return None
        try:
            content = files.read(self.path / name, _LARGEST_FILE, below=self.path)
            return parse(content.decode("utf-8", "replace"))
        except OSError as error:
            self.problems.append(f"{name} cannot be read: {error.strerror}.")
        except (ValueError, RecursionError) as error:
            why = str(error).partition("\n")[0]
            self.problems.append(f"{name} cannot be read: {text(why)}.")
        return None


def number(value: object) -> float | None:
    """A finite number whose square is finite too, or None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST_NUMBER:
        return float(value)
    return None


def whole(value: object) -> int | None:
    """A number as an integer below 2^53 in magnitude, or None."""
    found = number(value)
    return None if found is None or abs(found) >= 2**53 else int(found)


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Text on one line that any encoding, terminal and page can take, cut where it is too long; "" for None."""
    if value is None:
        return ""
    if isinstance(value, int) and abs(value) >= _LARGEST_TEXT:  # Python refuses to convert far longer ones
        return "a number that is too long"
    line = str(value)[: 4 * longest].encode("utf-8", "replace").decode()
    line = re.sub(r"\s+", " ", line).strip()
    line = "".join(character if character.isprintable() else "\ufffd" for character in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def mapping(value: object) -> dict[str, Any]:
    """A mapping with texts for keys, or {} for anything else."""
    return {text(key): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list, or [] for anything else."""
    return value if isinstance(value, list) else []
