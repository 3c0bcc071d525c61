"""Mutations of a stranger's folder in what its files are, rather than in what its settings say.

Each takes what random numbers follow from and a folder of a good run or sweep, changes something in it, and gives in
words what that was: kinds of files (links, FIFOs, sockets, folders, holes), checkpoints (archives, pickles, states),
JSON files and pictures. `OUTSIDE`, beside the folder, is what links lead to.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

OUTSIDE = "outside"
Mutation = Callable[[random.Random, Path], str]

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
    """What commands may open in a run's folder, or in a sweep's and its jobs'."""
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
    found = [path for path in sorted(folder.rglob("checkpoints/*.pt")) if path.is_file() and not path.is_symlink()]
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


def places_of(tree: Any) -> list[tuple[Any, Any]]:
    """Every container of a state with each of its keys."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = []
    for key, value in inner:
        found += [(tree, key), *places_of(value)]
    return found


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


def odd_archive(draw: random.Random, folder: Path) -> str:
    """Change the archive that a checkpoint is, or the pickle in it."""
    path = _checkpoint(draw, folder)
    if path is None:
        return "no checkpoint is left"
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    except Exception:
        return "the checkpoint is broken already"
    what = draw.choice(list(_ARCHIVES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two entries of one name
        path.write_bytes(_ARCHIVES[what](draw, entries))
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


_ARCHIVES: dict[str, Callable[[random.Random, _Entries], bytes]] = {
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
    *(None, True, -1, 0, 1e300, 2**70, "", "x", "\x1b]0;title\x07\x1b[2J", "=1+1", "a;=1+1", "../..", "/", "a\n  b"),
    *([], {}, [[]], {"x": 1}, ["x"] * 1000, "x" * 100_000, "\ud800", "<script>", "\u202e", "\x00"),
)


def odd_json(draw: random.Random, folder: Path) -> str:
    """Change a value of sweep.json, summary.json or a line of metrics.jsonl, or its text."""
    found = [path for name in ("sweep.json", "summary.json", "metrics.jsonl") for path in sorted(folder.rglob(name))]
    found = [path for path in found if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**20]
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

MUTATIONS_OF_FILES: list[Mutation] = [another_kind_of_file, another_kind_of_file, odd_json, odd_picture]
MUTATIONS_OF_CHECKPOINTS: list[Mutation] = [odd_state, odd_state, odd_archive]
