"""What was found in a folder of images, in words: a line on what is read, and a few on what may not be meant."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gan_runner.data.decoding import FORMATS, Facts, Range, Ranges, size_in_words
from gan_runner.data.folder_layout import Layout, Part
from gan_runner.data.folder_listing import Listing
from gan_runner.data.locations import SHIPPED
from gan_runner.data.notes import tell
from gan_runner.data.splits import NoTestSplitError, Split
from gan_runner.data.unread import ARCHIVES, LIKE_PICTURES, Unread, by_ending, counted, names, told, unpacking
from gan_runner.errors import UserError, either, printable

MOST_LINES = 10
"""That a folder is told of in, whatever it holds."""

_KINDS_UNREAD = 4
_CLASSES_SHOWN = 4
_FOLDERS_SHOWN = 3
_MUCH_LOST = 0.5  # of an image, to the crop
_DARK = 32  # of 256 levels
_NOTEWORTHY_COPIES = 0.01  # of all images


@dataclass
class _Worst:
    """Images that have a fault to some degree: how many, and the one that has most of it."""

    count: int = 0
    degree: float = 0.0
    example: str = ""

    def add(self, degree: float, name: str, facts: Facts) -> None:
        self.count += 1
        if degree > self.degree:
            self.degree, self.example = degree, f"{printable(name)}, {facts.width}x{facts.height}"


@dataclass
class Findings:
    """What the images of a folder are like, gathered while each is looked at.

    Attributes:
        size: height and width that they are drawn at.
        unread: those that cannot be read.
        modes: how many have which mode of Pillow's.
        transparent: how many say how opaque their pixels are.
    """

    size: tuple[int, int]
    unread: list[Unread] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    transparent: int = 0
    _enlarged: _Worst = field(default_factory=_Worst)
    _cropped: _Worst = field(default_factory=_Worst)
    _several: list[str] = field(default_factory=list)
    _contents: dict[int, str] = field(default_factory=dict)
    _copies: list[tuple[str, str]] = field(default_factory=list)
    _brightest: int | None = None

    @property
    def deep(self) -> bool:
        """Whether there are images of more than 8 bits."""
        return any(mode[0] in "IF" for mode in self.modes)

    def add(self, name: str, facts: Facts, summary: tuple[int, int] | None) -> None:
        """Take note of an image that can be read.

        Args:
            name: its path.
            facts: what its header says.
            summary: a hash of its pixels and the largest of them; None where it was not decoded.
        """
        self.modes[facts.mode] += 1
        self.transparent += facts.transparent
        scales = self.size[0] / facts.height, self.size[1] / facts.width
        if max(scales) > 2:
            self._enlarged.add(max(scales), name, facts)
        if (lost := 1 - min(scales) / max(scales)) > _MUCH_LOST:
            self._cropped.add(lost, name, facts)
        if facts.several:
            self._several.append(name)
        if summary is not None:
            content, brightest = summary
            self._brightest = max(self._brightest or 0, brightest)
            if (first := self._contents.setdefault(content, name)) != name:
                self._copies.append((first, name))

    def notes(self, ranges: Ranges) -> list[str]:
        """Sentences on what is read and may not be as its owner thinks.

        Args:
            ranges: how images of more than 8 bits are drawn.
        """
        total = self.modes.total()
        notes = [_depth_note(kind, self._count(kind), chosen) for kind, chosen in ranges.items() if self._count(kind)]
        if (enlarged := self._enlarged).count:
            notes.append(
                f"{enlarged.count:,} of {counted(total, 'image')} {_are(enlarged.count)} enlarged more than twice "
                f"for data.image_size={size_in_words(self.size)}, the smallest {enlarged.degree:.3g} times "
                f"({enlarged.example}): "
                "a smaller data.image_size, or larger images, would be sharper."
            )
        if (cropped := self._cropped).count:
            crop = "square crop" if self.size[0] == self.size[1] else f"crop to {size_in_words(self.size)}"
            notes.append(
                f"{cropped.count:,} of {counted(total, 'image')} {'loses' if cropped.count == 1 else 'lose'} more "
                f"than half to the {crop}, the worst {cropped.degree:.0%} ({cropped.example}): "
                "the middle is kept; if that is not meant, cut them yourself or try 'data.image_size=[HEIGHT,WIDTH]'."
            )
        if self._brightest is not None and self._brightest < _DARK and not self.deep:
            notes.append(
                f"No image is brighter than {self._brightest} of 255, so that all look black. "
                "Masks, or 12 bits in 16? Scale them first."
            )
        if several := len(self._several):
            notes.append(
                f"{counted(several, 'file')} {'holds' if several == 1 else 'hold'} several images "
                f"({names(self._several)}): the first of each is read."
            )
        if len(self._copies) > _NOTEWORTHY_COPIES * total:
            first, second = map(printable, self._copies[0])
            notes.append(
                f"{len(self._copies):,} of {counted(total, 'image')} {_are(len(self._copies))} the same as another, "
                f"such as {second} as {first}."
            )
        return [note for note in notes if note]

    def _count(self, kind: str) -> int:
        return sum(count for mode, count in self.modes.items() if mode[0] == kind)


def _depth_note(kind: str, count: int, chosen: Range) -> str:
    pictures = f"{counted(count, 'image')} {'has' if count == 1 else 'have'}"
    if kind == "F":
        return f"{pictures} floats: {chosen.black:g} is drawn black, {chosen.white:g} white."
    if chosen == Range(0, 65535):
        return ""
    bits = int(chosen.white).bit_length()
    used = f"of which the whole set uses {bits}" if chosen.black == 0 and bits < 16 else "of an unusual range"
    return f"{pictures} 16 bits, {used}: {chosen.black:,.0f} is drawn black, {chosen.white:,.0f} white."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def tell_what_trains(
    root: str,
    listing: Listing,
    layout: Layout,
    usable: Part,
    classes: Sequence[str],
    findings: Findings,
    ranges: Ranges,
    holdout: float,
) -> None:
    """Say what was found: a line on what trains, and further ones on what may not be meant, `MOST_LINES` in all.

    Args:
        root: what `data.root` is.
        listing: the folder's content.
        layout: what its images are for.
        usable: the images that train.
        classes: of the whole training part.
        findings: on the images that were looked at.
        ranges: how images of more than 8 bits are drawn.
        holdout: the share that is held out.
    """
    training = layout.training
    extras = []
    if holdout:
        extras.append(f"a share of {holdout:g} is held out")
    elif layout.held_out is not None:
        held_out = layout.held_out.with_classes_of(training.class_names) if classes else layout.held_out
        extras.append(f"{len(held_out.files):,} of {printable(held_out.folder)} are held out")
        if strange := len(layout.held_out.files) - len(held_out.files):
            extras.append(f"{strange:,} there are of classes that do not train")
    if layout.unused:
        unused = [f"{count:,} of {printable(folder)}" for folder, count in layout.unused.items()]
        extras.append(f"not used: {_folders(unused)}")
    if empty := _empty_classes(listing, classes, training):
        extras.append(f"no image in {_folders([printable(name) for name in empty])}")
    others = {ending: some for ending, some in listing.others.items() if ending not in LIKE_PICTURES}
    if others:
        extras.append(f"other files: {by_ending(others)}")
    looked_at = len(usable.files) + len(findings.unread)
    all_of_them = looked_at if holdout else len(training.files)
    what = _images_in_classes(len(usable.files), max(all_of_them - len(findings.unread), 0), classes, training.folder)
    first = _found(root, what, extras)
    warnings = _left_out(findings, listing.others, len(usable.files))
    notes = []
    if layout.beside:
        loose, other = printable(layout.beside[0]), printable(layout.folder)
        notes.append(f"{loose} lies beside folders such as {other}, so that no image has a class.")
    if usable.classes is not None and (come := len(set(usable.classes))) < len(classes):
        notes.append(f"data.limit takes images of {come:,} of {len(classes):,} classes.")
    notes += findings.notes(ranges)
    tell([first], logging.INFO)
    tell([*notes[: MOST_LINES - 1 - len(warnings)], *warnings])


def _empty_classes(listing: Listing, classes: Sequence[str], training: Part) -> list[str]:
    """Folders where classes lie that hold no image."""
    place = training.place
    if not classes or place is None:
        return []
    held = {file[len(place) :].partition("/")[0] for file in listing.pictures if file.startswith(place)}
    beside = (folder[len(place) : -1] for folder in listing.folders if folder.startswith(place))
    return [f"{place}{name}/" for name in beside if name and "/" not in name and name not in held]


def nothing_usable(root: str, folder: Path, listing: Listing, findings: Findings, split: Split) -> UserError:
    """The error for a folder without readable images; it says what the folder has instead."""
    if split == "test":
        lack = f"can be read: {' '.join(told(findings.unread, 3))}" if findings.unread else "is of a class that trains."
        return NoTestSplitError(
            f"data.root is {root}, but no image that is held out there {lack}",
            "Replace them, or try data.holdout=0.1, which trains on nine in ten and judges by the others.",
        )
    remedy = f"Put {either(FORMATS)} images there, or try {SHIPPED}"
    if findings.unread:
        lies_there = " ".join(told(findings.unread, 3))
        helping = Counter(each.fault.remedy for each in findings.unread).most_common(1)[0][0]
        remedy = f"{helping[:1].upper()}{helping[1:]}, or try {SHIPPED}" if helping else remedy
    elif listing.others:
        lies_there = f"there are {by_ending(listing.others)}."
        archives = [some[0] for ending, some in sorted(listing.others.items()) if ending in ARCHIVES]
        if archives:
            remedy = f"Unpack the archives, such as: {unpacking(folder / archives[0])}"
        elif listing.others.keys() & LIKE_PICTURES:
            remedy = f"Convert them to PNG or JPEG, or try {SHIPPED}"
    else:
        lies_there = "there are no files."
    return UserError(f"data.root is {root}, but no image there can be read: {lies_there}", remedy)


def _found(root: str, what: str, extras: Sequence[str]) -> str:
    """The line on what is read: `photos: 60 images in 2 classes (cats, dogs) from train/; 20 of test/ are held out`."""
    return f"{printable(root)}: {'; '.join((what, *extras))}."


def _images_in_classes(count: int, of: int, classes: Sequence[str], folder: str) -> str:
    """`60 of 3,000 images in 5 classes (a, b, c, d, ...) from train/`."""
    said = f"{count:,} of {of:,} images" if count < of else counted(count, "image")
    if classes:
        shown = ", ".join([*map(printable, classes[:_CLASSES_SHOWN]), *["..."] * (len(classes) > _CLASSES_SHOWN)])
        said += f" in {len(classes):,} {'class' if len(classes) == 1 else 'classes'} ({shown})"
    return f"{said} from {printable(folder)}" if folder else said


def _folders(some: Sequence[str]) -> str:
    """Names of folders, the first few."""
    return ", ".join([*map(printable, some[:_FOLDERS_SHOWN]), *["..."] * (len(some) > _FOLDERS_SHOWN)])


def _left_out(findings: Findings, others: Mapping[str, Sequence[str]], usable: int) -> list[str]:
    """Lines on the files that are not read, the last of which says how many images are left."""
    lines = [*told(findings.unread, _KINDS_UNREAD), *may_hold_pictures(others)]
    if lines:
        total = usable + len(findings.unread) + sum(len(some) for end, some in others.items() if end in LIKE_PICTURES)
        lines.append(f"{usable:,} of {counted(total, 'file')} with images {_are(usable)} left to train on.")
    return lines


def may_hold_pictures(others: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence on the files that may hold images and are not read; none where there are no such files.

    Args:
        others: what a `Listing` has of them.
    """
    like = {ending: some for ending, some in others.items() if ending in LIKE_PICTURES}
    if not like:
        return []
    count, examples = sum(map(len, like.values())), names(some[0] for some in like.values())
    return [
        f"{counted(count, 'file')} that may hold images {_are(count)} not read: {by_ending(like)} ({examples}). "
        "Convert them to PNG or JPEG, or unpack them, to have them read."
    ]
