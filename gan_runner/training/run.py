"""The training loop, and what happens at its log points."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gan_runner.commands.sample import draw
from gan_runner.config.build import Experiment
from gan_runner.errors import UserError
from gan_runner.games.adversarial import accuracy_of
from gan_runner.health.watch import Alarm, Sighting
from gan_runner.metrics.diversity import mean_pairwise_distance
from gan_runner.record.pictures import grid, to_uint8
from gan_runner.record.run_folder import CheckpointName, RunDirectory
from gan_runner.record.tensorboard import EventFile
from gan_runner.training.meters import Reading
from gan_runner.training.player import Player
from gan_runner.training.progress import Agenda, Due, Progress
from gan_runner.training.train_step import as_float

log = logging.getLogger(__name__)

# Seeds of what is drawn beside the training, kept apart from each other and from the run's own numbers.
FIXED_LATENTS, RANDOM_LATENTS, EVALUATION_LATENTS, REAL_IMAGES = 1, 2, 3, 4


def train(run: Run, stop_requested: Callable[[], bool]) -> None:
    """Train until the run is as long as it was asked to be, or until `stop_requested` says so.

    Raises:
        UserError: an alarm was raised and health.on_alarm is stop.
    """
    while not run.agenda.finished(run.progress):
        if stop_requested():
            run.save("last")
            return
        run.iterate()


class Run:
    """One run: an experiment, how far it has come, and where it writes.

    Args:
        experiment: what is trained.
        directory: the run's folder.
        events: this start's event file.
        bar: the progress bar.
        on_checkpoint: called when the state as it is now goes to checkpoints/last.pt.
    """

    def __init__(
        self,
        experiment: Experiment,
        directory: RunDirectory,
        events: EventFile,
        bar: tqdm[Any],
        on_checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        self.experiment = experiment
        self.directory = directory
        self.events = events
        self.progress = Progress()
        evaluation = experiment.evaluation
        self.agenda = Agenda(
            experiment.settings,
            experiment.pace,
            experiment.schedule.d_steps_per_turn,
            evaluation.every if evaluation is not None else None,
        )
        self.best: dict[str, float] | None = None
        self.metrics: dict[str, float] = {}
        self._bar = bar
        self._on_checkpoint = on_checkpoint
        self._d_seen = experiment.stepper.read_d()
        self._g_seen = experiment.stepper.read_g()
        self._started = self._looked = time.perf_counter()
        self._images_seen = 0
        self._rollbacks = 0
        self._moments: list[dict[str, Any]] = []  # that a rollback may go back to, oldest first
        self._saved: int | None = None  # the iteration that checkpoints/last.pt is of

        count = experiment.settings.sample_columns * experiment.settings.sample_rows
        watched = max(count, experiment.watch.pictures)
        self._fixed_latents = self._latents(watched, FIXED_LATENTS)
        real = as_float(experiment.feed.sample(experiment.watch.pictures, REAL_IMAGES))
        self._real_distance = mean_pairwise_distance(real)
        self._sample_count = count

    def _players(self) -> dict[str, Player]:
        return {"d": self.experiment.discriminator, "g": self.experiment.generator}

    def _latents(self, count: int, purpose: int) -> Tensor:
        """Latents that depend on the run's seed and on what they are for, and on no device."""
        generator = torch.Generator().manual_seed(self.experiment.seed * 1000 + purpose)
        cpu = torch.device("cpu")
        return self.experiment.latent.sample(count, cpu, generator).to(self.experiment.device)

    def iterate(self) -> None:
        """Play one turn, and do what is due after it."""
        experiment, progress = self.experiment, self.progress
        before = dataclasses.replace(progress)
        share_done = self.agenda.share_done(progress)
        turn = experiment.schedule.next_turn(experiment.stepper, experiment.pace)
        experiment.discriminator.set_rate(progress.d_steps, share_done)
        experiment.generator.set_rate(progress.g_steps, share_done)
        progress.position = experiment.stepper.play(turn, progress.position)
        progress.advance(turn, experiment.pace.batch_size)
        self._look(self.agenda.due(before, progress))

    # ---- log points -------------------------------------------------------------------------------------

    def _look(self, due: Due) -> None:
        """Do what is due after a turn."""
        self._bar.update()
        if not due.log:
            return
        iteration = self.progress.iteration
        point = self._measure()
        if due.evaluation:
            self.metrics = self._evaluate()
            point |= self.metrics
        seen, alarms = self.experiment.watch.look(point, iteration, self._not_finite())
        point |= seen
        self.directory.append_metrics({"iteration": iteration, "epoch": self._epochs(), **point})
        self.events.scalars(point, iteration)
        self._tell(point, due.epoch_ended or due.samples)
        if due.samples:
            self._save_samples()
        if due.checkpoint:
            self._remember()
        if due.evaluation and self._is_best():
            # Before a rollback changes the weights that were measured. The last one too: a resume goes on from it, and
            # must know of the best.
            self.save("best", "last")
        rolled_back = self._handle(alarms)
        if due.checkpoint and (rolled_back or self._saved != iteration):
            self.save("last")

    def _measure(self) -> dict[str, float]:
        """Everything that a log point records; waits for the device."""
        experiment = self.experiment
        d_now, g_now = experiment.stepper.read_d(), experiment.stepper.read_g()
        of_g = g_now.means_since(self._g_seen)
        # D's own measurements come last, for they are of the same images for all its scalars.
        point = of_g | d_now.means_since(self._d_seen)
        self._d_seen, self._g_seen = d_now, g_now
        if experiment.penalty is None:
            point.pop("penalty/d", None)
        if "accuracy/d_real" in point:
            point["accuracy/d"] = accuracy_of(point)
        for name, player in self._players().items():
            if f"loss/{name}" in point:
                point[f"grad_norm/{name}"] = float(player.gradient_norm())
            point[f"learning_rate/{name}"] = player.rate
        point["health/diversity"] = self._diversity()
        point |= experiment.schedule.status()
        point["speed/images_per_second"] = self._speed()
        return point

    def _diversity(self) -> float:
        images = draw(self.experiment.drawing_net, self._fixed_latents[: self.experiment.watch.pictures])
        return float(mean_pairwise_distance(images) / self._real_distance)

    def _speed(self) -> float:
        now = time.perf_counter()
        speed = (self.progress.images - self._images_seen) / (now - self._looked)
        self._images_seen, self._looked = self.progress.images, now
        return speed

    def _epochs(self) -> float:
        return round(self.agenda.epochs(self.progress), 4)

    def _evaluate(self) -> dict[str, float]:
        experiment, evaluation = self.experiment, self.experiment.evaluation
        assert evaluation is not None
        count = evaluation.num_images
        real = as_float(experiment.feed.sample(count, REAL_IMAGES))
        return evaluation.measure(real, draw(experiment.drawing_net, self._latents(count, EVALUATION_LATENTS)))

    def _is_best(self) -> bool:
        evaluation = self.experiment.evaluation
        assert evaluation is not None
        value = self.metrics[evaluation.objective]
        if not evaluation.improves(value, self.best["value"] if self.best else None):
            return False
        self.best = {"value": value, "iteration": self.progress.iteration}
        return True

    def _yardstick(self) -> dict[str, str | int] | None:
        return self.experiment.evaluation.yardstick if self.experiment.evaluation is not None else None

    def _tell(self, point: dict[str, float], in_log: bool) -> None:
        def shown(tag: str) -> str:
            return f"{point[tag]:.3f}" if tag in point else "-"

        state = (
            f"loss D {shown('loss/d')} G {shown('loss/g')}, D right {shown('accuracy/d')}, "
            f"{point['speed/images_per_second']:,.0f} images/s"
        )
        epoch = _epoch(self.agenda.epochs(self.progress))
        self._bar.set_description_str(epoch, refresh=False)
        self._bar.set_postfix_str(state)
        if in_log:
            log.info("%s, iteration %d: %s", epoch, self.progress.iteration, state)

    def _save_samples(self) -> None:
        experiment, iteration = self.experiment, self.progress.iteration
        columns = experiment.settings.sample_columns
        fixed = to_uint8(draw(experiment.drawing_net, self._fixed_latents[: self._sample_count]))
        fresh = self._latents(self._sample_count, RANDOM_LATENTS + 10 * iteration)
        random = to_uint8(draw(experiment.drawing_net, fresh))
        self.directory.save_samples(fixed, columns, iteration)

        def to_dashboard() -> None:
            self.events.image("samples/fixed", grid(fixed, columns), iteration)
            self.events.image("samples/random", grid(random, columns), iteration)

        self.directory.in_background(to_dashboard)

    def show_real_images(self) -> None:
        """Put a grid of real images on the dashboard, to compare with."""
        experiment = self.experiment
        real = to_uint8(as_float(experiment.feed.sample(self._sample_count, REAL_IMAGES)))
        self.events.image("data/real", grid(real, experiment.settings.sample_columns), self.progress.iteration)

    def captions(self) -> dict[int, str]:
        """Names of the grids of iterations: by epoch, or none where intervals are iterations."""
        if self.experiment.settings.intervals_in == "iterations":
            return {}
        return {point["iteration"]: _epoch(point["epoch"]) for point in self.directory.read_metrics()}

    # ---- alarms -----------------------------------------------------------------------------------------

    def _handle(self, alarms: list[Alarm]) -> bool:
        """Tell of alarms, and do what health.on_alarm says; gives whether the players were rolled back."""
        watch = self.experiment.watch
        for alarm in alarms:
            log.warning("Alarm at iteration %d: %s", alarm.iteration, alarm.message)
            self.events.text(f"health/{alarm.name}", alarm.message, alarm.iteration)
        if not alarms or watch.on_alarm == "warn":
            return False
        since = min(alarm.since for alarm in alarms)
        if watch.on_alarm == "rollback" and self._rollbacks < watch.max_rollbacks and self._roll_back(since):
            return True
        facts = []
        if watch.on_alarm == "rollback" and self._rollbacks >= watch.max_rollbacks:
            facts.append(f"health.max_rollbacks is {watch.max_rollbacks}, and {self._rollbacks} were made.")
        elif watch.on_alarm == "rollback":
            facts.append(f"There is no checkpoint from before iteration {since} to roll back to.")
        if self._saved is None:
            facts.append("No checkpoint has been saved.")
        else:
            facts.append(f"The last checkpoint is of iteration {self._saved}.")
        raise UserError(
            f"health.on_alarm is {watch.on_alarm}, and an alarm was raised: {alarms[0].message}",
            " ".join([*facts, "To train on all the same: health.on_alarm=warn."]),
        )

    def _not_finite(self) -> Sighting | None:
        """What has left the finite numbers, and since when; None while nothing has."""
        first_bad = self.experiment.stepper.finite.first_bad()
        if first_bad is not None:
            return Sighting("a loss is no finite number", first_bad)
        for name, player in self._players().items():
            if not player.finite():
                return Sighting(f"{name.upper()}'s weights have no finite norm", self.progress.iteration)
        return None

    def _remember(self) -> None:
        """Keep this moment to roll back to, and of the earlier ones those that a coming alarm may ask for."""
        watch = self.experiment.watch
        if watch.on_alarm != "rollback":
            return
        self._moments.append(self._moment())
        wanted = [self._newest_before(iteration) for iteration in (*watch.suspects, math.inf)]
        self._moments = [moment for moment in self._moments if any(moment is each for each in wanted)]

    def _newest_before(self, iteration: float) -> dict[str, Any] | None:
        """The newest of the moments from before an iteration; None where there is none."""
        older = (moment for moment in reversed(self._moments) if moment["progress"]["iteration"] < iteration)
        return next(older, None)

    def _roll_back(self, since: int) -> bool:
        """Take the players back to before a symptom began, and slow them down; False where nothing is that old."""
        moment = self._newest_before(since)
        if moment is None:
            return False
        self._moments = [each for each in self._moments if each["progress"]["iteration"] < since]
        experiment = self.experiment
        state = copy.deepcopy(moment)  # what is loaded is trained on
        slowing = {name: player.slowing for name, player in self._players().items()}
        # Counters and random numbers go on, or the same would happen again.
        experiment.load_players(state)
        experiment.stepper.load_state_dict(state["stepper"])
        experiment.stepper.finite.restart(self.progress.iteration)
        experiment.schedule.load_state_dict(state["schedule"])  # for it has read totals that are gone
        self._d_seen, self._g_seen = experiment.stepper.read_d(), experiment.stepper.read_g()
        for name, player in self._players().items():
            player.slowing = slowing[name] * experiment.watch.rollback_rate  # of now, so that rollbacks add up
        experiment.watch.forget()
        self._rollbacks += 1
        log.warning(
            "Rolled back to iteration %d. The learning rates are %g times the configured ones.",
            state["progress"]["iteration"],
            experiment.generator.slowing,
        )
        return True

    # ---- checkpoints ------------------------------------------------------------------------------------

    def save(self, *names: CheckpointName) -> None:
        """Write checkpoints, unless the run has left the finite numbers: then the one that is there is kept."""
        if self._not_finite() is not None:
            return
        self.directory.save_checkpoint(self.state_dict(), names)
        if "last" in names:
            self._saved = self.progress.iteration
            self._on_checkpoint()

    def seconds(self) -> float:
        """Time spent training, all starts together."""
        return self.progress.seconds + time.perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """The whole state, copied: what a run needs to go on as if it had never stopped."""
        return self._moment() | {"moments": list(self._moments)}

    def _moment(self) -> dict[str, Any]:
        """The state as it is now, copied, without the earlier ones to roll back to."""
        progress = dataclasses.asdict(self.progress) | {"seconds": self.seconds()}
        return {
            **self.experiment.state_dict(),
            "progress": progress,
            "seen": [dataclasses.asdict(self._d_seen), dataclasses.asdict(self._g_seen)],
            "best": self.best,
            "yardstick": self._yardstick(),
            "metrics": self.metrics,
            "rollbacks": self._rollbacks,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.experiment.load_state_dict(state)
        self.progress = Progress(**state["progress"])
        self._d_seen, self._g_seen = (Reading(**seen) for seen in state["seen"])
        self.best, self.metrics = state["best"], state["metrics"]
        if self.best is not None and state["yardstick"] != self._yardstick():
            self.best = None
            log.info("The best so far was measured by another evaluation; the search for it begins anew.")
        self._rollbacks = state["rollbacks"]
        self._moments = state["moments"]
        self._saved = self.progress.iteration
        self._images_seen = self.progress.images


def _epoch(number: float) -> str:
    """Name an epoch in four digits, and in more where it has as many before the point."""
    return f"epoch {number:.4g}" if number < 1000 else f"epoch {number:.0f}"
