"""Two detectors that are trained here: a small network, and a probe on features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from tqdm import tqdm

from gan_runner.data.index_sampler import IndexSampler
from gan_runner.metrics.encoders import Encoder
from gan_runner.metrics.features import Extractor, as_network_sees
from gan_runner.ranges import Count, Seed
from gan_runner.seeds import derived_seed

FEWEST = 10
"""Images of each kind that a detector needs, to be trained on, to be measured on, and to set a threshold."""

# These say what a detector is, and no setting changes them: figures of two detectors cannot be compared.
_BATCH = 128
_FEATURES, _WIDTH = 128, 32
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_SHOWN_PER_IMAGE = 10
_FEWEST_SHOWN, _MOST_SHOWN = 10_000, 100_000
_SEEN_AT_ONCE = 1000
_PENALTY = 1e-3  # of the probe's squared weights
_STEPS = 200  # of L-BFGS, at most

Detector = Callable[[Tensor], Tensor]
"""From images, uint8 [N, C, H, W], to scores, float [N] on the CPU; above 0 means generated."""


@dataclass(frozen=True)
class FreshNetwork:
    """A small convolutional network that was trained to tell two sets of images apart.

    Attributes:
        net: images float32 [N, C, H, W] in [-1, 1] to logits [N, 1].
        device: where it lies.
    """

    net: nn.Module
    device: torch.device

    def __call__(self, images: Tensor) -> Tensor:
        """See `Detector`."""
        with torch.inference_mode():
            parts = [self.net(as_network_sees(part.to(self.device))) for part in images.split(_SEEN_AT_ONCE)]
        return torch.cat(parts)[:, 0].cpu()


def trained_network(
    real: Tensor, generated: Tensor, seed: Seed, device: torch.device, doing: str, most_shown: Count = _MOST_SHOWN
) -> FreshNetwork:
    """Train a network to tell generated images from real ones; a batch has equally many of both.

    Args:
        real: uint8 [N, C, H, W], N at least 1.
        generated: uint8 [M, C, H, W], M at least 1.
        seed: of its first weights and of the order of the images.
        device: where it learns.
        doing: what the bar says is trained.
        most_shown: images that it is shown at most.
    """
    sets = (real.to(device), generated.to(device))
    shown = min(max(_SHOWN_PER_IMAGE * (len(real) + len(generated)), _FEWEST_SHOWN), most_shown)
    updates, half = math.ceil(shown / _BATCH), _BATCH // 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "detector"))
        encoder = Encoder(tuple(real.shape[1:]), _FEATURES, _WIDTH)
        net = nn.Sequential(encoder, nn.Linear(_FEATURES, 1))
    net = net.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=updates + 1)
    orders = [
        IndexSampler(len(images), derived_seed(seed, f"detector's {name} images"), replacement=False)
        for name, images in zip(("real", "generated"), sets, strict=True)
    ]
    sign = torch.tensor([1.0, -1.0], device=device).repeat_interleave(half)
    for update in tqdm(range(updates), desc=doing, unit="step", leave=False, disable=None):
        rows = [order.indices(update * half, half).to(device) for order in orders]
        batch = torch.cat([images[row] for images, row in zip(sets, rows, strict=True)])
        loss = softplus(sign * net(as_network_sees(batch))[:, 0]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return FreshNetwork(net.eval(), device)


@dataclass(frozen=True)
class Probe:
    """Logistic regression on features.

    Attributes:
        extractor: gives the features.
        mean: of each feature where it was trained, float64 [dim].
        scale: its standard deviation there; 1 where it is constant.
        weights: of the standardised features, and of 1 at the end, float64 [dim + 1].
    """

    extractor: Extractor
    mean: Tensor
    scale: Tensor
    weights: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """See `Detector`."""
        return _with_ones((_features(self.extractor, images) - self.mean) / self.scale) @ self.weights


def trained_probe(real: Tensor, generated: Tensor, extractor: Extractor) -> Probe:
    """Fit a logistic regression on the features of real and generated images, both kinds counting alike.

    Args:
        real: uint8 [N, C, H, W], N at least 1.
        generated: uint8 [M, C, H, W], M at least 1.
        extractor: gives the features, and is left as it is.
    """
    features = [_features(extractor, images) for images in (real, generated)]
    both = torch.cat(features)
    mean, scale = both.mean(0), both.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)
    of_real, of_generated = (_with_ones((each - mean) / scale) for each in features)
    weights = torch.zeros(of_real.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        missed = (softplus(of_real @ weights).mean() + softplus(-(of_generated @ weights)).mean()) / 2
        value = missed + _PENALTY * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return Probe(extractor, mean, scale, weights.detach())


def _features(extractor: Extractor, images: Tensor) -> Tensor:
    parts = [extractor(part).vectors.cpu() for part in images.split(_SEEN_AT_ONCE)]
    return torch.cat(parts).double()


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones(len(features), 1, dtype=features.dtype)], 1)
