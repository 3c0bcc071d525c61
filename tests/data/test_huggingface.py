"""Parquet files in the form in which Hugging Face has data sets, written here."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan_runner.data import huggingface
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError
from tests.parquet_files import encoded, write

hub = pytest.importorskip("huggingface_hub")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def loaded(path, root="data", download=False, subset=None, image_size=None, channels=None, limit=None, **rest):
    return huggingface.load(str(path), subset, str(root), download, image_size, channels, limit, **rest)


def message_of(*typed, **keys):
    with pytest.raises(UserError) as error:
        loaded(*typed, **keys)
    return str(error.value)


def pictures(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def as_set(images):
    images = torch.from_numpy(np.asarray(images))
    return images[:, None] if images.dim() == 3 else images.permute(0, 3, 1, 2)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6, 3)], ids=["grey", "colour"])
def test_a_file_is_read_back_as_written_with_the_names_of_its_classes(tmp_path, shape):
    written = pictures(8, *shape)
    images = loaded(write(tmp_path / "mine.parquet", written, [2, 0, 1, 1, 0, 2, 2, 0], ["cat", "dog", "cow"]))
    assert (images.name, images.classes) == ("mine", ("cat", "dog", "cow"))
    assert torch.equal(images.images, as_set(written))
    assert images.labels.tolist() == [2, 0, 1, 1, 0, 2, 2, 0]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ("a", "b")),
        ([7, 3, 7], ("3", "7")),
        ([0, None, 1], ()),
        ([0, -1, 1], ()),
        (None, ()),
    ],
)
def test_unnamed_classes_are_the_values_that_occur_and_a_set_with_gaps_has_none(tmp_path, labels, classes):
    images = loaded(write(tmp_path / "mine.parquet", pictures(3, 4, 4), labels))
    assert images.classes == classes
    assert images.labels is None if not classes else images.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"],
        ["a/train/0000.parquet", "b/train/0001.parquet", "a/test/0000.parquet"],
        ["1.parquet", "2.parquet", "validation.parquet"],
        ["data/train-0.parquet", "data/train-1.parquet", "data/test-0.parquet", "data/validation-0.parquet"],
    ],
)
def test_a_folder_trains_on_its_training_files_and_holds_out_those_for_tests(tmp_path, names):
    parts = [pictures(4, 4, 4, seed=number) for number in range(len(names))]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        write(tmp_path / name, part, [number % 2] * 4, ["a", "b"])
    training, test = loaded(tmp_path), loaded(tmp_path, split="test")
    assert torch.equal(training.images, as_set(np.concatenate(parts[:2])))
    assert training.labels.tolist() == [0] * 4 + [1] * 4
    assert torch.equal(test.images, as_set(parts[2]))
    assert test.classes == training.classes
    held_out = loaded(tmp_path, split="test", holdout=0.25)
    assert torch.equal(held_out.images, as_set(np.concatenate([parts[0][3:], parts[1][3:]])))


def test_a_limit_takes_images_of_every_class_and_a_single_file_has_no_tests(tmp_path):
    path = write(tmp_path / "test-0.parquet", pictures(9, 4, 4), [0] * 6 + [1] * 3, ["a", "b"])
    assert loaded(path, limit=4).labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(NoTestSplitError):
        loaded(path, split="test")


def test_sizes_and_channels_are_those_that_are_set(tmp_path):
    rgba = pictures(3, 8, 6, 4)
    path = write(tmp_path / "mine.parquet", rgba)
    assert loaded(path, image_size=(4, 5), channels=1).shape == (1, 4, 5)
    assert loaded(path).shape == (3, 8, 6)
    images = loaded(path, channels=4)
    seen = rgba[..., 3:] > 0
    assert torch.equal(images.images, as_set(np.where(seen, rgba, [255, 255, 255, 0]).astype(np.uint8)))


def test_columns_are_found_by_usual_names_or_chosen_or_unique(tmp_path):
    one, other = pictures(3, 4, 4), pictures(3, 4, 4, seed=1)
    bare = [encoded(each) for each in other]
    path = write(tmp_path / "mine.parquet", one, [0, 1, 0], image="img", label="digit", thumbnail=bare)
    assert torch.equal(loaded(path).images, as_set(one))
    assert loaded(path).labels is None
    named = loaded(path, image_column="thumbnail", label_column="digit")
    assert torch.equal(named.images, as_set(other))
    assert named.labels.tolist() == [0, 1, 0]
    path = write(tmp_path / "odd.parquet", one, image="scan", words=["a", "b", "c"])
    assert torch.equal(loaded(path).images, as_set(one))


def broken(path):
    table = pyarrow.table({"image": [encoded(pictures(1, 4, 4)[0]), b"no image"]})
    parquet.write_table(table, path)


FILES = {
    "no such file": (
        lambda path: None,
        {},
        "data.path is {path}, but there is no such file or folder, and no set on Hugging Face is named so.\n"
        "  Try data.path=FILE.parquet, a folder of such files, or OWNER/NAME as in the address of a set on "
        "huggingface.co.",
    ),
    "no Parquet files": (
        lambda path: path.mkdir(),
        {},
        "data.path is {path}, but there are no files that end in .parquet.\n"
        "  Try data=image_folder data.root={path} data.image_size=64 if it holds image files.",
    ),
    "a file cut short": (
        lambda path: path.write_bytes(write(path, pictures(9, 4, 4)).read_bytes()[:-9]),
        {},
        "data.path is {path}, but {path} cannot be read: Parquet magic bytes not found in footer",
    ),
    "no file of Parquet": (
        lambda path: path.write_bytes(b"<html>" * 9),
        {},
        "data.path is {path}, but {path} cannot be read: Parquet magic bytes not found in footer",
    ),
    "no rows": (
        lambda path: write(path, pictures(1, 4, 4)[:0], []),
        {},
        "data.path is {path}, but {path} cannot be read: it has no rows.",
    ),
    "an image that is none": (
        broken,
        {"image_size": 4},
        "data.path is {path}, but {path} cannot be read: the image in row 1 is none: it is not PNG, ",
    ),
    "no images": (
        lambda path: parquet.write_table(pyarrow.table({"label": [0, 1], "text": ["a", "b"]}), path),
        {},
        "data.image_column is null, but no column of {path} holds encoded images; the columns are label, text.\n"
        "  Write each image as the bytes of a PNG or JPEG file, in a column named image.",
    ),
    "a column that is not there": (
        lambda path: write(path, pictures(2, 4, 4), [0, 1]),
        {"label_column": "labl"},
        "data.label_column is labl, but {path} has no such column; the columns are image, label.\n"
        "  Try data.label_column=label.",
    ),
    "a column of something else": (
        lambda path: write(path, pictures(2, 4, 4), [0, 1], weight=[0.5, 1.5]),
        {"label_column": "weight"},
        "data.label_column is weight, but that column of {path} does not hold classes, which are whole numbers or "
        "texts; the columns are image, weight, label.\n  Try data.label_column=label.",
    ),
    "several columns of images": (
        lambda path: write(path, pictures(2, 4, 4), image="before", after=[b"a", b"b"]),
        {},
        "data.image_column is null, but several columns of {path} hold encoded images; the columns are before, after.\n"
        "  Try data.image_column=before.",
    ),
    "several sizes": (
        lambda path: write(path, [pictures(1, 4, 4)[0], pictures(1, 6, 4)[0]]),
        {},
        "data.image_size is null, but the images of {path} have several sizes, such as 4x4 and 6x4.\n"
        "  Try data.image_size=64, which scales and crops them.",
    ),
    "a fourth channel that is not there": (
        lambda path: write(path, pictures(2, 4, 4, 3)),
        {"channels": 4},
        "data.channels is 4, but none of the 2 images of {path} is transparent.\n  Try data.channels=3.",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_unreadable_files_are_refused_in_one_message(tmp_path, case):
    make, keys, said = FILES[case]
    path = tmp_path / "mine.parquet"
    make(path)
    assert message_of(path, **keys).startswith(said.format(path=path))


def image_column(kind):
    content = [encoded(each) for each in pictures(2, 4, 4)]
    return {
        "bytes": content,
        "struct": [{"bytes": each, "path": None} for each in content],
        "text": ["a", "b"],
        "numbers": [1, 2],
        "lists": [[1], [2]],
    }[kind]


@pytest.mark.parametrize("kinds", [(a, b) for a in ("bytes", "struct") for b in ("bytes", "struct")])
def test_images_may_be_plain_in_one_file_and_in_a_struct_in_another(tmp_path, kinds):
    for number, kind in enumerate(kinds):
        parquet.write_table(pyarrow.table({"image": image_column(kind)}), tmp_path / f"{number}.parquet")
    assert torch.equal(loaded(tmp_path).images, as_set(np.concatenate([pictures(2, 4, 4)] * 2)))


@pytest.mark.parametrize("odd", ["text", "numbers", "lists", None])
def test_a_column_that_is_missing_or_different_in_some_file_is_reported_with_that_file(tmp_path, odd):
    for number, kind in enumerate((odd, "bytes")):
        columns = {"other": [1, 2]} | ({} if kind is None else {"image": image_column(kind)})
        parquet.write_table(pyarrow.table(columns), tmp_path / f"{number}.parquet")
    said = message_of(tmp_path)
    assert f"{tmp_path}/0.parquet cannot be read: its column image is missing or of another kind" in said


def test_classes_may_be_numbers_in_one_file_and_text_in_another(tmp_path):
    write(tmp_path / "0.parquet", pictures(2, 4, 4), [1, 0])
    write(tmp_path / "1.parquet", pictures(2, 4, 4), ["b", "a"])
    images = loaded(tmp_path)
    assert images.classes == ("0", "1", "a", "b")
    assert images.labels.tolist() == [1, 0, 3, 2]


METADATA = [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"1", b'{"info": 1}', b'{"info": {"features": [1]}}']
METADATA += [b'{"info": {"features": {"label": 1}}}', b'{"info": {"features": {"label": {"names": 5}}}}']


@pytest.mark.parametrize("metadata", METADATA, ids=lambda metadata: metadata[:40].decode("latin-1"))
def test_any_metadata_of_columns_is_accepted_and_costs_at_most_the_class_names(tmp_path, metadata):
    path = write(tmp_path / "mine.parquet", pictures(3, 4, 4), [0, 1, 0], ["a", "b"])
    table = parquet.read_table(path).replace_schema_metadata({b"huggingface": metadata})
    parquet.write_table(table, path)
    images = loaded(path)
    assert images.classes == ("0", "1")
    assert images.labels.tolist() == [0, 1, 0]


def test_an_image_with_a_long_text_is_read_as_from_a_folder(tmp_path):
    file, text = io.BytesIO(), PngInfo()
    text.add_text("comment", "x" * 2**21, zip=True)
    Image.fromarray(pictures(1, 4, 4)[0]).save(file, "PNG", pnginfo=text)
    parquet.write_table(pyarrow.table({"image": [file.getvalue()]}), tmp_path / "mine.parquet")
    assert torch.equal(loaded(tmp_path / "mine.parquet").images, as_set(pictures(1, 4, 4)))


@pytest.mark.parametrize("name", ["../set", "owner/..", "./set", "owner/.hidden", "-/../x", "a/b/c"])
def test_a_name_that_is_a_path_elsewhere_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert "no set on Hugging Face is named so" in message_of(name, root=tmp_path / "data", download=True)


# ---- downloads --------------------------------------------------------------------------------------------


class Site:
    """Hugging Face's own client, answering from a folder: `SUBSET/SPLIT/0000.parquet`."""

    def __init__(self, folder, patch):
        self.folder, self.asked, self.fails = folder, [], None
        patch.setattr(hub.HfApi, "list_repo_tree", self.list_repo_tree)
        patch.setattr(hub, "snapshot_download", self.snapshot_download)

    def list_repo_tree(self, path, repo_type, revision):
        assert (repo_type, revision) == ("dataset", "refs/convert/parquet")
        return [hub.RepoFolder(path=each.name, oid="") for each in sorted(self.folder.iterdir())]

    def snapshot_download(self, path, repo_type, revision, allow_patterns, local_dir):
        self.asked.append(path)
        for file in sorted(self.folder.glob(allow_patterns.replace("*", "**/*.parquet"))):
            target = Path(local_dir, file.relative_to(self.folder))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
            if self.fails:
                raise self.fails


