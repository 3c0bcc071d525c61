import copy
import dataclasses
import functools
import logging
import math

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_runner.data import InMemoryImages, stacked
from gan_runner.data.image_set import prepared
from gan_runner.errors import UserError
from gan_runner.metrics.feature_metrics import FAST, NUMBERS, FeatureMetrics, class_numbers
from gan_runner.metrics.features import cnn, cnn_b
from gan_runner.metrics.modes import modes

CPU = torch.device("cpu")


def test_every_metric_is_named_after_its_features_and_real_images_score_well(metrics_of, halves, batches):
    training, held_out = halves
    metrics = metrics_of()
    metrics.bind(training, held_out, CPU)
    real = metrics.statistics(batches(training.images))
    numbers = metrics.measure(batches(held_out.images), real)
    assert list(numbers) == metrics.names == [f"{name}_cnn" for name, each in NUMBERS.items() if each.needs != "modes"]
    assert all(math.isfinite(value) for value in numbers.values())
    assert numbers["classes_cnn"] == 10
    assert numbers["class_entropy_cnn"] == pytest.approx(math.log(10), abs=0.01)
    assert numbers["coverage_cnn"] > 0.9
    assert numbers["clipped_coverage_cnn"] > 0.9
    assert abs(numbers["copying_z_cnn"]) < 1e-9  # the held-out pictures against themselves
    assert numbers["copying_p_cnn"] == pytest.approx(0.5)

    noise = torch.randint(0, 256, held_out.images.shape, dtype=torch.uint8)
    bad = metrics.measure(batches(noise), real)
    for name, number in metrics.numbers.items():
        if number.better is not None and name != "memorised_cnn":
            worse = bad[name] > numbers[name] if number.better == "lower" else bad[name] < numbers[name]
            assert worse, name


def test_copied_training_images_are_reported(metrics_of, halves, batches):
    training, held_out = halves
    metrics = metrics_of(["memorised", "copying_z", "copying_p"])
    metrics.bind(training, held_out, CPU)
    real = metrics.statistics(batches(training.images))
    numbers = metrics.measure(batches(torch.cat([training.images[:224], held_out.images[:224]])), real)
    honest = metrics.measure(batches(held_out.images), real)
    assert numbers["memorised_cnn"] > honest["memorised_cnn"] + 0.2
    assert numbers["copying_z_cnn"] < -2
    assert numbers["copying_p_cnn"] < 1e-6


@pytest.mark.parametrize("knows_classes", [True, False])
def test_held_out_images_of_another_class_mix_are_not_said_to_be_copies(metrics_of, halves, batches, knows_classes):
    training, held_out = halves
    metrics = metrics_of(["copying_z", "copying_p"])
    if not knows_classes:
        knowing = metrics_of()
        knowing.bind(training, held_out, CPU)
        metrics = FeatureMetrics(cnn_of_turns(knowing.extractor), ["copying_z", "copying_p"], 5, 0)
    metrics.bind(training, held_out, CPU)
    real = metrics.statistics(batches(training.images))
    for left_out in ([0], [1, 8], [3, 5, 9]):
        mix = held_out.images[~torch.isin(held_out.labels, torch.tensor(left_out))]
        numbers = metrics.measure(batches(mix), real)
        assert abs(numbers["copying_z_cnn"]) < 1, left_out
        assert numbers["copying_p_cnn"] > 0.01, left_out
    copied = metrics.measure(batches(torch.cat([training.images[:224], held_out.images[:224]])), real)
    assert copied["copying_p_cnn"] < 1e-6


def test_only_requested_metrics_are_computed_in_the_requested_order(metrics_of, halves, batches):
    training, _ = halves
    metrics = metrics_of(["coverage", "frechet"])
    metrics.bind(training, None, CPU)
    real = metrics.statistics(batches(training.images))
    assert "class_counts" not in real
    assert list(metrics.measure(batches(training.images), real)) == ["coverage_cnn", "frechet_cnn"]


def test_batches_may_be_of_any_size_and_of_floats(metrics_of, halves, batches):
    training, held_out = halves
    metrics = metrics_of(["frechet", "recall", "score"])
    metrics.bind(training, None, CPU)
    real = metrics.statistics(batches(training.images, 7))
    floats = held_out.images.float() / 127.5 - 1
    one, other = metrics.measure(batches(held_out.images, 50), real), metrics.measure(batches(floats, 333), real)
    assert one == pytest.approx(other, rel=1e-5)


