"""What follows on an alarm in a whole run, and which moments are kept to go back to."""

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.health.symptoms import Constant, Observation, Symptom
from gan_runner.training.loop import train

ROLLBACK = ("health.on_alarm=rollback", "trainer.epochs=6")


def never():
    return False


def weights_of(run):
    return torch.cat([p.detach().flatten() for p in run.experiment.players.generator.net.parameters()])


def poison(run):
    with torch.no_grad():
        next(run.experiment.players.generator.net.parameters()).fill_(torch.nan)


class SickFrom(Symptom):
    """A symptom that is there from an iteration on, whatever is measured."""

    tags = ("health/diversity",)
    helps = ()

    def __init__(self, first, patience):
        self._first = first
        self.patience = patience

    def observe(self, point, now):
        return Observation("sick") if now.iteration >= self._first else None


@pytest.mark.parametrize("schedule", ["alternating", "rounds"])
def test_a_rollback_restores_weights_lowers_the_learning_rate_and_continues(start, checkpoint_of, schedule):
    overrides = ("health.on_alarm=rollback", f"schedule={schedule}", "trainer.iterations=40")
    run = start(*overrides, "trainer.epochs=1", symptoms={})
    poisoned = []

    def poisoned_once():
        if run.progress.iteration == 21 and not poisoned:
            run.journal.folder.finish_writing()
            poisoned.append(True)
            poison(run)
        return False

    train(run, poisoned_once)
    assert run.progress.iteration == 40
    assert [alarm.since for alarm in run.experiment.watch.raised] == [22]
    assert run.experiment.players.generator.rate == pytest.approx(1e-4)
    assert torch.isfinite(weights_of(run)).all()

    resumed = start(*overrides)
    resumed.load_state_dict(checkpoint_of(run))
    assert resumed.experiment.players.generator.rate == pytest.approx(1e-4)


def test_a_rollback_restores_the_strength_of_the_augmentation(start):
    run = start(*ROLLBACK, "augment=ada", "augment.speed=1000000000", symptoms={"sick": SickFrom(14, patience=8)})
    strength = {}

    def grow_while_it_is_sick():
        p = run.experiment.game.augment.p
        strength[run.progress.iteration] = float(p)
        if not run.experiment.watch.raised:
            p.fill_(run.progress.iteration / 100)
        return run.progress.iteration == 23

    train(run, grow_while_it_is_sick)  # rolls back to iteration 12, where the eleventh had left it at 0.11
    assert strength[23] == pytest.approx(0.11, abs=1e-3)
    assert strength[21] == pytest.approx(0.20, abs=1e-3)


def test_a_run_ends_after_the_allowed_number_of_rollbacks(start):
    run = start("health.on_alarm=rollback", "health.max_rollbacks=2")

    def poisoned_from_seven():
        if run.progress.iteration >= 7:
            poison(run)
        return False

    with pytest.raises(UserError, match=r"^The run ends here, .*: not_finite: ") as error:
        train(run, poisoned_from_seven)
    assert len(run.experiment.watch.raised) == 3
    assert error.value.remedy.startswith("health.max_rollbacks is 2, and 2 were made. The last checkpoint is ")


def test_a_rollback_restores_a_state_from_before_its_symptom_and_each_halves_the_rates(start, caplog):
    caplog.set_level("WARNING")
    run = start(*ROLLBACK, symptoms={"sick": SickFrom(14, patience=8)})
    rates = []

    def note_rates():
        players = run.experiment.players
        rates.append((run.progress.iteration, players.generator.rate, players.discriminator.rate))
        return False

    train(run, note_rates)  # with a checkpoint every 6 iterations
    assert [record.message for record in caplog.records if "Rolled" in record.message] == [
        "Rolled back to iteration 12. The learning rates are 0.5 times the configured ones.",
        "Rolled back to iteration 12. The learning rates are 0.25 times the configured ones.",
    ]
    assert [alarm.iteration for alarm in run.experiment.watch.raised] == [22, 32]
    assert rates[-1] == (35, pytest.approx(5e-5), pytest.approx(5e-5))


def test_a_run_that_was_stopped_during_a_symptom_still_rolls_back_to_before_it(start, checkpoint_of):
    whole, first, second = (
        start(*ROLLBACK, folder=name, symptoms={"sick": SickFrom(14, patience=8)})
        for name in ("whole", "first", "second")
    )
    torch.manual_seed(0)
    train(whole, never)
    torch.manual_seed(0)
    train(first, lambda: first.progress.iteration == 20)
    second.load_state_dict(checkpoint_of(first))
    train(second, never)
    assert second.experiment.watch.raised == whole.experiment.watch.raised
    assert torch.equal(weights_of(second), weights_of(whole))


