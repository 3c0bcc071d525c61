"""The answer as one image: the learning curve of real images, the level of generated ones, and every arm's score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from gan_runner.record.pictures import INK, MARGIN, PAPER
from gan_runner.worth.answer import Answer
from gan_runner.worth.arms import OVERSAMPLING, Arm
from gan_runner.worth.statistics import Interval, interval

_TEXT, _ROW = 14, 24
_WIDE, _HIGH = 560, 260
_BAND = "#dbe6f3"
_COLOURS = {
    "cheap": "#7a7a7a",
    "generated": "#3465a4",
    "alone": "#3465a4",
    "curve": "#4e9a06",
    "held back": "#c17d11",
    "repeats": "#c17d11",
}


def picture_of(answer: Answer) -> Image.Image:
    """Draw the answer's sentences, the curve, and each arm's score with its 95% interval."""
    font = ImageFont.load_default(_TEXT)
    found = {arm.name: interval(answer.score(arm)) for arm in answer.arms}
    names = math.ceil(max(font.getlength(name) for name in found)) + MARGIN
    width = names + _WIDE + 3 * MARGIN
    lines = [line for sentence in answer.sentences() for line in _wrapped(sentence, width - 2 * MARGIN, font)]
    top = MARGIN + len(lines) * _ROW + MARGIN
    height = top + _HIGH + 2 * _ROW + MARGIN + (len(found) + 2) * _ROW
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.fontmode = "L"
    for number, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + number * _ROW), line, fill=INK, font=font)
    _draw_curve(draw, answer, found, (MARGIN + names, top), font)
    _draw_arms(draw, answer.arms, found, (MARGIN, top + _HIGH + 2 * _ROW + MARGIN, names), font)
    return page


def _draw_curve(
    draw: ImageDraw.ImageDraw,
    answer: Answer,
    found: dict[str, Interval],
    corner: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top = corner
    curve, generated = answer.curve, answer.generated
    places = [OVERSAMPLING, *(arm for arm in answer.arms if arm.kind == "curve")]
    scale = _ends([found[arm.name] for arm in (*places, generated)])
    most = math.log1p(curve.ratios[-1])

    def across(ratio: float) -> float:
        return left + (_WIDE - MARGIN) * math.log1p(ratio) / most

    def up(score: float) -> float:
        return top + _HIGH * (1 - _share(score, scale))

    draw.line([(left, top), (left, top + _HIGH), (left + _WIDE, top + _HIGH)], fill=INK)
    for score in scale:
        draw.text((left - MARGIN // 2, up(score)), f"{100 * score:z.1f}", fill=INK, font=font, anchor="rm")
    draw.text((left - MARGIN // 2, top + _HIGH // 2), "F1 of scarce", fill=INK, font=font, anchor="rm")
    found_there = found[generated.name]
    level = up(found_there.mean)
    draw.rectangle([left + 1, up(found_there.high), left + _WIDE, up(found_there.low)], fill=_BAND)
    draw.line([(left, level), (left + _WIDE, level)], fill=_COLOURS["generated"], width=2)
    draw.text((left + _WIDE, level - 3), generated.name, fill=_COLOURS["generated"], font=font, anchor="rb")
    points = [(across(arm.ratio), up(found[arm.name].mean)) for arm in places]
    draw.line(points, fill=_COLOURS["curve"], width=2)
    for arm, (x, y) in zip(places, points, strict=True):
        draw.line([(x, up(found[arm.name].low)), (x, up(found[arm.name].high))], fill=_COLOURS["curve"])
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=_COLOURS["curve"])
        number = f"{round(arm.ratio * answer.own):,}"
        draw.text((x, top + _HIGH + 4), number, fill=INK, font=font, anchor="mt")
    title = "real images added to the scarce classes (blue: with generated images instead)"
    draw.text((left + _WIDE // 2, top + _HIGH + _ROW), title, fill=INK, font=font, anchor="mt")


def _draw_arms(
    draw: ImageDraw.ImageDraw,
    arms: Sequence[Arm],
    found: dict[str, Interval],
    corner: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    left, top, names = corner
    scale = _ends(list(found.values()))

    def across(score: float) -> float:
        return left + names + (_WIDE - MARGIN) * _share(score, scale)

    base = across(found[OVERSAMPLING.name].mean)
    draw.line([(base, top), (base, top + len(arms) * _ROW)], fill="#c8c8c8")
    for number, arm in enumerate(arms):
        each, middle = found[arm.name], top + number * _ROW + _ROW // 2
        draw.text((left + names - MARGIN // 2, middle), arm.name, fill=INK, font=font, anchor="rm")
        draw.line([(across(each.low), middle), (across(each.high), middle)], fill=_COLOURS[arm.kind], width=2)
        x = across(each.mean)
        draw.ellipse([x - 4, middle - 4, x + 4, middle + 4], fill=_COLOURS[arm.kind])
    for score in scale:
        place = (across(score), top + len(arms) * _ROW + 4)
        draw.text(place, f"{100 * score:z.1f}", fill=INK, font=font, anchor="mt")
    draw.text((left + names + _WIDE // 2, top + len(arms) * _ROW + _ROW), "F1 of scarce, 95% intervals (grey line: "
              "oversampling)", fill=INK, font=font, anchor="mt")  # fmt: skip


def _ends(found: Sequence[Interval]) -> tuple[float, float]:
    return min(each.low for each in found), max(each.high for each in found)


def _share(score: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return (score - low) / (high - low) if high > low else 0.5


def _wrapped(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
