"""Conditional networks: wrappers for any generator and discriminator, by class or by source image.

The wrapped network is made from its YAML file and need not support either. There is no conditional batch norm: with
it, an image would depend on the rest of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_runner.contracts import described
from gan_runner.errors import UserError
from gan_runner.models.spectral_norm import normalise_spectrally
from gan_runner.ranges import Count

ImageShape = tuple[int, int, int]
Make = Callable[..., nn.Module]
"""Makes a network for images of `image_shape`, and with `latent_dim` instead of its own."""

Answer = nn.Linear | nn.Conv2d


def one_hot(label: Tensor, num_classes: Count, dtype: torch.dtype) -> Tensor:
    """Classes int64 [B] as floats [B, num_classes]: 1 at the class, 0 elsewhere."""
    # Products with these have the same gradient on every device whatever the order of its sums, unlike a lookup's.
    return (label[:, None] == torch.arange(num_classes, device=label.device)).to(dtype)


class ConditionalGenerator(nn.Module):
    """Latents and classes to images: the network's input is the latent concatenated with an embedding of the class.

    Args:
        make: makes the network, for latents of another size.
        image_shape: (channels, height, width) of the images to draw.
        latent_dim: size of a latent.
        num_classes: classes of the data, at least 1.
        embedding_dim: size of the embedding, N(0, 1) at the start.
    """

    def __init__(
        self, make: Make, image_shape: ImageShape, latent_dim: Count, num_classes: Count, embedding_dim: Count
    ) -> None:
        super().__init__()
        self.net = make(image_shape=image_shape, latent_dim=latent_dim + embedding_dim)
        self.embedding = nn.Linear(num_classes, embedding_dim, bias=False)
        nn.init.normal_(self.embedding.weight)

    def forward(self, latents: Tensor, label: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] of class `label`, int64 [B], for each latent [B, latent_dim]."""
        weight = self.embedding.weight
        classes = self.embedding(one_hot(label, weight.shape[1], weight.dtype))
        images: Tensor = self.net(torch.cat([latents, classes.to(latents.dtype)], 1))
        return images


