import contextlib
import logging
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from gan_runner.data import (
    IndexSampler,
    InMemoryImages,
    ResidentLoader,
    StreamedLoader,
    image_folder,
    loader,
    make_loader,
)
from gan_runner.errors import UserError

CPU = torch.device("cpu")


def made(images, **changes):
    options = {"resident": "auto", "replacement": False, "workers": 0, "batch": 3, "seed": 5, "device": CPU}
    return make_loader(images, **options | changes)


def loaded(source, start, n):
    out = source.buffer(n)
    source.load(start, out)
    return out.images


def sampled(source, n, seed):
    return source.sample(n, seed).images


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("start", "n"), [(0, 3), (5, 3), (6, 30), (700, 7)])
def test_loading_follows_the_order_across_epochs(seven_images, replacement, resident, start, n):
    source = made(seven_images, resident=resident, replacement=replacement)
    expected = seven_images.pixels(IndexSampler(7, 5, replacement).indices(start, n))
    assert torch.equal(loaded(source, start, n), expected)


def either_way(images, indices):
    """Pictures of a set by the indices of an order that flips, in the set's own way or mirrored."""
    pixels = images.pixels(indices % len(images))
    return torch.where((indices >= len(images))[:, None, None, None], pixels.flip(-1), pixels)


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("start", "n"), [(0, 3), (5, 3), (6, 30), (700, 7)])
def test_flips_mirror_images_from_any_position_and_keep_the_order(seven_images, replacement, resident, start, n):
    source = made(seven_images, resident=resident, replacement=replacement, flip=True)
    indices = IndexSampler(7, 5, replacement, views=2).indices(start, n)
    assert torch.equal(indices % 7, IndexSampler(7, 5, replacement).indices(start, n))
    assert torch.equal(loaded(source, start, n), either_way(seven_images, indices))


def test_streamed_flips_equal_those_in_memory(ten_pictures):
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    resident = made(pictures, resident=True, flip=True)
    with contextlib.closing(made(pictures, resident=False, workers=2, flip=True)) as streamed:
        for start in [*range(0, 30, 3), 100, 9]:
            assert torch.equal(loaded(streamed, start, 3), loaded(resident, start, 3))


@pytest.mark.parametrize("resident", [True, False])
def test_a_sample_is_mirrored_only_on_request(seven_images, resident):
    plain, flipped = made(seven_images, resident=resident), made(seven_images, resident=resident, flip=True)
    assert torch.equal(flipped.sample(7, 3).images, plain.sample(7, 3).images)
    assert torch.equal(plain.sample(7, 3, as_shown=True).images, plain.sample(7, 3).images)
    shown, as_they_are = flipped.sample(7, 3, as_shown=True).images, plain.sample(7, 3).images
    mirrored = (shown == as_they_are.flip(-1)).flatten(1).all(1)
    assert mirrored.any()
    assert torch.equal(shown[~mirrored], as_they_are[~mirrored])
    assert not mirrored.all()


def test_loading_from_another_position_is_right_too(seven_images):
    source = made(seven_images, resident=True)
    expected = loaded(source, 4, 5)
    loaded(source, 700, 5)
    assert torch.equal(loaded(source, 4, 5), expected)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_images_equal_those_in_memory(ten_pictures, workers):
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    resident, streamed = made(pictures, resident=True), made(pictures, resident=False, workers=workers)
    assert (type(resident), type(streamed)) == (ResidentLoader, StreamedLoader)
    for start in [*range(0, 30, 3), 100, 103, 9]:
        assert torch.equal(loaded(streamed, start, 3), loaded(resident, start, 3))
    assert streamed.waited_seconds > 0


