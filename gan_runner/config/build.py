"""From a config to the objects of a run; the only module that instantiates."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_runner.arithmetic import measuring_device
from gan_runner.building import making
from gan_runner.building.games import (
    PARTS_OF_A_GAME,
    make_drawing,
    make_game,
    make_penalty,
    parts_that_draw,
    takes_labels,
)
from gan_runner.building.making import asked_for
from gan_runner.building.networks import check_room_to_draw, is_ours, make_player, packing_of, with_weights
from gan_runner.contracts import described, foreign, hold_to, what_it_is
from gan_runner.data import Batch, ImageSet, Loader, make_loader
from gan_runner.data.image_set import Kind, checked_images, kind_of
from gan_runner.data.notes import silently
from gan_runner.data.scarce import with_scarce_classes
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError
from gan_runner.games import DrawsBackwards, Examples, Game
from gan_runner.health.watch import Health
from gan_runner.metrics.evaluation import Evaluation, NoEvaluation, OnData
from gan_runner.objectives.penalties import Penalty, Several, interval_of, parts_of
from gan_runner.optim.averages import HalfLife, MovingAverage, half_life_of
from gan_runner.optim.lazy import corrected, main_share
from gan_runner.optim.learning_rates import LearningRate
from gan_runner.record.loggers import Logger, Scalar
from gan_runner.record.tensorboard import flatten
from gan_runner.training.devices import Compute, PrecisionName, choose_device, choose_precision, prepare
from gan_runner.training.distributed import ALONE, World
from gan_runner.training.experiment import Experiment
from gan_runner.training.player import Player, Players, drawing_weights
from gan_runner.training.pruning import Pruning
from gan_runner.training.sampler import Sampler, examples_of, held_out_examples
from gan_runner.training.schedules import Schedule
from gan_runner.training.settings import Trainer
from gan_runner.training.train_step import BatchSizes, TrainStep

log = logging.getLogger(__name__)

NETWORKS: tuple[Literal["generator", "discriminator"], ...] = ("generator", "discriminator")

# The keys of the data group that say how images are fed; the others say which images.
_OF_LOADERS = frozenset(inspect.signature(make_loader).parameters)


def build(config: DictConfig, world: World = ALONE) -> Experiment:
    """Build everything that a checked config names; random numbers start from its seed.

    Args:
        config: as checked.
        world: who trains it.

    Raises:
        UserError: the data cannot be had, or the model cannot draw images of their shape.
    """
    settings: Trainer = make(config.trainer)
    device = choose_device(world.device(settings.device), "trainer.device")
    sizes = BatchSizes(
        world.share(settings.batch_size, "trainer.batch_size"),
        world.share(settings.g_batch_size, "trainer.g_batch_size"),
    )
    _refuse_torn_packs(config, world)
    if settings.minutes is not None and world.size > 1:
        raise UserError(
            f"trainer.minutes is {settings.minutes:g}, but {world.size} processes train together, and their clocks "
            "differ.",
            "Try trainer.minutes=null trainer.epochs=10, or trainer.iterations=10000.",
        )
    prepare(device)
    compute = Compute(device, choose_precision(settings.precision, device))
    torch.manual_seed(config.seed)

    schedule: Schedule = hold_to(make(config.schedule), Schedule, "schedule")
    with world.main_process_first():  # so that the others find downloads and caches
        images = load_images(config)
    loader = _loader(config, images, sizes.d * (schedule.d_steps_per_turn or 1), device, world)
    kind = kind_of(images)
    game = build_game(config, kind, device, world, len(images))
    generator_net = _on_device(build_network(config, "generator", kind), device)
    discriminator_net = _on_device(build_network(config, "discriminator", kind), device)
    # A game without a penalty has none, whatever the penalty group says.
    penalty = make_penalty(plain(config.penalty)) if asked_for(config.game, {"penalty": None}) else None
    _refuse_batch_norm(discriminator_net, penalty)
    average = _average(generator_net, settings, device)  # of a G whose batch norm is not synchronised
    for net in (generator_net, discriminator_net):
        world.broadcast_weights(net)
    if average is not None:
        average.net.load_state_dict(generator_net.state_dict())
    lazy = main_share(interval_of(part) for part in parts_of(penalty).values())
    players = Players(
        _player(config, "d", discriminator_net, world, lazy),
        _player(config, "g", generator_net, world),
        average,
    )
    evaluation = make(config.evaluation) if config.evaluation else NoEvaluation()
    if not isinstance(evaluation, Evaluation | NoEvaluation):
        raise UserError(
            f"evaluation is {what_it_is(evaluation)}, but must be an Evaluation.",
            "Try evaluation=fast; what it measures is added below evaluation.metrics.",
        )
    with world.main_process_first():
        if isinstance(evaluation, Evaluation) and evaluation.on_data:
            bind_to_data(evaluation, config, images, device)
        if evaluation.at_end is not None:  # report missing packages now rather than after training
            bind_to_data(evaluation.at_end.metrics, config, images, device)
            evaluation.at_end.check()
    world.fork_rng(device)
    return Experiment(
        settings=settings,
        seed=config.seed,
        compute=compute,
        images=images,
        loader=loader,
        game=game,
        players=players,
        schedule=schedule,
        step=TrainStep(game, players, loader, sizes, compute, world),
        watch=hold_to(make(config.health, settings=_settings(config, compute.precision)), Health, "health"),
        evaluation=evaluation,
        pruning=hold_to(make(config.pruning), Pruning, "pruning") if config.pruning else None,
        logger=hold_to(make(config.logger), Logger, "logger"),
        world=world,
        held_out_pairs=load_held_out(config) if kind.source is not None else None,
    )


def _average(net: nn.Module, settings: Trainer, device: torch.device) -> MovingAverage | None:
    """Make the moving average of the settings, by decay or by half-life."""
    batch = settings.g_batch_size
    decay: float | HalfLife | None = settings.ema
    if settings.ema and settings.ema_ramp_up is not None:
        decay = HalfLife(half_life_of(settings.ema, batch), settings.ema_ramp_up, batch, device)
    if settings.ema_half_life is not None:
        if settings.ema is not None:
            raise UserError(
                f"trainer.ema is {settings.ema} and trainer.ema_half_life is {settings.ema_half_life:g}, but there is "
                "one moving average.",
                "Try trainer.ema=null, or trainer.ema_half_life=null.",
            )
        decay = HalfLife(settings.ema_half_life, settings.ema_ramp_up, batch, device)
    return None if decay is None else MovingAverage(copy.deepcopy(net), decay)


def make(node: Any, **given: object) -> Any:
    """Make what a node of a config describes; see `gan_runner.building.making.make`."""
    return making.make(plain(node), **given)


def plain(node: Any) -> Any:
    """A node as mappings, lists and plain values, with references resolved."""
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)
    return {key: plain(value) for key, value in node.items()} if isinstance(node, dict) else node


def build_network(
    config: DictConfig,
    which: Literal["generator", "discriminator"],
    kind: Kind,
) -> nn.Module:
    """Make an untrained G or D that a config describes, for images of this kind."""
    node, game = plain(config.model[which]), plain(config.game)
    return make_player(which, node, f"model.{which}", game, kind)


def kind_of_checkpoint(about: Mapping[str, Any]) -> Kind:
    """The kind of images that a checkpoint is of, by what it tells of them.

    Raises:
        UserError: what it tells of sources makes no pairs.
    """
    channels, height, width = about["image_shape"]
    source = about.get("source_shape")
    if source is None:
        return Kind((channels, height, width), tuple(about["classes"]))
    if source not in ([number, height, width] for number in (1, 3, 4)):
        raise UserError(
            f"The checkpoint says that images of {height}x{width} are drawn from ones of {str(source)[:100]}, which "
            "is no shape of theirs.",
            "Restore it, or take an earlier one.",
        )
    partners = not about.get("unpaired", False)
    return Kind((channels, height, width), tuple(about["classes"]), (source[0], height, width), partners)


def _refuse_torn_packs(config: DictConfig, world: World) -> None:
    """Refuse batches that are not a multiple of the pack: real and generated images would share one."""
    packing = packing_of(config.game)
    unit = packing * world.size
    for key in ("batch_size", "g_batch_size"):
        count = config.trainer[key]
        if count % unit:
            below = max(unit, count // unit * unit)
            raise UserError(
                f"game.packing is {packing}, the images that D judges at a time, but trainer.{key} is {count}, which "
                f"is no multiple of {'it' if world.size == 1 else f'{unit}: {world.size} processes share it'}.",
                f"Try trainer.{key}={below} or {below + unit}, or game.packing=1.",
            )


def _refuse_batch_norm(net: nn.Module, penalty: Penalty | Several | None) -> None:
    """Refuse per-image gradients for a D whose output for an image depends on the rest of the batch."""
    norms = [name for name, module in net.named_modules() if isinstance(module, _BatchNorm)]
    ours = [name for name, part in parts_of(penalty).items() if not foreign(part)]
    if norms and ours:
        raise UserError(
            f"penalty ({described(parts_of(penalty)[ours[0]])}) bounds the gradient norm of D at each image by itself, "
            f"but D has batch normalisation ({norms[0]}), so its output depends on the rest of the batch.",
            "Try penalty=none, or a D with layer, instance or spectral normalisation, or none.",
        )


def build_game(config: DictConfig, kind: Kind, device: torch.device, world: World = ALONE, num_images: int = 0) -> Game:
    """Make the game that a config describes, with the loss, latent, penalty and augmentation that it takes."""
    return make_game({name: plain(config[name]) for name in PARTS_OF_A_GAME}, kind, device, world, num_images)


def sampler_of_checkpoint(
    config: DictConfig, state: Mapping[str, Any], seed: int, device: torch.device, *, backwards: bool = False
) -> Sampler:
    """Make the sampler of a run from its config and a checkpoint; `backwards` if it is to draw the other way round.

    Data are loaded if the game needs real images, or conditions beyond classes, whose frequencies the checkpoint has.

    Raises:
        UserError: the checkpoint is of another model.
    """
    about, players = state["about"], state["players"]
    kind = kind_of_checkpoint(about)
    weights = drawing_weights(players)
    refuse_other_networks(config, about, {"generator": weights})
    net = build_network(config, "generator", kind).to(device)
    with _refusing_another_model():
        net.load_state_dict(weights)
    if kind.source is not None and is_ours(config.model.generator):
        check_room_to_draw(net, kind.source, device, "The checkpoint")

    @functools.cache
    def loaded() -> Examples:
        try:
            held_out = load_held_out(config) if kind.source is not None else None
            return held_out_examples(held_out) if held_out else examples_of(load_images(config), config.seed)
        except UserError as error:
            raise UserError(
                f"What this run draws depends on images of its data, which are not available: {error.problem}",
                f"Put them back{', or try gan-translate with images of your own' if kind.source else ''}.",
            ) from error

    def examples(count: int) -> Batch:
        return loaded()(count)

    nodes = {group: plain(config[group]) for group in parts_that_draw(config.game)}
    drawing = make_drawing(nodes, kind, device)
    if backwards:
        assert isinstance(drawing, DrawsBackwards), "whoever asks for it has looked whether the game can"
        drawing = drawing.backwards()
    counts = about.get("class_counts")  # checkpoints of earlier versions have none
    if players["average"] is not None:
        average = MovingAverage(net, decay=0.0)
        average.load_state_dict(players["averaging"])
        Sampler(drawing, net, examples, config.seed, device, average, class_counts=counts).refresh()
    return Sampler(drawing, net, examples, seed, device, class_counts=counts)


def refuse_other_networks(
    config: DictConfig, about: Mapping[str, Any], weights: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse networks that differ from a checkpoint's before they are made: an untrusted folder may ask for any size.

    The user's own networks are checked after they are made.

    Args:
        config: the run's.
        about: what the checkpoint says of its images: `image_shape` and `classes`.
        weights: the checkpoint's, by `generator` and `discriminator`.

    Raises:
        UserError: they have other names or shapes.
    """
    for which in NETWORKS:
        if which in weights and is_ours(config.model[which]):
            make_it = partial(build_network, config, which, kind_of_checkpoint(about))
            with _refusing_another_model():
                with_weights(make_it, weights[which])


