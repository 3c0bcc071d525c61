"""Pairs of images in folders, in the layouts that are in use; see `load`."""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_runner.data.batch import SOURCE, Batch
from gan_runner.data.decoding import (
    Channels,
    Facts,
    ImageSize,
    Pixels,
    check_header,
    drawn,
    examined,
    height_and_width,
    read_picture,
)
from gan_runner.data.folder_layout import layout_of
from gan_runner.data.folder_listing import listing_of
from gan_runner.data.image_folder import READ_ALL_UP_TO
from gan_runner.data.image_set import within_limit
from gan_runner.data.locations import existing_folder, opened
from gan_runner.data.notes import tell
from gan_runner.data.pairs import Direction
from gan_runner.data.parallel import in_chunks
from gan_runner.data.splits import NoTestSplitError, Split, rows_of
from gan_runner.data.unread import Unread, counted, names, told, unread
from gan_runner.errors import UserError, printable
from gan_runner.ranges import Count, FractionBelowOne

SIDE = re.compile(r"(train|training|test|testing|val|valid|validation)?[ _.-]*([ab])", re.IGNORECASE)
_IN_A_ROW = 100  # pairs that turn out broken in a run
_KINDS_TOLD = 3
_UNLIKE = 0.02  # by how much the proportions of two images of a pair may differ
_REMEDY = "Put A's images and B's into folders A and B with equal names, or try data.root=A data.other_root=B."
_PIECE = 2**20  # bytes to hash at a time


@dataclass(frozen=True)
class Files:
    """The files of a pair, by their paths.

    Attributes:
        a: the image A, or the one that shows both side by side.
        b: the image B; None where A's file shows both.
    """

    a: Path
    b: Path | None

    @property
    def paths(self) -> Sequence[Path]:
        """Of one file or two."""
        return (self.a,) if self.b is None else (self.a, self.b)


