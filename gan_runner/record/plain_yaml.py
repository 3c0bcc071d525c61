"""YAML as plain data: mappings, sequences, strings, numbers, booleans and null, within bounds; the rest is refused.

Tags, anchors, aliases and further documents are refused. Numbers are decimal, as in YAML 1.2's core schema
(https://yaml.org/spec/1.2.2/#103-core-schema): 0x10, 1:30, 1_000 and 2026-11-30 are texts, and so are yes and <<.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Tree: TypeAlias = "bool | int | float | str | list[Tree] | dict[Any, Tree] | None"

LARGEST = 2**18  # characters of a file; a run's config has 7,000
DEEPEST = 32  # levels of nesting
MOST = 10_000  # values of a file
LONGEST = 4096  # characters of a text, as of the longest path that Linux takes
_LONGEST_NUMBER = 100  # characters

_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= {word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_WHOLE = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DOT = re.compile(r"\.(?=[a-zA-Z])")  # which Python does not write before inf and nan
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a character, which the fast parser refuses


class NotPlainError(ValueError):
    """The text is not YAML, or is more than plain values within bounds; the message says what and where."""


def plain_yaml(source: str) -> Tree:
    """Read YAML that may come from others.

    Args:
        source: of one document.

    Returns:
        Its value; None for an empty source.

    Raises:
        NotPlainError: it is damaged, too large, or uses what is not read here.
    """
    if len(source) > LARGEST:
        raise NotPlainError(f"it has more than {LARGEST:,} characters")
    # Names of files that are no UTF-8 are stored with such halves; only PyYAML's slower parser reads them back.
    loader = yaml.SafeLoader if _SURROGATE.search(source) else _FAST
    try:
        return _value(yaml.parse(source, Loader=loader))
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise NotPlainError(f"{place}{problem or 'it has characters that YAML does not allow'}") from error


def _value(events: Iterator[Any]) -> Tree:
    """The value of one document; the parser is asked for no more events once a bound is passed."""
    top: list[Tree] = []
    # The collections that are open, outermost first, and for each the key that waits for its value.
    open_: list[tuple[list[Tree] | dict[Any, Tree], list[Any]]] = [(top, [])]
    count = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise NotPlainError(f"{_line(event)}: it uses aliases")
        if isinstance(event, yaml.DocumentStartEvent) and count:
            raise NotPlainError(f"{_line(event)}: it has more than one document")
        if isinstance(event, yaml.NodeEvent):
            count += 1
            value = _of_node(event)
            if count > MOST:
                raise NotPlainError(f"it has more than {MOST:,} values")
            _put(*open_[-1], value, event)
            if isinstance(value, list | dict):
                open_.append((value, []))
                if len(open_) > DEEPEST + 1:
                    raise NotPlainError(f"{_line(event)}: it nests deeper than {DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            open_.pop()
    return top[0] if top else None


def _of_node(event: Any) -> Tree:
    if event.tag is not None or event.anchor is not None:
        raise NotPlainError(f"{_line(event)}: it has a tag or an anchor")
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    text: str = event.value
    if event.implicit[0]:  # written without quotes
        if text in _WORDS:
            return _WORDS[text]
        if _FLOAT.fullmatch(text):
            if len(text) > _LONGEST_NUMBER:
                raise NotPlainError(f"{_line(event)}: it has a number of more than {_LONGEST_NUMBER} characters")
            return int(text) if _WHOLE.fullmatch(text) else float(_DOT.sub("", text))
    if len(text) > LONGEST:
        raise NotPlainError(f"{_line(event)}: it has a text of more than {LONGEST:,} characters")
    return text


def _put(collection: list[Tree] | dict[Any, Tree], waiting: list[Any], value: Tree, event: Any) -> None:
    """Add a value to an open collection; of a mapping the first of two is the key."""
    if isinstance(collection, list):
        collection.append(value)
    elif waiting:
        collection[waiting.pop()] = value
    elif value is None or isinstance(value, list | dict):
        raise NotPlainError(f"{_line(event)}: it has a key that is neither text nor number")
    elif value in collection:
        raise NotPlainError(f"{_line(event)}: it has the same key twice")
    else:
        waiting.append(value)


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"
