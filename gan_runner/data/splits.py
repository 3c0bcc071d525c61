"""Which images of a set train, and which are held out to judge by.

A set with test files of its own is judged by those. Any other set trains on all of its images unless the user
holds out a share of them: a runner that quietly trained on less would change runs that were made before, and
images that a network has seen are no test of it. So where nothing is held out there is no test split, and
whoever measures says that the real images were the training ones.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from gan_runner.errors import UserError
from gan_runner.ranges import FractionBelowOne

Split = Literal["train", "test"]
"""The images that train, or those that are held out; `data.limit` is of the training images alone."""


class NoTestSplitError(UserError):
    """A set has no images besides those that train."""


def no_test_files(root: str, name: str, files: str) -> NoTestSplitError:
    """The error for a well-known set whose training files lie without those for tests."""
    return NoTestSplitError(
        f"data.root is {root}, but {name} has its training images there and not {files}.",
        "Put the missing files beside the others, or try data.download=true.",
    )


def rows_of(count: int, holdout: FractionBelowOne, split: Split, name: str) -> Tensor:
    """The rows of one split of a set without test files: every k-th row is held out, where the share is 1 / k.

    Rows at even distances take from every class where the classes lie together, as in folders.

    Args:
        count: images that there are.
        holdout: the share to hold out; 0 holds out none.
        split: which rows to give.
        name: what `data=` calls the set, for errors to say.

    Returns:
        int64, ascending; both splits together are all rows.

    Raises:
        NoTestSplitError: the test split of a set that holds nothing out.
        UserError: the share is too small for the test split to have an image.
    """
    if holdout == 0:
        if split == "test":
            raise NoTestSplitError(
                f"data={name} has no test images of its own, and data.holdout is 0: all of them train.",
                "Try data.holdout=0.1, which trains on nine in ten and judges by the others.",
            )
        return torch.arange(count)
    # The sum of shares passes a whole number at each held-out row; the margin is for shares such as 1/3.
    passed = [math.floor(number * holdout + 1e-9) for number in range(count + 1)]
    held_out = torch.tensor([after > before for before, after in pairwise(passed)])
    if not bool(held_out.any()):
        raise UserError(
            f"data.holdout is {holdout:g}, but a share so small holds out none of {count:,} images.",
            f"Try data.holdout={math.ceil(1000 / count) / 1000:g} or more, or data.holdout=0.",
        )
    return (held_out if split == "test" else ~held_out).nonzero().flatten()
