"""Sets of images as Hugging Face has them: Parquet files with a column of encoded images, and one of classes."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from gan_runner.data.decoding import (
    Channels,
    ImageSize,
    Pixels,
    Result,
    check_room,
    facts_in,
    height_and_width,
    pixels_of,
    shape_of_set,
)
from gan_runner.data.folder_layout import Role, roles_in
from gan_runner.data.folder_listing import listing_of
from gan_runner.data.image_set import InMemoryImages, rows_within_limit
from gan_runner.data.locations import opened
from gan_runner.data.notes import tell
from gan_runner.data.parallel import in_chunks
from gan_runner.data.splits import Split, rows_of
from gan_runner.errors import UserError, closest, printable
from gan_runner.machine.files import at_home, replace
from gan_runner.machine.shell import quoted
from gan_runner.ranges import Count, FractionBelowOne

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, DataType
    from pyarrow.parquet import ParquetFile

_log = logging.getLogger(__name__)

_SITE = "https://huggingface.co/datasets"
_REVISION = "refs/convert/parquet"  # where Hugging Face keeps sets as Parquet files: SUBSET/SPLIT/0000.parquet
_NAME_ON_THE_SITE = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_USUAL_SUBSET = "default"
_ENDING = ".parquet"
_USUAL = {"image": ("image", "img", "images", "picture"), "label": ("label", "labels", "class", "fine_label")}
"""Names of columns."""

_OPAQUE = 255
_LOOKED_AT = 16  # images that tell the size and the channels of a set


def load(
    path: str,
    subset: str | None,
    root: str,
    download: bool,
    image_size: ImageSize | None,
    channels: Channels | None,
    limit: Count | None,
    split: Split = "train",
    holdout: FractionBelowOne = 0.0,
    image_column: str | None = None,
    label_column: str | None = None,
) -> InMemoryImages:
    """Load a set of Hugging Face, or Parquet files of one's own; its images lie decoded in memory.

    Images are encoded files: bytes, or a struct with a field `bytes`. Files are held out that have `test` in their
    names or folders, or `validation` where there are none; the others train.

    Args:
        path: a Parquet file, a folder of them, or the name of a set on Hugging Face, `OWNER/NAME`.
        subset: of a set on Hugging Face; None is the only one, or the one named `default`.
        root: downloads lie in `huggingface/OWNER/NAME/SUBSET` below it; `~` is the home folder.
        download: fetch the set if it is not there.
        image_size: height and width in pixels to draw the images at; None keeps the size they all have.
        channels: 1 for grey, 3 for colour, 4 for colour with transparency; None is grey or colour, as they are.
        limit: number of training images to take, see `rows_within_limit`; None takes all.
        split: the images that train, or those for tests.
        holdout: the share of the training images to hold out, every k-th; of 0, the set's own test images are.
        image_column: None is one with a usual name, such as `image`, or the only one of images.
        label_column: None is one with a usual name, such as `label`, if there is one.

    Raises:
        UserError: there is no such file, set or column, a file or an image in it cannot be read, the images have
            several sizes and `image_size` is None, the download failed, or a package is missing.
        NoTestSplitError: the test split is asked for, and nothing is held out.
    """
    _need("pyarrow")
    files = _by_role(path, _files(path, subset, root, download))
    training = _Images(path, files["train"], image_column, label_column)
    own_test = files.get("test") or files.get("validation")
    if split == "test" and holdout == 0 and own_test:
        images = _Images(path, own_test, training.image_column, training.label_column)
        rows = torch.arange(len(images))
    else:
        images = training
        rows = rows_of(len(images), holdout, split, f"huggingface data.path={path}")
    labels, classes = _labels(images, training)
    if split == "train" and limit is not None:
        rows = rows[rows_within_limit(len(rows), None if labels is None else labels[rows], limit)]
    pixels = images.pixels(rows, None if image_size is None else height_and_width(image_size), channels)
    name = Path(path.rstrip("/")).name.removesuffix(_ENDING)
    return InMemoryImages(printable(name), pixels, None if labels is None else labels[rows], classes)


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise UserError(
            f"data is huggingface, but that needs {package}, which is not installed.",
            "In the clone of gan-runner, try pip install -e '.[huggingface]'.",
        )


# ---- files ------------------------------------------------------------------------------------------------


def _files(path: str, subset: str | None, root: str, download: bool) -> list[Path]:
    """The Parquet files of a set, sorted."""
    there = Path(at_home(path))
    if there.is_file():
        return [there]
    if there.is_dir():
        return _below(path, there)
    if not _NAME_ON_THE_SITE.fullmatch(path):
        raise UserError(
            f"data.path is {path}, but there is no such file or folder, and no set on Hugging Face is named so.",
            "Try data.path=FILE.parquet, a folder of such files, or OWNER/NAME as in the address of a set on "
            "huggingface.co.",
        )
    folder = Path(at_home(root), "huggingface", path)
    found = _subset(path, subset, sorted(each.name for each in folder.glob("[!.]*"))) if folder.is_dir() else None
    if found is None or not (folder / found).is_dir():
        if not download:
            raise UserError(
                f"data.path is {path}, but there is no such folder, and {folder} has no download of that set"
                f"{f' with the subset {subset}' if subset else ''}.",
                f"Try data.download=true, which fetches {_SITE}/{path}, or data.path=FOLDER with its Parquet files.",
            )
        found = _download(path, subset, folder)
    return _below(path, folder / found)


def _below(path: str, folder: Path) -> list[Path]:
    names = listing_of(folder, "data.path").others.get(_ENDING, [])
    if not names:
        raise UserError(
            f"data.path is {path}, but there are no files that end in {_ENDING}.",
            f"Try data=image_folder data.root={quoted(path)} data.image_size=64 if it holds image files.",
        )
    return [folder / name for name in sorted(names)]


def _by_role(path: str, files: Sequence[Path]) -> dict[Role, list[Path]]:
    """The files by what they are for; those whose names do not say train."""
    top = os.path.commonpath([file.parent for file in files])
    roles: dict[Role, list[Path]] = {}
    for file in files:
        said = roles_in(os.path.relpath(file, top)) if len(files) > 1 else set()
        roles.setdefault(said.pop() if len(said) == 1 else "train", []).append(file)
    if "train" not in roles:
        raise UserError(
            f"data.path is {path}, but its files are all for tests: {', '.join(file.name for file in files[:3])}.",
            f"Name the file to train on, such as data.path={quoted(str(files[0]))}.",
        )
    return roles


def _subset(path: str, asked: str | None, known: Sequence[str]) -> str | None:
    """The subset that is meant; None where none is known."""
    if asked is not None or not known:
        return asked
    if len(known) == 1:
        return known[0]
    if _USUAL_SUBSET in known:
        return _USUAL_SUBSET
    raise UserError(f"data.subset is null, but {path} has several: {', '.join(known)}.", f"Try data.subset={known[0]}.")


def _download(path: str, asked: str | None, folder: Path) -> str:
    """Fetch a subset, all of it or nothing; what an earlier try has fetched is not fetched again. Gives its name."""
    _need("huggingface_hub")
    import huggingface_hub  # slow to import, and seldom needed

    try:
        api = huggingface_hub.HfApi()
        tree = api.list_repo_tree(path, repo_type="dataset", revision=_REVISION)
        known = [entry.path for entry in tree if isinstance(entry, huggingface_hub.RepoFolder)]
        if not known:
            raise ValueError("Hugging Face has no Parquet files of it")
        subset = _subset(path, asked, known)
        if subset not in known:
            raise UserError(
                f"data.subset is {subset}, but {path} has only: {', '.join(known)}.", f"Try data.subset={known[0]}."
            )
        arriving = folder / f".{subset}.arriving"
        _log.info("data: %s/%s is downloaded to %s.", _SITE, path, folder / subset)
        huggingface_hub.snapshot_download(
            path, repo_type="dataset", revision=_REVISION, allow_patterns=f"{subset}/*", local_dir=arriving
        )
        if not (folder / subset).exists():  # another run may have been sooner
            replace(arriving / subset, folder / subset)
        shutil.rmtree(arriving, ignore_errors=True)
    except UserError:
        raise
    except Exception as error:  # of several packages that fetch
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"data.download is true, but {_SITE}/{path} could not be downloaded to {folder}: {reason}",
            "Check the name and the connection, and try again: what has come is kept. Or put the Parquet files "
            "into a folder by hand, and try data.path=FOLDER.",
        ) from error
    return subset


# ---- what is in them --------------------------------------------------------------------------------------


class _Images:
    """The images of some Parquet files, one after the other.

    Args:
        path: what `data.path` is, for errors to say.
        files: all with the same columns.
        image_column: see `load`.
        label_column: see `load`.
    """

    def __init__(self, path: str, files: Sequence[Path], image_column: str | None, label_column: str | None) -> None:
        self.path = path
        self._files = files
        self._counts = []
        for file in files:
            with self._opened(file) as parquet:
                self._counts.append(parquet.metadata.num_rows)
                schema = parquet.schema_arrow
        if not len(self):
            raise self._damaged(files[0], "it has no rows")
        self._written = _written((schema.metadata or {}).get(b"huggingface", b""))
        self._columns = schema.names
        encoded = [field.name for field in schema if _depth_of_bytes(field.type) is not None]
        self.image_column = self._column("image", image_column, encoded)
        self.label_column = label_column
        of_classes = [field.name for field in schema if _names_classes(field.type)]
        if label_column is not None or set(_USUAL["label"]).intersection(of_classes):
            self.label_column = self._column("label", label_column, of_classes)

    def __len__(self) -> int:
        return sum(self._counts)

    @cached_property
    def values(self) -> list[Any]:
        """What the column of labels has, image by image; [] without one."""
        if self.label_column is None:
            return []
        return [value for file in self._files for value in self._read(file, self.label_column).to_pylist()]

    @property
    def class_names(self) -> list[str]:
        """The names of the classes 0, 1, ..., where the files have them; [] where not."""
        names = _below_keys(self._written, "info", "features", self.label_column, "names")
        return list(map(str, names)) if isinstance(names, list) else []

    def pixels(self, rows: Tensor, size: tuple[int, int] | None, channels: Channels | None) -> Tensor:
        """The images in these ascending rows at one size, uint8 [n, C, H, W], decoded in threads."""
        parts: list[tuple[Path, list[int]]] = []
        start = 0
        for file, count in zip(self._files, self._counts, strict=True):
            if wanted := (rows[(rows >= start) & (rows < start + count)] - start).tolist():
                parts.append((file, wanted))
            start += count
        colours, shape = self._shape(*parts[0], size, channels)
        check_room(len(rows), colours, shape)
        out = np.empty((len(rows), colours, *shape), np.uint8)
        filled = 0
        for file, wanted in parts:
            encoded = self._read(file, self.image_column)  # of one file at a time, so that memory need not hold all

            def read(some: Sequence[int], file: Path = file, encoded: Any = encoded) -> Pixels:
                draw = partial(pixels_of, size=shape, channels=colours)
                return np.stack([self._understood(file, row, encoded[row], draw) for row in some])

            for place, chunk in in_chunks(read, wanted, "read"):
                out[filled + place : filled + place + len(chunk)] = chunk
            filled += len(wanted)
        if colours == 4 and (out[:, 3] == _OPAQUE).all():
            raise UserError(
                f"data.channels is 4, but none of the {len(out):,} images of {self.path} is transparent.",
                "Try data.channels=3.",
            )
        return torch.from_numpy(out)

    def _shape(
        self, file: Path, rows: Sequence[int], size: tuple[int, int] | None, channels: Channels | None
    ) -> tuple[Channels, tuple[int, int]]:
        encoded = self._read(file, self.image_column)
        some = rows[:: -(-len(rows) // _LOOKED_AT)]
        facts = [self._understood(file, row, encoded[row], facts_in) for row in some]
        return shape_of_set(self.path, facts, size, channels)

    def _understood(self, file: Path, row: int, encoded: Any, look: Callable[[bytes], Result]) -> Result:
        content = encoded.as_py()
        try:
            if not content:
                raise ValueError("there is none, or a path alone")
            return look(content)
        except UserError:
            raise
        except Exception as error:  # Pillow's decoders raise anything from OSError to struct.error
            raise self._damaged(file, f"the image in row {row} is none: {error}") from error

    def _column(self, what: Literal["image", "label"], asked: str | None, possible: Sequence[str]) -> str:
        """The column of images or labels: the one that is asked for, one with a usual name, or the only one."""
        if chosen := [name for name in ([asked] if asked is not None else _USUAL[what]) if name in possible]:
            return chosen[0]
        if asked is None and len(possible) == 1:
            return possible[0]
        key = f"data.{what}_column is {'null' if asked is None else asked}"
        content = "encoded images" if what == "image" else "classes, which are whole numbers or texts"
        if not possible:
            problem = f"{key}, but no column of {self.path} holds {content}"
        elif asked is None:
            problem = f"{key}, but several columns of {self.path} hold {content}"
        elif asked in self._columns:
            problem = f"{key}, but that column of {self.path} does not hold {content}"
        else:
            problem = f"{key}, but {self.path} has no such column"
        near = closest(asked or "", possible) or next(iter(possible), "null")
        without = "Write each image as the bytes of a PNG or JPEG file, in a column named image."
        raise UserError(
            f"{problem}; the columns are {', '.join(map(printable, self._columns))}.",
            without if what == "image" and not possible else f"Try data.{what}_column={near}.",
        )

    def _read(self, file: Path, column: str) -> ChunkedArray:
        """The values of a column; of images the bytes, which are looked at when they are asked for."""
        from pyarrow import compute  # an extra

        with self._opened(file) as parquet:
            kinds = {field.name: field.type for field in parquet.schema_arrow}
            of_images = column == self.image_column
            depth = _depth_of_bytes(kinds[column]) if column in kinds and of_images else 0
            if column not in kinds or depth is None or not (of_images or _names_classes(kinds[column])):
                raise self._damaged(file, f"its column {column} is missing or of another kind than in other files")
            values = parquet.read(columns=[".".join([column] + ["bytes"] * depth)]).column(0)
            if len(values) != parquet.metadata.num_rows:
                raise self._damaged(file, f"its column {column} has other rows than the file says")
        return compute.struct_field(values, ["bytes"] * depth) if depth else values

    @contextmanager
    def _opened(self, file: Path) -> Iterator[ParquetFile]:
        from pyarrow import ArrowException, parquet  # an extra

        try:
            with opened(file) as content, parquet.ParquetFile(content) as opened_file:
                yield opened_file
        except (ArrowException, OSError) as error:
            raise self._damaged(file, str(error)) from error

    def _damaged(self, file: Path, reason: str) -> UserError:
        said = printable(" ".join(reason.split())).rstrip(".")
        return UserError(
            f"data.path is {self.path}, but {file} cannot be read: {said}.",
            "Replace that file, or leave out the row; of a download, delete its folder and try data.download=true.",
        )


def _written(metadata: bytes) -> Any:
    """What the package datasets has written into a file, by which Hugging Face knows columns; None where it is damaged.

    Names of classes are all that is looked for there, and sets can do without.
    """
    try:
        return json.loads(metadata or b"{}")
    except (ValueError, RecursionError):
        return None


def _below_keys(tree: Any, *keys: str | None) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _depth_of_bytes(kind: DataType) -> int | None:
    """How many structs the bytes of encoded images lie in, 0 or 1; None for a column of anything else."""
    from pyarrow import types  # an extra

    if types.is_binary(kind) or types.is_large_binary(kind):
        return 0
    if types.is_struct(kind) and any(field.name == "bytes" and _depth_of_bytes(field.type) == 0 for field in kind):
        return 1
    return None


def _names_classes(kind: DataType) -> bool:
    from pyarrow import types  # an extra

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind))


def _rank(value: int | str) -> tuple[bool, int | str]:
    """Numbers before texts, which one file may have where another has numbers."""
    return isinstance(value, str), value


def _labels(images: _Images, training: _Images) -> tuple[Tensor | None, tuple[str, ...]]:
    """The class of each image, int64 [N], and the names of the classes, which are those of the training images."""
    column = images.label_column
    if column is None:
        return None, ()
    names = training.class_names
    known: list[Any] = list(range(len(names))) or sorted(set(training.values) - {None, -1}, key=_rank)
    numbers = {value: number for number, value in enumerate(known)}
    values = images.values
    if not {None, -1}.isdisjoint(values):  # -1 is what datasets has for what is not known
        tell([f"data: some images have nothing as {column}, so the set is without classes."], logging.INFO)
        return None, ()
    if strange := [value for value in values if value not in numbers]:
        raise UserError(
            f"data.label_column is {column}, but {images.path} has {printable(strange[0])!r} there, which is not a "
            "class of the training images.",
            "Try another data.label_column, or data.holdout=0.1 instead of the images for tests.",
        )
    return torch.tensor([numbers[value] for value in values]), tuple(names or map(printable, known))
