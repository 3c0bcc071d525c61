"""Checks of a config beyond the components' signatures, before anything is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pkgutil import resolve_name

from omegaconf import DictConfig, OmegaConf

import gan_runner
from gan_runner.building.games import takes_labels
from gan_runner.building.signatures import as_typed
from gan_runner.config.command_line import command_line, config_dir_of
from gan_runner.config.experiments import without_first_line
from gan_runner.config.groups import GROUPS
from gan_runner.config.validation import Reader, drop_what_a_replaced_part_took, validate
from gan_runner.data import make_loader
from gan_runner.data.scarce import with_scarce_classes
from gan_runner.errors import UserError, too_little_memory_explained
from gan_runner.machine.cores import cores
from gan_runner.override import key_of, values_by_key
from gan_runner.ranges import CountOrZero, Seed
from gan_runner.training.devices import choose_device

# The keys at the top of the config that are no group.
SETTINGS: dict[str, object] = {
    "seed": Seed,
    "resume": str | None,
    "resume_from": CountOrZero | None,
    "resume_force": bool,
    "trust": Sequence[str] | str,
}
READERS = (Reader("data", make_loader), Reader("data", with_scarce_classes))

HARD_LABELS = "hard"


def too_much_asked() -> contextlib.AbstractContextManager[None]:
    """Explains errors for lack of memory inside the context."""
    return too_little_memory_explained(
        "Try a smaller trainer.batch_size, data.image_size or data.limit, or a smaller model."
    )


def check(
    config: DictConfig,
    overrides: Sequence[str],
    choices: Mapping[str, str],
    default_of: Callable[[str], object],
) -> None:
    """Refuse an inconsistent config, before anything is loaded.

    Args:
        config: as composed; loses what only the file of a replaced part has (see `drop_what_a_replaced_part_took`).
        overrides: what the user typed.
        choices: the file chosen of each group.
        default_of: see `validate`.

    Raises:
        UserError: see `gan_runner.config.validation.validate`; also for options that cannot be combined.
    """
    if isinstance(config.get("experiment"), DictConfig) and (name := choices.get("experiment")):
        key = next(iter(map(str, config.experiment)), "...")
        raise without_first_line(name, config_dir_of(command_line()), key)
    drop_what_a_replaced_part_took(config, READERS, overrides)
    validate(config, SETTINGS, READERS, overrides, default_of)
    _check_parts(config, [group.name for group in GROUPS])
    choose_device(config.trainer.device, "trainer.device")
    _check_threads(config)
    _check_length(config, overrides)
    _check_labels(config, overrides, choices)
    _check_shared_latents(config)
    _check_pruning(config)
    _check_finite_difference(config)
    _check_slope(config, choices)
    _check_several(config)
    _check_ramp(config, overrides)


# The groups that a run's samples depend on.
OF_PICTURES = ("model", "game", "latent", "loss", "labels", "penalty", "augment")


def check_stored(config: Mapping[str, object], groups: Collection[str], where: str) -> None:
    """Refuse errors in the config of a run's folder, in the groups that are built.

    Args:
        config: as stored.
        groups: those.
        where: the folder, for messages: "run is DIR".

    Raises:
        UserError: see `gan_runner.config.validation.validate`.
    """
    try:
        node = OmegaConf.create(dict(config))
        validate(node, {}, READERS, (), groups=groups)
        _check_parts(node, groups)
    except UserError as error:
        raise UserError(
            f"{where}, but in its config {error.problem}",
            "Correct or restore its .hydra/config.yaml, or start a new run.",
        ) from error


def _check_parts(config: DictConfig, groups: Collection[str]) -> None:
    """Refuse a group that was replaced by null, and the user's own file without a `_target_`."""
    for group in GROUPS:
        if group.name not in groups:
            continue
        for path in group.keys(group.parts):
            owner, _, key = path.rpartition(".")
            node = OmegaConf.select(config, owner) if owner else config
            if isinstance(node, DictConfig):
                node = node.get(key)
            else:  # it has no keys
                path = owner
            if not isinstance(node, DictConfig) or (not node and not group.optional):
                raise UserError(
                    f"{path} is {as_typed(OmegaConf.to_object(node) if OmegaConf.is_config(node) else node)}, but must "
                    f"be a component that a file of {group.name} describes.",
                    f"Try {group.name}=NAME, one of the options that --help lists.",
                )
            if node and not isinstance(node.get("_target_"), str):
                raise UserError(
                    f"{path} has no _target_, which names the class or function to make it with.",
                    f"Add a line such as _target_: my_module.MyClass to the file that {group.name} chooses.",
                )


def _check_threads(config: DictConfig) -> None:
    threads, here = OmegaConf.select(config, "trainer.threads", default="auto"), cores()
    if threads == "auto":
        return
    if threads > here:
        raise UserError(
            f"trainer.threads is {threads}, but this process may use {here} processor core{'s' * (here > 1)}.",
            f"Try trainer.threads={here}, or trainer.threads=auto.",
        )
    if config.trainer.adapt_threads:
        raise UserError(
            f"trainer.threads is {threads}, which keeps that number, but trainer.adapt_threads is true and changes it.",
            "Try trainer.threads=auto, or trainer.adapt_threads=false.",
        )


