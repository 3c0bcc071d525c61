"""Sampling: from fixed and fresh latents, for evaluations, and for commands."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from gan_runner.data import Batch, ImageSet
from gan_runner.data.batch import CYCLED, CYCLED_TARGET, DRAWN_SOURCE, SOURCE, TARGET, TRUTH, joined
from gan_runner.data.classes import as_often
from gan_runner.data.image_set import batch_of, turns
from gan_runner.data.loader import sampled_rows
from gan_runner.data.transforms import with_channels
from gan_runner.games import Drawing, DrawsBackwards, Examples
from gan_runner.optim.averages import MovingAverage
from gan_runner.optim.standing_statistics import batch_norms, take_statistics
from gan_runner.ranges import Count
from gan_runner.seeds import derived_seed, generator_for

_BATCH = 256
# Images that batch norm's statistics are taken of. By those of 256, 2,048 and 10,240 the Fréchet distance of a DCGAN
# on Fashion-MNIST was 12.2, 11.7 and 11.6 after 350 iterations, and 5.6, 5.5 and 5.4 after 700
# (docs/evidence/recommended.md).
STATISTICS_OF = 2048
STATISTICS_TO_WATCH = 256  # by which the health of a run is judged, as often as every log point


CELLS_OF_A_PAIR = ("input", "output", "truth")
"""What a grid shows of an image that is drawn from another: that one, the image, and the real one."""

CELLS_OF_A_CYCLE = ("input", "output", "input again", "input of the other direction", "its output", "its input again")
"""Where images are drawn both ways: a source, the image, and the source again, and likewise a target."""


def examples_of(images: ImageSet, seed: int) -> Examples:
    """Real images of a set, always the same ones, on the CPU."""

    @functools.cache
    def found(count: int) -> Batch:
        return batch_of(images, sampled_rows(len(images), count, derived_seed(seed, "real images")))

    return lambda count: found(count).as_float()


def held_out_examples(images: ImageSet) -> Examples:
    """Held-out images of a set, the same ones for every seed of a run, so that runs are compared by the same inputs."""
    return examples_of(images, seed=0)


@dataclass(frozen=True)
class Inputs:
    """What G draws images from.

    Attributes:
        latents: [N, latent_dim].
        conditions: of each image; see `Batch`.
        truth: of pairs the real image that belongs to each source, [N, C, H, W]; None for others.
    """

    latents: Tensor
    conditions: Mapping[str, Tensor]
    truth: Tensor | None = None

    def first(self, count: int) -> Inputs:
        """Those of the first `count` images."""
        return self._rows(slice(count))

    def split(self, size: int) -> Iterator[Inputs]:
        """Those of so many images at a time, of fewer at the end."""
        return (self._rows(slice(start, start + size)) for start in range(0, len(self.latents), size))

    def names_of_rows(self, columns: int, classes: Sequence[str]) -> list[str]:
        """Of a grid with one class a row the name of each row's class; [] for any other grid."""
        if "label" not in self.conditions:
            return []
        rows = self.conditions["label"].cpu().split(columns)
        return [classes[row[0]] for row in rows] if all((row == row[0]).all() for row in rows) else []

    def _rows(self, rows: slice) -> Inputs:
        conditions = {name: value[rows] for name, value in self.conditions.items()}
        return Inputs(self.latents[rows], conditions, None if self.truth is None else self.truth[rows])


