"""The one exception for what a user can put right, and the words that its messages share."""

from __future__ import annotations

import contextlib
import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from gan_runner.trees import dotted


class UserError(Exception):
    """A mistake in what was asked for; printed as one message without a traceback.

    Args:
        problem: what is wrong: the key, its value and the rule that it breaks.
        remedy: what to type instead; starts with a capital and ends with a full stop.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        # A problem may quote what others wrote: names of files, what a library says of their contents.
        self.problem, self.remedy = printable_lines(problem), printable_lines(remedy)
        super().__init__(f"{self.problem}\n  {self.remedy}")

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str], dict[str, object]]:
        # Sweeps hand errors from one process to another, and whether they were told with them.
        return type(self), (self.problem, self.remedy), self.__dict__


def mark_as_told(error: Exception) -> None:
    """Note that a job has put this error into its log, and so on the screen."""
    error.__dict__["told"] = True


def was_told(error: Exception) -> bool:
    """Whether the user has read this error already."""
    return "told" in error.__dict__


class FirstError:
    """Has the error that came first go through, whatever fails while things are closed and written after it.

    A disk without room, for one, refuses the record of the failure too::

        with FirstError() as first, opened() as file:
            with first.noted():
                work(file)
    """

    def __init__(self) -> None:
        self._first: Exception | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """In here is what may fail first."""
        try:
            yield
        except Exception as error:
            self._first = self._first or error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        first = self._first
        if first is not None and error is not first and isinstance(error, Exception):
            context = first.__context__
            try:
                raise first
            finally:
                first.__context__ = context  # and not what came later


def problem_of(error: Exception) -> str:
    """What has gone wrong, in one line or a few, without the remedy."""
    return error.problem if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def too_little_memory_explained(remedy: str) -> Iterator[None]:
    """Turn what PyTorch, NumPy and Python raise where memory runs out into a message.

    Raises:
        UserError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_want_of_memory(error):
            said = str(error).partition("\n")[0]
            raise UserError(
                f"There is too little memory for this: {said or 'Python has none left'}.", remedy
            ) from error
        raise


def is_want_of_memory(error: Exception) -> bool:
    """Whether this is what PyTorch, NumPy and Python raise where memory runs out."""
    return isinstance(error, MemoryError) or bool(re.search(r"out of memory|allocate memory", str(error)))


def printable(text: object) -> str:
    r"""Text that somebody else chose, such as a file's name, fit for a terminal, a log and a dashboard.

    What is no printable character (escape codes, line breaks, marks that turn the direction of writing) becomes its
    escape in Python's notation, and a byte that is no UTF-8, as names in Latin-1 have, becomes ``\xe9``.
    """
    return "".join(each if each.isprintable() else _escaped(each) for each in str(text))


def shown_key(path: Sequence[object]) -> str:
    """A path of keys as one types it, printable."""
    return printable(dotted(path))


def is_one_line(text: str) -> bool:
    """Whether a text has neither line breaks nor other characters that steer a terminal."""
    return not any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in text)


def _escaped(character: str) -> str:
    raw = ord(character) - 0xDC00  # where Python's file system functions put a byte that they cannot decode
    return f"\\x{raw:02x}" if 0x80 <= raw <= 0xFF else character.encode("unicode_escape").decode()


def printable_lines(text: str) -> str:
    """Text of several lines, each of them `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def closest(word: str, possibilities: Sequence[str]) -> str:
    """The possibility most like a mistyped word, or "" where none is like it."""
    return next(iter(difflib.get_close_matches(word, possibilities, n=1)), "")


def either(possibilities: Sequence[str]) -> str:
    """Name possibilities, at least one: "a, b or c"."""
    *most, last = possibilities
    return f"{', '.join(most)} or {last}" if most else last