def test_statistics_survive_a_file_and_are_loaded_on_the_cpu(metrics_of, halves, batches, tmp_path):
    training, held_out = halves
    metrics = metrics_of()
    metrics.bind(training, held_out, CPU)
    real = metrics.statistics(batches(training.images))
    torch.save(real, tmp_path / "real.pt")
    loaded = torch.load(tmp_path / "real.pt", weights_only=True)
    assert metrics.measure(batches(held_out.images), loaded) == metrics.measure(batches(held_out.images), real)


def test_the_cache_key_depends_on_features_neighbours_and_what_is_kept(metrics_of, halves, learned):
    keys = set()
    for numbers, neighbours in (("full", 5), ("full", 4), (["frechet"], 5), (["frechet", "coverage"], 5)):
        metrics = metrics_of(numbers, neighbours)
        metrics.bind(halves[0], halves[1], CPU)
        keys.add(metrics.key)
    assert len(keys) == 4
    metrics = metrics_of(["frechet", "memorised", "copying_z"])
    metrics.bind(halves[0], halves[1], CPU)
    assert metrics.key in keys  # numbers on copying need nothing of the reference


def test_names_are_known_before_anything_is_learned():
    metrics = FeatureMetrics(functools.partial(cnn_b), ["frechet", "classes"], neighbours=5, seed=0)
    assert metrics.names == ["frechet_cnn_b", "classes_cnn_b"]


def test_an_unknown_metric_is_refused_with_the_closest_name():
    with pytest.raises(UserError) as error:
        FeatureMetrics(cnn, ["frechet", "coverag"], neighbours=5, seed=0)
    assert str(error.value).startswith("numbers holds coverag, but must be of: frechet, kernel, ")
    assert str(error.value).endswith("Try coverage, or numbers=full.")


def unlabelled(images):
    return InMemoryImages(images.name, images.images, None, ())


def test_metrics_of_classes_need_labels_and_all_leaves_them_out_without(metrics_of, halves, batches, monkeypatch):
    from gan_runner.metrics import features

    monkeypatch.setattr(features, "_FEWEST_SHOWN", 1_000)
    monkeypatch.setattr(features, "_MOST_SHOWN", 1_000)
    images = unlabelled(halves[0])
    with pytest.raises(UserError) as error:
        FeatureMetrics(cnn, ["frechet", "classes"], 5, 0).bind(images, None, CPU)
    assert str(error.value) == (
        "numbers holds classes, which needs classes, but digits has no labels that cnn could learn.\n"
        "  Leave classes out, use numbers=full, or give the data labels: for a folder, one folder a class."
    )
    metrics = FeatureMetrics(cnn, "full", 5, 0)
    metrics.bind(images, None, CPU)
    assert "classes_cnn" not in metrics.names
    assert "copying_z_cnn" not in metrics.names
    numbers = metrics.measure(batches(images.images), metrics.statistics(batches(images.images)))
    assert list(numbers) == metrics.names
    assert numbers["memorised_cnn"] == 1.0


def test_metrics_of_held_out_images_need_some(metrics_of, halves):
    with pytest.raises(UserError) as error:
        metrics_of(["copying_p"]).bind(halves[0], None, CPU)
    assert "which needs images that were held out, but digits has none." in str(error.value)
    assert "data.holdout=0.1" in str(error.value)


@pytest.mark.parametrize("count", [0, 5])
def test_metrics_that_need_more_images_are_left_out(metrics_of, halves, batches, count):
    metrics = metrics_of(["coverage"])
    metrics.bind(halves[0], None, CPU)
    with pytest.raises(UserError) as error:
        metrics.statistics(batches(halves[0].images[:count]) if count else [])
    assert f"There are {count} real images, and the metrics on features need at least 6." in str(error.value)


def test_few_images_for_a_frechet_distance_give_a_warning(metrics_of, halves, batches, caplog):
    metrics = metrics_of(["frechet"])
    metrics.bind(halves[0], None, CPU)
    real = metrics.statistics(batches(halves[0].images))
    with caplog.at_level(logging.WARNING):
        metrics.measure(batches(halves[1].images[:129]), real)
        assert not caplog.records
        for _ in range(2):
            assert metrics.measure(batches(halves[1].images[:128]), real)["frechet_cnn"] > 0
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("128 generated and 448 real images are few for a Fréchet distance on 128 features.")


