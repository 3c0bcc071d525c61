import json
import math

import pytest

from gan_runner.health.advice import Usual, advise
from gan_runner.health.symptoms import (
    ClassCollapsed,
    ClassesIgnored,
    CoinToss,
    Collapse,
    Constant,
    FewClasses,
    Moment,
    Narrower,
    NoProgress,
    Observation,
    OddData,
    Saturated,
    Sure,
    Worse,
)


def at(number, d=None, g=None):
    """A log point every ten turns of one update each."""
    return Moment(10 * number, 10 * number if d is None else d, 10 * number if g is None else g)


def seen(symptom, points, moments=None):
    """What a symptom observes at each of some log points."""
    return [
        symptom.observe(point, now)
        for point, now in zip(points, moments or map(at, range(1, len(points) + 1)), strict=True)
    ]


def present(symptom, points, moments=None):
    return [observation is not None for observation in seen(symptom, points, moments)]


def d_right(accuracy, **others):
    return {"accuracy/d": accuracy, "accuracy/d_real": accuracy, "accuracy/d_fake": accuracy, **others}


# ---- means over a patience --------------------------------------------------------------------------------


def test_symptoms_use_the_mean_of_the_log_points_of_their_patience():
    # 40 updates of patience are five log points, both ends included.
    accuracies = [0.6, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7]
    means = [0.6, 0.6, 1.7 / 3, 0.55, 0.54, 0.52, 0.5, 0.54]
    points = [d_right(accuracy) for accuracy in accuracies]
    assert present(CoinToss(0.521, 0.05, patience=40), points) == [mean <= 0.521 for mean in means]


def test_one_log_point_above_the_threshold_does_not_clear_coin_toss():
    accuracies = [0.5] * 20 + [0.6] + [0.5] * 20
    assert all(present(CoinToss(0.52, 0.05, patience=100), [d_right(a) for a in accuracies]))


def test_a_d_at_chance_level_is_recognised_however_its_accuracy_fluctuates():
    # Accuracies of a coin over batches of two: a log point in four is above one half.
    accuracies = [0.5, 0.0, 0.5, 1.0] * 25
    observations = seen(CoinToss(0.52, 0.05, patience=390), [d_right(a) for a in accuracies])
    assert all(observations)
    assert observations[-1].what == "D is right 50.0% of the time, no better than chance"


def test_a_symptom_begins_at_the_first_log_point_of_its_mean():
    *_, last = seen(CoinToss(0.52, 0.05, patience=30), [d_right(0.5)] * 9)
    assert last.since == at(6)


def test_patience_does_not_run_while_the_network_is_not_trained():
    # D warms up alone for 90 updates: it should be sure by then, and G has not played.
    warming_up = [at(number, g=0) for number in range(1, 10)]
    playing = [at(number, g=10 * (number - 9)) for number in range(10, 14)]
    observations = seen(Sure(0.99, patience=30), [d_right(1.0)] * 13, [*warming_up, *playing])
    assert [observation.since.g_steps for observation in observations] == [0] * 12 + [10]
    # All of the warm-up is one value, the last: here D becomes sure at its end, and the mean is 1 from then on.
    points = [d_right(0.5)] * 8 + [d_right(1.0)] * 5
    assert present(Sure(0.99, patience=30), points, [*warming_up, *playing]) == [False] * 8 + [True] * 5


def test_a_symptom_of_means_forgets_them_on_request_and_resumes_from_its_state():
    first, second = Worse(2.0, 20), Worse(2.0, 20)
    near, far = {"health/distance": 0.1}, {"health/distance": 0.9}
    points = [near, near, near, near, far, far, far, far]
    seen(first, points[:5])
    assert first.suspect == 30
    second.load_state_dict(first.state_dict())
    moments = [at(number) for number in (6, 7, 8)]
    assert seen(second, points[5:], moments) == seen(first, points[5:], moments)
    assert second.observe(far, at(9)) is not None
    second.forget()
    assert second.suspect is None
    assert not any(present(second, [far] * 9))


# ---- sure -------------------------------------------------------------------------------------------------


