"""Train the extractors that ship with the package; run it whenever their recipe changes.

python -m benchmarks.ship_extractor digits emoji fashion_mnist
"""

from __future__ import annotations

import logging
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from benchmarks.step import configured
from gan_runner.config.build import load_images
from gan_runner.data.halves import halves
from gan_runner.data.splits import NoTestSplitError
from gan_runner.metrics.features import CNN, SHIPPED, task_of


def ship(data: str) -> None:
    """Write the extractor `cnn` of a data set as it is by default; the cache's, where it has one."""
    images = load_images(configured(f"data={data}"))
    try:
        load_images(configured(f"data={data}", "data.split=test"))
    except NoTestSplitError:  # then generated images are compared with the other half
        images, _ = halves(images)
    state = CNN.kept(images, torch.device("cpu"), task_of(images))
    digest = CNN.digest(images, task_of(images))
    arrays = {"recipe": np.array(digest)}
    for part, weights in state.items():
        for name, weight in weights.items():
            # Half precision halves the file; what is a variance or a count keeps its range.
            small = weight.half() if weight.ndim > 1 else weight
            arrays[f"{part}/{name}"] = small.numpy()
    name = SHIPPED.format(extractor=CNN.name, data=images.name)
    path = Path(str(resources.files("gan_runner.metrics").joinpath(name)))
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, recipe {digest}")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for data in sys.argv[1:]:
        ship(data)


if __name__ == "__main__":
    main()
