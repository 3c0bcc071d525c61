"""Small files in the formats of the real ones."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import InMemoryImages


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def seven_images():
    return InMemoryImages("seven", torch.from_numpy(noise(7, 1, 4, 4)), None, ())


@pytest.fixture
def write_pair(write_idx):
    """Writes six images of 28x28 and their labels under the names that MNIST's training files have."""

    def write(folder: Path, seed=0, suffix=""):
        images, labels = noise(6, 28, 28, seed=seed), np.arange(6, dtype=np.uint8)
        write_idx(folder / f"train-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"train-labels-idx1-ubyte{suffix}", labels)
        return images

    return write


@pytest.fixture
def write_cifar():
    """Writes five batches of two images each, pickled as the real ones are."""

    def write(folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = noise(10, 3, 32, 32)
        for number in range(5):
            rows = pixels[2 * number : 2 * number + 2].reshape(2, -1)
            batch = {
                "batch_label": "b",
                "data": rows,
                "labels": [number, 9 - number],
                "filenames": ["a", "b"],
            }
            (folder / f"data_batch_{number + 1}").write_bytes(pickle.dumps(batch, protocol=2))
        return pixels

    return write


@pytest.fixture
def write_picture():
    """Writes an array, or a Pillow image, as an image in the format its name ends in."""

    def write(path: Path, content, **options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        (Image.fromarray(content) if isinstance(content, np.ndarray) else content).save(path, **options)
        return path

    return write


@pytest.fixture
def ten_pictures(tmp_path, write_picture):
    """A folder of ten PNG files of 8x8 noise."""
    for number in range(10):
        write_picture(tmp_path / "pictures" / f"{number}.png", noise(8, 8, 3, seed=number))
    return tmp_path / "pictures"
