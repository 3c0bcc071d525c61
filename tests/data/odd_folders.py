"""Folders of images as people have them: how each is laid out, and what has to come of it.

python -m tests.data.odd_folders FOLDER makes all of them there, to be tried with whole commands.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

FOLDERS: dict[str, Folder] = {}


@dataclass(frozen=True)
class Folder:
    """A folder, and what is to be read of it.

    Attributes:
        make: lays it out.
        images: that train; 0 where loading is an error.
        classes: of these.
        held_out: images that are held out; None where none are.
        says: what the messages, or the error, have in them.
        channels: that it is read with.
    """

    make: Callable[[Path], None]
    images: int
    classes: tuple[str, ...] = ()
    held_out: int | None = None
    says: tuple[str, ...] = ()
    channels: int = 3


def folder(images, classes=(), held_out=None, says=(), channels=3):
    """Adds what a function lays out to the table, under the function's name."""

    def add(make):
        name = make.__name__.strip("_").replace("_", " ")
        FOLDERS[name] = Folder(
            make, images, tuple(classes), held_out, (says,) if isinstance(says, str) else says, channels
        )
        return make

    return add


_made = 0


def picture(width=16, height=16):
    """A smooth colour image, always another one, made of all levels."""
    global _made
    _made += 1
    random = np.random.default_rng(_made)
    coarse = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    coarse[0, 0], coarse[2, 2] = 0, 255
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write(path, count=4, ending="png", size=(16, 16), mode="RGB", **options):
    """Writes images 0.png, 1.png, ... into a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(*size).convert(mode).save(path / f"{number}.{ending}", **options)


def write_as(path, kind, **options):
    """Writes an image of a format under a name of any ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture().save(path, kind, **options)