def test_a_class_counts_from_a_quarter_of_its_share_among_real_images():
    real = torch.tensor([100, 100, 100, 100])
    answers = torch.eye(4)[torch.tensor([0] * 88 + [1] * 7 + [2] * 5)]
    numbers = class_numbers(answers, real)
    assert numbers["classes"] == 2
    shares = torch.tensor([0.88, 0.07, 0.05]).double()
    assert numbers["class_entropy"] == pytest.approx(-(shares * shares.log()).sum().item())


def test_a_class_without_real_images_is_not_expected():
    probabilities = torch.eye(3).repeat(10, 1)  # a third each, of which the last is a slip of the judge's
    assert class_numbers(probabilities, torch.tensor([50, 50, 0]))["classes"] == 2.0


def test_alarms_get_the_share_of_the_classes_of_the_data(metrics_of, halves, batches):
    training, _ = halves
    few = training.labels < 2
    some = InMemoryImages("some", training.images[few], training.labels[few], training.classes)
    metrics = metrics_of("fast")
    metrics.bind(some, None, CPU)
    numbers = metrics.measure(batches(some.images), metrics.statistics(batches(some.images)))
    assert metrics.for_alarms(numbers, 1000)["classes"] == 1.0


def test_the_share_of_classes_counts_only_those_in_the_reference(metrics_of, halves, batches):
    """Of ten classes the reference has four: a G that draws all ten is told 4 of 4, and not 4 of 10."""
    training, others = halves
    metrics = metrics_of("fast")
    metrics.bind(training, None, CPU)
    numbers = metrics.measure(batches(others.images), metrics.statistics(batches(training.images[training.labels < 4])))
    assert numbers["classes_cnn"] == 4
    assert metrics.for_alarms(numbers, 1000)["classes"] == pytest.approx(1.0)


def test_without_held_out_images_the_extractor_is_not_trained_on_the_real_images_of_the_comparison(halves):
    learned = []

    def cnn(images, device):
        learned.append(images)
        raise UserError("enough", "known")

    training, held_out = halves
    small = InMemoryImages("small", training.images[:11], training.labels[:11], training.classes)
    for sets, expected in (
        ((training, held_out), (training, held_out)),
        ((training, None), (training.images[::2], training.images[1::2])),
        ((small, None), (small, None)),  # too few for two halves
        ((training, small_part(held_out, 5)), (training, None)),
    ):
        metrics = FeatureMetrics(cnn, ["frechet"], 5, 0)
        with pytest.raises(UserError, match="enough"):
            metrics.bind(*sets, CPU)
        for found, wanted in zip((metrics.reference, metrics.unseen), expected, strict=True):
            if isinstance(wanted, torch.Tensor):
                assert torch.equal(found.pixels(torch.arange(len(found))), wanted)
            else:
                assert found is wanted
        assert learned[-1].fingerprint == metrics.reference.fingerprint


def test_the_extractor_is_not_trained_on_compared_images_of_a_sorted_set_with_a_limit(halves):
    learned = []

    def cnn(images, device):
        learned.append(images.pixels(torch.arange(len(images))))
        raise UserError("enough", "known")

    some = halves[0]
    order = some.labels.argsort(stable=True)
    whole = InMemoryImages("sorted", some.images[order], some.labels[order], some.classes)
    limited = prepared("sorted", whole.images, whole.labels, whole.classes, None, 60)
    metrics = FeatureMetrics(cnn, ["frechet"], 5, 0)
    with pytest.raises(UserError, match="enough"):
        metrics.bind(limited, None, CPU, learn_from=whole)
    beside = metrics.unseen.pixels(torch.arange(len(metrics.unseen)))
    assert len(beside) == 30
    assert not (learned[0].flatten(1)[:, None] == beside.flatten(1)[None]).all(2).any()


def small_part(images, count):
    return InMemoryImages("part", images.images[:count], images.labels[:count], images.classes)


def test_no_more_generated_images_are_measured_than_there_are_real_ones(metrics_of, halves, batches):
    metrics = metrics_of(["frechet", "memorised"])
    metrics.bind(halves[0], None, CPU)
    assert (metrics.comparable(10_000), metrics.comparable(100)) == (224, 100)
    real = metrics.statistics(batches(metrics.reference.pixels(torch.arange(224))))
    numbers, count = metrics.of_real(real, 10_000)
    assert count == 224
    assert numbers["frechet_cnn"] == metrics.measure(batches(halves[0].images[1::2]), real)["frechet_cnn"]
    assert numbers["memorised_cnn"] is None  # they are copies of themselves
    metrics.bind(*halves, CPU)
    numbers, count = metrics.of_real(real, 300)
    assert count == 300
    assert numbers["memorised_cnn"] < 1
    metrics.bind(halves[0], small_part(halves[1], 3), CPU)
    assert metrics.of_real(real, 300) == ({"frechet_cnn": None, "memorised_cnn": None}, 0)