def _check_length(config: DictConfig, overrides: Sequence[str]) -> None:
    """Refuse two lengths, except where the user typed both: then epochs have the lowest priority."""
    typed = values_by_key(overrides)
    trainer = config.trainer
    minutes = trainer.get("minutes")  # runs of earlier versions have none
    if minutes is not None and trainer.iterations is not None:
        raise UserError(
            f"trainer.minutes is {as_typed(minutes)} and trainer.iterations is {trainer.iterations}, but a run has one "
            "length.",
            f"Try trainer.iterations=null trainer.minutes={as_typed(minutes)}, or leave trainer.minutes out.",
        )
    other = next((key for key in ("iterations", "minutes") if trainer.get(key) is not None), None)
    if "trainer.epochs" in typed and other is not None and f"trainer.{other}" not in typed:
        raise UserError(
            f"trainer.epochs is {trainer.epochs}, but trainer.{other} is {as_typed(trainer[other])} and overrides it.",
            f"Try trainer.{other}=null trainer.epochs={trainer.epochs}, or leave trainer.epochs out.",
        )


def _check_labels(config: DictConfig, overrides: Sequence[str], choices: Mapping[str, str]) -> None:
    """Refuse labels that the loss ignores: two equal runs would look different."""
    if takes_labels(config.loss):
        _check_generator_labels(config, overrides, choices)
        return
    touched = [override for override in overrides if key_of(override).startswith("labels.")]
    chosen = choices.get("labels", HARD_LABELS)  # a resumed run was checked when it was started
    if touched or chosen != HARD_LABELS:
        raise UserError(
            f"labels is {chosen}{' with ' * bool(touched)}{' '.join(touched)}, but "
            f"loss={choices.get('loss', config.loss._target_)} takes no targets and would ignore them.",
            "Try labels=hard, or loss=nonsaturating, which learns from targets.",
        )


def _check_generator_labels(config: DictConfig, overrides: Sequence[str], choices: Mapping[str, str]) -> None:
    touched = [override for override in overrides if key_of(override).startswith("labels.generator.")]
    if touched and not getattr(resolve_name(config.loss._target_), "takes_generator_labels", True):
        raise UserError(
            f"{' '.join(touched)} has no effect: in loss={choices.get('loss', config.loss._target_)} G has no targets "
            "of its own; it uses D's.",
            f"Leave out {' '.join(touched)}, or try loss=nonsaturating.",
        )


def _penalties(config: DictConfig) -> list[DictConfig]:
    """The penalties on D that are in effect: the one, or each of several."""
    if not config.penalty:
        return []
    parts = config.penalty.parts.values() if "parts" in config.penalty else [config.penalty]
    return [part for part in parts if isinstance(part, DictConfig) and part.get("gamma") != 0]


def _check_finite_difference(config: DictConfig) -> None:
    """Refuse finite differences of a D with dropout: they are not gradients."""
    dropout = config.model.discriminator.get("dropout")
    if dropout and any(part._target_.endswith(".FiniteDifference") for part in _penalties(config)):
        raise UserError(
            f"penalty is finite_difference, which takes the difference of two outputs of D for its gradient, but "
            f"{_dropout_of_d(config)} is {dropout} and makes them differ by chance.",
            f"Try {_dropout_of_d(config)}=0, or penalty=r1.",
        )


def _dropout_of_d(config: DictConfig) -> str:
    """The key of D's dropout: the model's, unless D has its own."""
    shared = config.model.get("dropout") == config.model.discriminator.dropout
    return "model.dropout" if shared else "model.discriminator.dropout"


def _check_pruning(config: DictConfig) -> None:
    if config.pruning and not config.evaluation:
        raise UserError(
            "pruning needs the objective, but evaluation is off.", "Leave out evaluation=off, or try pruning=none."
        )


def _check_slope(config: DictConfig, choices: Mapping[str, str]) -> None:
    """Refuse an unbounded loss without a bound on D's gradient; the user's own D may bound it itself."""
    d = config.model.discriminator
    own = not d._target_.startswith(f"{gan_runner.__name__}.")
    if not getattr(resolve_name(config.loss._target_), "wants_bounded_slope", False):
        return
    if own or d.get("spectral_norm") or _penalties(config):
        return
    offers = " or model.spectral_norm=true" * ("spectral_norm" in config.model)
    raise UserError(
        f"loss is {choices.get('loss', config.loss._target_)}, which measures a distance only where D's gradient "
        "norm is bounded, but nothing bounds it: penalty is none, and D is not normalised spectrally.",
        f"Try penalty=gradient_penalty{offers}, or loss=hinge.",
    )


def _check_several(config: DictConfig) -> None:
    """Refuse an empty list of penalties: the run would look different from one with penalty=none."""
    if config.penalty and "parts" in config.penalty and not config.penalty.parts:
        raise UserError(
            "penalty is several, but penalty.parts has none.",
            "Try penalty=several +penalty@penalty.parts.r1=r1, or penalty=none.",
        )


def _check_ramp(config: DictConfig, overrides: Sequence[str]) -> None:
    averaged = config.trainer.ema is not None or config.trainer.ema_half_life is not None
    if "trainer.ema_ramp_up" in values_by_key(overrides) and not averaged:
        raise UserError(
            f"trainer.ema_ramp_up is {as_typed(config.trainer.ema_ramp_up)}, but this run has no moving average: "
            "trainer.ema and trainer.ema_half_life are null.",
            "Try trainer.ema=0.99 beside it, or leave it out.",
        )


def _check_shared_latents(config: DictConfig) -> None:
    trainer = config.trainer
    if config.schedule.get("same_latents") and trainer.batch_size != trainer.g_batch_size:
        raise UserError(
            f"schedule.same_latents is true, but trainer.batch_size is {trainer.batch_size} and trainer.g_batch_size "
            f"is {trainer.g_batch_size}: D and G can share latents only where they draw equally many.",
            f"Try trainer.g_batch_size={trainer.batch_size} or schedule.same_latents=false.",
        )