def text(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


# ---- layouts ----------------------------------------------------------------------------------------------


@folder(4)
def flat(root):
    write(root)


@folder(8, ["cats", "dogs"], says="8 images in 2 classes (cats, dogs).")
def a_folder_a_class(root):
    write(root / "cats")
    write(root / "dogs")


@folder(8, ["cats", "dogs"], 4, says="8 images in 2 classes (cats, dogs) from train/; 4 of test/ are held out.")
def train_and_test(root):
    for name in ("cats", "dogs"):
        write(root / "train" / name)
        write(root / "test" / name, 2)


@folder(8, ["cats", "dogs"], 2, says="2 of Validation/ are held out")
def training_and_validation_in_capitals(root):
    write(root / "TRAINING" / "cats")
    write(root / "TRAINING" / "dogs")
    write(root / "Validation" / "dogs", 2)


@folder(4, (), 3, says=("3 of test/ are held out", "not used: 2 of valid/"))
def train_valid_and_test_without_classes(root):
    write(root / "train")
    write(root / "valid", 2)
    write(root / "test", 3)


@folder(4, (), 2, says="from data/train/; 2 of data/test/ are held out")
def train_and_test_in_a_folder_of_their_own(root):
    write(root / "data" / "train" / "images")
    write(root / "data" / "test" / "images", 2)


@folder(8, ["cats", "dogs"], 4, says="held out")
def test_and_train_in_each_class(root):
    for name in ("cats", "dogs"):
        write(root / name / "train")
        write(root / name / "test", 2)


@folder(8, ["A", "B"], 4)
def split_and_class_in_one_name(root):
    for name in "AB":
        write(root / f"train{name}")
        write(root / f"test{name}", 2)


@folder(8, ["sea", "street"], 2, says=("from seg_train/; 2 of seg_test/ are held out", "not used: 3 of seg_pred/"))
def prefixed_and_doubled(root):
    write(root / "seg_train" / "seg_train" / "sea")
    write(root / "seg_train" / "seg_train" / "street")
    write(root / "seg_test" / "seg_test" / "sea", 2)
    write(root / "seg_pred", 3, "jpg")


@folder(4, (), 2, says="from images/train2017/")
def images_and_labels_of_a_detector(root):
    write(root / "images" / "train2017")
    write(root / "images" / "val2017", 2)
    text(root / "labels" / "train2017" / "0.txt", "0 0.5 0.5 1 1")


@folder(4, ["bus", "train"], says="2 classes (bus, train)")
def vehicles_of_which_one_is_a_train(root):
    write(root / "train", 2)
    write(root / "bus", 2)


@folder(4, ["test_tube", "train_station"], says="2 classes")
def classes_with_test_and_train_in_their_names(root):
    write(root / "train_station", 2)
    write(root / "test_tube", 2)


@folder(4, ["cats", "dogs"], 2, says="2 of test/ are held out; 2 there are of classes that do not train")
def a_class_that_comes_in_test_alone(root):
    write(root / "train" / "cats", 2)
    write(root / "train" / "dogs", 2)
    write(root / "test" / "cats", 2)
    write(root / "test" / "birds", 2)


@folder(4, ["cats", "dogs"], says="0 of test/ are held out; 2 there are of classes that do not train")
def test_classes_that_never_train(root):
    write(root / "train" / "cats", 2)
    write(root / "train" / "dogs", 2)
    write(root / "test" / "birds", 1)
    write(root / "test" / "fish", 1)


@folder(4, ["cats", "dogs"], says="2 of test/ are held out")
def a_test_folder_that_is_broken(root):
    write(root / "train" / "cats", 2)
    write(root / "train" / "dogs", 2)
    text(root / "test" / "cats" / "0.png")
    text(root / "test" / "dogs" / "0.png")


@folder(4, ["Cats", "caf\u00e9"], 4)
def test_classes_in_other_letters(root):
    write(root / "train" / "Cats", 2)
    write(root / "train" / "caf\u00e9", 2)
    write(root / "test" / "cats", 2)
    write(root / "test" / "cafe\u0301", 2)


@folder(4, ["cats", "dogs"], says="2 classes (cats, dogs)")
def nested_in_itself(root):
    write(root / "archive" / "archive" / "images" / "cats", 2)
    write(root / "archive" / "archive" / "images" / "dogs", 2)


@folder(4)
def one_folder_of_pictures(root):
    write(root / "images")


@folder(4, says="0.png lies beside folders such as cats, so that no image has a class.")
def pictures_beside_classes(root):
    write(root, 2)
    write(root / "cats", 2)


@folder(4, ["cats", "dogs"], says="1 file is empty (thumb.png)")
def a_broken_picture_beside_classes(root):
    write(root / "cats", 2)
    write(root / "dogs", 2)
    text(root / "thumb.png")


@folder(4, ["cats", "dogs"], says="no image in birds/")
def an_empty_class(root):
    write(root / "cats", 2)
    write(root / "dogs", 2)
    (root / "birds").mkdir()


@folder(2, ["cats"], says=("2 files are empty", "2 of 4 files with images are left"))
def a_class_of_broken_pictures(root):
    write(root / "cats", 2)
    for number in range(2):
        text(root / "dogs" / f"{number}.png")


@folder(4, ["cats", "dogs"])
def left_by_systems(root):
    write(root / "cats", 2)
    write(root / "dogs", 2)
    write(root / "__MACOSX" / "cats", 2)
    text(root / "cats" / "._0.png", "a fork")
    write(root / "cats" / "@eaDir" / "0.png", 2, "jpg")
    write(root / ".ipynb_checkpoints", 2)
    write(root / "$RECYCLE.BIN", 2)
    (root / "lost+found").mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        text(root / name)


@folder(4, says="other files: 2 .txt, 1 .csv, 1 .json")
def captions_and_labels_beside(root):
    write(root)
    for name in ("0.txt", "1.txt", "labels.csv", "annotations.json"):
        text(root / name, "x")


@folder(4, says=("1 file that may hold images is not read: 1 .zip (photos.zip)", "4 of 5 files"))
def an_archive_beside(root):
    write(root)
    with zipfile.ZipFile(root / "photos.zip", "w") as file:
        file.writestr("0.png", b"x")


@folder(0, says=("there are 1 .zip.", "Unpack the archives, such as: unzip '", "my photos.zip"))
def an_archive_alone(root):
    with zipfile.ZipFile(root / "my photos.zip", "w") as file:
        file.writestr("0.png", b"x")


@folder(4, ["cats", "dogs"])
def links_to_classes(root):
    write(root / ".store" / "a", 2)
    write(root / ".store" / "b", 2)
    (root / "cats").symlink_to(root / ".store" / "a")
    (root / "dogs").symlink_to(root / ".store" / "b")


@folder(0, says="there are no files.")
def empty(root):
    root.mkdir(exist_ok=True)


# ---- endings and formats ----------------------------------------------------------------------------------


@folder(18, says="18 images.")
def every_ending_that_is_read(root):
    kinds = {"jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}
    kinds |= {"gif": "GIF", "tif": "TIFF", "tiff": "TIFF", "ppm": "PPM", "pnm": "PPM", "dib": "BMP", "PNG": "PNG"}
    kinds |= {"JPG": "JPEG", "TIF": "TIFF", "Jpeg": "JPEG", "apng": "PNG"}
    for ending, kind in kinds.items():
        write_as(root / f"{ending}_.{ending}", kind)


@folder(4, says="4 images.")
def grey_and_black_and_white_of_netpbm(root):
    write(root, 2, "pgm", mode="L")
    write(root, 2, "pbm", mode="1")


@folder(2, says=("4 files that may hold images are not read: 2 .heic, 1 .psd, 1 .svg", "2 of 6 files with images"))
def endings_that_are_not_read(root):
    write(root, 2)
    for name in ("a.heic", "b.HEIC", "c.svg", "d.psd"):
        text(root / name, "x")


@folder(0, says=("there are 3 .heic.", "Convert them to PNG or JPEG"))
def nothing_but_heic(root):
    for number in range(3):
        text(root / f"{number}.HEIC", "x")


@folder(0, says="there are 1 .npy, 1 .npz.")
def arrays(root):
    np.save(root / "x.npy", np.zeros((4, 8, 8)))
    np.savez(root / "y.npz", np.zeros((4, 8, 8)))


@folder(3)
def endings_that_lie(root):
    write_as(root / "0.jpg", "PNG")
    write_as(root / "1.png", "JPEG")
    write_as(root / "2.png", "WEBP")


@folder(3, says="2 files are HEIC, whatever their names say (2.jpg, 3.jpg): convert them to PNG or JPEG.")
def heic_named_jpg(root):
    write(root, 2, "jpg")
    for number in (2, 3):
        (root / f"{number}.jpg").write_bytes(b"\0\0\0\x24ftypheic" + bytes(100))
    write_as(root / "4.jpg", "JPEG")


@folder(3, says="other files: 1 without an ending")
def no_endings(root):
    for number in range(3):
        write_as(root / f"{number:08x}", ("PNG", "JPEG", "WEBP")[number])
    text(root / "LICENSE", "free")


@folder(3, says="2 files hold several images (a.gif, b.tif): the first of each is read.")
def several_pictures_in_a_file(root):
    write(root, 1)
    picture().save(root / "a.gif", save_all=True, append_images=[picture(), picture()])
    picture().save(root / "b.tif", save_all=True, append_images=[picture()])


@folder(2)
def a_phones_pictures(root):
    for number in range(2):
        picture().save(root / f"{number}.jpg", "MPO", save_all=True, append_images=[picture()])


# ---- files that are none ----------------------------------------------------------------------------------


@folder(0, says=("6 files are pointers of Git LFS and not the images (0.png, 1.png, ...)", "'git lfs pull'"))
def pointers_of_git_lfs(root):
    for number in range(6):
        text(
            root / f"{number}.png", f"version https://git-lfs.github.com/spec/v1\noid sha256:{number:064}\nsize 48213\n"
        )


@folder(
    2,
    says=(
        "4 files are pointers of Git LFS",
        "3 files are empty (e0.png, e1.png, ...).",
        "2 files are web pages, HTML (h0.jpg, h1.jpg): their download failed; fetch them again.",
        "2 of 11 files with images are left to train on.",
    ),
)
def pointers_empty_files_and_error_pages(root):
    write(root, 2)
    for number in range(4):
        text(root / f"p{number}.png", "version https://git-lfs.github.com/spec/v1\n")
    for number in range(3):
        text(root / f"e{number}.png")
    for number in range(2):
        text(root / f"h{number}.jpg", "\n<!DOCTYPE html>\n<title>403</title>")


@folder(
    2, says=("1 file is text (error.jpg)", "1 file is an archive", "1 file is PDF", "1 file holds nothing but zeros")
)
def other_things_with_a_pictures_name(root):
    write(root, 2)
    text(root / "error.jpg", '{"error": "rate limit"}')
    (root / "zip.jpg").write_bytes(b"PK\3\4" + bytes(range(256)))
    (root / "scan.png").write_bytes(b"%PDF-1.4\n\xff\xfe")
    (root / "zeros.png").write_bytes(bytes(2000))


@folder(2, says=("1 file is a pointer of git-annex", "1 file is a link to nothing (gone.png)"))
def links_to_nothing(root):
    write(root, 2)
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "annexed.png").symlink_to(".git/annex/objects/ab/cd/SHA256E-s1--0.png")


@folder(2, says="2 files cannot be decoded (2.png, 3.jpg), the first because ")
def cut_short(root):
    write(root, 2)
    for name, kind in (("2.png", "PNG"), ("3.jpg", "JPEG")):
        write_as(root / name, kind)
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])


