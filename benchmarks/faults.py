"""Random faults: is anything lost, does anything hang or end in a traceback? One campaign for each call.

    python -m benchmarks.faults flips --count 1000      single flipped bits in last.pt
    python -m benchmarks.faults stops --count 300       SIGINT, SIGTERM, SIGHUP, once or twice, at any moment
    python -m benchmarks.faults kills --count 200       kill -9 at any moment
    python -m benchmarks.faults overrides --count 500   invalid command lines, whole commands
    python -m benchmarks.faults values --count 5000     invalid values in a composed config, up to the first iteration
    python -m benchmarks.faults folders --count 500     damaged runs' folders and odd folders of images

Each case runs in a process forked from this one, which has imported the program already. The seed and a case's number
reproduce it. A campaign prints a line for each outcome and appends one to benchmarks/faults.jsonl. Outcomes in capitals
are defects, and make the exit code non-zero.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import importlib
import json
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from benchmarks.step import configured
from gan_runner.commands import main as commands
from gan_runner.config.build import build
from gan_runner.config.checking import check, too_much_asked
from gan_runner.errors import UserError
from gan_runner.record.checkpoint_files import CheckpointFiles
from gan_runner.training.first_look import first_look

for late in ("commands.check", "commands.compare", "commands.evaluate", "commands.sample", "runs.job"):
    importlib.import_module(f"gan_runner.{late}")  # so that no case waits for it

RESULTS = Path(__file__).with_name("faults.jsonl")
INTERVAL = 8  # iterations from a checkpoint to the next
ITERATIONS = 40
TINY = (
    *("trainer.batch_size=16", "trainer.device=cpu", "trainer.precision=fp32", "evaluation.num_images=16"),
    *("model.generator.widths=[16]", "model.discriminator.widths=[16]", "trainer.progress=false"),
    *("evaluation.metrics.features=null", "evaluation.objective=sliced_wasserstein"),  # whose features take a while
)
RUN = (
    *(*TINY, "hydra.run.dir=run", f"trainer.iterations={ITERATIONS}", "trainer.intervals_in=iterations"),
    *(f"trainer.checkpoint_every={INTERVAL}", "trainer.log_every=1", "trainer.sample_every=20"),
)
_MEGABYTES = 2048  # of memory: a case that has more counts as too large, and it gets little more than that
_ONE_WISH = 0.4  # seconds, and fewer than a run takes for one: two signals so close are one wish to stop
PATIENCE = 60.0  # seconds after which it counts as hanging
_STANDSTILL = 1.0  # seconds for a wait of 5 ms: the machine has slept, or somebody has stopped what runs on it
_MARK = "\x1e"  # around what becomes of a case
_BUG = 70  # exit code of a case that ended in an exception


# ---- a case in a process of its own ---------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, below 0 for a signal; None where it had to be killed.
        text: what it printed.
        seconds: how long it took; of a process that was sent a signal, from then on.
        megabytes: the most memory it had, what it shares with its parent included.
        processor_seconds: how long it computed, which does not depend on what else the machine does.
    """

    code: int | None
    text: str
    seconds: float
    megabytes: float
    processor_seconds: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong with it whatever it did, or ""."""
        if self.code is None:
            return "HANGS"
        if self.code == _BUG or "Traceback (most recent call last)" in self.text or "This is a bug" in self.text:
            return "TRACEBACK"
        if self.code < 0:
            return f"KILLED BY {signal.Signals(-self.code).name}"
        return "TOO MUCH MEMORY" if self.megabytes > _MEGABYTES else ""


def command(name: str, *arguments: str) -> Callable[[], None]:
    """What calls `gan-NAME` with these arguments."""

    def job() -> None:
        sys.argv = [f"gan-{name}", *arguments]
        getattr(commands, {"eval": "evaluate"}.get(name, name))()

    return job


class Process:
    """A forked process, in a group of its own.

    Args:
        job: what it does.
        folder: where.
    """

    def __init__(self, job: Callable[[], None], folder: Path) -> None:
        self._output = folder / ".output"
        self._began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_as_a_program(job, folder, self._output))
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)

    def send(self, number: int, *, group: bool) -> None:
        """Send a signal; the process may have ended."""
        self._began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def ended(self, patience: float = PATIENCE) -> Ended:
        """Wait for its end; kills it after so many seconds, those left out in which this process stood still too."""
        in_time = True
        looked = time.monotonic()
        while (found := os.wait4(self.pid, os.WNOHANG))[0] == 0:
            if in_time and time.monotonic() - self._began > patience:
                in_time = False
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
            if (passed := time.monotonic() - looked) > _STANDSTILL:
                self._began += passed
            looked = time.monotonic()
        code = os.waitstatus_to_exitcode(found[1]) if in_time else None
        text = self._output.read_text(errors="replace") if self._output.exists() else ""
        used = found[2]
        seconds = time.monotonic() - self._began
        return Ended(code, text, seconds, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)


def _as_a_program(job: Callable[[], None], folder: Path, output: Path) -> int:
    """Be a process that does the job; gives its exit code."""
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        code = 0
        try:
            job()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except KeyboardInterrupt:  # before a command could take it
            code = 128 + signal.SIGINT
        except BaseException:
            traceback.print_exc()
            code = _BUG
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    except BaseException:
        return _BUG


def with_bounded_memory(job: Callable[[], None]) -> Callable[[], None]:
    """The job where as much memory as a case may have is all that there is."""

    def bounded() -> None:
        mapped, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
        more = _MEGABYTES * 2**20 - resident * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped * resource.getpagesize() + more,) * 2)
        job()

    return bounded


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its kind, in capitals where it is a defect; how it ended; what to tell of it."""

    kind: str
    ended: Ended | None = None
    about: str = ""


