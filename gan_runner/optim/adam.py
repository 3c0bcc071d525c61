"""How a player's weights are updated.

Any optimizer of `torch.optim` will do as the `_target_` of `optimizer.d` and `optimizer.g`; the one here is faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypedDict

import torch
from torch import Tensor, nn

from gan_runner.ranges import FractionBelowOne, NonNegative, Positive


class Optimizer(Protocol):
    """What a player needs of its optimizer; those of `torch.optim` have it."""

    #: A dict a group of parameters, with its learning rate, a number or a 0-d tensor, under "lr".
    param_groups: list[dict[str, Any]]

    def step(self) -> object:
        """Update the parameters by their gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore from a checkpoint."""
        ...


class _Settings(TypedDict):
    lr: Any
    beta1: float
    beta2: float
    weight_decay: float
    eps: float
    amsgrad: bool
    maximize: bool


def _has_fused_kernel(device: torch.device) -> bool:
    """Whether a device updates all parameters by one kernel: it is tried on a number."""
    number, steps = [torch.zeros(1, device=device)], [torch.ones((), device=device)]
    settings = _Settings(lr=0.0, beta1=0.0, beta2=0.0, weight_decay=0.0, eps=1.0, amsgrad=False, maximize=False)
    try:
        torch._fused_adam_(number, number, number, number, [], steps, **settings)
    except (NotImplementedError, RuntimeError, TypeError):
        return False
    return True


class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1) as one fused kernel over all parameters.

    Where a device has no such kernel, as MPS in some versions of PyTorch, PyTorch's loop over parameters does the same.

    The kernel is that of `torch.optim.Adam(fused=True)`, called without the layers around it: those cost about
    0.3 ms a step, and two seconds before the first one, in which PyTorch imports its compiler. On a GPU the
    learning rate and the step count are tensors there, so that a recorded step sees them change.

    Args:
        params: the parameters, on one device.
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the root of the second.
        weight_decay: this share of a weight is added to its gradient.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: NonNegative,
        betas: tuple[FractionBelowOne, FractionBelowOne],
        eps: Positive,
        weight_decay: NonNegative,
    ) -> None:
        self._params: list[Tensor] = list(params)
        device = self._params[0].device
        rate = torch.tensor(float(lr), device=device) if device.type == "cuda" else float(lr)
        self.param_groups: list[dict[str, Any]] = [{"params": self._params, "lr": rate}]
        self.betas = (betas[0], betas[1])
        self.eps = eps
        self.weight_decay = weight_decay
        self._means = [torch.zeros_like(parameter) for parameter in self._params]
        self._squares = [torch.zeros_like(parameter) for parameter in self._params]
        self._fused = _has_fused_kernel(device)
        self._steps = torch.zeros((), device=device if self._fused else "cpu")

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter by its gradient, which lies in memory as the parameter does."""
        gradients = [parameter.grad for parameter in self._params if parameter.grad is not None]
        params, means, squares = self._params, self._means, self._squares
        settings = _Settings(
            lr=self.param_groups[0]["lr"],
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=self.weight_decay,
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )
        self._steps += 1
        if self._fused:
            steps = [self._steps] * len(self._params)
            params, gradients, means, squares = map(_contiguous, (params, gradients, means, squares))
            torch._fused_adam_(params, gradients, means, squares, [], steps, **settings)
        else:
            from torch.optim.adam import adam

            steps = [self._steps - 1 for _ in self._params]  # it counts on by itself
            adam(params, gradients, means, squares, [], steps, foreach=False, **settings)

    def state_dict(self) -> dict[str, Any]:
        """Both running means and the step count; the learning rate belongs to the config."""
        return {"means": list(self._means), "squares": list(self._squares), "steps": self._steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; in place, for a recorded step has these tensors' addresses."""
        own: list[Tensor] = [*self._means, *self._squares, self._steps]
        saved: list[Tensor] = [*state_dict["means"], *state_dict["squares"], state_dict["steps"]]
        for tensor, value in zip(own, saved, strict=True):
            tensor.copy_(value)


def _contiguous(tensors: list[Tensor]) -> list[Tensor]:
    """The same memory without strides: the kernel on the CPU copies each tensor that is not contiguous, to no end."""
    return [tensor.permute(0, 2, 3, 1) if _is_channels_last(tensor) else tensor for tensor in tensors]


def _is_channels_last(tensor: Tensor) -> bool:
    return not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
