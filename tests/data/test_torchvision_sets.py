"""Sets by their names in torchvision, read from small files in the forms of the real ones."""

import inspect
import re
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from gan_runner.data import torchvision_sets
from gan_runner.data.torchvision_sets import KNOWN
from gan_runner.errors import UserError
from tests.torchvision_files import CIFAR_10

NOISE = np.random.default_rng(0)


def loaded(name, root, download=False, variant=None, image_size=None, channels=None, limit=None, **rest):
    return torchvision_sets.load(name, variant, str(root), download, image_size, channels, limit, **rest)


def message_of(*typed, **keys):
    with pytest.raises(UserError) as error:
        loaded(*typed, **keys)
    return str(error.value)


def pixels(*shape):
    return NOISE.integers(0, 256, shape, dtype=np.uint8)


def test_cifar10_is_read_back_as_written(tmp_path, write_cifar):
    written = torch.from_numpy(write_cifar(tmp_path))
    images = loaded("CIFAR10", tmp_path)
    assert (images.name, images.shape, images.classes) == ("cifar10", (3, 32, 32), CIFAR_10)
    assert torch.equal(images.images, written[:10])
    assert images.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    test = loaded("CIFAR10", tmp_path, limit=1, split="test")
    assert torch.equal(test.images, written[10:])
    assert test.labels.tolist() == [4, 5, 6]


def test_a_share_is_held_out_instead_of_the_test_images_and_sizes_and_channels_are_as_asked_for(tmp_path, write_cifar):
    write_cifar(tmp_path)
    held_out = loaded("CIFAR10", tmp_path, image_size=16, channels=1, split="test", holdout=0.2)
    assert (held_out.shape, held_out.labels.tolist()) == ((1, 16, 16), [2, 5])


@pytest.mark.parametrize("variant", [None, "letters", "mnist"])
def test_emnist_is_upright_and_has_the_classes_that_occur(tmp_path, write_idx, variant):
    known = torchvision.datasets.EMNIST.classes_split_dict[variant or "balanced"]
    first = 1 if variant == "letters" else 0
    labels = np.arange(first, len(known), dtype=np.uint8)
    written = pixels(len(labels), 28, 28)
    prefix = f"EMNIST/raw/emnist-{variant or 'balanced'}-train"
    write_idx(tmp_path / f"{prefix}-images-idx3-ubyte", written)
    write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", labels)
    images = loaded("EMNIST", tmp_path, variant=variant)
    assert torch.equal(images.images[:, 0], torch.from_numpy(written).transpose(1, 2))
    assert images.labels.tolist() == list(range(len(labels)))
    assert images.classes == tuple(known[first:])
    if variant == "letters":
        assert "".join(images.classes) == "abcdefghijklmnopqrstuvwxyz"


