"""Sets of images that torchvision knows by name, downloads, checks and reads."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_runner.data import locations, other_forms
from gan_runner.data.decoding import ImageSize, Pixels, check_room, drawn, facts_of, height_and_width, shape_of_set
from gan_runner.data.image_set import InMemoryImages, rows_within_limit
from gan_runner.data.parallel import in_chunks
from gan_runner.data.splits import Split, rows_of
from gan_runner.errors import UserError, either
from gan_runner.machine.files import at_home
from gan_runner.ranges import Count, FractionBelowOne

_LOOKED_AT = 16  # images that tell the size and the channels of a set
_NO_CLASS = "N/A"  # what torchvision calls a label that no image has

Options = Mapping[str, object]


class _Dataset(Protocol):
    """What is used of a data set of torchvision: its images, and the class of each."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, Any]: ...


@dataclass(frozen=True)
class Parts:
    """How torchvision is asked for the images of a set, as arguments of its class.

    Attributes:
        train: those that train, one after the other.
        test: those for tests, likewise; () for a set that has none.
        transposed: rows and columns are swapped in the files.
    """

    train: tuple[Options, ...]
    test: tuple[Options, ...] = ()
    transposed: bool = field(default=False, kw_only=True)


def _by_flag(transposed: bool = False, **options: object) -> Parts:
    train, test = ({**options, "train": flag} for flag in (True, False))
    return Parts((train,), (test,), transposed=transposed)


def _by_split(*train: str, test: str = "test", **options: object) -> Parts:
    return Parts(tuple({**options, "split": split} for split in train), ({**options, "split": test},))


_EVERYTHING = Parts(({},))

KNOWN: Mapping[str, Mapping[str, Parts]] = {
    "CIFAR10": {"standard": _by_flag()},
    "CIFAR100": {"standard": _by_flag()},
    "Caltech101": {"standard": _EVERYTHING},
    "Caltech256": {"standard": _EVERYTHING},
    "CelebA": {"standard": _by_split("train", target_type=[])},
    "Country211": {"standard": _by_split("train", "valid")},
    "DTD": {"standard": _by_split("train", "val")},
    "EMNIST": {
        split: _by_flag(split=split, transposed=True)
        for split in ("balanced", "byclass", "bymerge", "letters", "digits", "mnist")
    },
    "EuroSAT": {"standard": _EVERYTHING},
    "FGVCAircraft": {"standard": _by_split("trainval")},
    "FashionMNIST": {"standard": _by_flag()},
    "Flowers102": {
        "all": Parts(({"split": "train"}, {"split": "val"}, {"split": "test"})),
        "standard": _by_split("train", "val"),
    },
    "Food101": {"standard": _by_split("train")},
    "GTSRB": {"standard": _by_split("train")},
    "Imagenette": {size: _by_split("train", test="val", size=size) for size in ("160px", "320px", "full")},
    "KMNIST": {"standard": _by_flag()},
    "LFWPeople": {"all": Parts(({"split": "10fold"},)), "standard": _by_split("train")},
    "MNIST": {"standard": _by_flag()},
    "OxfordIIITPet": {"standard": _by_split("trainval")},
    "SEMEION": {"standard": _EVERYTHING},
    "STL10": {"standard": _by_split("train"), "unlabeled": Parts(({"split": "unlabeled"},))},
    "SUN397": {"standard": _EVERYTHING},
    "SVHN": {"standard": _by_split("train"), "extra": _by_split("train", "extra")},
    "USPS": {"standard": _by_flag()},
}
"""The sets of single images that torchvision reads, and the variants of each, the first of which is the default."""


