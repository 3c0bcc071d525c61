import itertools
import json
import logging

import pytest

from gan_runner.errors import UserError
from gan_runner.training.meters import Reading
from gan_runner.training.schedules import Alternating, Choosy, EpochLength, Rounds, Turn

EPOCH = EpochLength(count=100, batch_size=10)


def letters(turn):
    """Whose updates a turn makes, in their order: "ddg"."""
    return "d" * turn.d_steps + "g" * turn.g_steps


class Scores:
    """A game whose outcome is written down beforehand: D's accuracy, and the mean of D(G(z)), update by update."""

    def __init__(self, accuracies=(), probabilities=()):
        self.accuracies = iter(accuracies or itertools.repeat(0.0))
        self.probabilities = iter(probabilities or itertools.repeat(0.0))
        self.d = Reading({"accuracy/d_real": 0.0, "accuracy/d_fake": 0.0, "probability/fake": 0.0}, 0)
        self.g = Reading({"accuracy/d_fake": 0.0, "probability/fake": 0.0}, 0)
        self.looks = 0

    def play(self, turn):
        for player in letters(turn):
            if player == "d":
                # What D finds easy differs between real and generated images; their mean is the accuracy.
                accuracy = next(self.accuracies)
                skew = min(accuracy, 1 - accuracy)
                now = {"accuracy/d_real": accuracy + skew, "accuracy/d_fake": accuracy - skew, "probability/fake": 1.0}
                self.d = self._added(self.d, now)
            else:
                now = {"accuracy/d_fake": 0.0, "probability/fake": next(self.probabilities)}
                self.g = self._added(self.g, now)

    def _added(self, reading, now):
        return Reading({name: total + now[name] for name, total in reading.totals.items()}, reading.updates + 1)

    def read_d(self):
        self.looks += 1
        return self.d

    def read_g(self):
        self.looks += 1
        return self.g


def rounds(d=100, g=100, *, unit="steps", accuracy=1.0, probability=1.0, check=10, warmup=0, fixed_set=None):
    return Rounds(d, g, unit, accuracy, probability, check, warmup, fixed_set)


def turns(schedule, n, scores=None):
    scores = scores or Scores()
    played = []
    for _ in range(n):
        turn = schedule.next_turn(scores, EPOCH)
        scores.play(turn)
        played.append(turn)
    return played


def players(schedule, n, scores=None):
    return "".join(letters(turn) for turn in turns(schedule, n, scores))


# ---- EpochLength -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "batch_size", "images", "updates"),
    [(60_000, 128, None, 468), (100, 10, None, 10), (100, 10, 35, 3), (7, 10, None, 1), (100, 64, 5, 1)],
)
def test_an_epoch_has_as_many_updates_as_there_are_whole_batches_and_at_least_one(count, batch_size, images, updates):
    assert EpochLength(count, batch_size).updates(images) == updates


# ---- Alternating ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d_steps", "g_steps", "turn"), [(1, 1, Turn(1, 1)), (2, 1, Turn(2, 1)), (1, 3, Turn(1, 3))])
def test_alternating_gives_d_its_steps_and_then_g_its_steps_repeatedly(d_steps, g_steps, turn):
    schedule = Alternating(d_steps, g_steps, d_warmup=0, same_latents=False)
    assert turns(schedule, 3) == [turn] * 3
    assert schedule.d_steps_per_turn == d_steps


def test_alternating_lets_d_warm_up_alone():
    schedule = Alternating(2, 1, d_warmup=3, same_latents=False)
    assert [letters(turn) for turn in turns(schedule, 5)] == ["dd", "dd", "dd", "ddg", "ddg"]


def test_alternating_shares_latents_in_turns_with_both_networks():
    schedule = Alternating(1, 1, d_warmup=1, same_latents=True)
    assert turns(schedule, 2) == [Turn(1), Turn(1, 1, same_latents=True)]


def test_alternating_predicts_the_shares_of_its_warm_up_and_of_what_follows():
    warm_up, both = Turn(2), Turn(2, 1, same_latents=True)
    schedule = Alternating(2, 1, d_warmup=25, same_latents=True)
    assert schedule.kinds_of_turn(100, EPOCH) == {warm_up: 0.25, both: 0.75}
    assert schedule.kinds_of_turn(10, EPOCH) == {warm_up: 1.0}
    assert Alternating(2, 1, d_warmup=0, same_latents=True).kinds_of_turn(10, EPOCH) == {both: 1.0}


