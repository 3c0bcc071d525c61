"""A folder of images, nested or not, of any sizes and of every format in `gan_runner.data.decoding.FORMATS`."""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.decoding import (
    DEFAULT_RANGES,
    Channels,
    Facts,
    ImageSize,
    Pixels,
    Ranges,
    check_header,
    check_room,
    examined,
    extremes,
    height_and_width,
    ranges_of,
    read_picture,
)
from gan_runner.data.folder_findings import Findings, nothing_usable, tell_what_trains
from gan_runner.data.folder_layout import Layout, Part, layout_of
from gan_runner.data.folder_listing import listing_of
from gan_runner.data.image_set import labels_as_condition, rows_within_limit
from gan_runner.data.locations import existing_folder, opened
from gan_runner.data.notes import tell
from gan_runner.data.parallel import counting, in_chunks
from gan_runner.data.splits import Split, rows_of
from gan_runner.data.unread import Fault, Unread, told, unread
from gan_runner.errors import UserError, printable
from gan_runner.machine.cores import cores
from gan_runner.ranges import Count, FractionBelowOne

READ_ALL_UP_TO = 20_000
"""Images in a folder of at most this many are read whole, to be checked and for the fingerprint."""

_BROKEN_IN_A_ROW = 100
_COPIES = 8  # of an image, in bytes a pixel: what its decoding and scaling take beside each other
_PIECE = 2**20  # bytes to hash at a time, so that an interrupt is heeded soon
_MEASURED = 1000  # images of more than 8 bits whose values tell the range of all
_NAMED_ONE_BY_ONE = 5  # images that turn out broken in a run
_NUMBERS_TOLD = frozenset({10, 100, 1000, 10_000})


