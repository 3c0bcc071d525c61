"""Which classes and functions a folder's config may have built: a table, and what the user vouches for besides."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import gan_runner
from gan_runner import CONFIG_MODULE
from gan_runner.errors import UserError, either, printable, shown_key
from gan_runner.record.plain_yaml import Tree
from gan_runner.trees import leaves

# What of PyTorch a config may name in any group, besides this package's own parts.
_TORCH = re.compile(
    r"torch\.nn\.init\.[a-z]\w*[a-z]_"
    r"|torch\.optim\.(Adadelta|Adagrad|Adam|Adamax|AdamW|ASGD|NAdam|RAdam|RMSprop|Rprop|SGD)"
    r"|torch\.nn\.(CELU|ELU|GELU|Hardtanh|Identity|LeakyReLU|Mish|PReLU|ReLU|ReLU6|SELU|SiLU|Sigmoid|Softplus|Tanh)"
)
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_LONGEST = 100  # characters of a module's name
# How to make a part otherwise than from settings with names, which are what is looked at.
_OTHERWISE = ("_args_", "_recursive_", "_convert_")


@functools.cache
def table() -> dict[str, frozenset[str]]:
    """The groups that each class and function of this package's own YAML files is a part of, by its full name."""
    found: dict[str, set[str]] = {}
    for group in resources.files(CONFIG_MODULE).iterdir():
        if group.is_dir():
            for file in group.iterdir():
                if file.name.endswith(".yaml"):
                    for name in re.findall(r"_target_: *(gan_runner\.[\w.]+)", file.read_text(encoding="utf-8")):
                        found.setdefault(name, set()).add(group.name)
    return {name: frozenset(groups) for name, groups in found.items()}


@dataclass(frozen=True)
class Parts:
    """What may be built of what a folder asks for: the table's, each in its own group, PyTorch's, and the user's own.

    Attributes:
        trust: modules, or classes and functions by their full names, that the user vouches for.
        typed: names that the user has typed in an override, or chosen a file of.
    """

    trust: tuple[str, ...] = ()
    typed: frozenset[str] = frozenset()

    def hold(self, tree: Tree, group: str, path: tuple[Any, ...], asking: str) -> None:
        """Refuse a node that asks for anything else, before anything is imported.

        Args:
            tree: of a config, its references followed.
            group: that it lies in.
            path: of it, for messages.
            asking: who asks for it, for messages: "run is DIR, but its config".

        Raises:
            UserError: it does.
        """
        if isinstance(tree, list):
            for number, inner in enumerate(tree):
                self.hold(inner, group, (*path, number), asking)
        if not isinstance(tree, dict):
            return
        if "_target_" in tree:
            target = tree["_target_"]
            if not isinstance(target, str) or not self.may_be_built(target, group):
                raise _refusal(target, group, f"{asking} asks for {shown_key((*path, '_target_'))}")
        if not self._vouched_for(str(tree.get("_target_", ""))) and (
            how := next((key for key in _OTHERWISE if key in tree), None)
        ):
            raise UserError(
                f"{asking} asks for {shown_key((*path, how))}, which a folder that may come from others cannot.",
                "Give the component its settings by name there, or start a new run.",
            )
        for key, inner in tree.items():
            self.hold(inner, group, (*path, key), asking)

    def may_be_built(self, name: str, group: str | None = None) -> bool:
        """Whether a name is that of a part, of this group if one is given."""
        own = name in table() if group is None else group in table().get(name, ())
        return own or bool(_TORCH.fullmatch(name)) or self._vouched_for(name)

    def _vouched_for(self, name: str) -> bool:
        if name in self.typed:
            return True
        if not _DOTTED.fullmatch(name) or any(word.startswith("__") for word in name.split(".")):
            return False
        return any(name == trusted or name.startswith(f"{trusted}.") for trusted in self.trust)


def trusting(trust: object) -> Parts:
    """The table, and what a command's `trust` names, as a list or as one word."""
    named = trust if isinstance(trust, Sequence) and not isinstance(trust, str) else [trust]
    return Parts(tuple(map(str, named)))


def write_outside(tree: object) -> list[str]:
    """This package's own loggers in a config that write outside of a run's folder, by their full names."""
    own = sorted(name for name in names_in(tree) if "logger" in table().get(name, ()))
    return [name for name in own if getattr(resolve_name(name), "writes_outside", False) is True]


def names_in(tree: object) -> frozenset[str]:
    """Every name of a class or function in a config."""
    return frozenset(name for path, name in leaves(tree) if path and path[-1] == "_target_" and isinstance(name, str))


def _refusal(target: object, group: str, asked: str) -> UserError:
    shown = printable(target)[:200]
    if isinstance(target, str) and target in table():
        return UserError(
            f"{asked}={shown}, which belongs to {either(sorted(table()[target]))}, not to {group}.",
            "Start a new run.",
        )
    module = str(target).partition(".")[0]
    if isinstance(target, str) and _DOTTED.fullmatch(target) and len(module) <= _LONGEST and _may_be_the_users(module):
        remedy = f"If you know what it is, add trust={module}."
    else:
        remedy = "Start a new run."
    return UserError(
        f"{asked}={shown}, which is not part of gan-runner: it would execute code from an untrusted folder.",
        remedy,
    )


def _may_be_the_users(module: str) -> bool:
    """Whether a module may be the user's: it belongs neither to Python nor to this or another installed package."""
    if module in sys.stdlib_module_names or module == gan_runner.__name__ or module.startswith("__"):
        return False
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    return not any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places if place)


# ---- where parts are made -------------------------------------------------------------------------------

_held_to: ContextVar[Parts | None] = ContextVar("_held_to", default=None)


@contextlib.contextmanager
def only(parts: Parts) -> Iterator[None]:
    """In here nothing else is made of any config."""
    token = _held_to.set(parts)
    try:
        yield
    finally:
        _held_to.reset(token)


def part_named(name: object) -> Any:
    """The class or function of a name, imported.

    Raises:
        UserError: it may not be built here, or there is none.
    """
    parts = _held_to.get()
    if not isinstance(name, str) or (parts is not None and not parts.may_be_built(name)):
        raise _refusal(name, "this config", "_target_")
    try:
        found = resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"_target_ is {printable(name)}, but no such class or function can be imported.",
            f"Check its spelling, and that its package is installed. Python says: {error}.",
        ) from error
    if not callable(found):
        raise UserError(f"_target_ is {printable(name)}, but that is not a class or function.", "Name one there.")
    if parts is not None and parts.trust and name not in parts.typed:
        _refuse_borrowed(name, found, parts)
    return found


def _refuse_borrowed(name: str, found: object, parts: Parts) -> None:
    """Refuse what a trusted module has only imported from elsewhere, such as `my_module.os.system`."""
    if name in table() or _TORCH.fullmatch(name) or not (inspect.isclass(found) or inspect.isroutine(found)):
        return
    home = str(found.__module__)
    if home.partition(".")[0] != name.partition(".")[0]:
        raise UserError(
            f"_target_ is {printable(name)}, which trust={','.join(parts.trust)} does not include: it is from "
            f"{printable(home)}.",
            "Start a new run, or add its module to trust if you know what it does.",
        )