class ProjectionDiscriminator(nn.Module):
    """Images and classes to logits by projection (Miyato and Koyama 2018, arXiv:1802.05637, equation 3).

        D(x, y) = answer(f(x)) + v_y . f(x)

    f(x) is the input of the network's last layer, `answer`, and v_y an embedding of the class; if the last layer is a
    convolution, this holds at every position of its map. v_y begins as
    N(0, 1 / (features * num_classes)), small beside the unconditional part, and is normalised spectrally where the last
    layer is.

    Args:
        make: makes the network, whose last linear or convolutional layer has one output.
        image_shape: (channels, height, width) of the images to judge.
        num_classes: classes of the data, at least 1.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(self, make: Make, image_shape: ImageShape, num_classes: Count) -> None:
        super().__init__()
        self.net = make(image_shape=image_shape)
        self._answer, answer = _answer_of(self.net)
        self.classes = _alike(answer, num_classes)

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Give a logit [B], or a map of them, for each image [B, C, H, W] of class `label`, int64 [B]."""

        def with_class(_: nn.Module, features: tuple[Tensor, ...], logits: Tensor) -> Tensor:
            return logits + self._projected(features, label)

        return self._judged(images, with_class)

    def with_unconditional(self, images: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Give the same logits, and those of the unconditional part alone."""

        def both(_: nn.Module, features: tuple[Tensor, ...], logits: Tensor) -> Tensor:
            return torch.cat([logits + self._projected(features, label), logits])  # the network continues with both

        conditional, unconditional = self._judged(images, both).chunk(2)
        return conditional, unconditional

    def _projected(self, features: tuple[Tensor, ...], label: Tensor) -> Tensor:
        of_all = self.classes(*features)  # [B, num_classes, ...]
        chosen = one_hot(label, of_all.shape[1], of_all.dtype).view(*of_all.shape[:2], *[1] * (of_all.dim() - 2))
        projected: Tensor = (of_all * chosen).sum(1, keepdim=True)
        return projected

    def _judged(self, images: Tensor, hook: Callable[..., Tensor]) -> Tensor:
        with self.net.get_submodule(self._answer).register_forward_hook(hook):
            logits: Tensor = self.net(images)
        return logits


class ClassifyingDiscriminator(nn.Module):
    """Images to logits, and beside these to what a classifier says, which is given what the last layer is given.

    Args:
        make: makes the network, whose last linear or convolutional layer has one output.
        image_shape: (channels, height, width) of the images to judge.
        num_classes: classes of the data, at least 1.
        answers_per_class: see `gan_runner.objectives.classifiers.ClassifierLoss`.

    Raises:
        UserError: the network has no such layer.
    """

    def __init__(self, make: Make, image_shape: ImageShape, num_classes: Count, answers_per_class: Count) -> None:
        super().__init__()
        self.net = make(image_shape=image_shape)
        self._answer, answer = _answer_of(self.net)
        self.classes = _alike(answer, answers_per_class * num_classes)

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Give a logit [B], or a map of them, for each image [B, C, H, W], whatever its class `label`."""
        logits: Tensor = self.net(images)
        return logits

    def with_classes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the same logits, and the classifier's, [B, answers_per_class * C], means over a map."""
        said: list[Tensor] = []

        def listen(_: nn.Module, features: tuple[Tensor, ...], logits: Tensor) -> None:
            said.append(self.classes(*features))

        with self.net.get_submodule(self._answer).register_forward_hook(listen):
            logits: Tensor = self.net(images)
        return logits, said[0].flatten(2).mean(2) if said[0].dim() > 2 else said[0]


class ConcatenationDiscriminator(nn.Module):
    """Images and classes to logits: the network's input is the image with an embedding of the class as another channel.

    After Mirza and Osindero (2014, arXiv:1411.1784).

    Args:
        make: makes the network, for images with another channel.
        image_shape: (channels, height, width) of the images to judge.
        num_classes: classes of the data, at least 1.
    """

    def __init__(self, make: Make, image_shape: ImageShape, num_classes: Count) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.net = make(image_shape=(channels + 1, height, width))
        self.embedding = nn.Linear(num_classes, height * width, bias=False)
        nn.init.normal_(self.embedding.weight)

    def forward(self, images: Tensor, label: Tensor) -> Tensor:
        """Give a logit [B], or a map of them, for each image [B, C, H, W] of class `label`, int64 [B]."""
        weight = self.embedding.weight
        channel = self.embedding(one_hot(label, weight.shape[1], weight.dtype)).view(-1, 1, *images.shape[2:])
        logits: Tensor = self.net(torch.cat([images, channel.to(images.dtype)], 1))
        return logits


class PairDiscriminator(nn.Module):
    """Images and the images that they were drawn from to logits: the network is given both as channels of one image.

    After Isola et al. (2017, arXiv:1611.07004).

    Args:
        make: makes the network, for images of as many channels as both have.
        image_shape: (channels, height, width) of the images to judge.
        source_shape: of the images, of the same height and width.
    """

    def __init__(self, make: Make, image_shape: ImageShape, source_shape: ImageShape) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.net = make(image_shape=(source_shape[0] + channels, height, width))

    def forward(self, images: Tensor, source: Tensor) -> Tensor:
        """Give a logit [B], or a map of them, for each image [B, C, H, W] and its source [B, C', H, W]."""
        logits: Tensor = self.net(torch.cat([source.to(images.dtype), images], 1))
        return logits


def _answer_of(net: nn.Module) -> tuple[str, Answer]:
    """The last linear or convolutional layer of a discriminator, and its name."""
    layers = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    name, answer = layers[-1] if layers else ("", None)
    outputs = answer.weight.shape[0] if answer is not None else 0
    if answer is None or outputs != 1:
        found = f"its last, {name}, has {outputs}" if layers else "it has none"
        raise UserError(
            f"This game.conditioning looks for the layer of model.discriminator "
            f"({described(net)}) that gives the logit: the last torch.nn.Linear or Conv2d, with one output; "
            f"but {found}.",
            "Try game.conditioning=concatenation; or give it a parameter num_classes, and a forward(images, label).",
        )
    return name, answer


def _alike(answer: Answer, num_classes: Count) -> Answer:
    """A layer with the input of `answer`, and one output for each class."""
    if isinstance(answer, nn.Linear):
        layer: Answer = nn.Linear(answer.in_features, num_classes, bias=False)
    else:
        layer = nn.Conv2d(
            answer.in_channels,
            num_classes,
            answer.kernel_size,  # type: ignore[arg-type]
            answer.stride,  # type: ignore[arg-type]
            answer.padding,  # type: ignore[arg-type]
            answer.dilation,  # type: ignore[arg-type]
            bias=False,
            padding_mode=answer.padding_mode,
        )
    nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.weight[0].numel() * num_classes))
    if parametrize.is_parametrized(answer, "weight"):
        normalise_spectrally(layer)
    return layer
