"""Grids, timelines and animations of samples, and their files.

Images reach this module either as the network's floats in [-1, 1], which `to_uint8` turns into bytes, or as
those bytes. Every file is written under another name first, so that no half-written image is ever seen.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from gan_runner.errors import UserError, printable
from gan_runner.files import MEGABYTE, make_folders_to, opened, replacing

if TYPE_CHECKING:
    from torch import Tensor

Pixels: TypeAlias = NDArray[np.uint8]
Frame: TypeAlias = tuple[str, Image.Image]
Item = TypeVar("Item")

PAPER, INK = "white", "black"
WHITE = 255
GAP = 2  # pixels between two cells of a grid
CELL = 64  # pixels; images are enlarged as far as they fit in a cell of this size
MARGIN = 12  # pixels between two frames of a timeline
CAPTION_HEIGHT, CAPTION_SIZE = 30, 20  # pixels
ANIMATION_SECONDS = 8.0  # what an animation aims at, as far as its frames stay within the two limits below
SHORTEST_FRAME, LONGEST_FRAME = 0.04, 0.5  # seconds; viewers slow down what is much shorter
LARGEST_GRID = 64_000_000  # pixels; runs write smaller grids, and a larger file could be meant to fill the memory
MOST_FRAMES = 100  # of an animation; five hundred would take 10 s and half a gigabyte to write
_LONGEST_FOLDER_NAME = 200  # bytes; file systems take 255
# Names of devices, which Windows opens in place of a file or a folder, whatever ending they have.
_RESERVED = re.compile("(?i:con|prn|aux|nul|conin\\$|conout\\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])")
NAMES_WIDTH, NAMES = "names-width", "names"
"""Keys of a PNG file's text: how many pixels on the left are for the names of rows, and the names as a JSON list."""
COLUMNS, CELLS = "columns", "cells"
"""Keys of a PNG file's text, of a grid where several cells belong to one image: the cells in a row, and what those of
an image show, as a JSON list."""
_NAME_SIZE, _LONGEST_NAME = 16, 24  # pixels; characters
_NARROW = 10  # columns that a grid by class may have, however few images there are
LONGEST_SIDE = 16_383  # pixels of a WebP file
_ANIMATIONS: Mapping[str, Mapping[str, Any]] = {
    ".webp": {"format": "WEBP", "lossless": True, "quality": 0, "method": 0},  # more effort takes several times as long
    ".gif": {"format": "GIF"},
}
LAST_FRAME = 2.0  # seconds; the result is what one looks at


def to_uint8(images: Tensor) -> Pixels:
    """Turn a network's images into bytes: the inverse of `x / 127.5 - 1`, exact for all 256 values.

    Args:
        images: [N, C, H, W] in [-1, 1], any floating type, device and memory format. What lies outside is
            clamped, and a diverged network's NaN becomes mid-grey.

    Returns:
        [N, H, W, C] in 0..255, rounded to the nearest.
    """
    levels = images.detach().float().nan_to_num().mul(127.5).add(127.5).round().clamp(0, 255).byte()
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def grid(images: Pixels, columns: int, names: Sequence[str] = (), cells: Sequence[str] = ()) -> Image.Image:
    """Lay images out in reading order, a thin gap around each.

    Small images are enlarged by a whole factor, so that each pixel stays a crisp square. Cells that the last
    row leaves over keep the colour of the gaps.

    Args:
        images: [N, H, W, C] in 0..255, C being 1 (grey), 3 (RGB) or 4 (RGBA), which is shown on paper.
        columns: cells in a row, >= 1.
        names: what is written beside each row, on its left; () for nothing. The image's info, and its PNG file, have
            their width as `NAMES_WIDTH` and the names as `NAMES`.
        cells: what the cells show that belong to one image, from the left, such as input, output and truth. If there
            are several, the image's info, and its PNG file, have them as `CELLS` and the columns as `COLUMNS`.
    """
    images = _on_paper(images) if images.shape[-1] == 4 else images
    scale = max(1, CELL // max(images.shape[1:3]))
    enlarged = images.repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = enlarged.shape
    rows = math.ceil(count / columns)

    canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), WHITE, np.uint8)
    for position, cell in enumerate(enlarged):
        row, column = divmod(position, columns)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        canvas[top : top + height, left : left + width] = cell
    cells_alone = Image.fromarray(canvas[..., 0] if channels == 1 else canvas)
    page = _with_names(cells_alone, names, height + GAP) if any(names) else cells_alone
    if len(cells) > 1:
        page.info |= {COLUMNS: str(columns), CELLS: json.dumps(list(cells))}
    return page


