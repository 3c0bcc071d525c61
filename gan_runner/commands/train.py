"""The job of `gan-run`: from a composed config to a finished run and its record."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torchinfo import summary as parameter_summary
from tqdm.contrib.logging import logging_redirect_tqdm

from gan_runner.config.build import build
from gan_runner.config.checking import check_config, too_much_asked
from gan_runner.config.command_line import typed_overrides
from gan_runner.config.resuming import refuse_changes, refuse_other_data, refusing_what_does_not_fit
from gan_runner.config.stored import Stored, read_stored, to_store
from gan_runner.errors import UserError, mark_as_told
from gan_runner.record.journal import Journal
from gan_runner.record.progress_bar import progress_bar
from gan_runner.record.run_folder import RunFolder
from gan_runner.record.summary import Summary, command_line
from gan_runner.record.tensorboard import Scalar, flatten
from gan_runner.training.contract import first_look
from gan_runner.training.devices import keep_arithmetic
from gan_runner.training.experiment import Experiment
from gan_runner.training.loop import Run, train

log = logging.getLogger(__name__)

# What the dashboard's page of hyperparameters shows of a run besides the evaluation's metrics.
_TELLING_SCALARS = ("accuracy/d", "loss/d", "loss/g", "health/diversity", "speed/images_per_second")


def run_job(config: DictConfig) -> float | None:
    """Train as the config says, and leave a record whatever happens.

    Returns:
        The best objective for sweepers that search, which minimise: its negative where the goal is higher; None where
        there is no evaluation.

    Raises:
        UserError: something that the user can put right.
        SystemExit: the run was interrupted, with 130 (SIGINT) or 143 (SIGTERM), after it has saved; or a second time,
            before it could. With 1: a part of the user's own has left the program.
    """
    hydra = HydraConfig.get()
    folder = RunFolder(_shown(Path(hydra.runtime.output_dir)))
    job = _Job(config, folder)
    try:
        check_config(config)
    except UserError:
        if job.stored is None and not _in_sweep():
            folder.discard_unbegun()
        raise
    with contextlib.closing(folder):
        if job.stored is not None:
            folder.claim("resume", new=False)
        else:
            folder.claim("hydra.sweep.dir" if _in_sweep() else "hydra.run.dir", new=True)
            job.begin()
        stop = _Stop()
        try:
            with stop, too_much_asked():
                _train(job, stop)
                job.write("interrupted" if stop.signal else "finished")
        except Exception as error:
            if isinstance(error, UserError):
                log.error("%s", error)
            else:
                log.exception("This is a bug, in gan-runner or in a part of yours.")
            mark_as_told(error)
            job.write("failed", str(error) or repr(error))
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and stop.signal is None:
                log.exception("A part of yours has called sys.exit.")
                job.write("failed", f"sys.exit({error.code})")
                sys.exit(1)
            job.write("interrupted")
            raise
    if stop.signal:
        go_on = f"To go on: gan-run {shlex.quote(f'resume={folder.path}')}"
        log.info("Interrupted by %s. %s", stop.signal.name, go_on if folder.checkpoints.any() else "Nothing was saved.")
        sys.exit(128 + stop.signal)
    log.info("Pictures: %s", folder.path / "samples")
    log.info("Dashboard: tensorboard --logdir %s", shlex.quote(str(_dashboard_folder(folder.path))))
    return job.to_minimise()


def _train(job: _Job, stop: _Stop) -> None:
    config, folder = job.config, job.folder
    if job.stored is not None and not config.resume_force:
        refuse_changes(config.resume, job.stored, config)
    state = job.checkpoint()
    if state and config.trainer.precision == "auto":
        config.trainer.precision = state["about"]["precision"]
    experiment = build(config)
    if state:
        keep_arithmetic(state["about"], experiment.compute)
    if state and not config.resume_force:
        refuse_other_data(config.resume, state["about"]["data_fingerprint"], experiment.images)
    first_look(experiment)
    _introduce(experiment)
    first_iteration = state["progress"]["iteration"] + 1 if state else 1
    with (
        experiment.dashboard.open(folder.path, first_iteration) as events,
        progress_bar(experiment.settings.progress) as bar,
        contextlib.nullcontext() if bar.disable else logging_redirect_tqdm(),
        contextlib.closing(experiment.feed),
    ):
        journal = Journal(folder, events, bar, experiment.settings.sample_columns)
        run = Run(experiment, journal, on_checkpoint=lambda: job.write("running"))
        job.run = run
        if state:
            with refusing_what_does_not_fit(config.resume):
                run.load_state_dict(state)
            at = f"iteration {run.progress.iteration}, epoch {run.epochs:.4g}"
            if run.finished and folder.read_summary().get("status") == "finished":
                log.warning("Nothing is left to do. To train on, ask for more %s. The run is at %s.", _length(run), at)
                return
            job.begin()
            bar.update(run.progress.iteration)
            folder.rewind_metrics(run.progress.iteration)
            log.info("Resumed at %s.", at)
        bar.total = experiment.timetable.iterations(run.progress)
        length = f"{bar.total:,} iterations" if bar.total is not None else f"{experiment.settings.epochs:,} epochs"
        log.info("%s to train. Pictures appear in %s.", length, folder.path / "samples")
        chosen = {override.lstrip("+").partition("=")[0] for override in typed_overrides()}
        events.begin(_hyperparameters(config), chosen, [*experiment.evaluation.tags, *_TELLING_SCALARS])
        run.show_real_images()
        job.write("running")
        try:
            train(run, lambda: stop.signal is not None)
            run.write_timeline()
            run.tell_outcome()
            if not stop.signal:
                events.end(succeeded=True)
        except Exception:
            events.end(succeeded=False)
            with contextlib.suppress(Exception):  # what went wrong first is what is told
                run.write_timeline()
            raise
        except BaseException:  # a second signal
            folder.abandon()
            raise
        finally:
            folder.settle()  # for some of what is being written goes to the event file, which closes now


def _length(run: Run) -> str:
    """The key that says how long a run is."""
    return "trainer.epochs" if run.experiment.settings.iterations is None else "trainer.iterations"


def _hyperparameters(config: DictConfig) -> dict[str, Scalar]:
    """Every setting by its dotted key, and the choice of every group by the group's name."""
    choices = HydraConfig.get().runtime.choices
    values = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    return flatten(values) | {group: str(choice) for group, choice in choices.items() if "/" not in group}


