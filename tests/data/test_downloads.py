"""Downloads that are interrupted: what has arrived is kept, and only the rest is asked for."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import torchvision

from gan_runner.data import torchvision_sets
from gan_runner.errors import UserError

BREAK = 3000  # bytes after which the server ends the connection


class Server(ThreadingHTTPServer):
    """Serves files from memory.

    Attributes:
        contents: of the files, by name.
        breaks: how many more downloads of a file end in the middle.
        ranges: whether a part of a file can be asked for.
        log: name, first byte and bytes sent of each answer to a download.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents, self.breaks, self.ranges, self.log = {}, {}, True, []
        self.address = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path[1:]
        content = self.server.contents.get(name)
        if content is None:
            self.send_error(404)
            return
        asked = self.headers["Range"] if self.server.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.headers["Method"] == "HEAD":  # with which torchvision follows redirections
            return
        sent = content[start:]
        if self.server.breaks.get(name, 0):
            self.server.breaks[name] -= 1
            sent = sent[:BREAK]
        self.server.log.append((name, start, len(sent)))
        self.wfile.write(sent)

    def log_message(self, *_):
        pass


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


@pytest.fixture
def server(monkeypatch):
    """Has KMNIST's four files; torchvision finds them there."""
    random = np.random.default_rng(0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        resources = []
        for prefix in ("train", "t10k"):
            arrays = random.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 10
            for array, kind in zip(arrays, ("images-idx3", "labels-idx1"), strict=True):
                name = f"{prefix}-{kind}-ubyte.gz"
                server.contents[name] = gzip.compress(idx(array), mtime=0)
                resources.append((name, hashlib.md5(server.contents[name], usedforsecurity=False).hexdigest()))
        monkeypatch.setattr(torchvision.datasets.KMNIST, "resources", resources)
        monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [server.address])
        yield server
        server.shutdown()
        thread.join()


def load(root):
    return torchvision_sets.load("KMNIST", None, str(root), True, None, None, None)


def refusal(root):
    with pytest.raises(UserError) as error:
        load(root)
    return str(error.value)


FIRST, SECOND = "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"


def test_what_has_arrived_is_not_asked_for_again(tmp_path, server):
    server.breaks = {SECOND: 1}
    message = refusal(tmp_path)
    assert f"{server.address}{SECOND}: the connection ended after 0.0 MB of 0.0 MB" in message
    assert "try again: what has arrived is kept" in message
    assert [path.name for path in tmp_path.iterdir()] == [".KMNIST.arriving"]
    before = list(server.log)
    assert torch.equal(load(tmp_path).labels, torch.arange(12) % 10)
    size = len(server.contents[SECOND])
    assert server.log[len(before)] == (SECOND, BREAK, size - BREAK)
    assert [name for name, *_ in server.log[len(before) :]] == [SECOND, SECOND.replace("images-idx3", "labels-idx1")]
    assert [path.name for path in tmp_path.iterdir()] == ["KMNIST"]
    done = list(server.log)
    load(tmp_path)
    assert server.log == done


def test_a_server_that_cannot_send_a_part_is_asked_for_the_whole(tmp_path, server):
    server.breaks, server.ranges = {FIRST: 1}, False
    refusal(tmp_path)
    assert len(load(tmp_path)) == 12
    assert server.log[:2] == [(FIRST, 0, BREAK), (FIRST, 0, len(server.contents[FIRST]))]


@pytest.mark.parametrize("kept", ["another beginning", "more than there is"])
def test_a_part_of_another_file_is_found_by_its_hash_and_downloaded_again(tmp_path, server, kept):
    (tmp_path / ".KMNIST.arriving").mkdir()
    content = server.contents[FIRST]
    part = b"?" * 100 if kept == "another beginning" else content + content
    (tmp_path / f".KMNIST.arriving/{FIRST}.part").write_bytes(part)
    if kept == "another beginning":
        assert f"{server.address}{FIRST} has sent another file than torchvision expects" in refusal(tmp_path)
    assert len(load(tmp_path)) == 12
    assert (FIRST, 0, len(content)) in server.log


def test_a_file_with_a_wrong_hash_is_refused_and_not_kept(tmp_path, server):
    right = server.contents[FIRST]
    server.contents[FIRST] = right[:-1] + b"?"
    message = refusal(tmp_path)
    assert f"{server.address}{FIRST} has sent another file than torchvision expects: its MD5 hash is not " in message
    assert not list(tmp_path.iterdir())
    server.contents[FIRST] = right
    assert len(load(tmp_path)) == 12


def test_a_missing_file_is_named_with_its_address(tmp_path, server):
    del server.contents[FIRST]
    assert f"{server.address}{FIRST}: HTTP Error 404: Not Found" in refusal(tmp_path)
    assert not list(tmp_path.iterdir())


def test_functions_of_torchvision_are_as_before_afterwards(tmp_path, server):
    utils = torchvision.datasets.utils
    before = utils._urlretrieve, utils.check_integrity, utils._get_redirect_url
    server.breaks = {FIRST: 1}
    refusal(tmp_path)
    assert (utils._urlretrieve, utils.check_integrity, utils._get_redirect_url) == before


def test_processes_that_download_the_same_set_do_not_share_its_parts(tmp_path, server):
    from gan_runner.machine.locks import Lock

    (tmp_path / ".KMNIST.arriving").mkdir()
    other = Lock(tmp_path / ".KMNIST.arriving/lock")
    assert other.take() is None
    try:
        assert len(load(tmp_path)) == 12
        assert {path.name for path in tmp_path.iterdir()} == {".KMNIST.arriving", "KMNIST"}
    finally:
        other.release()
