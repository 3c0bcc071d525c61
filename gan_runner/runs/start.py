"""One start of a run: what is asked for, how that was said, and where its record goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig


@dataclass(frozen=True)
class Start:
    """What a run is started with.

    Attributes:
        config: as composed and not checked yet, without Hydra's part.
        hydra: the config with Hydra's part, which the run's folder keeps as `.hydra/hydra.yaml`.
        folder: for the record; it exists.
        overrides: what was typed to compose the config, Hydra's own settings left out.
        choices: the file chosen of each group.
        command: the words that start the same run from a shell.
        default_of: the value that a key has with the same choices and no other override; raises KeyError.
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
