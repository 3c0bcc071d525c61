"""Two domains without pairs: how they are made and read, in which order they come, and what is refused."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.data import InMemoryImages, make_loader, unpaired_folders
from gan_runner.data.batch import IMAGE_LABEL, SOURCE, SOURCE_LABEL, TRUTH
from gan_runner.data.image_set import checked_images, kind_of
from gan_runner.data.index_sampler import EVERYTHING, Share
from gan_runner.data.splits import NoTestSplitError
from gan_runner.data.transforms import inverted, slanted, thickened
from gan_runner.data.unpaired import Unpaired, load
from gan_runner.errors import UserError

CPU = torch.device("cpu")


def made(transform="slant", direction="AtoB", *, split="train", limit=None, size=16):
    return load("digits", transform, direction, "nowhere", False, size, 3, limit, split, 0.25)


def numbered(count, first, classes=()):
    """Images that are known by their level, of classes that take turns."""
    levels = torch.arange(first, first + count, dtype=torch.uint8)
    labels = torch.arange(count) % len(classes) if classes else None
    return InMemoryImages("levels", levels.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), labels, tuple(classes))


def loader_of(images, resident=True, share=EVERYTHING, replacement=False, seed=3):
    how = {"resident": resident, "replacement": replacement, "workers": 0, "batch": 5, "device": CPU}
    return make_loader(images, **how, seed=seed, share=share)


def shown(loader, start, count):
    """The levels of so many images, and of the sources beside them."""
    batch = loader.buffer(count)
    loader.load(start, batch)
    return batch.images[:, 0, 0, 0].tolist(), batch.conditions[SOURCE][:, 0, 0, 0].tolist()


def test_slant_shifts_rows_in_proportion_to_their_distance_from_the_middle():
    line = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    line[..., 4] = 255
    columns = slanted(line, 0.5)[0, 0].float() @ torch.arange(9.0) / slanted(line, 0.5)[0, 0].float().sum(1)
    assert columns.tolist() == pytest.approx([4 + 0.5 * (4 - row) for row in range(9)], abs=0.02)
    assert (slanted(torch.full((1, 3, 8, 8), 90, dtype=torch.uint8), 0.5) == 90).all()


def test_thick_lines_are_wider_by_twice_the_radius_and_inverting_twice_changes_nothing():
    line = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    line[..., 4] = 200
    assert (thickened(line, 2)[0, 0] == torch.tensor([0, 0, *[200] * 5, 0, 0])).all()
    opaque = torch.randint(256, (2, 4, 5, 5), dtype=torch.uint8)
    assert torch.equal(inverted(inverted(opaque)), opaque)
    assert torch.equal(inverted(opaque)[:, 3], opaque[:, 3])


@pytest.mark.parametrize("transform", ["slant", "thickness", "dark_on_light"])
def test_made_domains_share_no_training_image_and_know_the_pairs_of_those_held_out(transform):
    images = checked_images(made(transform), "made")
    assert not kind_of(images).partners
    batch = images.batch(torch.arange(len(images)))
    assert {SOURCE, SOURCE_LABEL, IMAGE_LABEL} == batch.conditions.keys()
    sources = {image.numpy().tobytes() for image in batch.conditions[SOURCE]}
    originals = {image.numpy().tobytes() for image in images.images.images.pixels(torch.arange(len(images.images)))}
    assert not sources & originals
    held_out = made(transform, split="test")
    judged = held_out.batch(torch.arange(len(held_out)))
    assert torch.equal(judged.conditions[TRUTH], judged.images)
    assert torch.equal(judged.conditions[SOURCE_LABEL], judged.conditions[IMAGE_LABEL])
    changed = held_out.images.change(judged.conditions[SOURCE])
    assert torch.equal(changed, judged.images)


def test_the_direction_swaps_the_sides():
    there, back = made(direction="AtoB"), made(direction="BtoA")
    assert torch.equal(there.images.pixels(torch.arange(5)), back.sources.pixels(torch.arange(5)))
    assert there.fingerprint != back.fingerprint


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("counts", [(20, 20), (20, 13), (7, 20)])
def test_each_side_has_its_own_order_that_follows_from_the_position(resident, counts):
    images = Unpaired("two", numbered(counts[0], 0), numbered(counts[1], 100))
    assert len(images) == max(counts)
    loader = loader_of(images, resident)
    batches = [shown(loader, start, 5) for start in range(0, 60, 5)]
    drawn, sources = (list(chain.from_iterable(batch[side] for batch in batches)) for side in (0, 1))
    for levels, count in ((drawn, counts[0]), (sources, counts[1])):
        assert all(len(set(levels[k : k + count])) == count for k in range(0, 60 - count, count)), "each once a pass"
    again = shown(loader_of(images, resident), 35, 5)
    assert again == (drawn[35:40], sources[35:40]), "wherever a run is resumed"


def test_partners_meet_no_more_often_than_by_chance():
    count = 50
    loader = loader_of(Unpaired("two", numbered(count, 0), numbered(count, 100)))
    together = [set() for _ in range(count)]
    for start in range(0, 20 * count, 5):
        for image, source in zip(*shown(loader, start, 5), strict=True):
            together[image].add(source)
    assert min(map(len, together)) >= 12, "twenty passes bring each image beside ever other ones"


def test_several_processes_share_both_orders():
    images = Unpaired("two", numbered(12, 0), numbered(9, 100))
    whole = shown(loader_of(images), 0, 6)
    parts = [shown(loader_of(images, share=Share(rank, 2)), 0, 3) for rank in (0, 1)]
    for side in (0, 1):
        assert whole[side][0::2] == parts[0][side]
        assert whole[side][1::2] == parts[1][side]


def test_classes_are_numbered_alike_on_both_sides():
    images = Unpaired("two", numbered(4, 0, ["a", "b"]), numbered(4, 100, ["b", "a"]))
    batch = images.batch(torch.arange(4))
    assert batch.conditions[IMAGE_LABEL].tolist() == [0, 1, 0, 1]
    assert batch.conditions[SOURCE_LABEL].tolist() == [1, 0, 1, 0]
    loader = loader_of(images)
    filled = loader.buffer(4)
    loader.load(0, filled)
    assert torch.equal(filled.conditions[SOURCE_LABEL], 1 - (filled.conditions[SOURCE][:, 0, 0, 0].long() - 100) % 2)


def test_classes_of_only_one_side_are_ignored():
    images = Unpaired("two", numbered(4, 0, ["a", "b"]), numbered(4, 100))
    assert images.batch(torch.arange(2)).conditions.keys() == {SOURCE}
    assert loader_of(images).buffer(2).conditions.keys() == {SOURCE}


@pytest.mark.parametrize(
    ("images", "sources", "said"),
    [
        (numbered(2, 0), InMemoryImages("x", torch.zeros(2, 1, 5, 4, dtype=torch.uint8), None, ()), "4x4 .* 5x4"),
        (numbered(2, 0, ["a", "b"]), numbered(2, 9, ["a", "c"]), "b, c come on one side alone"),
    ],
)
def test_domains_that_do_not_fit_together_are_refused(images, sources, said):
    with pytest.raises(UserError, match=said):
        Unpaired("two", images, sources)


def write(folder: Path, *names: str) -> None:
    """Images that differ."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        level = sum(map(ord, f"{folder.name}/{name}")) % 256
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(folder / name)


