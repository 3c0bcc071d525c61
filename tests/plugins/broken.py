"""Parts that break their contracts, each in one way."""

import torch
from torch import nn

from gan_runner import Adversarial, InMemoryImages, Outcome, Turn


class Loss:
    """A loss that keeps its contract; those below do not."""

    classifies = True

    def d(self, real_logits, fake_logits):
        return (fake_logits - real_logits).mean()

    def g(self, fake_logits):
        return -fake_logits.mean()


class OneAnImage(Loss):
    def d(self, real_logits, fake_logits):
        return fake_logits - real_logits


class Nothing(Loss):
    def g(self, fake_logits):
        return None


class PlainNumber(Loss):
    def d(self, real_logits, fake_logits):
        return float((fake_logits - real_logits).mean().detach())


class Detached(Loss):
    def g(self, fake_logits):
        return -fake_logits.detach().mean() + torch.zeros((), requires_grad=True)


class WithoutG:
    classifies = True
    d = Loss.d


class Raises(Loss):
    def d(self, real_logits, fake_logits):
        raise ValueError("something of mine")


class AsksForMore(Loss):
    def __init__(self, margin):
        self.margin = margin


class Penalty:
    """A penalty of one number an image."""

    interval = 1

    def __call__(self, critic, real, fake):
        return critic(real)


class LazyPenalty(Penalty):
    interval = 4


class Generator(nn.Module):
    def __init__(self, image_shape, latent_dim: int, fault: str) -> None:
        super().__init__()
        self.shape, self.fault = image_shape, fault
        self.layer = nn.Linear(latent_dim, image_shape[0] * image_shape[1] * image_shape[2])

    def forward(self, z):
        images = self.layer(z).view(-1, *self.shape)
        return {
            "none": images.tanh(),
            "smaller": images[:, :, :8, :8].tanh(),
            "flat": images.tanh().flatten(1),
            "no tanh": 100 * images,
            "nothing": None,
            "bytes": images.to(torch.uint8),
        }[self.fault]


class Discriminator(nn.Module):
    def __init__(self, image_shape, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.layer = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], 1)
        if fault == "unused":
            self.forgotten = nn.Linear(2, 2)

    def forward(self, images):
        logits = self.layer(images.flatten(1))
        return logits if self.fault == "column" else logits.squeeze(1)


def no_network(image_shape):
    return len(image_shape)


def floats():
    return InMemoryImages("floats", torch.rand(20, 1, 28, 28), None, ())


def two_channels():
    return InMemoryImages("two", torch.zeros(20, 2, 28, 28, dtype=torch.uint8), None, ())


def too_few_labels():
    return InMemoryImages("few", torch.zeros(20, 1, 28, 28, dtype=torch.uint8), torch.zeros(3).long(), ("a",))


def too_few_classes():
    return InMemoryImages("few", torch.zeros(20, 1, 28, 28, dtype=torch.uint8), torch.arange(20), ("a",))


def bare_tensor():
    return torch.zeros(20, 1, 28, 28, dtype=torch.uint8)


class Metric:
    names = ("mine",)

    def statistics(self, real):
        return {}

    def measure(self, fake, real):
        return {"mine": 1.0}


class NoDict(Metric):
    def measure(self, fake, real):
        return 1.0


class OtherName(Metric):
    def measure(self, fake, real):
        return {"yours": 1.0}


class TensorInside(Metric):
    def measure(self, fake, real):
        return {"mine": torch.ones(())}


class NoStatistics(Metric):
    def statistics(self, real):
        return None


class FailsTheSecondTime(Metric):
    def __init__(self):
        self.measured = 0

    def measure(self, fake, real):
        self.measured += 1
        if self.measured == 2:
            raise ValueError("measured twice")
        return {"mine": 1.0}


class WithoutNames:
    statistics, measure = Metric.statistics, Metric.measure


class Schedule:
    d_steps_per_turn = 1

    def next_turn(self, scores, epoch):
        return "D, then G"

    def kinds_of_turn(self, iterations, epoch):
        return {Turn(1, 1): 1.0}

    def status(self):
        return {}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class OnlyTurns:
    d_steps_per_turn = 1
    next_turn = Schedule.next_turn


class NoOutcome(Adversarial):
    def d_terms(self, d, real, fake):
        return super().d_terms(d, real, fake).terms


class NoBatch(Adversarial):
    def generate(self, g, latents, conditions):
        return g(latents)


class MeasuresNumbers(Adversarial):
    def g_terms(self, d, g, latents, real):
        return Outcome(super().g_terms(d, g, latents, real).terms, {"mine": 1.0})
