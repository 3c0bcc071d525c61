"""Generated images by class: what is known of each, what filters leave out, and the folders that libraries read."""

import contextlib
import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gan_runner.errors import UserError
from gan_runner.worth.generated import Filters, generate, load, save, write_folder

CLASSES = ("T-shirt/top", "t-shirt-top")  # two names that would be one folder's
TRAINING = torch.randint(0, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 2


class Judge(nn.Module):
    """Is sure of class 1 where the first pixel is bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        bright = self.scale * images[:, 0, 0, 0]
        return torch.stack([-bright, bright], 1)


def draw(numbers, count, seed):
    """Of each class, every third image is a copy of one of its training images."""
    return np.concatenate([of_class(number, count, seed) for number in numbers])


def of_class(number, count, seed):
    generator = np.random.default_rng([seed, number])
    images = generator.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8)
    known = TRAINING[LABELS.eq(number)].permute(0, 2, 3, 1).numpy()
    images[::3] = known[: len(images[::3])]
    return images


def made(filters=Filters(), counts=(6, 9)):  # noqa: B008
    return generate(draw, counts, Judge(), TRAINING, LABELS, CLASSES, filters, seed=3)


def test_copies_are_found_with_their_originals():
    found = made()
    assert found.label.tolist() == [0] * 6 + [1] * 9
    assert found.copied.tolist() == [place % 3 == 0 for place in [*range(6), *range(9)]]
    copies = found.copied.nonzero().flatten()
    assert found.images[copies].equal(TRAINING[found.nearest[copies]])
    assert (found.distance[copies] == 0).all()
    assert (LABELS[found.nearest] == found.label).all()


def test_distances_are_computed_from_pixels_in_0_to_1():
    found = made()
    row = 1
    difference = (found.images[row].double() - TRAINING[LABELS.eq(0)].double()).div(255).square().mean((1, 2, 3)).sqrt()
    assert float(found.distance[row]) == pytest.approx(float(difference.min()), abs=1e-6)


def test_confidence_is_the_probability_of_the_requested_class():
    found = made()
    bright = 2 * 4 * (found.images[:, 0, 0, 0].double() / 127.5 - 1)
    expected = torch.sigmoid(torch.where(found.label == 1, bright, -bright))
    torch.testing.assert_close(found.confidence.double(), expected, atol=1e-5, rtol=0)


def test_filtered_images_are_replaced_by_others():
    found = made(Filters(confidence=0.9, copies=False))
    assert found.label.tolist() == [0] * 6 + [1] * 9
    assert (found.confidence >= 0.9).all()
    assert not found.copied.any()
    assert (found.left_out > 0).all()
    assert made().left_out.tolist() == [0, 0]
    # Each can be drawn again: gan-sample with its seed, the image of its number.
    for image, label, seed, place in zip(found.images, found.label, found.seed, found.place, strict=True):
        again = of_class(int(label), (6, 9)[label], int(seed))[place]
        assert np.array_equal(image.permute(1, 2, 0).numpy(), again)


def test_filters_that_leave_too_few_are_refused():
    with pytest.raises(
        UserError, match=r"The filters leave \d+ of 60 generated images of class T-shirt/top"
    ) as refused:
        generate(
            lambda numbers, count, seed: np.full((count * len(numbers), 4, 4, 1), 128, np.uint8),
            (6, 9),
            Judge(),
            TRAINING,
            LABELS,
            CLASSES,
            Filters(confidence=0.9),
            seed=3,
        )
    assert "Try a lower confidence" in refused.value.remedy


def test_saved_images_are_loaded(tmp_path):
    found = made()
    save(found, tmp_path / "generated.npz")
    again = load(tmp_path / "generated.npz")
    assert vars(again).keys() == vars(found).keys()
    assert all(getattr(again, name).equal(value) for name, value in vars(found).items())


def test_a_damaged_file_is_reported_with_how_to_remove_it(tmp_path):
    path = tmp_path / "generated.npz"
    save(made(), path)
    for content in (path.read_bytes()[:500], b"", b"no array"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"generated.npz is damaged"):
            load(path)


def test_arrays_of_other_types_and_sizes_are_reported_as_damaged(tmp_path):
    """Each array by itself: left out, of another type, of another size, of other dimensions, and with objects."""
    path = tmp_path / "generated.npz"
    good = {name: value.numpy() for name, value in vars(made()).items()}
    odd = [
        lambda array: array.astype(np.float64 if array.dtype != np.float64 else np.float32),
        lambda array: array.astype(">i4"),
        lambda array: array.astype("U3"),
        lambda array: array.astype(object),
        lambda array: array[..., None],
        lambda array: array.reshape(-1)[0],
    ]
    shorter = [lambda array: array[1:], lambda array: array[:0]]
    for name in good:
        for change in [*odd, *(shorter if name != "left_out" else [])]:
            np.savez(path, **good | {name: change(good[name])})
            with pytest.raises(UserError, match=r"generated\.npz is damaged"):
                load(path)
        np.savez(path, **{other: array for other, array in good.items() if other != name})
        with pytest.raises(UserError, match=r"generated\.npz is damaged"):
            load(path)


def test_a_file_with_any_changed_byte_is_loaded_or_reported(tmp_path):
    path = tmp_path / "generated.npz"
    save(made(), path)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for place in draw.integers(0, len(content), draw.integers(1, 5)):
            changed[place] = draw.integers(256)
        path.write_bytes(changed[: draw.integers(1, len(content)) if draw.random() < 0.2 else None])
        with contextlib.suppress(UserError):
            load(path)


def test_existing_images_stay_and_are_renamed(tmp_path):
    few, many = made(counts=(2, 2)), made(counts=(3, 3))
    write_folder(few, CLASSES, tmp_path, "here/run")
    first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write_folder(few, CLASSES, tmp_path, "elsewhere/run")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == first
    write_folder(many, CLASSES, tmp_path, "here/run")
    assert len(list((tmp_path / "images").rglob("*.png"))) == 6
    assert len(list((tmp_path / "images.earlier-1").rglob("*.png"))) == 4
    with (tmp_path / "manifest.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 6
    for left in ("", '"', "a" * 200_000):  # of a disk that was full, or somebody's own
        (tmp_path / "manifest.csv").write_text(left)
        write_folder(many, CLASSES, tmp_path, "here/run")
        with (tmp_path / "manifest.csv").open(newline="") as file:
            assert sum(1 for _ in csv.DictReader(file)) == 6


@pytest.fixture
def folder(tmp_path):
    write_folder(made(), CLASSES, tmp_path, "outputs/run")
    return tmp_path


def test_a_manifest_has_a_line_for_each_file(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = made()
    assert len(lines) == 15
    assert all((folder / line["file"]).is_file() for line in lines)
    assert sum(1 for _ in (folder / "images").rglob("*.png")) == 15
    assert [line["class"] for line in lines] == [CLASSES[0]] * 6 + [CLASSES[1]] * 9
    assert {line["run"] for line in lines} == {"outputs/run"}
    assert [line["copied"] == "true" for line in lines] == found.copied.tolist()
    assert [int(line["nearest"]) for line in lines] == found.nearest.tolist()
    assert [float(line["confidence"]) for line in lines] == pytest.approx(found.confidence.tolist(), abs=1e-4)


def test_colour_images_and_transparency_are_written_unchanged(tmp_path):
    found = made(counts=(1, 1))
    for channels in (3, 4):
        pixels = torch.randint(0, 256, (2, channels, 4, 4), dtype=torch.uint8)
        place = tmp_path / str(channels)
        place.mkdir()
        write_folder(replace(found, images=pixels), CLASSES, place, "run")
        with Image.open(place / "images/T-shirt-top/00000.png") as image:
            assert np.array_equal(np.asarray(image), pixels[0].permute(1, 2, 0).numpy())


def test_torchvision_reads_the_folder(folder):
    datasets = pytest.importorskip("torchvision.datasets")
    read = datasets.ImageFolder(folder / "images")
    assert read.classes == ["T-shirt-top", "t-shirt-top-2"]
    assert [label for _, label in read.samples] == [0] * 6 + [1] * 9
    image, _ = read[7]
    assert np.array_equal(np.asarray(image)[..., 0], made().images[7, 0].numpy())
