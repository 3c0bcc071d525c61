"""A run from start to end: check, build, train, evaluate, and always leave a record."""

from __future__ import annotations

import contextlib
import copy
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from omegaconf import OmegaConf, read_write

from gan_runner import tags
from gan_runner.building.parts import Parts, names_in, only, trusting
from gan_runner.config.build import NETWORKS, build, make, refuse_other_networks
from gan_runner.config.checking import check, too_much_asked
from gan_runner.config.hyperparameters import hyperparameters_of
from gan_runner.config.stored import Stored, read_stored, to_store
from gan_runner.contracts import hold_to
from gan_runner.data.unread import counted
from gan_runner.errors import FirstError, UserError, mark_as_told, problem_of
from gan_runner.machine import shell
from gan_runner.override import key_of
from gan_runner.record.journal import Journal, RunJournal, Standing
from gan_runner.record.loggers import Hyperparameters, Logger, RunToLog, opened_log
from gan_runner.record.progress_bar import progress_bar
from gan_runner.record.run_folder import RunFolder
from gan_runner.record.summary import Summary
from gan_runner.runs.introduction import introduce, what_is_better, what_is_trained
from gan_runner.runs.judging import report_of_checkpoint, tell_report
from gan_runner.runs.outcome import outcome_of
from gan_runner.runs.resuming import refuse_changes, refuse_other_data, refusing_what_does_not_fit
from gan_runner.runs.start import Start
from gan_runner.runs.stopping import Stop
from gan_runner.training.devices import choose_device, precision_to_go_on, tell_other_arithmetic
from gan_runner.training.distributed import World, init_processes
from gan_runner.training.experiment import Experiment
from gan_runner.training.first_look import first_look
from gan_runner.training.loop import Run, train
from gan_runner.training.progress import duration
from gan_runner.training.threads import choose_threads

log = logging.getLogger(__name__)

# The scalars of the HPARAMS page besides the evaluation's metrics.
_TELLING_SCALARS = (tags.ACCURACY_D, tags.LOSS_D, tags.LOSS_G, tags.DIVERSITY, tags.SPEED)


@dataclass(frozen=True)
class Within:
    """The settings that a sweep passes to its jobs.

    Attributes:
        asked_to_stop: whether all jobs are to save and end.
        measured_at: the values of finished jobs: see `SweepFolder.measured_at`.
        failed_so: whether another job has failed for the same reason, which was then printed already.
        parts: the components that it may build if the jobs were read from the sweep's folder; None if they were typed.
        again: an earlier start was interrupted before it saved anything, and is repeated in its folder.
        bar: whether it may show its own progress bar.
        listener: called with the progress at each log point.
    """

    asked_to_stop: Callable[[], bool]
    measured_at: Callable[[str, int, str], list[float]]
    failed_so: Callable[[str], bool]
    parts: Parts | None
    again: bool
    bar: bool
    listener: Callable[[Standing], None]


