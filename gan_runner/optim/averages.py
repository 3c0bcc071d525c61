"""Averages of weights over a run; they draw better images than the weights of the last update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_runner.arithmetic import has_float64, most_exact
from gan_runner.optim.standing_statistics import ids_of_statistics
from gan_runner.ranges import Count, FractionBelowOne, Positive

_PAST_ANY_RAMP = 2.0**53  # images; an integer may have to hold it


class HalfLife:
    """A decay stated in images, so that it means the same at every batch size (Karras et al. 2020, arXiv:1912.04958).

        0.5 ^ (batch / min(half_life, ramp_up * images so far))

    The ramp keeps the random weights of the start from lasting: the average reaches back over a share of the run
    at most.

    Args:
        half_life: images after which weights count half.
        ramp_up: the half-life as a share of the images so far, until it reaches `half_life`: 0.05 in StyleGAN2-ADA's
            configurations auto and cifar. None is the full half-life from the start, as in StyleGAN2. (R3GAN raises
            the half-life along half a cosine over the run instead.)
        batch: images an update.
        device: where the average lies.
    """

    def __init__(self, half_life: Positive, ramp_up: Positive | None, batch: Count, device: torch.device) -> None:
        self.half_life = half_life
        self.ramp_up = ramp_up
        self.batch = batch
        # On the device, so that a recorded step keeps counting. Float32 would stop counting at 2^24 images.
        self._images = torch.zeros((), dtype=torch.float64 if has_float64(device) else torch.int64, device=device)

    def share_of_start(self, updates: int) -> float:
        """The weight of the initial weights in the average after so many updates, in [0, 1]."""
        if self.ramp_up is not None:
            return float(updates == 0)  # the ramp reaches back over a share of the run alone
        return float(0.5 ** (updates * self.batch / self.half_life))

    def next(self) -> Tensor:
        """The decay of the next update, float32 0-d on the device; waits for nothing."""
        if self.ramp_up is None:
            half_life = torch.full_like(self._images, self.half_life, dtype=most_exact(self._images.device))
        else:
            half_life = (self._images * self.ramp_up).clamp(1e-8, self.half_life)
        self._images += self.batch
        return torch.exp2(-self.batch / half_life).float()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"images": self._images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint; in place, for a recorded step has the tensor's address."""
        self._images.copy_(state["images"].clamp(max=_PAST_ANY_RAMP))


def half_life_of(decay: FractionBelowOne, batch: Count) -> Positive:
    """The half-life in images of a decay that is stated an update: batch * ln(0.5) / ln(decay).

    Args:
        decay: share of the old average that stays at an update, above 0.
        batch: images an update.
    """
    return batch * math.log(0.5) / math.log(decay)


class MovingAverage:
    """An exponential moving average of G's weights (Yaz et al. 2019, arXiv:1806.04498).

    Averaged weights have smaller activations than those that they are an average of, so batch norm's running
    statistics of G itself are none of theirs: whoever draws has them taken again first (see `Sampler`).

    Args:
        net: the network as it is now, to be kept by this object; a copy of G.
        decay: share of the old average that stays at an update.

    Attributes:
        statistics_of: how many images batch norm's statistics were taken of since the weights last changed; 0 where
            they are of other weights, infinite where the weights are still those of G at the start.
    """

    def __init__(self, net: nn.Module, decay: FractionBelowOne | HalfLife) -> None:
        self.net = net.eval().requires_grad_(False)
        self.decay = decay
        self.statistics_of = math.inf
        self._averages: list[Tensor] = list(self.net.parameters())
        statistics = ids_of_statistics(self.net)
        self._others = [number for number, buffer in enumerate(self.net.buffers()) if id(buffer) not in statistics]

    def share_of_start(self, updates: int) -> float:
        """The weight of the initial weights in the average after so many updates, in [0, 1]."""
        if isinstance(self.decay, HalfLife):
            return self.decay.share_of_start(updates)
        return float(self.decay**updates)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps besides the weights."""
        decay = self.decay.state_dict() if isinstance(self.decay, HalfLife) else {}
        return {"statistics_of": self.statistics_of, **decay}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint, its weights apart; one that was made by another decay is past its ramp."""
        self.statistics_of = state.get("statistics_of", 0)  # earlier versions copied those of G
        if isinstance(self.decay, HalfLife):
            self.decay.load_state_dict(state if "images" in state else {"images": torch.tensor(_PAST_ANY_RAMP)})

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move towards the weights of `source`; its buffers are taken over as they are, but for batch norm's.

        Whoever calls this, or has a recording of it replayed, sets `statistics_of` to 0.
        """
        weights = [parameter.detach() for parameter in source.parameters()]
        share = 1.0 - (self.decay.next() if isinstance(self.decay, HalfLife) else self.decay)
        if isinstance(share, Tensor) and share.device.type != "cpu":
            # `_foreach_lerp_` takes a number, and reading it from the device would wait for the device.
            steps = torch._foreach_sub(weights, self._averages)
            torch._foreach_mul_(steps, share)
            torch._foreach_add_(self._averages, steps)
        else:
            torch._foreach_lerp_(self._averages, weights, float(share))
        if self._others:
            own, new = list(self.net.buffers()), list(source.buffers())
            for number in self._others:
                own[number].copy_(new[number])
