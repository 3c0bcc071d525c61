"""Well-known sets of IDX files, which torchvision can download."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor

from gan_runner.data import idx, locations, other_forms, tables
from gan_runner.data.decoding import ImageSize
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.notes import tell
from gan_runner.data.splits import Split, no_test_files
from gan_runner.machine.files import at_home
from gan_runner.ranges import Count

_PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
"""What the names of the files of each split start with."""


class _Read(Protocol):
    def __call__(self, root: str) -> tuple[Tensor, Tensor | None]: ...


class _Files(NamedTuple):
    """Where a split lies, the file of its labels, and how it is read: images uint8 [N, 1, H, W], labels int64 [N]."""

    folder: Path
    labels: Path
    read: _Read


@dataclass(frozen=True)
class KnownIdx:
    """A set whose files are named as MNIST's are.

    Attributes:
        name: what `data=` calls it.
        torchvision_name: the class in `torchvision.datasets`, and the folder that it downloads to.
        classes: what the labels 0, 1, ... mean.
        other_folders: where else to look, besides the folders below `data.root`.
    """

    name: str
    torchvision_name: str
    classes: tuple[str, ...]
    other_folders: Sequence[str]

    def load(
        self, root: str, download: bool, image_size: ImageSize | None, limit: Count | None, split: Split = "train"
    ) -> InMemoryImages:
        """Load the images of a split from the first folder that holds them with their labels.

        Args:
            root: a folder with `TORCHVISION_NAME/raw` as torchvision lays it out, or with a folder that has
                the set's name, or with the IDX files themselves, or those that `gan_runner.data.tables` reads;
                `~` is the home folder.
            download: download the files into `root` if they are missing.
            image_size: height and width in pixels to draw the images at; None keeps them as they are.
            limit: number of training images to take, see `rows_within_limit`; None takes all.
            split: the images that train, or those for tests.

        Raises:
            UserError: files are missing or damaged, or the download failed.
            NoTestSplitError: the test split is asked for, and only the training images are there.
        """
        places = self._places(root)
        prefix = _PREFIXES[split]
        files = self._files(places, split)
        if files is None and download:
            locations.download(self.name, root, self._fetch)
            files = self._files(places, split)
        if files is None:
            if split == "test" and self._files(places, "train"):
                unlabelled = (tables.without_labels(place, self.name) for place in places)
                without = next((f"labels for {file}" for file in unlabelled if file), "")
                raise no_test_files(root, self.name, without or f"{prefix}-images-idx3-ubyte with its labels")
            raise self._incomplete(root, places, prefix) or other_forms.missing(self.name, root, places)
        if str(files.folder) in self.other_folders:
            tell([f"data: {self.name} is read from {files.folder}, because {root} does not have it."], logging.INFO)
        pixels, numbers = files.read(root)
        if numbers is not None and (highest := int(numbers.max())) >= len(self.classes):
            known = len(self.classes) - 1
            raise locations.damaged(root, f"{files.labels} holds class {highest}, where 0 to {known} are known")
        kept = limit if split == "train" else None
        return prepared(self.name, pixels, numbers, self.classes, image_size, kept)

    def _files(self, places: Sequence[Path], split: Split) -> _Files | None:
        for place in places:
            images, labels = idx.pair(place, _PREFIXES[split])
            if images is not None and labels is not None:
                return _Files(place, labels, partial(idx.read_pair, images=images, labels=labels))
            if table := tables.find(place, self.name, split):
                return _Files(place, table, partial(tables.read, path=table, split=split))
        return None

    def _places(self, root: str) -> list[Path]:
        folder = Path(at_home(root))
        if folder.exists():
            locations.existing_folder(root)
        below = [folder / self.torchvision_name / "raw", folder / self.name, folder]
        return below + [Path(other) for other in self.other_folders]

    def _fetch(self, folder: str) -> None:
        from torchvision import datasets  # slow to import, and seldom needed

        getattr(datasets, self.torchvision_name)(folder, download=True)

    def _incomplete(self, root: str, places: list[Path], prefix: str) -> Exception | None:
        """The error that says which file lacks its companion; None where there is not even one."""
        for place in places:
            images, labels = idx.pair(place, prefix)
            if images is not None or labels is not None:
                lacking = f"{prefix}-images-idx3-ubyte" if images is None else f"{prefix}-labels-idx1-ubyte"
                return locations.damaged(root, f"{images or labels} has no matching {place / lacking}")
        return None
