"""Everything that a run trains with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property

from gan_runner.data import Batch, ImageSet, Loader
from gan_runner.games import Game
from gan_runner.health.watch import Watch
from gan_runner.metrics import Evaluation, RealImages
from gan_runner.record.tensorboard import TensorBoard
from gan_runner.seeds import derived_seed
from gan_runner.training.devices import Compute
from gan_runner.training.distributed import ALONE, World
from gan_runner.training.player import Players
from gan_runner.training.progress import Timetable
from gan_runner.training.pruning import Median
from gan_runner.training.sampler import STATISTICS_TO_WATCH, Sampler
from gan_runner.training.schedules import Choosy, EpochLength, Schedule
from gan_runner.training.settings import Trainer
from gan_runner.training.train_step import TrainStep


@dataclass
class Experiment:
    """Everything that a run trains with, made from a config."""

    settings: Trainer
    seed: int
    compute: Compute
    images: ImageSet
    loader: Loader
    game: Game
    players: Players
    schedule: Schedule
    step: TrainStep
    watch: Watch
    evaluation: Evaluation
    pruning: Median | None
    dashboard: TensorBoard
    world: World = field(default=ALONE)

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
    def sampler(self) -> Sampler:
        """Draws with the moving average where there is one, else with G."""
        net, average = self.players.drawing_net, self.players.average
        return Sampler(self.game, net, self.examples, self.seed, self.compute.device, average)

    @cached_property
    def sampler_to_watch(self) -> Sampler:
        """Draws as `sampler` does but for batch norm's statistics, which are of fewer pictures."""
        net, average = self.players.drawing_net, self.players.average
        return Sampler(
            self.game, net, self.examples, self.seed, self.compute.device, average, statistics_of=STATISTICS_TO_WATCH
        )

    @cached_property
    def sampler_of_g(self) -> Sampler:
        """Draws with G itself."""
        return Sampler(self.game, self.players.generator.net, self.examples, self.seed, self.compute.device)

    def examples(self, count: int) -> Batch:
        """Real images to show and to compare with, float32 in [-1, 1], always the same ones."""
        return self.loader.sample(count, derived_seed(self.seed, "real images")).as_float()

    def evaluate(self, only: Collection[str] | None = None) -> dict[str, float]:
        """Measure what is drawn as the evaluation says, by tag; {} where nothing is measured.

        Args:
            only: see `Evaluation.measure`.
        """
        if not self.evaluation.tags:
            return {}
        count = self.evaluation.num_images
        real = RealImages(self.loader, derived_seed(self.seed, "real images"))
        fake = self.sampler.draw(self.sampler.like_data("evaluation latents", count))
        return self.evaluation.measure(real, fake, only)
