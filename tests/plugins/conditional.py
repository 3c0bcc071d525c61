"""A class-conditional GAN, from outside the package: both players are told the class (Mirza and Osindero 2014)."""

import torch
from torch import nn

from gan_runner.data import Batch
from gan_runner.games import Adversarial, Outcome


class ClassConditional(Adversarial):
    """D and G take `label` besides; the grid has one class a row, and D's accuracy on the first class is measured."""

    g_sees_data = True  # for its labels

    def __init__(self, latent, loss, penalty, num_classes: int) -> None:
        super().__init__(latent, loss, penalty)
        self.num_classes = num_classes

    def generate(self, g, latents, conditions):
        return Batch(g(latents, conditions["label"]), {"label": conditions["label"]})

    def judge(self, d, images, conditions):
        return d(images, conditions["label"])

    def grid_conditions(self, count, columns, examples):
        return {"label": torch.arange(count) // columns % self.num_classes}

    def d_terms(self, d, real, fake):
        outcome = super().d_terms(d, real, fake)
        share = (real.conditions["label"] == 0).float().mean()
        return Outcome(outcome.terms, {**outcome.measured, "data/share_of_zeros": share})


class Generator(nn.Module):
    def __init__(self, image_shape, num_classes: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.embed = nn.Embedding(num_classes, width)
        self.latent = nn.Linear(latent_dim, width)
        self.out = nn.Linear(width, image_shape[0] * image_shape[1] * image_shape[2])

    def forward(self, z, label):
        hidden = torch.relu(self.latent(z) + self.embed(label))
        return torch.tanh(self.out(hidden)).view(-1, *self.image_shape)


class Discriminator(nn.Module):
    """A projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637)."""

    def __init__(self, image_shape, num_classes: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_classes, width)
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], width), nn.ReLU()
        )
        self.out = nn.Linear(width, 1)

    def forward(self, images, label):
        features = self.features(images)
        return self.out(features).squeeze(1) + (features * self.embed(label)).sum(1)
