"""What detectors say of images, as a table, in sentences, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gan_runner.detection.changes import CHANGES
from gan_runner.detection.scores import FEWEST_FOR_A_THRESHOLD, Scores

Name = Literal["d", "network", "probe"]

TITLES: Mapping[Name, str] = {"d": "the run's D", "network": "new network", "probe": "probe"}
"""The detectors, in the order of the table."""

OWN, CONTROL = "this run", "control: real images"
AS_THEY_ARE = next(iter(CHANGES))

_CHANCE = 3.0  # standard deviations from 0.5 within which a detector is no better than chance
_COIN = 0.02  # and so is what is as near to it, however many images say so
_KNOWS = 0.05  # by so much less of an area a detector does worse on images of another kind
_CONTROL_IS_OFF = 5.0  # standard deviations


@dataclass(frozen=True)
class Row:
    """What the detectors say of images of one kind beside real ones.

    Attributes:
        images: where those that stand for generated ones come from.
        change: what was done to both kinds, a key of `CHANGES`.
        scores: by detector; None of one that cannot judge these images.
    """

    images: str
    change: str
    scores: Mapping[Name, Scores | None]


@dataclass(frozen=True)
class Detected:
    """What was compared.

    Attributes:
        run: the run's folder.
        checkpoint: its `best` or `last` one, or an iteration.
        iteration: the checkpoint's.
        data: name and fingerprint of the training images.
        trained_on: images of each kind that the network and the probe were trained on.
        measured_on: held-out real images, and as many of the run's.
        threshold_from: further real images, which set the threshold.
        held_out: whether the run has seen none of the real images that are measured.
        extractor: name and fingerprint of what the probe's features come from.
        seed: of what is drawn and trained.
    """

    run: str
    checkpoint: str
    iteration: int
    data: str
    trained_on: int
    measured_on: int
    threshold_from: int
    held_out: bool
    extractor: str
    seed: int


@dataclass(frozen=True)
class DetectionReport:
    """How well detectors tell generated images from real ones.

    Attributes:
        about: what was compared.
        rows: the run's own images first, as they are and changed; then those of others.
        control: real images in the place of generated ones: the network and the probe are trained again on these.
        left_out: why a detector judges no images, or not some, by detector.
        memorised: how well D tells real images that are held out, in the place of generated ones, from its training
            images; None where D judges nothing, or nothing is held out.
        notes: what else is to be known, a sentence each.
        seconds: that it took.
    """

    about: Detected
    rows: Sequence[Row]
    control: Row
    left_out: Mapping[Name, str]
    memorised: Scores | None
    notes: Sequence[str]
    seconds: float

    def of(self, images: str, detector: Name, change: str = AS_THEY_ARE) -> Scores | None:
        """What a detector says of images; None where it cannot judge them, or there are none of that name."""
        found = (row.scores[detector] for row in self.rows if (row.images, row.change) == (images, change))
        return next(found, None)

    def table(self) -> str:
        """The numbers as text, a line for each kind of images and what was done to them, and what they are of."""
        lines = [["images", *(["AUC", "AP", "hits"] * len(TITLES))]]
        for row in (*self.rows, self.control):
            name = row.images if row.change == AS_THEY_ARE else f"  {row.change}"
            lines.append([name, *(cell for detector in TITLES for cell in _cells(row.scores[detector]))])
        return "\n".join([*_aligned(lines), self._measured_on])

    @property
    def _measured_on(self) -> str:
        about = self.about
        which = "held-out" if about.held_out else "training"
        hits = f"hits: share found at 1% false alarms, by {about.threshold_from:,} further real images"
        if about.threshold_from < FEWEST_FOR_A_THRESHOLD:
            hits = f"hits: need {FEWEST_FOR_A_THRESHOLD} further real images, there are {about.threshold_from}"
        return (
            "AUC, AP (average precision): 0.5 is chance, 1 is always right\n"
            f"{hits}\n"
            f"measured on {about.measured_on:,} generated and as many {which} real images\n"
            f"network and probe: trained on {about.trained_on:,} others of each kind, of this run alone"
        )

    def sentences(self) -> list[str]:
        """What the numbers mean, in plain words."""
        return [*self._of_d(), *self._of_the_network(), *self._of_others(), *self._of_changes(), *self._cautions()]

    def _of_d(self) -> Iterator[str]:
        own = self.of(OWN, "d")
        if own is None:
            yield f"The run's D is left out: {self.left_out['d']}."
            return
        ranks = (
            f"of a generated image and a real one, it gives the generated one the lower logit {own.auc:.1%} of the time"
        )
        if _is_chance(own):
            yield (
                f"The run's D is no better than chance here: {ranks}. That is where training aims, and no proof "
                "of good images: D was trained against a G that moved on."
            )
        elif own.auc < 0.5:
            yield (
                f"The run's D ranks the images the wrong way round: {ranks}. It takes generated images for more "
                "real than held-out real ones."
            )
        else:
            yield f"The run's D still tells the images apart: {ranks}; 50% is chance."
        if self.memorised is not None and not _is_chance(self.memorised) and self.memorised.auc > 0.5:
            yield (
                f"D knows its training images: it gives them a higher logit than real images that it has not seen in "
                f"{self.memorised.auc:.1%} of pairs. Part of what it knows is learned by heart."
            )

    def _of_the_network(self) -> Iterator[str]:
        own = self.of(OWN, "network")
        if own is None:
            return
        told = f"A new network, trained on this run's images, tells generated from real {own.accuracy:.1%} of the time"
        if _is_chance(own):
            yield f"{told}: it finds no difference, and 50% is chance."
        else:
            beside = self.of(OWN, "d")
            more = " It is the stricter judge." if beside is not None and own.auc > beside.auc + _KNOWS else ""
            yield f"{told}; 50% is chance.{more}"

    def _of_others(self) -> Iterator[str]:
        names = dict.fromkeys(row.images for row in self.rows if row.images != OWN)
        falls = []
        for name in names:
            own, other = self.of(OWN, "network"), self.of(name, "network")
            if own is not None and other is not None:
                how = "as well" if abs(other.auc - own.auc) < _KNOWS else "worse" if other.auc < own.auc else "better"
                falls.append(f"{name} {how} (AUC {other.auc:.3f} against {own.auc:.3f})")
        if falls:
            yield f"On images that it was not trained on the new network does: {'; '.join(falls)}."
        yield (
            "A detector knows the generator that it was trained on. How well it finds images of any other is another "
            "question"
            + (", and what it says of these says nothing of a third." if names else ": see others and samples.")
        )

    def _of_changes(self) -> Iterator[str]:
        own = self.of(OWN, "network")
        if own is None:
            return
        changed = {change: self.of(OWN, "network", change) for change in CHANGES if change != AS_THEY_ARE}
        lost = [
            f"{change} to {scores.auc:.3f}"
            for change, scores in changed.items()
            if scores is not None and scores.auc < own.auc - _KNOWS
        ]
        if lost:
            falls = f"The new network's AUC of {own.auc:.3f} falls {', '.join(lost)}"
            yield f"{falls}, although both kinds were changed alike."

    def _cautions(self) -> Iterator[str]:
        off = [
            f"{TITLES[name]} {scores.auc:.3f}"
            for name, scores in self.control.scores.items()
            if scores is not None and abs(scores.auc - 0.5) > max(_COIN, _CONTROL_IS_OFF * scores.deviation)
        ]
        if off:
            told = "real images are told from real ones"
            yield f"The control is off: {told} ({', '.join(off)}), so do not trust the rest."
        if not self.about.held_out:
            yield (
                "Nothing is held out of these data: the run has learned the real images that are measured, and D may "
                "know them by heart. data.holdout=0.1 in training holds some out."
            )
        yield from (f"{TITLES[name]} does not judge some images: {why}." for name, why in self._partly.items())
        yield from self.notes

    @property
    def _partly(self) -> dict[Name, str]:
        return {name: why for name, why in self.left_out.items() if self.of(OWN, name) is not None}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self.about),
            "images": [_plain(row) for row in self.rows],
            "control": _plain(self.control),
            "left_out": dict(self.left_out),
            "memorised": None if self.memorised is None else self.memorised.as_dict(),
            "sentences": self.sentences(),
            "seconds": round(self.seconds, 1),
        }


def _is_chance(scores: Scores) -> bool:
    return abs(scores.auc - 0.5) <= max(_COIN, _CHANCE * scores.deviation)


def _plain(row: Row) -> dict[str, Any]:
    scores = {name: None if each is None else each.as_dict() for name, each in row.scores.items()}
    return {"images": row.images, "change": row.change, "scores": scores}


def _cells(scores: Scores | None) -> list[str]:
    if scores is None:
        return ["", "", ""]
    hits = "" if scores.hits is None else f"{scores.hits:.1%}"
    return [f"{scores.auc:.3f}", f"{scores.average_precision:.3f}", hits]


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text, the first column to the left, below the detectors' titles."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    of_each = [sum(widths[first : first + 3]) + 4 for first in range(1, len(widths), 3)]
    titles = [title.rjust(width) for title, width in zip(TITLES.values(), of_each, strict=True)]
    rest = [
        [
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return ["  ".join(cells).rstrip() for cells in ([" " * widths[0], *titles], *rest)]
