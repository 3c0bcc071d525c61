"""Generated images by class, with the nearest training image of each, and folders that other libraries can read."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gan_runner.errors import UserError, printable
from gan_runner.files import MEGABYTE, made_folder, new_folder, opened, read, replacing, set_aside, write_text
from gan_runner.metrics.neighbours import nearest, own_distances
from gan_runner.ranges import Count, CountOrZero, Fraction, Seed
from gan_runner.record.pictures import folder_names
from gan_runner.seeds import derived_seed
from gan_runner.worth.classifier import probabilities

CLOSE = 0.01
"""A generated image counts as copied if its distance to the nearest training image is below this quantile of the
distances from training images to their own nearest neighbours."""
IMAGES, MANIFEST = "images", "manifest.csv"
_LARGEST_MANIFEST = 128 * MEGABYTE
_TYPES = {
    "label": torch.int64,
    "images": torch.uint8,
    **dict.fromkeys(("seed", "place", "nearest", "left_out"), torch.int64),
    **dict.fromkeys(("confidence", "distance"), torch.float32),
    "copied": torch.bool,
}
_TRIES = 10  # at most so many times as many images as needed are drawn, where filters leave some out

Draw = Callable[[Sequence[int], int, int], NDArray[np.uint8]]
"""Draws images: (class numbers, images of each class, seed) to uint8 [N, H, W, C], class after class."""


@dataclass(frozen=True)
class Filters:
    """Which generated images are left out.

    Attributes:
        confidence: leave out images if the judge gives a lower probability to their class; None leaves none out.
        copies: whether copies are kept.
    """

    confidence: Fraction | None = None
    copies: bool = True


@dataclass(frozen=True)
class Generated:
    """Generated images, class after class.

    Attributes:
        images: uint8 [N, C, H, W].
        label: class, int64 [N].
        seed: seed of the latents, int64 [N].
        place: number of the image among those of its class and seed, int64 [N].
        confidence: probability that the judge gives to the class, float32 [N].
        nearest: row of the nearest training image of the class, int64 [N].
        distance: root mean squared difference to that image, with pixels in [0, 1], float32 [N].
        copied: whether it counts as a copy of that image, bool [N].
        left_out: how many images the filters have left out, int64 [classes].
    """

    images: Tensor
    label: Tensor
    seed: Tensor
    place: Tensor
    confidence: Tensor
    nearest: Tensor
    distance: Tensor
    copied: Tensor
    left_out: Tensor

    def rows(self, rows: Tensor) -> Generated:
        """Some of them."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        return Generated(**{name: value if name == "left_out" else value[rows] for name, value in every.items()})

    def of_class(self, number: CountOrZero) -> Tensor:
        """The rows of a class, int64."""
        return (self.label == number).nonzero().flatten()

    def fits(self, shape: tuple[int, int, int], counts: Sequence[CountOrZero], known: Count) -> bool:
        """Whether the images have this shape and these counts by class, and `nearest` is below `known`."""
        expected = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return (
            tuple(self.images.shape[1:]) == shape
            and self.label.equal(expected)
            and len(self.left_out) == len(counts)
            and bool(((self.nearest >= 0) & (self.nearest < known)).all())
        )


