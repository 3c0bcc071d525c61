"""Downloads by torchvision that resume: an interrupted file is kept, and the next try asks the server for the rest."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from gan_runner import files
from gan_runner.bars import Bar, on_a_terminal
from gan_runner.data.resources import megabytes
from gan_runner.machine.files import replace

_log = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds without an answer
_PIECE = 2**18  # bytes
_PARTIAL, _WHOLE = 206, 416  # HTTP: the rest of a file; there is no rest


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """In this context torchvision's downloads are kept in a folder, and continue what an earlier try left in it.

    torchvision knows the addresses and hashes; only its function that copies a file from the network is replaced. A
    file with a wrong hash is not kept.

    Args:
        folder: holds the files of one data set, complete ones and parts (`NAME.part`), until all have arrived. Only
            one process may use it.
    """
    from torchvision.datasets import utils  # slow to import, and seldom needed

    fetch, check, redirect = utils._urlretrieve, utils.check_integrity, utils._get_redirect_url
    addresses: dict[str, str] = {}

    def fetch_the_rest(url: str, filename: str | Path, chunk_size: int = _PIECE) -> None:
        name = Path(filename).name
        addresses[name] = url
        if not (folder / name).is_file():
            _fetch(url, folder / f"{name}.part", utils.USER_AGENT)
            replace(folder / f"{name}.part", folder / name)
        files.link_or_copy(folder / name, Path(filename))

    def keep_if_right(fpath: str | Path, md5: str | None = None) -> bool:
        right: bool = check(fpath, md5)
        kept = folder / Path(fpath).name
        if not right and Path(fpath).is_file() and kept.is_file():
            files.remove(kept)
            raise RuntimeError(
                f"{addresses.get(kept.name, kept.name)} has sent another file than torchvision expects: its MD5 hash "
                f"is not {md5}"
            )
        return right

    def redirected(url: str, max_hops: int = 3) -> str:
        with _named(url):
            leads_to: str = redirect(url, max_hops)
            return leads_to

    utils._urlretrieve, utils.check_integrity, utils._get_redirect_url = fetch_the_rest, keep_if_right, redirected
    try:
        yield
    finally:
        utils._urlretrieve, utils.check_integrity, utils._get_redirect_url = fetch, check, redirect


@contextlib.contextmanager
def _named(url: str) -> Iterator[None]:
    """In this context errors of the connection name the address."""
    try:
        yield
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the answer, too
        raise URLError(f"{url}: {_reason(error)}") from error


def _fetch(url: str, part: Path, agent: str) -> None:
    """Download a file, beginning behind what a part of it has already where the server can do that.

    Raises:
        URLError: the connection failed; what has arrived is in `part`.
    """
    there = part.stat().st_size if part.is_file() else 0
    with _named(url), _asked(url, there, agent) as answer:
        resumed = there > 0 and answer.status == _PARTIAL
        start = there if resumed else 0
        total = None if answer.length is None else start + answer.length
        size = "" if total is None else f", {megabytes(total)}"
        _log.info("data: %s%s%s", url, size, f", continued after {megabytes(start)}" if resumed else "")
        arrived = _store(answer, part, start, total)
        if total is not None and arrived < total:
            raise URLError(f"the connection ended after {megabytes(arrived)} of {megabytes(total)}")


def _asked(url: str, there: int, agent: str) -> HTTPResponse:
    """The server's answer to a request for a file from a byte on."""
    headers = {"User-Agent": agent} | ({"Range": f"bytes={there}-"} if there else {})
    try:
        answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code == _WHOLE and there:  # nothing is left to ask for, or it was another file
            error.close()
            return _asked(url, 0, agent)
        raise
    return answer


def _store(answer: HTTPResponse, part: Path, start: int, total: int | None) -> int:
    """Write what arrives, from a byte of the file on; gives the bytes of the file that are there."""
    arrived = start
    unseen = not on_a_terminal()
    with (
        files.continuing(part, start) as file,
        Bar(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, leave=False, disable=unseen) as bar,
    ):
        for piece in _pieces(answer):
            file.write(piece)
            arrived += len(piece)
            bar.update(len(piece))
    return arrived


def _pieces(answer: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            piece = answer.read(_PIECE)
        except (OSError, HTTPException) as error:  # of the connection, not of the file that is written
            raise URLError(_reason(error)) from error
        if not piece:
            return
        yield piece


def _reason(error: Exception) -> str:
    said = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    return " ".join(str(said).split()) or type(error).__name__
