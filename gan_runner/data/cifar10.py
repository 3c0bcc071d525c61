"""CIFAR-10: 50,000 colour photographs of ten kinds of things, 32x32."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan_runner.data import locations
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.splits import Split, no_test_files
from gan_runner.ranges import Count

_FOLDER = "cifar-10-batches-py"
_BATCHES: dict[Split, list[str]] = {
    "train": [f"data_batch_{number}" for number in range(1, 6)],
    "test": ["test_batch"],
}
_SHAPE = (3, 32, 32)
_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def load(
    root: str, download: bool, image_size: Count | None, limit: Count | None, split: Split = "train"
) -> InMemoryImages:
    """Load the training or test images of CIFAR-10 (Krizhevsky 2009) from the batches of its Python version.

    Args:
        root: a folder with `cifar-10-batches-py`, or that folder itself; `~` is the home folder.
        download: fetch the files into `root` if none of them is there.
        image_size: height and width in pixels to draw the images at; None keeps 32.
        limit: number of training images to take, from the first; None takes all.
        split: the images that train, or those for tests.

    Raises:
        UserError: the files are nowhere, some are missing or damaged, or the download failed.
        NoTestSplitError: the test split is asked for, and only the training images are there.
    """
    batches = _BATCHES[split]
    folder = _folder(root, batches)
    if folder is None and download:
        locations.download("cifar10", root, _fetch)
        folder = _folder(root, batches)
    if folder is None:
        if split == "test" and _folder(root, _BATCHES["train"]):
            raise no_test_files(root, "cifar10", "test_batch")
        raise locations.missing("cifar10", root, _places(root))
    images, labels = zip(*(_read_batch(root, folder / name, batches) for name in batches), strict=True)
    kept = limit if split == "train" else None
    return prepared("cifar10", torch.cat(images), torch.cat(labels), _CLASSES, image_size, kept)


def _places(root: str) -> list[Path]:
    folder = Path(root).expanduser()
    if folder.exists():
        locations.existing_folder(root)
    return [folder / _FOLDER, folder]


def _folder(root: str, batches: list[str]) -> Path | None:
    """The first place with any of the batches, so that the error can name those that lack."""
    return next((place for place in _places(root) if any((place / name).exists() for name in batches)), None)


def _fetch(folder: str) -> None:
    from torchvision import datasets  # slow to import, and seldom needed

    datasets.CIFAR10(folder, download=True)


def _read_batch(root: str, path: Path, batches: list[str]) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, 32, 32] and labels int64 [n] of one batch."""
    if not path.is_file():
        raise locations.damaged(root, f"{path} is missing, where {', '.join(batches)} are needed")
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
        images = torch.from_numpy(np.array(batch["data"], dtype=np.uint8).reshape(-1, *_SHAPE))
        labels = torch.tensor(batch["labels"], dtype=torch.int64)
    except Exception as error:  # damaged pickles raise almost anything
        raise locations.damaged(root, f"{path} is no batch of CIFAR-10: {error}") from error
    if len(labels) != len(images) or not set(labels.tolist()) <= set(range(len(_CLASSES))):
        raise locations.damaged(root, f"{path} does not hold one label from 0 to 9 for each image")
    return images, labels


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays and plain values and refuses everything else, which could run code."""

    _ALLOWED = frozenset(
        {
            ("_codecs", "encode"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "_reconstruct"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        return super().find_class(module, name)
