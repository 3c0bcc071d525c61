"""The verdict on scores that are made up: what controls that are right and wrong, and cheap arms, make of it."""

import json

import pytest

from gan_runner.worth.answer import Answer
from gan_runner.worth.arms import arms
from gan_runner.worth.picture import picture_of
from gan_runner.worth.scores import Scores

# By how many points each arm is above oversampling; the curve rises by 2 points a place.
POINTS = {
    "real": -5.0,
    "class weights": -1.0,
    "oversampling": 0.0,
    "shifts": 1.0,
    "shifts and flips": 3.0,
    "mixup": -0.5,
    "generated x1": 1.0,
    "generated x3": 1.5,
    "generated x10": 0.5,
    "generated alone": -20.0,
    "more real x0.3": 2.0,
    "more real x1": 4.0,
    "more real x3": 6.0,
    "more real x10": 8.0,
    "control: held-back real x3": 6.0,
    "control: repeats x3": 0.0,
}
JITTER = (0.1, -0.1, 0.05, 0.0, -0.05)


def answer(**other):
    points = POINTS | {name.replace("_", " "): value for name, value in other.items()}

    def of(name, repetition):
        # Another part of the noise in each arm, so that paired differences have some.
        noise = JITTER[(repetition + len(name)) % 5]
        score = 0.6 + (points[name] + noise) / 100
        return Scores(0.8, (0.9, score), (0.9, score))

    plan = arms(100.0)
    scores = {arm.name: [of(arm.name, repetition) for repetition in range(5)] for arm in plan}
    return Answer(plan, scores, ["shirt", "bag"], [1], [50])


def test_the_invented_scores_cover_every_arm():
    assert [arm.name for arm in arms(100.0)] == list(POINTS)


def test_the_answer_is_no_if_something_cheap_is_better():
    found = answer()
    assert found.verdict == "no"
    assert found.cheap.name == "shifts and flips"
    assert found.generated.name == "generated x3"
    assert all(control.right for control in found.controls)
    worth, verdict = found.sentences()
    assert worth.startswith("These images are worth ")
    assert "adding 150 generated images to the 50 real ones of class bag" in worth
    assert verdict.startswith("No, use shifts and flips: ")
    # Three quarters of the way from nothing to 0.3 * 50 images.
    assert 9 <= round(found.worth.ratio * found.own) <= 12
    assert found.worth.low < found.worth.ratio < found.worth.high


def test_the_answer_is_yes_if_generated_images_are_better_than_anything_cheap():
    found = answer(generated_x10=7.0)
    assert found.verdict == "yes"
    assert 150 < round(found.worth.ratio * found.own) < 500
    assert found.sentences()[1].startswith(
        "Yes, add generated images: the F1 of the scarce classes changes by +4.0 points"
    )


def test_the_answer_is_no_if_there_is_no_significant_difference():
    assert answer(generated_x3=3.0).verdict == "no"


def test_unchanged_real_images_may_be_best():
    assert "No, use the real images as they are" in answer(real=4.0).sentences()[1]


def test_harmful_images_are_reported():
    found = answer(generated_x1=-2.0, generated_x3=-3.0, generated_x10=-4.0)
    assert found.worth.harms
    assert "worth no real ones" in found.sentences()[0]


def test_images_above_the_curve_are_worth_more_than_its_end():
    assert "worth more than 500 real ones" in answer(generated_x10=12.0).sentences()[0]


@pytest.mark.parametrize(
    ("arm", "points"),
    [("control: repeats x3", 3.0), ("control: held-back real x3", 1.0), ("control: held-back real x3", 9.0)],
)
def test_there_is_no_verdict_if_a_control_contradicts_it(arm, points):
    found = answer(**{arm: points})
    assert found.verdict == "controls contradict"
    assert [control.right for control in found.controls].count(False) == 1
    assert found.sentences()[1].startswith("No verdict: the comparison does not pass its check. ")
    assert repr(arm) in found.sentences()[1]


def test_there_is_no_verdict_if_more_real_images_do_not_help():
    flat = {name: 0.0 for name in POINTS if name.startswith(("more real", "control", "generated x"))}
    found = answer(**flat, shifts=0.0, **{"shifts and flips": 0.0})
    assert found.verdict == "not measurable"


def test_an_answer_is_json_a_table_and_an_image():
    found = answer()
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["verdict"] == "no"
    assert plain["controls"]["control: repeats x3"]["expected"] == 0
    assert plain["controls"]["control: held-back real x3"]["expected"] == 150
    assert plain["arms"]["mixup"]["recall"].keys() == {"shirt", "bag"}
    table = found.table().splitlines()
    assert len(table) == 1 + len(POINTS)
    assert table[0].split("  ")[-1] == "recall bag"
    picture = picture_of(found)
    assert picture.width > 600
    assert len(picture.getcolors(2**24)) > 5


def test_no_figure_is_shown_as_minus_zero():
    found = answer(**{"shifts and flips": 1.5004, "real": -60.0})
    assert "-0.0" not in found.table() + " ".join(found.sentences())
    assert "by +0.0 points" in found.sentences()[1]