@folder(3, says="2 files cannot be decoded")
def a_bomb(root):
    write(root, 3)
    for number in range(2):
        file = io.BytesIO()
        Image.new("1", (9000, 9000)).save(file, "PNG")
        (root / f"bomb{number}.png").write_bytes(file.getvalue())


@folder(3)
def a_png_with_a_long_text(root):
    write(root, 1)
    for number, packed in ((1, True), (2, False)):
        words = PngImagePlugin.PngInfo()
        words.add_text("comment", "x" * 2_000_000, zip=packed)
        picture().save(root / f"{number}.png", pnginfo=words)


@folder(2, says="1 file is not a regular file (pipe.png)")
def a_pipe(root):
    write(root, 2)
    os.mkfifo(root / "pipe.png")


# ---- depths and colours -----------------------------------------------------------------------------------


def deep(root, most, kind="png", dtype=np.uint16, least=0):
    for number in range(3):
        wave = np.sin((number + 2) * np.mgrid[0:16, 0:16][1] / 16)
        values = least + (most - least) * (wave - wave.min()) / np.ptp(wave)
        Image.fromarray(values.round().astype(dtype) if dtype != np.float32 else values.astype(dtype)).save(
            root / f"{number}.{kind}"
        )


@folder(3, says="3 images have 16 bits, of which the whole set uses 12: 0 is drawn black, 4,095 white.", channels=1)
def twelve_bits_in_sixteen(root):
    deep(root, 4095)