def test_svhn_is_read_with_its_extra_images_and_ten_classes(tmp_path):
    io = pytest.importorskip("scipy.io")
    written = {part: pixels(6, 3, 32, 32) for part in ("train", "extra", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
        for part, some in written.items():
            content = {"X": some.transpose(2, 3, 1, 0), "y": np.array([[10, 1, 2, 3, 4, 9]]).T}
            io.savemat(tmp_path / f"{part}_32x32.mat", content)
        images, both = loaded("SVHN", tmp_path), loaded("SVHN", tmp_path, variant="extra")
    assert torch.equal(images.images, torch.from_numpy(written["train"]))
    assert (images.labels.tolist(), images.classes) == ([0, 1, 2, 3, 4, 9], tuple("0123456789"))
    assert torch.equal(both.images[6:], torch.from_numpy(written["extra"]))


def test_a_set_of_files_of_several_sizes_is_scaled_to_the_requested_size(tmp_path, write_picture):
    for number, name in enumerate(["Forest", "River"]):
        for side in (20, 30):
            write_picture(tmp_path / f"eurosat/2750/{name}/{side}.jpg", np.full((side, 24, 3), 100 * number, np.uint8))
    message = message_of("EuroSAT", tmp_path)
    assert message.startswith(
        "data.image_size is null, but the images of EuroSAT have several sizes, such as 20x24 and 3"
    )
    images = loaded("EuroSAT", tmp_path, image_size=8)
    assert (images.shape, images.classes, images.labels.tolist()) == ((3, 8, 8), ("Forest", "River"), [0, 0, 1, 1])
    assert images.images.flatten(1).float().mean(1).round().tolist() == [0, 0, 100, 100]
    assert loaded("EuroSAT", tmp_path, image_size=8, limit=2).labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", KNOWN)
def test_torchvision_has_every_listed_set_with_these_arguments_and_labels(name):
    kind = getattr(torchvision.datasets, name)
    parameters = {key for base in kind.__mro__ for key in inspect.signature(base.__init__).parameters}
    for parts in KNOWN[name].values():
        for options in (*parts.train, *parts.test):
            assert {*options, "download"} <= parameters
    source = "".join(inspect.getsource(base) for base in kind.__mro__ if base.__module__.startswith("torchvision"))
    found = re.search(r"self\.(targets|labels|_labels|y|_samples)\b[^=\n]* = ", source)
    assert (found is not None) != (name == "CelebA")  # whose attributes are no classes


@pytest.mark.parametrize(
    ("name", "variant", "said"),
    [
        ("svhn", None, "data.name is svhn, which torchvision does not have.\n  Try data.name=SVHN"),
        ("CIFAR", None, "Try data.name=CIFAR10 or CIFAR100, or another one of: CIFAR10, CIFAR100, Caltech101, "),
        ("faces", None, "Try data.name="),
        ("Kinetics", None, "data.name is Kinetics, which torchvision has, but not as single images to draw."),
        ("EMNIST", "lettres", "data.variant is lettres, but EMNIST has only: balanced, byclass, bymerge, letters, "),
    ],
)
def test_an_unknown_name_is_answered_with_similar_ones(tmp_path, name, variant, said):
    assert said in message_of(name, tmp_path, variant=variant)


def test_nothing_is_downloaded_unless_requested_and_the_message_says_how(tmp_path):
    for name, parts in KNOWN.items():
        if name == "SEMEION":  # reads before it looks
            continue
        message = message_of(name, tmp_path / "data", variant=next(iter(parts)))
        assert message.startswith(f"data.root is {tmp_path}/data, but ")
        assert "data.download=true" in message
    assert not list(tmp_path.rglob("*.*"))


def test_a_failed_download_gives_one_message_and_leaves_nothing(tmp_path, monkeypatch):
    def no_network(url, *_, **__):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", no_network)
    message = message_of("KMNIST", tmp_path, download=True)
    assert message.startswith(f"data.download is true, but KMNIST could not be downloaded to {tmp_path}: ")
    assert "no network" in message
    assert torchvision.datasets.KMNIST.mirrors[0] in message
    assert not list(tmp_path.iterdir())


def test_a_requested_set_is_downloaded_once(tmp_path, monkeypatch, write_idx):
    def fetch(url, download_root, filename, md5):
        assert md5
        content = pixels(6, 28, 28) if "images" in filename else np.arange(6, dtype=np.uint8)
        write_idx(Path(download_root) / filename.removesuffix(".gz"), content)

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)
    images = loaded("KMNIST", tmp_path, download=True)
    assert (images.shape, images.classes[1]) == ((1, 28, 28), "ki")
    monkeypatch.undo()
    assert loaded("KMNIST", tmp_path).fingerprint == images.fingerprint


@pytest.mark.parametrize("damage", ["cut short", "another file", "missing"])
def test_files_that_differ_from_the_published_ones_are_refused(tmp_path, write_cifar, damage):
    write_cifar(tmp_path)
    path = tmp_path / "cifar-10-batches-py/data_batch_2"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:500] if damage == "cut short" else b"cos\nsystem\n(S'touch pwned'\ntR.")
    message = message_of("CIFAR10", tmp_path)
    assert message.startswith(f"data.root is {tmp_path}, but torchvision does not find CIFAR10 there: ")
    assert "corrupted" in message
    assert "download=True" not in message, "it is data.download=true here"


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda *_: True)
    assert "Try pip install scipy" in message_of("SVHN", tmp_path)