class Sampler:
    """Draws with a network by a game's rules, in evaluation mode and float32.

    Args:
        game: how G is asked to draw.
        net: what draws; see `Players.drawing_net`.
        examples: gives real images, for games that draw beside some.
        seed: the run's, or a command's own; what is drawn depends on it, and on no device.
        device: where the network lies.
        average: the moving average whose network that is; where its weights have changed, batch norm's statistics are
            taken again before anything is drawn.
        statistics_of: of how many images.
        class_counts: of the data, images of each class; None where `examples` are asked what is known of an image.

    Attributes:
        net: what draws.
    """

    def __init__(
        self,
        game: Drawing,
        net: nn.Module,
        examples: Examples,
        seed: int,
        device: torch.device,
        average: MovingAverage | None = None,
        statistics_of: Count = STATISTICS_OF,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        self.net = net
        self._game = game
        self._average = average
        self._statistics_of = statistics_of
        self._examples = examples
        self._class_counts = class_counts
        self._seed = seed
        self._device = device

    def for_grid(self, purpose: str, count: int, columns: int, number: int = 0) -> Inputs:
        """Inputs for a grid of images.

        Args:
            purpose: what the images are for; different purposes never share latents.
            count: images.
            columns: images in a row of the grid.
            number: tells grids of one purpose apart, such as an iteration.
        """
        conditions = self._game.grid_conditions(count, columns, self._examples)
        if "label" in conditions:
            return self.of_classes(purpose, conditions["label"], number)
        return self._beside_truth(self._latents(purpose, count, number), conditions)

    def of_classes(self, purpose: str, label: Tensor, number: int = 0) -> Inputs:
        """Inputs for images of these classes, int64 [N]: of every class the first has the same latent, and so on.

        Args:
            purpose: see `for_grid`.
            label: the class of each image.
            number: see `for_grid`.
        """
        which = turns(label)
        latents = self._latents(purpose, int(which.max()) + 1, number)
        return Inputs(latents[which.to(self._device)], self._moved({"label": label}))

    def like_data(self, purpose: str, count: int) -> Inputs:
        """Inputs whose conditions come as often as in the data, classes as exactly as whole numbers do."""
        return self._beside_truth(self._latents(purpose, count), self._conditions_like_data(purpose, count))

    def like_these(self, purpose: str, real: Batch) -> Inputs:
        """Inputs with the conditions of real images, so that each generated image has what one of those has.

        Args:
            purpose: see `for_grid`.
            real: images as `Batch.as_float` gives them.
        """
        conditions = real.conditions if self._conditional else {}
        return Inputs(self._latents(purpose, len(real)), self._moved(conditions))

    def _beside_truth(self, latents: Tensor, conditions: Mapping[str, Tensor]) -> Inputs:
        of_pairs = SOURCE in conditions and TARGET not in conditions
        truth = self._examples(len(latents)).images.to(self._device) if of_pairs else None
        return Inputs(latents, self._moved(conditions), truth)

    def _conditions_like_data(self, purpose: str, count: int) -> Mapping[str, Tensor]:
        if not self._conditional:
            return {}
        if self.draws_pairs:
            return self._game.grid_conditions(count, 1, self._examples)
        if self._class_counts is None:
            return self._examples(count).conditions
        order = torch.randperm(count, generator=generator_for(self._seed, f"{purpose}: classes"))
        return {"label": as_often(self._class_counts, count)[order]}

    @property
    def draws_by_class(self) -> bool:
        """Whether G is given a class."""
        return "label" in self._game.grid_conditions(1, 1, self._examples)

    @cached_property
    def draws_pairs(self) -> bool:
        """Whether G is given a picture."""
        return SOURCE in self._game.grid_conditions(1, 1, self._examples)

    @cached_property
    def cells_of_a_picture(self) -> Sequence[str]:
        """What the cells of a grid show that belong to one image, from the left; see `cells`."""
        conditions = self._game.grid_conditions(1, 1, self._examples)
        if isinstance(self._game, DrawsBackwards):
            return CELLS_OF_A_CYCLE
        if SOURCE not in conditions:
            return ("output",)
        return CELLS_OF_A_PAIR if TRUTH in conditions or TARGET not in conditions else CELLS_OF_A_PAIR[:-1]

    @cached_property
    def _conditional(self) -> bool:
        """Whether G is given more than latents; if not, no real image need be brought for its sake."""
        return bool(self._game.grid_conditions(1, 1, self._examples))

    def draw(self, inputs: Inputs) -> list[Batch]:
        """Draw images, float32 [N, C, H, W] in [-1, 1], in batches."""
        self.refresh()
        was_training = self.net.training
        self.net.eval()
        with torch.no_grad():
            drawn = [self._drawn(part) for part in inputs.split(_BATCH)]
        self.net.train(was_training)
        return drawn

    def _drawn(self, inputs: Inputs) -> Batch:
        batch = self._game.generate(self.net, inputs.latents, inputs.conditions)
        if inputs.truth is None:
            return batch
        return Batch(batch.images, {**batch.conditions, TRUTH: inputs.truth})

    def refresh(self) -> None:
        """Compute the batch norm statistics of the average again if its weights have changed, or for more latents.

        The result depends only on the weights and the seed, not on earlier calls.
        """
        if self._average is None or self._average.statistics_of >= self._statistics_of:
            return
        if batch_norms(self.net):
            inputs = self.like_data("batch norm's statistics", self._statistics_of)
            draws = (partial(self._game.generate, self.net, z.latents, z.conditions) for z in inputs.split(_BATCH))
            take_statistics(self.net, draws)
        self._average.statistics_of = self._statistics_of

    def pictures(self, inputs: Inputs) -> Tensor:
        """Draw images, float32 [N, C, H, W] in [-1, 1]."""
        return torch.cat([batch.images for batch in self.draw(inputs)])

    def from_source(self, source: Tensor) -> Tensor:
        """Draw an image [1, C, H, W] in [-1, 1] from an image, [1, C', H, W], for games that draw from one."""
        return self.pictures(Inputs(self._latents("translated", 1), self._moved({SOURCE: source})))

    def cells(self, inputs: Inputs) -> Tensor:
        """Draw images as a grid shows them, float32 in [-1, 1].

        Of pairs each stands between its source and its truth, where that is known. Where images are drawn both ways,
        each stands between its source and what is drawn back from it, and beside it a target likewise.

        Returns:
            [N * len(cells_of_a_picture), C, H, W], where C is that of the image with most channels.
        """
        if isinstance(self._game, DrawsBackwards):
            batch = joined(self.draw(inputs))
            there = (batch.conditions[SOURCE], batch.images, batch.conditions[CYCLED])
            back = (batch.conditions[TARGET], batch.conditions[DRAWN_SOURCE], batch.conditions[CYCLED_TARGET])
            return _side_by_side((*there, *back))
        drawn = self.pictures(inputs)
        if SOURCE not in inputs.conditions:
            return drawn
        truth = inputs.conditions.get(TRUTH, inputs.truth)
        return _side_by_side((inputs.conditions[SOURCE], drawn, *([] if truth is None else [truth])))

    def _latents(self, purpose: str, count: int, number: int = 0) -> Tensor:
        generator = generator_for(self._seed, purpose, number)
        return self._game.latents(count, torch.device("cpu"), generator).to(self._device)

    def _moved(self, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self._device) for name, value in conditions.items()}


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Images [N, C, H, W] of any channels, those of one row side by side: [N * parts, C, H, W]."""
    channels = max(part.shape[1] for part in parts)
    return torch.stack([with_channels(part.float(), channels) for part in parts], 1).flatten(0, 1)
