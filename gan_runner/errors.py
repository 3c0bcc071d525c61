"""The one exception for what a user can put right."""

from __future__ import annotations

from hydra.errors import CompactHydraException


class UserError(CompactHydraException):
    """A mistake in what was asked for; printed as one message without a traceback.

    Args:
        problem: what is wrong: the key, its value and the rule that it breaks.
        remedy: what to type instead; starts with a capital and ends with a full stop.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  {remedy}")
