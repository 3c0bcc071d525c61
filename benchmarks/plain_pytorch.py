"""The recipes as a plain PyTorch script of a tutorial: the baseline, deliberately not optimised.

Initial weights, latents and targets are those of the recipes. The rest is typical of such scripts: a DataLoader that
transforms one image at a time, two default Adams, `nn.Dropout`, separate passes for real and generated images, unused
gradients for D's weights in G's step, and `.item()` for the log.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from gan_runner.data import ImageSet


class Pictures(Dataset[Tensor]):
    """Images as torchvision's data sets give them: a PIL image each, then the transforms."""

    def __init__(self, images: ImageSet) -> None:
        self._pixels = images.pixels(torch.arange(len(images)))[:, 0]
        self._transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self) -> int:
        """Number of images."""
        return len(self._pixels)

    def __getitem__(self, index: int) -> Tensor:
        """An image, float32 [1, 28, 28] in [-1, 1]."""
        image: Tensor = self._transform(Image.fromarray(self._pixels[index].numpy()))
        return image


def keras_mlp() -> tuple[nn.Module, nn.Module]:
    """G and D of the MLP recipe."""
    generator = nn.Sequential(
        nn.Linear(100, 256),
        nn.LeakyReLU(0.2),
        nn.Linear(256, 512),
        nn.LeakyReLU(0.2),
        nn.Linear(512, 1024),
        nn.LeakyReLU(0.2),
        nn.Linear(1024, 784),
        nn.Tanh(),
        nn.Unflatten(1, (1, 28, 28)),
    )
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 1024),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(1024, 512),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(512, 256),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(256, 1),
    )
    return generator, discriminator


def keras_dcgan() -> tuple[nn.Module, nn.Module]:
    """G and D of the convolutional recipe."""

    def up(before: int, after: int, stride: int) -> list[nn.Module]:
        convolution = nn.ConvTranspose2d(before, after, 3, stride, padding=1, output_padding=stride - 1)
        return [convolution, nn.BatchNorm2d(after, eps=1e-3), nn.ReLU()]

    def down(before: int, after: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, padding=1), nn.LeakyReLU(0.2), nn.Dropout(0.4)]

    generator = nn.Sequential(
        nn.Linear(100, 12544),
        nn.BatchNorm1d(12544, eps=1e-3),
        nn.ReLU(),
        nn.Unflatten(1, (256, 7, 7)),
        *up(256, 128, 2),
        *up(128, 64, 2),
        *up(64, 32, 1),
        nn.ConvTranspose2d(32, 1, 3, padding=1),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        *down(1, 64, 2),
        *down(64, 128, 2),
        *down(128, 256, 2),
        *down(256, 512, 1),
        nn.Flatten(),
        nn.Linear(8192, 1),
    )
    return generator, discriminator


def initialise(net: nn.Module, first_std: float | None) -> None:
    """Glorot's uniform weights and biases of 0, as Keras has them; the first layer N(0, first_std^2) where given."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if first_std is not None:
        nn.init.normal_(layers[0].weight, std=first_std)


RECIPES = {"keras_mlp": keras_mlp, "keras_dcgan": keras_dcgan}


class PlainScript:
    """The training loop of such a script; a call of `step` is one iteration, loading included."""

    def __init__(self, recipe: str, images: ImageSet, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        self._noisy = recipe == "keras_dcgan"
        self._device = device
        generator, discriminator = RECIPES[recipe]()
        for net in (generator, discriminator):
            initialise(net, None if self._noisy else 0.02)
        self.generator, self._discriminator = generator.to(device), discriminator.to(device)
        self._optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999), eps=1e-7)
        self._optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999), eps=1e-7)
        self._loader = DataLoader(Pictures(images), batch_size=128, shuffle=True, drop_last=True)
        self._batches: Iterator[Tensor] = iter(())
        self._loss = nn.BCEWithLogitsLoss()

    def step(self) -> tuple[float, float, float]:
        """Train D, then G; gives both losses and D's accuracy."""
        real = self._next_batch().to(self._device)
        count = len(real)
        fake = self.generator(self._latents(count))

        self._optimizer_d.zero_grad()
        real_logits, fake_logits = self._discriminator(real), self._discriminator(fake.detach())
        loss_d = self._loss(real_logits, self._targets(count, 0.7, 1.2, 0.9))
        loss_d = loss_d + self._loss(fake_logits, self._targets(count, 0.0, 0.3, 0.0))
        loss_d.backward()
        self._optimizer_d.step()

        self._optimizer_g.zero_grad()
        g_count = 2 * count if self._noisy else count
        logits = self._discriminator(self.generator(self._latents(g_count)))
        loss_g = self._loss(logits, self._targets(g_count, 0.7, 1.2, 1.0))
        loss_g.backward()
        self._optimizer_g.step()
        accuracy = ((real_logits > 0).float().mean() + (fake_logits <= 0).float().mean()) / 2
        return loss_d.item(), loss_g.item(), accuracy.item()

    def _next_batch(self) -> Tensor:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self._loader)
            batch = next(self._batches)
        return batch

    def _latents(self, count: int) -> Tensor:
        latents = torch.randn(count, 100, device=self._device)
        return nn.init.trunc_normal_(latents, a=-1.0, b=1.0) if self._noisy else latents

    def _targets(self, count: int, low: float, high: float, smooth: float) -> Tensor:
        targets = torch.full((count, 1), smooth, device=self._device)
        return nn.init.trunc_normal_(targets, a=low, b=high) if self._noisy else targets
