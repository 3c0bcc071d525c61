"""Hold the config to what the parts' signatures say, before anything is loaded.

Every node with a `_target_` is checked against that callable's signature: each key must be one of its
parameters, each plain value must be of the annotated type and within its range (`gan_runner.ranges`). A new
part is checked the same way without a word about it here. A part that takes `low` and `high` takes an interval,
which must not be empty. A key that the user set and that nothing reads is
refused, since a sweep over it would compare equal runs.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from gan_runner.errors import UserError, closest, either, printable
from gan_runner.machine import shell

HYDRA_KEYS: dict[str, object] = {
    "_target_": str,
    "_partial_": bool,
    "_recursive_": bool,
    "_convert_": Literal["none", "partial", "object", "all"],
    "_args_": Sequence[Any],
}
# What arrays can hold.
_BITS = 63  # of a whole number's size
_LARGEST = 3.4e38  # of what is finite
_LIMITS: dict[type, tuple[str, str]] = {
    Ge: ("ge", "at least"),
    Gt: ("gt", "above"),
    Le: ("le", "at most"),
    Lt: ("lt", "below"),
}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


@dataclass(frozen=True)
class Reader:
    """Whoever reads a node's keys besides its `_target_`.

    Attributes:
        path: the node's key.
        callable: reads the keys that its parameters name.
    """

    path: str
    callable: Callable[..., object]


def validate(
    config: DictConfig,
    settings: Mapping[str, object],
    readers: Sequence[Reader],
    overrides: Sequence[str],
    default_of: Callable[[str], object],
    groups: Collection[str] | None = None,
) -> None:
    """Refuse the first thing in a composed config that cannot be meant.

    Args:
        config: as composed, interpolations unresolved; text that reads as the number that is asked for becomes it.
        settings: annotated type of each key at the top that is no group.
        readers: further readers of nodes.
        overrides: what the user typed, such as `trainer.epochs=5`.
        default_of: the value that a key has without overrides; the remedy offers it. Raises KeyError.
        groups: the keys at the top whose nodes are looked at; None looks at all.

    Raises:
        UserError: an unknown key, a value out of range or of the wrong type, an override without effect.
    """
    as_written = OmegaConf.to_container(config, resolve=False)
    for missing in _missing(as_written):
        raise UserError(f"{missing} has no value, and there is none to assume.", f"Give it: {missing}=...")
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"The config does not resolve: {error}", "Look for the ${...} that it names.") from error
    assert isinstance(resolved, dict)
    for override in overrides:
        if override.startswith("~") and (group := override[1:].partition("=")[0]) not in resolved and "." not in group:
            raise UserError(f"{override} takes away what every run needs.", f"Leave {override} out.")
    sources = dict(_interpolated(as_written))
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
        parameters = _parameters_of(path, node, readers)
        if parameters is None:
            continue
        for key, value in node.items():
            full_key = f"{path}.{key}"
            if key in HYDRA_KEYS:
                check(full_key, value, HYDRA_KEYS[key])
                continue
            if key not in parameters:
                if full_key in read or _holds_parts(value):
                    continue
                raise _unknown(path, key, value, [name for name in sorted(parameters) if name in node], overrides)
            if _holds_parts(value) and _may_be_a_part(parameters[key]):
                read.add(full_key)
                if "_target_" not in value:
                    _refuse_empty_parts(full_key, value, parameters[key])
                elif _is_mapping(parameters[key]):
                    raise UserError(
                        f"{full_key} is {as_typed(value)}, but must be settings by name, and no part itself.",
                        f"Leave out {full_key}._target_, or name a part below {full_key}.",
                    )
            else:
                check(full_key, value, parameters[key])
        if {"low", "high"} <= parameters.keys() & node.keys():
            _refuse_empty_interval(path, *(taken_as(node[key], parameters[key]) for key in ("low", "high")))
    _refuse_overrides_without_effect(config, read, overrides)


def drop_what_a_replaced_part_took(config: DictConfig, readers: Sequence[Reader], overrides: Sequence[str]) -> None:
    """Take the keys out of a config that a part named by its `_target_` on the command line has no parameters for.

    They come from the file of the part whose place it takes. What the user typed stays, and is refused if nothing
    reads it.

    Args:
        config: as composed; changed.
        readers: see `validate`.
        overrides: what the user typed.

    Raises:
        UserError: there is no such part.
    """
    typed = [override.lstrip("+").partition("=")[0] for override in overrides]
    followed = set(dict(_interpolated(OmegaConf.to_container(config, resolve=False))).values())
    for path in (key.removesuffix("._target_") for key in typed if key.endswith("._target_")):
        node = OmegaConf.select(config, path, throw_on_resolution_failure=False)
        target = OmegaConf.select(config, f"{path}._target_", throw_on_resolution_failure=False)
        if not isinstance(node, DictConfig) or target is None:
            continue
        parameters = _parameters_of(path, {"_target_": target}, readers)
        for key in [str(key) for key in node] if parameters is not None else []:
            full_key = f"{path}.{key}"
            kept = full_key in followed or any(f"{other}.".startswith(f"{full_key}.") for other in typed)
            if key not in (parameters or ()) and key not in HYDRA_KEYS and not kept:
                with open_dict(node):
                    del node[key]


def _missing(tree: object, path: str = "") -> Iterator[str]:
    """The keys that have to be given, and were not."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _missing(value, f"{path}.{key}" if path else str(key))
    elif tree == "???":
        yield path