def grid_by_class(images: Pixels, label: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """Lay images out with each class on rows of its own, and its name beside the first of them.

    Args:
        images: as for `grid`.
        label: the class of each, [N]; those of one class are neighbours.
        names: of the classes.
    """
    starts = np.flatnonzero(np.diff(label, prepend=-1))
    classes = np.split(images, starts[1:])
    most = max(map(len, classes))
    columns = math.ceil(most / math.ceil(most / max(_NARROW, near_square(len(images)))))  # or the last row has a few
    cells, beside = [], []
    for each, start in zip(classes, starts, strict=True):
        rows = math.ceil(len(each) / columns)
        blank = np.full((rows * columns - len(each), *each.shape[1:]), WHITE, np.uint8)
        cells += [each, blank]
        beside += [names[label[start]], *[""] * (rows - 1)]
    return grid(np.concatenate(cells), columns, beside)


def _with_names(cells: Image.Image, names: Sequence[str], row: int) -> Image.Image:
    font = ImageFont.load_default(_NAME_SIZE)
    shown = [printable(name) for name in names]
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..." for name in shown]
    width = math.ceil(max(font.getlength(name) for name in shown)) + 2 * MARGIN
    page = Image.new(cells.mode, (width + cells.width, cells.height), PAPER)
    draw = ImageDraw.Draw(page)
    for number, name in enumerate(shown):
        draw.text((width - MARGIN, GAP + number * row + row // 2), name, fill=INK, font=font, anchor="rm")
    page.paste(cells, (width, 0))
    page.info |= {NAMES_WIDTH: str(width), NAMES: json.dumps(shown)}
    return page


def _on_paper(images: Pixels) -> Pixels:
    """RGBA [N, H, W, 4] as RGB, with white where it is transparent."""
    opaque = images[..., 3:].astype(np.float32) / WHITE
    mixed: Pixels = (images[..., :3] * opaque + WHITE * (1 - opaque)).round().astype(np.uint8)
    return mixed


def png_bytes(picture: Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    _save_png(picture, buffer)
    return buffer.getvalue()


def _save_png(picture: Image.Image, file: IO[bytes]) -> None:
    text = PngInfo()
    for key in (NAMES_WIDTH, NAMES, COLUMNS, CELLS):
        if key in picture.info:
            text.add_text(key, picture.info[key])
    picture.save(file, format="PNG", pnginfo=text)


def near_square(count: int) -> int:
    """The number of columns that makes a grid of `count` >= 1 cells nearly square, never higher than wide."""
    return math.isqrt(count - 1) + 1


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Pick at most `most` items at even distances, including the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(number * (len(items) - 1) / (most - 1))] for number in range(most)]


def first_middle_last(frames: Sequence[Frame]) -> list[Frame]:
    """Pick the first, a middle and the last frame; all of them if there are three or fewer."""
    return [frames[i] for i in sorted({0, len(frames) // 2, len(frames) - 1})]


def timeline(frames: Sequence[Frame]) -> Image.Image:
    """Set frames side by side, each under its caption.

    Args:
        frames: one or more captions ("epoch 1") with their images, grey or RGB; the result is RGB if any of them is.
    """
    captioned = [_captioned(frame, _width(frame)) for frame in frames]
    mode = "RGB" if any(picture.mode == "RGB" for picture in captioned) else "L"
    size = (
        sum(picture.width for picture in captioned) + MARGIN * (len(captioned) - 1),
        max(picture.height for picture in captioned),
    )
    strip = Image.new(mode, size, PAPER)
    left = 0
    for picture in captioned:
        strip.paste(picture, (left, 0))
        left += picture.width + MARGIN
    return strip


def animation(frames: Sequence[Frame], path: Path) -> None:
    """Write frames that are shown one after the other, hold the last one, and start again.

    Few frames are shown for half a second each; many share about eight seconds, as far as viewers can follow.

    Args:
        frames: one or more captions with their images, all of one size and mode.
        path: the file to write or replace: `.webp` keeps every colour, `.gif` 256 a frame. Frames that are larger than
            a WebP file can hold are drawn smaller.
    """
    width = max(_width(frame) for frame in frames)
    first, *others = frames
    smaller = math.ceil(max(width, CAPTION_HEIGHT + first[1].height) / LONGEST_SIDE)
    each = min(max(ANIMATION_SECONDS / len(frames), SHORTEST_FRAME), LONGEST_FRAME)
    milliseconds = [round(1000 * seconds) for seconds in [each] * len(others) + [LAST_FRAME]]
    with replacing(path) as file:
        _captioned(first, width).reduce(smaller).save(
            file,
            **_ANIMATIONS[path.suffix],
            save_all=True,
            append_images=(_captioned(frame, width).reduce(smaller) for frame in others),
            duration=milliseconds,
            loop=0,
        )


def save_atomically(image: Image.Image, path: Path) -> None:
    """Write or replace a PNG file; no half-written file is ever seen."""
    with replacing(path) as file:
        _save_png(image, file)


@contextmanager
def opened_png(path: Path, most: int = LARGEST_GRID) -> Iterator[Image.Image]:
    """Open an untrusted PNG file, reading only its header.

    Args:
        path: the file.
        most: pixels that it may have.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
        ValueError: it is too large.
        Exception: anything that Pillow raises for other files.
    """
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > 4 * most + MEGABYTE:
            raise ValueError("it is too large")
        with Image.open(file, formats=["PNG"]) as picture:
            if picture.width * picture.height > most:
                raise ValueError("it is too large")
            yield picture


def free_name(path: str) -> str:
    """The path, or the path with -2, -3, ... before its ending if it exists already."""
    wanted, number = Path(path), 2
    free = wanted
    while os.path.lexists(free):
        free = wanted.with_stem(f"{wanted.stem}-{number}")
        number += 1
    return str(free)


def check_output(output: Path | str) -> None:
    """Refuse an output path for samples before they are drawn.

    Args:
        output: what `write_samples` will be given.

    Raises:
        UserError: the ending names no format, or there is something already.
    """
    path = Path(output)
    if _is_folder(output):
        taken = os.path.lexists(path) and not (path.is_dir() and next(path.iterdir(), None) is None)
    elif path.suffix.lower() in (".png", ".npz"):
        taken = os.path.lexists(path)
    else:
        raise UserError(
            f"output={output} has no known format for samples.",
            "End it in .png for one grid, in .npz for an array arr_0 of uint8 [N, H, W, C], "
            "or in / for a folder of PNG files.",
        )
    if taken:
        raise UserError(
            f"output={output} exists already, and gan-sample overwrites nothing.",
            "Choose another path for output, or move it away.",
        )


def write_samples(
    images: Pixels, output: Path | str, label: NDArray[np.int64] | None = None, classes: Sequence[str] = ()
) -> None:
    """Write images in the form that the output's ending names, making the folders on the way.

    Args:
        images: [N, H, W, C] in 0..255, C being 1, 3 or 4, N at least 1.
        output: `.png` is one grid, `.npz` holds `arr_0` [N, H, W, C], and a path that ends in `/`, or is an
            empty folder, becomes a folder of 00000.png, 00001.png and so on. For images by class, the grid starts a
            row for each class, the array's file also has `label` and `classes`, and the folder has one folder for
            each class.
        label: the class of each, [N]; those of one class are neighbours. None where they have none.
        classes: names of the classes.

    Raises:
        UserError: the ending is another one, there is something already, or nothing can be written there.
    """
    check_output(output)
    path = Path(output)
    make_folders_to(path, f"output={output}")
    if _is_folder(output):
        path.mkdir(exist_ok=True)
        names = folder_names(classes)
        folders = [path] * len(images) if label is None else [path / names[each] for each in label]
        for number, (image, folder) in enumerate(zip(images, folders, strict=True)):
            folder.mkdir(exist_ok=True)
            picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
            save_atomically(picture, folder / f"{number:05d}.png")
    elif path.suffix.lower() == ".png":
        by_class = None if label is None else grid_by_class(images, label, classes)
        save_atomically(by_class or grid(images, near_square(len(images))), path)
    else:
        with replacing(path) as file:
            if label is None:
                np.savez(file, images)
            else:
                np.savez(file, images, label=label, classes=np.array(classes))


def folder_names(classes: Sequence[str]) -> list[str]:
    """The names of classes as those of folders, no two alike on any system."""
    names: list[str] = []
    taken: set[str] = set()
    for wanted in map(_as_file_name, classes):
        free = next(name for number in itertools.count(1) if _alike(name := _numbered(wanted, number)) not in taken)
        names.append(free)
        taken.add(_alike(free))
    return names


def _alike(name: str) -> str:
    """What names have in common that some system takes for one: macOS and Windows do not tell letters' cases apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _as_file_name(name: str) -> str:
    """The name of a class as that of a folder on any system."""
    kept = "".join("-" if character in '<>:"/\\|?*' or not character.isprintable() else character for character in name)
    kept = kept.encode()[:_LONGEST_FOLDER_NAME].decode(errors="ignore").strip(" .") or "-"
    stem, dot, ending = kept.partition(".")
    return f"{stem}-{dot}{ending}" if _RESERVED.fullmatch(stem.rstrip()) else kept


def _is_folder(output: Path | str) -> bool:
    # A Path drops its trailing slash, so a new folder can only be recognised in the text.
    return str(output).endswith(("/", os.sep)) or Path(output).is_dir()


def _captioned(frame: Frame, width: int) -> Image.Image:
    """Write the caption into a strip of paper above the image, `width` pixels wide."""
    caption, picture = frame
    page = Image.new(picture.mode, (width, CAPTION_HEIGHT + picture.height), PAPER)
    page.paste(picture, (0, CAPTION_HEIGHT))
    ImageDraw.Draw(page).text((GAP, CAPTION_HEIGHT // 2), caption, fill=INK, font=_font(), anchor="lm")
    return page


def _width(frame: Frame) -> int:
    """The width of a frame with its caption, which may be wider than a small image."""
    caption, picture = frame
    return max(picture.width, math.ceil(_font().getlength(caption)) + 2 * GAP)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(CAPTION_SIZE)