def test_an_overconfident_d_is_noticed_however_large_gs_gradient_is():
    (observation,) = seen(Sure(0.99, 0), [d_right(1.0, **{"grad_norm/g": 31.7})])
    assert observation.what == "D is right 100.0% of the time, and G gains nothing on it"


@pytest.mark.parametrize(("real", "fake", "sure"), [(1.0, 0.98, True), (1.0, 0.9799, False), (math.nan, 1.0, False)])
def test_a_d_is_overconfident_by_its_accuracy_on_real_and_generated_images(real, fake, sure):
    assert present(Sure(0.99, 0), [{"accuracy/d_real": real, "accuracy/d_fake": fake}]) == [sure]


# ---- saturated --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "gradient", "saturated"),
    [(0.99, 1e-3, True), (1.0, 0.0, True), (0.989, 1e-3, False), (1.0, 2e-3, False), (1.0, math.nan, False)],
)
def test_d_is_saturated_if_it_is_right_and_gs_gradient_has_vanished(accuracy, gradient, saturated):
    symptom = Saturated(accuracy=0.99, gradient=1e-3, patience=0)
    assert present(symptom, [d_right(accuracy, **{"grad_norm/g": gradient})]) == [saturated]


def test_the_message_on_a_saturated_d_has_its_numbers():
    (observation,) = seen(Saturated(0.99, 1e-3, 0), [d_right(0.999, **{"grad_norm/g": 1e-5})])
    assert observation == Observation("D is right 99.9% of the time and G's gradient has vanished (norm 1e-05)")


# ---- coin_toss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.52, "D is right 52.0% of the time, no better than chance"),
        (0.48, "D is right 48.0% of the time, no better than chance"),
        (0.47, "D is right 47.0% of the time, less often than by chance"),
        (0.521, None),
        (math.nan, None),
    ],
)
def test_a_d_that_cannot_tell_images_apart_is_at_chance_level(accuracy, words):
    (observation,) = seen(CoinToss(0.52, 0.05, 0), [d_right(accuracy)])
    assert (observation and observation.what) == words


@pytest.mark.parametrize(
    ("real", "fake", "coin"), [(0.45, 0.0, False), (0.5, 0.5, True), (0.5, 0.45, True), (0.3, 0.9, True)]
)
def test_a_perfect_d_with_targets_below_one_half_is_not_at_chance_level(real, fake, coin):
    # Taught 0.45 for real images, D calls all images generated: right about one kind and wrong about the other.
    point = d_right(0.5, **{"probability/real": real, "probability/fake": fake})
    assert present(CoinToss(0.52, 0.05, 0), [point]) == [coin]


@pytest.mark.parametrize(
    ("distance", "coin"), [(0.49, False), (0.5, True), (1.3, True), (math.nan, True), (None, True)]
)
def test_a_d_that_cannot_tell_good_images_from_real_ones_raises_no_alarm(distance, coin):
    # At the equilibrium D gives one half to everything.
    point = d_right(0.5, **({} if distance is None else {"health/distance": distance}))
    assert present(CoinToss(0.52, 0.05, 0, distance=0.5), [point]) == [coin]


# ---- constant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([0.5, 0.5, 0.5], [None, None, 1]),
        ([0.5, 0.5, 0.6, 0.6, 0.6], [None, None, None, None, 3]),
        ([0.0, 0.0, 0.0], [None, None, 1]),
        ([-100.0, -100.00001, -100.0], [None, None, 1]),  # against its size, that is nothing
        ([1e-9, 2e-9, 1e-9], [None, None, None]),
        ([math.nan, 0.5, 0.5, 0.5], [None, None, None, 2]),
    ],
)
def test_a_loss_is_constant_since_the_first_of_enough_equal_log_points(losses, since):
    observations = seen(Constant("loss/d", 3, 1e-6, 0), [{"loss/d": loss} for loss in losses])
    assert [each and each.since for each in observations] == [number and at(number) for number in since]


def test_a_constant_loss_is_reported_with_its_value():
    observation = Constant("loss/g", 1, 0.0, 0).observe({"loss/g": 0.25}, at(1))
    assert observation == Observation("loss/g has not changed from 0.25", at(1))


