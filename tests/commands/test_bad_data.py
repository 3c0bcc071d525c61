"""Data that cannot be had or drawn: one message with the key, its value and what to type, and no traceback."""

import numpy as np
import pytest
from PIL import Image

from tests.command_line import gan_run

SHORT = ["trainer.iterations=1", "trainer.progress=false", "evaluation=off"]


def nothing(folder):
    pass


def photos(folder):
    (folder / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (80 * number, 0, 0)).save(folder / f"photos/{number}.png")


def a_file_cut_short(folder):
    (folder / "data/MNIST/raw").mkdir(parents=True)
    for name, shape in (("images-idx3", (9, 28, 28)), ("labels-idx1", (9,))):
        header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">i4").tobytes()
        (folder / f"data/MNIST/raw/train-{name}-ubyte").write_bytes(header + bytes(100))


# What lies there, what is typed, how the message begins, and a part of what it offers.
CASES = {
    "a download that was not asked for": (
        nothing,
        ["data=mnist"],
        "data.root is data, but ",
        "data.download=true",
    ),
    "torchvision's, not asked for": (
        nothing,
        ["data=torchvision", "data.name=SVHN"],
        "data.root is data, but torchvision does not find SVHN there: ",
        "Try data.download=true",
    ),
    "Hugging Face's, not asked for": (
        nothing,
        ["data=huggingface", "data.path=somebody/shapes"],
        "data.path is somebody/shapes, but ",
        "Try data.download=true",
    ),
    "a name mistyped": (
        nothing,
        ["data=torchvision", "data.name=SVNH"],
        "data.name is SVNH, which torchvision does not have.",
        "Try data.name=SVHN",
    ),
    "a file cut short": (a_file_cut_short, ["data=mnist"], "data.root is data, but ", "Replace or complete the files"),
    "a fourth channel that is not there": (
        photos,
        ["data=image_folder", "data.root=photos", "data.channels=4"],
        "data.channels is 4, but none of the 3 images of photos is transparent.",
        "Try data.channels=3",
    ),
    "a fourth channel of photographs": (
        nothing,
        ["data=cifar10", "data.channels=4"],
        "data.channels is 4, but must be ",
        "data.channels=",
    ),
    "an oblong size that dcgan cannot draw": (
        photos,
        ["data=image_folder", "data.root=photos", "data.image_size=[30,50]", "model=dcgan"],
        "model=dcgan cannot draw 30x50 images: ",
        "Try 'data.image_size=[32,48]'",
    ),
    "a flip that is neither": (nothing, ["data.flip=sometimes"], "data.flip is sometimes", "data.flip="),
}


@pytest.mark.parametrize("case", CASES)
def test_unavailable_or_unusable_data_give_one_message_with_what_to_type(tmp_path, monkeypatch, case):
    monkeypatch.delenv("GAN_DATA", raising=False)
    make, words, said, offered = CASES[case]
    make(tmp_path)
    result = gan_run(tmp_path, *words, *SHORT)
    assert result.code == 1, result.text
    assert result.err.startswith(said)
    assert offered in result.err
    assert "Traceback" not in result.text
    assert len(result.err.splitlines()) <= 6
