"""Batch norm over a batch that several processes share."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SynchronisedBatchNorm(_BatchNorm):
    """Batch norm by the mean and the variance of the whole batch (Ioffe and Szegedy 2015, arXiv:1502.03167).

    `nn.SyncBatchNorm` needs a GPU and has no second derivative, which a penalty on D's gradient norm takes.

    Args:
        norm: the layer in whose place this one goes; it shares its weights and its running statistics.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions is allowed: [B, C] or [B, C, ...]."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, ...], a share of a batch that is the same size in every process."""
        if not self.training:
            return super().forward(input)
        rows = input.movedim(1, -1).flatten(0, -2).to(torch.promote_types(input.dtype, torch.float32))
        variance, mean = _over_all_processes(*_variance_and_mean(rows))
        if self.track_running_stats and self.running_mean is not None:
            count = len(rows) * dist.get_world_size()
            self._follow(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        # PyTorch's fast kernel takes statistics for constants: with c for these,
        #     (x - m) / s  =  (x - c_m) / c_s * (c_s / s)  +  (c_m - m) / s,
        # where scale and shift have the values 1 and 0, and the gradients of what depends on the statistics.
        deviation = (variance + self.eps).sqrt()
        scale, shift = deviation.detach() / deviation, (mean.detach() - mean) / deviation
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return nn.functional.batch_norm(
            input, mean.detach(), variance.detach(), scale, shift, training=False, eps=self.eps
        )

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards a batch's."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / self.num_batches_tracked.to(mean.dtype)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _variance_and_mean(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of [N, C]; `torch.var_mean` and its gradient take half as long again."""
    mean = rows.mean(0)
    return (rows - mean).square().mean(0), mean


class _Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient's, to any order."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient.contiguous())


def _summed(own: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(own)
    return total


def _over_all_processes(variance: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean [C] of the whole batch from those of equal shares (Chan et al. 1979), in one message.

    Each process gets all others' by an all-reduce, which can be differentiated twice.
    """
    shares = torch.zeros(dist.get_world_size(), 2, len(mean), dtype=mean.dtype, device=mean.device)
    shares[dist.get_rank()] = torch.stack([variance, mean])
    variances, means = _summed(shares).unbind(1)
    mean = means.mean(0)
    return variances.mean(0) + (means - mean).square().mean(0), mean


def synchronise_norms(net: nn.Module) -> None:
    """Put a `SynchronisedBatchNorm` in the place of every batch norm of a network."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, SynchronisedBatchNorm(child))