def _introduce(experiment: Experiment) -> None:
    """Say what is being trained: data, device, and both players layer by layer."""
    images, compute, game = experiment.images, experiment.compute, experiment.game
    channels, height, width = images.shape
    log.info("%s: %s images, %dx%dx%d", images.name, f"{len(images):,}", height, width, channels)
    log.info("Computing on %s in %s with seed %d.", compute.device, compute.precision, experiment.seed)
    if not game.classifies:
        log.info("This loss does not classify: the area under the ROC curve stands in for accuracy/*.")
    players = experiment.players
    for name, net in (("Generator", players.generator.net), ("Discriminator", players.discriminator.net)):
        try:
            inputs = [_latents_of(experiment)] if name == "Generator" else [experiment.examples(2).images]
            table = parameter_summary(
                net, input_data=inputs, verbose=0, col_names=("output_size", "num_params"), depth=2
            )
        except RuntimeError:  # a network that takes more than a picture or a latent: without the shapes
            table = parameter_summary(net, verbose=0, col_names=("num_params",), depth=2)
        log.info("%s\n%s", name, table)


def _latents_of(experiment: Experiment) -> torch.Tensor:
    cpu = torch.device("cpu")
    return experiment.game.latents(2, cpu, torch.Generator()).to(experiment.compute.device)


