"""What a part of the user's own has to be, and whose fault it is where something fails."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator, Mapping
from typing import TypeVar

from gan_runner.errors import UserError, is_want_of_memory

T = TypeVar("T")

_SPECIAL = ("__call__", "__len__")


def described(part: object) -> str:
    """The class or function that a part is of, such as "my_losses.LeastSquares"."""
    kind = part if hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def foreign(part: object) -> bool:
    """Whether a part is the user's own; this package's are held to their contracts by its tests."""
    return not described(part).startswith("gan_runner.")


def what_it_is(value: object) -> str:
    """A value that a part has given, in words: "a float32 tensor of shape [8, 1]"."""
    from torch import Tensor

    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a{'n' * kind.startswith('i')} {kind} tensor of shape {list(value.shape)}"
    return "None" if value is None else f"{value!r:.60}, a {described(value).removeprefix('builtins.')}"


def members(protocol: type) -> list[str]:
    """The names of a protocol's attributes and methods, those of the protocols that it extends first."""
    names = dict.fromkeys(
        name for base in reversed(protocol.__mro__) for name in [*inspect.get_annotations(base), *vars(base)]
    )
    return [name for name in names if not name.startswith("_") or name in _SPECIAL]


def hold_to(part: T, protocol: type, key: str) -> T:
    """Give a part, if it has what its protocol names.

    Args:
        part: as the config made it.
        protocol: what it must have.
        key: the part's in the config.

    Raises:
        UserError: it lacks something.
    """
    needed = members(protocol)
    missing = [name for name in needed if not _has(part, name)]
    if missing:
        raise UserError(
            f"{key} is {described(part)}, which has no {', '.join(missing)}; it must have {', '.join(needed)}.",
            f"Add what is missing as gan_runner.{protocol.__name__} describes it, or make another choice of {key}.",
        )
    return part


def _has(part: object, name: str) -> bool:
    if name == "__call__":  # which every class has, to make what is of it
        return callable(part)
    # Asked of the class first, where it costs nothing: a property may compute for long.
    return hasattr(type(part), name) or hasattr(part, name)


@contextlib.contextmanager
def blaming(parts: Mapping[str, object]) -> Iterator[None]:
    """While parts are tried out: what one of them raises is told by its key and class.

    An error in a part of the user's own keeps its traceback, for that is where it is mended, and says whose it is.

    Args:
        parts: each by its key in the config; a network stands for all of its modules.

    Raises:
        UserError: a part has refused what it was given, or one of this package's could not take it.
    """
    try:
        yield
    except UserError as error:
        for key, part in parts.items():
            if error.problem.startswith(f"{key} ") and described(part) not in error.problem:
                raise UserError(f"{key} ({described(part)}){error.problem[len(key) :]}", error.remedy) from error
        raise
    except Exception as error:
        key = _culprit(error, parts)
        if key and foreign(parts[key]):
            error.add_note(f"This is {key} ({described(parts[key])}), tried out on a first batch.")
        elif key in _EXPECTS and not is_want_of_memory(error):
            raise UserError(
                f"{key} ({described(parts[key])}) fails on a first batch: {str(error).partition(chr(10))[0]}",
                f"Give it {_EXPECTS[key]}.",
            ) from error
        raise


_EXPECTS = {
    "model.generator": "latents of latent.dim numbers, which follows model.latent_dim, and two images a batch or more",
    "model.discriminator": "images of data.image_size and data.channels, and two images a batch or more",
}


def _culprit(error: Exception, parts: Mapping[str, object]) -> str:
    """The key of the part in which an error was raised, the innermost of them; empty where it was in none."""
    from torch import nn

    owners = {
        id(piece): key
        for key, part in parts.items()
        for piece in (part.modules() if isinstance(part, nn.Module) else [part])
    }
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = owners.get(id(frame.f_locals.get("self")), found)
    return found
