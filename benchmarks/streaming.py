"""Whether images that are streamed from a folder arrive as fast as the training step needs them.

    python -m benchmarks.streaming --pictures 20000

Writes PNG files of 64x64 pixels into a temporary folder, then measures, in images per second: decoding alone, the
stream alone, and a DCGAN that trains from the stream; and the share of the time that the step waits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.step import composed, our_step

SIZE = 64


def draw_pictures(folder: Path, count: int) -> None:
    """Write smooth random colour pictures, about as hard to decode as small photographs."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(folder / f"{number:06d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--model", default="dcgan", choices=["dcgan", "mlp"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        draw_pictures(Path(name), options.pictures)
        experiment = composed(
            "data=image_folder",
            f"data.root={name}",
            f"data.image_size={SIZE}",
            "data.resident=false",
            f"model={options.model}",
        )
        loader, batch = experiment.loader, experiment.settings.batch_size
        images = loader.buffer(batch)

        order = torch.randperm(len(experiment.images))[: 16 * batch]
        start = time.perf_counter()
        for indices in order.split(batch):
            experiment.images.pixels(indices)
        report("decoding in one process", len(order), time.perf_counter() - start)

        loader.load(0, images)  # starts the workers
        start = time.perf_counter()
        for number in range(1, 49):
            loader.load(number * batch, images)
        report("the stream alone", 48 * batch, time.perf_counter() - start)

        step = our_step(experiment)
        step()
        waited, start = loader.waited_seconds, time.perf_counter()
        for _ in range(options.iterations):
            step()
        seconds = time.perf_counter() - start
        report(f"model={options.model} trained from the stream", options.iterations * batch, seconds)
        print(f"the step waits {(loader.waited_seconds - waited) / seconds:.1%} of its time")
        loader.close()


def report(what: str, count: int, seconds: float) -> None:
    """Print a speed."""
    print(f"{what:40} {count / seconds:10,.0f} pictures a second")


if __name__ == "__main__":
    main()