def _nodes(tree: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping below `tree` with its dotted path, the root left out."""
    if isinstance(tree, dict):
        if path:
            yield path, tree
        for key, value in tree.items():
            yield from _nodes(value, f"{path}.{key}" if path else str(key))


def _holds_parts(value: object) -> bool:
    """Whether a value is a part, or a mapping of parts, that is checked as a node of its own."""
    return isinstance(value, dict) and ("_target_" in value or any(_holds_parts(v) for v in value.values()))


def _may_be_a_part(annotation: object) -> bool:
    """Whether an annotation has room for what a `_target_` makes, or for parts by name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        return any(map(_may_be_a_part, arguments[:1] if origin is Annotated else arguments))
    return annotation not in _NAMES and origin not in (Literal, tuple) and origin is not Sequence


def _is_mapping(annotation: object) -> bool:
    origin = get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def _refuse_empty_parts(path: str, parts: Mapping[str, object], annotation: object) -> None:
    """Of parts by name, each must be one, or null where that means to leave it out."""
    may_be_null = any(matches(None, inner) for inner in get_args(annotation)[1:])
    for name, part in parts.items():
        if not _holds_parts(part) and not (part is None and may_be_null):
            raise UserError(
                f"{path}.{name} is {as_typed(part)}, but must be a part with a _target_.",
                f"To leave it out, type ~{path}.{name}.",
            )


def _parameters_of(path: str, node: dict[str, Any], readers: Sequence[Reader]) -> dict[str, object] | None:
    """Annotations by key of all who read a node; None where nobody does or somebody takes any key."""
    callables = [reader.callable for reader in readers if reader.path == path]
    if "_target_" in node:
        if not isinstance(node["_target_"], str):
            raise UserError(
                f"{path}._target_ is {as_typed(node['_target_'])}, but must name a class or function to make it with.",
                f"Try {path}._target_=my_module.MyClass, or leave it out.",
            )
        try:
            callables.append(resolve_name(node["_target_"]))
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"{path}._target_ is {node['_target_']}, but no such class or function can be imported.",
                f"Check its spelling, and that its package is installed. Python says: {error}.",
            ) from error
        if not callable(callables[-1]):
            raise UserError(
                f"{path}._target_ is {node['_target_']}, but that is no class or function.",
                f"Try {path}._target_={node['_target_']}.NAME, with the name of one.",
            )
    parameters: dict[str, object] = {}
    for callable_ in callables:
        try:
            signature = inspect.signature(callable_)
        except ValueError:  # some built-in callables have none to show
            return None
        hints = hints_of(callable_)
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                return None
            parameters[name] = hints.get(name, Any)
    return parameters if callables else None


