"""Fashion-MNIST: 60,000 pieces of clothing, grey, 28x28."""

from __future__ import annotations

from gan_runner.data.decoding import ImageSize
from gan_runner.data.image_set import InMemoryImages
from gan_runner.data.known_idx import KnownIdx
from gan_runner.data.splits import Split
from gan_runner.ranges import Count

DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist puts the files."""

FASHION_MNIST = KnownIdx(
    "fashion_mnist",
    "FashionMNIST",
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    other_folders=(DEBIAN_FOLDER,),
)


def load(
    root: str, download: bool, image_size: ImageSize | None, limit: Count | None, split: Split = "train"
) -> InMemoryImages:
    """Load the training or test images of Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747); see `KnownIdx.load`."""
    return FASHION_MNIST.load(root, download, image_size, limit, split)
