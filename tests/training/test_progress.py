import dataclasses

import pytest

from gan_runner.training import progress as module
from gan_runner.training.progress import Progress, Timetable
from gan_runner.training.schedules import EpochLength, Turn
from gan_runner.training.settings import Trainer

TRAINER = Trainer(
    epochs=3,
    iterations=None,
    batch_size=128,
    g_batch_size=128,
    device="cpu",
    precision="fp32",
    ema=None,
    ema_half_life=None,
    ema_ramp_up=None,
    log_every=50,
    intervals_in="epochs",
    sample_every=2,
    checkpoint_every=3,
    checkpoint_minutes=10.0,
    keep=2,
    sample_columns=2,
    sample_rows=2,
    progress=False,
)


def timetable_of(count=40, batch_size=10, d_steps=1, evaluate_every=None, **settings):
    trainer = dataclasses.replace(TRAINER, batch_size=batch_size, **settings)
    return Timetable(trainer, EpochLength(count, batch_size), d_steps, evaluate_every)


BOTH = Turn(1, 1)


def played(timetable, turn=BOTH, batch_size=10, limit=1000):
    """What is due after each turn until the run is over."""
    progress, due = Progress(), []
    while not timetable.finished(progress) and len(due) < limit:
        before = dataclasses.replace(progress)
        progress.advance(turn, batch_size)
        due.append(timetable.due(before, progress))
    return due


def numbers(due, what):
    """The iterations, from 1, at which something is due."""
    return [number for number, each in enumerate(due, start=1) if getattr(each, what)]


# ---- counting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d_steps", "g_steps", "images"), [(1, 1, 10), (2, 1, 20), (1, 0, 10), (0, 1, 0)])
def test_a_turn_counts_updates_and_the_real_images_shown_to_d(d_steps, g_steps, images):
    progress = Progress(iteration=5, images=100, d_steps=7, g_steps=6, position=30, seconds=1.5)
    progress.advance(Turn(d_steps, g_steps), 10)
    assert progress == Progress(6, 100 + images, 7 + d_steps, 6 + g_steps, 30, 1.5)


@pytest.mark.parametrize(
    ("count", "batch_size", "d_steps", "iterations"),
    [
        (60_000, 128, 1, 468),
        (60_000, 128, 2, 234),
        (60_000, 256, 1, 234),
        (1797, 128, 1, 14),
        (40, 10, 3, 1),
        (7, 10, 1, 1),  # more images in a batch than there are
        (7, 10, 3, 1),
    ],
)
def test_an_epoch_shows_d_the_data_once_in_whole_batches(count, batch_size, d_steps, iterations):
    timetable = timetable_of(count, batch_size, d_steps, epochs=400)
    assert timetable.iterations(Progress()) == 400 * iterations
    progress = Progress(iteration=iterations, images=iterations * d_steps * batch_size)
    assert timetable.epochs(progress) == 1.0
    assert timetable.share_done(progress) == pytest.approx(1 / 400)


def test_a_number_of_iterations_overrides_the_epochs():
    timetable = timetable_of(epochs=3, iterations=7)
    assert timetable.iterations(Progress()) == 7
    assert len(played(timetable)) == 7


@pytest.mark.parametrize(("turn", "d_steps", "iterations"), [(Turn(1, 1), 1, 12), (Turn(2, 1), 2, 6)])
def test_a_run_ends_after_its_epochs(turn, d_steps, iterations):
    assert len(played(timetable_of(40, 10, d_steps, epochs=3), turn)) == iterations


