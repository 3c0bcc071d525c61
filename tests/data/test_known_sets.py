import inspect
import typing
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from hydra.utils import get_method
from omegaconf import OmegaConf

from gan_runner.data import digits, emoji, fashion_mnist, mnist
from gan_runner.errors import UserError

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))
REPLACE = "Replace or complete the files there, or try data=digits, which ships inside the package."


def message_of(load, root, download=False):
    with pytest.raises(UserError) as error:
        load(str(root), download, None, None)
    return str(error.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_begins_with_what_it_is_and_has_exactly_the_keys_of_its_loader(path):
    assert path.read_text().startswith("# ")
    config = OmegaConf.load(path)
    load = get_method(config.pop("_target_"))
    assert list(config) == list(inspect.signature(load).parameters)
    assert set(typing.get_type_hints(load)) == {*config, "return"}


def test_the_digits_are_part_of_the_package():
    images = digits.load(image_size=28, limit=None)
    assert (images.name, images.shape, len(images)) == ("digits", (1, 28, 28), 1797)
    assert images.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.images[:, :, [0, -1]].max() == 0  # the margin
    assert images.images.max() == 255


def test_the_digits_are_available_at_their_original_size():
    images = digits.load(image_size=None, limit=1)
    row = [0, 0, 5, 13, 9, 1, 0, 0]
    assert images.shape == (1, 8, 8)
    assert images.images[0, 0, 0].tolist() == [round(value * 255 / 16) for value in row]
    assert images.labels.tolist() == [0]


def test_the_emoji_are_part_of_the_package_with_their_licence():
    images = emoji.load(32, 3, None)
    assert (images.name, images.shape, len(images)) == ("emoji", (3, 32, 32), 1520)
    assert dict(zip(images.classes, images.labels.bincount().tolist(), strict=True)) == emoji.CLASSES
    corners = images.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).double().mean() > 0.8  # what is transparent is white, and no picture is cut elsewhere
    assert (images.images.flatten(1).min(1).values < 255).all()
    assert len(images.images.flatten(1).unique(dim=0)) > 1500
    folder = Path(inspect.getfile(emoji)).parent
    assert "Apache License" in (folder / "emoji.LICENSE.txt").read_text()
    assert (folder / emoji.FILE).stat().st_size < 2_000_000


def test_a_class_of_emoji_looks_like_its_name():
    images = emoji.load(None, 3, None)
    colours = {name: images.images[images.labels == number].double() for number, name in enumerate(images.classes)}
    yellow = {name: (some[:, 0].mean() - some[:, 2].mean()).item() for name, some in colours.items()}
    assert max(yellow, key=yellow.get) == "smileys"
    whole = {name: (some.amin(1) < 250).double().mean().item() for name, some in colours.items()}
    assert max(whole, key=whole.get) == "symbols"


def test_emoji_have_a_fourth_channel_and_sizes_that_are_not_square_on_request():
    see_through, on_white = (emoji.load([32, 48], channels, 16).images.double() for channels in (4, 3))
    assert see_through.shape == (16, 4, 32, 48)
    opaque = see_through[:, 3:] / 255
    mixed = see_through[:, :3] * opaque + 255 * (1 - opaque)
    assert (mixed - on_white).abs().mean() < 1
    assert emoji.load(None, 1, 5).shape == (1, 32, 32)


def test_emoji_are_limited_held_out_and_drawn_larger():
    few = emoji.load(64, 3, 80)
    assert (few.shape, few.labels.bincount().tolist()) == ((3, 64, 64), [10] * 8)
    assert [len(emoji.load(32, 3, 5, split, holdout=0.1)) for split in ("train", "test")] == [5, 152]


