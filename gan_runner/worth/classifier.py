"""The classifier of the comparison: a small CNN, trained in the same way and for as many updates by every arm.

In a repetition all arms have the same initial weights and random numbers, so that their scores are paired.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_runner.metrics.encoders import Encoder
from gan_runner.metrics.features import as_network_sees
from gan_runner.ranges import Count, CountOrZero, Seed
from gan_runner.seeds import derived_seed, generator_for
from gan_runner.worth.arms import Arm, Change
from gan_runner.worth.scores import Counts

_FEATURES, _WIDTH = 128, 16
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_SHIFT = 1 / 14  # largest random shift, as a share of the longer side: 2 pixels of 28
_MIXUP = 0.2  # alpha of the beta distribution (Zhang et al. 2018, arXiv:1710.09412)
_SEEN_AT_ONCE = 1000


@dataclass(frozen=True)
class Recipe:
    """The length and the seed of a classifier's training.

    Attributes:
        updates: number of updates.
        batch_size: images in each update.
        seed: of the comparison.
        number: of the repetition.
    """

    updates: Count
    batch_size: Count
    seed: Seed
    number: CountOrZero


def trained(images: Tensor, rows: Sequence[Tensor], arm: Arm, recipe: Recipe) -> nn.Module:
    """Train a classifier.

    Args:
        images: uint8 [N, C, H, W], on the device that it is trained on.
        rows: rows of the training images of each class, int64 on the CPU, at least one for each.
        arm: says how batches are sampled and augmented.
        recipe: length and seed.

    Returns:
        The network, images float32 [B, C, H, W] in [-1, 1] to logits [B, classes], in evaluation mode.
    """
    seed, number, device = recipe.seed, recipe.number, images.device
    sizes = torch.tensor([len(each) for each in rows])
    total, classes = int(sizes.sum()), len(rows)
    starts = sizes.cumsum(0) - sizes
    all_rows, all_labels = torch.cat(list(rows)), torch.arange(classes).repeat_interleave(sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "classifier", number))
        encoder = Encoder(tuple(images.shape[1:]), _FEATURES, _WIDTH)
        net = nn.Sequential(encoder, nn.Linear(_FEATURES, classes))
    net = net.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=recipe.updates + 1)
    weight = (total / (classes * sizes)).float().to(device) if arm.weighted else None
    chance = generator_for(seed, "batches of a classifier", number)
    changing = generator_for(seed, "changes of images", number)
    shares = np.random.default_rng(derived_seed(seed, "mixup", number)).beta(_MIXUP, _MIXUP, recipe.updates)
    for update in range(recipe.updates):
        which, place = torch.rand(2, recipe.batch_size, dtype=torch.float64, generator=chance)
        if arm.balanced:
            label = (which * classes).long()
            chosen = starts[label] + (place * sizes[label]).long()
        else:
            chosen = (place * total).long()
        label = all_labels[chosen].to(device)
        batch = as_network_sees(changed(images[all_rows[chosen].to(device)], arm.change, changing))
        if arm.change == "mixup":
            share = float(shares[update])
            logits = net(share * batch + (1 - share) * batch.flip(0))
            loss = share * cross_entropy(logits, label) + (1 - share) * cross_entropy(logits, label.flip(0))
        else:
            loss = cross_entropy(net(batch), label, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return net.eval()


def changed(images: Tensor, change: Change, generator: torch.Generator) -> Tensor:
    """Shift images by a few pixels, repeating the edge, and mirror half of them for `shifts and flips`.

    Args:
        images: uint8 [B, C, H, W].
        change: the augmentation; mixup does not change single images and is done by `trained`.
        generator: of random numbers on the CPU.
    """
    if change not in ("shifts", "shifts and flips"):
        return images
    count, _, height, width = images.shape
    reach = max(1, round(_SHIFT * max(height, width)))
    down, right = torch.randint(-reach, reach + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < (0.5 if change == "shifts and flips" else 0.0)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    columns = torch.where(mirrored, columns.flip(1), columns).to(images.device)
    lines = (torch.arange(height) + down).clamp(0, height - 1).to(images.device)
    numbers = torch.arange(count, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[numbers, lines[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def counts_of(net: nn.Module, images: Tensor, labels: Tensor, classes: Count) -> Counts:
    """Count what a classifier says of test images.

    Args:
        net: see `trained`.
        images: uint8 [N, C, H, W].
        labels: their classes, int64 [N].
        classes: number of classes.
    """
    predicted = probabilities(net, images).argmax(1)
    correct = predicted[predicted == labels]
    return Counts(correct.bincount(minlength=classes).tolist(), predicted.bincount(minlength=classes).tolist())


def probabilities(net: nn.Module, images: Tensor) -> Tensor:
    """The probabilities that a classifier gives to the classes, float32 [N, classes] on the CPU.

    Args:
        net: see `trained`.
        images: uint8 [N, C, H, W].
    """
    device = next(net.parameters()).device
    with torch.inference_mode():
        parts = [net(as_network_sees(part.to(device))).softmax(1).cpu() for part in images.split(_SEEN_AT_ONCE)]
    return torch.cat(parts)


def images_shown(recipe: Recipe, classes: Count) -> int:
    """How many images of a class a classifier is shown in all, if classes are sampled equally often."""
    return math.ceil(recipe.updates * recipe.batch_size / classes)
