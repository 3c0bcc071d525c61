"""Runs that nobody trained: folders as a run leaves them, in milliseconds."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gan_runner.record.pictures import grid

ALARM = {"name": "coin_toss", "iteration": 40, "since": 20, "message": "coin_toss: D is right 51.0% of the time."}


def objective(lr: float, dropout: float, seed: int, progress: float) -> float:
    """Lower is better: best near lr=4e-4, a little better with less dropout."""
    floor = 0.1 + 0.08 * math.log10(lr / 4e-4) ** 2 + 0.1 * dropout
    return floor + 0.5 * math.exp(-5 * progress) + 0.004 * math.sin(7 * seed + 3 * dropout)


def make_run(
    folder: Path,
    *,
    lr: float = 2e-4,
    dropout: float = 0.3,
    seed: int = 1,
    status: str = "finished",
    iterations: int = 60,
    points: int = 12,
    pictures: int = 4,
    overrides: tuple[str, ...] = (),
    told: Mapping[str, object] | None = None,
) -> Path:
    """Leave a folder like that of a run of `gan-run -m optimizer.lr=... model.dropout=... seed=...`.

    Args:
        folder: the run's.
        points: log points, of which every third is evaluated.
        pictures: grids of 6x6 cells of 8x8 pixels.
        overrides: typed besides.
        told: what the summary tells otherwise.
    """
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    config = {
        "seed": seed,
        "data": {"_target_": "gan_runner.data.digits.load", "image_size": 8, "limit": None},
        "model": {"dropout": dropout, "discriminator": {"dropout": "${model.dropout}"}},
        "optimizer": {"lr": lr, "betas": [0.5, 0.999], "d": {"lr": "${optimizer.lr}"}},
        "trainer": {"sample_columns": 6, "sample_rows": 6, "iterations": iterations},
        "evaluation": {
            "every": "${trainer.sample_every}",
            "num_images": 1000,
            "objective": "distance",
            "goal": "lower",
        },
    }
    typed = [f"optimizer.lr={lr}", f"model.dropout={dropout}", f"seed={seed}", *overrides]
    choices = {"model": "mlp", "data": "digits", "hydra/launcher": "basic"}
    (hydra / "config.yaml").write_text(yaml.safe_dump(config))
    (hydra / "overrides.yaml").write_text(yaml.safe_dump(typed))
    (hydra / "hydra.yaml").write_text(yaml.safe_dump({"hydra": {"runtime": {"choices": choices}}}))

    lines = []
    for point in range(1, points + 1):
        progress = point / points
        line = {"iteration": round(iterations * progress), "epoch": 10 * progress}
        line |= {"loss/d": 0.6 + 0.1 * math.sin(9 * progress + seed), "loss/g": 1.0 + lr * 200 * progress}
        line |= {"accuracy/d": 0.55 + 0.4 * math.exp(-progress * seed), "speed/images_per_second": 1000.0 + seed}
        if point % 3 == 0:
            line |= {"metric/distance": objective(lr, dropout, seed, progress), "metric/diversity": progress}
        lines.append(line)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    last = objective(lr, dropout, seed, 1.0)
    summary: dict[str, object] = {
        "status": status,
        "error": None,
        "iterations": iterations,
        "epochs": 10.0,
        "seconds": 8.0 + seed,
        "images_per_second": 1000.0 + seed,
        "device": "cpu",
        "precision": "fp32",
        "seed": seed,
        "data": {"name": "digits", "fingerprint": "0123456789abcdef", "count": 1797},
        "versions": {"gan-runner": "0.1.0", "torch": "2.14.1"},
        "best": {"value": last, "iteration": iterations},
        "metrics": {"metric/distance": last, "metric/diversity": 1.0},
        "objective": last,
        "alarms": [],
    }
    (folder / "summary.json").write_text(json.dumps(summary | dict(told or {})))

    random = np.random.default_rng(seed)
    latents = random.random((36, 2))
    (folder / "samples").mkdir()
    y, x = np.mgrid[0:8, 0:8] / 8
    for number in range(1, pictures + 1):
        size = 0.6 * number / pictures
        blobs = np.exp(-((x - latents[:, :1, None]) ** 2 + (y - latents[:, 1:, None]) ** 2) / size**2)
        pixels = (255 * blobs).astype(np.uint8)[..., None]
        grid(pixels, 6).save(folder / f"samples/iteration_{round(iterations * number / pictures):08d}.png")
    return folder


def make_sweep(
    folder: Path,
    lrs: Sequence[float] = (1e-4, 4e-4, 2e-3),
    dropouts: Sequence[float] = (0.1, 0.3),
    seeds: Sequence[int] = (1, 2),
    **others: Any,
) -> Path:
    """Leave the folder of a sweep over all combinations."""
    for lr in lrs:
        for dropout in dropouts:
            for seed in seeds:
                name = f"model.dropout={dropout},optimizer.lr={lr},seed={seed}"
                make_run(folder / name, lr=lr, dropout=dropout, seed=seed, **others)
    return folder
