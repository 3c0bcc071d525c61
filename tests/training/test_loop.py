"""Whole runs: log points, pictures, checkpoints and ends."""

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.record.journal import name_of_epoch
from gan_runner.training.loop import train


def never():
    return False


def weights_of(run):
    return torch.cat([p.detach().flatten() for p in run.experiment.players.generator.net.parameters()])


# ---- log points -------------------------------------------------------------------------------------------


def test_log_points_are_at_the_interval_and_at_the_end_of_every_epoch(start, points_of):
    run = start("trainer.log_every=4")
    train(run, never)
    assert [(line["iteration"], line["epoch"]) for line in points_of(run)] == [
        (4, 0.6667),
        (6, 1.0),
        (8, 1.3333),
        (12, 2.0),
        (16, 2.6667),
        (18, 3.0),
    ]


def test_logged_means_cover_every_iteration_once(start, points_of):
    often, rarely = start("trainer.log_every=1", folder="often"), None
    train(often, never)
    each = [line["loss/d"] for line in points_of(often)]
    rarely = start("trainer.log_every=6", folder="rarely")
    train(rarely, never)
    means = [line["loss/d"] for line in points_of(rarely)]
    assert means == pytest.approx([sum(each[i : i + 6]) / 6 for i in (0, 6, 12)], rel=1e-9)


def test_a_shorter_log_interval_does_not_change_what_is_trained(start):
    weights = []
    for overrides in (
        ["trainer.log_every=1", "evaluation.every=1"],
        ["trainer.log_every=100", "trainer.sample_every=100"],
    ):
        run = start(*overrides)
        train(run, never)
        weights.append(weights_of(run))
    assert torch.equal(*weights)


def test_nan_is_null_in_the_metrics(start, points_of):
    run = start("trainer.iterations=4", "trainer.log_every=4", "evaluation=off")
    run.experiment.players.discriminator.net.register_forward_hook(lambda _net, _given, logits: logits * torch.nan)
    with pytest.raises(UserError):
        train(run, never)
    (point,) = points_of(run)
    assert point["loss/d"] is point["loss/g"] is None
    assert point["health/not_finite"] == 1.0


def test_a_run_without_evaluation_measures_nothing_and_has_no_best(start, points_of, tmp_path):
    run = start("evaluation=off")
    train(run, never)
    run.journal.folder.finish_writing()
    assert not any(tag.startswith("metric/") for point in points_of(run) for tag in point)
    assert run.best.found is None
    assert run.best.metrics == {}
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["iteration_00000012.pt", "last.pt"]


# ---- pictures and checkpoints -----------------------------------------------------------------------------


def test_samples_have_the_same_latents_and_the_best_checkpoint_the_lowest_objective(
    start, points_of, checkpoint_of, tmp_path
):
    run = start()
    train(run, never)
    best = checkpoint_of(run, "best")
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == [f"iteration_{iteration:08d}.png" for iteration in (6, 12, 18)]
    objectives = {
        line["iteration"]: line["metric/frechet_cnn_32"] for line in points_of(run) if "metric/frechet_cnn_32" in line
    }
    assert list(objectives) == [6, 12, 18]
    assert best["progress"]["iteration"] == min(objectives, key=objectives.get) == run.best.found["iteration"]


def test_the_last_checkpoint_contains_the_best(start, checkpoint_of):
    """Or a resume would go on from before it, and take a worse one for the best."""
    run = start("trainer.iterations=12", "trainer.checkpoint_every=1000", "evaluation.every=1")
    train(run, lambda: run.progress.iteration == 11)  # a stop is the only other reason to save
    best, last = checkpoint_of(run, "best"), checkpoint_of(run, "last")
    assert best["best"] == last["best"]
    assert last["best"]["found"] == run.best.found
    assert best["progress"]["iteration"] == run.best.found["iteration"] <= last["progress"]["iteration"]