def load(
    root: str,
    image_size: ImageSize,
    channels: Channels,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> FolderImages:
    """Find the images below a folder, in the order of their names, and say what was found.

    The folders directly below `root` are the classes; where there are none, the set has no labels, and neither
    where images lie beside them. Folders such as train/ and test/ say what trains and what is held out; see
    `gan_runner.data.folder_layout`. What cannot be read is told of by kind and left out.

    Args:
        root: the folder; `~` is the home folder.
        image_size: height and width in pixels that each image is scaled and cropped to.
        channels: 1 for grey, 3 for colour, 4 for colour with transparency, which some image must have.
        limit: look at so many training files only, the same share of every class; None looks at all.
        split: the images that train, or those that are held out.
        holdout: the share to hold out, every k-th file by name; see `gan_runner.data.splits`. Of 0, what lies in a
            folder such as test/ is held out.

    Raises:
        UserError: there is no such folder, it cannot be read, or it holds no image that can.
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    folder = existing_folder(root)
    listing = listing_of(folder)
    size = height_and_width(image_size)
    check_room(_COPIES * cores(), channels, size)
    findings = Findings(size)
    layout = _layout(folder, listing.pictures, findings if split == "train" else Findings(size))
    chosen = _chosen(layout, split, holdout, limit)
    usable = _usable(folder, chosen, channels, findings)
    if split == "test" and findings.unread:
        tell([f"Left out of what is held out: {' '.join(told(findings.unread, 1))}"])
    if not usable.files:
        raise nothing_usable(root, folder, listing, findings, split)
    if channels == 4 and split == "train" and not findings.transparent:
        raise UserError(
            f"data.channels is 4, but none of the {len(usable.files):,} images of {printable(root)} is transparent.",
            "Try data.channels=3, or PNG or WebP files with an alpha channel.",
        )
    classes = _classes(folder, layout.training, chosen, usable, channels)
    usable = usable.with_classes_of(classes)
    ranges = _ranges(folder, listing.pictures) if findings.deep else DEFAULT_RANGES
    if split == "train":
        tell_what_trains(root, listing, layout, usable, classes, findings, ranges, holdout)
    return FolderImages(folder, usable.files, size, channels, usable.labels(classes), classes, ranges)


def _layout(root: Path, files: Sequence[str], findings: Findings) -> Layout:
    """See `layout_of`; where all images beside folders are broken, they keep the others from nothing."""
    layout = layout_of(files)
    if not layout.beside:
        return layout
    broken: list[Unread] = []
    for name in layout.beside:
        try:
            check_header(root / name)
        except Exception as error:  # see _usable
            broken.append(unread(root, name, error))
        else:
            return layout
    findings.unread += broken
    beside = set(layout.beside)
    return layout_of([name for name in files if name not in beside])


def _chosen(layout: Layout, split: Split, holdout: float, limit: int | None) -> Part:
    """The images to look at."""
    training = layout.training
    if split == "test" and holdout == 0 and layout.held_out is not None:
        held_out = layout.held_out
        return held_out if training.classes is None else held_out.with_classes_of(training.class_names)
    if training.files:
        training = training.rows(rows_of(len(training.files), holdout, split, "image_folder").tolist())
    if split == "test" or limit is None:
        return training
    return training.rows(rows_within_limit(len(training.files), training.labels(training.class_names), limit).tolist())


def _usable(root: Path, part: Part, channels: Channels, findings: Findings) -> Part:
    """Those that are whole images, as far as is cheap to say; `findings` takes note of all."""
    decoded = len(part.files) <= READ_ALL_UP_TO  # of very many, only the headers are read

    def look(name: str) -> tuple[Facts, tuple[int, int] | None] | Unread:
        try:
            if not decoded:
                return check_header(root / name), None
            facts, pixels = examined(root / name, findings.size, channels)
        except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error
            return unread(root, name, error)
        return facts, (hash(pixels.tobytes()), int(pixels.max()))

    def look_at_all(names: Sequence[str]) -> list[tuple[Facts, tuple[int, int] | None] | Unread]:
        return [look(name) for name in names]

    rows = []
    for start, seen in in_chunks(look_at_all, part.files, "checked"):
        for row, looked in enumerate(seen, start):
            if isinstance(looked, Unread):
                findings.unread.append(looked)
            else:
                findings.add(part.files[row], *looked)
                rows.append(row)
    return part if len(rows) == len(part.files) else part.rows(rows)


def _classes(root: Path, training: Part, chosen: Part, usable: Part, channels: Channels) -> tuple[str, ...]:
    """The classes of the training images, of all that there are and not only of those that were chosen.

    A class none of whose images can be read is none.
    """
    if usable.classes is None or training.classes is None:
        return ()
    whole, looked_at = set(usable.files), set(chosen.files)
    known = {name for name, file in zip(training.classes, training.files, strict=True) if file in whole}
    for name, file in zip(training.classes, training.files, strict=True):
        if name not in known and file not in looked_at:
            try:
                read_picture(root / file, (1, 1), channels)
            except Exception:  # see _usable
                continue
            known.add(name)
    return tuple(sorted(known))


def _ranges(root: Path, files: Sequence[str]) -> Ranges:
    """What is drawn black and white in images of more than 8 bits: the same for all parts of a folder."""

    def look(names: Sequence[str]) -> list[tuple[str, float, float]]:
        measured = []
        for name in names:
            try:
                measured.append(extremes(root / name))
            except Exception:  # see _usable
                continue
        return [each for each in measured if each is not None]

    some = files[:: math.ceil(len(files) / _MEASURED)]
    return ranges_of([each for _, chunk in in_chunks(look, some, "measured") for each in chunk])


class FolderImages:
    """Images on disk that are decoded whenever they are asked for (an `ImageSet`).

    An image that turns out broken only then does not end a run: the next one in the order of names that can
    be read takes its place, always the same, and a warning names it once.

    Args:
        root: the folder that the names in `files` start from.
        files: relative paths with forward slashes.
        size: height and width in pixels.
        channels: see `Channels`.
        labels: the class of each image, int64 [N]; None for a set without classes.
        classes: the folders that the classes are.
        ranges: what is drawn black and white in images of more than 8 bits.
    """

    name = "image_folder"

    def __init__(
        self,
        root: Path,
        files: Sequence[str],
        size: tuple[Count, Count],
        channels: Channels,
        labels: Tensor | None = None,
        classes: Sequence[str] = (),
        ranges: Ranges = DEFAULT_RANGES,
    ) -> None:
        self.shape = (channels, *size)
        self._root = root
        self._files = files
        self._decode = partial(read_picture, size=size, channels=channels, ranges=ranges)
        self._told: set[str] = set()
        self._telling = threading.Lock()
        self.labels, self.classes = labels, tuple(map(printable, classes))
        self.fingerprint = self._hash(classes, ranges)

    @property
    def names(self) -> Sequence[str]:
        """The path of each image from the folder, with forward slashes."""
        return self._files

    def __len__(self) -> int:
        return len(self._files)

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`; warns of images that turn out broken. Several threads may call it at once."""
        pixels = np.empty((len(indices), *self.shape), dtype=np.uint8)  # see read_picture
        for row, index in enumerate(indices.tolist()):
            pixels[row] = self._read_or_next(index)
        return torch.from_numpy(pixels)

    def conditions(self, indices: Tensor) -> dict[str, Tensor]:
        """See `ImageSet`."""
        return labels_as_condition(self.labels, indices)

    def paths(self, indices: Tensor) -> list[Path]:
        """The files of the images with these indices; see `gan_runner.data.encodings`."""
        return [self._root / self._files[index] for index in indices.tolist()]

    def _read_or_next(self, index: int) -> Pixels:
        broken: list[str] = []
        for candidate in range(index, index + _BROKEN_IN_A_ROW):
            name = self._files[candidate % len(self._files)]
            try:
                pixels = self._decode(self._root / name)
            except Exception as error:  # see _usable
                broken.append(self._complaint(name, error))
            else:
                self._tell(broken)
                return pixels
        raise UserError(
            f"The images in data.root have changed: {_BROKEN_IN_A_ROW} images in a row cannot be read, "
            f"the last with: {broken[-1]}.",
            "See that the folder is still there and whole, then resume the run with resume=DIR.",
        )

    def _complaint(self, name: str, error: Exception) -> str:
        found = unread(self._root, name, error)
        said = found.reason if found.fault is Fault.DAMAGED else f"it {found.fault.says(1)}"
        return f"{printable(self._root / name)} is no image that can be read: {printable(said)}"

    def _tell(self, broken: Sequence[str]) -> None:
        """Warn of broken images, of each once; of many, of the first few and then of their number as it grows."""
        with self._telling:
            for sentence in broken:
                if sentence in self._told:
                    continue
                self._told.add(sentence)
                if (count := len(self._told)) <= _NAMED_ONE_BY_ONE:
                    tell([f"{sentence}; the next image takes its place."])
                elif count in _NUMBERS_TOLD:
                    tell([f"{count:,} images that cannot be read have been replaced so far, the last: {sentence}."])

    def _hash(self, classes: Sequence[str], ranges: Ranges) -> str:
        """A hash of the images' names, sizes in bytes and contents, and the shape they are drawn in.

        Of more than `READ_ALL_UP_TO` images, that many at even distances lend their contents. Classes count where
        they are not the first folders of the names, and so do ranges that are not the usual ones.
        """
        digest = hashlib.sha256(repr(self.shape).encode())
        if self.labels is not None:
            of_pictures = [classes[number] for number in self.labels.tolist()]
            if of_pictures != [name.split("/")[0] for name in self._files]:
                digest.update(repr(of_pictures).encode())
        if ranges != DEFAULT_RANGES:
            digest.update(repr(sorted(ranges.items())).encode())
        every = math.ceil(len(self._files) / READ_ALL_UP_TO)
        with counting(len(self._files), "hashed") as done:
            for number, name in enumerate(self._files):
                try:
                    self._hash_file(digest, name, contents=number % every == 0)
                except OSError as error:
                    raise UserError(
                        f"The images in data.root have changed: {name} cannot be read: {error.strerror or error}.",
                        "See that the folder is still there and is not being changed, then try again.",
                    ) from error
                done(1)
        return digest.hexdigest()[:16]

    def _hash_file(self, digest: hashlib._Hash, name: str, contents: bool) -> None:
        with opened(self._root / name) as file:
            digest.update(os.fsencode(name) + f"\0{os.fstat(file.fileno()).st_size}\0".encode())
            while contents and (piece := file.read(_PIECE)):
                digest.update(piece)