# ---- collapse ---------------------------------------------------------------------------------------------


def drawn(diversity=0.9, repeats=0.0, distance=0.5, untrained=0.3):
    return {
        "health/diversity": diversity,
        "health/repeats": repeats,
        "health/distance": distance,
        "untrained/diversity": untrained,
    }


def collapse(patience=0):
    return Collapse(diversity=0.1, repeats=0.5, moved=0.1, patience=patience)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diversity": 0.1}, "images from different latents differ 10.0% as much as real ones do"),
        ({"diversity": 0.0, "repeats": 1.0}, "images from different latents differ 0.0% as much as real ones do"),
        ({"diversity": 0.49, "repeats": 1.0}, "100% of the images from different latents nearly equal another one"),
        ({"repeats": 0.5}, "50% of the images from different latents nearly equal another one"),
        ({"repeats": 0.49}, None),
        ({"diversity": 0.101}, None),
        ({"diversity": math.nan}, None),  # no number, and so no small one
        # As at the start: a beginning, not a collapse.
        ({"diversity": 0.07, "repeats": 1.0, "distance": 1.0, "untrained": 0.072}, None),
        ({"diversity": 0.07, "repeats": 1.0, "distance": 1.09, "untrained": 0.072}, None),
        # It has moved, or become even more alike.
        ({"diversity": 0.07, "distance": 0.5, "untrained": 0.072}, "images from different latents differ 7.0% as"),
        ({"diversity": 0.03, "distance": 1.0, "untrained": 0.072}, "images from different latents differ 3.0% as"),
        # An untrained G that ignores its latent is one from the beginning.
        ({"diversity": 0.0, "distance": 1.0, "untrained": 0.0}, "images from different latents differ 0.0% as"),
    ],
)
def test_one_image_is_a_collapse_and_so_are_a_few_unless_g_is_untrained(changes, words):
    (observation,) = seen(collapse(), [drawn(**changes)])
    assert observation is None if words is None else observation.what.startswith(words)


def test_a_g_that_has_recovered_from_a_collapse_is_healthy_whatever_the_mean_says():
    points = [drawn(diversity=0.02), drawn(diversity=0.02), drawn(diversity=0.11)]
    assert present(collapse(patience=100), points) == [True, True, False]
    points = [drawn(repeats=1.0), drawn(repeats=1.0), drawn(repeats=0.4)]
    assert present(collapse(patience=100), points) == [True, True, False]


def test_repeats_need_not_be_measured():
    symptom = Collapse(diversity=0.3, repeats=None, moved=0.1, patience=0)
    assert present(symptom, [drawn(diversity=0.49, repeats=1.0)]) == [False]


# ---- no_progress and worse --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "words"), [(1.0, "1.00"), (0.9, "0.90"), (3.2, "3.20"), (0.89, None), (math.nan, None)]
)
def test_a_g_that_is_as_far_from_the_data_as_untrained_makes_no_progress(distance, words):
    (observation,) = seen(NoProgress(0.9, 0), [{"health/distance": distance}])
    said = words and f"G's images are {words} times as far from real ones as before it was trained"
    assert (observation and observation.what) == said


def test_a_g_is_worse_than_it_was_when_its_mean_distance_is_a_multiple_of_the_best_one():
    distances = [1.0, 0.2, 0.2, 0.2, 0.2, 0.4, 0.6, 0.6, 0.6]
    # Means of three from the third log point on; the best is 0.2, first reached at the fourth.
    observations = seen(Worse(2.0, patience=20), [{"health/distance": d} for d in distances])
    assert [each is not None for each in observations] == [False] * 7 + [True, True]
    assert observations[-1] == Observation(
        "G's images are 3.0 times as far from real ones as up to iteration 40", at(7)
    )


def test_one_good_log_point_does_not_count_as_what_g_can_do():
    distances = [0.3, 0.3, 0.3, 0.05, *[0.3] * 20]
    assert not any(present(Worse(2.0, patience=40), [{"health/distance": d} for d in distances]))


# ---- few_classes and narrower: what an evaluation on features has seen ------------------------------------