def load(
    root: str,
    other_root: str | None,
    image_size: ImageSize,
    channels: Channels,
    source_channels: Channels,
    direction: Direction,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> FolderPairs:
    """Find pairs of images below a folder. The layout is one of these, and is told by the names of folders.

    - Folders `A` and `B` with files of equal names, whatever their endings. Each may hold `train`, `test` and `val`, or
      the folders are called `trainA`, `trainB`, `testA`, `testB`.
    - Two folders anywhere, `root` for A and `other_root` for B, with files of equal names.
    - Otherwise each image shows A on its left and B on its right; folders such as `train` and `test` may hold them.

    What lies in `test`, or in `val` where there is none, is held out. Images are scaled to cover the size that is
    asked for and cropped evenly, both of a pair alike.

    Args:
        root: the folder.
        other_root: see above; None where both sides lie below `root`.
        image_size: height and width in pixels.
        channels: of the image that is drawn: 1 for grey, 3 for colour, 4 for colour with transparency.
        source_channels: of the image that it is drawn from.
        direction: AtoB draws B from A, BtoA the other way round.
        limit: number of training pairs to keep, the first by name; None keeps all.
        split: the pairs that train, or those that are held out.
        holdout: the share to hold out, every k-th pair by name; of 0, what lies in a folder such as `test` is.

    Raises:
        UserError: there is no such folder, an image has no partner, an image cannot be halved, or there are none.
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    folder = existing_folder(root)
    found = _pairs(root, folder, other_root)
    chosen = _chosen(list(found), split, holdout)
    if split == "train" and limit is not None:
        chosen = chosen[: within_limit(len(chosen), limit)]
    pairs = {name: found[name] for name in chosen}
    images = FolderPairs(pairs, height_and_width(image_size), channels, source_channels, direction)
    broken = images.drop_broken()
    if broken:
        tell([f"{printable(root)}: left out with their partners: {' '.join(told(broken, _KINDS_TOLD))}"])
    if not len(images):
        reason = " ".join(told(broken, 1))
        raise UserError(
            f"data.root is {printable(root)}, but no pair of images there can be read. {reason}".rstrip(),
            "Put PNG or JPEG files there, A and B side by side in each, or in folders A and B.",
        )
    if split == "train":
        images.say_what_trains(root, other_root)
    return images


def _pairs(root: str, folder: Path, other_root: str | None) -> dict[str, Files]:
    """The files of every pair by its name, sorted."""
    if other_root is not None:
        other = existing_folder(other_root, "data.other_root")
        if os.path.samefile(folder, other):
            raise UserError(
                f"data.other_root is {printable(other_root)}, which is data.root too: each image would be its own "
                "partner.",
                "Give the folder with B's images, or leave data.other_root out where data.root has both.",
            )
        sides = {
            where: _by_stem(where, base, {file: file for file in listing_of(base, key).pictures})
            for key, where, base in (("data.root", root, folder), ("data.other_root", other_root, other))
        }
        return _matched(sides)
    files = listing_of(folder).pictures
    parts = {name: _side_of(name) for name in files}
    if any(parts.values()):
        of_sides: dict[str, dict[str, str]] = {"A": {}, "B": {}}
        for name, part in parts.items():
            if part is not None:
                of_sides[part[0]][name] = part[1]
        named = {f"{side} in {root}": some for side, some in of_sides.items()}
        return _matched({where: _by_stem(where, folder, some) for where, some in named.items()})
    return {name: Files(folder / name, None) for name in files}


def _side_of(name: str) -> tuple[str, str] | None:
    """Of a file in a folder of one side, such as `trainA/1.png`: the side, and its name without it, `train/1.png`."""
    *folders, file = name.split("/")
    for place, folder in enumerate(folders):
        if match := SIDE.fullmatch(folder):
            role = [match[1].lower()] if match[1] else []
            return match[2].upper(), "/".join([*folders[:place], *role, *folders[place + 1 :], file])
    return None


def _by_stem(where: str, base: Path, files: Mapping[str, str]) -> dict[str, Path]:
    """Files by the names that partners have in common, without their endings."""
    found: dict[str, Path] = {}
    for file, name in files.items():
        stem = os.path.splitext(name)[0]
        if stem in found:
            raise UserError(
                f"{printable(where)} holds {printable(file)} and {printable(found[stem].name)}, whose names differ in "
                "their endings alone, so that either could be the partner of one on the other side.",
                "Rename or remove one of them.",
            )
        found[stem] = base / file
    return found


def _matched(sides: Mapping[str, Mapping[str, Path]]) -> dict[str, Files]:
    """Pairs of the files on both sides that have the same name.

    Raises:
        UserError: a side is empty, or a file has no partner.
    """
    (here, first), (there, second) = sides.items()
    for where, files in ((here, first), (there, second)):
        if not files:
            raise UserError(
                f"{printable(where)} holds no images, where each side of the pairs has some.",
                _REMEDY,
            )
    lonely = [
        f"{counted(len(some), 'image')} of {printable(where)} ({names(sorted(some))})"
        for where, some in ((here, first.keys() - second.keys()), (there, second.keys() - first.keys()))
        if some
    ]
    if lonely:
        raise UserError(
            f"{' and '.join(lonely)} have no partner of the same name on the other side.",
            "Give both images of a pair the same name; their endings may differ.",
        )
    return {name: Files(first[name], second[name]) for name in sorted(first)}


def _chosen(all_names: Sequence[str], split: Split, holdout: float) -> Sequence[str]:
    layout = layout_of(all_names)
    if holdout == 0 and split == "test":
        if layout.held_out is None:
            raise NoTestSplitError(
                "data=paired_folder has no folder such as test/, testA/ or val/, and data.holdout is 0: all train.",
                "Try data.holdout=0.1, which trains on nine in ten pairs and judges by the others.",
            )
        return layout.held_out.files
    training = layout.training.files
    if not training:
        return ()
    return [training[row] for row in rows_of(len(training), holdout, split, "paired_folder").tolist()]


class FolderPairs:
    """Pairs on disk that are decoded whenever they are asked for (an `ImageSet`).

    A pair that turns out broken only then does not end a run: the next one that can be read takes its place, both of
    its images, and a warning names it once.

    Args:
        pairs: their files by their names, in order.
        size: height and width in pixels.
        channels: see `load`.
        source_channels: see there.
        direction: see there.
    """

    name = "paired_folder"
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()

    def __init__(
        self,
        pairs: Mapping[str, Files],
        size: tuple[Count, Count],
        channels: Channels,
        source_channels: Channels,
        direction: Direction,
    ) -> None:
        self.shape = (channels, *size)
        self._pairs = list(pairs.values())
        self._names = list(pairs)
        self._size = size
        self._source_channels = source_channels
        self._reverse = direction == "BtoA"
        self._told: set[str] = set()
        self._telling = threading.Lock()

    def __len__(self) -> int:
        return len(self._pairs)

    def batch(self, indices: Tensor) -> Batch:
        """See `InOneReading`; warns of pairs that turn out broken. Several threads may call it at once."""
        images = np.empty((len(indices), *self.shape), np.uint8)
        sources = np.empty((len(indices), self._source_channels, *self._size), np.uint8)
        for row, index in enumerate(indices.tolist()):
            sources[row], images[row] = self._read_or_next(index)
        return Batch(torch.from_numpy(images), {SOURCE: torch.from_numpy(sources)})

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageSet`."""
        return self.batch(indices).images

    def conditions(self, indices: Tensor) -> Mapping[str, Tensor]:
        """See `ImageSet`; `source` is the image that each is drawn from."""
        return self.batch(indices).conditions

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the pairs' names, sizes in bytes and contents, the shape they are drawn in, and the direction.

        Of more than `READ_ALL_UP_TO` pairs, that many at even distances lend their contents.
        """
        digest = hashlib.sha256(repr((self.shape, self._source_channels, self._reverse)).encode())
        every = math.ceil(len(self._pairs) / READ_ALL_UP_TO)
        for number, (name, pair) in enumerate(zip(self._names, self._pairs, strict=True)):
            digest.update(os.fsencode(name) + b"\0")
            for path in pair.paths:
                _hash_file(digest, path, contents=number % every == 0)
        return digest.hexdigest()[:16]

    def drop_broken(self) -> list[Unread]:
        """Look at every pair, and leave out those that cannot be read; gives the files at fault.

        Raises:
            UserError: an image does not show two side by side.
        """
        many = len(self._pairs) > READ_ALL_UP_TO  # of these the headers are read alone

        def look(pairs: Sequence[Files]) -> list[Unread | None]:
            return [_fault_of(pair, many) for pair in pairs]

        faults = list(chain.from_iterable(found for _, found in in_chunks(look, self._pairs, "checked")))
        whole = [row for row, fault in enumerate(faults) if fault is None]
        self._pairs, self._names = [self._pairs[row] for row in whole], [self._names[row] for row in whole]
        return [fault for fault in faults if fault is not None]

    def say_what_trains(self, root: str, other_root: str | None) -> None:
        """Log the layout that was taken for granted."""
        layout = "side by side" if self._pairs[0].b is None else f"one of each, such as {names(self._names)}"
        where = root if other_root is None else f"{root} and {other_root}"
        which = "A is drawn from B" if self._reverse else "B is drawn from A"
        tell([f"{printable(where)}: {counted(len(self), 'pair')}, {layout}; {which}."], level=20)

    def _read_or_next(self, index: int) -> tuple[Pixels, Pixels]:
        fault = ""
        for candidate in range(index, index + _IN_A_ROW):
            row = candidate % len(self._pairs)
            try:
                return self._read(self._pairs[row])
            except Exception as error:  # see _fault_of
                fault = f"{printable(self._names[row])}: {printable(error)}"
                with self._telling:
                    known = fault in self._told
                    self._told.add(fault)
                if not known:
                    tell([f"A pair can no longer be read, and the next takes its place: {fault}"])
        raise UserError(
            f"The images in data.root have changed: {_IN_A_ROW} pairs in a row cannot be read, the last {fault}.",
            "See that the folder is still there and whole, then resume the run with resume=DIR.",
        )

    def _read(self, pair: Files) -> tuple[Pixels, Pixels]:
        """The source and the image."""
        channels: tuple[Channels, Channels] = (self._source_channels, self.shape[0])
        if pair.b is not None:
            paths = (pair.b, pair.a) if self._reverse else (pair.a, pair.b)
            return read_picture(paths[0], self._size, channels[0]), read_picture(paths[1], self._size, channels[1])
        most: Literal[3, 4] = 4 if 4 in channels else 3
        both = examined(pair.a, None, most)[1]
        middle = both.shape[2] // 2
        halves = both[:, :, :middle], both[:, :, middle:]
        source, image = reversed(halves) if self._reverse else halves
        return self._fitted(source, channels[0]), self._fitted(image, channels[1])

    def _fitted(self, half: Pixels, channels: Channels) -> Pixels:
        return drawn(Image.fromarray(np.ascontiguousarray(half.transpose(1, 2, 0))), self._size, channels)


def _hash_file(digest: hashlib._Hash, path: Path, contents: bool) -> None:
    try:
        with opened(path) as file:
            digest.update(f"{os.fstat(file.fileno()).st_size}\0".encode())
            while contents and (piece := file.read(_PIECE)):
                digest.update(piece)
    except OSError as error:
        raise UserError(
            f"The images in data.root have changed: {printable(path)} cannot be read: {error.strerror or error}.",
            "See that the folder is still there and is not being changed, then try again.",
        ) from error


def _fault_of(pair: Files, many: bool) -> Unread | None:
    """The file of a pair that cannot be read; of very many, only the headers are."""
    seen: list[Facts] = []
    for path in pair.paths:
        try:
            seen.append(check_header(path) if many else examined(path, (1, 1), 3)[0])
        except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error
            return unread(path.parent, path.name, error)
    first, second = seen[0], seen[-1]
    halves = pair.b is not None or (first.width % 2 == 0 and first.width > first.height)
    difference = abs(first.width * second.height - second.width * first.height)
    alike = difference <= _UNLIKE * first.width * second.height
    if many and not (halves and alike):  # a header does not say whether the image is to be turned
        return _fault_of(pair, many=False)
    if not halves:
        raise UserError(
            f"data.root holds {printable(pair.a)}, which is {first.width}x{first.height} and cannot be two images "
            "side by side, A on the left and B on the right.",
            _REMEDY,
        )
    if not alike:
        raise UserError(
            f"{printable(pair.a)} is {first.width}x{first.height} and its partner {printable(pair.paths[-1])} "
            f"{second.width}x{second.height}: scaled to one size, they would not lie upon each other.",
            "Bring both images of a pair to the same proportions.",
        )
    return None
