"""Generated images through imbalanced-learn's interface, held against its own over-sampler."""

import numpy as np
import pytest
from PIL import Image

import gan_runner
from gan_runner.errors import UserError
from tests.command_line import gan_run

imblearn = pytest.importorskip("imblearn")
pipeline = pytest.importorskip("imblearn.pipeline")
over_sampling = pytest.importorskip("imblearn.over_sampling")
base = pytest.importorskip("sklearn.base")

pytestmark = pytest.mark.slow

CLASSES = [3, 7, 8]
SMALL = (
    *("game=conditional", "data.limit=100", "data.image_size=8", "trainer.batch_size=20", "trainer.device=cpu"),
    *("model.generator.widths=[12]", "model.discriminator.widths=[12]", "trainer.progress=false", "evaluation=off"),
    *("trainer.iterations=2", "trainer.sample_columns=2", "trainer.sample_rows=2"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oversampling") / "run"
    result = gan_run(folder.parent, *SMALL, f"hydra.run.dir={folder}")
    assert result.code == 0, result.text
    return folder


@pytest.fixture
def run(folder):
    return gan_runner.load(folder)


def images(counts=(12, 5, 2)):
    y = np.repeat(CLASSES[: len(counts)], counts)
    return np.random.default_rng(0).integers(0, 256, (len(y), 8, 8, 1), dtype=np.uint8), y


STRATEGIES = ["auto", "minority", "not minority", "not majority", "all", {7: 9, 8: 2}, lambda y: {8: len(y)}]


@pytest.mark.parametrize(
    "strategy", STRATEGIES, ids=lambda strategy: "a function" if callable(strategy) else str(strategy)
)
def test_each_class_gets_as_many_images_as_from_imbalanced_learns_own_sampler(run, strategy):
    pixels, y = images()
    flat = pixels.reshape(len(y), -1)
    ours = gan_runner.GanSampler(run, sampling_strategy=strategy, random_state=0)
    theirs = over_sampling.RandomOverSampler(sampling_strategy=strategy, random_state=0)
    found, classes = ours.fit_resample(flat, y)
    expected, expected_classes = theirs.fit_resample(flat, y)
    assert found.shape == expected.shape
    assert (found.dtype, classes.dtype) == (expected.dtype, expected_classes.dtype)
    assert np.array_equal(np.bincount(classes), np.bincount(expected_classes))
    assert ours.sampling_strategy_ == theirs.sampling_strategy_
    assert np.array_equal(found[: len(y)], flat)
    assert np.array_equal(classes[: len(y)], y)


def test_a_ratio_is_of_two_classes(run):
    pixels, y = images((12, 4))
    flat = pixels.reshape(len(y), -1)
    _, classes = gan_runner.GanSampler(run, sampling_strategy=0.75).fit_resample(flat, y)
    assert np.bincount(classes)[[3, 7]].tolist() == [12, 9]
    more, y = images()
    with pytest.raises(ValueError, match="multi-class"):
        gan_runner.GanSampler(run, sampling_strategy=0.75).fit_resample(more, y)


def test_added_images_are_the_runs_images_of_the_class(run):
    pixels, y = images()
    sampler = gan_runner.GanSampler(run, random_state=np.random.RandomState(4))
    found, classes = sampler.fit_resample(pixels, y)
    assert found.shape == (36, 8, 8, 1)
    assert classes[len(y) :].tolist() == [7] * 7 + [8] * 10
    seed = int(np.random.RandomState(4).randint(2**31))
    assert np.array_equal(found[len(y) : len(y) + 7], run.sample(7, seed, classes=["7"]))
    again = gan_runner.GanSampler(run, random_state=np.random.RandomState(4)).fit_resample(pixels, y)[0]
    assert np.array_equal(found, again)


def test_pixels_in_0_to_1_and_class_names_are_accepted(folder):
    pixels, y = images()
    scaled = (pixels / 255).reshape(len(y), -1)
    sampler = gan_runner.GanSampler(folder, random_state=1, scale=1 / 255)
    found, classes = sampler.fit_resample(scaled, y.astype(str))
    assert found.dtype == scaled.dtype
    assert 0 <= found.min() < found.max() <= 1
    assert sorted(set(classes)) == ["3", "7", "8"]


def test_it_can_be_cloned_and_used_in_a_pipeline(folder):
    pixels, y = images()
    flat = pixels.reshape(len(y), -1)
    dummy = pytest.importorskip("sklearn.dummy")
    sampler = base.clone(gan_runner.GanSampler(str(folder), sampling_strategy={8: 30}, random_state=0))
    assert sampler.get_params()["sampling_strategy"] == {8: 30}
    steps = pipeline.make_pipeline(sampler, dummy.DummyClassifier(strategy="most_frequent"))
    assert steps.fit(flat, y).predict(flat).tolist() == [8] * len(y)


def test_images_of_another_size_and_unknown_classes_are_refused(run):
    pixels, y = images()
    with pytest.raises(UserError, match="X has 16 pixels an image, but the run draws 8 x 8 x 1"):
        gan_runner.GanSampler(run).fit_resample(pixels[:, :4, :4], y)
    with pytest.raises(UserError, match="classes has 12, but there are 10 classes"):
        gan_runner.GanSampler(run).fit_resample(pixels, np.where(y == 8, 12, y))


@pytest.fixture(scope="module")
def of_numbered_classes(tmp_path_factory):
    """A run whose classes are called 1, 2 and 3, with the numbers 0, 1 and 2."""
    folder = tmp_path_factory.mktemp("numbered")
    for name in "123":
        (folder / "set" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng([int(name), number]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "set" / name / f"{number}.png")
    words = (*(word for word in SMALL if not word.startswith("data.limit")), "data=image_folder", "data.channels=1")
    result = gan_run(folder, *words, "data.root=set", "trainer.batch_size=4", "hydra.run.dir=run")
    assert result.code == 0, result.text
    return gan_runner.load(folder / "run")


@pytest.mark.parametrize("names", [[1, 2, 3], [0, 1, 2], ["1", "2", "3"], [0, 2], [1, 3]], ids=str)
def test_classes_are_all_names_or_all_numbers(of_numbered_classes, names):
    """The numbers 1 and 2 are names of other classes than 0 and 3 tell of by their places."""
    run = of_numbered_classes
    y = np.repeat(names, [6, 4, 3][: len(names)])
    pixels = np.zeros((len(y), 8, 8, 1), dtype=np.uint8)
    found, classes = gan_runner.GanSampler(run, random_state=4).fit_resample(pixels, y)
    seed = int(np.random.RandomState(4).randint(2**31))
    expected = [str(name + 1) if 0 in names else str(name) for name in names]
    for name, called, count in zip(names[1:], expected[1:], [2, 3], strict=False):
        added = found[len(y) :][classes[len(y) :] == name]
        assert np.array_equal(added, run.sample(count, seed, classes=[called]))
