"""The answer: how many real images the generated ones are worth, and whether something cheaper does as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gan_runner.errors import printable
from gan_runner.ranges import Count
from gan_runner.worth.arms import OVERSAMPLING, REAL, Arm
from gan_runner.worth.scores import Scores
from gan_runner.worth.statistics import Curve, Interval, Worth, interval

CONTROLS_CONFIDENCE = 0.99
"""With this confidence a correct control is called wrong in one comparison of a hundred."""

Verdict = Literal["yes", "no", "not measurable", "controls contradict"]


@dataclass(frozen=True)
class Control:
    """The measured worth of images whose worth is known.

    Attributes:
        arm: adds held-back real images, or the same real images again.
        expected: their true worth, as a multiple of the class's own real images.
        worth: the measured worth.
        right: whether the interval contains `expected`.
    """

    arm: Arm
    expected: float
    worth: Worth
    right: bool


@dataclass(frozen=True)
class Answer:
    """The result of the comparison.

    Attributes:
        arms: all arms, in the order of the table.
        scores: the scores of every repetition, by the arm's name.
        classes: names of the classes.
        scarce: the classes that images are added to; the score is their mean F1.
        counts: kept real images of each scarce class.
    """

    arms: Sequence[Arm]
    scores: Mapping[str, Sequence[Scores]]
    classes: Sequence[str]
    scarce: Sequence[int]
    counts: Sequence[Count]

    @property
    def own(self) -> int:
        """The number of kept real images of the scarce classes."""
        return sum(self.counts)

    def score(self, arm: Arm) -> Tensor:
        """The mean F1 of the scarce classes in each repetition, float64."""
        return torch.tensor([each.f1_of(self.scarce) for each in self.scores[arm.name]], dtype=torch.float64)

    @property
    def curve(self) -> Curve:
        """The score as a function of the number of added real images."""
        places = [OVERSAMPLING, *(arm for arm in self.arms if arm.kind == "curve")]
        scores = torch.stack([self.score(arm) for arm in places], 1)
        return Curve(tuple(arm.ratio for arm in places), scores)

    @property
    def controls(self) -> list[Control]:
        """The measured worth of the controls."""
        found = []
        for arm in self.arms:
            if arm.kind in ("held back", "repeats"):
                worth = self.curve.worth(self.score(arm), CONTROLS_CONFIDENCE)
                expected = arm.ratio if arm.kind == "held back" else 0.0
                right = worth.low - 1e-9 <= expected <= worth.high + 1e-9
                found.append(Control(arm, expected, worth, right))
        return found

    def _best(self, *kinds: str) -> Arm:
        return max((arm for arm in self.arms if arm.kind in kinds), key=lambda arm: float(self.score(arm).mean()))

    @property
    def generated(self) -> Arm:
        """The arm with generated images that scores best."""
        return self._best("generated")

    @property
    def cheap(self) -> Arm:
        """The best arm without additional images."""
        return self._best("cheap")

    @property
    def worth(self) -> Worth:
        """The worth of the generated images."""
        return self.curve.worth(self.score(self.generated))

    @property
    def gain(self) -> Interval:
        """The paired difference in score between the generated images and the best arm without additional images."""
        return interval(self.score(self.generated) - self.score(self.cheap))

    @property
    def real_gain(self) -> Interval:
        """The paired difference in score between the most added real images and none."""
        last = [arm for arm in self.arms if arm.kind == "curve"][-1]
        return interval(self.score(last) - self.score(OVERSAMPLING))

    @property
    def verdict(self) -> Verdict:
        """Whether generated images should be added."""
        if not all(control.right for control in self.controls):
            return "controls contradict"
        if self.real_gain.low <= 0 <= self.gain.high:
            return "not measurable"
        return "yes" if self.gain.low > 0 else "no"

    def sentences(self) -> list[str]:
        """The answer as two sentences: the worth of the images, and what to do."""
        return [self._worth_in_words(), self._verdict_in_words()]

    def _worth_in_words(self) -> str:
        worth, names = self.worth, _listed([self.classes[number] for number in self.scarce])
        added = self._images(self.generated.ratio)
        adding = f"adding {added} generated images to the {self.own:,} real ones of {names}"
        if worth.harms:
            return f"These images are worth no real ones: {adding} makes the classifier worse."
        if worth.low >= worth.last:
            most = self._images(worth.last)
            return (
                f"These images are worth more than {most} real ones: {adding} helps more than adding {most} real ones."
            )
        more = " or more" if worth.high >= worth.last else ""
        return (
            f"These images are worth {self._images(worth.ratio)} real ones (95% interval: {self._images(worth.low)} to "
            f"{self._images(worth.high)}{more}): {adding} helps as much."
        )

    def _verdict_in_words(self) -> str:
        gain = self.gain
        use = "the real images as they are" if self.cheap == REAL else self.cheap.name
        between = f"{_points(gain.low)} to {_points(gain.high)}"
        beside = f"the F1 of the scarce classes changes by {_points(gain.mean)} points ({between}) against {use}"
        match self.verdict:
            case "controls contradict":
                wrong = next(control for control in self.controls if not control.right)
                return (
                    f"No verdict: the comparison does not pass its check. The images of the arm {wrong.arm.name!r} are "
                    f"worth {self._images(wrong.expected)} real images, but {self._images(wrong.worth.low)} to "
                    f"{self._images(wrong.worth.high)} were measured. Try more seeds, or more updates."
                )
            case "not measurable":
                return (
                    "No verdict: even adding all held-back real images makes no measurable difference. Try more seeds, "
                    "or a smaller scarce=."
                )
            case "yes":
                return f"Yes, add generated images: {beside}."
            case "no":
                return f"No, use {use}: with generated images {beside}."

    def _images(self, ratio: float) -> str:
        return f"{round(ratio * self.own):,}"

    def table(self) -> str:
        """For each arm F1, accuracy, macro F1 and the recall of scarce classes, in percent, with intervals."""
        head = ["", "F1 of scarce", "accuracy", "macro F1"]
        head += [f"recall {printable(self.classes[number])}" for number in self.scarce[:_MOST_COLUMNS]]
        lines = [head]
        for arm in self.arms:
            scores = self.scores[arm.name]
            columns = [self.score(arm).tolist(), [each.accuracy for each in scores], [each.macro_f1 for each in scores]]
            columns += [[each.recall[number] for each in scores] for number in self.scarce[:_MOST_COLUMNS]]
            lines.append([arm.name, *map(_percent, columns)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [
            "  ".join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join(rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict,
            "answer": self.sentences(),
            "worth": _in_images(self.worth, self.own),
            "generated": self.generated.name,
            "best_cheap": self.cheap.name,
            "gain": asdict(self.gain),
            "controls": {
                control.arm.name: {
                    "right": control.right,
                    "expected": round(control.expected * self.own),
                    **_in_images(control.worth, self.own),
                }
                for control in self.controls
            },
            "scarce": [self.classes[number] for number in self.scarce],
            "own_images": self.own,
            "repetitions": len(self.scores[REAL.name]),
            "arms": {arm.name: self._of_arm(arm) for arm in self.arms},
        }

    def _of_arm(self, arm: Arm) -> dict[str, Any]:
        scores = self.scores[arm.name]
        return {
            "kind": arm.kind,
            "ratio": arm.ratio,
            "f1_of_scarce": asdict(interval(self.score(arm))),
            "accuracy": asdict(interval([each.accuracy for each in scores])),
            "macro_f1": asdict(interval([each.macro_f1 for each in scores])),
            "recall": {
                name: asdict(interval([each.recall[number] for each in scores]))
                for number, name in enumerate(self.classes)
            },
        }


_MOST_COLUMNS = 10  # classes whose recall the table shows; the JSON file has all
_MOST_NAMED = 4


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return f"{len(names)} classes"
    shown = list(map(printable, names))
    return f"class{'es' * (len(shown) > 1)} {' and '.join([', '.join(shown[:-1])] * (len(shown) > 1) + shown[-1:])}"


def _points(value: float) -> str:
    return f"{100 * value:+z.1f}"


def _percent(values: Sequence[float]) -> str:
    found = interval(values)
    return f"{100 * found.mean:z.1f} ±{100 * (found.high - found.mean):.1f}"


def _in_images(worth: Worth, own: Count) -> dict[str, Any]:
    return {
        "real_images": round(worth.ratio * own),
        "low": round(worth.low * own),
        "high": round(worth.high * own),
        "harms": worth.harms,
        "beyond_the_curve": worth.high >= worth.last,
    }