@pytest.fixture
def site(tmp_path, monkeypatch):
    for subset in ("default", "small"):
        write(tmp_path / f"site/{subset}/train/0000.parquet", pictures(4, 4, 4), [0, 1, 0, 1], ["a", "b"])
        write(tmp_path / f"site/{subset}/test/0000.parquet", pictures(2, 4, 4, seed=1), [0, 1], ["a", "b"])
    return Site(tmp_path / "site", monkeypatch)


def test_nothing_is_downloaded_unless_requested(tmp_path, site):
    assert message_of("somebody/shapes", root=tmp_path) == (
        f"data.path is somebody/shapes, but there is no such folder, and {tmp_path}/huggingface/somebody/shapes has no "
        "download of that set.\n  Try data.download=true, which fetches "
        "https://huggingface.co/datasets/somebody/shapes, or data.path=FOLDER with its Parquet files."
    )
    assert site.asked == []


def test_a_download_is_kept_and_read_again_without_a_network(tmp_path, site):
    images = loaded("somebody/shapes", root=tmp_path, download=True)
    assert (images.name, len(images), images.classes) == ("shapes", 4, ("a", "b"))
    again = loaded("somebody/shapes", root=tmp_path)
    assert again.fingerprint == images.fingerprint
    assert len(loaded("somebody/shapes", root=tmp_path, download=True, split="test")) == 2
    assert len(loaded("somebody/shapes", root=tmp_path, subset="small", download=True)) == 4
    assert site.asked == ["somebody/shapes"] * 2
    assert sorted(path.name for path in (tmp_path / "huggingface/somebody/shapes").iterdir()) == ["default", "small"]


