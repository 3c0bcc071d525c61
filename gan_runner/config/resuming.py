"""Go on with a run: the same folder, the saved config, and a few overrides."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE
from gan_runner.config.validation import as_typed
from gan_runner.data import ImageSet
from gan_runner.errors import UserError
from gan_runner.record.run_folder import RunDirectory

# What a checkpoint's weights have been trained on and as.
_WHAT_IS_TRAINED = (
    "seed",
    "data",
    "model",
    "optimizer.d._target_",
    "optimizer.g._target_",
    "labels",
    "latent",
    "loss",
    "penalty",
    "schedule._target_",
    "schedule.fixed_set",
)
# Where the data lies and how it is fed changes nothing about it; `refuse_other_data` looks at the images themselves.
_HOW_IT_IS_FED = ("data.root", "data.download", "data.resident", "data.workers")


def arguments_to_resume(arguments: list[str]) -> list[str]:
    """Turn `resume=DIR [overrides]` into the arguments that compose the saved config with the overrides.

    Args:
        arguments: what was typed, with DIR quoted for Hydra.

    Raises:
        UserError: DIR is no run's folder, or an override would change what is being trained.
    """
    options = get_args_parser().parse_args(arguments)
    if options.multirun:
        raise UserError("resume goes on with one run, but -m asks for a sweep.", "Leave out -m.")
    new: list[str] = options.overrides
    flags = [argument for argument in arguments if argument not in new]
    parsed = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(new)}
    folder = str(parsed["resume"].value())
    directory = RunDirectory.of_run(folder, "resume")
    saved = OverridesParser.create().parse_overrides(directory.overrides())
    replaced = {*parsed, "resume", "resume_force"}
    if "trainer.epochs" in parsed and "trainer.iterations" not in parsed:
        replaced.add("trainer.iterations")
        if directory.config().trainer.iterations is not None:
            new.append("trainer.iterations=null")  # or it would come first
    kept = [str(override.input_line) for override in saved if override.key_or_group not in replaced]
    if (root := directory.data_root()) and "data.root" not in parsed:
        kept.append(f"data.root={json.dumps(str(root), ensure_ascii=False)}")
    folders = [f"file://{Path(options.config_dir).absolute()}"] if options.config_dir else []
    searched = json.dumps(folders + directory.config_folders(), ensure_ascii=False)
    overrides = [*kept, *new, f"hydra.searchpath={searched}"]
    with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        config = compose("config", overrides=overrides)
    if not config.resume_force:
        _refuse_changes(folder, directory.config(), config)
    quoted_folder = str(parsed["resume"].input_line).partition("=")[2]
    return [*flags, *overrides, f"hydra.run.dir={quoted_folder}"]


def refuse_other_data(folder: str, before: str | None, images: ImageSet) -> None:
    """Refuse to go on with other images than those that a run has been trained on.

    Args:
        folder: the run's, for the message.
        before: fingerprint of those images.
        images: what the run would go on with.

    Raises:
        UserError: the fingerprints differ.
    """
    if images.fingerprint != before:
        raise UserError(
            f"resume is {folder}, but that run trains on other images: their fingerprint was {before}, "
            f"and that of {images.name} is {images.fingerprint} now.",
            "Give data.root the same images, start a new run, or add resume_force=true if you mean it.",
        )


@contextlib.contextmanager
def refusing_what_does_not_fit(folder: str) -> Iterator[None]:
    """While a checkpoint is loaded into what the config makes, which resume_force lets differ from what was saved.

    Raises:
        UserError: the two do not fit together.
    """
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as error:  # what PyTorch raises for other names, counts and shapes
        raise UserError(
            f"resume is {folder}, but its checkpoint does not fit what is trained now: {error}",
            "Leave out the overrides that change the model or the optimizer, or start a new run.",
        ) from error


def _refuse_changes(folder: str, before: DictConfig, after: DictConfig) -> None:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    changes = [
        f"  {key}: {as_typed(old.get(key))} -> {as_typed(new.get(key))}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if changes:
        raise UserError(
            f"resume is {folder}, but that run trains something else:\n" + "\n".join(changes),
            "Leave these overrides out, start a new run, or add resume_force=true if you mean it.",
        )


def _leaves(config: DictConfig) -> Iterator[tuple[str, object]]:
    """Values of what is trained, by dotted key."""
    for key in _WHAT_IS_TRAINED:
        value = OmegaConf.select(config, key)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        yield from ((k, v) for k, v in _flat(key, plain) if k not in _HOW_IT_IS_FED)


def _flat(key: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield key, value
