"""An evaluation as a table, as plain values for JSON, and as one image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gan_runner.bars import folded
from gan_runner.data import Batch
from gan_runner.data.image_set import ImageSet
from gan_runner.errors import UserError, printable
from gan_runner.metrics.by_class import NOTHING, ByClass, by_class
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import Features, as_bytes, even_rows
from gan_runner.metrics.fingerprint import Fingerprint
from gan_runner.metrics.neighbours import nearest
from gan_runner.metrics.number import Number
from gan_runner.metrics.pairs import OF_CYCLES, OF_TRUTH, baselines, in_place_of, mean_picture
from gan_runner.metrics.reference import Reference, noise, reference, reference_pictures
from gan_runner.metrics.unpaired import OfSources
from gan_runner.ranges import Count, Seed
from gan_runner.record.pictures import INK, MARGIN, PAPER, WHITE, grid

_BATCH = 256
_SHOWN, _NEIGHBOURS = 8, 3  # images in the grid, and training images beside each
_MOST_BARS = 50  # classes that are drawn as bars
_TEXT = 14  # pixels
_ROW = 22
_BAR = 320
_BASELINES = {"source": "the unchanged source images", "mean": "the mean real image"}
_WIDTH = 80  # columns of a line of text
_DRAWN, _REAL, _GOOD = "#3465a4", "#b8b8b8", "#4e9a06"


@dataclass(frozen=True)
class Row:
    """A metric's value with those of real images and of noise.

    Attributes:
        name: such as `frechet_cnn_10k`.
        value: of the generated images.
        real: of real ones; None where they cannot tell.
        noise: of noise, or of copies.
        better: which end is good; None where neither is.
        says: what the number says.
        baselines: of what stands in the place of images that are drawn from others, by its name; see
            `gan_runner.metrics.pairs`.
    """

    name: str
    value: float | None
    real: float | None
    noise: float | None
    better: Literal["lower", "higher"] | None
    says: str
    baselines: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def place(self) -> float | None:
        """Where the value lies from that of real images, 0, to that of noise, 1; None where that means nothing."""
        if self.value is None or self.real is None or self.noise is None or self.better is None:
            return None
        return None if self.noise == self.real else (self.value - self.real) / (self.noise - self.real)


@dataclass(frozen=True)
class Told:
    """How well a network that was trained for it tells images from real ones; see `gan_runner.detection`.

    Attributes:
        accuracy: share that it tells right, of images that it was not trained on; 0.5 is chance.
        auc: chance that it gives a generated image the higher score of a generated and a real one.
        count: images of each kind that it is measured on.
        seconds: that this took.
    """

    accuracy: float
    auc: float
    count: Count
    seconds: float

    def __str__(self) -> str:
        return (
            f"told from real {self.accuracy:.1%} of the time by a network that was trained for it; 50% is chance "
            f"({self.count:,} images of each kind, {self.seconds:.0f} s)"
        )


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    Attributes:
        rows: the numbers.
        fingerprint: what they are numbers of.
        real_count: how many real images stand beside the generated ones: as many, or 0 where there are none.
        real_of: which those are, `test` or `train`.
        iteration: the checkpoint's; None for images whose maker is not known.
        classes: names of the classes and, of each, the share among the generated and among the real images;
            empty where the extractor knows none.
        suspects: the generated images that lie nearest to a training image, uint8 [n, C, H, W], nearest first.
        originals: the training images nearest to each, uint8 [n, k, C, H, W].
        by_class: of images that were drawn by class, how each class is; None for others.
        told: how well a network tells them from real ones; None where that was not asked for.
    """

    rows: Sequence[Row]
    fingerprint: Fingerprint
    real_count: int
    real_of: str
    iteration: int | None
    classes: Sequence[tuple[str, float, float]]
    suspects: Tensor
    originals: Tensor
    by_class: ByClass | None = None
    told: Told | None = None

    def table(self) -> str:
        """The numbers as text, a line each, and a line for each class."""
        by_class = [] if self.by_class is None else _lines_by_class(self.by_class)
        told = [] if self.told is None else [folded(str(self.told), _WIDTH)]
        fingerprint = folded(f"fingerprint: {self.fingerprint}", _WIDTH)
        return "\n".join([*_columns({"value": self}), *told, self.held_against, fingerprint, *by_class])

    @property
    def held_against(self) -> str:
        """The images behind the columns of the table, in lines of at most 80 columns."""
        which = {"test": "held-out images", "train": "training images outside the reference"}[self.real_of]
        real = f"{self.real_count:,} {which}" if self.real_count else "none outside the reference"
        baselines = "; ".join(f"{name}: {_BASELINES[name]}" for name in self.baselines)
        return (
            f"value: {self.fingerprint.generated:,} images; real: {real}\n"
            "noise: as many images of noise (memorised: copies of training images)\n"
            f"reference: {self.fingerprint.real:,} training images" + (f"\n{baselines}" if baselines else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no NaN: what does not exist is None."""
        return {
            "metrics": {row.name: row.value for row in self.rows},
            "real": {row.name: row.real for row in self.rows},
            "noise": {row.name: row.noise for row in self.rows},
            "better": {row.name: row.better for row in self.rows},
            "fingerprint": self.fingerprint.as_dict(),
            "iteration": self.iteration,
            "count": self.fingerprint.generated,
            "real_count": self.real_count,
            "real_of": self.real_of,
            "classes": {name: {"generated": drawn, "real": real} for name, drawn, real in self.classes},
            **({} if self.by_class is None else {"by_class": self.by_class.as_dict()}),
            **({} if self.told is None else {"told_from_real": asdict(self.told)}),
            **{name: {row.name: row.baselines.get(name) for row in self.rows} for name in self.baselines},
        }

    @property
    def baselines(self) -> list[str]:
        """What stands in the place of images that are drawn from others: `source` and `mean`, or nothing."""
        return list(dict.fromkeys(name for row in self.rows for name in row.baselines))

    def picture(self) -> Image.Image:
        """One page: suspected copies beside their originals, classes drawn, and each number's place."""
        parts = [_titled("Nearest to a training image, and the training images nearest to each", self._grid())]
        if 0 < len(self.classes) <= _MOST_BARS:
            parts.append(_titled("Classes drawn (blue) and real (grey)", _class_bars(self.classes)))
        if self.by_class is not None and len(self.by_class.names) <= _MOST_BARS:
            title = "Rows: the class that was asked for. Columns: what it is taken for, darker where more often"
            parts.append(_titled(title, _matrix(self.by_class)))
        places = [(row.name, row.place) for row in self.rows if row.place is not None]
        if places:
            title = f"From {self.real_count:,} real images (left) to as many of noise, or of copies (right)"
            parts.append(_titled(title, _place_bars(places)))
        page = Image.new(
            "RGB",
            (max(part.width for part in parts) + 2 * MARGIN, sum(part.height + MARGIN for part in parts) + MARGIN),
            PAPER,
        )
        top = MARGIN
        for part in parts:
            page.paste(part, (MARGIN, top))
            top += part.height + MARGIN
        return page

    def _grid(self) -> Image.Image:
        cells = torch.cat([self.suspects[:, None], self.originals], 1)
        columns = cells.transpose(0, 1).flatten(0, 1)  # one pair below the other
        return grid(columns.permute(0, 2, 3, 1).contiguous().numpy(), len(self.suspects)).convert("RGB")


def side_by_side(found: Mapping[str, EvaluationReport]) -> str:
    """Several evaluations in one table, without those that cannot be compared with the first, and why.

    Args:
        found: at least one, by what was looked at.
    """
    (first, one), *_ = found.items()
    why = {name: one.fingerprint.differences(each.fingerprint) for name, each in found.items()}
    text = [*_columns({name: each for name, each in found.items() if not why[name]}), one.held_against]
    text += [
        f"{name} is not compared with {first}: {'; '.join(differences)}."
        for name, differences in why.items()
        if differences
    ]
    return "\n".join(text)


def _columns(found: Mapping[str, EvaluationReport]) -> list[str]:
    """A line for each number: its value in each evaluation, and those of real images and of noise in the first."""
    one, *_ = found.values()
    lines = [["metric", *found, "real", "noise", *one.baselines, "better"]]
    by_name = [{row.name: row.value for row in each.rows} for each in found.values()]
    for row in one.rows:
        values = [numbers[row.name] for numbers in by_name]
        beside = [row.real, row.noise, *(row.baselines.get(name) for name in one.baselines)]
        lines.append([row.name, *map(_short, [*values, *beside]), row.better or ""])
    return _aligned(lines, edges=(0, len(lines[0]) - 1))


def _lines_by_class(found: ByClass) -> list[str]:
    """A line for each class, with the values of real images in brackets, and what looks wrong."""
    head = ["class", "images", "recognised", "(real)", "taken for", "frechet", "(real)", "coverage", "(real)"]
    lines = [head]
    for number, (name, drawn, real) in enumerate(
        zip(found.names, found.drawn, found.real or [NOTHING] * len(found.names), strict=True)
    ):
        row = [0 if column == number else count for column, count in enumerate(found.recognised[number])]
        other = found.names[row.index(max(row))] if any(row) else ""
        line = [printable(name), str(drawn.count), _percent(drawn.accuracy), _bracketed(_percent(real.accuracy))]
        line += [printable(other), _short(drawn.frechet), _bracketed(_short(real.frechet))]
        lines.append([*line, _short(drawn.coverage), _bracketed(_short(real.coverage))])
    pooled = f"{_percent(found.accuracy)} of the images are recognised as the requested class"
    beside = "" if found.real_accuracy is None else f" (real images: {_percent(found.real_accuracy)})"
    lacking = [printable(name) for name, real in zip(found.names, found.real, strict=False) if not real.count]
    apart = [f"No images are held out of {', '.join(lacking)}, so there are no values in brackets."] if lacking else []
    return ["", *_aligned(lines, edges=(0,)), f"{pooled}{beside}.", *apart, *found.findings]


def _bracketed(text: str) -> str:
    return f"({text})" if text else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _aligned(lines: Sequence[Sequence[str]], edges: Sequence[int]) -> list[str]:
    """Lines of cells as text, columns of these numbers to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in edges else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def evaluate_samples(
    samples: str,
    images: Tensor,
    metrics: FeatureMetrics,
    real: Count,
    generated: Count,
    seed: Seed,
    split: str = "train",
) -> EvaluationReport:
    """Evaluate images that any program wrote.

    Args:
        samples: what the user named.
        images: the images that were found there, uint8 [N, C, H, W].
        metrics: bound to the images that the program learned from.
        real: how many training images to compare with, at most.
        generated: how many of the images to look at, at most; no more than real ones can stand beside them.
        seed: of what is drawn in measuring.
        split: see `Fingerprint`.

    Raises:
        UserError: there are too few images.
    """
    if len(images) < metrics.fewest:
        raise UserError(
            f"samples is {samples}, but it holds {len(images)} images, where the metrics need {metrics.fewest}.",
            "Draw more images; 10,000 give steady numbers.",
        )
    images = images[even_rows(len(images), metrics.comparable(generated))]
    return report(images, metrics, real, seed, average=None, checkpoint=None, split=split)


def report(
    images: Tensor,
    metrics: FeatureMetrics,
    real: Count,
    seed: Seed,
    *,
    average: bool | None,
    checkpoint: str | None,
    iteration: int | None = None,
    split: str = "train",
    label: Tensor | None = None,
    drawn: Sequence[Batch] = (),
    further: OfSources | None = None,
) -> EvaluationReport:
    """Evaluate generated images, with the values of real images and of noise.

    Args:
        images: [N, C, H, W], uint8, or floating in [-1, 1].
        metrics: see `evaluate_samples`.
        real: see `evaluate_samples`.
        seed: see `evaluate_samples`.
        average: see `Fingerprint`.
        checkpoint: see `Fingerprint`.
        iteration: see `EvaluationReport`.
        split: see `Fingerprint`.
        label: the class that each was drawn as, int64 [N]; None where G is given none.
        drawn: the same images as they were drawn, floating, with their conditions, if they were drawn from others.
        further: bound metrics that look at those conditions; None for none.
    """
    images = as_bytes(images).cpu()
    training, held_out = metrics.training, metrics.held_out
    against = reference(metrics, real, len(images), seed)
    seen = metrics.extractor(images)
    values = metrics.numbers_of(seen, against.statistics)
    rows = [_row(name, number, values[name], len(images), against) for name, number in metrics.numbers.items()]
    if drawn:
        rows = _with_sources(rows, drawn, metrics, against, further)
    suspects, originals = most_alike(seen.vectors, metrics, _SHOWN, _NEIGHBOURS)
    return EvaluationReport(
        rows=rows,
        fingerprint=Fingerprint(
            data=f"{training.name}-{training.fingerprint}",
            held_out="none" if held_out is None else f"{held_out.name}-{held_out.fingerprint}",
            extractor=f"{metrics.extractor.name}-{metrics.extractor.fingerprint}",
            neighbours=metrics.neighbours,
            real=against.count,
            generated=len(images),
            split=split,
            seed=seed,
            metrics_seed=metrics.seed,
            average=average,
            checkpoint=checkpoint,
        ),
        real_count=against.real_count,
        real_of=against.real_of,
        iteration=iteration,
        classes=_classes(seen, training, against),
        suspects=images[suspects],
        originals=training.pixels(originals.flatten()).unflatten(0, originals.shape),
        by_class=None if label is None else by_class(seen, label, metrics, real),
    )


def _with_sources(
    rows: list[Row], drawn: Sequence[Batch], metrics: FeatureMetrics, against: Reference, further: OfSources | None
) -> list[Row]:
    """Numbers of images that were drawn from others, with further ones that look at the others too, and baselines."""

    def real() -> Iterator[Batch]:
        return (Batch(part.images).as_float() for part in reference_pictures(metrics.reference, against.count))

    stand_ins = baselines(drawn, mean_picture(real()))
    if further is None:
        beside = {name: metrics.measure(batches, against.statistics) for name, batches in stand_ins.items()}
        return [_beside(row, name, beside) for row, name in zip(rows, metrics.names, strict=True)]
    statistics, count = further.statistics(real()), sum(map(len, drawn))
    noises = [Batch(part.images).as_float().images for part in noise(metrics.reference.shape, count, seed=0)]
    found, of_noise = (further.measure(images, statistics) for images in (drawn, in_place_of(drawn, torch.cat(noises))))
    of_real = further.of_real(statistics, count)[0] | OF_TRUTH
    beside = {
        name: further.measure(batches, statistics) | metrics.measure(batches, against.statistics)
        for name, batches in stand_ins.items()
    }
    names = [name for name in further.names if name not in metrics.names]
    own = [
        Row(
            with_count(name, count),
            _finite(found[name]),
            _finite(of_real.get(name)),
            None if name.startswith(OF_CYCLES) else _finite(of_noise[name]),
            further.numbers[name].better,
            further.numbers[name].says,
        )
        for name in names
    ]
    return [_beside(row, name, beside) for row, name in zip([*rows, *own], [*metrics.names, *names], strict=True)]


def _beside(row: Row, name: str, beside: Mapping[str, Mapping[str, float]]) -> Row:
    """A row with what the baselines have of the number of this name."""
    return replace(row, baselines={stand_in: _finite(numbers[name]) for stand_in, numbers in beside.items()})


def most_alike(vectors: Tensor, metrics: FeatureMetrics, count: Count, k: Count) -> tuple[Tensor, Tensor]:
    """Which generated images lie nearest to a training image, and to which ones.

    Args:
        vectors: features of generated images, [N, dim].
        metrics: bound to the training set that they may be copies of.
        count: how many generated images to give.
        k: how many training images beside each.

    Returns:
        Indices of the generated images, int64 [n], nearest first; those of training images, int64 [n, k].
    """
    known, rows = metrics.known
    order = nearest(vectors, known, 1)[0][:, 0].argsort()[:count]
    _, which = nearest(vectors[order], known, min(k, len(known)))
    return order.cpu(), rows.cpu()[which.cpu()]


def with_count(name: str, count: Count) -> str:
    """The name of a number with the images that it is of, such as `frechet_cnn_10k`."""
    return f"{name}_{count // 1000}k" if count % 1000 == 0 else f"{name}_{count}"


def _row(name: str, number: Number, value: float, count: int, against: Reference) -> Row:
    real, noise = against.real[name], against.noise[name]
    return Row(with_count(name, count), _finite(value), _finite(real), _finite(noise), number.better, number.says)


def _classes(seen: Features, training: ImageSet, against: Reference) -> list[tuple[str, float, float]]:
    real: Mapping[str, Tensor] = against.statistics
    if seen.probabilities is None or seen.probabilities.shape[1] != len(training.classes) or "class_counts" not in real:
        return []
    counts = seen.probabilities.argmax(1).bincount(minlength=len(training.classes)).cpu()
    shares = [(part.double() / part.sum()).tolist() for part in (counts, real["class_counts"])]
    return list(zip(training.classes, *shares, strict=True))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _titled(title: str, picture: Image.Image) -> Image.Image:
    page = Image.new("RGB", (max(picture.width, math.ceil(_font().getlength(title))), picture.height + _ROW), PAPER)
    ImageDraw.Draw(page).text((0, _ROW // 2), title, fill=INK, font=_font(), anchor="lm")
    page.paste(picture, (0, _ROW))
    return page


def _class_bars(classes: Sequence[tuple[str, float, float]]) -> Image.Image:
    largest = max(max(drawn, real) for _, drawn, real in classes)
    left = _left([name for name, _, _ in classes])
    page = Image.new("RGB", (left + _BAR, _ROW * len(classes)), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (name, drawn, real) in enumerate(classes):
        top = _ROW * number
        draw.text((0, top + _ROW // 2), name, fill=INK, font=_font(), anchor="lm")
        for share, colour, above in ((drawn, _DRAWN, 3), (real, _REAL, 12)):
            draw.rectangle(
                (left, top + above, left + round((_BAR - 1) * share / largest), top + above + 6), fill=colour
            )
    return page


def _place_bars(places: Sequence[tuple[str, float]]) -> Image.Image:
    left = _left([name for name, _ in places])
    page = Image.new("RGB", (left + _BAR, _ROW * len(places)), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (name, place) in enumerate(places):
        middle = _ROW * number + _ROW // 2
        draw.text((0, middle), name, fill=INK, font=_font(), anchor="lm")
        draw.rectangle((left, middle - 1, left + _BAR - 1, middle + 1), fill=_REAL)
        at = left + 5 + round((_BAR - 11) * min(max(place, 0.0), 1.0))
        draw.ellipse((at - 5, middle - 5, at + 5, middle + 5), fill=_DRAWN)
    return page


def _matrix(found: ByClass) -> Image.Image:
    left = _left(found.names)
    page = Image.new("RGB", (left + _ROW * len(found.names), _ROW * len(found.names)), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (name, counts) in enumerate(zip(found.names, found.recognised, strict=True)):
        top = _ROW * number
        draw.text((0, top + _ROW // 2), name, fill=INK, font=_font(), anchor="lm")
        for column, count in enumerate(counts):
            light = round(WHITE * (1 - count / max(1, sum(counts))))
            square = (left + _ROW * column, top, left + _ROW * (column + 1) - 2, top + _ROW - 2)
            draw.rectangle(square, fill=(light, light, light), outline=_REAL)
    return page


def _left(names: Sequence[str]) -> int:
    return math.ceil(max(_font().getlength(name) for name in names)) + MARGIN


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)
