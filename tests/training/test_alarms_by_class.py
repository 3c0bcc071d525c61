"""Alarms by class: each rings for the fault that is planted for it, and none in a healthy run."""

import pytest
import torch

from gan_runner.data import Batch, InMemoryImages, digits
from gan_runner.games import Conditional
from gan_runner.metrics.features import Features, as_bytes
from gan_runner.training.loop import train

HERE = "tests.training.test_alarms_by_class"

# Small and short; a symptom need not last long.
SHORT = (
    *("experiment=conditional", "trainer.ema_half_life=null", "trainer.batch_size=32", "optimizer.lr=2e-3"),
    *("model.generator.widths=[64]", "model.discriminator.widths=[64]", "trainer.device=cpu"),
    "model.generator.smoothing=false",  # of 8x8 pixels a neighbour is a stroke away
    *("data.image_size=null", "data.limit=null", f"evaluation.metrics.features.extractor._target_={HERE}.cnn"),
    *("trainer.intervals_in=iterations", "trainer.iterations=240", "trainer.log_every=60"),
    *("trainer.sample_every=240", "trainer.checkpoint_every=240"),
    *("evaluation.every=60", "evaluation.metrics.sliced_wasserstein=null", "evaluation.metrics.diversity=null"),
    *(f"health.symptoms.{name}.patience=120" for name in ("classes_ignored", "class_collapsed", "classes_too_easy")),
)
BY_CLASS = {"classes_ignored", "class_collapsed", "classes_too_easy", "class_shares", "odd_labels"}


class Nearest:
    """A cheap extractor: the features of an image are its pixels, and its class is that of the nearest real one."""

    name, fingerprint = "cnn", "nearest"

    def __init__(self, images):
        self.pixels, self.labels = images.pixels(torch.arange(len(images))).flatten(1).double(), images.labels
        self.dim, self.classes = self.pixels.shape[1], len(images.classes)

    def __call__(self, images):
        pixels = as_bytes(images).flatten(1).double()
        distances = torch.cdist(pixels, self.pixels)
        to_each = [distances[:, self.labels == number].min(1).values for number in range(self.classes)]
        return Features(pixels.float(), (-torch.stack(to_each, 1)).softmax(1).float())


class NearestMean(Nearest):
    """The class of an image is that of the nearest mean image: right for about nine of ten real digits."""

    def __call__(self, images):
        pixels = as_bytes(images).flatten(1).double()
        means = torch.stack([self.pixels[self.labels == number].mean(0) for number in range(self.classes)])
        return Features(pixels.float(), (-torch.cdist(pixels, means)).softmax(1).float())


def cnn(images, device):
    return Nearest(images)


def by_means(images, device):
    return NearestMean(images)


class InputCut(Conditional):
    """G is not given the class."""

    def generate(self, g, latents, conditions):
        drawn = super().generate(g, latents, {"label": torch.zeros_like(conditions["label"])})
        return Batch(drawn.images, {"label": conditions["label"]})


class Shuffled(Conditional):
    """D is shown real images as ones of other images' classes."""

    def d_terms(self, d, real, fake):
        label = real.conditions["label"]
        return super().d_terms(d, Batch(real.images, {"label": label[torch.randperm(len(label))]}), fake)


class Constant(Conditional):
    """All images of class 3 are one image."""

    def generate(self, g, latents, conditions):
        drawn = super().generate(g, latents, conditions)
        mine = (conditions["label"] == 3)[:, None, None, None]
        return Batch(torch.where(mine, drawn.images.detach().mean(), drawn.images), drawn.conditions)


class Typical(Conditional):
    """Images are halfway between what G draws and the mean image of the class."""

    def generate(self, g, latents, conditions):
        drawn, real = super().generate(g, latents, conditions), digits.load(None, None)
        means = [real.images[real.labels == number].float().mean(0) / 127.5 - 1 for number in range(10)]
        return Batch((drawn.images + torch.stack(means)[conditions["label"]]) / 2, drawn.conditions)


class Even(Conditional):
    """Classes are drawn evenly, whatever the data have."""

    def generate(self, g, latents, conditions):
        return super().generate(g, latents, {"label": torch.arange(len(latents)) % self.num_classes})


def of_digits(choose):
    """Small digits 8x8, of which `choose` takes rows and labels."""
    whole = digits.load(None, None)
    rows, labels = choose(whole.labels)
    return InMemoryImages("chosen", whole.images[rows], labels, whole.classes)


def uneven(image_size, limit):
    """Ten times as many of each even digit as of each odd one."""

    def choose(labels):
        firsts = [(labels == number).nonzero()[: 150 if number % 2 == 0 else 15, 0] for number in range(10)]
        rows = torch.cat(firsts).sort().values
        return rows, labels[rows]

    return of_digits(choose)


def mislabelled(image_size, limit):
    """Labels of other images."""

    def choose(labels):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        return torch.arange(600), labels[order[:600]]

    return of_digits(choose)


FAULTS = {
    "G's class input cut": ("game", InputCut, "classes_ignored", "classes are ignored: "),
    "labels shuffled before D": ("game", Shuffled, "classes_ignored", "of the images are taken for the class"),
    "one class constant": ("game", Constant, "class_collapsed", "3 (0.0%)"),
    "typical images alone": ("game", Typical, "classes_too_easy", "than in real images, "),
    "classes drawn evenly from uneven data": ("data", uneven, "class_shares", "to be of other classes"),
    "labels of other images": ("data", mislabelled, "odd_labels", "the labels do not fit the real images"),
}


@pytest.mark.parametrize(("group", "planted", "name", "words"), FAULTS.values(), ids=FAULTS)
def test_an_injected_fault_raises_its_alarm_by_class(start, group, planted, name, words):
    changes = [f"{group}._target_={HERE}.{planted.__name__}", "trainer.iterations=180"]
    if group == "data":
        changes += ["~data.split", "~data.holdout", "trainer.iterations=60"]
    if planted is Typical:
        changes.append(f"evaluation.metrics.features.extractor._target_={HERE}.by_means")
        changes.append("evaluation.objective=frechet_by_means")
    if planted is uneven:
        changes.append(f"game._target_={HERE}.{Even.__name__}")
    run = start(*SHORT, "evaluation.num_images=500", *changes)
    train(run, lambda: False)
    raised = {alarm.name: alarm.message for alarm in run.experiment.watch.raised}
    assert raised.keys() & BY_CLASS == {name}
    assert words in raised[name]


def test_a_healthy_class_conditional_run_raises_no_alarm_and_logs_that(start, points_of):
    run = start(*SHORT, "evaluation.num_images=500")
    train(run, lambda: False)
    assert run.experiment.watch.raised == []
    assert all({f"health/{name}" for name in BY_CLASS} <= point.keys() for point in points_of(run)[1:])
    assert points_of(run)[-1]["health/classes_ignored"] == 0.0


def test_a_run_without_classes_logs_no_alarms_by_class(start, points_of):
    run = start("trainer.epochs=1")
    train(run, lambda: False)
    assert not any(f"health/{name}" in point for point in points_of(run) for name in BY_CLASS)
