"""The commands: compose a config, pass it to the job, and explain errors.

PyTorch is imported by the job, not here, so that help and completion are fast.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gan_runner import CONFIG_MODULE, launched
from gan_runner.bars import folded, say
from gan_runner.commands.console import any_console
from gan_runner.config.command_line import Typed, keep_words, parted, typed, typed_overrides
from gan_runner.config.composing import VERSION_BASE
from gan_runner.config.explaining import composed_by_choices, explain
from gan_runner.config.mistyped import refuse_mistyped
from gan_runner.config.overrides import in_hydras_grammar
from gan_runner.errors import UserError, was_told
from gan_runner.files import unused_folder
from gan_runner.machine.cores import cores
from gan_runner.machine.load import METER
from gan_runner.machine.signals import unwinding
from gan_runner.record.sweep_folder import SweepFolder, folder_name

# How long OpenMP's threads spin while they wait. Short spins slow down a run that has its cores to itself: by up to a
# tenth at 10,000, not at all at 50,000. Long spins slow down a run that shares its cores: beside three busy
# processes, 200,000 is two to three times slower than 50,000 (benchmarks/busy.py).
OPENMP = {"GOMP_SPINCOUNT": "50000"}
SHORT_SPIN = "10000"

_begun: list[bool] = []  # whether a job has started, so that an error is no longer Hydra's


def run() -> None:
    """`gan-run`: train; with `-m` a sweep; with `resume=DIR` resume a run."""
    if launched.rank():
        _be_quiet()
    with _explained("config"):
        _tell_version("gan-run")
        words = _typed("config", sweeps=True)
        taking_part = _taking_part(words) if launched.by_torchrun() else []
        if words.value_of("resume") is None:
            from gan_runner.commands.sweep import WholeSweep, words_to_go_on

            vouched = None
            if words.value_of("sweep_resume") is not None:
                found = words_to_go_on(words)
                words, vouched = parted(found.words), found.vouched
            with WholeSweep(words, vouched=vouched, short_spin=SHORT_SPIN):
                _launch("config", _train, [*words.arguments, *taking_part])
        else:
            from gan_runner.runs.resuming import STORED, prepare_to_resume

            goes_on = f"hydra.run.dir={prepare_to_resume(words)}"
            _launch(STORED, _train, [*words.arguments, *taking_part, goes_on])
        if launched.by_torchrun():
            from gan_runner.training.distributed import init_processes

            init_processes().end()


def _train(config: DictConfig) -> float | None:
    # Not inside `run`: launchers that start processes import it by name.
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        from gan_runner.commands.sweep import train_in_sweep

        return train_in_sweep(config)
    from gan_runner.commands.starting import start_of_job
    from gan_runner.runs.job import run_job

    with _begin_job():
        return run_job(start_of_job(config))


def _taking_part(words: Typed) -> list[str]:
    """Connect to the other processes that torchrun has started; returns the overrides that this one adds.

    Raises:
        UserError: a sweep is asked for, which is many runs.
    """
    from gan_runner.training.distributed import init_processes

    init_processes()
    if words.multirun:
        raise UserError(
            "torchrun starts the processes of one run, but -m asks for a sweep.",
            "Leave out -m to train one run with several GPUs, or torchrun to train several runs with a GPU each: "
            "gan-run -m hydra/launcher=joblib hydra.launcher.n_jobs=2 ...",
        )
    return ["hydra.job_logging.root.handlers=[errors]", "~hydra.job_logging.handlers.file"] if launched.rank() else []


def _be_quiet() -> None:
    """Print nothing in processes other than the first, except errors that only this one has."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    warnings.simplefilter("ignore")