def discriminator_of_checkpoint(config: DictConfig, state: Mapping[str, Any], device: torch.device) -> nn.Module:
    """Make a run's D from its config and a checkpoint, in evaluation mode.

    Raises:
        UserError: the checkpoint is of another model.
    """
    about, weights = state["about"], state["players"]["discriminator"]["net"]
    refuse_other_networks(config, about, {"discriminator": weights})
    net = build_network(config, "discriminator", kind_of_checkpoint(about)).to(device)
    with _refusing_another_model():
        net.load_state_dict(weights)
    return net.eval()


@contextlib.contextmanager
def _refusing_another_model() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # raised by PyTorch for other names and shapes
        raise UserError(
            f"The checkpoint is of another model than the run's config describes: {error}",
            "Restore the run's .hydra/config.yaml, or move the checkpoint back to its own folder.",
        ) from error


def _on_device(net: nn.Module, device: torch.device) -> nn.Module:
    # Convolutions are fastest with channels-last, on GPUs and CPUs; on a Mac's GPU it was up to 30 times
    # slower (PyTorch's issue 193349), and at times wrong (180984).
    layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
    return net.to(device).to(memory_format=layout)


def load_images(config: DictConfig, **instead: object) -> ImageSet:
    """Load the real images that a config names.

    Args:
        config: the run's.
        **instead: other settings of its data.

    Raises:
        UserError: they cannot be had.
    """
    node = plain(config.data) | instead
    scarce = None if node.get("split") == "test" else node.get("scarce")  # images to judge by are all there
    images = make({key: value for key, value in node.items() if key not in _OF_LOADERS | {"scarce"}})
    return with_scarce_classes(checked_images(hold_to(images, ImageSet, "data"), config.data._target_), scarce)


