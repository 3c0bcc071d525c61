"""The job of `gan-augment`: whether generated images help a classifier, and what they are worth in real ones."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gan_runner.building.signatures import as_typed
from gan_runner.config.behind_prefix import named_as_typed
from gan_runner.config.command_line import command_line, config_dir_of, parted, shown, typed_overrides
from gan_runner.config.composing import compose
from gan_runner.config.validation import validate
from gan_runner.data.notes import once
from gan_runner.data.scarce import Scarce
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.machine import shell
from gan_runner.override import Override, key_of, values_by_key
from gan_runner.ranges import Count, Fraction, Seed, TwoOrMore
from gan_runner.runs.augmenting import (
    Asked,
    RealImages,
    check_gan,
    compare,
    learned_others,
    open_folder,
    real_images,
    tell_few,
    trained_gan,
    write_answer,
)
from gan_runner.runs.saved import SavedRun
from gan_runner.runs.words import words_of
from gan_runner.training.devices import choose_device
from gan_runner.worth.generated import IMAGES, MANIFEST, Filters

log = logging.getLogger(__name__)

_GAN = "gan."  # before the settings of the GAN

SETTINGS: dict[str, object] = {
    "run": str | None,
    "scarce": Scarce,
    "output": str | None,
    "checkpoint": Literal["last", "best"] | Count,
    "gan": Mapping[str, Any],
    "seeds": TwoOrMore,
    "updates": Count,
    "batch_size": TwoOrMore,
    "confidence": Fraction | None,
    "copies": bool,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


def augment_job(config: DictConfig) -> None:
    """Compare, print the answer, and write it beside the images.

    Raises:
        UserError: a setting is wrong, the data do not allow the comparison, or the run does not draw by class.
    """
    validate(config, SETTINGS, (), typed_overrides())
    device = choose_device(config.device, "device")
    filters = Filters(config.confidence, config.copies)
    with once(), too_little_memory_explained("Try a smaller data.image_size or data.limit."):
        run = None if config.run is None else _run_by_class(config)
        real = _real_images(config) if run is None else _learned_by(run, config)
        if run is None:
            data, gan = _words_of_data(config), _words_of_gan()
            with named_as_typed(_GAN, [*data, *gan], gan):
                check_gan(data, gan, real)
        tell_few(real)
        checkpoint = str(config.checkpoint) if run is None else run.checkpoint_for(str(config.checkpoint))
        asked = Asked(config.seeds, config.updates, config.batch_size, filters, config.seed, checkpoint, device)
        folder = open_folder(config.output, _settings(config, real, asked))
        try:
            if run is None:
                run = trained_gan(folder, [*_words_of_data(config), *_words_of_gan()], _plain(config.trust))
                asked = dataclasses.replace(asked, checkpoint=run.checkpoint_for(asked.checkpoint))
                if learned_others(run, real, asked.checkpoint):
                    raise UserError(
                        f"The GAN in {run.folder} was trained on other images than those that scarce keeps, so "
                        "held-back images may be among them.",
                        "Try another output.",
                    )
            answer = compare(folder, run, real, asked)
        except (KeyboardInterrupt, SystemExit):
            log.info("To resume: %s", _again(folder))
            raise
        write_answer(folder, answer, run)
    log.info("\n%s\n\n%s\n", "\n".join(answer.sentences()), answer.table())
    log.info("Numbers: %s\nImage: %s", folder / "answer.json", folder / "answer.png")
    log.info("Images by class: %s, and what is known of each: %s", folder / IMAGES, folder / MANIFEST)


def _real_images(config: DictConfig) -> RealImages:
    """The images of `data`, cut by `scarce`."""
    refused = [key for key in values_by_key(typed_overrides()) if key == "data.scarce"]
    if refused:
        raise UserError("data.scarce is given, but in gan-augment the setting is scarce.", "Try scarce=... instead.")
    hold_out = "data.holdout" not in values_by_key(typed_overrides())
    return real_images(config, _plain(config.scarce), "scarce", hold_out=hold_out)


def _run_by_class(config: DictConfig) -> SavedRun:
    """The run of `run=`, after a check that it draws by class."""
    typed = [each.lstrip("+") for each in typed_overrides() if key_of(each).split(".")[0] in ("data", "scarce", "gan")]
    if typed:
        raise UserError(
            f"{' '.join(typed)} is given together with run={config.run}, which has its own data and settings.",
            f"Leave out {' '.join(typed)}, or leave out run.",
        )
    run = SavedRun(config.run, _plain(config.trust))
    if run.sample(1, checkpoint=run.checkpoint_for(str(config.checkpoint)), device=config.device).label is None:
        raise UserError(
            f"run is {config.run}, but its generator cannot draw images of a given class.",
            "Train a conditional one: gan-run experiment=conditional data=NAME data.scarce=0.5",
        )
    return run


def _learned_by(run: SavedRun, config: DictConfig) -> RealImages:
    """The real images of a run: those that it was trained on, and those that `data.scarce` held back."""
    with run.its_data() as data:
        if data.data.get("scarce") is None:
            raise UserError(
                f"run is {config.run}, but it was trained on all images of its data, so none are held back to compare "
                "with.",
                "Train it with data.scarce=0.5, which keeps half of every class, or leave out run: then gan-augment "
                "trains one.",
            )
        real = real_images(data, _plain(data.data.scarce), "data.scarce", hold_out=False)
    if learned_others(run, real, run.checkpoint_for(str(config.checkpoint))):
        raise UserError(
            f"run is {config.run}, but the images that its config names are no longer those that it was trained on.",
            "Put them back into its data.root, or train another run.",
        )
    return real


def _words_of_data(config: DictConfig) -> list[str]:
    """Overrides for gan-run with the same data, cut as they are here."""
    folder = config_dir_of(command_line())
    typed = [each for each in typed_overrides() if key_of(each).startswith("data.")]
    words = [*(["--config-dir", folder] if folder else []), f"data={HydraConfig.get().runtime.choices['data']}", *typed]
    if "holdout" in config.data and "data.holdout" not in values_by_key(typed):
        words.append(f"data.holdout={config.data.holdout}")
    # As it was typed: a number in its place may be the name of another class.
    scarce = values_by_key(typed_overrides()).get("scarce", as_typed(_plain(config.scarce)))
    trust = [] if not config.trust else [f"trust={as_typed(_plain(config.trust))}"]
    return [*words, f"data.scarce={scarce}", f"seed={config.seed}", f"trainer.device={config.device}", *trust]


def _words_of_gan() -> list[str]:
    """Overrides for gan-run of the GAN that is trained: this command's defaults, then what was typed below `gan`.

    Words rather than the composed `gan`, in which the choice of a group and a setting of its part would exclude each
    other: gan.model=mlp gan.model.dropout=0.2.
    """
    typed = [Override.of(word) for word in parted(command_line()[1:]).overrides]
    own = [dataclasses.replace(each, key=each.key[len(_GAN) :]) for each in typed if each.key.startswith(_GAN)]
    defaults = words_of((), _plain(compose("worth", []).gan))
    left = [word for word in defaults if key_of(word) not in {each.key for each in own}]
    return [*left, *(str(each) for each in own if not each.takes_away)]


def _settings(config: DictConfig, real: RealImages, asked: Asked) -> dict[str, Any]:
    """The settings that must stay the same when a comparison is resumed; seeds may be added."""
    return {
        "data": real.learned.fingerprint,
        "test": real.test.fingerprint,
        "scarce": dict(zip(map(str, real.scarce), real.counts, strict=True)),
        "run": config.run,
        "checkpoint": str(config.checkpoint),
        "gan": None if config.run else _words_of_gan(),
        "updates": asked.updates,
        "batch_size": asked.batch_size,
        "confidence": asked.filters.confidence,
        "copies": asked.filters.copies,
        "seed": asked.seed,
    }


def _again(folder: Path) -> str:
    """The command that resumes from a folder."""
    words = [word for word in command_line() if not word.startswith("output=")]
    return shell.command_line([*words, f"output={shown(folder)}"])


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