def test_rounds_predict_stretches_up_to_their_limits():
    assert rounds(30, 10).kinds_of_turn(None, EPOCH) == {Turn(1): 0.75, Turn(g_steps=1): 0.25}
    # Passes over the fixed set of 50 are 5 updates of 10 images each: D has 10 of them and G 40.
    fixed = rounds(2, 8, unit="epochs", fixed_set=50).kinds_of_turn(None, EPOCH)
    first, again = Turn(1, fixed_set=True, renew_fixed_set=50), Turn(1, fixed_set=True)
    assert fixed == {first: 0.02, again: 0.18, Turn(g_steps=1): 0.8}


def test_alternating_never_reads_the_scores_because_reading_would_wait_for_the_device():
    scores = Scores()
    turns(Alternating(1, 1, d_warmup=2, same_latents=False), 20, scores)
    assert scores.looks == 0


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_alternating_resumes_in_the_middle_of_its_warm_up(stop):
    first, second = (Alternating(1, 1, d_warmup=3, same_latents=False) for _ in range(2))
    turns(first, stop)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert turns(second, 6) == turns(first, 6)


# ---- Rounds -----------------------------------------------------------------------------------------------


def test_rounds_end_at_their_limits_if_no_goal_is_reached():
    assert players(rounds(d=3, g=2), 13) == "dddggdddggddd"


def test_rounds_end_when_a_reading_of_the_scores_reaches_a_goal():
    scores = Scores(itertools.repeat(1.0), itertools.repeat(1.0))
    assert players(rounds(check=2), 10, scores) == "ddggddggdd"


def test_a_goal_is_reached_when_it_is_equalled():
    scores = Scores(itertools.repeat(0.75), itertools.repeat(0.5))
    assert players(rounds(accuracy=0.75, probability=0.5, check=1), 6, scores) == "dgdgdg"


@pytest.mark.parametrize("probability", [0.0, 0.49])
def test_g_continues_until_d_takes_its_images_for_real(probability):
    # In D's updates the mean of D(G(z)) is 1 here, which must not count.
    scores = Scores(itertools.repeat(1.0), itertools.repeat(probability))
    assert players(rounds(g=7, probability=0.5, check=1), 10, scores) == "d" + "g" * 7 + "dg"


def test_a_goal_is_compared_with_the_updates_since_the_last_reading_only():
    # From the third update on D is right; over all four it would be right half of the time.
    scores = Scores([0.0, 0.0] + [1.0] * 20)
    assert players(rounds(accuracy=0.9, check=2, g=1), 6, scores) == "ddddgd"


def test_a_goal_is_not_reached_by_updates_of_the_last_stretch():
    # D is right throughout its first stretch of two, and never again.
    scores = Scores([1.0, 1.0] + [0.0] * 50)
    assert players(rounds(d=4, g=1, accuracy=0.3, check=2), 12, scores) == "ddgddddgdddd"


def test_between_readings_rounds_do_not_touch_the_scores():
    scores = Scores()
    turns(rounds(d=100, check=25), 100, scores)
    assert scores.looks == 1 + 3  # at the beginning, and before updates 26, 51 and 76


@pytest.mark.parametrize(
    ("fixed_set", "expected"),
    [(None, "d" * 20 + "g" * 10 + "d"), (35, "d" * 6 + "g" * 3 + "d")],
    ids=["of the data", "of the fixed set"],
)
def test_limits_in_epochs_count_epochs_of_ds_data(fixed_set, expected):
    schedule = rounds(d=2, g=1, unit="epochs", check=1000, fixed_set=fixed_set)
    assert players(schedule, len(expected)) == expected


@pytest.mark.parametrize("warmup", [5, 6])
def test_warm_up_keeps_d_from_its_goal_in_the_first_round_only(warmup):
    scores = Scores(itertools.repeat(1.0), itertools.repeat(1.0))
    assert players(rounds(check=2, warmup=warmup), 14, scores) == "ddddddggddggdd"


def test_the_first_reading_after_the_warm_up_covers_the_last_updates_only():
    """D is never right for six updates and always from then on: over all eight it would miss its goal."""
    scores = Scores(itertools.chain([0.0] * 6, itertools.repeat(1.0)), itertools.repeat(1.0))
    assert players(rounds(check=2, warmup=8), 10, scores) == "ddddddddgg"


