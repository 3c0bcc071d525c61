"""A run's samples as small thumbnails: the same latents over time, cut from its grids, in one strip."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from PIL import Image, UnidentifiedImageError

from gan_runner.machine.cores import cores
from gan_runner.ranges import Count
from gan_runner.record.data_folder import text
from gan_runner.record.pictures import CELL, CELLS, COLUMNS, GAP, NAMES, NAMES_WIDTH, WHITE, Pixels, opened_png
from gan_runner.report.runs import RunRecord

_LARGE = 4_000_000  # pixels; of larger grids one at a time is in memory, however many cores there are
_QUALITIES = (75, 30)  # of WebP, tried in turn until a strip is small enough
_LONGEST_NAME = 30  # letters
_MOST_CELLS = 10  # that belong to one image
_large = Lock()
_EFFORT = 2  # of WebP's encoder, 0 to 6; more takes several times as long for a few percent


# WebP draws no more than 16,383 pixels high, which these two keep to with cells of CELL pixels.
_UpToTen = Annotated[int, Ge(1), Le(10)]
_UpToTwentyFour = Annotated[int, Ge(1), Le(24)]


@dataclass(frozen=True)
class Strip:
    """The thumbnails of a run, one below the other.

    Attributes:
        width: of a thumbnail, in pixels.
        height: of a thumbnail, in pixels.
        iterations: of each thumbnail, rising.
        webp: the strip as a file, `len(iterations)` thumbnails high.
        names: what is written beside each row of a thumbnail; [] where nothing is.
        cells: what the cells show that belong to one image, from the left; [] where each is an image.
    """

    width: int
    height: int
    iterations: list[int]
    webp: bytes
    names: list[str]
    cells: list[str]


class Thumbnails:
    """How many samples are shown, and how large.

    Args:
        cells: rows and columns of each grid.
        times: grids of each run, at most.
        grids: grids of all runs together, at most, except that each run shows its first and its last.
        kilobytes: of each run, at most; larger strips are compressed more, and finally halved in size.
    """

    def __init__(self, cells: _UpToTen, times: _UpToTwentyFour, grids: Count, kilobytes: Count) -> None:
        self._cells = cells
        self._times = times
        self._grids = grids
        self._bytes = 1000 * kilobytes

    def times(self, runs: Sequence[RunRecord]) -> list[int]:
        """Choose the iterations at which all runs are shown: evenly from those that any of them has drawn."""
        drawn = sorted({iteration for run in runs for iteration in run.pictures})
        most = min(self._times, max(2, self._grids // max(1, len(runs))))
        if len(drawn) <= most:
            return drawn
        places = np.linspace(0, len(drawn) - 1, most).round().astype(int)
        return [drawn[place] for place in places]

    def strips(self, runs: Sequence[RunRecord], times: Sequence[int]) -> list[Strip | None]:
        """Cut each run's strip; None for a run without samples. Unreadable files are added to the run's problems."""
        with ThreadPoolExecutor(cores()) as threads:  # Pillow releases the GIL
            return list(threads.map(lambda run: self._strip(run, times), runs))

    def _strip(self, run: RunRecord, times: Sequence[int]) -> Strip | None:
        frames: dict[int, Pixels] = {}
        names: list[str] = []
        shown: list[str] = []
        for iteration in dict.fromkeys(_until(run.pictures, time) for time in times):
            if iteration is None:
                continue
            try:
                cells, names, shown = _first_cells(run.pictures[iteration], _layout(run), self._cells)
                if frames and cells.shape != next(iter(frames.values())).shape:
                    raise ValueError("its size differs from the earlier ones")
                frames[iteration] = cells
            except Exception as error:  # Pillow raises anything for damaged bytes
                name = f"samples/{run.pictures[iteration].name}"
                why = "it is not a PNG file" if isinstance(error, UnidentifiedImageError) else text(error)
                run.problems.append(f"{name} cannot be read: {why or type(error).__name__}.")
        if not frames:
            return None
        drawn = _as_drawn(np.stack(list(frames.values())))
        strip = Image.fromarray(np.concatenate([_laid_out(cells) for cells in drawn]))
        return self._encoded(strip, list(frames), names, shown)

    def _encoded(self, strip: Image.Image, iterations: list[int], names: list[str], cells: list[str]) -> Strip:
        for quality in _QUALITIES:
            if len(webp := _webp(strip, quality)) <= self._bytes:
                break
        else:
            height = max(1, strip.height // len(iterations) // 2)
            strip = strip.resize((max(1, strip.width // 2), height * len(iterations)), Image.Resampling.BOX)
            webp = _webp(strip, _QUALITIES[-1])
        return Strip(strip.width, strip.height // len(iterations), iterations, webp, names, cells)


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality, method=_EFFORT)
    return file.getvalue()


def _until(pictures: Mapping[int, Path], time: int) -> int | None:
    """The last of a run's grids up to an iteration."""
    return max((iteration for iteration in pictures if iteration <= time), default=None)