@folder(3, channels=1)
def sixteen_bits(root):
    deep(root, 65535)


@folder(3, says="the whole set uses 10", channels=1)
def ten_bits_in_a_tiff(root):
    deep(root, 1023, "tif")


@folder(3, says="3 images have floats: 0 is drawn black, 1 white.", channels=1)
def floats_from_0_to_1(root):
    deep(root, 1, "tiff", np.float32)


@folder(3, says="3 images have floats: -1000 is drawn black, 3000 white.", channels=1)
def floats_of_a_scanner(root):
    deep(root, 3000, "tif", np.float32, least=-1000)


@folder(3, says="-1,000 is drawn black, 3,000 white.", channels=1)
def signed_integers(root):
    deep(root, 3000, "tif", np.int32, least=-1000)


@folder(2, says="No image is brighter than 2")
def masks(root):
    for number in range(2):
        values = np.zeros((16, 16), np.uint8)
        values[number:, 4:] = 20
        Image.fromarray(values).save(root / f"{number}.png")


@folder(9)
def every_kind_of_colour(root):
    for number, mode in enumerate(("1", "L", "LA", "P", "RGB", "RGBA")):
        picture().convert(mode).save(root / f"{number}.png")
    picture().convert("CMYK").save(root / "cmyk.jpg")
    picture().convert("YCbCr").save(root / "ycbcr.tif")
    picture().convert("P").save(root / "transparent.gif", transparency=0)


@folder(1)
def lab(root):
    Image.merge("LAB", picture().convert("RGB").split()).save(root / "lab.tif")


@folder(2)
def turned_by_a_camera(root):
    for number, turn in enumerate((6, 8)):
        exif = Image.Exif()
        exif[0x0112] = turn
        picture(16, 12).save(root / f"{number}.jpg", exif=exif)


# ---- sizes ------------------------------------------------------------------------------------------------


@folder(3, says="3 of 3 images are enlarged more than twice for data.image_size=8, the smallest 4 times (0.png, 2x2)")
def icons(root):
    write(root, 3, size=(2, 2))


@folder(3, says="3 of 3 images lose more than half to the square crop, the worst 95% (0.png, 400x20)")
def panoramas(root):
    write(root, 3, size=(400, 20))


@folder(4, says="2 of 4 images are the same as another")
def copies(root):
    write(root, 2)
    for number in range(2):
        (root / f"copy of {number}.png").write_bytes((root / f"{number}.png").read_bytes())


@folder(1)
def a_single_picture(root):
    write(root, 1)


@folder(40, [f"person {number:02}" for number in range(40)], says="40 classes (person 00, person 01, ")
def as_many_classes_as_pictures(root):
    for number in range(40):
        write(root / f"person {number:02}", 1)


# ---- names ------------------------------------------------------------------------------------------------


@folder(4, ["R&D, 50% [new]", "a=b (1)"])
def classes_with_marks(root):
    write(root / "a=b (1)", 2)
    write(root / "R&D, 50% [new]", 2)


@folder(4, ["\u00fcber", "\u7167\u7247"])
def classes_beyond_ascii(root):
    write(root / "\u00fcber", 2)
    write(root / "\u7167\u7247", 2)


@folder(2, ["caf\\xe9", "it's"])
def names_that_are_no_utf8(root):
    write(root / os.fsdecode(b"caf\xe9"), 1)
    write(root / "it's", 1)


@folder(3, says="1 file is empty (\\x1b[2J.png).")
def control_codes_in_a_name(root):
    write(root, 3)
    text(root / "\x1b[2J.png")


@folder(3)
def long_names_and_spaces_at_their_end(root):
    write_as(root / f"{'x' * 250}.png", "PNG")
    write_as(root / "photo.PNG ", "PNG")
    write_as(root / "~.png", "PNG")


def main() -> None:
    for name, each in FOLDERS.items():
        root = Path(sys.argv[1]) / name.replace(" ", "_")
        root.mkdir(parents=True)
        each.make(root)
        print(root)


if __name__ == "__main__":
    main()
