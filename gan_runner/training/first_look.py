"""A check of a run's components before training: what each is given and returns.

A part that breaks its contract would fail later, far from its cause, or train in silence on what it did not mean. The
look leaves no trace: weights, running statistics and random numbers are what they were.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from gan_runner.contracts import blaming, foreign, what_it_is
from gan_runner.data import Batch
from gan_runner.errors import UserError
from gan_runner.games import Outcome, WithLazyTerms, drawn_beside, total
from gan_runner.training.checkpoint import Stateful
from gan_runner.training.experiment import Experiment
from gan_runner.training.player import Player
from gan_runner.training.schedules import Turn


@dataclass(frozen=True)
class Look:
    """What a first batch was.

    Attributes:
        real: real images as D is shown them.
        latents: what G drew from.
        fake: what it drew.
    """

    real: Batch
    latents: Tensor
    fake: Batch


def first_look(experiment: Experiment) -> Look:
    """Try every component once, as a run would call it.

    Raises:
        UserError: a part breaks its contract.
    """
    with _leaving_no_trace(experiment):
        look = _look_at_players(experiment)
        _look_at_schedule(experiment)
        _look_at_metrics(experiment)
    return look


@contextlib.contextmanager
def _leaving_no_trace(experiment: Experiment) -> Iterator[None]:
    players, game, device = experiment.players, experiment.game, experiment.compute.device
    buffers = list(chain(players.discriminator.net.buffers(), players.generator.net.buffers()))
    before = [buffer.clone() for buffer in buffers]
    of_game = copy.deepcopy(game.state_dict()) if isinstance(game, Stateful) else None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
    if isinstance(game, Stateful):
        game.load_state_dict(of_game)


def _look_at_players(experiment: Experiment) -> Look:
    sizes, compute, game = experiment.step.sizes, experiment.compute, experiment.game
    d, g = experiment.players.discriminator, experiment.players.generator
    parts = {"game": game, "model.generator": g.net, "model.discriminator": d.net}
    parts |= {key: part for key in ("latent", "loss", "augment") if (part := getattr(game, key, None)) is not None}
    parts |= {_key_of_term(name): part for name, part in getattr(game, "penalties", {}).items()}
    real = experiment.examples(sizes.d)
    with blaming(parts), compute.arithmetic():
        latents = game.latents(sizes.d, compute.device)
        with g.frozen(), torch.no_grad():
            fake = drawn_beside(game, g.net, latents, real)
        _check_pictures(experiment, fake, len(latents))
        _check_outcome(parts, "d", d, game.d_terms(d.net, real, fake))
        if isinstance(game, WithLazyTerms) and (lazy := game.d_lazy_phase(0)):
            _check_terms(parts, "d", game.d_lazy_terms(d.net, real, fake, lazy))
        latents_of_g = game.latents(sizes.g, compute.device)
        shown = experiment.examples(sizes.g) if game.g_sees_data else None
        with d.frozen():
            _check_outcome(parts, "g", g, game.g_terms(d.net, g.net, latents_of_g, shown))
    return Look(real, latents, fake)


def _check_pictures(experiment: Experiment, fake: object, count: int) -> None:
    if not isinstance(fake, Batch):
        raise UserError(f"game gives {what_it_is(fake)} from generate, but must give a gan_runner.Batch.", _AS_GAME)
    images, shape = fake.images, experiment.images.shape
    if not isinstance(images, Tensor) or not images.is_floating_point() or tuple(images.shape) != (count, *shape):
        raise UserError(
            f"model.generator draws {what_it_is(images)}, but must draw {count} images like those of "
            f"{experiment.images.name}: floats of shape {[count, *shape]}.",
            "Let it take their shape from image_shape.",
        )
    low, high = images.aminmax()
    if low < -1 or high > 1:
        raise UserError(
            f"model.generator draws pixels from {low:.3g} to {high:.3g}, but they must lie in [-1, 1].",
            "End it in tanh.",
        )


_AS_GAME = "Let it give what gan_runner.Game describes."


def _check_outcome(parts: dict[str, object], letter: str, player: Player, outcome: object) -> None:
    """Check what a game returns for a batch: terms to minimise that depend on the network's weights."""
    if not isinstance(outcome, Outcome) or not outcome.terms:
        raise UserError(
            f"game gives {what_it_is(outcome)} from {letter}_terms, but must give a gan_runner.Outcome with a term.",
            _AS_GAME,
        )
    _check_terms(parts, letter, outcome.terms)
    for name, value in outcome.measured.items():
        if not isinstance(value, Tensor) or value.dim():
            raise UserError(
                f"game measures {name} as {what_it_is(value)}, but must give a tensor of shape [].", _AS_GAME
            )
    key = _maker(parts, "loss")
    used = _weights_behind(total(outcome.terms))
    unused = [name for name, weight in player.net.named_parameters() if id(weight) not in used]
    if len(unused) == len(list(player.net.parameters())):
        raise UserError(
            f"{key} gives a number from {letter} that depends on none of {letter.upper()}'s weights, so that "
            f"{letter.upper()} cannot learn from it.",
            "Compute it from the logits it is given, without detach(), item() or no_grad().",
        )
    if unused:
        net = "model.discriminator" if letter == "d" else "model.generator"
        raise UserError(
            f"{net} has weights that do not affect its output: {', '.join(unused[:5])}.",
            "Use them in forward, leave them out, or make them buffers with register_buffer.",
        )


def _check_terms(parts: dict[str, object], letter: str, terms: Mapping[str, Tensor]) -> None:
    for name, term in terms.items():
        key = _maker(parts, _key_of_term(name))
        method = {"loss": letter, "game": f"{letter}_terms"}.get(key, "its call")
        if not isinstance(term, Tensor) or not term.is_floating_point() or term.dim():
            raise UserError(
                f"{key} gives {what_it_is(term)} from {method}, but must give one number to minimise.",
                "End it in .mean(), which makes a tensor of shape [].",
            )


def _key_of_term(name: str) -> str:
    """The key of the component that computes a term in `Adversarial`: the loss, the one penalty, or one of several."""
    return {"adversarial": "loss", "penalty": "penalty"}.get(name, f"penalty.parts.{name}")


def _maker(parts: dict[str, object], key: str) -> str:
    """The component to name in an error about a term: that of the key, unless only the game is the user's own."""
    return key if key in parts and (foreign(parts[key]) or not foreign(parts["game"])) else "game"


def _weights_behind(loss: Tensor) -> set[int]:
    """The ids of the parameters that a number was computed from, found without computing a gradient."""
    found, seen, waiting = set(), set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return found


def _look_at_schedule(experiment: Experiment) -> None:
    """Ask a user's own schedule for a turn, and restore its state."""
    schedule = experiment.schedule
    if not foreign(schedule):
        return
    with blaming({"schedule": schedule}):
        state = schedule.state_dict()
        turn = schedule.next_turn(experiment.step, experiment.epoch)
        schedule.load_state_dict(state)
        if not isinstance(turn, Turn) or not (turn.d_steps or turn.g_steps):
            raise UserError(
                f"schedule gives {what_it_is(turn)} from next_turn, but must give a gan_runner.Turn with an update.",
                "Try Turn(d_steps=1, g_steps=1).",
            )


def _look_at_metrics(experiment: Experiment) -> None:
    """Measure samples of the untrained G with a user's own metrics; their statistics of real images are kept."""
    mine = {name: metric for name, metric in experiment.evaluation.metrics.items() if foreign(metric)}
    if mine:
        with blaming({f"evaluation.metrics.{name}": metric for name, metric in mine.items()}):
            experiment.evaluate(only=mine)