def annotations_of(config: DictConfig, settings: Mapping[str, object], readers: Sequence[Reader]) -> dict[str, object]:
    """The annotated type of each key that something reads, by dotted key; of a key that others follow, theirs.

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
        parameters = _parameters_of(path, node, readers) or {}
        annotations |= {f"{path}.{key}": parameters[key] for key in node if key in parameters}
    sources = dict(_interpolated(as_written))
    for follower in sources:
        if follower in annotations:
            key = follower
            while key in sources:
                key = sources[key]
                annotations.setdefault(key, annotations[follower])
    return annotations


def plain_kinds(annotation: object) -> set[type]:
    """The types that a plain value of an annotated type may have; `object` stands for what is no plain value."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain_kinds(arguments[0])
    if origin in (Union, types.UnionType):
        return set().union(*map(plain_kinds, arguments))
    if origin is Literal:
        return {type(argument) for argument in arguments}
    return {type(None)} if annotation is None else {annotation} if annotation in _NAMES else {object}


def hints_of(part: Callable[..., object]) -> dict[str, object]:
    """The annotation of each parameter that has one."""
    return get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)


def is_path(annotation: object) -> bool:
    """Whether an annotation says that a parameter is a file or a folder, or may be one."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        return any(map(is_path, get_args(annotation)))
    return inspect.isclass(annotation) and issubclass(annotation, os.PathLike)


def is_called(annotation: object) -> bool:
    """Whether an annotation says that something is to be called."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return any(map(is_called, arguments))
    return origin is Callable


