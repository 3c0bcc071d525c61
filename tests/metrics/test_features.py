import dataclasses
import sys

import pytest
import torch

from gan_runner.data import digits, emoji, fashion_mnist
from gan_runner.data.halves import halves
from gan_runner.errors import UserError
from gan_runner.metrics import features
from gan_runner.metrics.encoders import Encoder, OtherEncoder
from gan_runner.metrics.features import CNN, CNN_B, as_bytes, cnn, cnn_b, even_rows, features_of, task_of
from gan_runner.metrics.inception import inception
from gan_runner.metrics.tasks import Turns
from gan_runner.record.pictures import to_uint8

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shipped():
    return digits.load(28, None)


@pytest.mark.parametrize("network", [Encoder, OtherEncoder])
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 5, 4), (1, 20, 28)]
)
def test_encoders_take_every_shape_and_flatten_a_map_of_at_most_four_by_four_pixels(network, shape):
    encoder = network(shape, 24).eval()
    assert encoder(torch.rand(2, *shape)).shape == (2, 24)
    assert encoder.maps(torch.rand(2, *shape)).shape[1] <= 64 * 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_floats_become_the_bytes_of_an_image_file(dtype):
    images = torch.linspace(-1.1, 1.1, 300).reshape(1, 3, 10, 10).to(dtype)
    images[0, 0, 0, 0] = float("nan")
    assert torch.equal(as_bytes(images).permute(0, 2, 3, 1), torch.from_numpy(to_uint8(images)))
    assert as_bytes(as_bytes(images)) is not None
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(as_bytes(every.float() / 127.5 - 1), every)


def test_evenly_spaced_rows_are_all_rows_if_there_are_not_more():
    assert even_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert even_rows(10, 4).tolist() == [0, 2, 5, 7]


def test_the_extractor_of_the_digits_ships_with_the_package_and_classifies_them(shipped, own_cache):
    extractor = cnn(halves(shipped)[0], CPU)
    seen = extractor(shipped.images)
    assert not own_cache.exists()
    assert (extractor.name, extractor.dim, extractor.classes) == ("cnn", 128, 10)
    assert seen.vectors.shape == (1797, 128)
    assert seen.vectors.dtype == torch.float32
    right = seen.probabilities.argmax(1) == shipped.labels
    assert right[::2].double().mean() > 0.99
    assert right[1::2].double().mean() > 0.96  # of what it never saw
    torch.testing.assert_close(seen.probabilities.sum(1), torch.ones(1797))


def test_the_extractor_of_the_emoji_ships_with_the_package_and_classifies_them(own_cache):
    images = emoji.load(32, 3, None)
    seen = cnn(halves(images)[0], CPU)(images.images)
    assert not own_cache.exists()
    right = seen.probabilities.argmax(1) == images.labels
    assert right[::2].double().mean() > 0.95
    assert right[1::2].double().mean() > 0.6  # of what it never saw; the most frequent class has a share of 0.18


def test_the_extractor_of_fashion_mnist_ships_with_the_package_and_classifies_held_out_images(
    tmp_path, own_cache, installed_fashion_mnist
):
    training, held_out = (fashion_mnist.load(str(tmp_path), False, 28, None, split) for split in ("train", "test"))
    seen = cnn(training, CPU)(held_out.images[:1000])
    assert not own_cache.exists()
    assert (seen.probabilities.argmax(1) == held_out.labels[:1000]).double().mean() > 0.9


def test_bytes_and_floats_of_the_same_images_have_the_same_features(shipped):
    extractor = cnn(halves(shipped)[0], CPU)
    some = shipped.images[:20]
    assert torch.equal(extractor(some).vectors, extractor(some.float() / 127.5 - 1).vectors)


