"""The job of `gan-run`: from a composed config to a finished run and its record."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shlex
import signal
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from torchinfo import summary as parameter_summary
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from gan_runner.config.build import Experiment, build, check_config
from gan_runner.config.resuming import refuse_other_data, refusing_what_does_not_fit
from gan_runner.config.validation import typed_overrides
from gan_runner.errors import UserError, mark_as_told, too_little_memory_explained
from gan_runner.record.run_folder import RunDirectory
from gan_runner.record.tensorboard import Scalar, flatten
from gan_runner.training.run import Run, train

log = logging.getLogger(__name__)

SMALLER = "Try a smaller trainer.batch_size, data.image_size or data.limit, or a smaller model."

# What the dashboard's page of hyperparameters shows of a run besides the evaluation's metrics.
_TELLING_SCALARS = ("accuracy/d", "loss/d", "loss/g", "health/diversity", "speed/images_per_second")


def run_job(config: DictConfig) -> float | None:
    """Train as the config says, and leave a record whatever happens.

    Returns:
        The objective for sweepers that search, which minimise: its negative where the goal is higher; None where
        there is no evaluation.

    Raises:
        UserError: something that the user can put right.
        SystemExit: the run was interrupted, with 130 (SIGINT) or 143 (SIGTERM), after it has saved; or a second time,
            before it could. With 1: a part of the user's own has left the program.
    """
    hydra = HydraConfig.get()
    directory = RunDirectory(_shown(Path(hydra.runtime.output_dir)))
    record = _Record(config, directory)
    with contextlib.closing(directory):
        if config.resume is not None:
            directory.claim("resume", new=False)
        else:
            directory.claim("hydra.sweep.dir" if _in_sweep() else "hydra.run.dir", new=True)
            record.begin()
        stop = _Stop()
        try:
            with stop, too_little_memory_explained(SMALLER):
                check_config(config, typed_overrides(), hydra.runtime.choices, default_of)
                _train(config, record, stop)
                record.write("interrupted" if stop.signal else "finished")
        except Exception as error:
            if isinstance(error, UserError):
                log.error("%s", error)
            else:
                log.exception("This is a bug, in gan-runner or in a part of yours.")
            mark_as_told(error)
            record.write("failed", str(error) or repr(error))
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and stop.signal is None:
                log.exception("A part of yours has called sys.exit.")
                record.write("failed", f"sys.exit({error.code})")
                sys.exit(1)
            record.write("interrupted")
            raise
    if stop.signal:
        go_on = f"To go on: gan-run {shlex.quote(f'resume={directory.path}')}"
        log.info(
            "Interrupted by %s. %s", stop.signal.name, go_on if directory.has_checkpoint() else "Nothing was saved."
        )
        sys.exit(128 + stop.signal)
    log.info("Pictures: %s", directory.path / "samples")
    log.info("Dashboard: tensorboard --logdir %s", shlex.quote(str(_dashboard_folder(directory.path))))
    return record.to_minimise()


def default_of(key: str) -> object:
    """The value that a key has with the same choices of groups and no other override.

    Raises:
        KeyError: there is no such key then.
    """
    hydra = HydraConfig.get()
    choices = [o for o in typed_overrides() if o.lstrip("+").partition("=")[0] in hydra.runtime.choices]
    folders = [o for o in hydra.overrides.hydra if o.startswith("hydra.searchpath=")]
    config = compose(hydra.job.config_name, overrides=[*choices, *folders])
    if OmegaConf.select(config, key, default=KeyError) is KeyError:
        raise KeyError(key)
    value = OmegaConf.select(config, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _train(config: DictConfig, record: _Record, stop: _Stop) -> None:
    directory, resumed = record.directory, config.resume is not None
    experiment = build(config)
    _introduce(experiment)
    state = directory.load_checkpoint("last", experiment.device) if resumed else None
    if state and not config.resume_force:
        refuse_other_data(config.resume, state.get("data_fingerprint"), experiment.images)
    first_iteration = state["progress"]["iteration"] + 1 if state else 1
    with (
        experiment.dashboard.open(directory.path, first_iteration) as events,
        logging_redirect_tqdm(),
        _bar(experiment) as bar,
        contextlib.closing(experiment.feed),
    ):
        run = Run(experiment, directory, events, bar, on_checkpoint=lambda: record.write("running"))
        record.run = run
        if state:
            with refusing_what_does_not_fit(config.resume):
                run.load_state_dict(state)
            at = f"iteration {run.progress.iteration}, epoch {run.agenda.epochs(run.progress):.4g}"
            if run.agenda.finished(run.progress) and directory.read_summary()["status"] == "finished":
                log.warning("Nothing is left to do. To train on, ask for more %s. The run is at %s.", _length(run), at)
                return
            record.begin()
            bar.update(run.progress.iteration)
            directory.rewind_metrics(run.progress.iteration)
            log.info("Resumed at %s.", at)
        bar.total = run.agenda.iterations(run.progress)
        evaluated = experiment.evaluation.tags if experiment.evaluation is not None else []
        chosen = {override.lstrip("+").partition("=")[0] for override in typed_overrides()}
        events.begin(_hyperparameters(config), chosen, [*evaluated, *_TELLING_SCALARS])
        run.show_real_images()
        record.write("running")
        try:
            train(run, lambda: stop.signal is not None)
            directory.write_timeline(run.captions(), run.progress.iteration)
            if not stop.signal:
                events.end(succeeded=True)
        except Exception:
            events.end(succeeded=False)
            with contextlib.suppress(Exception):  # what went wrong first is what is told
                directory.write_timeline(run.captions(), run.progress.iteration)
            raise
        except BaseException:  # a second signal
            directory.abandon()
            raise
        finally:
            directory.settle()  # for some of what is being written goes to the event file, which closes now


def _length(run: Run) -> str:
    """The key that says how long a run is."""
    return "trainer.epochs" if run.experiment.settings.iterations is None else "trainer.iterations"


def _hyperparameters(config: DictConfig) -> dict[str, Scalar]:
    """Every setting by its dotted key, and the choice of every group by the group's name."""
    choices = HydraConfig.get().runtime.choices
    values = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    return flatten(values) | {group: str(choice) for group, choice in choices.items() if "/" not in group}


