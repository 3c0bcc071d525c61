"""Small files in the formats of the real ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import InMemoryImages
from tests.torchvision_files import write_cifar10


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
def write_cifar(monkeypatch):
    """Writes five batches of two images each, and one of three for tests."""

    def write(root: Path):
        pixels = noise(13, 3, 32, 32)
        batches = [(pixels[2 * number :][:2], [number, 9 - number]) for number in range(5)]
        write_cifar10(root, monkeypatch, batches, (pixels[10:], [4, 5, 6]))
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
