"""Files among images that cannot be read as images: what they are, and what to do about them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gan_runner.data.locations import opened
from gan_runner.errors import printable
from gan_runner.machine.shell import quoted

ARCHIVES: Mapping[str, str] = {
    ".zip": "unzip {file} -d {folder}",
    ".tar": "tar -xf {file} -C {folder}",
    ".tgz": "tar -xf {file} -C {folder}",
    ".gz": "tar -xf {file} -C {folder}",
    ".bz2": "tar -xf {file} -C {folder}",
    ".xz": "tar -xf {file} -C {folder}",
    ".7z": "7z x {file} -o{folder}",
    ".rar": "unrar x {file} {folder}",
}
"""The endings of archives, and the command that unpacks such a file."""

ARRAYS = frozenset({".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt", ".parquet", ".tfrecord", ".lmdb"})

_TO_CONVERT = """
    heic heif hif avif jp2 j2k j2c jpx jpf jxl jxr wdp svg svgz ico icns cur psd psb xcf ai eps ps pdf djvu tga dds pcx
    qoi sgi ras xbm xpm pfm exr hdr raw dng cr2 cr3 crw nef nrw arw orf rw2 raf pef srw x3f 3fr erf kdc mrw dcm nii fits
    fit czi nd2 lif svs ndpi mp4 m4v mov avi mkv webm mpg mpeg
