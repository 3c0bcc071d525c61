"""Two domains of images in folders, without pairs; see `load`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from gan_runner.data import image_folder
from gan_runner.data.decoding import Channels, ImageSize
from gan_runner.data.folder_layout import ROLES, Role
from gan_runner.data.folder_listing import listing_of
from gan_runner.data.image_folder import FolderImages
from gan_runner.data.locations import existing_folder
from gan_runner.data.paired_folder import SIDE
from gan_runner.data.pairs import Direction
from gan_runner.data.some_images import SomeImages
from gan_runner.data.splits import NoTestSplitError, Split
from gan_runner.data.unpaired import Unpaired
from gan_runner.errors import UserError, printable
from gan_runner.ranges import Count, FractionBelowOne

Side = Literal["A", "B"]

_SIDES: tuple[Side, Side] = ("A", "B")
_REMEDY = "Put the images of each domain into folders A and B, or try data.root=A data.other_root=B."


@dataclass(frozen=True)
class Folders:
    """Where the images of one domain lie.

    Attributes:
        training: a folder, which may hold folders such as `train` and `test`.
        held_out: a folder of images to judge by; None where there is none beside that.
    """

    training: str
    held_out: str | None


def load(
    root: str,
    other_root: str | None,
    image_size: ImageSize,
    channels: Channels,
    direction: Direction,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> Unpaired:
    """Find the images of two domains. The layout is one of these, and is told by the names of folders.

    - Folders `A` and `B` below `root`, each as `gan_runner.data.image_folder` has it: it may hold `train` and `test`,
      and folders that are classes.
    - Folders `trainA` and `trainB`, and `testA` and `testB` (or `valA` and `valB`), which are held out.
    - Two folders anywhere, `root` for A and `other_root` for B.

    Where the held-out images of both domains have the same names, those of one name are taken for partners, which
    judge what is drawn and train nothing.

    Args:
        root: the folder.
        other_root: see above; None where both domains lie below `root`.
        image_size: height and width in pixels that each image is scaled and cropped to.
        channels: of both domains: 1 for grey, 3 for colour, 4 for colour with transparency.
        direction: AtoB draws B from A, BtoA the other way round.
        limit: number of training images to keep of each domain; None keeps all.
        split: the images that train, or those that are held out.
        holdout: the share of each domain to hold out; of 0, what lies in a folder such as `test` or `testA` is.

    Raises:
        UserError: a folder or a domain is not there, holds no image that can be read, or alone has test images.
        NoTestSplitError: the test split is asked for, and neither domain holds anything out.
    """
    folders = _folders(root, other_root)
    sides: dict[Side, FolderImages] = {}
    lacking: dict[Side, NoTestSplitError] = {}
    for side, place in folders.items():
        read: Callable[..., FolderImages] = partial(image_folder.load, image_size=image_size, channels=channels)
        try:
            if split == "test" and holdout == 0 and place.held_out is not None:
                sides[side] = read(place.held_out, limit=None)
            else:
                sides[side] = read(place.training, limit=limit, split=split, holdout=holdout)
        except NoTestSplitError as error:
            lacking[side] = error
    if len(lacking) == len(folders):
        raise NoTestSplitError(
            "data=unpaired_folders has no folders such as test/, or testA/ and testB/, and data.holdout is 0: all "
            "images train.",
            "Try data.holdout=0.1, which trains on nine in ten images of each domain and judges by the others.",
        )
    for side in lacking:
        other = _SIDES[side == "A"]
        raise UserError(
            f"Domain {other} has images to judge by, but domain {side} ({printable(folders[side].training)}) has none.",
            f"Put some of {side}'s images into a folder test{side}, or try data.holdout=0.1, which holds out of both.",
        )
    source, drawn = _SIDES if direction == "AtoB" else _SIDES[::-1]
    if split == "test" and (rows := _of_equal_names(sides[drawn], sides[source])) is not None:
        matched = SomeImages(sides[drawn], rows[0]), SomeImages(sides[source], rows[1])
        return Unpaired("unpaired_folders", *matched, partners=True)
    return Unpaired("unpaired_folders", sides[drawn], sides[source])


def _folders(root: str, other_root: str | None) -> Mapping[Side, Folders]:
    """The folders of A and of B.

    Raises:
        UserError: one of them is not there.
    """
    folder = existing_folder(root)
    if other_root is not None:
        other = existing_folder(other_root, "data.other_root")
        if os.path.samefile(folder, other):
            raise UserError(
                f"data.other_root is {printable(other_root)}, which is data.root too: there would be one domain.",
                "Give the folder with B's images, or leave data.other_root out where data.root has both.",
            )
        return {"A": Folders(root, None), "B": Folders(other_root, None)}
    found = _below(folder)
    places: dict[Side, Folders] = {}
    for side in _SIDES:
        roles = {role: path for (letter, role), path in found.items() if letter == side}
        if (training := roles.get("train")) is None:
            names = sorted(path.name for path in found.values())
            raise UserError(
                f"data.root is {printable(root)}, but no folder there holds the training images of domain {side}: "
                f"{', '.join(map(printable, names)) + ' alone' if names else 'neither A nor B'}.",
                _REMEDY,
            )
        held_out = roles.get("test") or roles.get("validation")
        places[side] = Folders(str(training), None if held_out is None else str(held_out))
    return places


def _below(folder: Path) -> dict[tuple[Side, Role], Path]:
    """The folders such as `A` and `testB` that hold images, by their domain and by what their images are for."""
    found: dict[tuple[Side, Role], Path] = {}
    for name in sorted({name.partition("/")[0] for name in listing_of(folder).pictures if "/" in name}):
        if match := SIDE.fullmatch(name):
            side: Side = "A" if match[2].upper() == "A" else "B"
            found[side, ROLES[match[1].lower()] if match[1] else "train"] = folder / name
    return found


def _of_equal_names(one: FolderImages, other: FolderImages) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The rows of both sets in an order in which equal names come together; None where some have no equal."""
    mine, theirs = ({os.path.splitext(name)[0]: row for row, name in enumerate(each.names)} for each in (one, other))
    if mine.keys() != theirs.keys() or len(mine) != len(one) or len(theirs) != len(other):
        return None
    names = sorted(mine)
    return torch.tensor([mine[name] for name in names]), torch.tensor([theirs[name] for name in names])
