"""The arms of the comparison: from which images each classifier learns, and how these come into its batches.

The plain arms draw images as often as the data have them. From oversampling on every class comes equally often in a
batch, and an arm differs in nothing but the images of its scarce classes: else any image that is added, were it a
repeat, would be worth something by making its class more common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gan_runner.ranges import Count, CountOrZero, Seed
from gan_runner.seeds import generator_for

GENERATED_RATIOS = (1.0, 3.0, 10.0)
CURVE_RATIOS = (0.3, 1.0, 3.0, 10.0)
_CONTROL_RATIO = 3.0
_APART = 0.75  # places of the curve are that far apart, as shares of the next, or it is not measured between them

Kind = Literal["cheap", "generated", "alone", "curve", "held back", "repeats"]
Change = Literal["none", "shifts", "shifts and flips", "mixup"]


@dataclass(frozen=True)
class Arm:
    """What a classifier learns from.

    Attributes:
        name: in tables, and in the record.
        kind: cheap: what costs nothing; generated: real and generated images; alone: generated ones; curve: real and
            further real images; held back and repeats: the controls, with further real images and with the same again.
        ratio: images that are added to each scarce class, as multiples of its own.
        balanced: whether every class comes equally often in a batch.
        weighted: whether the loss of an image counts by how rare its class is instead.
        change: what is done to images while learning.
    """

    name: str
    kind: Kind
    ratio: float = 0.0
    balanced: bool = True
    weighted: bool = False
    change: Change = "none"


REAL = Arm("real", "cheap", balanced=False)
OVERSAMPLING = Arm("oversampling", "cheap")
"""What images are added to: the place of the curve at which nothing is."""


def arms(held_back: float, generated: Sequence[float] = GENERATED_RATIOS) -> list[Arm]:
    """All arms.

    Args:
        held_back: real images that are held back, as multiples of those that are there, of the class with the fewest.
        generated: ratios of generated images.
    """
    last = min(held_back, CURVE_RATIOS[-1])
    places = [*(ratio for ratio in CURVE_RATIOS if ratio < _APART * last), last]
    control = min(_CONTROL_RATIO, last)
    return [
        REAL,
        Arm("class weights", "cheap", balanced=False, weighted=True),
        OVERSAMPLING,
        Arm("shifts", "cheap", change="shifts"),
        Arm("shifts and flips", "cheap", change="shifts and flips"),
        Arm("mixup", "cheap", change="mixup"),
        *(Arm(f"generated x{ratio:g}", "generated", ratio) for ratio in generated),
        Arm("generated alone", "alone"),
        *(Arm(f"more real x{ratio:.3g}", "curve", ratio) for ratio in places),
        Arm(f"control: held-back real x{control:.3g}", "held back", control),
        Arm(f"control: repeats x{control:.3g}", "repeats", control),
    ]


@dataclass(frozen=True, eq=False)
class Pool:
    """All images that arms choose from.

    Attributes:
        images: uint8 [N, C, H, W] on the device.
        kept: rows of the real images that are there, by class.
        held_back: rows of the real images that are held back, by class.
        generated: rows of generated images, by class.
        scarce: the classes that images are added to.
    """

    images: Tensor
    kept: Sequence[Tensor]
    held_back: Sequence[Tensor]
    generated: Sequence[Tensor]
    scarce: Sequence[int]

    def rows(self, arm: Arm, seed: Seed, number: CountOrZero) -> list[Tensor]:
        """The rows of each class that an arm learns from.

        Which real images are added is drawn again for every repetition, and for the control by itself.

        Args:
            arm: which.
            seed: of the comparison.
            number: of the repetition.
        """
        if arm.kind == "alone":
            return list(self.generated)
        added: Mapping[int, Tensor] = {}
        if arm.ratio:
            added = {each: self._added(arm, each, seed, number) for each in self.scarce}
        return [torch.cat([own, added[each]]) if each in added else own for each, own in enumerate(self.kept)]

    def _added(self, arm: Arm, each: int, seed: Seed, number: CountOrZero) -> Tensor:
        count = images_added(arm.ratio, len(self.kept[each]))
        if arm.kind == "repeats":
            return self.kept[each].repeat(-(-count // len(self.kept[each])))[:count]
        if arm.kind == "generated":
            return self.generated[each][:count]
        purpose = "a control's real images" if arm.kind == "held back" else "a curve's real images"
        rows = self.held_back[each]
        order = torch.randperm(len(rows), generator=generator_for(seed, f"{purpose} of class {each}", number))
        return rows[order[:count]]


def images_added(ratio: float, own: Count) -> int:
    """How many images a ratio of a class is."""
    return max(1, round(ratio * own)) if ratio else 0
