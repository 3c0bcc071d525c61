"""Make the extractor of `data=digits` that ships with the package; to be run whenever its recipe changes.

python -m benchmarks.ship_extractor
"""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from gan_runner.data import digits
from gan_runner.metrics.features import CNN, SHIPPED, task_of


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images = digits.load(28, None)
    state = CNN.trained(images, torch.device("cpu"), task_of(images))
    digest = CNN.digest(images, task_of(images))
    arrays = {"recipe": np.array(digest)}
    for part, weights in state.items():
        for name, weight in weights.items():
            # Half precision halves the file; what is a variance or a count keeps its range.
            small = weight.half() if weight.ndim > 1 else weight
            arrays[f"{part}/{name}"] = small.numpy()
    path = Path(str(resources.files("gan_runner.metrics").joinpath(SHIPPED)))
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, recipe {digest}")


if __name__ == "__main__":
    main()
