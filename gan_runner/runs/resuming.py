"""Resume a run: the same folder, its config, and a few overrides."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE
from gan_runner.building.parts import Parts, trusting, write_outside
from gan_runner.building.signatures import as_typed
from gan_runner.config.command_line import Typed
from gan_runner.config.groups import GROUPS
from gan_runner.config.stored import Stored, read_stored
from gan_runner.data import ImageSet
from gan_runner.errors import UserError
from gan_runner.incidental import OF_A_START, is_incidental
from gan_runner.override import values_by_key
from gan_runner.record.run_folder import RunFolder
from gan_runner.trees import values

log = logging.getLogger(__name__)

LENGTHS = ("epochs", "iterations", "minutes")
"""The keys of trainer for the length of a run; one of them is used."""

STORED = "stored"
"""The name under which Hydra finds the config of a run that is resumed."""


def prepare_to_resume(words: Typed) -> str:
    """Read the config of the run to resume, and store it where Hydra finds it.

    Args:
        words: the command, with the folder quoted for Hydra.

    Returns:
        The folder, with its quotes.

    Raises:
        UserError: there is no such run, its config names components that may not be built, or an override does not go
            with resume.
    """
    folder = str(words.value_of("resume"))
    if words.multirun:
        raise UserError("resume is for one run, but -m starts a sweep.", "Leave out -m, or use sweep_resume=.")
    elsewhere = words.value_of("hydra.run.dir")
    if elsewhere is not None and str(elsewhere) != folder:
        raise UserError(
            f"hydra.run.dir is {elsewhere}, but a run is resumed in its own folder, {folder}.",
            "Leave hydra.run.dir out.",
        )
    RunFolder.of_run(folder, "resume")
    offer_to_hydra(read_stored(Path(folder), trusted(words), "resume"), words.overrides)
    return values_by_key(words.overrides)["resume"]


def trusted(words: Typed) -> Parts:
    """The components that may be built, given the `trust` that was typed."""
    value = words.value_of("trust")
    return trusting([] if value is None else value)


def offer_to_hydra(stored: Stored, typed: list[str]) -> None:
    """Store a run's config under the name `stored`, so that Hydra composes it with new overrides.

    A new option of a group replaces the stored one. If the stored option is typed again, values that an experiment had
    set in it stay. Hydra refuses keys that the config does not have.

    Args:
        stored: the run's config.
        typed: the new overrides.

    Raises:
        UserError: an override asks for another experiment.
    """
    config = dict(stored.config)
    overrides = OverridesParser.create().parse_overrides(typed)
    parsed = {override.key_or_group: override for override in overrides if override.package is None}
    if "experiment" in parsed:
        raise UserError(
            f"experiment is {parsed['experiment'].value()}, but a run that is resumed keeps its experiment.",
            "Leave experiment out, or start a new run.",
        )
    typed_length = [key for key in LENGTHS if f"trainer.{key}" in parsed]
    if typed_length and isinstance(trainer := config.get("trainer"), dict):
        stored_length = {key for key in ("iterations", "minutes") if trainer.get(key) is not None}  # would come first
        config["trainer"] = trainer | dict.fromkeys(stored_length.difference(typed_length))
    places = {name: path for name, path in stored.places_from_elsewhere().items() if f"data.{name}" not in parsed}
    if places:
        config["data"] = config["data"] | places
    chosen = {group.name: parsed[group.name].value() for group in GROUPS if group.name in parsed}
    parts = {override.key_or_group for override in overrides if override.package is not None}  # of several
    if outside := write_outside(stored.values["logger"]):
        parts.add("logger")
        if "logger" not in chosen:
            chosen["logger"] = "tensorboard"
            names = [name.rpartition(".")[2].lower() for name in outside]
            log.warning(
                "This run was also logged to %s. A resumed run logs there only if you ask for it again: add "
                "'logger=[tensorboard,%s]', and its settings.",
                " and ".join(names),
                ",".join(names),
            )
    replaced = {name: choice for name, choice in chosen.items() if choice != stored.choices.get(name) or name in parts}
    unchanged = {name: choice for name, choice in chosen.items() if name not in replaced}
    defaults = [
        *({name: choice} for name, choice in unchanged.items()),
        "_self_",
        *({n: c} for n, c in replaced.items()),
    ]
    kept = {name: value for name, value in config.items() if name not in replaced and name not in parts}
    own = OmegaConf.load(str(resources.files(CONFIG_MODULE).joinpath("config.yaml")))
    assert isinstance(own, DictConfig)
    of_this_start = {name: own[name] for name in OF_A_START if name in own}
    shared = {name: own[name] for name in replaced if name in own}  # what every choice of a group has
    node = {"defaults": defaults, **kept, **shared, **of_this_start, "hydra": own.hydra}
    ConfigStore.instance().store(STORED, node)


def refuse_changes(folder: str, stored: Stored, config: DictConfig) -> None:
    """Refuse overrides that change what is trained.

    Raises:
        UserError: the config differs from the stored one in a setting that decides what is trained.
    """
    old, new = dict(_leaves(OmegaConf.create(stored.values))), dict(_leaves(config))
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


def refuse_other_data(folder: str, before: str | None, images: ImageSet) -> None:
    """Refuse to resume a run with images other than those that it was trained on.

    Args:
        folder: the run's, for the message.
        before: fingerprint of the images that it was trained on.
        images: the images now.

    Raises:
        UserError: the fingerprints differ.
    """
    if images.fingerprint != before:
        raise UserError(
            f"resume is {folder}, but that run trains on other images: their fingerprint was {before}, "
            f"and that of {images.name} is {images.fingerprint} now.",
            "Put the same images into data.root, start a new run, or add resume_force=true if you mean it.",
        )


@contextlib.contextmanager
def refusing_what_does_not_fit(folder: str) -> Iterator[None]:
    """Inside the context a checkpoint is loaded; with resume_force the config may not match it.

    Raises:
        UserError: the checkpoint does not fit the config.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # untrusted, and components raise anything for wrong values
        raise UserError(
            f"resume is {folder}, but its checkpoint does not fit these settings: {type(error).__name__}: {error}",
            "Leave out the overrides that change the model or the optimizer, or start a new run.",
        ) from error


def _leaves(config: DictConfig) -> Iterator[tuple[str, object]]:
    """The settings that decide what is trained, by dotted key."""
    for path in ["seed", *(key for group in GROUPS for key in group.keys(group.trained))]:
        value = OmegaConf.select(config, path, throw_on_resolution_failure=False)
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        inner = values({path: plain})  # whose keys go on from the path's
        yield from ((key, leaf) for key, leaf in inner.items() if not is_incidental(key))