def test_few_classes_for_long_are_a_collapse_and_a_recovered_g_is_healthy():
    shares = [0.1, 0.2, 0.3, 0.3, 1.0]
    observations = seen(FewClasses(0.5, patience=20), [{"judged/classes": share} for share in shares])
    assert [each is not None for each in observations] == [True, True, True, True, False]
    assert observations[3].what == "G draws 27% of the classes that the data have"


def test_a_g_covers_less_than_it_did_when_its_mean_coverage_is_a_fraction_of_the_best_one():
    shares = [0.1, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.5]
    observations = seen(Narrower(0.4, patience=20), [{"judged/coverage": share} for share in shares])
    assert [each is not None for each in observations] == [False] * 6 + [True, False]
    assert observations[6].what == "G's images cover 10% of the real ones, and covered 50% up to iteration 40"


# ---- images by class --------------------------------------------------------------------------------------


def spreads(**by_name):
    return {"judged/class_spread": min(by_name.values()), **{f"judged/class_spread/{n}": v for n, v in by_name.items()}}


def test_a_class_has_collapsed_if_its_own_mean_is_low_whatever_the_other_classes_do():
    points = [spreads(cat=0.01, dog=0.9), spreads(cat=0.9, dog=0.01), spreads(cat=0.02, dog=0.9)]
    observations = seen(ClassCollapsed(0.15, patience=20), points)
    assert observations[0].what == "images of a class vary less than 15% as much as its real ones: cat (1.0%)"
    assert observations[1:] == [None, None], "on average neither is low"


def test_classes_that_are_new_in_an_evaluation_start_again():
    symptom = ClassCollapsed(0.15, patience=20)
    assert present(symptom, [spreads(cat=0.01), spreads(cat=0.9, dog=0.01), spreads(cat=0.9, dog=0.02)])
    assert symptom.observe(spreads(cat=0.9, dog=0.01), at(4)).since == at(2)


def test_the_spreads_of_classes_come_from_a_checkpoint_by_name():
    before, after = ClassCollapsed(0.15, patience=20), ClassCollapsed(0.15, patience=20)
    before.observe(spreads(cat=0.01, dog=0.9), at(1))
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert after.observe(spreads(cat=0.03, dog=0.9), at(2)) == before.observe(spreads(cat=0.03, dog=0.9), at(2))
    with pytest.raises(ValueError, match="a spread for each class"):
        after.load_state_dict({"window": [[1, 1, 1, 0.5]], "names": ["cat", "dog"]})


def accuracies(drawn, real=0.9, chance=0.1, error=0.01):
    names = ("class_accuracy", "class_accuracy_real", "class_chance", "class_error")
    return dict(zip((f"judged/{name}" for name in names), (drawn, real, chance, error), strict=True))


def test_classes_are_ignored_below_half_the_way_from_chance_to_real_and_a_recovered_g_is_healthy():
    points = [accuracies(0.1), accuracies(0.49), accuracies(0.51), accuracies(0.49, real=0.12)]
    assert present(ClassesIgnored(0.5, patience=40), points) == [True, True, False, False]


def test_the_advice_for_ignored_classes_is_another_conditioning():
    settings = {"game.conditioning": "concatenation", "penalty": "R1"}
    said = advise(ClassesIgnored.helps, settings, Usual({}))
    assert "game.conditioning=projection" in said
    assert "conditioning" not in advise(ClassesIgnored.helps, {"penalty": "R1"}, Usual({}))


# ---- the data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contrast", "smoothness", "words"),
    [
        (0.5, 0.9, None),
        (0.0, math.nan, "the real images are all alike"),
        (0.8, 0.01, "the real images are noise (neighbouring pixels correlate by 0.01)"),
        (0.8, -0.02, "the real images are noise"),
        (0.8, -0.3, None),  # a chequered pattern is no noise
    ],
)
def test_data_without_structure_are_reported(contrast, smoothness, words):
    (observation,) = seen(OddData(0.005, 0.05), [{"data/contrast": contrast, "data/smoothness": smoothness}])
    assert observation is None if words is None else observation.what.startswith(words)