def judged(ended: Ended, about: str) -> Outcome:
    refused = "refused for want of memory" if "too little memory" in ended.text else "refused"
    return Outcome(ended.fault or ("runs" if ended.code == 0 else refused), ended, about)


# ---- runs that are disturbed ----------------------------------------------------------------------------


def weights_of(folder: Path, name: str = "last") -> str:
    """A checkpoint's weights, optimizers and averages, in one number."""
    return _digest(CheckpointFiles(folder / "run/checkpoints").load(name, torch.device("cpu"))["players"])


def _digest(state: object) -> str:
    total = hashlib.sha256()

    def add(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                total.update(repr(key).encode())
                add(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                add(inner)
        elif isinstance(value, torch.Tensor):
            total.update(value.contiguous().numpy().tobytes())
        else:
            total.update(repr(value).encode())

    add(state)
    return total.hexdigest()


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def finished(job: Callable[[], None], folder: Path) -> float:
    """Run what nothing disturbs; gives the seconds."""
    ended = Process(job, folder).ended()
    if ended.code != 0:
        raise SystemExit(ended.text)
    return ended.seconds


def flips(draw: random.Random, count: int) -> Iterator[Outcome]:
    """A flipped bit in last.pt: it is noticed and the run goes on from the one before, or it changes nothing."""
    with _scratch() as folder:
        finished(command("run", *RUN, "data.limit=64"), folder)
        files = CheckpointFiles(folder / "run/checkpoints")
        last, before = files.path("last"), str(files.iterations()[-1])
        whole = {name: weights_of(folder, name) for name in ("last", before)}
        content = last.read_bytes()
        for number in range(count):
            last.unlink()
            last.write_bytes(damaged := _flipped(draw, content))
            place = next(at for at, (new, old) in enumerate(zip(damaged, content, strict=True)) if new != old)
            about = f"byte {place:,}"
            try:
                found = files.load_newest(torch.device("cpu"))
            except Exception as error:
                yield Outcome("LOST", about=f"{about}: {error!r}")
                continue
            at, weights = str(found["progress"]["iteration"]), _digest(found["players"])
            if weights not in (whole["last"], whole[before]) or (at == before) != (weights == whole[before]):
                yield Outcome("ALTERED", about=about)
            elif number % 20 == 0:  # by the whole program
                ended = Process(command("run", "resume=run"), folder).ended()
                same = ended.code == 0 and weights_of(folder) == whole["last"]
                kind = "goes on from the one before, to the same bits" if at == before else "changes nothing"
                yield Outcome(ended.fault or (kind if same else "OTHER BITS"), ended, about)
            else:
                yield Outcome("noticed, the one before is read" if at == before else "changes nothing", about=about)


DATA = {
    "resident": ("data.limit=64",),
    "streamed": ("data.limit=64", "data.resident=false"),
    "pictures": ("data=image_folder", "data.root=../png", "data.image_size=28"),
    "streamed pictures": (*("data=image_folder", "data.root=../png", "data.image_size=28", "data.resident=false"),),
}


def _some_pictures(folder: Path, count: int) -> None:
    """Pictures that take half a second to load."""
    folder.mkdir()
    pixels = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(pixels.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(folder / f"{number}.png")


@dataclass(frozen=True)
class Disturbed:
    """A run that was disturbed: how it ended, by what, and whether it was told to leave without saving."""

    ended: Ended
    what: str
    at_once: bool


def _disturbed(
    draw: random.Random, count: int, disturb: Callable[[Process, random.Random], Disturbed]
) -> Iterator[Outcome]:
    """Runs that are disturbed at a random moment and gone on with, each compared with an undisturbed one."""
    with _scratch() as folder:
        _some_pictures(folder / "png", 300)
        wanted: dict[str, str] = {}
        begins: dict[str, float] = {}
        for number in range(count):
            name = list(DATA)[number % len(DATA)]
            if name not in wanted:
                wanted[name], begins[name] = _undisturbed(folder / name, DATA[name])
            here = folder / str(number)
            here.mkdir()
            process = Process(command("run", *RUN, *DATA[name]), here)
            if draw.random() < 0.3:
                moment = draw.uniform(0, begins[name])
                time.sleep(moment)
                when = f"after {moment:.3f} s"
            else:
                iteration = draw.randrange(1, ITERATIONS + 1)
                _wait_for(process, here, iteration)
                time.sleep(draw.uniform(0, 0.05))
                when = f"after iteration {iteration}"
            found = disturb(process, draw)
            yield _gone_on_with(here, found, wanted[name], f"{found.what} {when}, {name} data")
            shutil.rmtree(here)


def _undisturbed(folder: Path, data: Sequence[str]) -> tuple[str, float]:
    """What a run comes to, and the seconds that it takes to its first iteration."""
    folder.mkdir()
    began = time.monotonic()
    process = Process(command("run", *RUN, *data), folder)
    _wait_for(process, folder, 1)
    begins = time.monotonic() - began
    if process.ended().code != 0:
        raise SystemExit((folder / ".output").read_text())
    return weights_of(folder), begins


def _wait_for(process: Process, here: Path, iteration: int) -> None:
    """Wait until a run has logged an iteration, or has ended."""
    while process.runs() and _last_iteration(here) < iteration:
        time.sleep(0.002)


def _gone_on_with(here: Path, disturbed: Disturbed, wanted: str, about: str) -> Outcome:
    """Resume; what was told to leave at once may lose an interval, and a checkpoint that was being written."""
    ended = disturbed.ended
    if ended.fault and ended.code != -signal.SIGKILL:
        # A signal before the run has taken it, or once its record is whole, ends the process as it ends any other.
        summary = here / "run/summary.json"
        if not ended.fault.startswith("KILLED") or '"running"' in (summary.read_text() if summary.exists() else ""):
            return Outcome(ended.fault, ended, about)
        if not summary.exists():
            return Outcome("ends before the run begins", ended, about)
    if not CheckpointFiles(here / "run/checkpoints").any():
        reached = _last_iteration(here)
        return Outcome("NO CHECKPOINT" if reached else "ends before the run begins", ended, about)
    reached = _last_iteration(here)
    again = Process(command("run", "resume=run"), here).ended()
    if again.code != 0 or again.fault:
        return Outcome(again.fault or "CANNOT BE RESUMED", again, about)
    said = again.text.partition("Resumed at iteration ")[2].partition(",")[0]
    lost = reached - int(said) if said.isdecimal() else 0
    if lost > (2 * INTERVAL if disturbed.at_once else 0):
        return Outcome("LOSES MORE", again, f"{about}: {reached} to {said}")
    if weights_of(here) != wanted:
        return Outcome("OTHER BITS", again, about)
    if lost > INTERVAL:
        return Outcome("goes on to the same bits, but for a checkpoint that was being written", again, about)
    if not said:
        return Outcome("had finished", ended, about)
    return Outcome("goes on to the same bits", ended, about)


def _last_iteration(here: Path) -> int:
    path = here / "run/metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            return int(json.loads(line)["iteration"])
    return 0


def stops(draw: random.Random, count: int) -> Iterator[Outcome]:
    """SIGINT, SIGTERM or SIGHUP at a random moment, sometimes a second one within two seconds: it ends within 10 s."""

    def disturb(process: Process, draw: random.Random) -> Disturbed:
        number, group = draw.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)), draw.random() < 0.5
        process.send(number, group=group)
        pause = 2 * draw.uniform(0, 1) ** 2 if draw.random() < 0.5 else None
        if pause is not None:
            time.sleep(pause)
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(process.pid, number)
        again = "" if pause is None else f", again after {pause:.3f} s"
        what = f"{number.name} to the {'group' if group else 'process'}{again}"
        return Disturbed(process.ended(patience=10.0), what, at_once=pause is not None and pause > _ONE_WISH)

    return _disturbed(draw, count, disturb)


def kills(draw: random.Random, count: int) -> Iterator[Outcome]:
    """`kill -9` at a random moment: at most one interval is lost, and a checkpoint that is being written just then.

    Here that takes about as long as an interval does.
    """

    def disturb(process: Process, draw: random.Random) -> Disturbed:
        process.send(signal.SIGKILL, group=True)
        return Disturbed(process.ended(), "kill -9", at_once=True)

    return _disturbed(draw, count, disturb)


# ---- what is typed --------------------------------------------------------------------------------------

CHOICES = {
    "data": ("digits", "digits", "digits", "stacked", "fashion_mnist", "image_folder", "idx", "mnist"),
    "model": ("mlp", "mlp", "mlp_relu", "dcgan", "resnet"),
    "optimizer": ("adam", "ttur"),
    "labels": ("hard", "smooth", "noisy"),
    "latent": ("normal", "truncated_normal", "uniform"),
    "loss": ("nonsaturating", "minimax", "hinge", "least_squares", "wasserstein", "relativistic"),
    "penalty": ("none", "none", "r1", "r2", "r1_r2", "gradient_penalty", "finite_difference", "several"),
    "augment": ("none", "none", "diffaugment", "ada"),
    "learning_rate": ("constant", "cosine", "linear", "time_decay"),
    "schedule": ("alternating", "rounds"),
    "evaluation": ("off", "fast", "full"),
    "experiment": ("smoke", "keras_dcgan", "tf_mlp", "rounds"),
}
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 16, 28, 29, 100, 1000, -1, -3, 0.1, 0.5, 0.999, 1.0, 1.5, -0.5, 1e-12, 1e-320, 1e30)
HUGE = (1e308, 10**5, 10**6, 10**9, 2**31, 2**63, 10**30)
OTHERS: tuple[object, ...] = (
    *(None, True, False, "", "auto", "all", "text", "Infinity", "é漢", "a b", "../..", "/dev/null", "/nowhere/x"),
    *(float("nan"), float("inf"), float("-inf"), [], [1, 2], [0], [-1], [[1]], [None], ["a"]),
    *([16, 16], [0.5, 0.999], [2, 2], {}, {"a": 1}, {"a": None}),
    *({"_target_": "torch.nn.ReLU"}, {"_target_": 3}, {"_target_": "os.getcwd"}),
)
_GRAMMAR = ("[", "{", "}", "${", "(1", "a=b", "'", "choice(1,2)", "range(3)", "???", "1 2")
# What may not be drawn at random, or fetches from the network, or trains for long.
_LEFT_ALONE = (
    *("data.download", "trainer.device", "trainer.iterations", "trainer.progress", "resume", "trust"),
    *("schedule.d_steps", "schedule.g_steps"),
)


