"""Sweeps, `gan-run -m`: plan the jobs, skip finished ones, resume, stop, and report how each has ended.

PyTorch is imported by the jobs that train, so that planning and skipping are fast.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_runner import CONFIG_MODULE
from gan_runner.bars import Quiet, on_a_screen, say
from gan_runner.building.making import make
from gan_runner.building.parts import Parts, only, trusting
from gan_runner.commands.starting import start_of_job
from gan_runner.config.command_line import Typed, shown, typed_overrides
from gan_runner.config.stored import read_stored
from gan_runner.config.sweeping import (
    FromFolder,
    choices_of,
    continue_search,
    differences,
    hash_of,
    hold_to_parts,
    in_own_process,
    names_typed,
    plan,
    refuse_senseless_search,
    settings_of,
    with_later_groups,
    words_of_sweep,
)
from gan_runner.contracts import hold_to
from gan_runner.errors import UserError, printable, printable_lines, problem_of, was_told
from gan_runner.machine.cores import cores
from gan_runner.machine.processes import semaphores
from gan_runner.machine.shell import command_line, quoted
from gan_runner.machine.signals import PREEMPTING, STOPPING, handled, held_back, held_back_in_new_processes, let_through
from gan_runner.override import key_of
from gan_runner.record import links
from gan_runner.record.loggers import Logger
from gan_runner.record.sweep_folder import GONE_THROUGH, Job, Sweep, SweepFolder, read_summary
from gan_runner.report.job_table import JobTable

if TYPE_CHECKING:
    from gan_runner.record.journal import Standing

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 1.0
_MOST_NAMES = 5  # of failed jobs named in one line
_RAY = ".ray_launcher."
_JOBLIB = ".joblib_launcher.JoblibLauncher"
_SUBMITIT, _SUBMITIT_HERE = ".submitit_launcher.", ".submitit_launcher.LocalLauncher"


def words_to_go_on(typed: Typed) -> FromFolder:
    """Read a sweep's overrides from its folder, for `gan-run -m sweep_resume=DIR`, and print the notes on them.

    Raises:
        UserError: there is no sweep, or its config names code that is not trusted.
    """
    from gan_runner.runs.resuming import trusted

    folder = Path(str(typed.value_of("sweep_resume")))
    if not folder.is_dir():
        raise UserError(
            f"sweep_resume is {folder}, but there is no such folder.", "Try sweep_resume=multirun/DATE/TIME."
        )
    links.check_sweep(folder, "sweep_resume")
    sweep = SweepFolder(folder).read()
    if not sweep.arguments:
        raise UserError(
            f"sweep_resume is {folder}, but that is not the folder of a sweep: it has no sweep.json.",
            f"Type what started it, and hydra.sweep.dir={quoted(str(folder))}.",
        )
    found = words_of_sweep(sweep.arguments, folder, typed, trusted(typed))
    for note in found.notes:
        _warn(note)
    return found


class WholeSweep:
    """The sweep that this process starts, if any: a context manager around Hydra's part.

    Args:
        typed: what was typed, or the overrides read from a sweep's folder.
        vouched: the additional components that a folder's config may name; None if everything was typed.
        short_spin: how long OpenMP's threads spin where jobs share cores.
    """

    current: WholeSweep | None = None

    def __init__(self, typed: Typed, *, vouched: list[str] | None, short_spin: str) -> None:
        self._typed = typed
        self._vouched = vouched
        self._short_spin = None if "GOMP_SPINCOUNT" in os.environ else short_spin  # the user's own value is kept
        self._folder: SweepFolder | None = None
        self._logger: Logger | None = None
        self._signal: int | None = None
        self._listening = contextlib.ExitStack()
        self._teller: _Teller | JobTable | None = None

    def __enter__(self) -> Self:
        WholeSweep.current = self
        return self

    def begin(self, config: DictConfig) -> None:
        """Plan the jobs.

        Args:
            config: the whole sweep's, with Hydra's part.

        Raises:
            UserError: the folder is in use, or holds a sweep with other settings.
        """
        refuse_senseless_search(config)
        folder = SweepFolder(Path(config.hydra.sweep.dir))
        links.check_sweep(folder.path, "hydra.sweep.dir")
        parts = _parts_allowed(config, self._vouched)
        with contextlib.nullcontext() if parts is None else only(parts):
            node = cast("dict[str, Any]", OmegaConf.to_container(config.logger, resolve=True))
            self._logger = hold_to(make(node), Logger, "logger")
        planned = plan(config, GlobalHydra.instance().config_loader())
        _refuse_processes_without_semaphores(config, planned.total)
        folder.take()
        try:
            sweep = folder.read()
            settings = settings_of(config, resolve=False) | choices_of(config)
            swept = list(dict.fromkeys([*sweep.swept, *planned.swept]))
            before = with_later_groups(sweep.settings, settings, config)
            if sweep.settings and (changes := differences(before, settings, but=swept)):
                raise UserError(
                    f"hydra.sweep.dir is {folder.path}, but that sweep has other settings:\n" + "\n".join(changes),
                    "Leave these as they were, or try another hydra.sweep.dir.",
                )
            sweep.arguments = [o for o in self._typed.overrides if key_of(o) not in ("hydra.sweep.dir", "trust")]
            sweep.swept, sweep.settings, sweep.total = swept, settings, planned.total
            sweep.vouched = self._vouched
            folder.begin(sweep)
            for number, overrides in enumerate(planned.jobs or []):
                sweep.claim(number, overrides, folder.path)
            folder.write(sweep)
            continue_search(config, sum(job.state in (*GONE_THROUGH, "failed") for job in sweep.jobs))
        except BaseException:
            folder.release()
            raise
        self._folder = folder
        for line in self._dashboard():
            _say(line)
        if sweep.count("finished"):
            _say(sweep.progress())
        launcher = config.hydra.launcher._target_
        self._listen(parallel=launcher.rpartition(".")[2] != "BasicLauncher")
        self._share_cores(_jobs_at_once(config, planned.total), divide=launcher.endswith(_SUBMITIT_HERE))
        if _shows_a_table(launcher, config):
            self._listening.enter_context(Quiet.below(logging.WARNING))
            self._teller = JobTable(folder)
        elif _SUBMITIT in launcher:
            self._teller = _Teller(folder)

    def _share_cores(self, jobs: int, *, divide: bool) -> None:
        """Share this machine's cores between parallel jobs; joblib and Ray do so themselves.

        The jobs' processes inherit the environment.
        """
        if jobs == 1:
            return
        if self._short_spin is not None:
            os.environ["GOMP_SPINCOUNT"] = self._short_spin
        if divide:
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // jobs)))

    def _listen(self, *, parallel: bool) -> None:
        """Handle signals: jobs in their own processes are asked to stop, and waited for."""
        self._listening.enter_context(handled(STOPPING, self._note if parallel else _leave_at_once))
        if parallel:
            # Ctrl-C reaches the jobs' processes too. It would kill one that is just starting, and the launcher then
            # kills the others. So each handles signals only once its run can save (`gan_runner.runs.job`).
            self._listening.enter_context(held_back_in_new_processes(STOPPING))

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            sys.exit(128 + number)
        self._signal = number
        assert self._folder is not None
        self._folder.ask_to_stop()
        _warn("Stopping: every job saves and ends. A second signal stops at once.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        WholeSweep.current = None
        if self._folder is None:
            return
        self._listening.close()
        sweep = self._folder.end()
        self._folder.release()
        if self._teller is not None:
            self._teller.close()
        for line in [*self._compared(), *self._ending(sweep)]:
            _say(line)
        failed = sweep.count("failed")
        if self._signal is not None and not isinstance(error, SystemExit):
            sys.exit(128 + self._signal)
        if error is None and failed + sweep.count("interrupted"):
            sys.exit(1)
        if error is not None and type(error).__name__ == "TerminatedWorkerError":
            _warn("A job's process was killed, by a user or for lack of memory, and the launcher killed the others.")
            sys.exit(1)
        if error is not None and type(error).__name__ == "UncompletedJobError":  # of submitit
            _warn("A job's process was killed, by a user or by the cluster. The others continue.")
            sys.exit(1)
        if isinstance(error, ValueError) and failed == len(sweep.jobs):  # a search with no result
            sys.exit(1)

    def _compared(self) -> list[str]:
        """Compare the runs, as gan-compare does; returns the lines to print."""
        from gan_runner.report.report import Report
        from gan_runner.report.thumbnails import Thumbnails

        own = OmegaConf.load(str(resources.files(CONFIG_MODULE).joinpath("compare.yaml")))
        try:
            report = Report.of_sweep(self._folder_path())
            _, page = report.write(self._folder_path(), Thumbnails(**own.pictures))
        except UserError as error:  # no run has metrics yet, or a file is in the way: not an error
            return [f"No page that compares the runs was written: {error.problem}"]
        width = shutil.get_terminal_size(fallback=(200, 50)).columns
        return [report.as_text(width, failures=False), f"All runs on one page: {shown(page)}"]

    def _ending(self, sweep: Sweep) -> list[str]:
        """The lines printed at the end: counts, failures with their reasons, and commands to type next."""
        lines = [sweep.progress()]
        flags = [flag for flag in self._typed.flags if flag not in ("-m", "--multirun")]
        for problem, jobs in sweep.failures().items():
            own = next((job for job in jobs if job.start == sweep.start), None)
            if own is None:  # read from the folder: keep it on one line
                problem = " ".join(problem.split())
            lines += [f"Failed: {printable(_names_of(jobs, len(sweep.jobs)))}", textwrap.indent(problem, "  ")]
            if own is not None:  # known only from the folder for jobs of another start
                lines.append(f"  Again, alone: {printable(command_line(['gan-run', *flags, *own.overrides]))}")
        if any(job.state not in GONE_THROUGH for job in sweep.jobs) or len(sweep.jobs) < (sweep.total or 0):
            words = ["gan-run", "-m", *flags, f"sweep_resume={shown(self._folder_path())}"]
            lines.append(f"To resume: {command_line(words)}")
        return [*lines, *self._dashboard()]

    def _dashboard(self) -> list[str]:
        """The commands that show all jobs in each of their loggers."""
        assert self._logger is not None
        path = self._folder_path()
        return [f"Dashboard: {command}" for command in self._logger.view_commands(path, shown(path))]

    def _folder_path(self) -> Path:
        assert self._folder is not None
        return self._folder.path


class _Teller:
    """Prints how jobs end that do not print to this terminal; runs in a thread."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._told = {job.name for job in folder.read().jobs if job.state in GONE_THROUGH}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tell_until_done, daemon=True)
        self._thread.start()

    def _tell_until_done(self) -> None:
        while not self._done.wait(_SECONDS_BETWEEN_LOOKS):
            self._tell()

    def _tell(self) -> None:
        sweep = self._folder.read()
        for job in sweep.jobs:
            ended = job.ran and job.start == sweep.start and job.state not in ("waiting", "running")
            if job.name in self._told and not ended:  # it was queued again
                self._told.discard(job.name)
            elif ended and job.name not in self._told:
                self._told.add(job.name)
                if job.error is not None:
                    _warn(job.error)
                _say(f"{printable(job.name)}: {printable(job.state)}. {sweep.progress()}")

    def close(self) -> None:
        """Print what is left, and stop."""
        self._done.set()
        self._thread.join()
        self._tell()


