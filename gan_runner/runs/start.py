"""One start of a run: its config, the overrides, and the folder of its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig


@dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes:
        config: as composed, not yet validated, without Hydra's settings.
        hydra: the config with Hydra's settings, which the run's folder keeps as `.hydra/hydra.yaml`.
        folder: the run's folder; it exists.
        overrides: what was typed, without Hydra's own settings.
        choices: the option chosen in each group.
        command: the arguments that start the same run from a shell.
        default_of: a key's value with the same options and no other override; raises KeyError.
        job: whether the run is a job of a sweep.
        swept: the keys that the sweep varies.
    """

    config: DictConfig
    hydra: DictConfig
    folder: Path
    overrides: Sequence[str]
    choices: Mapping[str, str]
    command: Sequence[str]
    default_of: Callable[[str], object]
    job: bool = False
    swept: Sequence[str] = field(default=())
