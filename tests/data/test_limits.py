"""`data.limit` of every set with classes: something of each class, always the same."""

import itertools

import numpy as np
import pytest
import torch

from gan_runner.data import digits, idx, image_folder, mnist, torchvision_sets
from gan_runner.data.image_set import rows_within_limit
from tests.torchvision_files import write_cifar10

CLASSES, EACH = 5, 12
SORTED = torch.arange(CLASSES).repeat_interleave(EACH)
MIXED = torch.arange(CLASSES * EACH) % CLASSES
RARE_LATE = torch.cat([torch.arange(55) % 4, torch.full((5,), 4)])


def write_folder(root, labels, write_idx, write_picture, patch):
    for number, label in enumerate(labels.tolist()):
        write_picture(root / str(label) / f"{number:03}.png", np.full((8, 8), 4 * number, np.uint8))
    return lambda limit: image_folder.load(str(root), 8, 1, limit)


def write_idx_files(root, labels, write_idx, write_picture, patch):
    images = np.broadcast_to(4 * np.arange(len(labels), dtype=np.uint8)[:, None, None], (len(labels), 28, 28))
    write_idx(root / "train-images-idx3-ubyte", np.ascontiguousarray(images))
    write_idx(root / "train-labels-idx1-ubyte", labels.numpy().astype(np.uint8))
    return lambda limit: idx.load(str(root), None, limit)


def write_mnist(root, labels, write_idx, write_picture, patch):
    write_idx_files(root, labels, write_idx, write_picture, patch)
    return lambda limit: mnist.load(str(root), False, 28, limit)


def write_cifar(root, labels, write_idx, write_picture, patch):
    pixels = np.tile(4 * np.arange(60, dtype=np.uint8)[:, None, None, None], (1, 3, 32, 32))
    batches = [(pixels[start : start + EACH], labels[start : start + EACH]) for start in range(0, 60, EACH)]
    write_cifar10(root, patch, batches, batches[0])
    return lambda limit: torchvision_sets.load("CIFAR10", None, str(root), False, 32, None, limit)


@pytest.mark.parametrize("write", [write_folder, write_idx_files, write_mnist, write_cifar])
@pytest.mark.parametrize("labels", [SORTED, MIXED, RARE_LATE], ids=["sorted", "mixed", "a class comes late"])
def test_a_limit_keeps_images_of_every_class_of_any_set(tmp_path, monkeypatch, write_idx, write_picture, write, labels):
    load = write(tmp_path, labels, write_idx, write_picture, monkeypatch)
    whole, part, again = load(None), load(10), load(10)
    assert (len(part), part.classes) == (10, whole.classes)
    assert part.fingerprint == again.fingerprint
    assert len(part.labels.unique()) == CLASSES
    rows = [pixels[0, 0, 0].item() // 4 for pixels in part.pixels(torch.arange(10))]
    assert len(set(rows)) == 10
    assert part.labels.tolist() == labels[rows].tolist()  # images keep their own class


def test_sets_whose_first_images_have_every_class_keep_those():
    """So that runs with a limit, made before, have the data they had."""
    assert rows_within_limit(60, MIXED, 7).tolist() == list(range(7))
    assert rows_within_limit(60, None, 7).tolist() == list(range(7))
    first = digits.load(28, None).images[:64]
    assert torch.equal(digits.load(28, 64).images, first)


@pytest.mark.parametrize("sizes", [[12, 12, 12], [1, 20, 3], [5]])
def test_limits_of_a_sorted_set_nest_and_share_evenly(sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    kept = [set(rows_within_limit(len(labels), labels, limit).tolist()) for limit in range(1, len(labels) + 1)]
    for limit, (fewer, more) in enumerate(itertools.pairwise(kept), 1):
        assert fewer < more
        counts = torch.bincount(labels[sorted(fewer)], minlength=len(sizes))
        full = counts == torch.tensor(sizes)
        assert len(fewer) == limit
        assert counts.max() - counts[~full].min() <= 1 if not full.all() else True
