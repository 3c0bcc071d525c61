"""Well-known sets of IDX files, which torchvision can download."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_runner.data import idx, locations
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.splits import Split, no_test_files
from gan_runner.machine.files import at_home
from gan_runner.ranges import Count

_log = logging.getLogger(__name__)

_PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
"""What the names of the files of each split start with."""


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
        self, root: str, download: bool, image_size: Count | None, limit: Count | None, split: Split = "train"
    ) -> InMemoryImages:
        """Load the images of a split from the first folder that holds them with their labels.

        Args:
            root: a folder with `TORCHVISION_NAME/raw` as torchvision lays it out, or with a folder that has
                the set's name, or with the IDX files themselves; `~` is the home folder.
            download: fetch the files into `root` if they are nowhere.
            image_size: height and width in pixels to draw the images at; None keeps them as they are.
            limit: number of training images to take, see `rows_within_limit`; None takes all.
            split: the images that train, or those for tests.

        Raises:
            UserError: the files are nowhere, some are missing or damaged, or the download failed.
            NoTestSplitError: the test split is asked for, and only the training images are there.
        """
        places = self._places(root)
        prefix = _PREFIXES[split]
        files = _first_pair(places, prefix)
        if files is None and download:
            locations.download(self.name, root, self._fetch)
            files = _first_pair(places, prefix)
        if files is None:
            if split == "test" and _first_pair(places, _PREFIXES["train"]):
                raise no_test_files(root, self.name, f"{prefix}-images-idx3-ubyte with its labels")
            raise self._incomplete(root, places, prefix) or locations.missing(self.name, root, places)
        if str(files[0].parent) in self.other_folders:
            _log.info("data: %s lies in %s, and not below %s.", self.name, files[0].parent, root)
        return self._read(root, *files, image_size, limit if split == "train" else None)

    def _places(self, root: str) -> list[Path]:
        folder = Path(at_home(root))
        if folder.exists():
            locations.existing_folder(root)
        below = [folder / self.torchvision_name / "raw", folder / self.name, folder]
        return below + [Path(other) for other in self.other_folders]

    def _fetch(self, folder: str) -> None:
        from torchvision import datasets  # slow to import, and seldom needed

        getattr(datasets, self.torchvision_name)(folder, download=True)

    def _read(
        self, root: str, images: Path, labels: Path, image_size: Count | None, limit: Count | None
    ) -> InMemoryImages:
        pixels, numbers = idx.read_pair(root, images, labels)
        if numbers is not None and (highest := int(numbers.max())) >= len(self.classes):
            known = len(self.classes) - 1
            raise locations.damaged(root, f"{labels} holds class {highest}, where 0 to {known} are known")
        return prepared(self.name, pixels, numbers, self.classes, image_size, limit)

    def _incomplete(self, root: str, places: list[Path], prefix: str) -> Exception | None:
        """The error that says which file lacks its companion; None where there is not even one."""
        for place in places:
            images, labels = idx.pair(place, prefix)
            if images is not None or labels is not None:
                lacking = f"{prefix}-images-idx3-ubyte" if images is None else f"{prefix}-labels-idx1-ubyte"
                return locations.damaged(root, f"{images or labels} lies without {place / lacking}")
        return None


def _first_pair(places: list[Path], prefix: str) -> tuple[Path, Path] | None:
    for place in places:
        images, labels = idx.pair(place, prefix)
        if images is not None and labels is not None:
            return images, labels
    return None
