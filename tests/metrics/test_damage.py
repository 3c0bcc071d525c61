"""Every metric that claims to see a fault moves one way along four strengths of it, on the digits that ship."""

import pytest
import torch

from benchmarks.damage import FALLS, FAULTS, RISES, in_words, material, measured, moves, unseen
from gan_runner.data import digits
from gan_runner.data.halves import halves
from gan_runner.metrics.feature_metrics import NUMBERS, FeatureMetrics
from gan_runner.metrics.features import cnn

CPU = torch.device("cpu")
# What an extractor has learned of so few pictures lies denser than their like. So the mildest damage, which brings
# digits nearer to what all of a class have in common, makes these better, and only more of it makes them worse.
TURNS = {"blur": ("coverage", "clipped_coverage"), "dropped classes": ("clipped_coverage",)}


@pytest.fixture(scope="module")
def pictures():
    return material(digits.load(28, None, "train", 0.5), digits.load(28, None, "test", 0.5), 450, 270)


@pytest.fixture(scope="module")
def shipped():
    return cnn(halves(digits.load(28, None))[0], CPU)


@pytest.mark.parametrize("fault", FAULTS)
def test_metrics_that_claim_to_detect_damage_of_the_digits_change_with_its_strength(pictures, shipped, fault):
    def cnn(images, device):
        return shipped

    of_features = [number for number in FAULTS[fault].seen_by if number in NUMBERS]
    numbers = [number for number in of_features if number != "kernel"]  # 100 subsets take a while
    metrics = FeatureMetrics(cnn, numbers, neighbours=5, seed=0)
    metrics.bind(pictures.training, pictures.held_out, CPU)
    table = measured(metrics, pictures, [fault])
    assert set(table[fault]) == {*numbers, "grain"}
    assert set(unseen(table)) <= {f"{number} under {fault}" for number in TURNS.get(fault, ())}, in_words(table)
    for number in TURNS.get(fault, ()):
        assert moves(table[fault][number][1:], FAULTS[fault].seen_by[number]), in_words(table)


def test_every_metric_but_a_probability_claims_to_detect_damage_and_modes_do_so_in_stacks_only():
    assert {number for fault in FAULTS.values() for number in fault.seen_by} == {*NUMBERS, "grain"} - {
        "copying_p",
        "modes",
        "modes_kl",
    }


@pytest.mark.parametrize(
    ("values", "way", "expected"),
    [
        ([1, 2, 3], RISES, True),
        ([1, 1, 3], RISES, True),
        ([1, 1, 1], RISES, False),
        ([1, 3, 2], RISES, False),
        ([3, 2, 0, 0], FALLS, True),
        ([3, 2, 2.5], FALLS, False),
    ],
)
def test_a_monotone_row_changes_in_one_direction_and_is_not_constant(values, way, expected):
    assert moves(values, way) is expected


def test_a_row_that_contradicts_its_claim_is_reported():
    table = {"noise": {"frechet": [1.0, 2.0, 1.5, 3.0, 4.0], "coverage": [0.9, 0.5, 0.4, 0.1, 0.0]}}
    assert unseen(table) == ["frechet under noise"]
    assert "| frechet | 1 | 2 | 1.5 | 3 | 4 | does not rise |" in in_words(table)
    assert "| coverage | 0.9 | 0.5 | 0.4 | 0.1 | 0 | falls |" in in_words(table)