def test_the_best_is_reset_where_another_evaluation_measures(start, checkpoint_of):
    first = start("trainer.iterations=6")
    train(first, never)
    state = checkpoint_of(first)
    for overrides, kept in (([], True), (["evaluation.objective=diversity", "evaluation.goal=higher"], False)):
        second = start("trainer.iterations=12", *overrides)
        second.load_state_dict(state)
        assert (second.best.found == first.best.found) is kept


def test_the_summary_is_written_with_every_last_checkpoint(start):
    run = start(
        "trainer.iterations=12",
        "evaluation.every=1000",
        "trainer.intervals_in=iterations",
        "trainer.checkpoint_every=5",
    )
    saved = []
    run._on_checkpoint = lambda: saved.append(run.progress.iteration)
    train(run, never)
    assert saved == [0, 5, 8, 10, 12]  # at 8 the first evaluation, which is the best so far


def test_a_stop_before_the_first_iteration_leaves_a_checkpoint_to_resume_from(start, checkpoint_of):
    whole, run, resumed = (start("trainer.epochs=1", folder=name) for name in ("whole", "first", "second"))
    train(run, lambda: True)
    assert checkpoint_of(run)["progress"]["iteration"] == 0
    resumed.load_state_dict(checkpoint_of(run))
    for each in (resumed, whole):
        torch.manual_seed(0)
        train(each, never)
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_a_run_saves_between_intervals_if_the_last_checkpoint_is_too_old(start):
    run = start("trainer.iterations=5", "trainer.checkpoint_every=1000", "trainer.checkpoint_minutes=1e-9")
    saved = []
    run._on_checkpoint = lambda: saved.append(run.progress.iteration)
    train(run, never)
    assert saved == [0, 1, 3, 5]  # and not at log points, every second, which the next turn makes up for


ROUNDS = ["schedule=rounds", "schedule.check_every=2", "model.dropout=0.3", "trainer.ema=0.9"]
NORMED = [
    *("model=dcgan", "data.image_size=8", "model.generator.widths=[8,6,4]", "model.discriminator.widths=[4,6]"),
    "trainer.ema=0.3",  # so that the average is old enough to be watched from the fourth iteration on
]


@pytest.mark.parametrize(("kind", "stop"), [(ROUNDS, 5), (ROUNDS, 6), (NORMED, 7), (NORMED, 8)])
def test_a_run_resumes_from_a_checkpoint_bit_for_bit(start, checkpoint_of, points_of, kind, stop):
    overrides = ["trainer.epochs=2", *kind]
    whole, first, second = (start(*overrides, folder=name) for name in ("whole", "first", "second"))
    torch.manual_seed(3)
    train(whole, never)
    torch.manual_seed(3)
    train(first, lambda: first.progress.iteration == stop)
    torch.manual_seed(4)
    second.load_state_dict(checkpoint_of(first))
    train(second, never)
    assert torch.equal(weights_of(second), weights_of(whole))
    points = [[point for point in points_of(run) if point["iteration"] > stop] for run in (second, whole)]
    for point in (*points[0], *points[1]):
        del point["speed/images_per_second"]
    assert points[0] == points[1]
    assert second.best.found == whole.best.found
    drawing = [run.experiment.players.drawing_net.state_dict() for run in (second, whole)]
    assert all(torch.equal(value, drawing[1][name]) for name, value in drawing[0].items())


# ---- sickness ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_alarm", ["warn", "stop"])
def test_a_run_with_a_nan_loss_ends_with_an_alarm_and_keeps_the_last_good_checkpoint(start, checkpoint_of, on_alarm):
    run = start(f"health.on_alarm={on_alarm}", "trainer.checkpoint_every=1")
    poison = run.experiment.players.generator.net

    def poisoned_at_nine():
        if run.progress.iteration == 9:
            with torch.no_grad():
                next(poison.parameters()).fill_(torch.nan)
        return False

    with pytest.raises(UserError, match="not_finite: a loss is NaN or infinite, since iteration 10") as error:
        train(run, poisoned_at_nine)
    assert error.value.remedy == "The last checkpoint is of iteration 6."
    state = checkpoint_of(run)
    assert state["progress"]["iteration"] == 6
    assert all(torch.isfinite(value).all() for value in state["players"]["generator"]["net"].values())


