"""Validation of the config against the components' signatures, before anything is loaded.

Every node with a `_target_` is checked against that callable's signature: each key must be one of its
parameters, each plain value must be of the annotated type and within its range (`gan_runner.ranges`). New components
are checked in the same way, without changes here. If a component takes `low` and `high`, low must be below high. A
key that the user set but nothing reads is refused, because a sweep over it would compare equal runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from gan_runner.building.signatures import (
    HYDRA_KEYS,
    as_typed,
    as_word,
    describe,
    holds_parts,
    is_mapping,
    limit_of_arrays,
    matches,
    may_be_a_part,
    parameters_of,
    taken_as,
)
from gan_runner.errors import UserError, closest, printable
from gan_runner.override import Override, values_by_key
from gan_runner.trees import dotted, leaves, nodes


@dataclass(frozen=True)
class Reader:
    """Code that reads a node's keys besides its `_target_`.

    Attributes:
        path: the node's key.
        callable: reads the keys that its parameters name.
    """

    path: str
    callable: Callable[..., object]


def _callables(readers: Sequence[Reader], path: str) -> list[Callable[..., object]]:
    return [reader.callable for reader in readers if reader.path == path]


def _no_default(key: str) -> object:
    raise KeyError(key)


def validate(
    config: DictConfig,
    settings: Mapping[str, object],
    readers: Sequence[Reader],
    overrides: Sequence[str],
    default_of: Callable[[str], object] = _no_default,
    groups: Collection[str] | None = None,
) -> None:
    """Validate a composed config: raises at the first error.

    Args:
        config: as composed, interpolations unresolved; text is converted where a number is expected.
        settings: annotated type of each top-level key that is not a group.
        readers: further readers of nodes.
        overrides: what the user typed, such as `trainer.epochs=5`.
        default_of: a key's value without overrides, for messages; raises KeyError if there is none.
        groups: the top-level keys to check; None checks all.

    Raises:
        UserError: an unknown key, a value out of range or of the wrong type, an override without effect.
    """
    as_written = OmegaConf.to_container(config, resolve=False)
    for missing in (dotted(path) for path, value in leaves(as_written, lists=False) if value == "???"):
        raise UserError(f"{missing} is required, and has no default.", f"Give it: {missing}=...")
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"The config does not resolve: {error}", "Look for the ${...} that it names.") from error
    assert isinstance(resolved, dict)
    for override in map(Override.of, overrides):
        if override.takes_away and override.key not in resolved and "." not in override.key:
            raise UserError(f"{override} removes a required setting.", f"Leave {override} out.")
    sources = _interpolated(as_written)
    read = set(sources.values())

    def check(key: str, value: object, annotation: object) -> None:
        read.add(key)
        while key in sources:
            key = sources[key]  # name the key that was set, not one that follows it
        taken = taken_as(value, annotation)
        if not matches(taken, annotation):
            raise _not_as_annotated(key, value, annotation, default_of)
        if taken is not value:
            _put(config, key, taken)

    for key, annotation in settings.items():
        check(key, resolved.get(key), annotation)
    for path, node in _nodes({key: value for key, value in resolved.items() if groups is None or key in groups}):
        parameters = parameters_of(path, node, _callables(readers, path))
        if parameters is None:
            continue
        for key, value in node.items():
            full_key = f"{path}.{key}"
            if key in HYDRA_KEYS:
                check(full_key, value, HYDRA_KEYS[key])
                continue
            if key not in parameters:
                if full_key in read or holds_parts(value):
                    continue
                raise _unknown(path, key, value, [name for name in sorted(parameters) if name in node], overrides)
            if holds_parts(value) and may_be_a_part(parameters[key]):
                read.add(full_key)
                if "_target_" not in value:
                    _refuse_empty_parts(full_key, value, parameters[key])
                elif is_mapping(parameters[key]):
                    raise UserError(
                        f"{full_key} is {as_typed(value)}, but must be a mapping of names, not a component.",
                        f"Leave out {full_key}._target_, or name a component below {full_key}.",
                    )
            else:
                check(full_key, value, parameters[key])
        if {"low", "high"} <= parameters.keys() & node.keys():
            _refuse_empty_interval(path, *(taken_as(node[key], parameters[key]) for key in ("low", "high")))
    _refuse_overrides_without_effect(config, read, overrides)


def drop_what_a_replaced_part_took(config: DictConfig, readers: Sequence[Reader], overrides: Sequence[str]) -> None:
    """Remove the keys for which a component whose `_target_` was typed has no parameters.

    They come from the file of the replaced component. Keys that the user typed stay, and are refused if nothing reads
    them.

    Args:
        config: as composed; changed.
        readers: see `validate`.
        overrides: what the user typed.

    Raises:
        UserError: there is no such part.
    """
    typed = list(values_by_key(overrides))
    followed = set(_interpolated(OmegaConf.to_container(config, resolve=False)).values())
    dropped = False
    for path in (key.removesuffix("._target_") for key in typed if key.endswith("._target_")):
        node = OmegaConf.select(config, path, throw_on_resolution_failure=False)
        target = OmegaConf.select(config, f"{path}._target_", throw_on_resolution_failure=False)
        if not isinstance(node, DictConfig) or target is None:
            continue
        parameters = parameters_of(path, {"_target_": target}, _callables(readers, path))
        for key in [str(key) for key in node] if parameters is not None else []:
            full_key = f"{path}.{key}"
            kept = full_key in followed or any(f"{other}.".startswith(f"{full_key}.") for other in typed)
            if key not in (parameters or ()) and key not in HYDRA_KEYS and not kept:
                with open_dict(node):
                    del node[key]
                dropped = True
    if dropped:  # a key that only a dropped one refers to is dropped too
        drop_what_a_replaced_part_took(config, readers, overrides)


def _nodes(tree: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping below `tree` with its dotted path, without the root."""
    found = nodes(tree, lists=False)
    return ((dotted(path), node) for path, node in found if path and isinstance(node, dict))


