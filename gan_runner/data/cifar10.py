"""CIFAR-10: 50,000 colour photographs of ten kinds of things, 32x32."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_runner.data import locations, other_forms
from gan_runner.data.image_set import InMemoryImages, prepared
from gan_runner.data.resources import megabytes
from gan_runner.data.splits import Split, no_test_files
from gan_runner.data.unread import came_instead
from gan_runner.machine.files import at_home
from gan_runner.ranges import Count

_FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
_BATCHES: dict[Split, list[str]] = {
    "train": [f"data_batch_{number}" for number in range(1, 6)],
    "test": ["test_batch"],
}
_SHAPE = (3, 32, 32)
_BINARY = ".bin"  # what the names of the binary version's batches end in
_MOST_BYTES = 2**28  # in a batch; the real ones have 31 MB
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
    """Load the training or test images of CIFAR-10 (Krizhevsky 2009) from the batches of its Python or binary version.

    Args:
        root: a folder with `cifar-10-batches-py` or `cifar-10-batches-bin`, or that folder itself; `~` is the home
            folder.
        download: fetch the files into `root` if none of them is there.
        image_size: height and width in pixels to draw the images at; None keeps 32.
        limit: number of training images to take, see `rows_within_limit`; None takes all.
        split: the images that train, or those for tests.

    Raises:
        UserError: the files are nowhere, some are missing or damaged, or the download failed.
        NoTestSplitError: the test split is asked for, and only the training images are there.
    """
    batches = _batches(root, split)
    if not batches and download:
        locations.download("cifar10", root, _fetch)
        batches = _batches(root, split)
    if not batches:
        if split == "test" and _batches(root, "train"):
            raise no_test_files(root, "cifar10", "test_batch")
        raise other_forms.missing("cifar10", root, _places(root))
    images, labels = zip(*(_read_batch(root, path, batches) for path in batches), strict=True)
    kept = limit if split == "train" else None
    return prepared("cifar10", torch.cat(images), torch.cat(labels), _CLASSES, image_size, kept)


def _places(root: str) -> list[Path]:
    folder = Path(at_home(root))
    if folder.exists():
        locations.existing_folder(root)
    return [*(folder / name for name in _FOLDERS), folder]


def _batches(root: str, split: Split) -> list[Path]:
    """The files of a split in the first place with any of them, so that the error can name those that lack."""
    for place in _places(root):
        for ending in ("", _BINARY):
            batches = [place / f"{name}{ending}" for name in _BATCHES[split]]
            if any(path.exists() for path in batches):
                return batches
    return []


def _fetch(folder: str) -> None:
    from torchvision import datasets  # slow to import, and seldom needed

    datasets.CIFAR10(folder, download=True)


def _read_batch(root: str, path: Path, batches: list[Path]) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 3, 32, 32] and labels int64 [n] of one batch."""
    if not path.is_file():
        raise locations.damaged(
            root, f"{path} is missing, where {', '.join(batch.name for batch in batches)} are needed"
        )
    try:
        with locations.opened(path) as file:
            if instead := came_instead(file):
                raise ValueError(f"it {instead}")
            # One byte more than is allowed, so that a file of any size is known for too long.
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"it has more than {megabytes(_MOST_BYTES)}")
        pixels, classes = _binary(content) if path.suffix == _BINARY else _pickled(content)
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise ValueError("its data is no array of bytes")
        images = torch.from_numpy(pixels.reshape(-1, *_SHAPE).copy())
    except Exception as error:  # damaged pickles raise almost anything
        raise locations.damaged(root, f"{path} is no batch of CIFAR-10: {error}") from error
    known = range(len(_CLASSES))
    if not isinstance(classes, list) or len(classes) != len(images) or any(each not in known for each in classes):
        raise locations.damaged(root, f"{path} does not hold one label from 0 to 9 for each image")
    return images, torch.tensor(classes, dtype=torch.int64)


def _binary(content: bytes) -> tuple[NDArray[np.uint8], object]:
    """Images and labels of the binary version: a byte for the label, and 3,072 for the pixels."""
    record = 1 + math.prod(_SHAPE)
    if not content or len(content) % record:
        raise ValueError(f"it has {len(content):,} bytes, where records have {record:,} each")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, 1:], records[:, 0].tolist()


def _pickled(content: bytes) -> tuple[object, object]:
    """Images and labels of the Python version."""
    _check_plain(content)
    batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return batch["data"], batch["labels"]


def _check_plain(content: bytes) -> None:
    """Refuse a pickle of a few bytes that would fill memory, or keep the processor busy for ever.

    It could number what it remembers as it likes, for which Python then makes room, or put a tuple into a tuple many
    times over, which doubles the work of whoever looks at it with each time.

    Raises:
        ValueError: it is such a pickle, or none.
    """
    remembered, tuples, after_tuple = 0, set(), False
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = remembered if opcode.name == "MEMOIZE" else int(str(argument))
            remembered += 1
            if number > 2 * remembered:
                raise ValueError("it numbers what it remembers otherwise than Python does")
            if after_tuple:
                tuples.add(number)
        elif opcode.name == "DUP" or (opcode.name in ("GET", "BINGET", "LONG_BINGET") and int(str(argument)) in tuples):
            raise ValueError("it holds the same thing several times over")
        after_tuple = opcode.name.startswith("TUPLE")


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of NumPy arrays and plain values and refuses all else, which could run code or fill memory."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _PARTS_OF_AN_ARRAY:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        return _PARTS_OF_AN_ARRAY[module, name]


def _bytes_of(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 write for bytes; other encodings could do more than encode."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}, which is not data")
    return text.encode("latin1")


def _empty_array(kind: object, shape: object, type_code: object) -> NDArray[np.uint8]:
    """What a pickle makes first of an array, and then fills from what it holds itself."""
    return np.empty(0, dtype=np.uint8)


_PARTS_OF_AN_ARRAY: dict[tuple[str, str], object] = {
    ("_codecs", "encode"): _bytes_of,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): None,  # named as the kind of array to make, and not to be called
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
}