def test_a_warm_up_longer_than_ds_limit_is_refused_with_both_keys():
    with pytest.raises(UserError) as refusal:
        rounds(d=10, warmup=11)
    assert str(refusal.value) == (
        "schedule.d_warmup is 11, but schedule.d_steps ends D's stretch after 10 updates.\n"
        "  Try schedule.d_warmup=10 or schedule.d_steps=11."
    )
    rounds(d=10, warmup=10)
    rounds(d=10, warmup=11, unit="epochs")  # ten epochs are more than eleven updates


def test_a_fixed_set_is_renewed_once_at_the_beginning_of_each_of_ds_stretches():
    new, same = Turn(1, fixed_set=True, renew_fixed_set=30), Turn(1, fixed_set=True)
    expected = [new, same, same, Turn(g_steps=1), Turn(g_steps=1), new, same, same, Turn(g_steps=1)]
    assert turns(rounds(d=3, g=2, fixed_set=30), 9) == expected


def test_without_a_fixed_set_d_is_trained_on_fresh_images():
    assert set(turns(rounds(d=3, g=2), 12)) == {Turn(1), Turn(g_steps=1)}


@pytest.mark.parametrize(
    ("accuracy", "probability", "expected"),
    [
        (None, None, "d" * 7 + "g" * 5 + "d"),
        (0.5, None, "dd" + "g" * 5 + "dd" + "g" * 4),
        (None, 0.5, "d" * 7 + "gg" + "d" * 4),
    ],
)
def test_a_network_without_a_goal_trains_to_its_limit_however_good_it_is(accuracy, probability, expected):
    scores = Scores(itertools.repeat(1.0), itertools.repeat(1.0))
    assert players(rounds(d=7, g=5, accuracy=accuracy, probability=probability, check=2), 13, scores) == expected


def test_without_goals_rounds_read_the_scores_only_at_the_start_of_a_stretch():
    scores = Scores()
    turns(rounds(d=30, g=20, accuracy=None, probability=None, check=2), 100, scores)
    assert scores.looks == 4


def test_a_goal_in_probability_needs_a_d_that_gives_one():
    with pytest.raises(UserError) as refusal:
        rounds(probability=0.5).check(classifies=False)
    assert str(refusal.value) == (
        "schedule.g_probability is 0.5, but this loss does not classify: what D gives a generated image is no "
        "probability that it could reach.\n"
        "  Try schedule.g_probability=null, which lets G play to schedule.g_steps, or loss=nonsaturating."
    )
    rounds(probability=0.5).check(classifies=True)
    rounds(probability=None).check(classifies=False)
    assert not isinstance(Alternating(1, 1, d_warmup=0, same_latents=False), Choosy)


def test_rounds_do_not_know_in_advance_how_many_updates_d_gets():
    assert rounds().d_steps_per_turn is None


def test_the_status_has_the_round_the_network_and_the_updates_of_the_stretch():
    schedule = rounds(d=3, g=2)
    seen = []
    for _ in range(6):
        turns(schedule, 1)
        status = schedule.status()
        seen.append((status["schedule/round"], status["schedule/player"], status["schedule/steps"]))
    assert seen == [(1, 0, 1), (1, 0, 2), (1, 0, 3), (1, 1, 1), (1, 1, 2), (2, 0, 1)]


def test_the_log_says_which_network_is_trained_and_why(caplog):
    caplog.set_level(logging.INFO, "gan_runner.training.schedules")
    turns(rounds(d=3, g=4, check=2, probability=0.5), 7, Scores(probabilities=itertools.repeat(0.75)))
    assert [record.message for record in caplog.records] == [
        "Round 1: D plays, after the start.",
        "Round 1: G plays, after the limit of 3 updates.",
        "Round 2: D plays, after the mean of D(G(z)) reached 0.750 after 2 updates.",
    ]


@pytest.mark.parametrize("stop", range(12))
def test_rounds_resume_from_their_state_at_any_point(stop):
    def scores():
        return Scores(itertools.cycle([0.1, 0.2, 0.9, 1.0, 0.8]), itertools.cycle([0.1, 0.9, 0.6]))

    def schedule():
        return rounds(d=7, g=5, accuracy=0.8, probability=0.6, check=2, warmup=3, fixed_set=30)

    whole = turns(schedule(), 40, scores())
    game, first, second = scores(), schedule(), schedule()
    begun = turns(first, stop, game)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.status() == first.status()
    assert begun + turns(second, 40 - stop, game) == whole