def test_weights_that_are_nan_or_infinite_raise_an_alarm_and_are_not_saved(start, checkpoint_of):
    # The first update of G ruins its weights; the losses were measured before it, and are sound.
    run = start("optimizer.g.lr=1e38", "trainer.intervals_in=iterations", "health.on_alarm=stop")
    with pytest.raises(UserError, match="not_finite: G's weights have no finite norm, since iteration 1") as error:
        train(run, never)
    assert error.value.remedy == "The last checkpoint is of iteration 0."
    assert checkpoint_of(run)["progress"]["iteration"] == 0
    assert all(torch.isfinite(value).all() for value in checkpoint_of(run)["players"]["generator"]["net"].values())


# ---- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "caption"),
    [(1.0, "1"), (0.66667, "0.6667"), (12.3456, "12.35"), (999.96, "1000"), (12345.678, "12346")],
)
def test_an_epoch_is_written_without_exponent_however_late_it_is(epochs, caption):
    assert name_of_epoch(epochs) == f"epoch {caption}"


@pytest.mark.parametrize(("intervals_in", "captions"), [("epochs", {2: "epoch 0.3333"}), ("iterations", {})])
def test_the_timelines_captions_have_the_unit_of_the_intervals(start, monkeypatch, intervals_in, captions):
    run, seen = start("trainer.iterations=2", f"trainer.intervals_in={intervals_in}"), []
    train(run, never)
    monkeypatch.setattr(run.journal.folder, "write_timeline", lambda *arguments: seen.append(arguments))
    run.write_timeline()
    assert seen == [(captions, 2)]


# ---- a resume ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (["learning_rate=linear"], ["learning_rate=linear"], []),
        (["learning_rate=constant"], ["learning_rate=constant", "trainer.iterations=40"], []),
        (
            ["learning_rate=linear"],
            ["learning_rate=linear", "trainer.iterations=40"],
            [
                f"{player}'s learning rate goes from 1.4e-06 to 1.65e-06: its schedule (learning_rate) or the length "
                "of the run has changed."
                for player in "DG"
            ],
        ),
        (
            ["learning_rate=constant"],
            ["learning_rate=constant", "optimizer.g.lr=4e-6"],
            ["G's learning rate goes from 2e-06 to 4e-06: the configured rate (optimizer.g.lr) has changed."],
        ),
    ],
    ids=["nothing changed", "a length without a schedule", "a length", "a rate"],
)
def test_a_resume_reports_which_learning_rates_it_changes_and_why(start, checkpoint_of, monkeypatch, first, then, said):
    short = ["trainer.iterations=20", "optimizer.lr=2e-6", "evaluation=off"]
    run = start(*short, *first, folder="first")
    train(run, lambda: run.progress.iteration == 7)
    resumed = start(*short, *then, folder="then")
    resumed.load_state_dict(checkpoint_of(run))
    sentences = []
    monkeypatch.setattr(resumed.journal, "say", sentences.append)
    resumed.tell_changed_rates()
    assert sentences == said


def test_a_checkpoint_without_learning_rates_resumes_without_a_message_about_them(start, checkpoint_of, monkeypatch):
    run = start("trainer.iterations=3", "evaluation=off", folder="first")
    train(run, never)
    state = checkpoint_of(run)
    del state["rates"]
    resumed = start("optimizer.lr=0.1", "evaluation=off", folder="then")
    resumed.load_state_dict(state)
    monkeypatch.setattr(resumed.journal, "say", lambda sentence: pytest.fail(sentence))
    resumed.tell_changed_rates()