def test_metrics_are_built_by_a_config_and_a_plugin_is_named_like_others():
    node = OmegaConf.create(
        """
        _target_: gan_runner.metrics.feature_metrics.FeatureMetrics
        extractor: {_target_: gan_runner.metrics.features.cnn_b, _partial_: true}
        numbers: [frechet, coverage]
        neighbours: 5
        seed: 0
        """
    )
    assert instantiate(node, _convert_="all").names == ["frechet_cnn_b", "coverage_cnn_b"]


def test_fast_metrics_are_those_that_the_data_allow_and_alarms_get_shares(metrics_of, halves, batches):
    training, others = halves
    metrics = metrics_of("fast")
    metrics.bind(training, None, CPU)
    assert not metrics.looks_at_held_out
    numbers = metrics.measure(batches(others.images), metrics.statistics(batches(training.images)))
    assert list(numbers) == [f"{number}_cnn" for number in FAST]
    assert metrics.for_alarms(numbers, 900) == {"coverage": numbers["coverage_cnn"], "classes": 1.0}
    unlabelled = dataclasses.replace(training, labels=None, classes=())
    fewer = FeatureMetrics(cnn_of_turns(metrics.extractor), "fast", 5, seed=0)
    fewer.bind(unlabelled, None, CPU)
    assert fewer.names == ["frechet_cnn", "precision_cnn", "recall_cnn", "coverage_cnn"]


@pytest.fixture(scope="module")
def stacks():
    return stacked.load("digits", "nowhere", False, 28, 3000, 0, None)


def test_modes_of_stacks_are_classified_channel_by_channel_by_the_shipped_extractor(stacks, batches, own_cache):
    metrics = FeatureMetrics(cnn, ["modes", "modes_kl"], 5, seed=0)
    metrics.bind(stacks, None, CPU)
    assert not own_cache.exists()
    pictures = stacks.pixels(torch.arange(3000))
    read = metrics.extractor(pictures[:500])
    assert read.vectors.shape == (500, 3 * 128)
    assert (read.probabilities.argmax(1) == stacks.labels[:500]).double().mean() > 0.98
    torch.testing.assert_close(read.probabilities.sum(1), torch.ones(500))
    real = metrics.statistics(batches(pictures))
    every = metrics.measure(batches(pictures), real)
    assert every["modes_cnn"] == pytest.approx(len(stacks.labels.unique()), abs=10)
    beginning = stacks.labels < 200  # the first digit is 0 or 1
    few = metrics.measure(batches(pictures[beginning]), real)
    assert few["modes_cnn"] < 215
    divergence = modes(stacks.labels[beginning], stacks.mode_frequencies)[1]
    assert divergence > math.log(4.9)
    assert few["modes_kl_cnn"] == pytest.approx(divergence, abs=0.05)


def test_modes_that_a_small_set_of_stacks_lacks_still_count(batches):
    small = stacked.load("digits", "nowhere", False, 28, 100, 0, None)
    others = stacked.load("digits", "nowhere", False, 28, 100, 1, None)
    metrics = FeatureMetrics(cnn, ["modes_kl"], 5, seed=0)
    metrics.bind(small, None, CPU)
    real = metrics.statistics(batches(small.pixels(torch.arange(100))))
    assert metrics.measure(batches(others.pixels(torch.arange(100))), real)["modes_kl_cnn"] < 3


def test_a_g_that_draws_all_modes_of_stacks_is_not_reported_for_few_classes(stacks, batches):
    metrics = FeatureMetrics(cnn, "fast", 5, seed=0)
    metrics.bind(stacks, None, CPU)
    numbers = metrics.measure(
        batches(stacks.pixels(torch.arange(1000))), metrics.statistics(batches(stacks.pixels(torch.arange(1000, 3000))))
    )
    assert metrics.for_alarms(numbers, 1000)["classes"] > 0.8


def test_modes_are_refused_for_data_that_are_not_stacks(metrics_of, halves):
    metrics = metrics_of(["modes"])
    with pytest.raises(UserError, match="counts the modes of stacks, but digits is none"):
        metrics.bind(halves[0], None, CPU)


def cnn_of_turns(extractor):
    """An extractor like that one, of data without classes."""

    def cnn(images, device):
        like = copy.copy(extractor)
        like.classes = 0
        return like

    return cnn
