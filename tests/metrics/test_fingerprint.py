import dataclasses
import json

import pytest

from gan_runner.metrics.fingerprint import Fingerprint

ONE = Fingerprint(
    data="digits-ab12",
    held_out="none",
    extractor="cnn-classes-cd34",
    neighbours=5,
    real=1797,
    generated=1000,
    split="train",
    seed=0,
    metrics_seed=0,
    average=True,
    checkpoint="best",
)


def test_numbers_with_equal_fingerprints_are_comparable():
    assert ONE.differences(dataclasses.replace(ONE)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "mnist-99"}, "data is digits-ab12 and mnist-99"),
        ({"held_out": "digits-77"}, "held_out is none and digits-77"),
        ({"extractor": "cnn_b-1"}, "extractor is cnn-classes-cd34 and cnn_b-1"),
        ({"neighbours": 3}, "neighbours is 5 and 3"),
        ({"real": 50, "generated": 60}, "real is 1797 and 50; generated is 1000 and 60"),
        ({"split": "test"}, "split is train and test"),
        ({"seed": 1}, "seed is 0 and 1"),
        ({"metrics_seed": 2}, "metrics_seed is 0 and 2"),
        ({"average": False}, "average is True and False"),
        ({"checkpoint": "last"}, "checkpoint is best and last"),
    ],
)
def test_numbers_with_different_fingerprints_are_not_and_the_difference_is_explained(change, said):
    assert "; ".join(ONE.differences(dataclasses.replace(ONE, **change))) == said


def test_images_of_an_unknown_program_are_comparable_with_a_run():
    assert ONE.differences(dataclasses.replace(ONE, average=None, checkpoint=None)) == []


def test_a_fingerprint_survives_json_and_newer_fields():
    stored = json.loads(json.dumps(ONE.as_dict() | {"later": 1}))
    assert Fingerprint.from_dict(stored) == ONE