@pytest.mark.parametrize(
    ("load", "name", "folder"),
    [
        (mnist.load, "mnist", "MNIST/raw"),
        (mnist.load, "mnist", "mnist"),
        (mnist.load, "mnist", "."),
        (fashion_mnist.load, "fashion_mnist", "FashionMNIST/raw"),
        (fashion_mnist.load, "fashion_mnist", "fashion_mnist"),
        (fashion_mnist.load, "fashion_mnist", "."),
    ],
)
def test_sets_of_idx_files_are_found_in_their_usual_folders(tmp_path, write_pair, load, name, folder):
    pixels = write_pair(tmp_path / folder, suffix=".gz")
    images = load(str(tmp_path), False, None, None)
    assert (images.name, images.shape, len(images.classes)) == (name, (1, 28, 28), 10)
    assert torch.equal(images.images[:, 0], torch.from_numpy(pixels))
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_kaggles_layout_of_mnist_with_a_folder_around_every_file_is_read(tmp_path, write_pair):
    pixels = write_pair(tmp_path)
    for file in list(tmp_path.iterdir()):
        content = file.read_bytes()
        file.unlink()
        file.mkdir()
        (file / file.name).write_bytes(content)
    assert torch.equal(mnist.load(str(tmp_path), False, None, None).images[:, 0], torch.from_numpy(pixels))


def test_torchvision_reads_the_layout_that_the_tests_write(tmp_path, write_pair):
    pixels = write_pair(tmp_path / "MNIST" / "raw")
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):  # torchvision wants the test split there too
        (tmp_path / f"MNIST/raw/t10k-{name}").write_bytes((tmp_path / f"MNIST/raw/train-{name}").read_bytes())
    theirs = torchvision.datasets.MNIST(tmp_path)
    assert torch.equal(theirs.data, torch.from_numpy(pixels))


def test_images_of_another_size_are_resized(tmp_path, write_pair):
    write_pair(tmp_path)
    assert mnist.load(str(tmp_path), False, 32, 2).images.shape == (2, 1, 32, 32)


def test_a_missing_set_is_refused_with_the_searched_folders_and_what_to_do(tmp_path):
    assert message_of(fashion_mnist.load, tmp_path / "data") == (
        f"data.root is {tmp_path}/data, but fashion_mnist is in none of: {tmp_path}/data/FashionMNIST/raw, "
        f"{tmp_path}/data/fashion_mnist, {tmp_path}/data.\n"
        "  Try data.download=true, or data.root=FOLDER if you have it, "
        "or data=digits, which ships inside the package."
    )


def test_a_root_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "that is a file, where a folder is needed." in message_of(mnist.load, tmp_path / "file")


def test_labels_without_images_name_the_missing_file(tmp_path, write_pair):
    write_pair(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").unlink()
    assert message_of(mnist.load, tmp_path) == (
        f"data.root is {tmp_path}, but {tmp_path}/MNIST/raw/train-labels-idx1-ubyte has no matching "
        f"{tmp_path}/MNIST/raw/train-images-idx3-ubyte.\n  {REPLACE}"
    )


def test_a_label_beyond_the_classes_is_reported_as_damage(tmp_path, write_pair, write_idx):
    write_pair(tmp_path)
    path = write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1, 2, 3, 4, 77], dtype=np.uint8))
    assert f"{path} holds class 77, where 0 to 9 are known." in message_of(mnist.load, tmp_path)


def test_a_download_is_stored_in_torchvisions_layout_atomically(tmp_path, write_pair, monkeypatch):
    def fetch(folder, download):
        assert download
        assert Path(folder) != tmp_path
        write_pair(Path(folder) / "MNIST" / "raw")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert len(mnist.load(str(tmp_path / "new"), True, None, None)) == 6
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["MNIST"]
    assert len(mnist.load(str(tmp_path / "new"), False, None, None)) == 6


def test_a_failed_download_gives_one_message_and_leaves_nothing(tmp_path, monkeypatch):
    def fetch(folder, download):
        (Path(folder) / "half").write_bytes(b"half")
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets, "MNIST", fetch)
    assert message_of(mnist.load, tmp_path, download=True) == (
        f"data.download is true, but mnist could not be downloaded to {tmp_path}: "
        "<urlopen error no network>\n"
        "  Check the connection and try again: nothing has arrived that could be kept. Or put the files there by hand "
        "and use data.download=false, or try data=digits, which ships inside the package."
    )
    assert not list(tmp_path.iterdir())


def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path, installed_fashion_mnist):
    images = fashion_mnist.load(str(tmp_path), False, 28, None)
    assert (images.shape, len(images)) == ((1, 28, 28), 60_000)
    assert images.labels.bincount().tolist() == [6000] * 10
    assert images.images.float().mean() == pytest.approx(0.2860 * 255, rel=1e-3)  # as published
