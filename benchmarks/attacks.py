"""Fuzz whole commands with malicious folders: is anything executed, leaked or written outside the folder, does it hang?

    python -m benchmarks.attacks configs --count 1000       the YAML files of a run: values, keys, references, syntax
    python -m benchmarks.attacks checkpoints --count 500    its checkpoints: states, archives, pickles
    python -m benchmarks.attacks files --count 500          kinds of its files (links, FIFOs, holes), JSON, pictures
    python -m benchmarks.attacks sweeps --count 500         the arguments in sweep.json, and all of the above
    python -m benchmarks.attacks exports --count 500        exported folders: components, weights, kinds of files

A case is a valid folder with one to three mutations, opened by a command in a process forked from this one. In that
process an audit hook exits as soon as it would start a program, open a connection, write outside the folder, read a
planted secret, or import an unexpected module. No file and no line of output may contain the planted environment
variable. Outcomes in capitals are defects; see `benchmarks.faults` for the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import faults
from benchmarks.faults import Outcome, Process, command
from benchmarks.mutations import (
    ADVICE,
    OF_CHECKPOINTS,
    OF_CONFIGS,
    OF_EXPORTS,
    OF_FILES,
    OF_SWEEPS,
    OUTSIDE,
    SECRET,
    VARIABLE,
    Mutation,
    mutated,
    plant,
)
from gan_runner import UserError
from gan_runner.export import load_exported

RESULTS = Path(__file__).with_name("attacks.jsonl")
_SECONDS = 10.0  # of the processor, that a command may take beyond what the good folder takes
_PATIENCE = 240.0  # seconds after which it counts as hanging, also where others take most of the machine
_CAUGHT = 97  # exit code of a process that the audit hook has ended
_LARGEST = 2**24  # bytes at each end of a file that are looked through

RUN = (
    *("data.limit=64", "trainer.batch_size=16", "trainer.iterations=2", "trainer.device=cpu", "trainer.precision=fp32"),
    *("model.generator.widths=[16]", "model.discriminator.widths=[16]", "trainer.progress=false"),
    *("evaluation=pixels", "evaluation.num_images=16", "trainer.sample_rows=2", "trainer.sample_columns=2"),
)
OF_A_RUN = (
    ("sample", "run=run", "num=4", "output=out.png", "device=cpu"),
    ("run", "resume=run", "trainer.iterations=3"),
    ("eval", "run=run", "num=16", "real=16", "evaluation=fast", "device=cpu", "checkpoint=last"),
    ("export", "run=run", "output=out", "device=cpu"),
    ("compare", "runs=[run]", "output=out"),
)
OF_AN_EXPORT = (("load", "export"),)
OF_A_SWEEP = (
    ("run", "-m", "sweep_resume=sweep"),
    ("compare", "sweep=sweep"),
    ("run", "-m", *RUN, "seed=0,1", "hydra.sweep.dir=sweep"),
)


# ---- what a case must not do ----------------------------------------------------------------------------

# Events of Python's audit table (docs.python.org/3/library/audit_events.html) that none of these commands needs.
_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen", "pty.spawn")
_NETWORK = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request", "http.client")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate")
_CALLS = ("ftplib.connect", "smtplib.connect", "webbrowser.open", "code.__new__", "pickle.find_class")
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Watch:
    """An audit hook that names what a command must not do; it cannot be taken away, but it can be idle.

    Attributes:
        on: whether it looks.
        here: the folder that a command runs in.
        may_write: what lies in it, by name, that the command may change.
        elsewhere: further folders that it may change: caches, temporary files.
        seen: what it has caught.
        ends: whether to end the process there, where an exception could be caught.
    """

    on: bool = False
    here: Path = Path("/nowhere")
    may_write: tuple[str, ...] = ()
    elsewhere: tuple[Path, ...] = ()
    seen: list[str] = field(default_factory=list)
    ends: bool = False

    def __post_init__(self) -> None:
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if (caught := self._caught(event, arguments)) is not None:
            self.on = False
            self.seen.append(caught)
            if self.ends:
                os.write(2, f"CAUGHT: {caught}\n".encode(errors="replace"))
                os._exit(_CAUGHT)
            raise PermissionError(caught)

    def _caught(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event.startswith(_PROGRAMS):
            # The program asks git which commit it is, and the kernel which processor this is.
            return (
                None if event == "subprocess.Popen" and "git" in str(arguments[:2]) else f"PROGRAM {arguments!r:.200}"
            )
        if event.startswith((*_NETWORK, *_CALLS)):
            return f"{event} {arguments!r:.200}"
        if event == "import" and self._is_a_strangers(str(arguments[0]).partition(".")[0]):
            return f"import {arguments[0]}"
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = Path(os.fsdecode(arguments[0]))
            if path.name == VARIABLE:
                return f"read {path}"
            writes = isinstance(arguments[2], int) and arguments[2] & _FOR_WRITING
            return f"write {path}" if writes and not self._may_change(path) else None
        if event.startswith(_CHANGES):
            names = [Path(os.fsdecode(each)) for each in arguments if isinstance(each, str | bytes | os.PathLike)]
            # A name may be relative to an open folder, the last argument: shutil.rmtree removes files so.
            inside = event != "os.truncate" and isinstance(arguments[-1], int) and arguments[-1] >= 0
            paths = [Path(f"/proc/self/fd/{arguments[-1]}") / name for name in names] if inside else names
            outside = [path for path in paths if path.name and not self._may_change(path)]
            return f"{event} {outside[0]}" if outside else None
        return None

    def _is_a_strangers(self, module: str) -> bool:
        """Whether a module lies beside the folder, or does something by being imported."""
        return module in ("antigravity", "idlelib", "pip", "this") or (self.here / f"{module}.py").exists()

    def _may_change(self, path: Path) -> bool:
        whole = Path(os.path.realpath(path.absolute().parent)) / path.name
        if whole.is_relative_to("/dev") or any(whole.is_relative_to(each) for each in self.elsewhere):
            return True
        if not whole.is_relative_to(self.here):
            return False
        first = (*whole.relative_to(self.here).parts, "")[0]
        return first.startswith(self.may_write)


WATCH: list[Watch] = []  # the one of this process, made where one is first needed


def watched(here: Path) -> Watch:
    """The watch, set to a command that runs here on a folder called run or sweep or export."""
    if not WATCH:
        WATCH.append(Watch())
    watch = WATCH[0]
    watch.here, watch.may_write = (
        Path(os.path.realpath(here)),
        ("run", "sweep", "out", ".output", ".writing-out", "outputs", "multirun"),
    )
    cache = os.environ.get("GAN_CACHE")
    watch.elsewhere = (Path(os.path.realpath(cache)),) if cache else ()
    watch.seen.clear()
    return watch


@contextlib.contextmanager
def looking(watch: Watch) -> Iterator[None]:
    """In here the watch looks.

    Python keeps no compiled modules meanwhile: that would be a write of its own, refused in the middle of an import,
    where an exception can come to nobody.
    """
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    watch.on = True
    try:
        yield
    finally:
        watch.on = False
        sys.dont_write_bytecode = before


def leaked(here: Path, text: str) -> str:
    """Where the planted secret has come to, "" for nowhere."""
    if SECRET in text:
        return "the output"
    files = (path for path in here.rglob("*") if path.is_file() and not path.is_symlink() and path.name != VARIABLE)
    return next((str(path) for path in files if SECRET.encode() in _ends_of(path)), "")


def _ends_of(path: Path) -> bytes:
    """A file, without the middle of one that is all holes."""
    with path.open("rb") as file:
        begins = file.read(_LARGEST)
        file.seek(max(len(begins), path.stat().st_size - _LARGEST))
        return begins + file.read()


def speaks_for_us(text: str) -> str:
    """Untrusted output: a control character, or a line that imitates this program's own advice; "" if there is none."""
    steering = next((character for character in "\x1b\x07\x9b" if character in text), "")
    advice = next((line for line in text.splitlines() if line.lstrip().startswith(ADVICE)), "")
    return repr(steering) if steering else advice


