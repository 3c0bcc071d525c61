"""The settings of the group `trainer`: how long, on what, and how often to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gan_runner.ranges import Count, FractionBelowOne, GridSide, Positive


@dataclass(frozen=True)
class Trainer:
    """How a run is trained; conf/trainer/default.yaml explains each setting and holds its value."""

    epochs: Count | Literal["auto"]
    iterations: Count | None
    batch_size: Count
    g_batch_size: Count
    device: str
    precision: Literal["auto", "fp32", "bf16"]
    ema: FractionBelowOne | None
    ema_half_life: Positive | None
    ema_ramp_up: Positive | None
    log_every: Count
    intervals_in: Literal["epochs", "iterations"]
    sample_every: Count
    checkpoint_every: Count
    checkpoint_minutes: Positive
    keep: Count | Literal["all"]
    sample_columns: GridSide
    sample_rows: GridSide
    progress: Literal["auto"] | bool
    threads: Literal["auto"] | Count = "auto"  # runs of earlier versions have these three not
    adapt_threads: bool = False
    minutes: Positive | None = None