def load(
    name: str,
    variant: str | None,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    channels: Literal[1, 3] | None,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
) -> InMemoryImages:
    """Load a set by the name of its class in `torchvision.datasets`; its images lie decoded in memory.

    EMNIST's images, which lie on their side in the files, stand upright, and its letters have 26 classes.

    Args:
        name: one of `KNOWN`.
        variant: one of the set's; None is the first of them.
        root: the folder in which torchvision finds the set's files, or puts them; `~` is the home folder.
        download: fetch the files into `root` if they are not there.
        image_size: height and width in pixels to draw the images at; None keeps the size they all have.
        channels: 1 for grey, 3 for colour; None is what the set has.
        limit: number of training images to take, see `rows_within_limit`; None takes all.
        split: the images that train, or those for tests.
        holdout: the share of the training images to hold out, every k-th; of 0, the set's own test images are.

    Raises:
        UserError: there is no such set or variant, its files are not there or damaged, the download failed, a
            package is missing, or the images have several sizes and `image_size` is None.
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    parts = _parts(name, variant)
    own_test = holdout == 0 and parts.test
    if split == "test" and own_test:
        images = _Joined(name, parts.test, root, download, parts.transposed)
        rows = torch.arange(len(images))
    else:
        images = _Joined(name, parts.train, root, download, parts.transposed)
        rows = rows_of(len(images), holdout, split, f"torchvision data.name={name}")
    labels = images.labels
    if split == "train" and limit is not None:
        rows = rows[rows_within_limit(len(rows), None if labels is None else labels[rows], limit)]
    size = None if image_size is None else height_and_width(image_size)
    pixels = images.pixels(rows, size, channels)
    return InMemoryImages(name.lower(), pixels, None if labels is None else labels[rows], images.classes)


def _parts(name: str, variant: str | None) -> Parts:
    from torchvision import datasets  # slow to import, and seldom needed

    if name not in KNOWN:
        lower = {known.lower(): known for known in KNOWN}
        near = [lower[each] for each in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
        has = "has, but not as single images to draw" if name in datasets.__all__ else "does not have"
        raise UserError(
            f"data.name is {name}, which torchvision {has}.",
            f"Try data.name={either(near)}, or another one of: {', '.join(KNOWN)}."
            if near
            else f"Try data.name=NAME with one of: {', '.join(KNOWN)}.",
        )
    variants = KNOWN[name]
    if variant is None:
        return next(iter(variants.values()))
    if variant not in variants:
        raise UserError(
            f"data.variant is {variant}, but {name} has only: {', '.join(variants)}.",
            f"Try data.variant={next(iter(variants))}, or data.variant=null, which is the same.",
        )
    return variants[variant]


class _Joined:
    """The parts of a set that torchvision opened, as one list of images.

    Args:
        name: the class in `torchvision.datasets`.
        parts: its arguments, once for each part.
        root: see `load`.
        download: see `load`.
        transposed: see `Parts`.
    """

    def __init__(self, name: str, parts: tuple[Options, ...], root: str, download: bool, transposed: bool) -> None:
        self._name = name
        self._datasets = [_opened(name, options, root, download) for options in parts]
        self._ends = np.cumsum([len(dataset) for dataset in self._datasets])
        self._transposed = transposed
        labels = [_labels_of(dataset) for dataset in self._datasets]
        self.labels, self.classes = _named_classes(
            torch.cat([some for some in labels if some is not None]) if None not in labels else None,
            _class_names(self._datasets[0]),
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def pixels(self, rows: Tensor, size: tuple[int, int] | None, channels: Literal[1, 3] | None) -> Tensor:
        """These images at one size, uint8 [n, C, H, W], read in threads."""
        some = [facts_of(self._picture(row)) for row in rows[:: -(-len(rows) // _LOOKED_AT)].tolist()]
        colours, shape = shape_of_set(self._name, some, size, channels)
        check_room(len(rows), colours, shape)
        out = np.empty((len(rows), colours, *shape), np.uint8)

        def read(chunk: Tensor) -> Pixels:
            return np.stack([drawn(self._picture(row), shape, colours) for row in chunk.tolist()])

        for start, chunk in in_chunks(read, rows, "read"):
            out[start : start + len(chunk)] = chunk
        return torch.from_numpy(out)

    def _picture(self, row: int) -> Image.Image:
        part = int(np.searchsorted(self._ends, row, side="right"))
        picture, _ = self._datasets[part][row - (self._ends[part - 1] if part else 0)]
        return picture.transpose(Image.Transpose.TRANSPOSE) if self._transposed else picture


def _opened(name: str, options: Options, root: str, download: bool) -> _Dataset:
    from torchvision import datasets  # slow to import, and seldom needed

    make = functools.partial(getattr(datasets, name), **options)
    folder = at_home(root)
    try:
        try:
            dataset: _Dataset = make(folder, download=False)
        except (RuntimeError, OSError) as error:
            if not download:
                raise _missing(name, root, error) from error
            locations.download(name, root, functools.partial(make, download=True))
            dataset = make(folder, download=False)
    except ImportError as error:
        package = error.name or "its package"
        raise UserError(
            f"data.name is {name}, but torchvision reads it with {package}, which is not installed.",
            f"Try pip install {package}.",
        ) from error
    except UserError:
        raise
    except Exception as error:  # what readers of damaged files raise
        raise locations.damaged(root, f"{name} cannot be read there: {_in_a_line(error)}") from error
    return dataset


def _missing(name: str, root: str, error: Exception) -> UserError:
    folder = Path(at_home(root))
    if name == "CIFAR10" and not (folder / other_forms.CIFAR_10_FOLDER).exists():
        there = other_forms.what_lies_there("cifar10", root)
    else:
        there = None
    return there or UserError(
        f"data.root is {root}, but torchvision does not find {name} there: "
        f"{_in_a_line(error).partition(' You can use ')[0]}",  # its own spelling of data.download=true
        f"Try data.download=true, which downloads it to {root}, or data.root=FOLDER if you have it, or "
        f"{locations.SHIPPED}",
    )


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _labels_of(dataset: _Dataset) -> Tensor | None:
    """The class of each image, int64 [N], without decoding any; None where there are none."""
    for attribute in ("targets", "labels", "_labels", "y"):
        if (found := getattr(dataset, attribute, None)) is not None:
            labels = torch.as_tensor(np.asarray(found)).long()
            return None if (labels < 0).any() else labels
    if (samples := getattr(dataset, "_samples", None)) is not None:  # paths with classes
        return torch.tensor([label for _, label in samples])
    return None


def _class_names(dataset: _Dataset) -> list[str]:
    for attribute in ("classes", "categories", "class_to_idx"):
        if found := getattr(dataset, attribute, None):
            return [name[0] if isinstance(name, tuple) else str(name) for name in found]
    return []


def _named_classes(labels: Tensor | None, names: list[str]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels from 0 with a name for each class; a class that torchvision names as one without images is left out."""
    if labels is None:
        return None, ()
    if names[:1] == [_NO_CLASS]:
        labels, names = labels - 1, names[1:]
    count = max(len(names), int(labels.max()) + 1)
    return labels, tuple(names) if len(names) == count else tuple(map(str, range(count)))