def outside_as_it_was(here: Path) -> bool:
    """Whether nothing beside the folder has been changed, made or removed."""
    names = sorted(str(path.relative_to(here / OUTSIDE)) for path in (here / OUTSIDE).rglob("*"))
    return names == [VARIABLE, "folder", "precious.txt"] and (here / OUTSIDE / "precious.txt").read_text() == "precious"


# ---- cases ----------------------------------------------------------------------------------------------


def good_run(folder: Path) -> None:
    """A run's folder as the program leaves it: FOLDER/run."""
    faults.finished(command("run", *RUN, "hydra.run.dir=run"), folder)


def good_sweep(folder: Path) -> None:
    """A sweep's folder of two jobs, of which one has not begun: FOLDER/sweep."""
    faults.finished(command("run", "-m", *RUN, "seed=0,1", "hydra.sweep.dir=sweep"), folder)
    path = folder / "sweep/sweep.json"
    content = json.loads(path.read_text())
    content["jobs"][1]["state"] = "interrupted"
    path.write_text(json.dumps(content))


def good_export(folder: Path) -> None:
    """An exported folder: FOLDER/export."""
    good_run(folder)
    faults.finished(command("export", "run=run", "output=export", "device=cpu"), folder)


def load() -> None:
    """What a program of somebody's own does with an exported folder that is its argument."""
    try:
        print(load_exported(sys.argv[1]).sample(4).shape)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _called(words: Sequence[str]) -> None:
    if words[0] == "load":
        sys.argv = list(words)
        load()
    else:
        command(*words)()