def _interpolated(tree: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key whose value follows another's, such as `${model.latent_dim}`, and that other key."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _interpolated(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, str) and (found := re.fullmatch(r"\$\{([\w.]+)\}", tree)):
        yield path, found[1]


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
    limit = _limit_of_arrays(value)
    return UserError(f"{key} is {as_typed(value)}, but must be {describe(annotation)}{limit and f', {limit}'}.", remedy)


def _meant(value: object) -> Iterator[str]:
    """What was probably meant by a text: without what stands around it, with a point for a decimal comma."""
    if isinstance(value, str):
        bare = value.strip().strip("'\"[](),;")
        yield from (bare, bare.replace(",", "."), bare.lower())


_WHOLE = re.compile(r"[+-]?\d+(_\d+)*", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(_\d+)*\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


def taken_as(value: object, annotation: object) -> object:
    """A value as a parameter takes it: text that reads as what is asked for, as environment variables have it, is that.

    So is a whole number that is written with a point or an exponent.

    Args:
        value: a plain value of a config.
        annotation: the parameter's.

    Returns:
        What matches the annotation, or the value itself where nothing that it reads as does.
    """
    if matches(value, annotation):
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        possibilities = arguments[:1] if origin is Annotated else arguments
        taken = [taken_as(value, possibility) for possibility in possibilities]
    elif isinstance(value, list) and inspect.isclass(origin) and issubclass(origin, Sequence):
        fixed = origin is tuple and Ellipsis not in arguments and len(arguments) == len(value)
        inner = arguments if fixed else arguments[:1] * len(value)
        taken = [[taken_as(each, kind) for each, kind in zip(value, inner, strict=False)]]
    elif isinstance(value, dict) and _is_mapping(annotation):
        taken = [{key: taken_as(each, arguments[1]) for key, each in value.items()}]
    else:
        taken = list(_readings(value))
    return next((reading for reading in taken if matches(reading, annotation)), value)


def _readings(value: object) -> Iterator[object]:
    """What a text, or a number with a point, may be read as besides."""
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text):
            with contextlib.suppress(ValueError):  # beyond what Python turns into a number
                yield int(text)
        if _NUMBER.fullmatch(text):
            number = float(text)
            yield from (*_readings(number), number)
        if text.lower() in _WORDS:
            yield _WORDS[text.lower()]
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        yield int(value)


def _put(config: DictConfig, key: str, value: object) -> None:
    owner, _, name = key.rpartition(".")
    node = OmegaConf.select(config, owner) if owner else config
    with read_write(node), open_dict(node):
        node[name] = value


def _limit_of_arrays(value: object) -> str:
    """Which limit a number goes beyond whatever it is for, in words; "" for any other value."""
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"of {_BITS} bits at most"
    if isinstance(value, float) and _LARGEST < abs(value) < math.inf:
        return f"of {_LARGEST:g} at most"
    return ""


def matches(value: object, annotation: object) -> bool:
    """Whether a plain value of a config is of an annotated type and within its range."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *limits = arguments
        return matches(value, inner) and all(_within(value, limit) for limit in limits)
    if origin in (Union, types.UnionType):
        return any(matches(value, argument) for argument in arguments)
    if origin is Literal:
        return any(value == argument and type(value) is type(argument) for argument in arguments)
    if origin is tuple and Ellipsis not in arguments:
        return (
            isinstance(value, list)
            and len(value) == len(arguments)
            and all(matches(v, a) for v, a in zip(value, arguments, strict=True))
        )
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return isinstance(value, list) and all(matches(v, arguments[0]) for v in value)
    if _is_mapping(annotation):
        return isinstance(value, dict) and all(matches(v, arguments[1]) for v in value.values())
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not _limit_of_arrays(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and not _limit_of_arrays(value)
    if annotation in (bool, str):
        return isinstance(value, annotation)
    if is_path(annotation):
        return isinstance(value, str)
    if annotation in (None, type(None)):
        return value is None
    # Anything else is an object, which a config can only give as a node with a `_target_`.
    return annotation is Any


def _within(value: Any, limit: object) -> bool:
    match limit:
        case Ge(ge=bound):
            return bool(value >= bound)
        case Gt(gt=bound):
            return bool(value > bound)
        case Le(le=bound):
            return bool(value <= bound)
        case Lt(lt=bound):
            return bool(value < bound)
    return True


def describe(annotation: object) -> str:
    """What a value must be, in words: "a whole number of at least 1, or null"."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *limits = arguments
        bounds = [(_LIMITS[type(limit)][1], getattr(limit, _LIMITS[type(limit)][0])) for limit in limits]
        words = [f"{word} {bound}" for word, bound in bounds if bound != math.inf]
        return f"{describe(inner)}, {' and '.join(words)}"
    if origin in (Union, types.UnionType):
        return either([describe(argument) for argument in arguments])
    if origin is Literal:
        return either([as_typed(argument) for argument in arguments])
    if origin is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)}, each {describe(arguments[0])}"
    if inspect.isclass(origin) and issubclass(origin, Sequence | Mapping):
        kind = "a list" if issubclass(origin, Sequence) else "a mapping"
        return f"{kind}, each {describe(arguments[-1])}"
    return _NAMES.get(annotation, "a part with a _target_")  # type: ignore[call-overload, no-any-return]


def as_typed(value: object) -> str:
    """Write a value the way one types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(as_typed(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{as_typed(v)}' for k, v in value.items())}}}"
    return printable(value if not isinstance(value, str) or _reads_as_text(value) else f'"{value}"')


def as_word(key: str, value: object) -> str:
    """Write `key=value` the way one types it in a shell."""
    return shell.quoted(f"{key}={as_typed(value)}")


def _reads_as_text(text: str) -> bool:
    """Whether Hydra would read it as that text; "none" is a choice of several groups."""
    return text.lower() == "none" or (bool(text) and text == text.strip() and next(_readings(text), text) is text)


def _unknown(parent: str, key: object, value: object, known: Sequence[str], overrides: Sequence[str]) -> UserError:
    """The error for a key that nothing reads.

    Args:
        parent: the node that it lies in.
        key: its name there, which may be a number.
        value: what it is.
        known: the keys there that are read.
        overrides: what the user typed.
    """
    full_key = f"{parent}.{printable(key)}"
    group = full_key.partition(".")[0]
    if full_key not in {override.lstrip("+").partition("=")[0] for override in overrides}:
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