def test_an_interrupted_download_is_not_trained_on_and_continues_next_time(tmp_path, site):
    site.fails = OSError("the connection was lost")
    said = message_of("somebody/shapes", root=tmp_path, download=True)
    assert said.startswith(
        "data.download is true, but https://huggingface.co/datasets/somebody/shapes could not be downloaded to "
        f"{tmp_path}/huggingface/somebody/shapes: the connection was lost\n  Check the name and the connection"
    )
    assert "has no download of that set" in message_of("somebody/shapes", root=tmp_path)
    site.fails = None
    assert len(loaded("somebody/shapes", root=tmp_path, download=True)) == 4


def test_a_missing_or_unnamed_subset_is_refused_with_the_existing_ones(tmp_path, site):
    assert message_of("somebody/shapes", root=tmp_path, subset="big", download=True) == (
        "data.subset is big, but somebody/shapes has only: default, small.\n  Try data.subset=default."
    )
    (tmp_path / "site/default").rename(tmp_path / "site/large")
    assert message_of("somebody/shapes", root=tmp_path, download=True) == (
        "data.subset is null, but somebody/shapes has several: large, small.\n  Try data.subset=large."
    )


def test_a_missing_package_is_reported_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert message_of(tmp_path) == (
        "data is huggingface, but that needs pyarrow, which is not installed.\n"
        "  In the clone of gan-runner, try pip install -e '.[huggingface]'."
    )