def _dashboard_folder(run: Path) -> Path:
    """The folder to point TensorBoard at: all jobs of a sweep, or the one run."""
    return _shown(Path(HydraConfig.get().sweep.dir) if _in_sweep() else run)


def _in_sweep() -> bool:
    mode = HydraConfig.get().mode
    return mode is not None and mode.name == "MULTIRUN"


def _shown(path: Path) -> Path:
    """A path as one would type it where the command was typed."""
    path, here = path.absolute(), Path.cwd()
    moved = here != Path(HydraConfig.get().runtime.cwd)  # as hydra.job.chdir does
    return path if moved or not path.is_relative_to(here) else path.relative_to(here)


class _Job:
    """One start of a run, and what is written of it whatever becomes of it."""

    def __init__(self, config: DictConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder
        self.run: Run | None = None
        self.stored: Stored | None = None
        if config.resume is not None:
            trust: Sequence[str] = [config.trust] if isinstance(config.trust, str) else list(config.trust)
            self.stored = read_stored(folder.path, trust, "resume")
        seed = OmegaConf.select(config, "seed", throw_on_resolution_failure=False)
        self._summary = Summary(folder, {"command": command_line(), "seed": seed})

    def begin(self) -> None:
        """Put this start's config and summary in the place of an earlier one's."""
        overrides = [*(self.stored.overrides if self.stored else []), *typed_overrides()]
        hydra = HydraConfig.instance().cfg
        assert hydra is not None
        of_run = OmegaConf.masked_copy(self.config, [str(key) for key in self.config if key != "hydra"])
        texts = {
            "config": to_store(of_run),
            "hydra": OmegaConf.to_yaml(hydra),
            "overrides": OmegaConf.to_yaml(overrides),
        }
        self.folder.write_config(texts)
        self._summary.begin()
        self.write("running")

    def checkpoint(self) -> dict[str, Any] | None:
        """The checkpoint to go on from; None where a run begins."""
        if self.stored is None:
            return None
        if self.config.resume_from is not None:
            return self.folder.checkpoints.load(str(self.config.resume_from), torch.device("cpu"))
        return self.folder.checkpoints.load_newest(torch.device("cpu"))

    def write(self, status: str, error: str | None = None) -> None:
        """Write summary.json as of now."""
        self._summary.write(status, error, _summarise(self.run) if self.run is not None else {})

    def to_minimise(self) -> float | None:
        """The best objective, turned so that lower is better."""
        if self.run is None or self.run.best.found is None:
            return None
        return self.run.experiment.evaluation.to_minimise(self.run.best.found["value"])


def _summarise(run: Run) -> dict[str, Any]:
    experiment, progress, best = run.experiment, run.progress, run.best
    images, compute, evaluation = experiment.images, experiment.compute, experiment.evaluation
    return {
        "iterations": progress.iteration,
        "epochs": round(run.epochs, 4),
        "d_steps": progress.d_steps,
        "g_steps": progress.g_steps,
        "images": progress.images,
        "seconds": round(run.seconds, 3),
        "images_per_second": round(progress.images / run.seconds, 1),
        "device": str(compute.device),
        "precision": compute.precision,
        "data": {"name": images.name, "fingerprint": images.fingerprint, "count": len(images)},
        "best": best.found,
        "metrics": best.metrics,
        "objective": best.found["value"] if best.found else None,
        "objective_name": evaluation.objective,
        "goal": evaluation.goal,
        "alarms": [asdict(alarm) for alarm in experiment.watch.raised],
    }


class _Stop:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a wish to stop, says so, and leaves at a second one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Stop:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None:
                with contextlib.suppress(ValueError):  # not the main thread: a launcher that handles signals itself
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        for each in self._before:
            signal.signal(each, _stop_at_once)
        # Straight to standard error: the signal may have come in the middle of a line of the log. Whoever reads that
        # may have been stopped too.
        with contextlib.suppress(OSError):
            os.write(2, b"Stopping; once more to stop at once.\n")


def _stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
