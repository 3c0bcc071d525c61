"""The ranges that settings live in, stated once as types.

A part states the range of a setting in its signature, and `validation` holds the config to it::

    def __init__(self, gamma: NonNegative) -> None: ...
"""

from __future__ import annotations

from math import inf
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Seed = Annotated[int, Ge(0), Lt(2**32)]
Positive = Annotated[float, Gt(0), Lt(inf)]
NonNegative = Annotated[float, Ge(0), Lt(inf)]
Fraction = Annotated[float, Ge(0), Le(1)]
FractionBelowOne = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
CountOrZero = Annotated[int, Ge(0)]
TwoOrMore = Annotated[int, Ge(2)]
# Images that are drawn at a time: a config from elsewhere must not ask for all memory.
GridSide = Annotated[int, Ge(1), Le(50)]
UpToAThousand = Annotated[int, Ge(2), Le(1000)]