def test_progress_goes_from_0_to_1_and_not_beyond():
    timetable = timetable_of(iterations=4)
    assert [timetable.share_done(Progress(iteration=n)) for n in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert not timetable.finished(Progress(iteration=3))
    assert timetable.finished(Progress(iteration=4))


def test_with_a_schedule_that_decides_by_scores_epochs_follow_the_images_shown_to_d():
    timetable = timetable_of(40, 10, d_steps=None, epochs=2)
    assert timetable.iterations(Progress()) is None
    assert timetable.share_done(Progress(iteration=500, images=20)) == 0.25
    assert not timetable.finished(Progress(iteration=10_000, images=79))
    assert timetable.finished(Progress(iteration=9, images=80))
    assert timetable_of(40, 10, d_steps=None, iterations=5).iterations(Progress()) == 5


# ---- what is due ------------------------------------------------------------------------------------------


def test_epochs_end_at_their_boundaries_and_each_end_is_logged():
    due = played(timetable_of(40, 10, epochs=3, log_every=1000))
    assert numbers(due, "epoch_ended") == [4, 8, 12]
    assert numbers(due, "log") == [4, 8, 12]


def test_intervals_in_epochs_are_due_at_their_boundaries_and_the_first_epoch_and_the_last_iteration_draw_too():
    due = played(timetable_of(40, 10, epochs=7, sample_every=2, checkpoint_every=3, evaluate_every=5))
    assert numbers(due, "samples") == [4, 8, 16, 24, 28]
    assert numbers(due, "checkpoint") == [12, 24, 28]
    assert numbers(due, "evaluation") == [8, 16, 20, 28]  # 8 and 16 are early, see below


def test_intervals_in_iterations_are_due_at_their_multiples_and_the_first_epoch_and_the_last_iteration_draw_too():
    due = played(
        timetable_of(
            40, 10, iterations=11, intervals_in="iterations", sample_every=3, checkpoint_every=5, evaluate_every=4
        )
    )
    assert numbers(due, "samples") == [3, 4, 6, 9, 11]
    assert numbers(due, "checkpoint") == [5, 10, 11]
    assert numbers(due, "evaluation") == [4, 8, 11]


@pytest.mark.parametrize("intervals_in", ["epochs", "iterations"])
def test_samples_and_evaluations_are_due_at_powers_of_two_until_their_interval_takes_over(intervals_in):
    each = 1 if intervals_in == "epochs" else 100  # of 100 iterations
    timetable = timetable_of(
        1000,
        10,
        epochs=7,
        intervals_in=intervals_in,
        sample_every=3 * each,
        evaluate_every=2 * each,
        checkpoint_every=each,
    )
    due = played(timetable)
    assert numbers(due, "samples") == [8, 16, 32, 64, 100, 128, 256, 300, 600, 700]
    assert numbers(due, "evaluation") == [8, 16, 32, 64, 128, 200, 400, 600, 700]
    assert numbers(due, "early") == [8, 16, 32, 64, 128]
    assert numbers(due, "checkpoint") == [100, 200, 300, 400, 500, 600, 700]
    assert timetable.looks(2 * each, 700) == 9


@pytest.mark.parametrize("begun_at", [1, 7, 8, 63, 130])
def test_what_is_due_depends_only_on_the_iteration_wherever_a_run_resumes(begun_at):
    timetable = timetable_of(1000, 10, epochs=7, sample_every=3, evaluate_every=2)
    before = Progress(begun_at - 1, 10 * (begun_at - 1))
    after = dataclasses.replace(before, iteration=begun_at, images=10 * begun_at)
    assert timetable.due(before, after) == played(timetable)[begun_at - 1]


@pytest.mark.parametrize(
    ("count", "batch_size", "epochs", "iterations"),
    [(400, 64, 334, 2004), (1797, 32, 72, 4032), (1797, 64, 72, 2016), (60_000, 64, 10, 9370), (7, 10, 12_800, 12_800)],
)
def test_a_run_without_a_length_gets_one_that_suits_the_number_of_images(count, batch_size, epochs, iterations):
    timetable = timetable_of(count, batch_size, epochs="auto")
    assert timetable.epochs_in_all == epochs
    assert timetable.iterations(Progress()) == iterations


def test_minutes_override_epochs_and_determine_the_progress():
    timetable = timetable_of(epochs=3, minutes=2.0)
    assert timetable.iterations(Progress()) is None
    assert timetable.share_done(Progress(iteration=100, images=1000, seconds=30.0)) == 0.25
    assert timetable.iterations(Progress(iteration=100, images=1000, seconds=30.0)) == 400
    assert not timetable.finished(Progress(iteration=10**6, images=10**7, seconds=119.9))
    before, last = Progress(seconds=119.9), Progress(iteration=1, images=10, seconds=120.0)
    assert timetable.finished(last)
    due = timetable.due(before, last)
    assert (due.samples, due.checkpoint) == (True, True)


def test_the_clock_measures_turns_and_reports_the_speed_once_a_few_seconds_after_a_start(monkeypatch):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    progress = Progress()
    clock = module.Clock(progress)
    paces = []
    for _ in range(10):
        progress.iteration += 1
        now += 1.0
        clock.turn_played()
        paces.append(clock.first_pace())
    assert progress.seconds == clock.seconds == 10.0
    assert [pace for pace in paces if pace] == [(3, 3.0)]  # iterations 5 to 7, those before warm up
    assert clock.pace() == (6, 6.0)
    goes_on = module.Clock(Progress())
    goes_on.load_state_dict(clock.state_dict())
    now += 5.0
    assert goes_on.seconds == 15.0
    assert goes_on.pace() is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (59.0, "59 s"), (61.0, "2 min"), (240.0, "4 min"), (7500.0, "2 h 5 min")]
)
def test_the_time_left_is_rounded(seconds, said):
    assert module.about(seconds) == said