def read(root, other_root=None, *, split="train", direction="AtoB", holdout=0.0, limit=None):
    return unpaired_folders.load(str(root), other_root and str(other_root), 8, 3, direction, limit, split, holdout)


def layout(root, name):
    """Three training images of A, two of B, and one of each to judge by."""
    places = {
        "A and B": ("A/train/", "B/train/", "A/test/", "B/test/"),
        "trainA": ("trainA/", "trainB/", "testA/", "testB/"),
        "val": ("A/", "B/", "valA/", "valB/"),
    }[name]
    for place, names in zip(places, (["1", "2", "3"], ["4", "5"], ["6"], ["6"]), strict=True):
        write(root, *(f"{place}{each}.png" for each in names))


@pytest.mark.parametrize("name", ["A and B", "trainA", "val"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_folders_are_read_in_every_layout(tmp_path, name, direction):
    layout(tmp_path, name)
    images, held_out = (read(tmp_path, split=split, direction=direction) for split in ("train", "test"))
    a, b = (images.sources, images.images) if direction == "AtoB" else (images.images, images.sources)
    assert (len(a), len(b), len(images)) == (3, 2, 3)
    assert held_out.partners
    assert len(held_out) == 1


def test_two_folders_anywhere_are_two_domains_whose_held_out_pairs_are_found_by_name(tmp_path):
    for side, ending in (("ink", "png"), ("paint", "jpg")):
        write(tmp_path / side, *(f"{number:02}.{ending}" for number in range(12)))
    held_out = read(tmp_path / "ink", tmp_path / "paint", split="test", holdout=0.25)
    assert held_out.partners
    assert len(held_out) == 3
    (tmp_path / "paint/02.jpg").unlink()
    assert not read(tmp_path / "ink", tmp_path / "paint", split="test", holdout=0.25).partners


@pytest.mark.parametrize(
    ("files", "how", "said"),
    [
        (["A/1.png"], {}, "domain B: A alone"),
        (["1.png"], {}, "domain A: neither A nor B"),
        (["A/1.png", "B/notes.txt"], {}, "domain B: A alone"),
        (["trainA/1.png", "trainB/1.png", "testA/1.png"], {"split": "test"}, r"domain B \(.*trainB\) has none"),
        (["A/cat/1.png", "A/dog/1.png", "B/cat/1.png", "B/cow/1.png"], {}, "cow, dog come on one side"),
    ],
)
def test_folders_that_are_not_two_domains_are_refused_in_one_message(tmp_path, files, how, said):
    for file in files:
        if file.endswith(".png"):
            write(tmp_path, file)
        else:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("none")
    with pytest.raises(UserError, match=said):
        read(tmp_path, **how)


def test_no_held_out_images_is_distinguished_from_a_mistake(tmp_path):
    write(tmp_path, "A/1.png", "B/2.png")
    with pytest.raises(NoTestSplitError, match="all images train"):
        read(tmp_path, split="test")


def test_one_folder_is_not_two_domains(tmp_path):
    write(tmp_path, "1.png")
    with pytest.raises(UserError, match=r"is data\.root too"):
        read(tmp_path, tmp_path)