def _layout(run: RunRecord) -> tuple[int, int] | None:
    """How many columns and rows a run's grids have, if its config tells."""
    columns, rows = (run.settings.get(f"trainer.sample_{name}") for name in ("columns", "rows"))
    if isinstance(columns, int) and isinstance(rows, int) and columns > 0 and rows > 0:
        return columns, rows
    return None


def _first_cells(path: Path, layout: tuple[int, int] | None, most: int) -> tuple[Pixels, list[str], list[str]]:
    """Cut the first cells from a grid, and shrink them where they have more than CELL pixels.

    Args:
        path: an image file.
        layout: columns and rows of the grid; None shows the whole image, as one cell.
        most: columns, and rows, of what is cut out; of columns all that belong to one image.

    Returns:
        [rows, height, columns, width, channels], what is written beside each row, and what the cells of one image
        show; [] where there is nothing of the kind.

    Raises:
        Exception: it is not an image, or not such a grid.
    """
    with opened_png(path) as picture, _large if picture.width * picture.height > _LARGE else nullcontext():
        image = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        if layout is None:
            image.thumbnail((most * CELL, most * CELL))
            return np.asarray(image).reshape(1, image.height, 1, image.width, -1), [], []
        columns, rows = layout
        if (told := picture.info.get(COLUMNS, "")).isdecimal():
            columns = max(1, int(told))
        cells = _names(picture.info.get(CELLS))
        if not 1 < len(cells) <= min(columns, _MOST_CELLS) or columns % len(cells):
            cells = []
        if (names := picture.info.get(NAMES_WIDTH, "")).isdecimal():
            image = image.crop((min(int(names), image.width - 1), 0, image.width, image.height))
        if (image.width - GAP) % columns or (image.height - GAP) % rows:
            raise ValueError(f"it is not a grid of {columns} columns and {rows} rows")
        width, height = (image.width - GAP) // columns, (image.height - GAP) // rows
        together = max(1, len(cells))
        columns, rows = min(max(1, most // together) * together, columns), min(most, rows)
        pixels = np.asarray(image.crop((GAP, GAP, columns * width + GAP, rows * height + GAP)))
        names = _names(picture.info.get(NAMES))[:rows]
    return _shrunk(pixels.reshape(rows, height, columns, width, -1)[:, :-GAP, :, :-GAP]), names, cells


def _names(written: object) -> list[str]:
    """Names of a grid's rows or cells, as its file has them; [] where it has none, or something else."""
    try:
        names = json.loads(written) if isinstance(written, str) else None
    except (ValueError, RecursionError):
        return []
    return [str(name)[:_LONGEST_NAME] for name in names] if isinstance(names, list) else []


def _shrunk(cells: Pixels) -> Pixels:
    by = -(-max(cells.shape[1], cells.shape[3]) // CELL)
    if by == 1:
        return cells
    rows, height, columns, width, channels = cells.shape
    height, width = height // by, width // by
    blocks = cells[:, : height * by, :, : width * by].reshape(rows, height, by, columns, width, by, channels)
    means: Pixels = blocks.mean((2, 5)).round().astype(np.uint8)
    return means


def _as_drawn(frames: Pixels) -> Pixels:
    """Undo the enlargement that a grid gives its cells, as far as all frames have it.

    Args:
        frames: [times, rows, height, columns, width, channels].
    """
    height, width = frames.shape[2], frames.shape[4]
    for scale in range(CELL, 1, -1):
        if height % scale == width % scale == 0 and scale == CELL * scale // max(height, width):
            once: Pixels = frames[:, :, ::scale, :, ::scale]
            if np.array_equal(once.repeat(scale, 2).repeat(scale, 4), frames):
                return once
    return frames


def _laid_out(cells: Pixels) -> Pixels:
    """Put cells side by side again, a white pixel between them: [height, width], or [height, width, 3] in colour."""
    parted = np.pad(cells, ((0, 0), (0, 1), (0, 0), (0, 1), (0, 0)), constant_values=WHITE)
    rows, height, columns, width, channels = parted.shape
    pixels = parted.reshape(rows * height, columns * width, channels)[:-1, :-1]
    return pixels[..., 0] if channels == 1 else pixels