def test_a_run_that_ends_within_its_first_epoch_still_draws_saves_and_evaluates():
    due = played(timetable_of(1000, 10, iterations=3, evaluate_every=1))
    assert [(each.log, each.samples, each.evaluation, each.checkpoint) for each in due] == [
        (False, False, False, False),
        (False, False, False, False),
        (True, True, True, True),
    ]


def test_nothing_is_evaluated_if_evaluation_is_off():
    assert numbers(played(timetable_of(epochs=3, evaluate_every=None)), "evaluation") == []


def test_log_points_are_due_at_their_interval_and_wherever_something_needs_them():
    due = played(
        timetable_of(
            1000, 10, iterations=20, log_every=6, intervals_in="iterations", sample_every=7, checkpoint_every=9
        )
    )
    assert numbers(due, "log") == [6, 7, 9, 12, 14, 18, 20]


def test_an_epoch_ends_once_even_if_turns_without_d_follow():
    timetable = timetable_of(40, 10, d_steps=None, epochs=9, sample_every=1)
    end = Progress(iteration=4, images=40)
    after = Progress(iteration=5, images=40)
    assert timetable.due(Progress(iteration=3, images=30), end).epoch_ended
    following = timetable.due(end, after)
    assert not following.epoch_ended
    assert not following.samples


def test_a_run_with_another_batch_size_keeps_its_length_in_epochs():
    """Two epochs in batches of 10, then two in batches of 20."""
    before, after = timetable_of(40, 10, epochs=2), timetable_of(40, 20, epochs=4)
    progress = Progress(iteration=8, images=80)
    assert before.finished(progress)
    assert (after.epochs(progress), after.iterations(progress)) == (2.0, 8 + 4)
    assert not after.finished(Progress(iteration=11, images=140))
    assert after.finished(Progress(iteration=12, images=160))


@pytest.mark.parametrize("epochs", [1, 2, 5, 7])
@pytest.mark.parametrize("every", [1, 2, 5, 100])
@pytest.mark.parametrize("intervals_in", ["epochs", "iterations"])
def test_intervals_are_counted_when_they_are_due(epochs, every, intervals_in):
    timetable = timetable_of(epochs=epochs, intervals_in=intervals_in, checkpoint_every=every)
    due = played(timetable)
    assert timetable.intervals(every, len(due)) == len(numbers(due, "checkpoint"))


@pytest.mark.parametrize(("iterations", "short"), [(30, True), (100_000, False)])
def test_a_length_in_minutes_is_called_short_once_the_speed_is_known(iterations, short):
    timetable = timetable_of(minutes=2.0)
    assert timetable.too_short() is None
    told = timetable.too_short(iterations)
    assert (told is not None) == short
    assert told is None or "about" in told
