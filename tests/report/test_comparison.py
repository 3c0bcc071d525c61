"""Runs are compared only where they can be, and a row is everything but the seed."""

import math

import pytest
import yaml

from gan_runner.report.comparison import Comparable, SeedGroup, Statistics, comparable_sets, differing_keys
from gan_runner.report.runs import RunRecord, read_run, runs_of_sweep
from gan_runner.report.tables import as_text
from tests.report.made_up import make_run, make_sweep


def sets_of(folder) -> list[Comparable]:
    return comparable_sets(runs_of_sweep(folder)[0])


def changed(folder, **sections):
    """Change a run's config: section -> what differs in it; None empties it."""
    path = folder / ".hydra/config.yaml"
    config = yaml.safe_load(path.read_text())
    for section, changes in sections.items():
        config[section] = config[section] | changes if changes is not None else {}
    path.write_text(yaml.safe_dump(config))
    return folder


def test_mean_and_spread_are_those_of_a_sample():
    assert Statistics.of([2.0, 4.0, None, 9.0]) == Statistics(5.0, math.sqrt(13), 3)
    assert Statistics.of([2.0]) == Statistics(2.0, None, 1)
    assert Statistics.of([None]) == Statistics(None, None, 0)


def test_a_row_combines_runs_that_differ_only_in_the_seed_and_the_best_row_comes_first(tmp_path):
    (one,) = sets_of(make_sweep(tmp_path, pictures=1))
    assert one.keys == ["optimizer.lr", "model.dropout"]
    assert [group.values for group in one.groups[:2]] == [(4e-4, 0.1), (4e-4, 0.3)]
    assert [len(group.runs) for group in one.groups] == [2] * 6
    means = [group.best.mean for group in one.groups]
    assert means == sorted(means)
    assert one.title == "digits (1,797 images, 01234567): distance, lower is better"
    assert one.notes == []


def test_the_highest_comes_first_where_higher_is_better(tmp_path):
    make_sweep(tmp_path, seeds=(1,), pictures=1, told={"goal": "higher"})
    (one,) = sets_of(tmp_path)
    means = [group.best.mean for group in one.groups]
    assert means == sorted(means, reverse=True)


def test_values_that_follow_from_another_key_are_not_a_difference(tmp_path):
    runs = [read_run(make_run(tmp_path / name, dropout=dropout), name) for name, dropout in (("a", 0.1), ("b", 0.5))]
    assert differing_keys(runs) == ["model.dropout"]