def test_an_extractor_is_trained_once_and_then_kept(small_digits, own_cache, monkeypatch):
    monkeypatch.setattr(features, "_MOST_SHOWN", 6_000)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = cnn(small_digits, CPU)
    assert torch.equal(torch.get_rng_state(), before)  # the run's random numbers are as they were
    [file] = own_cache.iterdir()
    written = file.stat().st_mtime_ns
    again = cnn(small_digits, CPU)
    assert (again.fingerprint, file.stat().st_mtime_ns) == (first.fingerprint, written)
    assert first.fingerprint.startswith("classes-")
    assert torch.equal(first(small_digits.images).vectors, again(small_digits.images).vectors)
    assert (first(small_digits.images).probabilities.argmax(1) == small_digits.labels).double().mean() > 0.8


def test_a_damaged_extractor_is_renamed_and_trained_again(small_digits, own_cache, monkeypatch):
    monkeypatch.setattr(features, "_FEWEST_SHOWN", 256)
    monkeypatch.setattr(features, "_MOST_SHOWN", 256)
    first = cnn(small_digits, CPU)
    [file] = own_cache.iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    assert cnn(small_digits, CPU).fingerprint == first.fingerprint
    assert sorted(path.name for path in own_cache.iterdir()) == [file.name, f"{file.name}.damaged"]


def test_every_setting_that_changes_the_extractor_changes_its_recipe(small_digits):
    fewer = digits.load(None, 1796)
    hidden = dataclasses.replace(small_digits, labels=None, classes=())
    digests = {
        recipe.digest(images, task_of(images))
        for recipe in (CNN, CNN_B, dataclasses.replace(CNN, seed=5), dataclasses.replace(CNN, dim=64))
        for images in (small_digits, fewer, hidden)
    }
    assert len(digests) == 12


def test_without_labels_an_extractor_learns_rotations(monkeypatch):
    monkeypatch.setattr(features, "_FEWEST_SHOWN", 256)
    images = digits.load(None, 100)
    extractor = cnn(dataclasses.replace(images, labels=None, classes=()), CPU)
    assert extractor.fingerprint.startswith("turns-")
    assert extractor.classes == 0
    assert extractor(images.images).probabilities is None
    same_class = dataclasses.replace(images, labels=torch.zeros(100, dtype=torch.int64), classes=("all",))
    assert isinstance(task_of(same_class), Turns)


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 4, 6)])
def test_the_four_turns_of_an_image_are_four_different_images_of_its_shape(shape):
    picture = torch.arange(shape[1] * shape[2]).reshape(1, *shape).float()
    turned = [Turns._turned(picture, turn) for turn in range(4)]
    assert {tuple(one.shape) for one in turned} == {tuple(picture.shape)}
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 4
    assert torch.equal(turned[0], picture)


def test_the_other_extractor_has_another_network_name_and_width(monkeypatch):
    monkeypatch.setattr(features, "_FEWEST_SHOWN", 256)
    images = digits.load(None, 100)
    extractor = cnn_b(images, CPU)
    assert (extractor.name, extractor.dim) == ("cnn_b", 96)
    assert extractor(images.images).vectors.shape == (100, 96)


def test_features_of_a_set_are_those_of_evenly_spaced_images(learned, small_digits):
    some, _ = features_of(small_digits, 600, learned)
    torch.testing.assert_close(some, learned(small_digits.images[even_rows(1797, 600)]).vectors)


def test_images_of_another_shape_are_refused(learned):
    with pytest.raises(UserError) as error:
        learned(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))
    assert str(error.value) == (
        "The extractor cnn knows images of 1 channel and 8x8 pixels, but was given ones of 3 channels and 16x16 "
        "pixels.\n  Evaluate with the data set, data.image_size and channels that the images were made after."
    )


def test_without_its_package_inception_says_what_to_install(small_digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[inception\]'"):
        inception(small_digits, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features_as_a_cpu(shipped):
    learned, _ = halves(shipped)
    on_gpu = cnn(learned, torch.device("cuda"))(shipped.images[:100]).vectors
    torch.testing.assert_close(on_gpu.cpu(), cnn(learned, CPU)(shipped.images[:100]).vectors, atol=1e-2, rtol=1e-2)