"""
LIKE_PICTURES = frozenset(f".{ending}" for ending in _TO_CONVERT.split()) | ARCHIVES.keys() | ARRAYS
"""The endings of files that hold images, or may, and that are not read unless Pillow can."""

_START = 512  # bytes that tell what a file is
_NAMES = 2  # that stand for all files of a kind


class Fault(Enum):
    """Why a file that should be an image cannot be read: what it is, one and several, and what helps."""

    EMPTY = ("is empty", "are empty", "")
    LFS = (
        "is a pointer of Git LFS and not the image",
        "are pointers of Git LFS and not the images",
        "'git lfs pull' in that folder brings them",
    )
    ANNEX = (
        "is a pointer of git-annex and not the image",
        "are pointers of git-annex and not the images",
        "'git annex get .' in that folder brings them",
    )
    WEB_PAGE = (
        "is a web page, HTML",
        "are web pages, HTML",
        "their download failed; fetch them again",
    )
    TEXT = ("is text", "are text", "")
    HEIC = ("is HEIC, whatever its name says", "are HEIC, whatever their names say", "convert them to PNG or JPEG")
    VIDEO = ("is a video", "are videos", "")
    ARCHIVE = ("is an archive", "are archives", "unpack them")
    PDF = ("is PDF", "are PDF", "")
    ZEROS = ("holds nothing but zeros", "hold nothing but zeros", "copy them again")
    DENIED = ("may not be read", "may not be read", "'chmod u+r' lets you read them")
    NOWHERE = ("is a link to nothing", "are links to nothing", "")
    NO_FILE = ("is not a regular file", "are not regular files", "")
    DAMAGED = ("cannot be decoded", "cannot be decoded", "")

    def says(self, count: int) -> str:
        """What so many files are."""
        return self.value[0] if count == 1 else self.value[1]

    @property
    def remedy(self) -> str:
        """What helps; "" where nothing does but other files."""
        return self.value[2]


class Unread(NamedTuple):
    """A file that cannot be read.

    Attributes:
        name: its path from the root.
        fault: why.
        reason: the words of whoever could not read it, for a file that is damaged.
    """

    name: str
    fault: Fault
    reason: str


def unread(folder: Path, name: str, error: Exception) -> Unread:
    """Find out why a file could not be read as an image.

    Args:
        folder: the root.
        name: the file's path from there.
        error: what was raised when it was read.
    """
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return Unread(name, _fault(folder / name, error), reason)


def _fault(path: Path, error: Exception) -> Fault:
    if isinstance(error, PermissionError):
        return Fault.DENIED
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return Fault.NO_FILE
        if status.st_size == 0:
            return Fault.EMPTY
        with opened(path) as file:
            return _fault_of(file.read(_START), os.path.islink(path))
    except OSError:
        if os.path.islink(path):
            annexed = "/annex/objects/" in os.readlink(path)
            return Fault.ANNEX if annexed else Fault.NOWHERE
        return Fault.DAMAGED


def _fault_of(start: bytes, linked: bool) -> Fault:
    """Why a file that starts with these bytes is no image."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    kinds: Sequence[tuple[bool, Fault]] = (
        (text.startswith(b"version https://git-lfs"), Fault.LFS),
        (b"/annex/objects/" in text, Fault.ANNEX),
        (text.startswith((b"<!doctype html", b"<html")) or b"<html" in text[:_START], Fault.WEB_PAGE),
        (brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), Fault.HEIC),
        (bool(brand) and not brand.startswith(b"avi"), Fault.VIDEO),
        (start.startswith((b"PK\3\4", b"\x1f\x8b", b"Rar!", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ")), Fault.ARCHIVE),
        (start.startswith(b"%PDF"), Fault.PDF),
        (not start.strip(b"\0"), Fault.ZEROS),
        (_is_text(start), Fault.TEXT),
    )
    return next((fault for holds, fault in kinds if holds), Fault.DAMAGED)


def came_instead(file: BinaryIO) -> str:
    """What a file is that came in place of the one that was fetched, and what helps; "" for others.

    Args:
        file: opened at its start, where it is left.
    """
    fault = _fault_of(file.read(_START), False)
    file.seek(0)
    return {
        Fault.WEB_PAGE: "is a web page, HTML, for its download failed: fetch it again",
        Fault.LFS: "is a pointer of Git LFS: 'git lfs pull' in that folder brings the file",
        Fault.ANNEX: "is a pointer of git-annex: 'git annex get .' in that folder brings the file",
    }.get(fault, "")


def _is_text(start: bytes) -> bool:
    try:
        return start[: _START - 4].decode().replace("\n", "").replace("\r", "").replace("\t", "").isprintable()
    except UnicodeDecodeError:
        return False


def looks_like_picture(path: Path) -> bool:
    """Whether a file without an ending starts as images do."""
    with contextlib.suppress(OSError), opened(path) as file:
        start = file.read(16)
        signatures = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
        return start.startswith(signatures) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
    return False


def told(files: Sequence[Unread], most: int) -> list[str]:
    """Say what files cannot be read, and why: a sentence a kind, the most frequent first, at most so many.

    Args:
        files: what could not be read.
        most: sentences; the last one may stand for several kinds.
    """
    kinds: dict[Fault, list[Unread]] = {}
    for each in files:
        kinds.setdefault(each.fault, []).append(each)
    ranked = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    shown, rest = (ranked, []) if len(ranked) <= most else (ranked[: most - 1], ranked[most - 1 :])
    sentences = []
    for fault, some in shown:
        help_ = f": {fault.remedy}" if fault.remedy else ""
        if fault is Fault.DAMAGED:
            help_ = f", the first because {printable(some[0].reason)}" if len(some) > 1 else f": {some[0].reason}"
        sentences.append(
            printable(f"{counted(len(some), 'file')} {fault.says(len(some))} ({names(f.name for f in some)}){help_}.")
        )
    if rest:
        others = ", ".join(f"{counted(len(some), 'file')} {fault.says(len(some))}" for fault, some in rest)
        sentences.append(f"{others}, such as {names(some[0].name for _, some in rest)}.")
    return sentences


def names(files: Iterable[str]) -> str:
    """One or two of several names, fit for a terminal: `a.png, b.png, ...`."""
    some = [printable(name) for _, name in zip(range(_NAMES + 1), files, strict=False)]
    return ", ".join(some[:_NAMES] + ["..."] * (len(some) > _NAMES))


def counted(count: int, what: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def by_ending(files: Mapping[str, Sequence[str]], most: int = 6) -> str:
    """How many files have which ending, the most frequent first: `20 .heic, 3 .svg`."""
    ranked = sorted(files.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    said = [f"{len(some):,} {printable(ending) or 'without an ending'}" for ending, some in ranked[:most]]
    if rest := sum(len(some) for _, some in ranked[most:]):
        said.append(f"{rest:,} others")
    return ", ".join(said)


def unpacking(archive: Path) -> str:
    """The command that unpacks an archive beside itself; "" for a file that is none."""
    command = ARCHIVES.get(archive.suffix.lower(), "")
    return command.format(file=quoted(str(archive)), folder=quoted(str(archive.parent)))