def check() -> None:
    """`gan-check`: check what `gan-run` would do with the same overrides; with `-m` every job of a sweep."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.check import check_job

        with _begin_job():
            check_job(config, verdicts)

    verdicts: list[str] = []
    with _explained("check"), tempfile.TemporaryDirectory() as folder:
        _tell_version("gan-check")
        words = _typed("check", sweeps=True)
        nowhere = in_hydras_grammar([f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder}"])
        try:
            _launch("check", job, [*words.arguments, *nowhere])
        finally:
            if words.multirun:
                print(*verdicts, sep="\n")


def sample() -> None:
    """`gan-sample`: draw images from a run."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.sample import sample_job

        with _begin_job():
            sample_job(config)

    with _explained("sample"):
        _tell_version("gan-sample")
        _launch("sample", job, _typed("sample").arguments)


def translate() -> None:
    """`gan-translate`: images into images with a run of pairs."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.translate import translate_job

        with _begin_job():
            translate_job(config)

    with _explained("translate"):
        _tell_version("gan-translate")
        _launch("translate", job, _typed("translate").arguments)


def export() -> None:
    """`gan-export`: write a run's network for other programs."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.export import export_job

        with _begin_job():
            export_job(config)

    with _explained("export"):
        _tell_version("gan-export")
        _launch("export", job, _typed("export").arguments)


def evaluate() -> None:
    """`gan-eval`: measure how good images are."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.evaluate import evaluate_job

        with _begin_job():
            evaluate_job(config)

    with _explained("evaluate"):
        _tell_version("gan-eval")
        # `evaluation` is a group in gan-run but one setting here, which Hydra would look up as a group.
        _launch("evaluate", job, _typed("evaluate", names={"evaluation": "metrics.numbers"}).arguments)


def augment() -> None:
    """`gan-augment`: what generated images are worth to a classifier."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.augment import augment_job

        with _begin_job():
            augment_job(config)

    with _explained("worth"):
        _tell_version("gan-augment")
        _launch("worth", job, _typed("worth").arguments)


def detect() -> None:
    """`gan-detect`: how well detectors tell a run's images from real ones."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.detect import detect_job

        with _begin_job():
            detect_job(config)

    with _explained("detect"):
        _tell_version("gan-detect")
        _launch("detect", job, _typed("detect").arguments)


def compare() -> None:
    """`gan-compare`: compare runs."""

    def job(config: DictConfig) -> None:
        from gan_runner.commands.compare import compare_job

        with _begin_job():
            compare_job(config)

    with _explained("compare"):
        _tell_version("gan-compare")
        _launch("compare", job, _typed("compare").arguments)


def _typed(config_name: str, *, sweeps: bool = False, names: Mapping[str, str] | None = None) -> Typed:
    """What was typed, as Hydra takes it."""
    keep_words(sys.argv)
    refuse_mistyped(sys.argv[1:], partial(composed_by_choices, config_name), sweeps=sweeps)
    return typed(sys.argv[1:], names)


def _tell_version(command: str) -> None:
    """Print this program's version for `--version`; Hydra would print its own."""
    if "--version" in sys.argv[1:]:
        print(command, importlib.metadata.version("gan-runner"))
        sys.exit(0)


def _launch(config_name: str, job: Callable[[DictConfig], object], arguments: list[str]) -> None:
    # Read once, when PyTorch is imported; a sweep whose jobs share cores sets a shorter one.
    threads = os.environ.get("OMP_NUM_THREADS", "")
    crowded = threads.isdecimal() and int(threads) > cores()
    for name, value in OPENMP.items():
        os.environ.setdefault(name, SHORT_SPIN if crowded else value)
    METER.look()  # measure the load by other processes from here on, while PyTorch is imported
    # PyTorch computes on the CPU what a Mac's GPU cannot, and warns.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    # Makes Hydra raise errors, where it would print its own message and exit.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _begun.clear()
    # Paths are relative to the folder in which the command was typed.
    sys.argv[1:] = [*arguments, "hydra.job.chdir=false"]
    hydra.main(version_base=VERSION_BASE, config_path=f"pkg://{CONFIG_MODULE}", config_name=config_name)(job)()


