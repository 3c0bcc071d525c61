"""Everything that a run trains with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import nn

from gan_runner.data import Batch, ImageSet, Loader
from gan_runner.data.classes import class_counts
from gan_runner.data.image_set import Kind, kind_of
from gan_runner.games import Examples, Game
from gan_runner.health.watch import Health
from gan_runner.metrics import Evaluation, NoEvaluation, RealImages
from gan_runner.optim.averages import MovingAverage
from gan_runner.record.loggers import Logger
from gan_runner.seeds import derived_seed
from gan_runner.training.devices import Compute
from gan_runner.training.distributed import ALONE, World
from gan_runner.training.player import Players
from gan_runner.training.progress import Timetable
from gan_runner.training.pruning import Pruning
from gan_runner.training.sampler import (
    STATISTICS_OF,
    STATISTICS_TO_WATCH,
    Sampler,
    held_out_examples,
)
from gan_runner.training.schedules import Choosy, EpochLength, Schedule
from gan_runner.training.settings import Trainer
from gan_runner.training.train_step import TrainStep


@dataclass
class Experiment:
    """Everything that a run trains with, made from a config.

    Attributes:
        held_out_pairs: of pairs of images those that nothing is trained on, whose sources grids and evaluations are
            drawn from; None for other data, and where all pairs train.
    """

    settings: Trainer
    seed: int
    compute: Compute
    images: ImageSet
    loader: Loader
    game: Game
    players: Players
    schedule: Schedule
    step: TrainStep
    watch: Health
    evaluation: Evaluation | NoEvaluation
    pruning: Pruning | None
    logger: Logger
    world: World = field(default=ALONE)
    held_out_pairs: ImageSet | None = None

    def __post_init__(self) -> None:
        """Refuse a schedule that cannot follow the game."""
        if isinstance(self.schedule, Choosy):
            self.schedule.check(classifies=self.game.classifies)

    @property
    def epoch(self) -> EpochLength:
        """How long an epoch is."""
        return EpochLength(len(self.images), self.settings.batch_size)

    @cached_property
    def timetable(self) -> Timetable:
        """What is due when."""
        return Timetable(self.settings, self.epoch, self.schedule.d_steps_per_turn, self.evaluation.every)

    @cached_property
    def kind(self) -> Kind:
        """What kind of images the data are."""
        return kind_of(self.images)

    @property
    def grid_columns(self) -> int:
        """Cells in a row of a grid; of pairs an image that is drawn takes several."""
        cells = len(self.cells_of_a_picture)
        return max(1, self.settings.sample_columns // cells) * cells

    @property
    def pictures_in_grid(self) -> int:
        """Pictures that are drawn for a grid."""
        return self.grid_columns // len(self.cells_of_a_picture) * self.settings.sample_rows

    @property
    def cells_of_a_picture(self) -> Sequence[str]:
        """See `Sampler`."""
        return self.sampler.cells_of_a_picture

    @cached_property
    def class_counts(self) -> tuple[int, ...] | None:
        """See `gan_runner.data.classes.class_counts`."""
        return class_counts(self.images)

    @cached_property
    def sampler(self) -> Sampler:
        """Draws with the moving average if there is one, otherwise with G."""
        return self._sampler(self.players.drawing_net, self.players.average)

    @cached_property
    def sampler_to_watch(self) -> Sampler:
        """Draws as `sampler` does but for batch norm's statistics, which are of fewer images."""
        return self._sampler(self.players.drawing_net, self.players.average, STATISTICS_TO_WATCH)

    @cached_property
    def sampler_of_g(self) -> Sampler:
        """Draws with G itself."""
        return self._sampler(self.players.generator.net)

    def _sampler(
        self, net: nn.Module, average: MovingAverage | None = None, statistics_of: int = STATISTICS_OF
    ) -> Sampler:
        return Sampler(
            self.game,
            net,
            self.examples if self.held_out_pairs is None else self._held_out_examples,
            self.seed,
            self.compute.device,
            average,
            statistics_of=statistics_of,
            class_counts=self.class_counts,
        )

    def examples(self, count: int, as_shown: bool = False) -> Batch:
        """Real images to show and to compare with, float32 in [-1, 1], always the same ones.

        Args:
            count: how many.
            as_shown: as D is shown them: `data.flip` mirrors some, `data.random_crop` crops them.
        """
        return self.loader.sample(count, derived_seed(self.seed, "real images"), as_shown).as_float()

    @cached_property
    def _held_out_examples(self) -> Examples:
        assert self.held_out_pairs is not None, "without them training pairs are drawn"
        return held_out_examples(self.held_out_pairs)

    def evaluate(self, only: Collection[str] | None = None) -> dict[str, float]:
        """Measure samples as the evaluation says, by tag; {} if nothing is measured.

        Args:
            only: see `Evaluation.measure`.
        """
        if not self.evaluation.tags:
            return {}
        count = self.evaluation.num_images
        real = RealImages(self.loader, derived_seed(self.seed, "real images"))
        fake = self.sampler.draw(self.sampler.like_data("evaluation latents", count))
        return self.evaluation.measure(real, fake, only)
