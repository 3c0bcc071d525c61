"""What a part's signature says of its settings: the annotated type of each, its range, and what that is in words.

A part is a class or function that a node of a config names by `_target_`; ranges are those of `gan_runner.ranges`.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from gan_runner.errors import UserError, either, printable, shown_key
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


def holds_parts(value: object) -> bool:
    """Whether a value is a part, or a mapping of parts, that is checked as a node of its own."""
    return isinstance(value, dict) and ("_target_" in value or any(holds_parts(v) for v in value.values()))


def may_be_a_part(annotation: object) -> bool:
    """Whether an annotation has room for what a `_target_` makes, or for parts by name."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, Union, types.UnionType):
        return any(map(may_be_a_part, arguments[:1] if origin is Annotated else arguments))
    return annotation not in _NAMES and origin not in (Literal, tuple) and origin is not Sequence


def is_mapping(annotation: object) -> bool:
    """Whether an annotation is of a mapping, such as `Mapping[str, Penalty]`."""
    origin = get_origin(annotation)
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def parameters_of(
    path: str, node: Mapping[str, Any], others: Sequence[Callable[..., object]] = ()
) -> dict[str, object] | None:
    """Annotations by key of all who read a node; None where nobody does or somebody takes any key.

    Args:
        path: the node's, for messages.
        node: whose `_target_` reads it, if it has one.
        others: read it besides.

    Raises:
        UserError: its `_target_` names nothing that can be called.
    """
    callables = list(others)
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
                f"{path}._target_ is {node['_target_']}, but that is not a class or function.",
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


def check_settings(node: Mapping[str, Any], path: str, asking: str) -> None:
    """Hold the settings of a plain node, and those of the parts in it, to the signatures of what takes them.

    Args:
        node: as stored.
        path: the node's, for messages.
        asking: who asks for it, for messages: "DIR is an exported folder, but its config.json".

    Raises:
        UserError: a setting is unknown, of the wrong type or out of range.
    """
    parameters = parameters_of(path, node)
    for key, value in node.items():
        if isinstance(value, dict):
            check_settings(value, f"{path}.{key}", asking)
        if parameters is None or (key not in HYDRA_KEYS and holds_parts(value) and may_be_a_part(parameters.get(key))):
            continue
        if key not in HYDRA_KEYS and key not in parameters:
            raise UserError(
                f"{asking} sets {shown_key((path, key))}, which nothing reads.",
                "Take it out, or restore that file.",
            )
        annotation = HYDRA_KEYS[key] if key in HYDRA_KEYS else parameters[key]
        if not matches(value, annotation):
            raise UserError(
                f"{asking} says that {shown_key((path, key))} is {as_typed(value)[:200]}, but it must be "
                f"{describe(annotation)}.",
                "Restore that file.",
            )


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


def arguments_of(annotation: object) -> Sequence[object] | None:
    """The types of what something is called with, as its annotation says; None where it is not to be called."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return next((found for found in map(arguments_of, arguments) if found is not None), None)
    return list(arguments[0]) if origin is Callable and isinstance(arguments[0], list) else None


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
    elif isinstance(value, dict) and is_mapping(annotation):
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


def limit_of_arrays(value: object) -> str:
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
    if is_mapping(annotation):
        return isinstance(value, dict) and all(matches(v, arguments[1]) for v in value.values())
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and not limit_of_arrays(value)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool) and not limit_of_arrays(value)
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
    return _NAMES.get(annotation, "a component with a _target_")  # type: ignore[call-overload, no-any-return]


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
