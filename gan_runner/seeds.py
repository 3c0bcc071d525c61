"""One derivation of every seed that is not the run's own: by what it is for, so that no two draws meet."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed in [0, 2^32) for one purpose.

    Hashing keeps neighbouring seeds and numbers apart, which adding them would not.

    Args:
        seed: the run's.
        purpose: what is drawn, such as "fixed latents".
        number: tells draws for one purpose apart, such as an iteration.
    """
    digest = hashlib.sha256(f"seed {seed} {purpose} {number}".encode()).digest()
    return int.from_bytes(digest[:4])


def generator_for(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Random numbers on the CPU for one purpose; see `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, number))
