"""What lies in a folder where a well-known set was looked for: other forms of it, other sets; and what to type."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from gan_runner.data.decoding import SUFFIXES
from gan_runner.data.locations import SHIPPED
from gan_runner.data.unread import ARRAYS, counted, names, unpacking
from gan_runner.errors import UserError
from gan_runner.machine.files import at_home
from gan_runner.machine.shell import quoted

_MOST_ENTRIES = 2000  # that are looked at
_DEEPEST = 3

_IDX = re.compile(r"(?:(?P<prefix>.+)-)?images[-.]idx3-ubyte(?:\.gz)?")
CIFAR_10_FOLDER = "cifar-10-batches-py"
"""What CIFAR-10's Python version, which torchvision reads, unpacks to."""

_OTHER_CIFARS = {
    "cifar-10-batches-bin": "CIFAR-10's binary version",
    "cifar-100-python": "CIFAR-100",
    "cifar-100-binary": "CIFAR-100",
    "cifar-10-batches-mat": "CIFAR-10 for MATLAB",
}


def missing(name: str, root: str, looked_in: Sequence[Path]) -> UserError:
    """The error for a well-known data set that is not in a folder; it names what the folder has instead.

    Args:
        name: what `data=` calls the set.
        root: what `data.root` is.
        looked_in: the folders that were searched for it.
    """
    files, folders = _entries(Path(at_home(root)))
    for kind in _KINDS:
        if found := kind(name, files, folders):
            what, remedy = found
            return UserError(f"data.root is {root}, but {name} is not there as it is needed: {what}.", remedy)
    return UserError(
        f"data.root is {root}, but {name} is in none of: {', '.join(map(str, looked_in))}.",
        f"Try data.download=true, or data.root=FOLDER if you have it, or {SHIPPED}",
    )


def what_lies_there(name: str, root: str) -> UserError | None:
    """As `missing`; None where nothing in the folder is known, and for a set that is no well-known one."""
    files, folders = _entries(Path(at_home(root)))
    found = next((found for kind in _KINDS if (found := kind(name, files, folders))), None)
    return None if found is None else UserError(f"data.root is {root}, but {found[0]}.", found[1])


def _entries(root: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders below a folder, not too deep and not too many, those that lie high first."""
    files: list[Path] = []
    folders: list[Path] = [root]
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)[:_MOST_ENTRIES]
        except OSError:
            continue
        for entry in inside:
            if entry.name.startswith(".") or len(files) + len(folders) > _MOST_ENTRIES:
                continue
            deep = len(folder.relative_to(root).parts) >= _DEEPEST
            if os.path.isdir(entry):  # unlike entry.is_dir, this takes a link that leads to itself for no folder
                if not deep:
                    folders.append(folder / entry.name)
            elif os.path.isfile(entry):
                files.append(folder / entry.name)
    return files, folders[1:]


_Found = tuple[str, str] | None


def _deeper(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    for file in files:
        if name == "cifar10":
            wanted = file.parent.name == CIFAR_10_FOLDER
        else:
            wanted = (match := _IDX.fullmatch(file.name)) is not None and match["prefix"] == "train"
        if wanted:
            apart = name == "cifar10" or file.parent.name == file.name  # in a folder that the set's reader looks for
            folder = file.parent.parent if apart else file.parent
            return f"what may be it lies in {folder}", f"Try data.root={quoted(str(folder))}"
    return None


def _idx_files(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    found = [(match["prefix"] or "", file) for file in files if (match := _IDX.fullmatch(file.name))]
    if not found:
        return None
    wanted = f"emnist-{name}-train"
    prefix, file = next((each for each in found if each[0] == wanted), found[0])
    turned = " data.transpose=true" if "emnist" in prefix.lower() else ""
    what = "EMNIST's files lie there" if turned else "IDX files of other names lie there"
    key = f" data.prefix={quoted(prefix)}" if prefix else ""
    return (
        f"{what}: {names(file.name for _, file in found)}",
        f"Try data=idx data.root={quoted(str(file.parent))}{key}{turned}",
    )


def _keras(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    file = next((file for file in files if file.name in ("mnist.npz", f"{name}.npz")), None)
    if file is None:
        return None
    return (
        f"{file} is the form in which Keras has {file.stem}",
        f"Try data={file.stem} data.root={quoted(str(file.parent))}",
    )


def _cifar(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    folder = next((folder for folder in folders if folder.name in _OTHER_CIFARS), None)
    if folder is None:
        return None
    return (
        f"{folder} is {_OTHER_CIFARS[folder.name]}",
        "Fetch CIFAR-10's Python version, cifar-10-python.tar.gz, and unpack it there, or try data.download=true.",
    )


def _archive(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    archives = [
        file for file in files if unpacking(file) and file.suffixes[-2:-1] not in ([".pkl"], [".npy"], [".csv"])
    ]
    if not archives:
        return None
    return f"{names(str(file) for file in archives)} must be unpacked first", f"Try {unpacking(archives[0])}"


def _arrays(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    found = [file for file in files if ARRAYS.intersection(file.suffixes) or file.suffix in (".csv", ".arrow")]
    if not found:
        return None
    endings = sorted({file.suffix for file in found})
    remedy = "Write its images as PNG files, a folder a class, and try data=image_folder data.root=FOLDER"
    if name != "cifar10" and ".csv" in endings:
        remedy = f"CSV is read from train.csv or {name}_train.csv, with a label and 784 pixels in a row. Else: {remedy}"
    if ".parquet" in endings:
        remedy = f"Try data=huggingface data.path={quoted(str(os.path.commonpath([file.parent for file in found])))}"
    count = counted(len(found), f"{' and '.join(endings)} file")
    return f"{count} there ({names(file.name for file in found)}) cannot be read as it", remedy


def _pictures(name: str, files: Sequence[Path], folders: Sequence[Path]) -> _Found:
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not pictures:
        return None
    folder = os.path.commonpath([file.parent for file in pictures])
    as_it_is = "data.image_size=32" if name == "cifar10" else "data.image_size=28 data.channels=1"
    return (
        f"images lie there ({names(file.name for file in pictures)})",
        f"Try data=image_folder data.root={quoted(folder)} {as_it_is}",
    )


_KINDS: Sequence[Callable[[str, Sequence[Path], Sequence[Path]], _Found]] = (
    _deeper,
    _idx_files,
    _keras,
    _cifar,
    _archive,
    _arrays,
    _pictures,
)
"""The first that knows something in the folder speaks."""