def test_only_states_that_a_coming_alarm_may_need_are_kept(start):
    run = start(*ROLLBACK, symptoms={"sick": Constant("loss/d", points=5, spread=0.0, patience=0)})
    train(run, never)
    # An alarm that is raised at 44 may say that the loss has stood still since 36.
    assert [state["progress"]["iteration"] for state in run._rollback._moments] == [30, 36]


def test_the_best_checkpoint_has_the_weights_that_were_measured_even_if_an_alarm_rolled_them_back(start, checkpoint_of):
    run = start(
        *ROLLBACK,
        "evaluation.every=2",
        "evaluation.objective=sliced_wasserstein",
        symptoms={"sick": SickFrom(12, patience=0)},
    )
    train(run, lambda: run.progress.iteration == 12)
    assert len(run.experiment.watch.raised) == 1
    best = checkpoint_of(run, "best")
    run.experiment.players.generator.net.load_state_dict(best["players"]["generator"]["net"])
    value = run.experiment.evaluate()["metric/sliced_wasserstein_32"]
    assert best["best"]["found"] == {"value": value, "iteration": 12}


def test_an_alarm_stops_a_run_with_on_alarm_stop_and_says_how_to_resume(start):
    run = start("trainer.iterations=12", "evaluation=off", symptoms={"sick": SickFrom(7, patience=0)})
    run.experiment.watch.on_alarm = "stop"
    with pytest.raises(UserError) as refusal:
        train(run, never)
    assert run.progress.iteration == 8
    assert str(refusal.value) == (
        "health.on_alarm is stop, and an alarm was raised: sick: sick, since iteration 8.\n"
        "  The last checkpoint is of iteration 6. To train on all the same: health.on_alarm=warn."
    )


# ---- the way back to the start ----------------------------------------------------------------------------


def test_a_run_that_fails_before_its_first_interval_restarts_at_a_lower_rate(start, checkpoint_of):
    run = start(*ROLLBACK, "trainer.checkpoint_every=1000", "trainer.iterations=6", symptoms={})
    before, poisoned = weights_of(run), []

    def poisoned_once():
        if run.progress.iteration == 3 and not poisoned:
            poisoned.append(True)
            poison(run)
        elif run.progress.iteration == 4:
            assert torch.equal(weights_of(run), before)
        return False

    train(run, poisoned_once)
    assert run.progress.iteration == 6
    assert run.experiment.players.discriminator.rate == pytest.approx(1e-4)
    assert torch.isfinite(weights_of(run)).all()
    assert checkpoint_of(run)["rollback"]["count"] == 1


def test_a_run_that_is_resumed_with_rollbacks_can_return_to_the_state_where_it_resumed(start, checkpoint_of):
    first = start("trainer.iterations=4", folder="first")
    train(first, never)
    second = start(*ROLLBACK, "trainer.iterations=8", folder="second", symptoms={})
    second.load_state_dict(checkpoint_of(first))
    poisoned = []

    def poisoned_once():
        if second.progress.iteration == 5 and not poisoned:
            poisoned.append(True)
            poison(second)
        return False

    train(second, poisoned_once)
    assert second.progress.iteration == 8
    assert torch.isfinite(weights_of(second)).all()


def test_if_no_state_is_old_enough_the_run_ends_and_says_so(start, checkpoint_of):
    """The symptom is older than the checkpoint from which the run was resumed to roll back from now on."""
    sick = {"sick": SickFrom(2, patience=4)}
    first = start("trainer.iterations=4", "evaluation=off", folder="first", symptoms=sick)
    first.experiment.watch.on_alarm = "warn"
    train(first, never)
    second = start(*ROLLBACK, "evaluation=off", folder="second", symptoms=sick)
    second.load_state_dict(checkpoint_of(first))
    with pytest.raises(UserError) as refusal:
        train(second, never)
    assert (
        refusal.value.problem == "health.on_alarm is rollback, and an alarm was raised: sick: sick, since iteration 2."
    )
    assert refusal.value.remedy == (
        "There is no checkpoint from before iteration 2 to roll back to. The last checkpoint is of iteration 4. "
        "To train on all the same: health.on_alarm=warn."
    )