def run_job(start: Start, within: Within | None = None) -> float | None:
    """Train a run, and always leave a record.

    Args:
        start: the run's config and folder.
        within: if the run is a job of a sweep.

    Returns:
        The best objective for sweepers that search, which minimise: its negative if higher is better; None if there
        is no evaluation.

    Raises:
        UserError: an error that the user can correct.
        SystemExit: the run was interrupted, with 128 and the signal's number, as 130 (SIGINT), 143 (SIGTERM) or 138
            (SIGUSR1), after it has saved; or a second time, before it could. With 1: the user's own component has
            called sys.exit.
    """
    world = init_processes()
    folder = RunFolder(start.folder)
    job = _Job(start, folder, world, within)
    if not world.first:
        _take_part(job)
        return None
    try:
        _check(start)
    except UserError as error:
        if start.job:  # the job's folder is kept, with the error in its log
            _tell_failure(error, within)
            job.log_failure_to_begin()
        elif job.stored is None:
            folder.discard_unbegun()
        raise
    stop = Stop(within.asked_to_stop if within else lambda: False, world)
    # Until the record is complete: torchrun sends a signal to the others as soon as one process has failed.
    with contextlib.closing(folder), stop:
        if job.stored is not None:
            folder.claim("resume", new=False)
            job.look_up_what_was_logged()
        else:
            folder.claim("hydra.sweep.dir" if start.job else "hydra.run.dir", new=not job.again)
            job.begin()
            if job.again:
                job.look_up_what_was_logged()
                folder.rewind_metrics(0)
        try:
            with too_much_asked():
                _train(job, stop, within)
                if not stop.signal and not job.pruned and job.begun:
                    _look_closely(job)
                stopped_by = stop.signal
                job.write("interrupted" if stopped_by else "pruned" if job.pruned else "finished")
        except Exception as error:
            if stop.left is not None:  # raised by a library during the exit
                job.write_after_failure("interrupted")
                sys.exit(stop.left)
            told = world.to_tell(error)
            assert told is not None, "the first process reports errors"
            _tell_failure(told, within)
            job.write_after_failure("failed", str(told) or repr(told))
            job.log_failure_to_begin()
            if told is not error:
                raise told from error
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and stop.left is None:
                log.exception("A component of your own has called sys.exit.")
                job.write_after_failure("failed", f"sys.exit({error.code})")
                sys.exit(1)
            job.write_after_failure("interrupted")
            raise
        if stopped_by:
            command = shell.command_line(["gan-run", f"resume={folder.path}"])
            and_then = f"To resume: {command}" if folder.checkpoints.any() else "Nothing was saved."
            log.info("Interrupted by %s. %s", stopped_by.name, and_then)
            sys.exit(128 + stopped_by)
    if within is None:  # the sweep prints its own
        job.tell_what_to_do_next()
    return job.to_minimise()


def _tell_failure(error: Exception, within: Within | None) -> None:
    """Log why the run fails, and print it unless another job of its sweep has failed for the same reason."""
    repeated = {"repeated": within is not None and within.failed_so(problem_of(error))}
    if isinstance(error, UserError):
        log.error("%s", error, extra=repeated)
    else:
        log.exception("This is a bug, in gan-runner or in a component of your own.", extra=repeated)
    mark_as_told(error)


def _take_part(job: _Job) -> None:
    """Train in a process other than the first, which keeps the record.

    Raises:
        SystemExit: the run was interrupted.
    """
    _check(job.start)
    stop = Stop(lambda: False, job.world)
    with contextlib.closing(job.folder), stop, too_much_asked():
        experiment, state, _ = _made(job, stop)
        with contextlib.closing(experiment.loader):
            run = Run(experiment, Journal())
            if not _go_on(job, run, state):
                train(run, stop.wanted)
    if stop.signal and not run.finished:
        sys.exit(128 + stop.signal)


def _made(job: _Job, stop: Stop) -> tuple[Experiment, dict[str, Any] | None, dict[str, str]]:
    """Build the experiment and test it on one batch; returns it, the checkpoint and the tables of layers."""
    config = job.config
    if job.stored is not None and not config.resume_force:
        refuse_changes(config.resume, job.stored, config)
    state = job.world.broadcast(job.checkpoint)
    device = choose_device(job.world.device(config.trainer.device), "trainer.device")
    if state and config.trainer.precision == "auto":
        config = copy.deepcopy(config)  # the stored config keeps `auto`
        config.trainer.precision = precision_to_go_on(state, device)
    threads = OmegaConf.select(config, "trainer.threads", default="auto")  # runs of earlier versions have none
    choose_threads(threads, device, state["about"] if state else None, job.world)
    with stop.at_once(), job.only_its_parts():
        if state and not config.resume_force:
            players = state["players"]
            refuse_other_networks(config, state["about"], {name: players[name]["net"] for name in NETWORKS})
        experiment = build(config, job.world)
    if state:
        tell_other_arithmetic(state["about"], experiment.compute, job.world)
    if state and not config.resume_force:
        refuse_other_data(config.resume, state["about"]["data_fingerprint"], experiment.images)
    with stop.at_once():
        first_look(experiment)
        return experiment, state, introduce(experiment)


def _go_on(job: _Job, run: Run, state: dict[str, Any] | None) -> bool:
    """Load a checkpoint, if there is one; returns whether the run is already finished."""
    if not state:
        return False
    with refusing_what_does_not_fit(job.config.resume):
        run.load_state_dict(state)
    return job.world.broadcast(lambda: run.finished and job.folder.read_summary().get("status") == "finished")


