"""Making parts of plain nodes: the only place that calls what a node's `_target_` names.

PyTorch is imported where it is needed: a sweep makes its logger without it.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from gan_runner.building.parts import part_named
from gan_runner.building.signatures import HYDRA_KEYS, arguments_of, hints_of
from gan_runner.contracts import described, what_it_is
from gan_runner.errors import UserError, is_want_of_memory

if TYPE_CHECKING:
    from torch import nn

    from gan_runner.data.image_set import Kind


def make(node: Mapping[str, Any], **given: object) -> Any:
    """Make what a node describes, and hand `given` on as it is.

    Args:
        node: its `_target_` and settings, in plain mappings, lists and values.
        **given: what the program gives besides.

    Returns:
        What the class or function gives.

    Raises:
        UserError: as the part itself raised it, or PyTorch refuses what it is given.
    """
    try:
        part = _with_settings(node)
        _refuse_what_cannot_be_called(node["_target_"], part)
        _refuse_missing(node["_target_"], part, given)
        return part(**given)
    except (TypeError, ValueError, RuntimeError) as error:
        if is_want_of_memory(error) or not _raised_by_pytorch(error):
            raise
        raise UserError(
            f"{node['_target_']} cannot be made, for PyTorch refuses a setting: {str(error).partition(chr(10))[0]}",
            "Give that setting, or what it follows, a value that it takes.",
        ) from error


def named_by(node: Mapping[str, Any]) -> Any:
    """The class or function that a node names, imported.

    Raises:
        UserError: it may not be built here, or there is none.
    """
    return part_named(node["_target_"])


def asked_for(node: Mapping[str, Any], offered: Mapping[str, object]) -> dict[str, object]:
    """Of what is offered, what the class or function that a node names has parameters for."""
    parameters = inspect.signature(resolve_name(node["_target_"])).parameters
    return {name: value for name, value in offered.items() if name in parameters}


def make_network(node: Mapping[str, Any], key: str, kind: Kind) -> nn.Module:
    """Make an untrained network for images of a kind: for their shape and, if it asks, classes and sources.

    Args:
        node: the network's.
        key: the node's, for messages.
        kind: of the images.

    Raises:
        UserError: what is made is no network.
    """
    from torch import nn

    known = asked_for(node, {"num_classes": len(kind.classes), "source_shape": kind.source})
    net = make(node, image_shape=kind.shape, **known)
    if not isinstance(net, nn.Module) or not any(True for _ in net.parameters()):
        raise UserError(
            f"{key} ({node['_target_']}) gives {what_it_is(net)}, but must be a torch.nn.Module with weights.",
            "Let _target_ name such a class.",
        )
    return net


def _with_settings(node: Mapping[str, Any]) -> functools.partial[Any]:
    """The class or function that a node names, with its settings, the parts among them made, and not yet called.

    A node's `_args_` are its settings without names; where `_recursive_` is false, its parts are handed on as they are
    described; where `_convert_` is none, mappings and lists are handed on as OmegaConf's.
    """
    settings = {key: value for key, value in node.items() if key not in HYDRA_KEYS}
    unnamed = node.get("_args_", [])
    if node.get("_recursive_", True):
        unnamed, settings = _made(unnamed), {key: _made(value) for key, value in settings.items()}
    if node.get("_convert_") == "none":
        settings = {key: _as_omegaconf(value) for key, value in settings.items()}
    return functools.partial(named_by(node), *unnamed, **settings)


def _made(tree: Any) -> Any:
    """A value of a node, with the parts in it made."""
    if isinstance(tree, list):
        return [_made(inner) for inner in tree]
    if not isinstance(tree, dict):
        return tree
    if "_target_" not in tree:
        return {key: _made(value) for key, value in tree.items()}
    part = _with_settings(tree)
    if tree.get("_partial_", False):
        return part
    try:
        return part()
    except TypeError as error:  # what is named is no such part
        raise UserError(
            f"{tree['_target_']} cannot be made: {error}",
            "Name another class or function there, or give it the arguments that it takes.",
        ) from error


def _as_omegaconf(value: Any) -> Any:
    from omegaconf import OmegaConf  # for parts that ask for it alone, none of which is this package's

    return OmegaConf.create(value, flags={"allow_objects": True}) if isinstance(value, dict | list) else value


def _raised_by_pytorch(error: Exception) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("torch.")


def _refuse_what_cannot_be_called(target: str, part: Callable[..., object]) -> None:
    """Refuse that a part is given something else where it calls what it is given, as networks do with initialisers."""
    given = part.keywords if isinstance(part, functools.partial) else {}
    for name, annotation in hints_of(resolve_name(target)).items():
        arguments = arguments_of(annotation)
        if arguments is None or (value := given.get(name)) is None:
            continue
        if not callable(value):
            raise UserError(
                f"{target} is given {what_it_is(value)} for {name}, but needs something callable.",
                f"Let {name} have a _target_ with _partial_: true, or leave it as its file has it.",
            )
        try:
            inspect.signature(value).bind(*arguments)
        except ValueError:  # some built-in callables have none to show
            continue
        except TypeError as error:
            called = described(value.func if isinstance(value, functools.partial) else value)
            raise UserError(
                f"{target} is given {called} for {name}, but cannot call it: {error}.",
                f"Give every argument of it without a default a line below {name}, or name another function there.",
            ) from error


def _refuse_missing(target: str, part: Callable[..., object], given: Mapping[str, object]) -> None:
    """Refuse a part whose constructor or function asks for more than the config and the program give."""
    try:
        inspect.signature(part).bind(**given)
    except ValueError:  # some built-in callables have none to show
        return
    except TypeError as error:
        raise UserError(
            f"{target} cannot be called with what its YAML file and the program give it: {error}.",
            "Give every argument without a default a line in the YAML file, and take what the program gives.",
        ) from error