def job_folder(number: int, overrides: str, *, _root_: DictConfig) -> str:
    """Name a sweep job's folder by the swept keys, as planned by its sweep.

    Args:
        number: the job's number in the sweep.
        overrides: such as "model.dropout=0.1,optimizer.lr=0.0001"; used for the name if there is no sweep.
        _root_: the job's config.
    """
    hydra = _root_.hydra
    sweep = SweepFolder(Path(hydra.runtime.cwd, hydra.sweep.dir))
    if sweep.is_one():
        return sweep.claim(number, typed_overrides(hydra)).folder
    return folder_name(number, overrides)


def new_folder(path: str) -> str:
    """Make a new folder for a run or a sweep and return its name: `path`, or `path-2` if that exists.

    All processes of one run get the folder of the first.
    """
    if launched.by_torchrun():
        from gan_runner.training.distributed import init_processes

        return init_processes().broadcast(lambda: _make_folder(path))
    return _make_folder(path)


def config_groups() -> str:
    """The groups of the config with their options, for `--help`: a line for each, folded at 80 columns."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None, "--help is composed by Hydra"
    return folded(hydra.format_config_groups(lambda group: group.partition("/")[0] != "hydra"), 80)


def _make_folder(path: str) -> str:
    try:
        return str(unused_folder(Path(path)))
    except UserError as error:  # OmegaConf would replace the message
        _leave(str(error))


# Handlers drop lines that cannot be written, as behind `| head -3`, and the run continues. Set here and not in a
# command, so that it also applies in the processes that a launcher starts.
logging.raiseExceptions = False

OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
OmegaConf.register_new_resolver("new_folder", new_folder, replace=True, use_cache=True)
OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)


@contextlib.contextmanager
def _explained(config_name: str) -> Iterator[None]:
    """Exit with one message if the user can fix the problem; anything else is a bug and keeps its traceback."""
    try:
        with unwinding(), any_console():
            yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if _came_from_an_interrupt(error):
            sys.exit(128 + signal.SIGINT)
        nobody_reads = isinstance(error, BrokenPipeError) and not _begun  # of --help or --cfg, behind `| head`
        if nobody_reads or was_told(error) or _told_elsewhere(error):
            _leave("")
        elif (said := explain(error, config_name, composing=not _begun)) is not None:
            _leave(said)
        elif isinstance(error, OSError) and error.filename:
            _leave(f"{error.filename} cannot be used: {error.strerror}.\n  Give another folder or file.")
        elif isinstance(error, ValueError) and str(error).startswith("Unable to configure"):
            why = error.__cause__ or error
            _leave(f"The log cannot be set up: {why}.\n  Check what is at its path, and the overrides of hydra.")
        raise


def _came_from_an_interrupt(error: BaseException | None) -> bool:
    """Whether the error was caused by Ctrl-C in the middle of a library's work."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextlib.contextmanager
def _begin_job() -> Iterator[None]:
    """Begin a job; a single run exits with its own message, because Hydra would add a line to it.

    In a sweep the error is passed on: Hydra says which job failed and runs the others.
    """
    single = HydraConfig.get().mode is RunMode.RUN
    if single:  # in a sweep, the next job is still to be composed
        _begun.append(True)
    try:
        yield
    except Exception as error:
        if single:
            if _told_elsewhere(error):
                _leave("")
            if isinstance(error, UserError):
                _leave("" if was_told(error) else str(error))
        raise


def _told_elsewhere(error: Exception) -> bool:
    """Whether another process of the same run prints the error."""
    if not launched.by_torchrun():
        return False
    from gan_runner.training.distributed import init_processes

    return init_processes().to_tell(error) is None


def _leave(message: str) -> NoReturn:
    if message:
        say(f"Process {launched.rank()}: {message}" if launched.rank() else message, sys.stderr)
    sys.exit(1)