def load_held_out(config: DictConfig) -> ImageSet | None:
    """Load the real images of a config's data that nothing is trained on; None where there are none."""
    if config.data.get("split", "test") == "test":
        return None
    try:
        with silently():  # notes on its folder have been logged
            return load_images(config, split="test", limit=None)
    except NoTestSplitError:
        return None


def bind_to_data(metrics: OnData | Evaluation, config: DictConfig, training: ImageSet, device: torch.device) -> None:
    """Bind metrics to the data that a config names: training images, held-out images, and the whole of a limited set.

    Extractors are trained on the whole set even if `data.limit` restricts the run to a part of it: they are better,
    and the same for every limit. The user's own loader need not support an unlimited set.

    Args:
        metrics: the metrics.
        config: the run's.
        training: the images that it names.
        device: where images are drawn, and measured too if it has float64.

    Raises:
        UserError: see `OnData.bind`.
    """
    held_out = load_held_out(config)
    if held_out is None and metrics.looks_at_held_out and config.data.get("split", "test") != "test":
        log.info("%s has no held-out images, so copying of training images is not tested.", training.name)
    limited = config.data.get("limit") is not None and config.data._target_.startswith("gan_runner.")
    with silently():
        whole = load_images(config, limit=None) if limited else None
    metrics.bind(training, held_out, measuring_device(device), learn_from=whole)