def _bar(experiment: Experiment) -> tqdm[Any]:
    wanted = experiment.settings.progress
    shown = sys.stderr.isatty() if wanted == "auto" else wanted
    return _Bar(disable=not shown, unit="it", dynamic_ncols=True, mininterval=0.2)


class _Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar that does not end a run where nobody is left to look at it, as behind a pipe that broke."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        with contextlib.suppress(OSError):
            super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        with contextlib.suppress(OSError):
            super().clear(nolock)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def _introduce(experiment: Experiment) -> None:
    """Say what is being trained: data, device, and both players layer by layer."""
    images = experiment.images
    channels, height, width = images.shape
    log.info("%s: %s images, %dx%dx%d", images.name, f"{len(images):,}", height, width, channels)
    log.info("Computing on %s in %s with seed %d.", experiment.device, experiment.precision, experiment.seed)
    if not experiment.loss.classifies:
        log.info("This loss does not classify: the area under the ROC curve stands in for accuracy/*.")
    latent = torch.zeros(2, experiment.latent.dim, device=experiment.device)
    picture = torch.zeros(2, *images.shape, device=experiment.device)
    for name, net, example in (
        ("Generator", experiment.generator.net, latent),
        ("Discriminator", experiment.discriminator.net, picture),
    ):
        table = parameter_summary(
            net, input_data=[example], verbose=0, col_names=("output_size", "num_params"), depth=2
        )
        log.info("%s\n%s", name, table)


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


class _Record:
    """Writes summary.json: what was asked for, how far it came and what came out."""

    def __init__(self, config: DictConfig, directory: RunDirectory) -> None:
        self._config = config
        self.directory = directory
        self.run: Run | None = None
        self._begun = False

    def begin(self) -> None:
        """Put this start's config and summary in the place of an earlier one's."""
        self._begun = True
        self.directory.write_config(self._config, HydraConfig.instance().cfg, typed_overrides())
        self.write("running")

    def objective(self) -> float | None:
        """The objective's last value; None without an evaluation."""
        if self.run is None or self.run.experiment.evaluation is None:
            return None
        return self.run.metrics.get(self.run.experiment.evaluation.objective)

    def to_minimise(self) -> float | None:
        """The same, turned so that lower is better."""
        objective = self.objective()
        if objective is None or self.run is None or self.run.experiment.evaluation is None:
            return None
        return self.run.experiment.evaluation.to_minimise(objective)

    def write(self, status: str, error: str | None = None) -> None:
        """Write the summary as of now; a resume that fails before it begins leaves the earlier one as it is."""
        if not self._begun:
            return
        summary = {"objective": None} | self.directory.read_summary()
        seed = OmegaConf.select(self._config, "seed", throw_on_resolution_failure=False)
        summary |= {"status": status, "error": error, "seed": seed, "versions": _versions()}
        if self.run is not None:
            summary |= _summarise(self.run) | {"objective": self.objective()}
        self.directory.write_summary(summary)


def _summarise(run: Run) -> dict[str, Any]:
    experiment, progress, seconds = run.experiment, run.progress, run.seconds()
    images = experiment.images
    return {
        "iterations": progress.iteration,
        "epochs": round(run.agenda.epochs(progress), 4),
        "d_steps": progress.d_steps,
        "g_steps": progress.g_steps,
        "images": progress.images,
        "seconds": round(seconds, 3),
        "images_per_second": round(progress.images / seconds, 1),
        "device": str(experiment.device),
        "precision": experiment.precision,
        "data": {"name": images.name, "fingerprint": images.fingerprint, "count": len(images)},
        "best": run.best,
        "metrics": run.metrics,
        "alarms": [asdict(alarm) for alarm in experiment.watch.raised],
    }


def _versions() -> dict[str, str]:
    packages = ("gan-runner", "torch", "hydra-core", "tensorboard")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


class _Stop:
    """Turns the first SIGINT or SIGTERM into a wish to stop, says so, and leaves at a second one."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
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