def _refuse_empty_parts(path: str, parts: Mapping[str, object], annotation: object) -> None:
    """Check a mapping of components: each must be one, or null if it may be left out."""
    may_be_null = any(matches(None, inner) for inner in get_args(annotation)[1:])
    for name, part in parts.items():
        if not holds_parts(part) and not (part is None and may_be_null):
            raise UserError(
                f"{path}.{name} is {as_typed(part)}, but must be a component with a _target_.",
                f"To leave it out, type ~{path}.{name}.",
            )


def annotations_of(config: DictConfig, settings: Mapping[str, object], readers: Sequence[Reader]) -> dict[str, object]:
    """The annotated type of each key that is read, by dotted key; for a key that others refer to, theirs.

    Args:
        config: as composed.
        settings: see `validate`.
        readers: see `validate`.

    Raises:
        UserError: a part that it names cannot be imported.
    """
    as_written = OmegaConf.to_container(config, resolve=False)
    annotations = dict(settings)
    for path, node in _nodes(as_written):
        parameters = parameters_of(path, node, _callables(readers, path)) or {}
        annotations |= {f"{path}.{key}": parameters[key] for key in node if key in parameters}
    sources = _interpolated(as_written)
    for follower in sources:
        if follower in annotations:
            key = follower
            while key in sources:
                key = sources[key]
                annotations.setdefault(key, annotations[follower])
    return annotations


def _interpolated(tree: object) -> dict[str, str]:
    """Each key whose value follows another's, such as `${model.latent_dim}`, and that other key."""
    texts = ((path, value) for path, value in leaves(tree, lists=False) if isinstance(value, str))
    return {dotted(path): found[1] for path, text in texts if (found := re.fullmatch(r"\$\{([\w.]+)\}", text))}


