"""Well-known sets as people have them: read, or named with what to type."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import idx, mnist, torchvision_sets
from gan_runner.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.arange(6, dtype=np.uint8)
ROWS = IMAGES.reshape(6, -1)
PIXELS = [f"pixel{number}" for number in range(784)]


def csv(table, header=()):
    file = io.StringIO()
    np.savetxt(file, table, "%d", ",", header=",".join(header), comments="")
    return file.getvalue().lstrip("\n").encode()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


KERAS = npz(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
FIRST, LAST = np.c_[LABELS, ROWS], np.c_[ROWS, LABELS]


@pytest.mark.parametrize(
    "files",
    [
        {"mnist.npz": KERAS},
        {"train.csv": csv(FIRST, ["label", *PIXELS]), "mnist_test.csv": csv(FIRST[:2])},
        {"train.csv": csv(LAST, [*PIXELS, '"class"']), "test.csv": csv(FIRST[:2], ["label", *PIXELS])},
        {"mnist/mnist_train.csv": csv(FIRST), "mnist/mnist_test.csv": csv(FIRST[:2])},
    ],
)
def test_arrays_of_keras_and_tables_of_kaggle_are_read(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    images = mnist.load(str(tmp_path), False, None, None)
    assert torch.equal(images.images[:, 0], torch.from_numpy(IMAGES))
    assert (images.labels.tolist(), images.classes) == (LABELS.tolist(), tuple("0123456789"))
    assert mnist.load(str(tmp_path), False, None, None, "test").labels.tolist() == [0, 1]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("corner", [0, 255])
def test_labels_without_a_header_are_distinguished_from_pixels_of_a_corner(tmp_path, last, header, corner):
    images = np.tile(IMAGES, (4, 1, 1))
    images[:, 0, 0] = images[:, -1, -1] = corner
    images[3, 0, 0] = images[5, -1, -1] = 9  # as rare images reach it
    labels, rows = np.tile(LABELS, 4), images.reshape(len(images), -1)
    names = [f"x{number}" for number in range(785)] if header else ()
    (tmp_path / "train.csv").write_bytes(csv(np.c_[rows, labels] if last else np.c_[labels, rows], names))
    read = mnist.load(str(tmp_path), False, None, None)
    assert read.labels.tolist() == labels.tolist()
    assert torch.equal(read.images[:, 0], torch.from_numpy(images))


def test_test_images_without_labels_are_named(tmp_path):
    (tmp_path / "train.csv").write_bytes(csv(FIRST, ["label", *PIXELS]))
    (tmp_path / "test.csv").write_bytes(csv(ROWS, PIXELS))
    with pytest.raises(UserError, match=r"and not labels for .*test\.csv"):
        mnist.load(str(tmp_path), False, None, None, "test")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mnist.npz", b"PK nonsense", "File is not a zip file"),
        ("mnist.npz", b"<html>403</html>", "it is a web page, HTML"),
        ("mnist.npz", b"", "the file is empty"),
        ("mnist.npz", npz(x_train=IMAGES), "it lacks y_train"),
        ("mnist.npz", npz(x_train=IMAGES / 255, y_train=LABELS), "x_train is float64"),
        ("mnist.npz", npz(x_train=IMAGES, y_train=LABELS[:3]), "it has 6 images and 3 labels"),
        ("mnist.npz", npz(x_train=np.array([None]), y_train=LABELS), "x_train is object"),
        ("train.csv", csv(FIRST) + b"1,2,3\n", "the number of columns changed"),
        ("train.csv", csv(FIRST.astype(int) * 3), "could not convert string"),
    ],
)
def test_damaged_files_are_reported_with_the_reason(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        mnist.load(str(tmp_path), False, None, None)
    assert f"{tmp_path / name} cannot be read: {said}" in str(error.value)


def cifar10(root, download, image_size, limit):
    return torchvision_sets.load("CIFAR10", None, root, download, image_size, None, limit)


PNG = io.BytesIO()
Image.new("L", (4, 4)).save(PNG, "PNG")


@pytest.mark.parametrize(
    ("load", "lies", "said"),
    [
        (mnist.load, "deep/er/train-images-idx3-ubyte.gz", "Try data.root={root}/deep/er"),
        (mnist.load, "deep/train-images-idx3-ubyte/train-images-idx3-ubyte", "Try data.root={root}/deep"),
        (
            mnist.load,
            "gzip/emnist-mnist-train-images-idx3-ubyte.gz",
            "Try data=idx data.root={root}/gzip data.prefix=emnist-mnist-train data.transpose=true",
        ),
        (idx.load, "mnist.npz", "Try data=mnist data.root={root}"),
        (idx.load, "deep/my-images-idx3-ubyte", "Try data=idx data.root={root}/deep data.prefix=my"),
        (mnist.load, "archive (1).zip", "Try unzip '{root}/archive (1).zip' -d {root}"),
        (mnist.load, "mnist/train-00000-of-00001.parquet", "Try data=huggingface data.path={root}/mnist"),
        (mnist.load, "mnist.pkl.gz", "1 .gz file there (mnist.pkl.gz) cannot be read as it"),
        (mnist.load, "train.csv", "CSV is read from train.csv or mnist_train.csv, with a label and 784 pixels"),
        (mnist.load, "training/0/1.png", "Try data=image_folder data.root={root}/training/0 data.image_size=28"),
        (cifar10, "cifar-10-python.tar.gz", "Try tar -xf {root}/cifar-10-python.tar.gz -C {root}"),
        (cifar10, "cifar-100-python/train", "{root}/cifar-100-python is CIFAR-100."),
        (cifar10, "cifar-10-batches-mat/data_batch_1.mat", "is CIFAR-10 for MATLAB."),
        (cifar10, "cifar-10-batches-bin/data_batch_1.bin", "is CIFAR-10's binary version."),
        (cifar10, "deep/cifar-10-batches-py/data_batch_1", "Try data.root={root}/deep"),
    ],
)
def test_files_found_instead_of_a_set_are_reported_with_what_to_type(tmp_path, load, lies, said):
    (tmp_path / lies).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / lies).write_bytes(PNG.getvalue())
    arguments = (None, None) if load is idx.load else (False, None, None)
    with pytest.raises(UserError) as error:
        load(str(tmp_path), *arguments)
    assert said.format(root=tmp_path) in str(error.value)
