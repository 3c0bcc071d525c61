"""From a config to the objects of a run; the only module that instantiates."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, cast

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from gan_runner.config.validation import Reader, validate
from gan_runner.data import Feed, ImageSet, make_feed
from gan_runner.errors import UserError
from gan_runner.games.adversarial import Adversarial
from gan_runner.health.watch import Watch
from gan_runner.metrics import Evaluation
from gan_runner.objectives.latents import Latent
from gan_runner.objectives.losses import AdversarialLoss
from gan_runner.objectives.penalties import Penalty
from gan_runner.objectives.targets import Labels
from gan_runner.ranges import Seed
from gan_runner.record.tensorboard import Scalar, TensorBoard, flatten
from gan_runner.training.devices import PrecisionName, choose_device, choose_precision, prepare
from gan_runner.training.player import MovingAverage, Player
from gan_runner.training.schedules import Pace, Schedule
from gan_runner.training.settings import Trainer
from gan_runner.training.train_step import Stepper

log = logging.getLogger(__name__)

# The keys at the top of the config that are no group.
SETTINGS: dict[str, object] = {"seed": Seed, "resume": str | None, "resume_force": bool}
READERS = (Reader("data", make_feed),)

# What is made as a node's _target_ says.
_PARTS = (
    *("data", "model.discriminator", "model.generator", "optimizer.d", "optimizer.g", "learning_rate.d"),
    *(
        "learning_rate.g",
        "labels",
        "latent",
        "loss",
        "penalty",
        "schedule",
        "trainer",
        "health",
        "evaluation",
        "logger",
    ),
)

# The keys of the data group that say how images are fed; the others say which images.
_FEEDING = frozenset(inspect.signature(make_feed).parameters)

HARD_LABELS = "hard"


@dataclass
class Experiment:
    """Everything that a run trains with."""

    settings: Trainer
    seed: int
    device: torch.device
    precision: PrecisionName
    images: ImageSet
    feed: Feed
    discriminator: Player
    generator: Player
    average: MovingAverage | None
    latent: Latent
    loss: AdversarialLoss
    penalty: Penalty | None
    schedule: Schedule
    pace: Pace
    stepper: Stepper
    watch: Watch
    evaluation: Evaluation | None
    dashboard: TensorBoard

    @property
    def drawing_net(self) -> nn.Module:
        """What draws pictures: the moving average where there is one, else G itself."""
        return self.average.net if self.average is not None else self.generator.net

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes, copied off the tensors that it goes on changing."""
        device_random = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        state = {
            "discriminator": self.discriminator.state_dict(),
            "generator": self.generator.state_dict(),
            "average": self.average.net.state_dict() if self.average is not None else None,
            "stepper": self.stepper.state_dict(),
            "schedule": self.schedule.state_dict(),
            "watch": self.watch.state_dict(),
            "random": {"cpu": torch.get_rng_state(), "device": device_random},
            "image_shape": list(self.images.shape),
            "data_fingerprint": self.images.fingerprint,
        }
        return copy.deepcopy(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.load_players(state)
        self.stepper.load_state_dict(state["stepper"])
        self.schedule.load_state_dict(state["schedule"])
        self.watch.load_state_dict(state["watch"])
        torch.set_rng_state(state["random"]["cpu"].cpu())
        if self.device.type == "cuda" and state["random"]["device"] is not None:
            torch.cuda.set_rng_state(state["random"]["device"].cpu(), self.device)

    def load_players(self, state: Mapping[str, Any]) -> None:
        """Take weights, optimizers and moving average from a checkpoint."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator.load_state_dict(state["generator"])
        if self.average is not None:
            self.average.net.load_state_dict(state["average"] or state["generator"]["net"])


def check_config(
    config: DictConfig,
    overrides: Sequence[str],
    choices: Mapping[str, str],
    default_of: Callable[[str], object],
) -> None:
    """Refuse a config that cannot be meant, before anything is loaded.

    Args:
        config: as composed.
        overrides: what the user typed.
        choices: the file chosen of each group.
        default_of: see `validate`.

    Raises:
        UserError: see `gan_runner.config.validation.validate`; also a combination of choices that has no meaning.
    """
    validate(config, SETTINGS, READERS, overrides, default_of)
    _check_parts(config)
    choose_device(config.trainer.device, "trainer.device")
    _check_length(config, overrides)
    _check_labels(config, overrides, choices)
    _check_shared_latents(config)


def _check_parts(config: DictConfig) -> None:
    """Refuse a file of the user's own that does not say what to make."""
    for path in _PARTS:
        if (node := OmegaConf.select(config, path)) and "_target_" not in node:
            raise UserError(
                f"{path} has no _target_, which names the class or function to make it with.",
                f"Add a line such as _target_: my_module.MyClass to the file that {path.partition('.')[0]} chooses.",
            )


def _check_length(config: DictConfig, overrides: Sequence[str]) -> None:
    """Epochs beside iterations that an experiment sets change nothing; who types both knows which of them counts."""
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    trainer = config.trainer
    if "trainer.epochs" in typed and trainer.iterations is not None and "trainer.iterations" not in typed:
        raise UserError(
            f"trainer.epochs is {trainer.epochs}, but trainer.iterations is {trainer.iterations} and overrides it.",
            f"Try trainer.iterations=null trainer.epochs={trainer.epochs}, or leave trainer.epochs out.",
        )


def _check_labels(config: DictConfig, overrides: Sequence[str], choices: Mapping[str, str]) -> None:
    """Labels that the loss does not look at would make two equal runs look different."""
    if _takes_labels(config):
        return
    touched = [override for override in overrides if override.startswith("labels.")]
    if touched or choices["labels"] != HARD_LABELS:
        raise UserError(
            f"labels is {choices['labels']}{' with ' * bool(touched)}{' '.join(touched)}, but loss={choices['loss']} "
            "takes no targets and would ignore them.",
            "Try labels=hard, or loss=nonsaturating, which learns from targets.",
        )


def _takes_labels(config: DictConfig) -> bool:
    return "labels" in inspect.signature(resolve_name(config.loss._target_)).parameters


def _check_shared_latents(config: DictConfig) -> None:
    trainer = config.trainer
    if config.schedule.get("same_latents") and trainer.batch_size != trainer.g_batch_size:
        raise UserError(
            f"schedule.same_latents is true, but trainer.batch_size is {trainer.batch_size} and trainer.g_batch_size "
            f"is {trainer.g_batch_size}: D and G can share latents only where they draw equally many.",
            f"Try trainer.g_batch_size={trainer.batch_size} or schedule.same_latents=false.",
        )


def build(config: DictConfig) -> Experiment:
    """Make everything that a checked config names; random numbers start from its seed.

    Raises:
        UserError: the data cannot be had, or the model cannot draw images of their shape.
    """
    settings: Trainer = make(config.trainer)
    device = choose_device(settings.device, "trainer.device")
    prepare(device)
    precision = choose_precision(settings.precision, device)
    torch.manual_seed(config.seed)

    schedule: Schedule = make(config.schedule)
    images = load_images(config)
    feed = _feed(config, images, settings.batch_size * (schedule.d_steps_per_turn or 1), device)
    generator_net = _on_device(build_generator(config, images.shape), device)
    discriminator_net = _on_device(make(config.model.discriminator, image_shape=images.shape), device)
    discriminator = _player(config, "d", discriminator_net)
    generator = _player(config, "g", generator_net)
    average = MovingAverage(copy.deepcopy(generator_net), settings.ema) if settings.ema is not None else None

    latent: Latent = make(config.latent)
    loss = _loss(config)
    penalty: Penalty | None = make(config.penalty) if config.penalty else None
    game = Adversarial(generator_net, discriminator_net, latent, loss, penalty)
    return Experiment(
        settings=settings,
        seed=config.seed,
        device=device,
        precision=precision,
        images=images,
        feed=feed,
        discriminator=discriminator,
        generator=generator,
        average=average,
        latent=latent,
        loss=loss,
        penalty=penalty,
        schedule=schedule,
        pace=Pace(len(images), settings.batch_size),
        stepper=Stepper(
            game,
            discriminator,
            generator,
            average,
            feed,
            images.shape,
            settings.batch_size,
            settings.g_batch_size,
            device,
            precision,
        ),
        watch=make(config.health, settings=_settings(config, precision)),
        evaluation=make(config.evaluation) if config.evaluation else None,
        dashboard=make(config.logger),
    )


def make(node: Any, **given: object) -> Any:
    """Make what a node describes, with plain containers for its lists, and `given` handed on as it is.

    Raises:
        UserError: as the part itself raised it.
    """
    try:
        return instantiate(node, _partial_=True, _convert_="all")(**given)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def build_generator(config: DictConfig, image_shape: tuple[int, int, int]) -> nn.Module:
    """Make the untrained G that a config describes, for images of this shape."""
    net: nn.Module = make(config.model.generator, image_shape=image_shape)
    return net


def _on_device(net: nn.Module, device: torch.device) -> nn.Module:
    # Channels-last is what convolutions are fastest in, on GPUs and CPUs alike.
    return net.to(device).to(memory_format=torch.channels_last)


def build_latent(config: DictConfig) -> Latent:
    """Make the distribution that G's latents come from."""
    latent: Latent = make(config.latent)
    return latent


def load_images(config: DictConfig) -> ImageSet:
    """Load the real images that a config names.

    Raises:
        UserError: they cannot be had.
    """
    images: ImageSet = make({key: value for key, value in config.data.items() if key not in _FEEDING})
    return images


def _feed(config: DictConfig, images: ImageSet, batch: int, device: torch.device) -> Feed:
    """Make what brings `batch` images at a time to the device."""
    how = {key: value for key, value in config.data.items() if key in _FEEDING}
    return make_feed(images, **how, batch=batch, seed=config.seed, device=device)


def _settings(config: DictConfig, precision: PrecisionName) -> dict[str, Scalar]:
    """What the run is set to, by dotted key: the precision as chosen, and no labels where the loss takes none."""
    read = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = cast("dict[str, Any]", OmegaConf.to_container(read, resolve=True))
    if not _takes_labels(config):
        del values["labels"]
    return flatten(values) | {"trainer.precision": precision}


def _player(config: DictConfig, name: str, net: nn.Module) -> Player:
    optimizer = make(config.optimizer[name], params=net.parameters())
    return Player(net, optimizer, make(config.learning_rate[name]))


def _loss(config: DictConfig) -> AdversarialLoss:
    """Make the loss, with the targets if it takes any."""
    if not _takes_labels(config):
        loss: AdversarialLoss = make(config.loss)
        return loss
    labels: Labels = make(config.labels)
    if labels.highest > 1:
        log.warning(
            "labels go up to %g: above 1 the cross-entropy of a sure answer has no lower bound, so that loss/d can "
            "fall without end.",
            labels.highest,
        )
    with_labels: AdversarialLoss = make(config.loss, labels=labels)
    return with_labels
