"""Log points, alarms and rollbacks of a run."""

import contextlib
import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from gan_runner.config.build import build
from gan_runner.errors import UserError
from gan_runner.health.watch import Constant, Sighting, Watch
from gan_runner.record.atomic import replacing
from gan_runner.record.run_folder import RunDirectory
from gan_runner.training.run import Run, train

SMALL = [
    "data.limit=96",
    "trainer.batch_size=16",  # 6 iterations an epoch
    "trainer.epochs=3",
    "trainer.sample_every=1",
    "trainer.checkpoint_every=1",
    "trainer.log_every=2",
    "evaluation.num_images=32",
    "model.generator.widths=[16]",
    "model.discriminator.widths=[16]",
]


@pytest.fixture
def start(tmp_path, compose_config):
    """Starts a run in `tmp_path` with small networks; closes it when the test ends."""
    with contextlib.ExitStack() as stack:

        def begin(*overrides):
            experiment = build(compose_config(*SMALL, *overrides))
            directory = RunDirectory(tmp_path)
            stack.enter_context(contextlib.closing(directory))
            stack.enter_context(contextlib.closing(experiment.feed))
            events = stack.enter_context(experiment.dashboard.open(tmp_path, 1))
            return Run(experiment, directory, events, stack.enter_context(tqdm(disable=True)))

        yield begin


def watch_for(run, symptoms):
    """Roll a run back at these symptoms and no others."""
    settings = {"loss": "NonSaturating", "trainer.precision": "fp32"}
    run.experiment.watch = Watch("rollback", 0.5, 3, pictures=64, symptoms=symptoms, settings=settings)


def lines_of(run):
    return [json.loads(line) for line in (run.directory.path / "metrics.jsonl").read_text().splitlines()]


def never():
    return False


def test_log_points_fall_on_the_interval_and_on_the_end_of_every_epoch(start):
    run = start("trainer.log_every=4")
    train(run, never)
    assert [(line["iteration"], line["epoch"]) for line in lines_of(run)] == [
        (4, 0.6667),
        (6, 1.0),
        (8, 1.3333),
        (12, 2.0),
        (16, 2.6667),
        (18, 3.0),
    ]


def test_logged_means_cover_every_iteration_once(start, tmp_path):
    often, rarely = start("trainer.log_every=1"), None
    train(often, never)
    each = [line["loss/d"] for line in lines_of(often)]
    (tmp_path / "metrics.jsonl").unlink()
    rarely = start("trainer.log_every=6")
    train(rarely, never)
    means = [line["loss/d"] for line in lines_of(rarely)]
    assert means == pytest.approx([sum(each[i : i + 6]) / 6 for i in (0, 6, 12)], rel=1e-9)


def test_pictures_come_from_the_same_latents_and_the_best_checkpoint_from_the_lowest_objective(start, tmp_path):
    run = start()
    train(run, never)
    run.directory.finish_writing()
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == [f"iteration_{iteration:08d}.png" for iteration in (6, 12, 18)]
    objectives = {
        line["iteration"]: line["metric/sliced_wasserstein"]
        for line in lines_of(run)
        if "metric/sliced_wasserstein" in line
    }
    best = torch.load(tmp_path / "checkpoints/best.pt", weights_only=True)
    assert best["progress"]["iteration"] == min(objectives, key=objectives.get) == run.best["iteration"]


def test_looking_more_often_changes_nothing_of_what_is_trained(start, tmp_path):
    weights = []
    for overrides in (
        ["trainer.log_every=1", "evaluation.every=1"],
        ["trainer.log_every=100", "trainer.sample_every=100"],
    ):
        run = start(*overrides)
        train(run, never)
        weights.append(torch.cat([p.detach().flatten() for p in run.experiment.generator.net.parameters()]))
    assert torch.equal(*weights)


def test_a_sick_run_stops_with_its_alarm_and_keeps_the_last_good_checkpoint(start, tmp_path):
    run = start("health.on_alarm=stop", "trainer.checkpoint_every=1")
    poison = run.experiment.generator.net

    def poisoned_at_nine():
        if run.progress.iteration == 9:
            with torch.no_grad():
                next(poison.parameters()).fill_(torch.nan)
        return False

    with pytest.raises(UserError, match="not_finite: a loss is no finite number, since iteration 10") as error:
        train(run, poisoned_at_nine)
    assert error.value.remedy.startswith("The last checkpoint is of iteration 6. ")
    run.directory.finish_writing()
    state = torch.load(tmp_path / "checkpoints/last.pt", weights_only=True)
    assert state["progress"]["iteration"] == 6
    assert all(torch.isfinite(value).all() for value in state["generator"]["net"].values())