def test_conditions_are_loaded_with_their_images(tmp_path, write_picture):
    for number in range(10):
        write_picture(tmp_path / str(number) / "1.bmp", np.full((8, 8), 20 * number, np.uint8))
    pictures = image_folder.load(str(tmp_path), image_size=8, channels=1, limit=None)
    for resident in (True, False):
        source = made(pictures, resident=resident, workers=2)
        out = source.buffer(3)
        for start in range(0, 30, 3):
            source.load(start, out)
            assert torch.equal(out.images[:, 0, 4, 4], 20 * out.conditions["label"])


def test_a_closed_stream_leaves_no_thread(ten_pictures):
    before = threading.active_count()
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    streamed = made(pictures, resident=False, workers=2)
    loaded(streamed, 0, 3)
    streamed.close()
    while threading.active_count() > before:  # each ends after the batch that it works on
        time.sleep(0.01)


LEAVING = """
import sys, torch
from gan_runner.data import image_folder, make_loader
images = image_folder.load(sys.argv[1], image_size=8, channels=3, limit=None)
loader = make_loader(
    images, resident=False, replacement=False, workers=2, batch=32, seed=0, device=torch.device("cpu")
)
loader.load(0, loader.buffer(32))
sys.exit(7)
"""


@pytest.mark.slow
def test_a_process_ends_normally_while_threads_decode(tmp_path, write_picture):
    """A thread that came out of PyTorch while the interpreter is taken down would abort it."""
    for number in range(8):
        write_picture(tmp_path / "pictures" / f"{number}.png", np.full((500, 500, 3), 100 + number, np.uint8))
    command = [sys.executable, "-c", LEAVING, str(tmp_path / "pictures")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (7, "")


def test_a_stream_resumes_where_loading_was_interrupted(ten_pictures):
    """As by Ctrl-C, whose handler may raise wherever the run is."""
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    expected = made(pictures, resident=True)
    streamed = made(pictures, resident=False, workers=2)
    loaded(streamed, 0, 3)

    def interrupt(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "result":
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loaded(streamed, 3, 3)
    for start in (3, 6, 9):
        assert torch.equal(loaded(streamed, start, 3), loaded(expected, start, 3))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_vanishes_while_streaming_is_reported_as_such(ten_pictures, workers):
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    with contextlib.closing(made(pictures, resident=False, workers=workers)) as streamed:
        ten_pictures.rename(ten_pictures.with_name("elsewhere"))
        with pytest.raises(UserError, match=r"The images in data\.root have changed"):
            loaded(streamed, 0, 3)


def test_an_image_that_breaks_while_streaming_is_replaced_with_one_warning(ten_pictures, caplog):
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    (ten_pictures / "4.png").write_bytes(b"")
    streamed = made(pictures, resident=False, workers=2, batch=10)
    for start in (0, 10, 20):
        rows = IndexSampler(10, 5, False).indices(start, 10)
        expected = pictures.pixels(torch.where(rows == 4, 5, rows))
        assert torch.equal(loaded(streamed, start, 10), expected)
    streamed.close()
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.split("; ")[1] for message in warned] == ["the next image takes its place."]


@pytest.mark.parametrize("resident", [True, False])
def test_loading_uses_none_of_the_runs_random_numbers(seven_images, resident):
    before = torch.get_rng_state()
    source = made(seven_images, resident=resident)
    loaded(source, 0, 3)
    sampled(source, 3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_another_batch_size_does_not_disturb_the_stream(seven_images):
    source = made(seven_images, resident=False)
    loaded(source, 0, 3)
    stream = source._stream
    assert torch.equal(loaded(source, 2, 5), seven_images.pixels(IndexSampler(7, 5, False).indices(2, 5)))
    loaded(source, 3, 3)
    assert source._stream is stream
    loaded(source, 60, 3)
    assert source._stream is not stream


@pytest.mark.parametrize("resident", [True, False])
def test_a_sample_is_distinct_repeatable_and_does_not_disturb_the_order(seven_images, resident):
    source = made(seven_images, resident=resident)
    first = loaded(source, 0, 3)
    sample = source.sample(7, seed=5).images
    assert len(sample.unique(dim=0)) == 7
    assert torch.equal(source.sample(7, seed=5).images, sample)
    assert torch.equal(source.sample(4, seed=5).images, sample[:4])
    assert not torch.equal(source.sample(7, seed=6).images, sample)
    assert not torch.equal(loaded(source, 0, 7), sample)
    assert torch.equal(loaded(source, 0, 3), first)


def test_a_sample_larger_than_the_set_repeats_every_image_equally_often(seven_images):
    counts = made(seven_images).sample(21, seed=0).images.unique(dim=0, return_counts=True)[1]
    assert counts.tolist() == [3] * 7


def test_auto_keeps_images_on_the_device_if_they_fit_and_says_so(ten_pictures, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "gan_runner")
    pictures = image_folder.load(str(ten_pictures), image_size=8, channels=3, limit=None)
    needed = 10 * 3 * 8 * 8
    monkeypatch.setattr(loader, "free_memory", lambda device: 2 * needed)
    assert isinstance(made(pictures, batch=1), ResidentLoader)
    monkeypatch.setattr(loader, "free_memory", lambda device: 2 * needed - 2)
    assert isinstance(made(pictures, batch=1), StreamedLoader)
    assert caplog.messages[-2:] == [
        "data: all 10 images are held on cpu.",
        "data: 10 images are streamed to cpu.",
    ]


def test_requiring_images_on_a_device_without_room_is_an_error(ten_pictures, monkeypatch):
    pictures = image_folder.load(str(ten_pictures), image_size=200, channels=3, limit=None)
    monkeypatch.setattr(loader, "free_memory", lambda device: 1_000_000)
    with pytest.raises(UserError) as error:
        made(pictures, resident=True)
    assert str(error.value) == (
        "data.resident is true, but the 10 images of image_folder take 1.2 MB, and cpu has 0.9 MB to give.\n"
        "  Try data.resident=auto, data.limit=7, or a smaller data.image_size."
    )


@pytest.mark.parametrize("resident", [True, False])
def test_a_batch_that_does_not_fit_is_refused_before_it_is_allocated(ten_pictures, monkeypatch, resident):
    pictures = image_folder.load(str(ten_pictures), image_size=200, channels=3, limit=None)
    monkeypatch.setattr(loader, "free_memory", lambda device: 10_000_000)
    with pytest.raises(UserError) as error:
        made(pictures, resident=resident, batch=10)
    assert str(error.value) == (
        "A batch of 10 images of 3x200x200 takes 13.2 MB while it is prepared, and cpu has 9.0 MB to give.\n"
        "  Try data.image_size=160 or trainer.batch_size=6."
    )
    assert made(pictures, resident=False, batch=6).images is pictures


def test_a_batch_of_one_that_does_not_fit_suggests_another_image_size(ten_pictures, monkeypatch):
    pictures = image_folder.load(str(ten_pictures), image_size=200, channels=3, limit=None)
    monkeypatch.setattr(loader, "free_memory", lambda device: 1_000_000)
    with pytest.raises(UserError, match=r"Try data\.image_size=48\.$"):
        made(pictures, batch=10)


def test_free_memory_is_measured():
    assert loader.free_memory(CPU) > 1_000_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_a_cuda_device_gets_the_same_images_without_waiting(seven_images, resident, never_waiting):
    cuda = torch.device("cuda")
    source = made(seven_images, resident=resident, device=cuda)
    out = source.buffer(3)
    for start in range(0, 60, 3):
        with never_waiting() if resident else contextlib.nullcontext():
            source.load(start, out)
        assert torch.equal(out.images.cpu(), seven_images.pixels(IndexSampler(7, 5, False).indices(start, 3)))
    assert source.sample(7, seed=0).images.device.type == "cuda"
    source.close()


# ---- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resident", [True, False])
def test_a_mirrored_image_keeps_its_class_and_takes_its_source_along(resident):
    class Pairs(InMemoryImages):
        def conditions(self, indices):
            return {"label": self.labels[indices], "source": 255 - self.pixels(indices)}

    pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1) * 10 + torch.tensor([0, 1, 2, 3], dtype=torch.uint8)
    images = Pairs("pairs", pixels, torch.arange(6), tuple("abcdef"))
    source = made(images, resident=resident, flip=True)
    out = source.buffer(3)
    for start in range(0, 12, 3):
        source.load(start, out)
        assert torch.equal(out.images.amin((1, 2, 3)) // 10, out.conditions["label"])
        assert torch.equal(out.images, 255 - out.conditions["source"])


@pytest.fixture
def labelled_images(seven_images):
    return InMemoryImages("seven", seven_images.images, torch.tensor([3, 1, 4, 1, 5, 9, 2]), tuple("abcdefghij"))


@pytest.fixture
def labelled_pictures(tmp_path, write_picture):
    """Ten PNG files of 8x8 in three classes."""
    for number in range(10):
        pixels = np.full((8, 8, 3), 20 * number, np.uint8)
        write_picture(tmp_path / "classes" / "abc"[number % 3] / f"{number}.png", pixels)
    return image_folder.load(str(tmp_path / "classes"), image_size=8, channels=3, limit=None)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("start", "n"), [(0, 3), (5, 3), (6, 30)])
def test_images_keep_their_labels_in_memory_and_in_a_stream(labelled_images, resident, start, n):
    source = made(labelled_images, resident=resident)
    out = source.buffer(n)
    places = [tensor.data_ptr() for _, tensor in out.parts()]
    source.load(start, out)
    rows = IndexSampler(7, 5, False).indices(start, n)
    assert torch.equal(out.images, labelled_images.images[rows])
    assert out.conditions.keys() == {"label"}
    assert torch.equal(out.conditions["label"], labelled_images.labels[rows])
    assert [tensor.data_ptr() for _, tensor in out.parts()] == places


@pytest.mark.parametrize(("resident", "workers"), [(True, 0), (False, 0), (False, 2)])
def test_images_keep_their_labels_in_every_kind_of_set(labelled_pictures, resident, workers):
    with contextlib.closing(made(labelled_pictures, resident=resident, workers=workers)) as source:
        for start, n in ((0, 3), (3, 3), (6, 3), (50, 7)):
            out = source.buffer(n)
            source.load(start, out)
            rows = IndexSampler(10, 5, False).indices(start, n)
            assert torch.equal(out.images, labelled_pictures.pixels(rows))
            assert torch.equal(out.conditions["label"], labelled_pictures.labels[rows])


@pytest.mark.parametrize("resident", [True, False])
def test_a_sample_includes_the_labels_of_its_images(labelled_images, resident):
    sample = made(labelled_images, resident=resident).sample(7, seed=2)
    contents = [image.numpy().tobytes() for image in labelled_images.images]
    rows = [contents.index(image.numpy().tobytes()) for image in sample.images]
    assert sample.conditions["label"].tolist() == labelled_images.labels[rows].tolist()


@pytest.mark.parametrize("resident", [True, False])
def test_a_set_without_classes_has_no_conditions(seven_images, resident):
    source = made(seven_images, resident=resident)
    assert source.buffer(3).conditions == source.sample(3, seed=0).conditions == {}


class Pairs(InMemoryImages):
    """Images with the image that each was made from."""

    def conditions(self, indices):
        return {"source": 255 - self.pixels(indices)}


@pytest.mark.parametrize("resident", [True, False])
def test_a_condition_may_be_an_image(seven_images, resident):
    pairs = Pairs("pairs", seven_images.images, None, ())
    source = made(pairs, resident=resident)
    out = source.buffer(5)
    source.load(4, out)
    assert torch.equal(out.conditions["source"], 255 - out.images)
    decoded = out.as_float()
    torch.testing.assert_close(decoded.conditions["source"], -decoded.images)
