"""The training loop, on one screen, and the run that it drives."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from gan_runner.health.symptoms import Observation
from gan_runner.record.journal import Journal, Standing
from gan_runner.training.best import Best
from gan_runner.training.checkpoint import RandomNumbers, State, Stateful
from gan_runner.training.experiment import Experiment
from gan_runner.training.log_point import LogPoint
from gan_runner.training.progress import Clock, Due, Progress, about, duration
from gan_runner.training.rollback import Rollback, respond
from gan_runner.training.threads import Threads
from gan_runner.trees import numbers

_WORTH_TELLING = 10.0  # seconds that are left
_TELLING_CHANGE = 0.01  # of a learning rate at a resume, as a share of it


def train(run: Run, stop_requested: Callable[[], bool]) -> None:
    """Train until the run has its full length, or until `stop_requested` says so.

    Raises:
        UserError: an alarm was raised and health.on_alarm is stop.
    """
    run.begin()
    while not run.finished and not stop_requested():
        due = run.play_turn()
        if due.log:
            run.log_point(due)
        elif run.overdue:
            run.save()
    if run.saved != run.progress.iteration:
        run.save()


class Run:
    """One run: an experiment, its progress, and its record.

    Args:
        experiment: what is trained.
        journal: where it is said.
        on_checkpoint: called when the state as it is now goes to checkpoints/last.pt.
    """

    def __init__(
        self, experiment: Experiment, journal: Journal, on_checkpoint: Callable[[], None] = lambda: None
    ) -> None:
        self.experiment = experiment
        self.journal = journal
        self.progress = Progress()
        self.best = Best(experiment.evaluation)
        self.saved: int | None = None  # the iteration that checkpoints/last.pt is of
        self._clock = Clock(self.progress)
        self._overdue = experiment.world.poll()
        self._on_checkpoint = on_checkpoint
        self._rates_before: dict[str, dict[str, float]] | None = None
        settings, watched = experiment.settings, experiment.watch.pictures
        self._columns, self._grid = experiment.grid_columns, experiment.pictures_in_grid
        sampler, most = experiment.sampler, max(self._grid, watched)
        in_grid = self._grid if sampler.draws_by_class else most  # rows of classes are chosen by how many there are
        self._fixed = sampler.for_grid("fixed latents", in_grid, self._columns).first(self._grid)
        self._measured = LogPoint(experiment, sampler.like_data("fixed latents", most).first(watched))
        self._rollback = Rollback(experiment)
        alone_on_cpu = experiment.compute.device.type == "cpu" and experiment.world.size == 1
        self.threads = Threads(may_change=settings.adapt_threads, watched=alone_on_cpu)
        self._state = State(
            self._about,
            {
                "progress": self._clock,
                "players": experiment.players,
                "step": experiment.step,
                "schedule": experiment.schedule,
                "watch": experiment.watch,
                "log_point": self._measured,
                "best": self.best,
                "rollback": self._rollback,
                "random": RandomNumbers(experiment.compute.device, experiment.world),
                **({"game": experiment.game} if isinstance(experiment.game, Stateful) else {}),
            },
        )

    def _about(self) -> dict[str, Any]:
        """What a checkpoint tells of the run besides its state."""
        images = self.experiment.images
        return {
            "image_shape": list(images.shape),
            "classes": list(images.classes),
            **({} if (source := self.experiment.kind.source) is None else {"source_shape": list(source)}),
            **({} if self.experiment.kind.partners else {"unpaired": True}),
            "class_counts": None if (counts := self.experiment.class_counts) is None else list(counts),
            "data_fingerprint": images.fingerprint,
            "device": self.experiment.compute.device.type,
            "precision": self.experiment.compute.precision,
            "processes": self.experiment.world.size,
            **self.threads.about(),
        }

    @property
    def finished(self) -> bool:
        """Whether the run has its full length, or is stopped early."""
        return self.best.gives_up or self.experiment.timetable.finished(self.progress)

    @property
    def epochs(self) -> float:
        """Epochs so far."""
        return self.experiment.timetable.epochs(self.progress)

    @property
    def seconds(self) -> float:
        """Time spent training, all starts together."""
        return self._clock.seconds

    def begin(self) -> None:
        """Save the initial state, to resume from and to roll back to."""
        self._rollback.remember_start(self._state.state_dict)
        if self.saved is None:
            self.save()

    def play_turn(self) -> Due:
        """Play one turn; gives what is due after it."""
        experiment, progress = self.experiment, self.progress
        before = dataclasses.replace(progress)
        share_done = experiment.timetable.share_done(progress)
        turn = experiment.schedule.next_turn(experiment.step, experiment.epoch)
        experiment.players.discriminator.set_rate(progress.d_steps, share_done)
        experiment.players.generator.set_rate(progress.g_steps, share_done)
        begun = time.perf_counter()
        with experiment.world.own_random_numbers(experiment.seed, progress.iteration):
            progress.position = experiment.step.play(turn, progress.position)
        news = self.threads.turn_took(time.perf_counter() - begun, turn.d_steps + turn.g_steps)
        progress.advance(turn, experiment.epoch.batch_size)
        self._clock.turn_played()
        self.journal.turn_played()
        self._say(news)
        if pace := self._clock.first_pace():
            self._tell_length(*pace)
        return experiment.timetable.due(before, progress)

    def _say(self, news: str | None) -> None:
        if news is not None:
            self.journal.say(news)

    def _tell_length(self, iterations: int, seconds: float) -> None:
        """Log the estimated remaining time, and the state of training."""
        each = seconds / iterations
        total = self.experiment.timetable.iterations(self.progress)
        if total is None:
            self.journal.say(f"{1000 * each:.0f} ms per iteration; how many there will be, the game decides.")
        elif (left := each * (total - self.progress.iteration)) > _WORTH_TELLING:
            self.journal.say(f"{1000 * each:.0f} ms per iteration: about {duration(left)} left.")
        in_minutes = self.experiment.settings.minutes is not None
        if in_minutes and (short := self.experiment.timetable.too_short(total)):
            self.journal.say(short)

    def _standing(self, point: Mapping[str, float], *, best: bool, evaluated: bool) -> Standing:
        """How the run stands after a log point.

        Args:
            point: what was measured.
            best: whether this is the best so far.
            evaluated: whether the evaluation was due.
        """
        experiment, progress, tag = self.experiment, self.progress, self.experiment.evaluation.objective
        settings, timetable = experiment.settings, experiment.timetable
        if settings.iterations is None and settings.minutes is None:
            where = f"epoch {self.epochs:.3g}/{timetable.epochs_in_all}"
        else:
            where = f"iteration {progress.iteration:,}"
        objective = ""
        if tag is not None and tag in self.best.metrics:
            name = experiment.evaluation.objective_in_words.removesuffix(" distance")
            objective = f"{name} {self.best.metrics[tag]:.3g}" + ", best" * (evaluated and best)
        total, pace = timetable.iterations(progress), self._clock.pace()
        left = ""
        if total is not None and total > progress.iteration and pace is not None:
            left = f"{about(pace[1] / pace[0] * (total - progress.iteration))} left"
        found = self.best.found
        return Standing(where, point, objective, left, None if found is None else found["value"])

    def _rates(self) -> dict[str, dict[str, float]]:
        """Each network's learning rate: as configured, at its last update, and at its next one."""
        players, share_done = self.experiment.players, self.experiment.timetable.share_done(self.progress)
        updates = {"d": self.progress.d_steps, "g": self.progress.g_steps}
        return {
            letter: {
                "configured": player.configured_rate,
                "last": player.rate,
                "next": player.rate_at(updates[letter], share_done),
            }
            for letter, player in players.by_letter().items()
        }

    def tell_changed_rates(self) -> None:
        """Log which learning rates this start's settings change, compared with the checkpoint's."""
        before, now = self._rates_before or {}, self._rates()
        for letter, planned in before.items():
            rates = now[letter]
            if math.isclose(planned["next"], rates["next"], rel_tol=_TELLING_CHANGE):
                continue
            if math.isclose(planned["configured"], rates["configured"], rel_tol=_TELLING_CHANGE):
                why = "its schedule (learning_rate) or the length of the run has changed"
            else:
                why = f"the configured rate (optimizer.{letter}.lr) has changed"
            self.journal.say(
                f"{letter.upper()}'s learning rate goes from {planned['last']:.3g} to {rates['next']:.3g}: {why}."
            )

    def tell_outcome(self) -> None:
        """Log the best and the last value of the objective."""
        objective, found = self.experiment.evaluation.objective, self.best.found
        if self.best.gives_up:
            self.journal.say(
                f"Ended at iteration {self.progress.iteration}: {objective} has not improved for {self.best.since} "
                "evaluations (evaluation.stop_after)."
            )
        if objective is not None and found is not None:
            last = self.best.measured_at or self.progress.iteration  # checkpoints of earlier versions do not know
            now = self.best.metrics[objective]
            self.journal.say(
                f"{self.experiment.evaluation.objective_in_words}: {found['value']:.4g} at iteration "
                f"{found['iteration']:,.0f} (best.pt), {now:.4g} at {last:,} (last)."
            )
            self.journal.say(self.experiment.evaluation.scale)

    def log_point(self, due: Due) -> None:
        """Measure, and do what is due."""
        iteration, epochs, journal = self.progress.iteration, self.epochs, self.journal
        here, world = self._measured.measure(self.progress), self.experiment.world
        point, references = world.broadcast(lambda: (here, self._measured.references))
        best = False
        if due.evaluation:
            metrics, judged = world.broadcast(self._evaluated)
            point |= metrics
            if not self.best.metrics:
                self._say(self.experiment.evaluation.scale)
            best = self.best.offer(metrics, iteration, early=due.early)
            references = references | judged
        seen, alarms = self.experiment.watch.look(point | references, self.progress.moment, self._not_finite())
        journal.point(point | seen, iteration, round(epochs, 4))
        standing = self._standing(point, best=best, evaluated=due.evaluation)
        journal.tell(standing, due=due.samples or due.evaluation)
        if due.samples and world.first:
            self._save_samples()
        if due.checkpoint:
            self._rollback.remember(self._state.state_dict)
        if best:  # before a rollback changes the weights that were measured
            self.save(best=True)
        for alarm in alarms:
            journal.alarm(alarm.name, alarm.message, alarm.iteration)
        rolled_back = respond(alarms, self.experiment, self._rollback, iteration, self.saved)
        if rolled_back:
            self._measured.look_away(self.progress)
        if due.checkpoint and (rolled_back or self.saved != iteration):
            self.save()

    def _evaluated(self) -> tuple[dict[str, float], dict[str, float]]:
        """The evaluation's numbers, and what alarms look at of them."""
        metrics = self.experiment.evaluate()
        return metrics, self.experiment.evaluation.for_alarms(metrics)

    def _not_finite(self) -> Observation | None:
        """What became NaN or infinite, and since when; None while everything is finite."""
        first_bad = self.experiment.step.finite.first_bad()
        if first_bad is not None:
            return Observation(
                "a loss is NaN or infinite", dataclasses.replace(self.progress.moment, iteration=first_bad)
            )
        whose = self.experiment.players.not_finite()
        return Observation(whose) if whose is not None else None

    def _save_samples(self) -> None:
        sampler, iteration = self.experiment.sampler, self.progress.iteration
        fresh = sampler.for_grid("fresh latents", self._grid, self._columns, iteration)
        names = self._fixed.names_of_rows(self._columns, self.experiment.images.classes)
        self.journal.samples(sampler.cells(self._fixed), sampler.cells(fresh), iteration, names)

    def show_real_images(self) -> None:
        """Put a grid of real images on the dashboard, as D is shown them."""
        self.journal.real_images(self.experiment.examples(self._grid, as_shown=True).images, self.progress.iteration)

    def write_timeline(self) -> None:
        """Write the timeline from the grids so far, captioned by epoch, or by iteration where intervals are those."""
        self.journal.timeline(self.progress.iteration, by_epoch=self.experiment.settings.intervals_in == "epochs")

    # ---- checkpoints ------------------------------------------------------------------------------------

    @property
    def overdue(self) -> bool:
        """Whether the last checkpoint is too long ago."""
        return bool(self._overdue(self._clock.minutes_since_saved >= self.experiment.settings.checkpoint_minutes))

    def save(self, *, best: bool = False) -> None:
        """Write checkpoints, unless something became NaN or infinite: then the one that is there is kept."""
        self._clock.note_saved()
        if self._not_finite() is not None:
            return
        if not self.finished:
            self._say(self.threads.change_at_checkpoint(self.progress.iteration))
        self.experiment.sampler.refresh()  # so that whoever loads the average's weights has its statistics too
        keep = self.experiment.settings.keep
        self.journal.checkpoint(self.state_dict(), best=best, keep=None if keep == "all" else keep)
        self.saved = self.progress.iteration
        self._on_checkpoint()

    def state_dict(self) -> dict[str, Any]:
        """The whole state, copied: what a run needs to be resumed bit-exactly."""
        return self._rollback.shared_with(self._state.state_dict()) | {"rates": self._rates()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self._state.load_state_dict(state)
        self.threads.go_on(state["about"], self.progress.iteration)
        rates = state.get("rates")  # checkpoints of earlier versions have none
        self._rates_before = rates and {letter: numbers(planned) for letter, planned in rates.items()}
        if self.best.measured_otherwise(state["best"]):
            self.experiment.watch.forget_what_was_judged()
        self.saved = self.progress.iteration