def test_weights_that_are_no_finite_numbers_are_an_alarm_and_are_not_saved(start, tmp_path):
    # The first update of G ruins its weights; the losses were measured before it, and are sound.
    run = start("optimizer.g.lr=1e38", "trainer.intervals_in=iterations", "health.on_alarm=rollback")
    with pytest.raises(UserError, match="not_finite: G's weights have no finite norm, since iteration 1") as error:
        train(run, never)
    assert error.value.remedy.startswith(
        "There is no checkpoint from before iteration 1 to roll back to. No checkpoint has been saved. "
    )
    run.directory.finish_writing()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("schedule", ["alternating", "rounds"])
def test_a_rollback_takes_weights_back_slows_down_and_goes_on(start, tmp_path, schedule):
    run = start("health.on_alarm=rollback", f"schedule={schedule}", "trainer.iterations=40", "trainer.epochs=1")
    watch_for(run, {})
    poisoned = []

    def poisoned_once():
        if run.progress.iteration == 21 and not poisoned:
            run.directory.finish_writing()
            poisoned.append(True)
            with torch.no_grad():
                next(run.experiment.generator.net.parameters()).fill_(torch.nan)
        return False

    train(run, poisoned_once)
    assert run.progress.iteration == 40
    assert [alarm.since for alarm in run.experiment.watch.raised] == [22]
    assert run.experiment.generator.rate == pytest.approx(1e-4)
    assert all(torch.isfinite(p).all() for p in run.experiment.generator.net.parameters())

    resumed = start("health.on_alarm=rollback", f"schedule={schedule}", "trainer.iterations=40")
    run.directory.finish_writing()
    resumed.load_state_dict(resumed.directory.load_checkpoint("last", resumed.experiment.device))
    assert resumed.experiment.generator.rate == pytest.approx(1e-4)


def test_rollbacks_end_after_as_many_as_are_allowed(start):
    run = start("health.on_alarm=rollback", "health.max_rollbacks=2")

    def poisoned_from_seven():
        if run.progress.iteration >= 7:
            with torch.no_grad():
                next(run.experiment.generator.net.parameters()).fill_(torch.nan)
        return False

    with pytest.raises(UserError, match=r"health\.on_alarm is rollback, and an alarm was raised: not_finite") as error:
        train(run, poisoned_from_seven)
    assert len(run.experiment.watch.raised) == 3
    assert error.value.remedy.startswith("health.max_rollbacks is 2, and 2 were made. The last checkpoint is ")


class SickFrom:
    """A symptom that is there from an iteration on, whatever is measured."""

    tags = ("health/diversity",)
    helps = ()

    def __init__(self, first, patience):
        self._first = first
        self.patience = patience

    def seen_in(self, point, iteration):
        return Sighting("sick", iteration) if iteration >= self._first else None


ROLLBACK = ("health.on_alarm=rollback", "trainer.epochs=6")


def test_a_rollback_goes_back_to_before_its_symptom_began_and_each_halves_the_rates(start, caplog):
    caplog.set_level("WARNING")
    run = start(*ROLLBACK)
    watch_for(run, {"sick": SickFrom(14, patience=8)})
    rates = []

    def note_rates():
        rates.append((run.progress.iteration, run.experiment.generator.rate, run.experiment.discriminator.rate))
        return False

    train(run, note_rates)  # with a checkpoint every 6 iterations
    assert [record.message for record in caplog.records if "Rolled" in record.message] == [
        "Rolled back to iteration 12. The learning rates are 0.5 times the configured ones.",
        "Rolled back to iteration 12. The learning rates are 0.25 times the configured ones.",
    ]
    assert [alarm.iteration for alarm in run.experiment.watch.raised] == [22, 32]
    assert rates[-1] == (35, pytest.approx(5e-5), pytest.approx(5e-5))


def test_a_run_that_was_stopped_while_sick_still_goes_back_to_before(start, tmp_path):
    def weights_of(run):
        return torch.cat([p.detach().flatten() for p in run.experiment.generator.net.parameters()])

    whole, first, second = (start(*ROLLBACK) for _ in range(3))
    for run in (whole, first, second):
        watch_for(run, {"sick": SickFrom(14, patience=8)})
    torch.manual_seed(0)
    train(whole, never)
    whole.directory.finish_writing()  # for all three write to one folder
    torch.manual_seed(0)
    train(first, lambda: first.progress.iteration == 20)
    first.directory.finish_writing()
    second.load_state_dict(first.directory.load_checkpoint("last", first.experiment.device))
    train(second, never)
    assert second.experiment.watch.raised == whole.experiment.watch.raised
    assert torch.equal(weights_of(second), weights_of(whole))


