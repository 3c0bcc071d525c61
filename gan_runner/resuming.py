"""Go on with a run: the same folder, the saved config, and a few overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE
from gan_runner.errors import UserError
from gan_runner.run_directory import RunDirectory
from gan_runner.validation import as_typed

# What a checkpoint's weights have been trained on and as.
_WHAT_IS_TRAINED = ("seed", "data", "model", "latent", "loss", "penalty", "schedule._target_")
# Where the data lies and how it is fed changes nothing about it.
_HOW_IT_IS_FED = ("data.root", "data.download", "data.resident", "data.workers")


def arguments_to_resume(arguments: list[str]) -> list[str]:
    """Turn `resume=DIR [overrides]` into the arguments that compose the saved config with the overrides.

    Args:
        arguments: what was typed, with DIR quoted for Hydra.

    Raises:
        UserError: DIR is no run's folder, or an override would change what is being trained.
    """
    if {"-m", "--multirun"} & set(arguments):
        raise UserError("resume goes on with one run, but -m asks for a sweep.", "Leave out -m.")
    new = [argument for argument in arguments if not argument.startswith("-")]
    flags = [argument for argument in arguments if argument.startswith("-")]
    parsed = {override.key_or_group: override for override in OverridesParser.create().parse_overrides(new)}
    folder = str(parsed["resume"].value())
    directory = RunDirectory.of_run(folder, "resume")
    saved = OverridesParser.create().parse_overrides(directory.overrides())
    kept = [
        str(override.input_line)
        for override in saved
        if override.key_or_group not in parsed and override.key_or_group not in ("resume", "resume_force")
    ]
    with initialize_config_module(CONFIG_MODULE, version_base="1.3"):
        config = compose("config", overrides=[*kept, *new])
    if not config.resume_force:
        _refuse_changes(folder, directory.config(), config)
    quoted_folder = str(parsed["resume"].input_line).partition("=")[2]
    return [*flags, *kept, *new, f"hydra.run.dir={quoted_folder}"]


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