def _loader(config: DictConfig, images: ImageSet, batch: int, device: torch.device, world: World) -> Loader:
    """Make what brings `batch` images at a time to the device."""
    how = {key: value for key, value in config.data.items() if key in _OF_LOADERS}
    return make_loader(images, **how, batch=batch, seed=config.seed, device=device, share=world.order)


def _settings(config: DictConfig, precision: PrecisionName) -> dict[str, Scalar]:
    """What the run is set to, by dotted key: the precision as chosen; no labels or dropout where nothing reads them."""
    values: dict[str, Any] = {str(key): plain(config[key]) for key in config if key != "hydra"}
    if not takes_labels(config.loss):
        del values["labels"]
    if "dropout" not in values["model"]["discriminator"]:
        values["model"].pop("dropout", None)
    return flatten(values) | {"trainer.precision": precision}


def _player(config: DictConfig, name: str, net: nn.Module, world: World, lazy: float = 1.0) -> Player:
    """Make a player; beside lazy penalties only a share of its updates is made against its loss (see `optim.lazy`)."""
    node, given = config.optimizer[name], {}
    if lazy < 1.0 and {"lr", "betas"} <= node.keys():
        lr, betas = corrected(node.lr, (node.betas[0], node.betas[1]), lazy)
        given = {"lr": lr, "betas": betas}
    optimizer = make(node, params=net.parameters(), **given)
    rate = hold_to(make(config.learning_rate[name]), LearningRate, f"learning_rate.{name}")
    return Player(net, optimizer, rate, world)