def _train(job: _Job, stop: Stop, within: Within | None) -> None:
    config, folder = job.config, job.folder
    experiment, state, tables = _made(job, stop)
    job.logger_asked = True
    with (
        FirstError() as first,
        contextlib.closing(opened_log(experiment.logger, job.to_log(state))) as run_log,
        progress_bar(experiment.settings.progress if within is None or within.bar else False) as bar,
        contextlib.closing(experiment.loader),
    ):
        listener = (lambda standing: None) if within is None else within.listener
        journal = RunJournal(folder, run_log, bar, experiment.grid_columns, experiment.cells_of_a_picture, listener)
        run = Run(experiment, journal, on_checkpoint=lambda: job.write("running"))
        job.run = run
        nothing_left = _go_on(job, run, state)
        if state:
            at = f"iteration {run.progress.iteration}, epoch {run.epochs:.4g}"
            if nothing_left:
                more = "evaluation.stop_after=null" if run.best.gives_up else f"more {_length(run)}"
                log.warning("Nothing is left to do. To train on, ask for %s. The run is at %s.", more, at)
                return
            job.begin()
            if config.resume_from is not None:
                found = run.best.found
                if not folder.checkpoints.abandon_after(
                    run.progress.iteration, int(found["iteration"]) if found else None
                ):
                    run.best.forget()
            bar.update(run.progress.iteration)
            folder.rewind_metrics(run.progress.iteration)
            log.info("Resumed at %s.", at)
            run.tell_changed_rates()
        bar.total = experiment.timetable.iterations(run.progress)
        log.info("%s", what_is_trained(experiment, config, job.start.choices))
        log.info("Training %s", _length_in_words(run))
        log.info("Samples: %s", folder.path / "samples")
        if short := experiment.timetable.too_short():
            log.info("%s", short)
        if unusual := experiment.watch.unusual:
            log.warning("%s", unusual)
        if not state and within is None:
            better = what_is_better(job.start.config, job.start.choices, experiment.class_counts)
            if better:
                log.info("%s", better)
        run_log.begin(_hyperparameters(job.start), [*experiment.evaluation.tags, *_TELLING_SCALARS])
        run_log.describe(experiment.evaluation.descriptions)
        command, begun_at = shell.command_line(job.start.command), run.progress.iteration
        for tag, text in {"command": command, "config": job.config_text, **tables}.items():
            run_log.text(f"run/{tag}", f"```\n{text}\n```", begun_at)
        if not state:
            run.show_real_images()
        job.write("running")
        try:
            with first.noted():
                train(run, lambda: stop.wanted() or job.hopeless(within))
                run.write_timeline()
                if run.finished:
                    job.tell_how_it_went(run)
                run.tell_outcome()
                run_log.end("interrupted" if stop.signal else "finished")
        except Exception:
            with contextlib.suppress(Exception):
                run_log.end("failed")
            with contextlib.suppress(Exception):
                run.write_timeline()
            raise
        except BaseException:  # a second signal
            folder.abandon()
            raise
        finally:
            folder.settle()  # background writes include the event file, which is closed now


def _look_closely(job: _Job) -> None:
    """Evaluate the finished run's checkpoints in full, if evaluation.at_end is set."""
    run, folder = job.run, job.folder
    assert run is not None
    experiment = run.experiment
    if (at_end := experiment.evaluation.at_end) is None:
        return
    device = experiment.compute.device
    for checkpoint in at_end.checkpoints:
        if checkpoint == "best" and run.best.found is None:
            log.warning("No evaluation gave a finite number, so there is no best checkpoint.")
            continue
        with job.only_its_parts():
            found = report_of_checkpoint(
                job.config,
                folder.checkpoints.load(checkpoint, device),
                at_end.metrics,
                experiment.images,
                checkpoint=checkpoint,
                num=at_end.num,
                real=at_end.real,
                seed=experiment.seed,
                device=device,
            )
        tell_report(f"{folder.path}, the {checkpoint} checkpoint", found, folder.path / f"evaluation-{checkpoint}")
        job.judged[checkpoint] = found.as_dict()["metrics"]


def _length(run: Run) -> str:
    """The key of the run's length."""
    settings = run.experiment.settings
    return next((f"trainer.{key}" for key in ("iterations", "minutes") if getattr(settings, key)), "trainer.epochs")


