"""Which images of a folder train, which are held out, and which class each has, by the names of folders alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Role = Literal["train", "test", "validation"]

ROLES: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_ROLE_AND_CLASS = re.compile(rf"({'|'.join(sorted(ROLES, key=len, reverse=True))})[ _.-]*(.*)", re.IGNORECASE)


def roles_in(name: str) -> set[Role]:
    """What the words of a file's or folder's name say it is for: `test-00000-of-00001.parquet` is for tests."""
    return {ROLES[word] for word in re.split(r"[^a-z]+", name.lower()) if word in ROLES}


@dataclass(frozen=True)
class Part:
    """Some of the images below a folder.

    Attributes:
        files: their paths from the root, with forward slashes, in the order of these.
        classes: the class of each image; None where they have none.
        folder: the folder that they come from, such as `train/`; "" is the root.
        place: the folder in which the folders lie that are the classes; None where there is no one folder.
    """

    files: Sequence[str]
    classes: Sequence[str] | None
    folder: str = ""
    place: str | None = None

    @property
    def class_names(self) -> list[str]:
        """The classes that come in it, sorted."""
        return sorted(set(self.classes or ()))

    def labels(self, names: Sequence[str]) -> Tensor | None:
        """The class of each image as its place among `names`, int64 [N]; None where they have none."""
        if self.classes is None:
            return None
        numbers = {name: number for number, name in enumerate(names)}
        return torch.tensor([numbers[name] for name in self.classes], dtype=torch.int64)

    def rows(self, rows: Sequence[int]) -> Part:
        """The images in these rows."""
        classes = None if self.classes is None else [self.classes[row] for row in rows]
        return replace(self, files=[self.files[row] for row in rows], classes=classes)

    def with_classes_of(self, names: Sequence[str]) -> Part:
        """The images whose class is one of `names`, which may differ in case and in the coding of accents."""
        if self.classes is None:
            return self
        known = {_plain(name): name for name in names}
        rows = [row for row, name in enumerate(self.classes) if _plain(name) in known]
        classes = [known[_plain(self.classes[row])] for row in rows]
        return replace(self, files=[self.files[row] for row in rows], classes=classes)


class Layout(NamedTuple):
    """What the images below a folder are for.

    Attributes:
        training: those that train, unless a share of them is held out.
        held_out: those of a folder such as `test/`; None where there is no such folder.
        unused: how many images lie in which folder beside those two.
        beside: images that lie beside folders and so keep all from having classes.
        folder: the first such folder.
    """

    training: Part
    held_out: Part | None = None
    unused: Mapping[str, int] = {}
    beside: Sequence[str] = ()
    folder: str = ""


def layout_of(files: Sequence[str]) -> Layout:
    """Tell what the images below a folder are for.

    Folders are classes. Where they are called train, test, val and the like, in any case, or have that word in their
    names, the images of the first train and those of the second are held out, or of the third where there is no
    second; what lies beside these folders is not used. Such folders may hold the classes, lie in each class, or have a
    class in their name (`train_cats`). A folder that lies alone in another is looked into.

    Args:
        files: paths from the root, with forward slashes, sorted.
    """
    prefix, groups = _descended(files, "")
    if (roles := _roles(groups)) is not None:
        return _split(groups, prefix, roles)
    if "" not in groups:
        below = {name: _grouped(some, f"{prefix}{name}/") for name, some in groups.items()}
        inner = {name: _roles(each) for name, each in below.items()}
        if all(roles is not None for roles in inner.values()):
            return _merged({name: _split(below[name], f"{prefix}{name}/", inner[name] or {}) for name in below})
        if parts := _by_name(groups):
            return parts
    if "" in groups and len(groups) > 1:
        return Layout(Part(files, None), beside=groups[""], folder=min(name for name in groups if name))
    return Layout(_classified(files, prefix, groups))


def _grouped(files: Sequence[str], prefix: str) -> dict[str, list[str]]:
    """Files by the folder that they lie in directly below a prefix; "" for those that lie in none."""
    groups: dict[str, list[str]] = {}
    start = len(prefix)
    for name in files:
        end = name.find("/", start)
        groups.setdefault(name[start:end] if end >= 0 else "", []).append(name)
    return groups


def _descended(files: Sequence[str], prefix: str) -> tuple[str, dict[str, list[str]]]:
    """Follow folders that lie alone in another; gives the last one and what it holds."""
    groups = _grouped(files, prefix)
    while len(groups) == 1 and "" not in groups:
        prefix += f"{next(iter(groups))}/"
        groups = _grouped(files, prefix)
    return prefix, groups


def _classified(files: Sequence[str], prefix: str, groups: Mapping[str, Sequence[str]], folder: str = "") -> Part:
    if "" in groups or not groups:
        return Part(files, None, folder)
    class_of = {name: group for group, names in groups.items() for name in names}
    return Part(files, [class_of[name] for name in files], folder, prefix)


def _part(files: Sequence[str], folder: str) -> Part:
    return _classified(files, *_descended(files, folder), folder)


def _roles(groups: Mapping[str, object]) -> dict[Role, str] | None:
    """The folder of each role; None where there is not one that trains and another beside it.

    But for the word that says the role their names are the same, as seg_train and seg_test are: train_station and
    test_tube are classes.
    """
    families: dict[str, list[tuple[Role, str]]] = {}
    for name in sorted(groups):
        words = re.split(r"([a-z]+)", name.lower())
        if len(places := [place for place, word in enumerate(words) if word in ROLES]) == 1:
            role = ROLES[words.pop(places[0])]
            families.setdefault("".join(words), []).append((role, name))
    for family in (families[rest] for rest in sorted(families)):
        if len(roles := dict(family)) == len(family) >= 2 and "train" in roles:
            return roles
    return None


def _split(groups: Mapping[str, Sequence[str]], prefix: str, roles: Mapping[Role, str]) -> Layout:
    training = roles["train"]
    held_out = roles["test"] if "test" in roles else roles["validation"]
    unused = {
        f"{prefix}{name}/" if name else "the folder itself": len(files)
        for name, files in groups.items()
        if name not in (training, held_out)
    }
    return Layout(
        _part(groups[training], f"{prefix}{training}/"), _part(groups[held_out], f"{prefix}{held_out}/"), unused
    )


def _merged(layouts: Mapping[str, Layout]) -> Layout:
    """One layout of classes that are split each."""

    def together(parts: Mapping[str, Part | None]) -> Part:
        classes = {file: name for name, part in parts.items() if part for file in part.files}
        files = sorted(classes)
        folders = {part.folder.split("/")[-2] for part in parts.values() if part}
        return Part(files, [classes[file] for file in files], "/".join(("*", *sorted(folders)[:1], "")))

    unused = {folder: count for layout in layouts.values() for folder, count in layout.unused.items()}
    return Layout(
        together({name: layout.training for name, layout in layouts.items()}),
        together({name: layout.held_out for name, layout in layouts.items()}),
        unused,
    )


def _by_name(groups: Mapping[str, Sequence[str]]) -> Layout | None:
    """The layout of folders such as train_cats, train_dogs, test_cats and test_dogs; None where they are no such."""
    matches = {name: _ROLE_AND_CLASS.fullmatch(name) for name in groups}
    found: dict[Role, dict[str, str]] = {}
    for folder, match in matches.items():
        if match is None or not match[2]:
            return None
        found.setdefault(ROLES[match[1].lower()], {})[folder] = match[2]
    classes = set(found.get("train", {}).values())
    if len(found) < 2 or len(classes) < 2 or any(not classes >= set(each.values()) for each in found.values()):
        return None

    def part(role: Role) -> Part:
        class_of = {file: name for folder, name in found[role].items() for file in groups[folder]}
        files = sorted(class_of)
        return Part(files, [class_of[file] for file in files], f"{role}*/")

    held_out: Role = "test" if "test" in found else "validation"
    others = found.keys() - {"train", held_out}
    unused = {f"{folder}/": len(groups[folder]) for role in others for folder in found[role]}
    return Layout(part("train"), part(held_out), unused)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
