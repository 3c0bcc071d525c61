"""Trees: mappings and lists of plain values, nested, such as a config; one walk through them for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

KeyPath: TypeAlias = "tuple[Any, ...]"


def nodes(tree: object, path: KeyPath = (), *, lists: bool = True) -> Iterator[tuple[KeyPath, Any]]:
    """Every mapping, list and value of a tree by its path, each before what is in it; the tree itself comes first.

    Args:
        tree: mappings, lists and values.
        path: of the tree itself: keys of mappings, and places in lists.
        lists: whether to look into lists; if not, a list is a value.
    """
    yield path, tree
    inner = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if lists and isinstance(tree, list) else ()
    for key, value in inner:
        yield from nodes(value, (*path, key), lists=lists)


def leaves(tree: object, path: KeyPath = (), *, lists: bool = True) -> Iterator[tuple[KeyPath, Any]]:
    """Every value of a tree by its path, and every empty mapping and list; see `nodes`."""
    kinds = (Mapping, list) if lists else (Mapping,)
    return (node for node in nodes(tree, path, lists=lists) if not isinstance(node[1], kinds) or not node[1])


def values(tree: Mapping[Any, object]) -> dict[str, Any]:
    """The values of nested mappings by dotted key; mappings that are empty have none, and a list is a value."""
    return {dotted(path): value for path, value in leaves(tree, lists=False) if not isinstance(value, Mapping)}


def dotted(path: Sequence[object]) -> str:
    """A path as one key, such as "model.generator.widths"."""
    return ".".join(map(str, path))


def numbers(tree: Mapping[str, object]) -> dict[str, float]:
    """A flat mapping of numbers that a file holds.

    Raises:
        ValueError: a value is not a number.
    """
    checked = {name: value for name, value in tree.items() if isinstance(value, int | float)}
    if len(checked) < len(tree):
        raise ValueError(f"{dotted(sorted(tree.keys() - checked.keys(), key=str))} is not a number")
    return checked
