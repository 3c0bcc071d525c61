"""What torchrun tells the processes that it starts; read without PyTorch, whose import takes seconds."""

from __future__ import annotations

import os


def by_torchrun() -> bool:
    """Whether torchrun has started this process, alone or beside others."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """This process's number among those that train one run, of which the first, 0, speaks and keeps the record."""
    return int(os.environ["RANK"]) if by_torchrun() else 0