def test_an_option_of_a_group_is_a_key_also_for_runs_that_left_the_default(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    other = make_run(tmp_path / "b", pictures=1, overrides=("model=dcgan",))
    (other / ".hydra/hydra.yaml").write_text("hydra: {runtime: {choices: {model: dcgan}}}")
    (one,) = sets_of(tmp_path)
    assert one.keys == ["model"]
    assert {group.values for group in one.groups} == {("mlp",), ("dcgan",)}


def test_a_difference_that_was_not_typed_is_found_in_the_configs(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    other = changed(make_run(tmp_path / "b", pictures=1), model={"width": 3}, data={"root": "elsewhere"})
    with (other / ".hydra/config.yaml").open("a") as file:
        file.write("resume: somewhere\ntrust: [mine]\n")
    (one,) = sets_of(tmp_path)
    assert one.keys == ["model.width"]


def test_a_number_typed_in_two_ways_is_one_value(tmp_path):
    for name, typed in (("a", "1e-4"), ("b", "0.0001")):
        run = make_run(tmp_path / name, pictures=1, lr=1e-4, seed=ord(name))
        (run / ".hydra/overrides.yaml").write_text(yaml.safe_dump([f"optimizer.lr={typed}"]))
        (run / ".hydra/config.yaml").unlink()
    (one,) = sets_of(tmp_path)
    assert len(one.groups) == 1


OTHERS = {
    "of other images": {"told": {"data": {"name": "mnist", "fingerprint": "fedcba9876543210", "count": 60000}}},
    "with another goal": {"told": {"goal": "higher"}},
    "with another objective": {"told": {"objective_name": "metric/diversity"}},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_runs_that_cannot_be_compared_are_separated(tmp_path, other):
    make_sweep(tmp_path / "some", pictures=1, lrs=(1e-4,))
    make_run(tmp_path / "other", pictures=1, **other)
    assert [len(one.runs) for one in sets_of(tmp_path)] == [4, 1]


def test_runs_that_were_measured_differently_are_separated_and_the_difference_is_named(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    changed(make_run(tmp_path / "b", pictures=1), evaluation={"num_images": 10_000, "every": 5})
    changed(make_run(tmp_path / "c", pictures=1), evaluation={"every": 5})
    make_run(tmp_path / "d/off", pictures=1, points=0, told={"metrics": {}, "best": None, "objective": None})
    changed(tmp_path / "d/off", evaluation=None)
    first, second, third = sets_of(tmp_path)
    assert first.keys == ["evaluation.every"]
    assert third.measured == ""
    assert (first.measured, second.measured) == ("evaluation.num_images=1000", "evaluation.num_images=10000")
    assert [run.name for run in first.runs] == ["a", "c"]


def test_runs_with_different_extractors_are_separated_by_them(tmp_path):
    for name in "ab":
        make_run(tmp_path / name, pictures=1, told={"evaluation": {"metric": f"classes-{name}"}})
    assert {one.measured for one in sets_of(tmp_path)} == {
        "metric fingerprint=classes-a",
        "metric fingerprint=classes-b",
    }


def test_an_evaluation_at_the_end_of_a_run_does_not_change_the_objective(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    closely = {"at_end": {"num": 10_000, "metrics": {"neighbours": 5}}, "stop_after": 5}
    changed(make_run(tmp_path / "b", pictures=1), evaluation=closely)
    (one,) = sets_of(tmp_path)
    assert [run.name for run in one.runs] == ["a", "b"]


def test_a_run_that_failed_immediately_is_grouped_by_its_settings(tmp_path):
    nothing = {"data": None, "best": None, "metrics": {}, "objective": None, "error": "Too little memory."}
    make_sweep(tmp_path / "some", pictures=1, lrs=(1e-4,))
    images = {"name": "digits", "fingerprint": "ffff", "count": 9}
    for name, told in (("other", {"data": images}), ("failed", nothing)):
        changed(make_run(tmp_path / name, points=0, pictures=1, told=told), data={"limit": 9})
    first, second = sets_of(tmp_path)
    assert len(first.runs) == 4
    assert {run.name for run in second.runs} == {"other", "failed"}


def test_a_run_that_left_only_its_name_joins_the_largest_set(tmp_path):
    make_sweep(tmp_path / "some", pictures=1, lrs=(1e-4,))
    for name in ("bare", "bare too"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    (one,) = sets_of(tmp_path)
    assert len(one.runs) == 6
    assert one.groups[-1].runs[0].name == "bare"
    assert one.keys == ["model.dropout"]
    assert one.notes == []


def test_runs_with_unknown_settings_have_a_separate_row(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    (tmp_path / "bare/.hydra").mkdir(parents=True)
    (one,) = sets_of(tmp_path)
    assert one.keys == []
    assert [len(group.runs) for group in one.groups] == [1, 1]


def a_run(status, best, seed=1, **more):
    return RunRecord("a", status=status, best=best, seed=seed, **more)


def test_finished_runs_are_averaged_or_all_runs_if_none_has_finished(tmp_path):
    mixed = SeedGroup((), [a_run("finished", 1.0), a_run("failed", 9.0), a_run("running", 5.0)])
    assert (mixed.best, mixed.unfinished) == (Statistics(1.0, None, 1), False)
    going = SeedGroup((), [a_run("failed", 9.0), a_run("running", 5.0)])
    assert (going.best.mean, going.unfinished) == (7.0, True)
    assert mixed.states == {"failed": 1, "finished": 1, "running": 1}


SURVIVORS = {
    "of three seeds one failed": (["finished", "finished", "failed"], [1, 2, 3], 1),
    "two were pruned": (["finished", "pruned", "pruned"], [1, 2, 3], 2),
    "all failed": (["failed", "failed"], [1, 2], 2),
    "one still runs": (["finished", "running"], [1, 2], 0),
    "a seed failed, and finished when it was run again": (["failed", "finished"], [1, 1], 0),
    "a seed that is not known failed": (["failed", "finished"], [None, None], 1),
}


@pytest.mark.parametrize(("states", "seeds", "lost"), SURVIVORS.values(), ids=SURVIVORS)
def test_a_row_counts_the_runs_that_failed_or_were_pruned(states, seeds, lost):
    assert SeedGroup((), [a_run(state, 1.0, seed) for state, seed in zip(states, seeds, strict=True)]).lost == lost


@pytest.mark.parametrize("goal", ["lower", "higher"])
@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_row_is_never_ranked_only_by_the_runs_that_did_not_fail(tmp_path, goal, status):
    for lr, better in ((1e-4, 0.0), (4e-4, 1.0), (2e-3, 2.0)):
        value = better if goal == "higher" else -better
        for seed in (1, 2, 3):
            bad = lr == 2e-3 and seed == 3  # the best row by its first two seeds
            told = {"goal": goal, "best": {"value": value, "iteration": 60}}
            state = status if bad else "finished"
            make_run(tmp_path / f"{lr},{seed}", pictures=1, lr=lr, seed=seed, status=state, told=told)
    (one,) = sets_of(tmp_path)
    assert [group.values for group in one.groups] == [(4e-4,), (1e-4,), (2e-3,)]
    assert one.groups[-1].best == Statistics(2.0 if goal == "higher" else -2.0, 0.0, 2)
    assert "are below all others (1 of 3)" in one.notes[0]
    assert [line.split()[:4] for line in as_text(one, 9, 200).splitlines()[-1:]] == [["0.002", "2", "of", "3"]]


OFTEN = {
    "as another setting says": ({}, {"trainer": {"sample_every": 10}}, {"trainer": {"sample_every": 2}}, True),
    "by a number of its own": ({"evaluation": {"every": 5}}, {}, {}, True),
    "in epochs or iterations": ({}, {"trainer": {"intervals_in": "iterations"}}, {}, True),
    "the same in two ways": ({"evaluation": {"every": 10}}, {"trainer": {"sample_every": 10}}, {}, False),
}


@pytest.mark.parametrize(("first", "second", "third", "differ"), OFTEN.values(), ids=OFTEN)
def test_a_best_of_more_evaluations_than_another_is_reported(tmp_path, first, second, third, differ):
    for name, changes in zip("abc", (first, second, third), strict=True):
        run = changed(make_run(tmp_path / name, pictures=1), trainer={"sample_every": 10, "intervals_in": "epochs"})
        config = yaml.safe_load((run / ".hydra/config.yaml").read_text())
        changed(run, **{section: config[section] | values for section, values in changes.items()})
    (one,) = sets_of(tmp_path)
    said = [note for note in one.notes if "evaluated equally often (evaluation.every)" in note]
    assert len(said) == differ
    assert ("evaluation.every" in one.keys) == ("evaluation" in first)


def test_one_command_repeats_a_row_with_all_its_seeds():
    runs = [a_run("finished", 1.0, seed, typed=["model=dcgan", f"seed={seed}"]) for seed in (2, 5)]
    assert SeedGroup((), runs).command == "gan-run -m model=dcgan seed=2,5"
    assert SeedGroup((), runs[:1]).command == ""
    assert SeedGroup((), [*runs, a_run("waiting", None, None)]).command == ""


def test_unfair_comparisons_are_reported(tmp_path):
    make_run(tmp_path / "a", pictures=1)
    told = {"device": "cuda", "versions": {"torch": "2.9.0", "gan-runner": "0.1.0"}}
    make_run(tmp_path / "b", pictures=1, told=told | {"gpu": "fast", "git": {"commit": "b" * 40}})
    make_run(tmp_path / "c", pictures=1, seed=2, told={"cpu": "slow", "git": {"commit": "c" * 40}})
    (one,) = sets_of(tmp_path)
    devices, processors, versions, commits, twice = one.notes
    assert "cpu, cuda" in devices
    assert "fast, slow" in processors
    assert "bbbbbbbbbb, cccccccccc" in commits
    assert "torch: 2.14.1, 2.9.0" in versions
    assert twice.startswith("In 1 of the rows a seed comes more than once.")