def test_no_more_is_kept_to_go_back_to_than_a_coming_alarm_may_ask_for(start):
    run = start(*ROLLBACK)
    watch_for(run, {"sick": Constant("loss/d", points=5, spread=0.0, patience=0)})
    train(run, never)
    # An alarm that is raised at 44 may say that the loss has stood still since 36.
    assert [state["progress"]["iteration"] for state in run._moments] == [30, 36]


def test_the_best_checkpoint_has_the_weights_that_were_measured_though_their_alarm_rolled_them_back(start, tmp_path):
    run = start(*ROLLBACK, "evaluation.every=2")
    watch_for(run, {"sick": SickFrom(12, patience=0)})
    train(run, lambda: run.progress.iteration == 12)
    assert len(run.experiment.watch.raised) == 1
    run.directory.finish_writing()
    best = torch.load(tmp_path / "checkpoints/best.pt", weights_only=True)
    run.experiment.generator.net.load_state_dict(best["generator"]["net"])
    assert best["best"] == {"value": run._evaluate()["metric/sliced_wasserstein"], "iteration": 12}


# ---- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "shown"), [(1.0, "1"), (0.66667, "0.6667"), (12.3456, "12.35"), (999.96, "1000"), (12345.678, "12346")]
)
def test_an_epoch_is_written_plainly_however_late_it_is(start, epochs, shown):
    run = start()
    run.directory.append_metrics({"iteration": 7, "epoch": epochs})
    assert run.captions() == {7: f"epoch {shown}"}


def test_the_last_checkpoint_knows_of_the_best(start):
    """Or a resume would go on from before it, and take a worse one for the best."""
    run = start("trainer.iterations=12", "trainer.checkpoint_every=1000", "evaluation.every=1")
    train(run, lambda: run.progress.iteration == 11)  # a stop is the only other reason to save
    run.directory.finish_writing()
    best, last = (run.directory.load_checkpoint(name, run.experiment.device) for name in ("best", "last"))
    assert best["best"] == last["best"] == run.best
    assert best["progress"]["iteration"] == run.best["iteration"] <= last["progress"]["iteration"]


def test_the_best_begins_anew_where_another_evaluation_measures(start):
    first = start("trainer.iterations=6")
    train(first, never)
    first.directory.finish_writing()
    state = first.directory.load_checkpoint("last", first.experiment.device)
    for overrides, kept in (([], True), (["evaluation.objective=diversity", "evaluation.goal=higher"], False)):
        second = start("trainer.iterations=12", *overrides)
        second.load_state_dict(state)
        assert (second.best == first.best) is kept


def test_the_summary_is_due_with_every_last_checkpoint(start):
    run = start(
        "trainer.iterations=12",
        "evaluation.every=1000",
        "trainer.intervals_in=iterations",
        "trainer.checkpoint_every=5",
    )
    saved = []
    run._on_checkpoint = lambda: saved.append(run.progress.iteration)
    train(run, never)
    assert saved == [5, 10, 12]


def test_the_timeline_ends_with_the_run_whatever_a_killed_start_had_drawn_beyond(tmp_path):
    with contextlib.closing(RunDirectory(tmp_path)) as directory:
        for iteration, level in ((1, 0), (2, 100), (9, 255)):
            directory.save_samples(np.full((4, 8, 8, 1), level, np.uint8), 2, iteration)
        directory.write_timeline({}, until=2)
    with Image.open(tmp_path / "samples/timeline.gif") as animated:
        assert animated.n_frames == 2
    assert (tmp_path / "samples/iteration_00000009.png").exists()


def test_a_slow_disk_is_waited_for_before_memory_fills_with_what_is_to_be_written(tmp_path):
    begun, gate = [], threading.Event()
    with contextlib.closing(RunDirectory(tmp_path)) as directory:

        def work():
            begun.append(1)
            gate.wait()

        def submit():
            for _ in range(50):
                directory.in_background(work)

        submitting = threading.Thread(target=submit)
        submitting.start()
        submitting.join(timeout=0.5)
        assert submitting.is_alive()
        assert len(directory._pending) <= 4
        gate.set()
        submitting.join()
    assert len(begun) == 50


def test_a_file_that_cannot_be_written_is_told_by_its_path(tmp_path):
    with (
        pytest.raises(UserError, match=r"nowhere/last\.pt cannot be written: No such file or directory\."),
        replacing(tmp_path / "nowhere/last.pt") as temporary,
    ):
        temporary.write_bytes(b"")