class BeforeJobs(Callback):
    """Hydra's callbacks before it opens a file: check the folder, and begin the sweep, if there is one.

    Hydra only warns of an exception in a callback and continues, so here any exception ends the program.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check the folder of a single run, which may exist already."""
        with _ending_the_program():
            folder = OmegaConf.select(config, "hydra.run.dir", throw_on_resolution_failure=False)  # Hydra reports it
            if isinstance(folder, str) and Path(folder).is_dir():
                links.check_run(Path(folder), "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Begin the sweep."""
        if WholeSweep.current is not None:
            with _ending_the_program():
                WholeSweep.current.begin(config)


@contextlib.contextmanager
def _ending_the_program() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        _warn(str(error))
        sys.exit(1)
    except OmegaConfBaseException as error:
        _warn(f"The config does not resolve: {error}")
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        _warn("This is a bug in gan-runner, or in a component of your own. Nothing has been trained.")
        sys.exit(1)


def train_in_sweep(config: DictConfig) -> float | None:
    """Train, resume or skip one job of a sweep; a failure is printed and recorded, and the other jobs continue.

    Returns:
        The value for the sweeper to minimise: see `gan_runner.runs.job.run_job`. None if the job failed.
    """
    hydra = HydraConfig.get()
    path = Path(hydra.runtime.cwd, hydra.sweep.dir)
    sweep, run = SweepFolder(path), Path(hydra.runtime.output_dir)
    if not sweep.is_one():  # as with hydra.mode=MULTIRUN in a check
        from gan_runner.runs.job import run_job

        return run_job(start_of_job(config))
    number = int(hydra.job.num)
    # A job in a process of its own would print into the middle of the table.
    alone = in_own_process() and _shows_a_table(hydra.launcher._target_, config)
    job = sweep.claim(number, typed_overrides(), os.path.relpath(run, path))
    if sweep.asked_to_stop():
        return None
    quiet = Quiet.below(logging.CRITICAL) if alone else contextlib.nullcontext()
    with quiet, held_back(PREEMPTING):  # until the run can save
        found, stopped_by = _train_and_note(config, sweep, run, job)
        _give_back_memory()
        if in_own_process():
            _hand_on_preemption(stopped_by)
    return found


def _hand_on_preemption(number: int | None) -> None:
    """Give the launcher of a job what has preempted it, if it listens: submitit queues the job again, and leaves.

    Args:
        number: the signal that has stopped the job; None if none has. One that waits is given too.

    Raises:
        SystemExit: the job is queued again.
    """
    listened_for = [each for each in PREEMPTING if callable(signal.getsignal(each))]
    if number in listened_for:
        signal.raise_signal(number)  # it waits
    try:
        with let_through(listened_for):
            pass
    except Exception as error:
        log.warning("The job is not queued again: %s", error)


def _give_back_memory() -> None:
    """Free what a job that has ended holds, on GPUs too: one that ran out of memory leaves all of it to the next.

    Only here are its exception, and with that its networks, out of use.
    """
    if "torch" in sys.modules:  # a job that was skipped has not imported it
        from gan_runner.training.devices import give_back_memory

        give_back_memory()


def _train_and_note(config: DictConfig, sweep: SweepFolder, run: Path, job: Job) -> tuple[float | None, int | None]:
    """Train, and note how that has ended; gives what a sweeper gets, and the signal that has stopped it."""
    number = job.number
    assert number is not None
    try:
        return _train(config, sweep, run, job), None
    except (SystemExit, KeyboardInterrupt) as end:
        code = 128 + signal.SIGINT if isinstance(end, KeyboardInterrupt) else end.code
        stopped_by = next((each for each in STOPPING if code == 128 + each), None)
        _ended(sweep, number, "failed" if stopped_by is None else "interrupted", run)
        if stopped_by is not None and not in_own_process():
            raise
        return None, stopped_by  # an exception would have a launcher kill the other jobs, which are still saving
    except Exception as error:
        if isinstance(error, UserError) and not was_told(error):
            if Quiet.shows(logging.ERROR):
                _warn(str(error))
        elif not isinstance(error, UserError) and not was_told(error):
            raise
        problem = problem_of(error)
        _ended(sweep, number, "failed", run, problem)
        return None, None


def _parts_allowed(config: DictConfig, vouched: list[str] | None) -> Parts | None:
    """What a sweep that goes on from its folder may have made; None where all was typed."""
    return None if vouched is None else trusting([*_as_list(config.trust), *vouched])


def _train(config: DictConfig, sweep: SweepFolder, run: Path, job: Job) -> float | None:
    vouched = sweep.read().vouched
    parts = _parts_allowed(config, vouched)
    if parts is not None:
        hold_to_parts(config, parts, f"sweep_resume is {shown(sweep.path)}, but its sweep.json")
    names = [*_as_list(config.trust), *(names_typed(config) if vouched is None else vouched)]
    settings = settings_of(config, resolve=True)
    number = job.number
    assert number is not None
    if (run / ".hydra/config.yaml").is_file() and job.hash != hash_of(settings):
        _refuse_other_settings(config, run, settings, names)
    if job.state in GONE_THROUGH:
        objective = "none" if job.objective is None else f"{job.objective:.4g}"
        _say_of_job(f"{printable(job.name)} is {job.state} already, with objective {objective}.")
        return _to_minimise(job.objective, config)
    from gan_runner.record.run_folder import RunFolder
    from gan_runner.runs.job import Within, choose_gpu, gpus, run_job

    if RunFolder(run).checkpoints.any():
        config.resume = str(shown(run))
        config.trust = names
    gpu = sweep.job_started(number, hash_of(settings), gpus()).gpu
    choose_gpu(gpu)
    within = Within(
        *(sweep.asked_to_stop, sweep.measured_at, sweep.failed_so),
        parts=parts,
        again=job.state != "waiting",
        bar=not in_own_process() and Quiet.shows(logging.INFO),
        listener=_Noting(sweep, number),
    )
    found = run_job(start_of_job(config), within)
    _ended(sweep, number, str(read_summary(run).get("status")), run)
    return found


class _Noting:
    """Notes how a job stands for the sweep's table, at most once a second."""

    def __init__(self, sweep: SweepFolder, number: int) -> None:
        self._sweep, self._number, self._noted = sweep, number, -math.inf

    def __call__(self, standing: Standing) -> None:
        if time.monotonic() - self._noted >= _SECONDS_BETWEEN_LOOKS:
            self._noted = time.monotonic()
            self._sweep.note_standing(self._number, standing.as_row)


def _shows_a_table(launcher: str, config: DictConfig) -> bool:
    """Whether a table on the terminal shows how the jobs stand, rather than lines that they print.

    Ray prints what its processes say itself.
    """
    wanted = OmegaConf.select(config, "trainer.progress") is not False
    return wanted and on_a_screen() and _RAY not in launcher


def _ended(sweep: SweepFolder, number: int, state: str, run: Path, error: str | None = None) -> None:
    stands = sweep.job_ended(number, state, error)
    _say_of_job(f"{os.path.relpath(run, sweep.path)}: {state}. {stands.progress()}")


def _refuse_other_settings(config: DictConfig, run: Path, settings: dict[str, Any], names: list[str]) -> None:
    stored = read_stored(run, trusting(names), "hydra.sweep.dir")
    # A resume stores the precision that `auto` has chosen.
    but = ["trainer.precision"] if config.trainer.precision == "auto" else []
    if changes := differences(settings_of(stored.values, resolve=True), settings, but):
        raise UserError(
            f"hydra.sweep.dir has a job {run.name} already, but with other settings:\n" + "\n".join(changes),
            "Leave these as they were, or try another hydra.sweep.dir.",
        )


def _to_minimise(objective: float | None, config: DictConfig) -> float | None:
    """The value that a sweeper gets for a skipped job, negated if higher is better."""
    higher = OmegaConf.select(config, "evaluation.goal") == "higher"
    return -objective if objective is not None and higher else objective


def _refuse_processes_without_semaphores(config: DictConfig, total: int | None) -> None:
    """Refuse joblib where it would train in threads of this process, which share their random numbers."""
    if config.hydra.launcher._target_.endswith(_JOBLIB) and _jobs_at_once(config, total) != 1 and not semaphores():
        raise UserError(
            "hydra/launcher=joblib trains in processes that need semaphores in /dev/shm, but that is closed here.",
            "Open it (docker run --shm-size=64m), or leave out hydra/launcher=joblib to train one job after the other.",
        )


def _jobs_at_once(config: DictConfig, total: int | None) -> int:
    """How many jobs share this machine, according to the launcher."""
    launcher, sweeper = config.hydra.launcher, config.hydra.sweeper
    if launcher._target_.endswith(_SUBMITIT_HERE):  # starts all jobs at once
        return int(sweeper.get("n_jobs") or sweeper.get("max_batch_size") or total or 1)
    return int(launcher.get("n_jobs", 1))


def _names_of(jobs: Sequence[Job], total: int) -> str:
    """Name one or a few jobs, or say that it is all of them."""
    if 1 < len(jobs) == total:
        return f"all {total} jobs"
    names = [job.name for job in jobs[:_MOST_NAMES]]
    more = [f"{len(jobs) - _MOST_NAMES} more"] if len(jobs) > _MOST_NAMES else []
    return (f"{len(jobs)} jobs: " if len(jobs) > 1 else "") + "; ".join(names + more)


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _say_of_job(line: str) -> None:
    if Quiet.shows(logging.INFO):
        _say(line)


def _say(line: str) -> None:
    say(printable_lines(line))


def _warn(text: str) -> None:
    say(printable_lines(text), sys.stderr)


def _leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
