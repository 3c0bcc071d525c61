"""Optimizers, set up for one fast update: a fused kernel that never waits for the device."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from gan_runner.ranges import FractionBelowOne, NonNegative, Positive


def adam(
    params: Iterable[nn.Parameter],
    lr: NonNegative,
    betas: tuple[FractionBelowOne, FractionBelowOne],
    eps: Positive,
    weight_decay: NonNegative,
) -> torch.optim.Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) as one fused kernel over all parameters.

    On a GPU the learning rate is a tensor there, so that a recorded step sees it change.
    """
    parameters = list(params)
    on_gpu = parameters[0].is_cuda
    rate = torch.tensor(float(lr), device=parameters[0].device) if on_gpu else float(lr)
    return torch.optim.Adam(
        parameters,
        lr=rate,
        betas=(betas[0], betas[1]),
        eps=eps,
        weight_decay=weight_decay,
        fused=True,
        capturable=on_gpu,
    )
