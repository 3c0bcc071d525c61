import dataclasses
import json

import pytest

from gan_runner.errors import UserError
from gan_runner.metrics.fingerprint import Fingerprint, check_comparable

ONE = Fingerprint(
    data="digits-ab12",
    extractor="cnn-classes-cd34",
    neighbours=5,
    real=1797,
    generated=1000,
    split="train",
    seed=0,
    average=True,
    checkpoint="best",
)


def test_numbers_of_the_same_thing_are_compared():
    check_comparable("frechet_cnn_1k", ONE, dataclasses.replace(ONE))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "mnist-99"}, "data is digits-ab12 and mnist-99"),
        ({"extractor": "cnn_b-1"}, "extractor is cnn-classes-cd34 and cnn_b-1"),
        ({"neighbours": 3}, "neighbours is 5 and 3"),
        ({"real": 50, "generated": 60}, "real is 1797 and 50; generated is 1000 and 60"),
        ({"split": "test"}, "split is train and test"),
        ({"seed": 1}, "seed is 0 and 1"),
        ({"average": False}, "average is True and False"),
        ({"checkpoint": "last"}, "checkpoint is best and last"),
    ],
)
def test_numbers_of_different_things_are_refused_and_it_says_why(change, said):
    with pytest.raises(UserError) as error:
        check_comparable("frechet_cnn_1k", ONE, dataclasses.replace(ONE, **change))
    assert str(error.value) == (
        f"Two values of frechet_cnn_1k cannot be compared: {said}.\n"
        "  Evaluate both anew with the same settings: gan-eval run=DIR for each."
    )


def test_pictures_of_an_unknown_maker_are_compared_with_a_run():
    check_comparable("frechet_cnn_1k", ONE, dataclasses.replace(ONE, average=None, checkpoint=None))


def test_a_fingerprint_survives_json_and_newer_fields():
    stored = json.loads(json.dumps(ONE.as_dict() | {"later": 1}))
    assert Fingerprint.from_dict(stored) == ONE
