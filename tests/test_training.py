"""Log points, alarms and rollbacks of a run."""

import contextlib
import json

import pytest
import torch
from tqdm import tqdm

from gan_runner.build import build
from gan_runner.errors import UserError
from gan_runner.run_directory import RunDirectory
from gan_runner.training import Run, train

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

    with pytest.raises(UserError, match="not_finite: a loss is no finite number, since iteration 10"):
        train(run, poisoned_at_nine)
    run.directory.finish_writing()
    state = torch.load(tmp_path / "checkpoints/last.pt", weights_only=True)
    assert state["progress"]["iteration"] == 6
    assert all(torch.isfinite(value).all() for value in state["generator"]["net"].values())


@pytest.mark.parametrize("schedule", ["alternating", "rounds"])
def test_a_rollback_takes_weights_back_slows_down_and_goes_on(start, tmp_path, schedule):
    run = start("health.on_alarm=rollback", f"schedule={schedule}", "trainer.iterations=40", "trainer.epochs=1")
    run.experiment.watch._symptoms = {}
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

    with pytest.raises(UserError, match=r"health\.on_alarm is rollback, and an alarm was raised: not_finite"):
        train(run, poisoned_from_seven)
    assert len(run.experiment.watch.raised) == 3