def _refuse_empty_interval(path: str, low: object, high: object) -> None:
    if isinstance(low, int | float) and isinstance(high, int | float) and not low < high:
        raise UserError(
            f"{path}.low is {low} and {path}.high is {high}: low must be below high.",
            f"Try {path}.low={high - 1:g} or {path}.high={low + 1:g}.",
        )


def _not_as_annotated(key: str, value: object, annotation: object, default_of: Callable[[str], object]) -> UserError:
    try:
        default = default_of(key)
    except KeyError:
        default = value
    meant = next((text for text in _meant(value) if matches(taken_as(text, annotation), annotation)), None)
    if meant is not None:
        remedy = f"Try {as_word(key, taken_as(meant, annotation))}."
    elif default != value and matches(taken_as(default, annotation), annotation):
        remedy = f"Try {as_word(key, default)}, which is its default."
    else:
        remedy = f"Give {key} {describe(annotation)}."
    limit = limit_of_arrays(value)
    return UserError(f"{key} is {as_typed(value)}, but must be {describe(annotation)}{limit and f', {limit}'}.", remedy)


def _meant(value: object) -> Iterator[str]:
    """A text's probable meaning: without surrounding characters, and with a decimal point for a comma."""
    if isinstance(value, str):
        bare = value.strip().strip("'\"[](),;")
        yield from (bare, bare.replace(",", "."), bare.lower())


def _put(config: DictConfig, key: str, value: object) -> None:
    owner, _, name = key.rpartition(".")
    node = OmegaConf.select(config, owner) if owner else config
    with read_write(node), open_dict(node):
        node[name] = value


def _unknown(parent: str, key: object, value: object, known: Sequence[str], overrides: Sequence[str]) -> UserError:
    """The error for a key that is not read.

    Args:
        parent: the node that it lies in.
        key: its name there, which may be a number.
        value: what it is.
        known: the keys there that are read.
        overrides: what the user typed.
    """
    full_key = f"{parent}.{printable(key)}"
    group = full_key.partition(".")[0]
    if full_key not in values_by_key(overrides):
        return UserError(
            f"{full_key} is {as_typed(value)}, set by a file, but nothing in this choice of {group} reads it.",
            f"Leave out {group}=..., or the experiment that sets it, or add ~{full_key}.",
        )
    similar = closest(str(key), known)
    remedy = f"Did you mean {parent}.{similar}?" if similar else f"{parent} has: {', '.join(known)}."
    return UserError(f"{full_key} is {as_typed(value)}, but there is no such key: nothing reads it.", remedy)


def _refuse_overrides_without_effect(config: DictConfig, read: set[str], overrides: Sequence[str]) -> None:
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group
        of_hydra = key.startswith("hydra.") or key.rpartition(".")[2] in HYDRA_KEYS
        if of_hydra or override.is_delete() or override.package:
            continue
        value = OmegaConf.select(config, key)
        if isinstance(value, DictConfig) or (value is None and "." not in key and key not in read):
            continue  # a group's choice (a nested group's is at no key), or a node whose keys were looked at one by one
        parents = {key.rsplit(".", n)[0] for n in range(key.count(".") + 1)}
        if not parents & read:
            shown = as_typed(OmegaConf.to_object(value) if isinstance(value, ListConfig) else value)
            raise UserError(f"{key} is {shown}, but nothing reads it here.", _what_sets_it_instead(config, key, read))


def _what_sets_it_instead(config: DictConfig, key: str, read: set[str]) -> str:
    group, _, name = key.rpartition(".")
    others = sorted(k for k in read if k.startswith(f"{group}.") and k.endswith(f".{name}") and k != key)
    if others:
        return f"Set {' and '.join(others)} instead, which do not follow it in this choice of {group}."
    top = sorted(k for k in read if not group or k.startswith(f"{group}."))
    similar = closest(key, top)
    return f"Did you mean {similar}?" if similar else f"Leave it out, or choose a {group or 'group'} that has it."
