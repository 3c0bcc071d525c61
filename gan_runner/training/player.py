"""A player, D or G: a network and its optimizer; its weights change only in its own step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_runner.games.game import Terms, total
from gan_runner.optim.adam import Optimizer
from gan_runner.optim.averages import MovingAverage
from gan_runner.optim.learning_rates import LearningRate
from gan_runner.training.distributed import ALONE, World


class Player:
    """D or G.

    Args:
        net: the network, in training mode.
        optimizer: updates all of the network's parameters.
        learning_rate: the factor by which the optimizer's configured rate changes over the run.
        world: who computes the gradients together.
    """

    def __init__(self, net: nn.Module, optimizer: Optimizer, learning_rate: LearningRate, world: World = ALONE) -> None:
        self.net = net
        self.optimizer = optimizer
        self._learning_rate = learning_rate
        self._parameters = list(net.parameters())
        self._averaged = world.averaged_over_processes(self._parameters)
        self._norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        self._full_rate = float(optimizer.param_groups[0]["lr"])
        self.lr_scale = 1.0  # the factor on it that rollbacks have left
        self.rate = self._full_rate  # of the last update
        self._norm_before = torch.zeros(())  # of the last update before this start

    def minimise(self, terms: Terms) -> Tensor:
        """Make one update against the sum of the terms and give it, 0-d; no other player's gradients are computed."""
        loss = total(terms)
        # A penalty alone may leave a parameter out, such as D's last bias: its gradient is 0.
        found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        own = [torch.zeros_like(p) if g is None else g for p, g in zip(self._parameters, found, strict=True)]
        gradients = self._averaged(own)
        if loss.is_cuda:
            self._copy_gradients(gradients)
        else:
            for parameter, gradient in zip(self._parameters, gradients, strict=True):
                parameter.grad = _laid_out_like(parameter, gradient)
        self.optimizer.step()
        return loss

    def _copy_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Copy them into the same memory as the last ones, which a recorded step uses."""
        places = []
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            places.append(parameter.grad)
        torch._foreach_copy_(places, list(gradients))

    @property
    def recordable(self) -> bool:
        """Whether a recorded step would see the learning rate change: it has to be a tensor on the GPU."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return all(isinstance(rate, Tensor) and rate.is_cuda for rate in rates)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """A context for the other network's update: no gradients for these weights, no updates of running statistics.

        Batch norm still normalises by the batch at hand, and dropout still drops.
        """
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        for norm in self._norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for parameter in self._parameters:
                parameter.requires_grad_(True)
            for norm in self._norms:
                norm.track_running_stats = True

    def set_rate(self, updates: int, progress: float) -> None:
        """Set the learning rate for the next update (see `LearningRate.factor`)."""
        rate = self.rate_at(updates, progress)
        if rate != self.rate:
            self._write_rate(rate)

    def rate_at(self, updates: int, progress: float) -> float:
        """The learning rate of an update (see `LearningRate.factor`)."""
        return self._full_rate * self.lr_scale * self._learning_rate.factor(updates, progress)

    def _write_rate(self, rate: float) -> None:
        self.rate = rate
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @torch.no_grad()
    def finite(self) -> Tensor:
        """Whether the weights' norms are finite, 0-d."""
        return torch.stack([parameter.norm() for parameter in self._parameters]).isfinite().all()

    @property
    def configured_rate(self) -> float:
        """The learning rate before its schedule and before rollbacks."""
        return self._full_rate

    def gradient_norm(self) -> Tensor:
        """Euclidean norm of the last update's gradient over all parameters, 0-d; 0 before the first."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if not gradients:
            return self._norm_before
        norm: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradient_norm": self.gradient_norm(),
            "lr_scale": self.lr_scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; the learning rate stays as configured now, and follows its schedule."""
        self.net.load_state_dict(state["net"])
        configured = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, wanted in zip(self.optimizer.param_groups, configured, strict=True):
            group.update({key: value for key, value in wanted.items() if key != "params"})
        self.lr_scale = state["lr_scale"]
        self._write_rate(self._full_rate * self.lr_scale)
        self._norm_before = state["gradient_norm"]
        for parameter in self._parameters:
            parameter.grad = None  # of an update that this state knows nothing of


def _laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in its parameter's order in memory: a fused optimizer pairs the two as they lie there."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


@dataclass(frozen=True)
class Players:
    """The networks of a run: D, G, and the average of G if there is one."""

    discriminator: Player
    generator: Player
    average: MovingAverage | None

    @property
    def drawing_net(self) -> nn.Module:
        """The network that draws samples: the moving average if there is one, otherwise G itself."""
        return self.average.net if self.average is not None else self.generator.net

    def by_letter(self) -> dict[str, Player]:
        """The two as the names of measurements have them: "d" and "g"."""
        return {"d": self.discriminator, "g": self.generator}

    def not_finite(self) -> str | None:
        """Whose weights or last gradient have no finite norm, in words; None if nobody's. Waits for the device."""
        for letter, player in self.by_letter().items():
            if not player.finite():
                return f"{letter.upper()}'s weights have no finite norm"
            if not player.gradient_norm().isfinite():
                return f"{letter.upper()}'s gradient has no finite norm"
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "generator": self.generator.state_dict(),
            "average": self.average.net.state_dict() if self.average is not None else None,
            "averaging": self.average.state_dict() if self.average is not None else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator.load_state_dict(state["generator"])
        if self.average is not None:
            self.average.net.load_state_dict(drawing_weights(state))
            self.average.load_state_dict(state["averaging"])


def drawing_weights(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights of what draws images, from the players' state in a checkpoint; see `Players.drawing_net`."""
    weights: Mapping[str, Tensor] = state["average"] or state["generator"]["net"]
    return weights
