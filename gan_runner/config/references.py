"""Texts that refer to other keys, as `${model.latent_dim}` does, in a config that may come from others.

They are resolved here, within bounds. Anything else that OmegaConf would evaluate between `${` and `}` is refused,
also in composed text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gan_runner.errors import printable, shown_key
from gan_runner.record.plain_yaml import LONGEST, MOST, NotPlainError, Tree
from gan_runner.trees import KeyPath

_DEEPEST = 64  # levels of nesting and of references to references
_KEY = r"\.*[\w-]+(?:\.[\w-]+|\[[\w-]+\])*"
_REFERENCE = re.compile(rf"\$\{{({_KEY})\}}")


def is_plain(text: str) -> bool:
    """Whether a text is plain, or consists of plain text and references, which compute nothing."""
    if "${" not in text:
        return True
    # A backslash would escape what follows.
    return "\\" not in text and "${" not in _REFERENCE.sub("", text)


def is_plain_with_any(text: str) -> bool:
    """Whether a text is plain whatever it is put together with: a dollar sign and a brace may come from two texts."""
    return is_plain(text) and "$" not in _REFERENCE.sub("", text)


def resolved(tree: dict[str, Any]) -> dict[str, Any]:
    """A config in which every reference is replaced by what it refers to.

    Args:
        tree: of plain texts (see `is_plain`).

    Raises:
        NotPlainError: a reference has no target, is circular, or expands to more than a config can hold.
    """
    found = _Following(tree).value(tree, (), 0)
    assert isinstance(found, dict)
    return found


def without_references_to(tree: dict[str, Any], is_gone: Callable[[str], bool]) -> dict[str, Any]:
    """A config in which references to some of its keys are replaced by what they refer to; the others stay.

    Args:
        tree: of plain texts.
        is_gone: whether a key at the top is such a one.

    Raises:
        NotPlainError: see `resolved`.
    """
    following = _Following(tree)

    def kept(value: Tree, path: KeyPath) -> Tree:
        if isinstance(value, dict):
            return {key: kept(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [kept(inner, (*path, number)) for number, inner in enumerate(value)]
        asked = _REFERENCE.findall(value) if isinstance(value, str) else []
        if any(is_gone(str(next(iter(_absolute(key, path)), ""))) for key in asked):
            return following.value(value, path, 0)
        return value

    return {key: kept(value, (key,)) for key, value in tree.items() if not is_gone(str(key))}


class _Following:
    """Follows the references of one config; all that it gives counts towards one bound."""

    def __init__(self, root: Mapping[str, Tree]) -> None:
        self._root = root
        self._count = 0

    def value(self, tree: Tree, path: KeyPath, depth: int) -> Tree:
        """What stands at a path, its references followed."""
        self._note(path, depth)
        if isinstance(tree, dict):
            return {key: self.value(inner, (*path, key), depth + 1) for key, inner in tree.items()}
        if isinstance(tree, list):
            return [self.value(inner, (*path, number), depth + 1) for number, inner in enumerate(tree)]
        if not isinstance(tree, str) or "${" not in tree:
            return tree
        if whole := _REFERENCE.fullmatch(tree):
            return self.value(*self._at(_absolute(whole[1], path), path, depth), depth + 1)
        text = ""
        end = 0
        for part in _REFERENCE.finditer(tree):
            inner = self.value(*self._at(_absolute(part[1], path), path, depth), depth + 1)
            if isinstance(inner, dict | list):
                raise NotPlainError(
                    f"{shown_key(path)} is {printable(tree)}, but {printable(part[1])} is no single value"
                )
            text += tree[end : part.start()] + str(inner)
            end = part.end()
            if len(text) > LONGEST:
                break
        text += tree[end:]
        if len(text) > LONGEST:
            raise NotPlainError(f"{shown_key(path)} refers to more than {LONGEST:,} characters")
        if "${" in text:
            raise NotPlainError(f"{shown_key(path)} is put together to {printable(text)}, which would be computed")
        return text

    def _at(self, wanted: KeyPath, asking: KeyPath, depth: int) -> tuple[Tree, KeyPath]:
        """The value at a path, and where it stands: references on the way there are followed."""
        value: Tree = dict(self._root)
        here: KeyPath = ()
        for name in wanted:
            while isinstance(value, str) and (whole := _REFERENCE.fullmatch(value)):
                depth += 1
                self._note(asking, depth)
                value, here = self._at(_absolute(whole[1], here), asking, depth)
            if isinstance(value, dict) and name in value:
                value, here = value[name], (*here, name)
            elif isinstance(value, list) and str(name).isdecimal() and int(name) < len(value):
                value, here = value[int(name)], (*here, int(name))
            else:
                raise NotPlainError(f"{shown_key(asking)} refers to {shown_key(wanted)}, which it does not have")
        return value, here

    def _note(self, path: KeyPath, depth: int) -> None:
        self._count += 1
        if depth > _DEEPEST:
            raise NotPlainError(f"{shown_key(path)} refers to itself, or nests deeper than {_DEEPEST} levels")
        if self._count > MOST:
            raise NotPlainError(f"its references lead to more than {MOST:,} values")


def _absolute(key: str, path: KeyPath) -> KeyPath:
    """The path that a reference at `path` names; dots in front count from the collection that it stands in."""
    names = tuple(re.findall(r"[\w-]+", key))
    dots = len(key) - len(key.lstrip("."))
    return names if not dots else (*path[: max(0, len(path) - dots)], *names)