def _length_in_words(run: Run) -> str:
    """The run's total length as text."""
    settings, timetable = run.experiment.settings, run.experiment.timetable
    total = timetable.iterations(run.progress)
    if settings.minutes is not None and settings.iterations is None:
        return f"{settings.minutes:g} minutes"
    epochs = counted(timetable.epochs_in_all, "epoch")
    if total is None:
        return epochs
    iterations = counted(total, "iteration")
    return iterations if settings.iterations is not None else f"{epochs} ({iterations})"


def _hyperparameters(start: Start) -> Hyperparameters:
    """The run's row on the HPARAMS page; all jobs of a sweep have the same columns."""
    typed = [key_of(override) for override in start.overrides]
    return hyperparameters_of(start.config, start.choices, typed, start.swept)


def _check(start: Start) -> None:
    """Refuse an inconsistent config, before anything is loaded."""
    check(start.config, start.overrides, start.choices, start.default_of)


def gpus() -> int:
    """How many GPUs PyTorch sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_gpu(number: int | None) -> None:
    """Set the GPU for trainer.device=auto."""
    if number is not None:
        torch.cuda.set_device(number)


class _Job:
    """One start of a run, and its record."""

    def __init__(self, start: Start, folder: RunFolder, world: World, within: Within | None) -> None:
        self.start = start
        self.again = within is not None and within.again
        self._parts = within.parts if within else None
        self.config = config = start.config
        self.folder = folder
        self.world = world
        self.run: Run | None = None
        self.stored: Stored | None = None
        self.pruned = False
        self.begun = False
        self.logger_asked = False  # whether its logger has been called, which may take long to fail
        self._last_logged = 0 if self.again else None
        self._looked_at: dict[str, float] | None = None
        self.judged: dict[str, dict[str, float | None]] = {}
        if config.resume is not None:
            self.stored = read_stored(folder.path, trusting(config.trust), "resume")
        seed = OmegaConf.select(config, "seed", throw_on_resolution_failure=False)
        self._summary = Summary(folder, {"command": list(start.command), "seed": seed})

    def begin(self) -> None:
        """Replace an earlier start's config and summary by this one's."""
        before = self.stored.overrides if self.stored and not self.start.job else []  # a sweep's job has all of them
        overrides = [*before, *self.start.overrides]
        hydra = self.start.hydra
        if self.stored:  # a resume chooses only the options that are typed
            hydra = copy.deepcopy(hydra)
            chosen = self.stored.choices | dict(hydra.hydra.runtime.choices)
            with read_write(hydra), read_write(hydra.hydra):
                hydra.hydra.runtime.choices = chosen
                if self._places_elsewhere():
                    hydra.hydra.runtime.cwd = str(self.stored.cwd)
        self.begun = True
        texts = {
            "config": self.config_text,
            "hydra": OmegaConf.to_yaml(hydra),
            "overrides": OmegaConf.to_yaml(overrides),
        }
        self.folder.write_config(texts)
        self._summary.begin()
        self.write("running")

    def only_its_parts(self) -> contextlib.AbstractContextManager[None]:
        """Restricts building to the components that a folder may name, and those that are typed now."""
        if self._parts is not None:
            return only(self._parts)
        if self.stored is None:
            return contextlib.nullcontext()
        typed = names_in(OmegaConf.to_container(self.config, resolve=False)) - names_in(self.stored.config)
        return only(replace(trusting(self.config.trust), typed=typed))

    @cached_property
    def config_text(self) -> str:
        """The run's config as it is stored."""
        config = self.config
        if places := self._places_elsewhere():
            assert self.stored is not None, "it says where that was"
            config = copy.deepcopy(config)
            for name in places:
                config.data[name] = self.stored.config["data"][name]
        return to_store(config)

    def _places_elsewhere(self) -> list[str]:
        """The settings of data that are read as from the folder in which the run was started, not the current one.

        Such paths are not stored: the run may be moved together with its data.
        """
        places = self.stored.places_from_elsewhere() if self.stored else {}
        return [name for name, path in places.items() if OmegaConf.select(self.config, f"data.{name}") == path]

    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint to resume from; None for a new run."""
        if self.stored is None:
            return None
        if self.config.resume_from is not None:
            return self.folder.checkpoints.load(str(self.config.resume_from), torch.device("cpu"))
        return self.folder.checkpoints.load_newest(torch.device("cpu"))

    def look_up_what_was_logged(self) -> None:
        """Find the last iteration that earlier starts have logged, if this one continues their log."""
        if self.config.resume_from is None:
            self._last_logged = max((point["iteration"] for point in self.folder.read_metrics()), default=0)

    def to_log(self, state: Mapping[str, Any] | None) -> RunToLog:
        """This start, as passed to a logger."""
        path, of_sweep = self.folder.path.absolute(), self.start.job
        return RunToLog(
            self.folder.path,
            first_iteration=state["progress"]["iteration"] + 1 if state else 1,
            last_logged=self._last_logged,
            name=path.name if of_sweep else "/".join(path.parts[-2:]),
            sweep="/".join(path.parts[-3:-1]) if of_sweep else None,
        )

    def log_failure_to_begin(self) -> None:
        """Log a sweep's job that failed before training, so that the loggers show a row for it.

        A resume that fails before it begins leaves the run as it was.
        """
        if not self.start.job or self.stored is not None or self.logger_asked:
            return
        try:
            with self.only_its_parts():
                logger = hold_to(make(self.config.logger), Logger, "logger")
            with contextlib.closing(opened_log(logger, self.to_log(None))) as run_log:
                run_log.begin(_hyperparameters(self.start), [])
                run_log.end("failed")
        except Exception:  # the job's own failure has been printed
            log.debug("The failure was not logged.", exc_info=True)

    def write(self, status: str, error: str | None = None) -> None:
        """Write summary.json as of now."""
        found = outcome_of(self.run) | {"at_end": self.judged or None} if self.run is not None else {}
        self._summary.write(status, error, found)

    def write_after_failure(self, status: str, error: str | None = None) -> None:
        """Write summary.json after a failure; an error in that is ignored, because the first one is reported."""
        with contextlib.suppress(Exception):
            self.write(status, error)

    def hopeless(self, within: Within | None) -> bool:
        """Whether the sweep prunes the run: checked once after each evaluation."""
        run = self.run
        if within is None or run is None or run.experiment.pruning is None or run.best.metrics is self._looked_at:
            return False
        self._looked_at = run.best.metrics
        evaluation, iteration, found = run.experiment.evaluation, run.progress.iteration, run.best.found
        if found is None or evaluation.objective is None or run.finished:
            return False
        others = within.measured_at(evaluation.objective, iteration, run.experiment.images.fingerprint)
        best = evaluation.to_minimise(found["value"])
        self.pruned = run.experiment.pruning.hopeless(iteration, best, list(map(evaluation.to_minimise, others)))
        if self.pruned:
            log.info(
                "Pruned at iteration %d: %s was %.4g at best, worse than the median of the %d finished jobs there.",
                *(iteration, evaluation.objective, found["value"], len(others)),
            )
        return self.pruned

    def tell_how_it_went(self, run: Run) -> None:
        """Log how long the run took, and the number of alarms."""
        raised = len(run.experiment.watch.raised)
        alarms = f"{raised} alarm{'s' * (raised > 1)}" if raised else "no alarms"
        log.info("Finished in %s, %s iterations, %s.", duration(run.seconds), f"{run.progress.iteration:,}", alarms)

    def tell_what_to_do_next(self) -> None:
        """Log where the results are, and what to type next."""
        path = self.folder.path
        log.info("Look: %s", path / "samples" / "timeline.png")
        run = self.run
        if run is None:
            return
        for command in run.experiment.logger.view_commands(path, path):
            log.info("Dashboard: %s", command)
        longer = {
            "trainer.epochs": 2 * run.experiment.timetable.epochs_in_all,
            "trainer.iterations": 2 * run.progress.iteration,
        }
        key = _length(run)
        more = longer.get(key) or f"{2 * (run.experiment.settings.minutes or 0):g}"
        next_ones = [
            ["gan-eval", f"run={path}"],
            ["gan-sample", f"run={path}", "output=grid.png"],
            ["gan-run", f"resume={path}", f"{key}={more}"],
        ]
        for number, words in enumerate(next_ones):
            log.info("%s %s", "     " if number else "Next:", shell.command_line(words))

    def to_minimise(self) -> float | None:
        """The best objective, negated if higher is better."""
        if self.run is None or self.run.best.found is None:
            return None
        return self.run.experiment.evaluation.to_minimise(self.run.best.found["value"])
