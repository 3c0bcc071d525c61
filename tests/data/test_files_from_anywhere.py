"""Files that nobody checked before: none may hang, fill the memory, end in a traceback, or write on the terminal."""

import contextlib
import gzip
import inspect
import os
import signal
import socket
import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import decoding, digits, idx, image_folder, mnist
from gan_runner.errors import UserError


@pytest.fixture(autouse=True)
def _no_hang():
    """A test that hangs fails instead of keeping the others from running."""

    def too_long(number, frame):
        pytest.fail("this hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# ---- images ---------------------------------------------------------------------------------------------


def png(width, height, *chunks):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def bmp(width, height):
    return b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, *[0] * 6)


def webp(width, height):
    bits = (width - 1) | (height - 1) << 14
    body = b"VP8L" + struct.pack("<IBI", 6, 0x2F, bits) + b"\0\0"
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def jpeg(path, width, height):
    Image.new("L", (8, 8)).save(path, "JPEG")
    content = path.read_bytes()
    place = content.index(b"\xff\xc0") + 5
    path.write_bytes(content[:place] + struct.pack(">HH", height, width) + content[place + 4 :])


def unix_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def sparse(path, size=2**40):
    path.write_bytes(png(8, 8))
    os.truncate(path, size)


MUCH_TEXT = b"a\0\0" + zlib.compress(bytes(10**8), 1)
PIXELS = (b"IDAT", zlib.compress(bytes(100)))
FAULTS = {
    "zero bytes": ("x.png", lambda path: path.write_bytes(b"")),
    "text": ("x.jpg", lambda path: path.write_text("hello")),
    "zeros": ("x.bmp", lambda path: path.write_bytes(bytes(1000))),
    "a header alone": ("x.png", lambda path: path.write_bytes(png(8, 8)[:33])),
    "too little": ("x.png", lambda path: path.write_bytes(png(80, 80, PIXELS))),
    "13,000 x 13,000": ("x.png", lambda path: path.write_bytes(png(13_000, 13_000, PIXELS))),
    "2**31 - 1 a side": ("x.png", lambda path: path.write_bytes(png(2**31 - 1, 2**31 - 1, PIXELS))),
    "one pixel high": ("x.png", lambda path: path.write_bytes(png(2**31 - 1, 1, PIXELS))),
    "a great bmp": ("x.bmp", lambda path: path.write_bytes(bmp(2**30, 2**30))),
    "a bmp of no size": ("x.bmp", lambda path: path.write_bytes(bmp(0, 8))),
    "a great webp": ("x.webp", lambda path: path.write_bytes(webp(2**14, 2**14))),
    "a great jpeg": ("x.jpg", lambda path: jpeg(path, 65_000, 65_000)),
    "a text that unpacks to much": ("x.png", lambda path: path.write_bytes(png(8, 8, (b"zTXt", MUCH_TEXT), PIXELS))),
    "a terabyte": ("x.png", sparse),
    "a fifo": ("x.png", os.mkfifo),
    "a socket": ("x.png", unix_socket),
    "a device": ("x.png", lambda path: path.symlink_to("/dev/zero")),
    "a terminal": ("x.png", lambda path: path.symlink_to("/dev/tty")),
    "the kernel's log": ("x.png", lambda path: path.symlink_to("/proc/kmsg")),
    "a link to nothing": ("x.png", lambda path: path.symlink_to("nothing.png")),
    "a link to itself": ("x.png", lambda path: path.symlink_to(path)),
    "escape codes in the name": ("\x1b[2J\x1b]0;x\x07.png", lambda path: path.write_bytes(b"")),
    "lines in the name": ("1\n[2026-01-01] Epoch 1\r.png", lambda path: path.write_bytes(b"")),
    "a name in latin-1": (os.fsdecode(b"caf\xe9.png"), lambda path: path.write_bytes(b"")),
    "a name that turns the writing": ("\u202egnp.png", lambda path: path.write_bytes(b"")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_not_an_image_is_left_out_with_a_printable_warning(ten_pictures, caplog, fault):
    name, make = FAULTS[fault]
    make(ten_pictures / name)
    tracemalloc.start()
    images = image_folder.load(str(ten_pictures), 8, 3, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(images) == 10
    warning, left = caplog.messages
    assert warning.isprintable()
    assert warning.startswith("1 file ")
    assert "object at" not in warning
    assert left == "10 of 11 files with images are left to train on."
    assert peak < 100e6


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if "name" not in fault])
def test_an_image_that_changes_into_something_else_later_is_replaced(ten_pictures, caplog, fault):
    images = image_folder.load(str(ten_pictures), 8, 3, None)
    expected = images.pixels(torch.tensor([4]))
    path = ten_pictures / "3.png"
    path.unlink()
    FAULTS[fault][1](path)
    assert torch.equal(images.pixels(torch.tensor([3])), expected)
    assert caplog.messages[0].endswith("; the next image takes its place.")


@pytest.mark.parametrize("size", [(9_000, 8_000), (8_192, 8_193), (1, 2**26 + 1)])
def test_a_huge_image_of_any_shape_is_refused_before_it_is_decoded(ten_pictures, caplog, size):
    (ten_pictures / "x.png").write_bytes(png(*size, PIXELS))
    image_folder.load(str(ten_pictures), 8, 3, None)
    assert f"it has {size[0]:,} x {size[1]:,} pixels, which are too many to decode" in caplog.text


def test_a_huge_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_PIXELS", 200_000)
    Image.new("L", (800, 800), 100).save(tmp_path / "x.jpg")
    Image.new("L", (800, 800), 100).save(tmp_path / "x.png")
    assert np.unique(decoding.read_picture(tmp_path / "x.jpg", (8, 8), 1)).tolist() == [100]
    with pytest.raises(ValueError, match="800 x 800"):
        decoding.read_picture(tmp_path / "x.png", (8, 8), 1)


def test_huge_images_share_a_limit_of_memory_for_decoding(tmp_path, monkeypatch):
    class Watched(decoding._Budget):
        least = 2000

        @contextlib.contextmanager
        def taking(self, amount):
            with super().taking(amount):
                self.least = min(self.least, self._left)
                yield

    monkeypatch.setattr(decoding, "_being_decoded", budget := Watched(2000))
    for number in range(30):
        side = 10 * (1 + number % 4)
        Image.new("L", (side, side), number).save(tmp_path / f"{number:02}.png")
    images = image_folder.load(str(tmp_path), 8, 1, None)
    assert images.pixels(torch.arange(30))[:, 0, 0, 0].tolist() == list(range(30))
    assert budget.least >= 0
    assert budget._left == 2000


def test_file_names_that_are_not_valid_text_are_accepted(tmp_path, write_picture):
    latin, escape = os.fsdecode(b"caf\xe9"), "\x1b[31m"
    for name in (latin, escape):
        write_picture(tmp_path / name / f"{name}.png", np.zeros((8, 8), np.uint8))
    images = image_folder.load(str(tmp_path), 8, 3, None)
    assert images.classes == ("\\x1b[31m", "caf\\xe9")
    assert images.labels.tolist() == [0, 1]
    assert len(images.fingerprint) == 16


def test_a_warning_about_classes_is_printable(tmp_path, write_picture, caplog):
    for name in ("\x1b.png", "\x07/1.png"):
        write_picture(tmp_path / name, np.zeros((8, 8), np.uint8))
    image_folder.load(str(tmp_path), 8, 3, None)
    assert caplog.messages[0] == "\\x1b.png lies beside folders such as \\x07, so that no image has a class."
    assert all(message.isprintable() for message in caplog.messages)


def test_folders_may_be_nested_deeper_than_pythons_recursion_limit(tmp_path, write_picture):
    write_picture(tmp_path.joinpath(*["d"] * 300, "1.png"), np.zeros((8, 8), np.uint8))
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(len(inspect.stack()) + 200)
        assert len(image_folder.load(str(tmp_path), 8, 3, None)) == 1
    finally:
        sys.setrecursionlimit(before)


def test_circular_links_are_followed_once(tmp_path, write_picture):
    for name, other in (("a", "b"), ("b", "a")):
        write_picture(tmp_path / name / "1.png", np.zeros((8, 8), np.uint8))
        (tmp_path / name / "on").symlink_to(tmp_path / other)
        (tmp_path / name / "self").symlink_to(tmp_path / name / "self")
    assert len(image_folder.load(str(tmp_path), 8, 3, None)) <= 4


def test_a_folder_that_is_changed_while_it_is_read_is_an_error(ten_pictures):
    with pytest.raises(UserError, match=r"The images in data\.root have changed: 3\.png cannot be read"):
        image_folder.FolderImages(ten_pictures / "elsewhere", ["3.png"], (8, 8), 3)


# ---- idx --------------------------------------------------------------------------------------------------


def header(*shape):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def packed(content):
    """Gzipped, to the same bytes every time."""
    return gzip.compress(content, mtime=0)


SIX = header(6, 28, 28) + bytes(6 * 28 * 28)
MUCH = 2**32 - 1
IMAGES = "train-images-idx3-ubyte"
BOMB = gzip.compress(bytes(2**24), 1, mtime=0) * 300  # unpacks to 5 GB


UNPACKED = {
    "whole, and a bomb behind": (
        f"{IMAGES}.gz",
        packed(SIX) + BOMB,
        "continues beyond the 4,720 bytes that its header promises",
    ),
    "a bomb": (f"{IMAGES}.gz", BOMB, "holds numbers of type 0x00"),
    "a header that promises too much, and a bomb": (
        f"{IMAGES}.gz",
        packed(header(MUCH, MUCH, MUCH)) + BOMB,
        "promises 79,228,162,458,924,",
    ),
    "a header that promises much too much": (
        f"{IMAGES}.gz",
        packed(header(2**40 % MUCH, 2**20, 2**20)),
        "promises",
    ),
    "cut short": (f"{IMAGES}.gz", packed(SIX)[:-9], "ends after"),
    "cut within the header": (f"{IMAGES}.gz", packed(SIX)[:12], "is no IDX file"),
    "more behind it": (f"{IMAGES}.gz", packed(SIX) + b"more", "cannot be unpacked"),
    "packed twice": (f"{IMAGES}.gz", packed(packed(SIX)), "is no IDX file"),
    "unpacked, promises too much": (IMAGES, header(MUCH, MUCH, MUCH), "promises 79,228,162,458,924,"),
    "unpacked, cut short": (IMAGES, header(10**4, 28, 28), "ends after 16 of 7,840,016 bytes"),
    "unpacked, more behind it": (IMAGES, SIX + b"x", "continues beyond the 4,720 bytes that its header promises"),
    "of two dimensions": (IMAGES, header(6, 28)[:4] + bytes(1), "has 2 dimensions, where 3 are needed"),
}


@pytest.mark.parametrize(("name", "content", "problem"), UNPACKED.values(), ids=UNPACKED)
def test_an_idx_file_is_unpacked_only_as_far_as_its_header_says(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError) as error:
        idx.load(str(tmp_path), None, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert peak < 20e6


def test_a_gzipped_file_in_several_parts_is_one_file(tmp_path):
    (tmp_path / f"{IMAGES}.gz").write_bytes(packed(SIX[:1000]) + packed(SIX[1000:]) + bytes(512))
    assert len(idx.load(str(tmp_path), None, None)) == 6


def test_labels_with_more_entries_than_images_are_not_read(tmp_path):
    (tmp_path / IMAGES).write_bytes(SIX)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(packed(header(MUCH)) + BOMB)
    with pytest.raises(UserError, match=r"labels-idx1-ubyte\.gz has 4,294,967,295 entries, where 6 are needed"):
        idx.load(str(tmp_path), None, None)


OTHER_KINDS = [
    fault for fault in FAULTS if fault.startswith(("a fifo", "a socket", "a device", "a link", "a terminal"))
]


@pytest.mark.parametrize("name", [IMAGES, "x-images-idx3-ubyte", "x-images.idx3-ubyte.gz"])
@pytest.mark.parametrize("fault", OTHER_KINDS)
def test_a_file_that_is_not_regular_is_not_read_as_idx(tmp_path, fault, name):
    FAULTS[fault][1](tmp_path / name)
    for load in (idx.load, lambda root, size, limit: mnist.load(root, False, size, limit)):
        with pytest.raises(UserError, match=r"it holds no file named|is in none of"):
            load(str(tmp_path), None, None)


def test_many_files_with_odd_names_make_a_short_printable_message(tmp_path):
    for number in range(100):
        (tmp_path / f"\x1b[{number}m-images-idx3-ubyte").write_bytes(SIX)
    with pytest.raises(UserError, match="it holds several sets: ") as error:
        idx.load(str(tmp_path), None, None)
    assert all(line.isprintable() for line in str(error.value).split("\n"))
    assert len(str(error.value)) < 1000


# ---- sizes that no memory has -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [200_000, 10**9, 10**15])
def test_a_size_that_exceeds_memory_is_refused_before_allocation_with_one_that_fits(tmp_path, ten_pictures, size):
    (tmp_path / IMAGES).write_bytes(SIX)
    for load in (
        lambda size: digits.load(size, None),
        lambda size: idx.load(str(tmp_path), size, None),
        lambda size: image_folder.load(str(ten_pictures), size, 3, None),
    ):
        with pytest.raises(UserError, match=rf"^data\.image_size is {size}, but ") as error:
            load(size)
        fits = int(error.value.remedy.removeprefix("Try data.image_size=").split()[0])
        assert 28 <= fits < size


def test_the_suggested_size_fits_and_a_dcgan_can_draw_it(monkeypatch):
    monkeypatch.setattr(decoding, "spare_memory", lambda: 100 * 3 * 150**2)
    with pytest.raises(UserError, match=r"Try data\.image_size=128 or a smaller one\."):
        decoding.check_room(100, 3, (151, 151))
    decoding.check_room(100, 3, (150, 150))