def _value(draw: random.Random) -> object:
    return draw.choice(draw.choice((NUMBERS, NUMBERS, HUGE, OTHERS)))


def _typed(value: object) -> str:
    """A value as it is typed."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_typed(inner)}' for key, inner in value.items())}}}"
    return f"'{value}'" if isinstance(value, str) else repr(value)


def keys_of(config: DictConfig) -> list[str]:
    """Every dotted key of a config, leaves and what holds them."""

    def below(node: object, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, inner in node.items():
                here = f"{path}.{key}" if path else str(key)
                yield here
                yield from below(inner, here)

    found = below(OmegaConf.to_container(config, resolve=False), "")
    return [key for key in found if not key.startswith(_LEFT_ALONE)]


def _misspelt(draw: random.Random, key: str) -> str:
    place = draw.randrange(len(key))
    return key[:place] + draw.choice(("", "x", ".", "_", key[place] * 2)) + key[place + 1 :]


def one_override(draw: random.Random, keys: Sequence[str]) -> str:
    """Something that somebody could type by mistake."""
    key, value = draw.choice(keys), _typed(_value(draw))
    other = draw.choice(keys)
    group = draw.choice(list(CHOICES))
    return draw.choice(
        (
            *(f"{key}={value}",) * 8,
            *(f"{group}={draw.choice(CHOICES[group])}",) * 4,
            f"+{key}={value}",
            f"++{key}={value}",
            f"+{key}.more={value}",
            f"~{key}",
            f"~{key}={value}",
            f"{_misspelt(draw, key)}={value}",
            f"{group}={draw.choice(('none', 'nothing', 'null', '[1,2]', '', 'mlp', '{a:1}', '../x'))}",
            f"{group}@{key}={draw.choice(CHOICES[group])}",
            f"{key}=${{{other}}}",
            f"{key}=${{{key}}}",
            f"{key}=${{oc.env:NOWHERE}}",
            f"{key}={value},{value}",
            f"{key}=",
            key,
            f"{key}={draw.choice(_GRAMMAR)}",
            f"{key}={'9' * 400}",
            draw.choice(("=", "==1", ".=1", "~", "+", "@", "a@", "--x", "-", " ", "\t", "hydra.verbose=maybe", "seed")),
            draw.choice(("hydra.job.name=null", "hydra/job_logging=disabled", "hydra/launcher=x", "hydra.run.dir=''")),
        )
    )


def some_overrides(draw: random.Random, keys: Sequence[str]) -> tuple[str, list[str]]:
    """A command, and what is typed after it: 1 to 3 mistakes, and what makes it quick where nothing stops it."""
    name = draw.choice(("run", "run", "run", "check", "check", "sample"))
    mistakes = [one_override(draw, keys) for _ in range(draw.choice((1, 1, 2, 3)))]
    if name == "sample":
        of_sample = ("num", "output", "checkpoint", "seed", "device", "trust")
        words = [one_override(draw, of_sample) for _ in mistakes]
        return name, [*words, *["run=run"] * (draw.random() < 0.9), *["num=4"] * (draw.random() < 0.8)]
    quick = ["data.limit=64", "trainer.batch_size=16", "trainer.precision=fp32", "trainer.device=cpu"]
    last = "trainer.iterations=2" if name == "run" else "preflight.seconds=0.01"
    return name, [*quick, *mistakes, last]


def overrides(draw: random.Random, count: int) -> Iterator[Outcome]:
    """Command lines that make no sense: each ends in a message or in a run, soon and in little memory."""
    with _scratch() as folder:
        (folder / "whole").mkdir()
        finished(command("run", *RUN, "data.limit=64"), folder / "whole")
        keys = {model: keys_of(configured(f"model={model}")) for model in CHOICES["model"]}
        for number in range(count):
            name, words = some_overrides(draw, keys[draw.choice(CHOICES["model"])])
            here = folder / str(number)
            here.mkdir()
            if name == "sample":
                shutil.copytree(folder / "whole/run", here / "run")
            ended = Process(with_bounded_memory(command(name, *words)), here).ended()
            yield judged(ended, f"gan-{name} {' '.join(words)}")
            shutil.rmtree(here)


def some_choices(draw: random.Random) -> dict[str, str]:
    """A choice for a few groups, of those that need no further word."""
    names = draw.sample(sorted(CHOICES), draw.choice((1, 2, 3)))
    skipped = ("fashion_mnist", "image_folder", "idx", "mnist")
    return {name: draw.choice([each for each in CHOICES[name] if each not in skipped]) for name in names}


def some_values(draw: random.Random, keys: Sequence[str]) -> dict[str, object]:
    """Values for one to three keys."""
    return {draw.choice(keys): _value(draw) for _ in range(draw.choice((1, 1, 2, 3)))}


def tried(config: DictConfig, choices: dict[str, str], values: dict[str, object]) -> None:
    """Give a config values, and take it as far as its first turn.

    Raises:
        UserError: it is refused.
    """
    base = config
    config = copy.deepcopy(base)
    for key, value in values.items():
        try:
            OmegaConf.update(config, key, value, merge=False)
        except (OmegaConfBaseException, ValueError, TypeError, AssertionError) as error:  # the commands explain it
            raise UserError(str(error), "Type something else.") from error

    def default_of(key: str) -> object:
        value = OmegaConf.select(base, key, default=KeyError)
        if value is KeyError:
            raise KeyError(key)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value

    check(config, [f"{group}={choice}" for group, choice in choices.items()], choices, default_of)
    experiment = build(config)
    first_look(experiment)
    turn = experiment.schedule.next_turn(experiment.step, experiment.epoch)
    with contextlib.closing(experiment.loader):
        if turn.d_steps + turn.g_steps < 100:  # or it takes as long as was asked for
            experiment.step.play(turn, 0)


def values(draw: random.Random, count: int) -> Iterator[Outcome]:
    """Values that make no sense in a composed config: refused before the first turn, or they can be played with.

    A process takes many cases one after the other, and says what becomes of each.
    """
    quick = ["data.limit=64", "trainer.batch_size=16", "trainer.precision=fp32", "trainer.device=cpu"]
    with _scratch() as folder:
        while count > 0:
            choices = some_choices(draw)
            typed = [*(f"{group}={choice}" for group, choice in choices.items()), *quick]
            base = configured(*typed)
            keys = keys_of(base)
            cases = [some_values(draw, keys) for _ in range(min(count, 50))]

            def job(base: DictConfig = base, choices: dict[str, str] = choices, cases: Any = cases) -> None:
                for drawn in cases:
                    kind = "runs"
                    try:
                        with too_much_asked():
                            tried(base, choices, drawn)
                    except UserError as error:
                        kind = "refused for want of memory" if "too little memory" in error.problem else "refused"
                    except Exception:
                        traceback.print_exc(file=sys.stdout)
                        kind = "TRACEBACK"
                    print(f"{_MARK}{kind}{_MARK}", flush=True)

            ended = Process(with_bounded_memory(job), folder).ended()
            texts, kinds = (ended.text.split(_MARK)[start::2] for start in (0, 1))
            if len(kinds) < len(cases):  # it ended in the middle of one
                kinds.append("HANGS" if ended.code is None else "DIES")
            if ended.megabytes > _MEGABYTES:
                kinds[-1] = "TOO MUCH MEMORY"
            for kind, drawn, text in zip(kinds, cases, texts, strict=False):
                words = [*typed, *(f"{key}={_typed(value)}" for key, value in drawn.items())]
                yield Outcome(kind, Ended(ended.code, text, 0.0, ended.megabytes), " ".join(words))
            count -= len(kinds)


# ---- what lies on the disk ------------------------------------------------------------------------------


def damage(draw: random.Random, path: Path) -> str:
    """Do something to a file that should not happen; says what."""
    content = path.read_bytes()
    what = draw.choice(("flip", "flip", "cut", "empty", "noise", "gone", "folder", "loop", "text", "twice", "value"))
    if what == "value" and path.suffix in (".yaml", ".json", ".jsonl"):
        words = content.decode().split(" ")
        words[draw.randrange(len(words))] = draw.choice((str(_value(draw)), "\n", "- x\n", "{", "*a", "!!python/x y"))
        path.write_text(" ".join(words))
        return what
    path.unlink()
    if what == "flip" and content:
        path.write_bytes(_flipped(draw, content, draw.choice((1, 1, 3, 50))))
    elif what == "cut":
        path.write_bytes(content[: draw.randrange(len(content) + 1)])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "noise":
        path.write_bytes(draw.randbytes(draw.choice((1, 100, 10_000))))
    elif what == "folder":
        path.mkdir()
    elif what == "loop":
        path.symlink_to(path.name)
    elif what == "text":
        path.write_text("[1, 2, {a: null}]\n")
    elif what in ("twice", "value"):
        path.write_bytes(content * 2)
    return what


def _flipped(draw: random.Random, content: bytes, bits: int = 1) -> bytes:
    changed = bytearray(content)
    for _ in range(bits):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def odd_pictures(draw: random.Random, folder: Path) -> str:
    """Fill a folder with pictures, good and odd; says with which."""
    folder.mkdir()
    kinds = draw.sample(ODD, draw.choice((1, 2, 3)))
    for number in range(draw.choice((0, 1, 20))):
        Image.new("RGB", (40, 30), (number, 0, 0)).save(folder / f"{number}.png")
    for kind in kinds:
        _odd(kind, draw, folder)
    return " ".join(kinds)


ODD = (
    *("cut", "empty", "text", "nested", "names", "modes", "tiny", "wide", "animated", "loop", "fifo", "noise"),
    *("folder.png", "hidden", "ending", "sixteen", "flipped"),
)


def _odd(kind: str, draw: random.Random, folder: Path) -> None:
    good = folder / f"odd-{kind}.png"
    picture = Image.new("RGB", (32, 32), (200, 100, 50))
    match kind:
        case "nested":
            deep = folder / "a/b/c"
            deep.mkdir(parents=True)
            picture.save(deep / "x.png")
        case "names":
            for name in (b"\xe9.png", b"\x1b[31m.png", b"a\nb.png", b" .png"):
                with contextlib.suppress(OSError):
                    shutil.copyfile(_saved(picture, good), os.path.join(os.fsencode(folder), name))
        case "modes":
            for mode in ("1", "L", "P", "RGBA", "LA", "I;16", "F", "CMYK"):
                ending = "tif" if mode in ("F", "CMYK") else "png"
                Image.new(mode, (32, 32)).save(folder / f"{mode[0]}{len(mode)}.{ending}")
        case "tiny":
            picture.resize((1, 1)).save(good)
        case "wide":
            picture.resize((20_000, 1)).save(good)
        case "animated":
            picture.save(folder / "moves.gif", save_all=True, append_images=[picture.rotate(9)] * 5)
        case "loop":
            (folder / "loop").symlink_to(folder)
            good.symlink_to(good.name)
        case "fifo":
            os.mkfifo(good)
        case "folder.png":
            (folder / "folder.png").mkdir()
        case "hidden":
            picture.save(folder / ".hidden.png")
        case "ending":
            picture.save(good)
            good.rename(folder / "picture.JPEG")
        case "sixteen":
            Image.fromarray(np.full((30, 30), 40_000, np.uint16)).save(good)
        case "flipped":
            good.write_bytes(_flipped(draw, _saved(picture, good).read_bytes()))
        case _:
            content = _saved(picture, good).read_bytes()
            new = {"cut": content[: draw.randrange(len(content))], "empty": b"", "text": b"hello\n"}
            good.write_bytes(new.get(kind, draw.randbytes(500)))


def _saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


_SHORTER = f"trainer.iterations={ITERATIONS + 2}"
OF_A_RUN: tuple[tuple[str, ...], ...] = (
    *(("run", "resume=run", _SHORTER), ("run", "resume=run", _SHORTER), ("sample", "run=run", "num=4")),
    *(("sample", "run=run", "num=4", "checkpoint=best"), ("compare", "runs=[run]"), ("eval", "run=run", "num=16")),
)
OF_PICTURES: tuple[tuple[str, ...], ...] = (
    ("run", "data=image_folder", "data.root=pictures", *TINY, "trainer.iterations=2", "hydra.run.dir=run"),
    ("check", "data=image_folder", "data.root=pictures", *TINY, "preflight.seconds=0.01"),
)


def folders(draw: random.Random, count: int) -> Iterator[Outcome]:
    """Damaged folders of runs, and odd folders of pictures: a message, or it goes on; soon and in little memory."""
    with _scratch() as folder:
        (folder / "whole").mkdir()
        finished(command("run", *RUN, "data.limit=64"), folder / "whole")
        files = [path.relative_to(folder / "whole") for path in (folder / "whole/run").rglob("*") if path.is_file()]
        files.sort()
        for number in range(count):
            here = folder / str(number)
            here.mkdir()
            if draw.random() < 0.7:
                shutil.copytree(folder / "whole/run", here / "run")
                which = draw.sample(files, draw.choice((1, 1, 2)))
                about = ", ".join(f"{damage(draw, here / path)} of {path}" for path in which)
                words = draw.choice(OF_A_RUN)
            else:
                about = odd_pictures(draw, here / "pictures")
                words = draw.choice(OF_PICTURES)
            ended = Process(with_bounded_memory(command(*words)), here).ended()
            yield judged(ended, f"{about}: gan-{' '.join(words)}")
            shutil.rmtree(here)


# ---- campaigns ------------------------------------------------------------------------------------------

CAMPAIGNS: dict[str, Callable[[random.Random, int], Iterator[Outcome]]] = {
    each.__name__: each for each in (flips, stops, kills, overrides, values, folders)
}


def is_defect(kind: str) -> bool:
    """Whether an outcome of this kind is one."""
    return kind.isupper()


def main(campaigns: Mapping[str, Callable[[random.Random, int], Iterator[Outcome]]], about: str, results: Path) -> None:
    """Call one campaign from the command line, and print what becomes of its cases.

    Args:
        campaigns: by name.
        about: what --help says.
        results: the file that its line is added to.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=list(campaigns))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no further case is begun")
    parser.add_argument("--results", type=Path, default=results, help="where its line goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger().addHandler(logging.NullHandler())  # what is read here is told by its outcome
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    defects, slowest, most = [], 0.0, 0.0
    for outcome in campaigns[options.campaign](random.Random(options.seed), options.count):
        kinds[outcome.kind] += 1
        if outcome.ended is not None:
            slowest, most = max(slowest, outcome.ended.seconds), max(most, outcome.ended.megabytes)
        if is_defect(outcome.kind):
            defects.append(f"{outcome.kind}: {outcome.about}")
            tail = outcome.ended.text.splitlines()[-12:] if outcome.ended else []
            print(defects[-1], *tail, sep="\n  ", flush=True)
        if time.monotonic() - began > 60 * options.minutes:
            break
    for kind, number in kinds.most_common():
        print(f"{number:6} {kind}")
    print(f"slowest {slowest:.1f} s, most memory {most:,.0f} MB")
    line = {"campaign": options.campaign, "seed": options.seed, "cases": kinds.total(), "kinds": dict(kinds)}
    line |= {"slowest_seconds": round(slowest, 2), "most_megabytes": round(most), "defects": defects}
    with options.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    sys.exit(bool(defects))


if __name__ == "__main__":
    main(CAMPAIGNS, __doc__ or "", RESULTS)
