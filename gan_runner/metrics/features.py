"""Features of images: what the metrics of `feature_metrics` are computed on, learned from the data set itself.

The well-known features are those of an Inception network that learned photographs of 1000 kinds of things, which
says little about small or grey images and has to be downloaded. An extractor here is a small network that
learned the data set that a run learns: its classes, or, where it has none, a task that needs no labels. It is
trained once, in less than a minute for 60,000 images of 28x28 on two cores, and kept (see `cache`).
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gan_runner.data.image_set import ImageSet
from gan_runner.data.index_sampler import IndexSampler
from gan_runner.data.parallel import in_chunks
from gan_runner.data.stacked import StackedImages, stacked_probabilities
from gan_runner.errors import UserError
from gan_runner.metrics import cache
from gan_runner.metrics.encoders import Encoder, OtherEncoder
from gan_runner.metrics.tasks import Classes, Task, Turns
from gan_runner.ranges import Count

_log = logging.getLogger(__name__)

SHIPPED = "{extractor}_of_{data}.npz"
"""Extractors of data sets as they are by default, beside this file; made by `benchmarks.ship_extractor`."""

# These say what the metric measures with, and no setting changes them: numbers measured in two ways cannot be compared.
_BATCH = 128
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_SHOWN_PER_PICTURE = 30  # images shown in training for each there is, within the two limits below
_FEWEST_SHOWN, _MOST_SHOWN = 10_000, 150_000
_LEARNED_BYTES = 2**28  # the images that an extractor learns from lie in memory; of more, that many at even distances
_TRAINING = (_BATCH, _LEARNING_RATE, _WEIGHT_DECAY, _SHOWN_PER_PICTURE, _FEWEST_SHOWN, _MOST_SHOWN, _LEARNED_BYTES)

_EXTRACTED_AT_ONCE = 500


@dataclass(frozen=True)
class Features:
    """What an extractor computes for N images.

    Attributes:
        vectors: float32 [N, dim].
        probabilities: float32 [N, classes], how likely each image is of each class; None where the extractor
            knows no classes.
    """

    vectors: Tensor
    probabilities: Tensor | None


class Extractor(Protocol):
    """Turns images of one shape into features.

    Attributes:
        name: what the names of metrics end in, such as `cnn`.
        dim: how many features an image has.
        classes: how many classes it knows; 0 where it knows none.
        fingerprint: differs whenever the features would.
    """

    name: str
    dim: int
    classes: int
    fingerprint: str

    def __call__(self, images: Tensor) -> Features:
        """Features of images, on the extractor's device.

        Args:
            images: [N, C, H, W], uint8, or floating in [-1, 1], which are rounded to the 256 levels of a file.

        Raises:
            UserError: the images have another shape than those that it was made for.
        """


Learn = Callable[[ImageSet, torch.device], Extractor]
"""Makes an extractor from a data set, on a device; what `cnn`, `cnn_b` and `inception` are."""


def as_bytes(images: Tensor) -> Tensor:
    """Images as uint8: floats in [-1, 1] are rounded to 256 levels.

    A network's NaN becomes mid-grey, as in the images that a run writes.
    """
    if images.dtype == torch.uint8:
        return images
    return images.detach().float().nan_to_num().mul(127.5).add(127.5).round().clamp(0, 255).byte()


def task_of(images: ImageSet) -> Task:
    """What an extractor is trained on: the classes of a set if there are two or more, otherwise quarter turns."""
    if images.labels is not None and len(images.labels.unique()) > 1:
        return Classes(images.labels, len(images.classes))
    return Turns()


class NetExtractor:
    """An `Extractor` made of an encoder and, where it knows classes, a head that tells them apart.

    Args:
        name: see `Extractor`.
        encoder: images float32 [N, C, H, W] in [-1, 1] to features [N, dim].
        head: features to logits of the classes; None for none.
        shape: channels, height and width of the images.
        task: what the encoder learned.
        device: where it works.
    """

    def __init__(
        self,
        name: str,
        encoder: nn.Module,
        head: nn.Module | None,
        shape: tuple[int, int, int],
        task: str,
        device: torch.device,
    ) -> None:
        self.name = name
        self._shape = shape
        self._device = device
        self._encoder = encoder.to(device).eval().requires_grad_(False)
        self._head = None if head is None else head.to(device).eval().requires_grad_(False)
        features = self._encoder(torch.zeros(1, *shape, device=device))
        self.dim = int(features.shape[1])
        self.classes = 0 if self._head is None else int(self._head(features).shape[1])
        self.fingerprint = f"{task}-{_hash_of(encoder, head)}"

    def __call__(self, images: Tensor) -> Features:
        """See `Extractor`."""
        if tuple(images.shape[1:]) != self._shape:
            raise UserError(
                f"The extractor {self.name} knows images of {_in_words(self._shape)}, but was given ones of "
                f"{_in_words(tuple(images.shape[1:]))}.",
                "Evaluate with the data set, data.image_size and channels that the images were made after.",
            )
        vectors, probabilities = [], []
        with torch.inference_mode():
            for part in images.split(_EXTRACTED_AT_ONCE):
                features = self._encoder(as_network_sees(as_bytes(part.to(self._device))))
                vectors.append(features)
                if self._head is not None:
                    probabilities.append(self._head(features).softmax(1))
        return Features(torch.cat(vectors).float(), torch.cat(probabilities).float() if probabilities else None)


class LayeredExtractor:
    """An `Extractor` of stacks, which sees each channel as the extractor of what was stacked does.

    So a classifier of single digits reads each channel, as the protocol of counting modes has it (Srivastava et al.
    2017, arXiv:1705.07761, section 4.2): features lie side by side, and a stack is of a class as likely as its
    layers together are of theirs.

    Args:
        layer: the extractor of one channel.
        channels: how many there are.
    """

    def __init__(self, layer: NetExtractor, channels: Count) -> None:
        self.name = layer.name
        self.dim = channels * layer.dim
        self.classes = layer.classes**channels
        self.fingerprint = f"layers-{layer.fingerprint}"
        self._layer = layer
        self._channels = channels

    def __call__(self, images: Tensor) -> Features:
        """See `Extractor`."""
        count, channels = images.shape[:2]
        if channels != self._channels:
            raise UserError(
                f"The extractor {self.name} knows stacks of {self._channels} channels, but was given images of "
                f"{_in_words(tuple(images.shape[1:]))}.",
                "Evaluate with the data set that the images were made after.",
            )
        seen = self._layer(images.reshape(count * channels, 1, *images.shape[2:]))
        assert seen.probabilities is not None, "what is stacked has classes"
        layers = seen.probabilities.view(count, channels, -1)
        return Features(seen.vectors.view(count, self.dim), stacked_probabilities(layers))


def as_network_sees(pictures: Tensor) -> Tensor:
    """Bytes [N, C, H, W] as float32 in [-1, 1]."""
    return pictures.float().div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def even_rows(count: Count, most: Count) -> Tensor:
    """Up to `most` of `count` rows at even distances, int64, ascending."""
    kept = min(count, most)
    return torch.arange(kept) * count // kept


def features_of(images: ImageSet, most: Count, extractor: Extractor) -> tuple[Tensor, Tensor | None]:
    """Features of up to `most` images of a set at even distances.

    Returns:
        Features, float32 [n, dim], and the class that each image is taken for, int64 [n]; None where the extractor
        knows none.
    """

    def seen(rows: Tensor) -> tuple[Tensor, Tensor | None]:
        features = extractor(images.pixels(rows))
        return features.vectors, None if features.probabilities is None else features.probabilities.argmax(1)

    vectors, classes = [], []
    for _, (some, of_classes) in in_chunks(seen, even_rows(len(images), most), "seen"):
        vectors.append(some)
        if of_classes is not None:
            classes.append(of_classes)
    return torch.cat(vectors), torch.cat(classes) if classes else None


def train(encoder: nn.Module, head: nn.Module, task: Task, images: ImageSet, seed: int, name: str) -> None:
    """Train an encoder and its head on images, with a bar where there is a terminal.

    Args:
        encoder: see `Task.loss`.
        head: see `Task.loss`.
        task: what they learn.
        images: what they learn it from.
        seed: of the order of the images and of what the task draws.
        name: what the bar says is trained.
    """
    device = next(encoder.parameters()).device
    indices = even_rows(len(images), _pictures_learned(images))
    pixels = torch.cat([chunk for _, chunk in in_chunks(images.pixels, indices, "read")]).to(device)
    order = IndexSampler(len(pixels), seed, replacement=False)
    generator = torch.Generator().manual_seed(seed)
    steps = min(max(_SHOWN_PER_PICTURE * len(pixels), _FEWEST_SHOWN), _MOST_SHOWN) // _BATCH
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, _LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=steps + 1)
    encoder.train()
    head.train()
    for step in tqdm(range(steps), desc=f"extractor {name} learns", unit="step", leave=False, disable=None):
        rows = order.indices(step * _BATCH, _BATCH)
        loss = task.loss(encoder, head, as_network_sees(pixels[rows.to(device)]), indices[rows], generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


def _pictures_learned(images: ImageSet) -> int:
    return min(len(images), max(_BATCH, _LEARNED_BYTES // math.prod(images.shape)))


@dataclass(frozen=True)
class Recipe:
    """How an extractor is made from a data set.

    Attributes:
        name: see `Extractor`.
        network: makes the encoder from the images' shape and `dim`.
        dim: see `Extractor`.
        seed: of the first weights, the order of the images, and what the task draws.
    """

    name: str
    network: type[Encoder] | type[OtherEncoder]
    dim: int
    seed: int

    def on(self, images: ImageSet, device: torch.device) -> Extractor:
        """The extractor of a set, or of what its stacks are made of; see `learn`."""
        if isinstance(images, StackedImages) and task_of(images.source).classes:
            return LayeredExtractor(self.learn(images.source, device), images.shape[0])
        return self.learn(images, device)

    def learn(self, images: ImageSet, device: torch.device, task: Task | None = None) -> NetExtractor:
        """Train the extractor, unless it ships with the package or the cache has it.

        Args:
            images: what it learns from.
            device: where it works.
            task: what it learns; None is `task_of` the images.
        """
        task = task or task_of(images)
        shipped = SHIPPED.format(extractor=self.name, data=images.name)
        state = _shipped(shipped, self.digest(images, task)) or self.kept(images, device, task)
        encoder, head = self._untrained(images, task)
        encoder.load_state_dict(state["encoder"])
        head.load_state_dict(state["head"])
        return NetExtractor(self.name, encoder, head if task.classes else None, images.shape, task.name, device)

    def kept(self, images: ImageSet, device: torch.device, task: Task) -> dict[str, dict[str, Tensor]]:
        """The weights of the encoder and of its head that the cache has, or else trained ones, on the CPU."""
        name = f"extractor_{self.name}_{images.name}_{self.digest(images, task)}.pt"
        return cache.kept(name, lambda: self.trained(images, device, task))

    def digest(self, images: ImageSet, task: Task) -> str:
        """A hash of everything that the trained extractor depends on."""
        said = [self.name, self.network.version, self.dim, self.seed, task.name, task.classes, _TRAINING]
        return cache.digest(*said, images.shape, images.fingerprint)

    def trained(self, images: ImageSet, device: torch.device, task: Task) -> dict[str, dict[str, Tensor]]:
        """The weights of the encoder and of its head, on the CPU."""
        place = cache.folder()
        kept = f"It is trained once and kept in {place}." if place else "It is not kept for other runs."
        _log.info(
            "Training the extractor %s of the metrics on %s images of %s (%s).\n  %s\n"
            "  For a quick look evaluation=pixels needs none.",
            *(self.name, f"{_pictures_learned(images):,}", images.name, task.name, kept),
        )
        started = time.monotonic()
        encoder, head = (net.to(device) for net in self._untrained(images, task))
        train(encoder, head, task, images, self.seed, self.name)
        _log.info("The extractor %s was trained in %.0f s.", self.name, time.monotonic() - started)
        parts = {"encoder": encoder, "head": head}
        return {part: {key: value.cpu() for key, value in net.state_dict().items()} for part, net in parts.items()}

    def _untrained(self, images: ImageSet, task: Task) -> tuple[nn.Module, nn.Module]:
        with torch.random.fork_rng(devices=[]):  # the run's random numbers are none of this one's business
            torch.manual_seed(self.seed)
            encoder = self.network(images.shape, self.dim).to(memory_format=torch.channels_last)
            return encoder, task.head(self.dim, images.shape)


CNN = Recipe("cnn", Encoder, 128, seed=0)
CNN_B = Recipe("cnn_b", OtherEncoder, 96, seed=1)


def cnn(images: ImageSet, device: torch.device) -> Extractor:
    """The extractor to tune on: it learned the classes of a set, or without labels the quarter turns of its images.

    Args:
        images: what it learns from, on first use.
        device: where it works.
    """
    return CNN.on(images, device)


def cnn_b(images: ImageSet, device: torch.device) -> Extractor:
    """An extractor to confirm with: another network, of another width and seed, that nothing was tuned on."""
    return CNN_B.on(images, device)


def _shipped(name: str, recipe: str) -> dict[str, dict[str, Tensor]] | None:
    """The weights that ship with the package by this name, where they are of this recipe."""
    found = resources.files("gan_runner.metrics").joinpath(name)
    if not found.is_file():
        return None
    with found.open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        if str(stored["recipe"]) != recipe:
            return None
        state: dict[str, dict[str, Tensor]] = {"encoder": {}, "head": {}}
        for key in stored.files:
            part, _, weight = key.partition("/")
            if weight:
                array = torch.from_numpy(stored[key])
                state[part][weight] = array.float() if array.is_floating_point() else array
        return state


def _hash_of(*nets: nn.Module | None) -> str:
    digest = hashlib.sha256()
    for net in nets:
        for key, value in {} if net is None else net.state_dict().items():
            digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def _in_words(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels} channel{'s' * (channels != 1)} and {height}x{width} pixels"
