"""MNIST: 60,000 handwritten digits, grey, 28x28."""

from __future__ import annotations

from gan_runner.data.decoding import ImageSize
from gan_runner.data.image_set import InMemoryImages
from gan_runner.data.known_idx import KnownIdx
from gan_runner.data.splits import Split
from gan_runner.ranges import Count

MNIST = KnownIdx("mnist", "MNIST", classes=tuple("0123456789"), other_folders=())


def load(
    root: str, download: bool, image_size: ImageSize | None, limit: Count | None, split: Split = "train"
) -> InMemoryImages:
    """Load the training or test images of MNIST (LeCun, Cortes and Burges 1998); see `KnownIdx.load`."""
    return MNIST.load(root, download, image_size, limit, split)