def generate(
    draw: Draw,
    counts: Sequence[CountOrZero],
    judge: nn.Module,
    training: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    filters: Filters,
    seed: Seed,
) -> Generated:
    """Draw images of each class, and compare each with the judge's opinion and with the training images.

    Args:
        draw: draws the images.
        counts: images to draw of each class.
        judge: a classifier of real images; see `trained`.
        training: the generator's training images, uint8 [N, C, H, W] on the CPU.
        labels: their classes, int64 [N].
        classes: names of the classes.
        filters: which images to leave out; others are drawn instead.
        seed: of the latents.

    Raises:
        UserError: the filters leave too few images.
    """
    parts = []
    first = _drawn_together(draw, counts, seed)
    for number, count in enumerate(counts):
        known = (labels == number).nonzero().flatten()
        of_class = _OfClass(training[known], known)
        found: list[dict[str, Tensor]] = []
        left_out, lacking = 0, count
        for attempt in range(_TRIES):
            if not lacking:
                break
            own_seed = seed if attempt == 0 else derived_seed(seed, "images in the place of others", attempt)
            drawn = first[number] if attempt == 0 else np.asarray(draw([number], count, own_seed))
            images = torch.from_numpy(np.ascontiguousarray(drawn.transpose(0, 3, 1, 2)))
            part = of_class.judged(images, probabilities(judge, images)[:, number])
            place = torch.arange(count)
            whole = {"label": torch.full((count,), number), "seed": torch.full((count,), own_seed), "place": place}
            part |= whole
            good = torch.ones(count, dtype=torch.bool)
            if filters.confidence is not None:
                good &= part["confidence"] >= filters.confidence
            if not filters.copies:
                good &= ~part["copied"]
            rows = good.nonzero().flatten()[:lacking]
            looked_at = int(rows[-1]) + 1 if len(rows) == lacking else count
            left_out += looked_at - len(rows)
            found.append({name: value[rows] for name, value in part.items()})
            lacking -= len(rows)
        if lacking:
            raise UserError(
                f"The filters leave {count - lacking:,} of {_TRIES * count:,} generated images of class "
                f"{classes[number]}, but {count:,} are needed.",
                "Try a lower confidence, copies=true, or longer training.",
            )
        parts += [{**part, "left_out": torch.zeros(0, dtype=torch.int64)} for part in found]
        parts[-1]["left_out"] = torch.tensor([left_out])
    return Generated(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _drawn_together(draw: Draw, counts: Sequence[CountOrZero], seed: Seed) -> dict[int, NDArray[np.uint8]]:
    """The images of each class. Classes with equal counts are drawn in one call, because each call loads the run."""
    found: dict[int, NDArray[np.uint8]] = {}
    for count in set(counts):
        numbers = [number for number, wanted in enumerate(counts) if wanted == count]
        images = np.split(np.asarray(draw(numbers, count, seed)), len(numbers))
        found |= dict(zip(numbers, images, strict=True))
    return found


class _OfClass:
    """The training images of one class, in which nearest neighbours of generated images are searched."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self._rows = rows
        self._points = images.flatten(1).float().div_(255)
        self._close = own_distances(self._points).quantile(CLOSE)

    def judged(self, images: Tensor, confidence: Tensor) -> dict[str, Tensor]:
        near, which = nearest(images.flatten(1).float().div_(255), self._points, 1)
        pixels = self._points.shape[1]
        return {
            "images": images,
            "confidence": confidence,
            "nearest": self._rows[which[:, 0]],
            "distance": (near[:, 0] / pixels).sqrt().float(),
            "copied": near[:, 0] <= self._close,
        }


def write_folder(generated: Generated, classes: Sequence[str], folder: Path, run: str) -> None:
    """Write images as PNG files, a folder for each class, and a manifest beside them.

    torchvision's `ImageFolder` and Keras' `image_dataset_from_directory` can read `folder/images`, and
    `folder/manifest.csv` has a line for each file. If the folder has the same images already, nothing is written; if it
    has others, they are renamed.

    Args:
        generated: the images.
        classes: names of the classes.
        folder: exists.
        run: the run that the images are from.
    """
    images, names = folder / IMAGES, folder_names(classes)
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["file", "class", "run", "seed", "number", "confidence", "nearest", "distance", "copied"])
    files: list[str] = []
    written = Counter[int]()
    for row, label in enumerate(generated.label.tolist()):
        files.append(f"{names[label]}/{written[label]:05d}.png")
        written[label] += 1
        distance, confidence = float(generated.distance[row]), float(generated.confidence[row])
        known = [int(generated.seed[row]), int(generated.place[row]), f"{confidence:.4f}"]
        known += [int(generated.nearest[row]), f"{distance:.4f}", str(bool(generated.copied[row])).lower()]
        writer.writerow([f"{IMAGES}/{files[-1]}", printable(classes[label]), printable(run), *known])
    if os.path.lexists(images):
        if _without_run(_manifest(folder)) == _without_run(lines.getvalue()):
            return
        set_aside(images, "earlier")
    write_text(folder / MANIFEST, lines.getvalue())  # first: a folder of images is never without one
    with new_folder(images) as root:
        for name, image in zip(files, generated.images.permute(0, 2, 3, 1).numpy(), strict=True):
            made_folder((root / name).parent)
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(root / name)


def _manifest(folder: Path) -> str:
    try:
        return read(folder / MANIFEST, _LARGEST_MANIFEST, below=folder).decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _without_run(manifest: str) -> list[list[str]]:
    """The lines of a manifest without the run's path, because the run may have been moved."""
    try:
        return [line[:2] + line[3:] for line in csv.reader(io.StringIO(manifest, newline=""))]
    except csv.Error:
        return []


def save(generated: Generated, path: Path) -> None:
    """Write generated images and their attributes as one `.npz` file."""
    with replacing(path) as file:
        np.savez(file, **{each.name: getattr(generated, each.name).numpy() for each in fields(generated)})


def load(path: Path) -> Generated:
    """Read what `save` has written.

    Raises:
        UserError: the file cannot be read or is damaged.
    """
    try:
        with opened(path) as file, np.load(file, allow_pickle=False) as stored:
            found = Generated(**{each.name: torch.from_numpy(stored[each.name]) for each in fields(Generated)})
            _refuse_other_arrays(found)
            return found
    except MemoryError:
        raise
    except Exception as error:  # NumPy, zipfile, zlib and Python's parser raise what they like
        raise UserError(f"{path} is damaged: {error}.", "Delete it; the images will be drawn again.") from error


def _refuse_other_arrays(found: Generated) -> None:
    """Refuse arrays whose types and sizes are not those of `Generated`.

    Raises:
        ValueError: an array has another type, dimension or length.
    """
    for name, dtype in _TYPES.items():
        value: Tensor = getattr(found, name)
        has = (value.dtype, value.dim(), name == "left_out" or len(value) == len(found.label))
        if has != (dtype, 4 if name == "images" else 1, True):
            raise ValueError(f"{name} is of {value.dtype} and shape {list(value.shape)}")
