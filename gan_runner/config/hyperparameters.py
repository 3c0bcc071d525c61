"""A run's row on the HPARAMS page: every setting that changes a run, and which of them are columns."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from gan_runner.building.signatures import plain_kinds
from gan_runner.config.checking import READERS, SETTINGS
from gan_runner.config.validation import annotations_of
from gan_runner.errors import UserError
from gan_runner.incidental import is_incidental
from gan_runner.record.loggers import Hyperparameters, Kind, Scalar
from gan_runner.record.tensorboard import flatten


def hyperparameters_of(
    config: DictConfig, choices: Mapping[str, str], typed: Sequence[str], swept: Sequence[str]
) -> Hyperparameters:
    """Read a run's hyperparameters from its config.

    All runs log all settings, so that a default value is shown beside another run's own value. A column's type
    follows from its setting's type, not from its value, so that it is the same in all runs: TensorBoard cannot sort
    numbers and text together.

    Args:
        config: as composed; it need not be valid.
        choices: the file chosen of each group.
        typed: the keys that the user has set.
        swept: the keys that a sweep varies.
    """
    values = flatten(cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True)))
    values |= {group: choice for group, choice in choices.items() if "/" not in group}
    telling = {key: value for key, value in values.items() if key in swept or not is_incidental(key)}
    kinds = _kinds(config)
    columns = [key for key in dict.fromkeys([*swept, *typed, "seed"]) if key in telling]
    cells = {key: _cell(value, kinds.get(key, "text")) for key, value in telling.items()}
    return Hyperparameters(
        values={key: cell for key, cell in cells.items() if cell is not None},
        columns={key: kinds.get(key, "text") for key in columns},
        chosen=frozenset(swept or columns),
    )


def _kinds(config: DictConfig) -> dict[str, Kind]:
    """The kind of each setting that is a number or true or false in every run; all others are text."""
    annotations: dict[str, object] = {}
    with contextlib.suppress(UserError):  # as far as possible for an invalid config
        annotations = annotations_of(config, SETTINGS, READERS)
    kinds: dict[str, Kind] = {}
    for key, annotation in annotations.items():
        plain = plain_kinds(annotation) - {type(None)}
        if plain and plain <= {int, float}:
            kinds[key] = "number"
        elif plain == {bool}:
            kinds[key] = "truth"
    return kinds


def _cell(value: Scalar | None, kind: Kind) -> Scalar | None:
    """A value as its column shows it; None where the column has no place for it, as a number's has none for null."""
    if kind == "text":
        return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    wanted = bool if kind == "truth" else int | float
    return value if isinstance(value, wanted) and (kind == "truth" or not isinstance(value, bool)) else None
