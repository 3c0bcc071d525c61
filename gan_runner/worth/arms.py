"""The arms of the comparison: which images each classifier is trained on, and how its batches are sampled.

`real` and `class weights` sample images uniformly. All other arms sample every class equally often, and differ only in
the images of the scarce classes. Otherwise any added image, even a repeat, would help by making its class more common.
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
_APART = 0.75  # a ratio of the curve is left out if it is more than this share of the last one

Kind = Literal["cheap", "generated", "alone", "curve", "held back", "repeats"]
Change = Literal["none", "shifts", "shifts and flips", "mixup"]


@dataclass(frozen=True)
class Arm:
    """The training images of a classifier.

    Attributes:
        name: in tables and in the record.
        kind: `cheap`: no additional images; `generated`: real and generated images; `alone`: generated images only;
            `curve`: real and additional real images; `held back` and `repeats`: the controls, with additional real
            images and with the same images again.
        ratio: images added to each scarce class, as a multiple of its own.
        balanced: whether every class is sampled equally often.
        weighted: whether the loss is weighted by the inverse frequency of the class instead.
        change: augmentation of the training images.
    """

    name: str
    kind: Kind
    ratio: float = 0.0
    balanced: bool = True
    weighted: bool = False
    change: Change = "none"


REAL = Arm("real", "cheap", balanced=False)
OVERSAMPLING = Arm("oversampling", "cheap")
"""The arm that images are added to: the start of the curve."""


def arms(held_back: float, generated: Sequence[float] = GENERATED_RATIOS) -> list[Arm]:
    """All arms.

    Args:
        held_back: held-back real images as a multiple of the kept ones, for the class where this is lowest.
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
    """All images that the arms use.

    Attributes:
        images: uint8 [N, C, H, W] on the device.
        kept: rows of the kept real images, by class.
        held_back: rows of the held-back real images, by class.
        generated: rows of the generated images, by class.
        scarce: the classes that images are added to.
    """

    images: Tensor
    kept: Sequence[Tensor]
    held_back: Sequence[Tensor]
    generated: Sequence[Tensor]
    scarce: Sequence[int]

    def rows(self, arm: Arm, seed: Seed, number: CountOrZero) -> list[Tensor]:
        """The rows of each class that an arm is trained on.

        Each repetition adds other real images, and the control adds others than the curve.

        Args:
            arm: the arm.
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
    """The number of images that a ratio adds to a class with `own` images."""
    return max(1, round(ratio * own)) if ratio else 0