def attacked(words: Sequence[str], here: Path, about: str, usual: float = 0.0) -> Outcome:
    """What becomes of a command on a mutated folder.

    Args:
        words: the command.
        here: where it is called.
        about: what has been done to the folder.
        usual: seconds of the processor that it takes on the good folder.
    """

    def job() -> None:
        watch = watched(here)
        watch.ends = True
        os.environ |= {VARIABLE: SECRET, "HOME": str(here / "outside")}
        with looking(watch):
            _called(words)

    ended = Process(faults.with_bounded_memory(job), here).ended(_PATIENCE)
    found = faults.judged(ended, f"{about}: gan-{' '.join(words)}")
    caught = ended.code == _CAUGHT
    where = leaked(here, ended.text)
    silent = ended.code not in (0, None) and not ended.text.strip()
    slow = ended.processor_seconds > usual + _SECONDS and not found.kind.isupper()
    spoken = speaks_for_us(ended.text)
    kinds = {
        "CAUGHT": caught,
        "SPEAKS FOR US": bool(spoken),
        "LEAKS": bool(where),
        "WRITES OUTSIDE": not outside_as_it_was(here),
        "SAYS NOTHING": silent,
        "SLOW": slow,
    }
    kind = next((name for name, holds in kinds.items() if holds), found.kind)
    return Outcome(kind, ended, f"{found.about} {where}{spoken}".strip())


def campaign(
    draw: random.Random,
    count: int,
    make_good: Callable[[Path], None],
    name: str,
    mutations: Sequence[Mutation],
    commands: Sequence[Sequence[str]],
) -> Iterator[Outcome]:
    """Mutated copies of a good folder, a command each.

    Args:
        draw: what each case follows from.
        count: of cases.
        make_good: makes the good folder in one that it is given.
        name: of the good folder in there.
        mutations: what may be done to it.
        commands: what may be called on it.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(os.path.realpath(place))
        os.environ.setdefault("GAN_CACHE", str(folder / "cache"))
        (folder / "good").mkdir()
        make_good(folder / "good")

        def case_on(here: Path, seed: int | None, words: Sequence[str] | None, usual: Mapping[str, float]) -> Outcome:
            here.mkdir()
            plant(here)
            shutil.copytree(folder / "good" / name, here / name, symlinks=True)
            case = random.Random(seed)
            about = "good" if seed is None else f"case {seed}: {mutated(case, mutations, here / name)}"
            words = words or case.choice(commands)
            found = attacked(words, here, about, usual.get(str(words), _PATIENCE))
            shutil.rmtree(here)
            return found

        usual = {}
        for words in commands:
            found = case_on(folder / "case", None, words, {})
            assert found.kind == "runs", found
            usual[str(words)] = found.ended.processor_seconds if found.ended else 0.0
        for _ in range(count):
            yield case_on(folder / "case", draw.getrandbits(32), None, usual)


def configs(draw: random.Random, count: int) -> Iterator[Outcome]:
    """The YAML files of a run."""
    return campaign(draw, count, good_run, "run", OF_CONFIGS, OF_A_RUN)


def checkpoints(draw: random.Random, count: int) -> Iterator[Outcome]:
    """The checkpoints of a run."""
    return campaign(draw, count, good_run, "run", OF_CHECKPOINTS, OF_A_RUN[:-1])


def files(draw: random.Random, count: int) -> Iterator[Outcome]:
    """Kinds of files in a run's folder, its JSON files and its pictures."""
    return campaign(draw, count, good_run, "run", OF_FILES, OF_A_RUN)


def sweeps(draw: random.Random, count: int) -> Iterator[Outcome]:
    """What sweep.json says, and the files of its jobs."""
    return campaign(draw, count, good_sweep, "sweep", OF_SWEEPS, OF_A_SWEEP)


def exports(draw: random.Random, count: int) -> Iterator[Outcome]:
    """What an exported folder asks for, its weights, and kinds of its files."""
    return campaign(draw, count, good_export, "export", OF_EXPORTS, OF_AN_EXPORT)


CAMPAIGNS: dict[str, Callable[[random.Random, int], Iterator[Outcome]]] = {
    each.__name__: each for each in (configs, checkpoints, files, sweeps, exports)
}

if __name__ == "__main__":
    faults.main(CAMPAIGNS, __doc__ or "", RESULTS)
