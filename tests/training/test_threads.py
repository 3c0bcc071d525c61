"""How many threads a run takes, and what it says where others slow it down: decided on made-up measurements."""

import logging

import pytest
import torch

from gan_runner.machine.load import Load
from gan_runner.training import threads as module
from gan_runner.training.distributed import ALONE, World
from gan_runner.training.loop import train
from gan_runner.training.threads import PaceWatch, Window, choose_threads, free_threads, how_it_stands

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Two(World):
    """Two processes that train together, as far as threads are concerned."""

    size = 2


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def machine(monkeypatch):
    """Makes this machine one of so many cores, of which others take some."""

    def make(cores, taken, by_itself=None, **environment):
        monkeypatch.setattr(module, "cores", lambda: cores)
        monkeypatch.setattr(module, "default_threads", lambda: by_itself or cores)
        monkeypatch.setattr(module.METER, "look", lambda: None if taken is None else Load(cores, taken))
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return make


# ---- at the start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "all_cores", "load", "free"),
    [
        (2, 2, Load(2, 0.0), 2),
        (2, 2, Load(2, 0.25), 2),  # a mail program now and then
        (2, 2, Load(2, 0.5), 1),  # one that shares a core with a thread of this run
        (2, 2, Load(2, 1.0), 1),
        (2, 2, Load(2, 2.0), 1),  # at least one
        (2, 2, None, 2),
        (1, 2, Load(2, 0.0), 1),
        (8, 8, Load(8, 1.0), 7),
        (8, 8, Load(8, 3.1), 5),
        (64, 64, Load(64, 3.0), 61),
        (2, 2, Load(64, 30.0), 2),  # a quota of 2 cores on a machine that has more left
        (2, 2, Load(64, 63.5), 1),
        (4, 8, Load(8, 0.0), 4),  # 4 physical cores that look like 8
        (4, 8, Load(8, 4.0), 2),
    ],
)
def test_the_number_of_free_threads_is_that_of_cores_without_other_load(most, all_cores, load, free):
    assert free_threads(most, load, all_cores) == free


def about(threads, processes=1):
    return {"threads": threads, "processes": processes}


@pytest.mark.parametrize(
    ("setting", "before", "world", "device", "environment", "taken", "threads"),
    [
        ("auto", None, ALONE, CPU, {}, 0.0, 4),
        ("auto", None, ALONE, CPU, {}, 1.0, 3),
        ("auto", None, ALONE, CPU, {}, None, 4),
        ("auto", None, ALONE, CPU, {"OMP_NUM_THREADS": "4"}, 1.0, 4),
        ("auto", None, ALONE, CPU, {"MKL_NUM_THREADS": "4"}, 1.0, 4),
        ("auto", None, ALONE, GPU, {}, 1.0, 4),
        ("auto", None, Two(), CPU, {}, 1.0, 4),
        ("auto", about(2), ALONE, CPU, {}, 0.0, 2),
        ("auto", about(4), ALONE, CPU, {}, 3.0, 4),
        ("auto", about(2), ALONE, CPU, {"OMP_NUM_THREADS": "4"}, 0.0, 2),
        ("auto", about(8), ALONE, CPU, {}, 0.0, 4),
        ("auto", about(2, processes=2), ALONE, CPU, {}, 3.0, 4),
        ("auto", about(2, processes=2), Two(), CPU, {}, 0.0, 2),
        (2, None, ALONE, CPU, {}, 0.0, 2),
        (4, None, ALONE, CPU, {}, 3.0, 4),
        (2, None, ALONE, CPU, {"OMP_NUM_THREADS": "4"}, 0.0, 2),
        (2, None, Two(), CPU, {}, 0.0, 2),
        (2, None, ALONE, GPU, {}, 0.0, 2),
        (3, about(2), ALONE, CPU, {}, 0.0, 3),
    ],
)
def test_the_number_of_threads_is_the_typed_one_or_the_checkpoints_or_the_environments_or_the_free_one(
    machine, setting, before, world, device, environment, taken, threads
):
    machine(4, taken, **environment)
    choose_threads(setting, device, before, world)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("setting", "before", "taken", "said"),
    [
        ("auto", None, 0.0, []),
        (
            "auto",
            None,
            1.04,
            ["Other processes take 1.0 of 2 cores: computing on 1 thread. To insist on more: trainer.threads=2."],
        ),
        ("auto", about(2), 0.0, []),
        ("auto", about(1), 0.0, ["Computing on 1 thread, as this run did before."]),
        ("auto", about(3), 0.0, ["This run computed on 3 threads, and there are 2 here: its last bits may differ."]),
        (2, about(1), 0.0, ["This run was computed on 1 thread, and is resumed with 2: its last bits may differ."]),
        (2, about(2), 0.0, []),
        (1, None, 0.0, []),
    ],
)
def test_a_changed_number_of_threads_is_reported(machine, caplog, setting, before, taken, said):
    machine(2, taken)
    with caplog.at_level(logging.INFO):
        choose_threads(setting, CPU, before)
    assert [record.getMessage() for record in caplog.records] == said


def test_a_resumed_run_uses_the_checkpoints_threads_and_equals_an_uninterrupted_one_bit_for_bit(
    start, checkpoint_of, same_bits, machine
):
    machine(2, taken=1.0)
    choose_threads(2, CPU, None)
    wide = ["model.generator.widths=[256]", "evaluation=off", "trainer.iterations=4", "trainer.checkpoint_every=1000"]
    whole = start(*wide, folder="whole")
    train(whole, lambda: False)
    part = start(*wide, folder="part")
    train(part, lambda: part.progress.iteration == 2)
    state = checkpoint_of(part)
    assert state["about"]["threads"] == 2
    torch.set_num_threads(1)
    choose_threads("auto", CPU, state["about"])
    rest = start(*wide, folder="rest")
    rest.load_state_dict(state)
    assert torch.get_num_threads() == 2
    assert rest.threads.changes == [{"iteration": 0, "threads": 2}]
    train(rest, lambda: False)
    one, other = (run.experiment.players.generator.net.state_dict() for run in (whole, rest))
    assert same_bits(one, other)


# ---- later ------------------------------------------------------------------------------------------------

IDLE, BUSY, FULL = Load(2, 0.0), Load(2, 0.6), Load(2, 1.5)
QUICK, SLOW = 0.1, 0.5  # seconds of a turn


class Played:
    """A run of made-up turns, which tells when its watch had something to say."""

    def __init__(self, threads=2, most=2, cores=2):
        self.load = IDLE
        self.watch = PaceWatch(threads, most, cores, lambda: self.load)
        self.minutes = 0.0
        self.said = []

    def play(self, minutes, seconds, load=IDLE):
        """Turns that take so long, beside such a load."""
        self.load = load
        for _ in range(round(60 * minutes / seconds)):
            self.minutes += seconds / 60
            if self.watch.add(seconds, 2):
                self.said.append((round(self.minutes), self.watch.slowed is not None))
        return self


@pytest.mark.parametrize(
    "phases",
    [
        [(3, QUICK, IDLE)],
        [(1, QUICK, IDLE), (3, SLOW, IDLE)],  # a game, or a penalty, that becomes slow by itself
        [(1, QUICK, Load(2, 0.2)), (3, SLOW, Load(2, 0.2))],
        [(1, QUICK, IDLE), (3, 1.2 * QUICK, BUSY)],  # others that this run hardly feels
        [(3, SLOW, BUSY)],  # it has never been quicker
        [(0.3, SLOW, BUSY), (3, QUICK, IDLE)],  # a slow start, as of a dcgan
        [(1, QUICK, IDLE), (0.3, SLOW, BUSY)] * 4,  # others for some seconds
        [(1, QUICK, IDLE), (60, 3600, BUSY), (1, QUICK, IDLE)],  # a laptop that slept, a process that was stopped
        [(1, QUICK, None), (3, SLOW, None)],  # a system that does not say what others take
    ],
)
def test_a_run_that_is_slow_by_itself_or_briefly_gives_no_message(phases):
    run = Played()
    for phase in phases:
        run.play(*phase)
    assert run.said == []


def test_a_slowdown_by_other_processes_is_reported_once_and_so_is_its_end():
    run = Played().play(2, QUICK).play(10, SLOW, BUSY)
    assert run.said == [(3, True)]
    assert run.watch.slowed.times == pytest.approx(5)
    run.play(10, QUICK)
    assert run.said == [(3, True), (12, False)]
    run.play(2, SLOW, BUSY)
    assert [slowed for _, slowed in run.said] == [True, False, True]


def test_speed_is_measured_by_updates_however_many_a_turn_has():
    run = Played()
    run.play(2, QUICK)
    run.load = BUSY
    assert not any(run.watch.add(5 * QUICK, 10) for _ in range(500))


@pytest.mark.parametrize(
    ("threads", "phases", "better"),
    [
        (2, [(2, QUICK, IDLE)], 2),
        (2, [(2, QUICK, IDLE), (2, SLOW, BUSY)], 1),
        (2, [(2, QUICK, IDLE), (2, QUICK, BUSY)], 2),  # not slower than before: nothing to gain
        (2, [(2, QUICK, IDLE), (0.3, SLOW, BUSY)], 2),
        (1, [(2, QUICK, IDLE)], 2),  # the others have ended
        (1, [(2, QUICK, BUSY)], 1),
        (1, [(2, QUICK, IDLE), (2, SLOW, FULL)], 1),
    ],
)
def test_another_number_of_threads_is_chosen_once_other_load_has_lasted_or_gone_long_enough(threads, phases, better):
    run = Played(threads)
    for phase in phases:
        run.play(*phase)
    assert run.watch.better == better


@pytest.mark.parametrize(
    ("slowed", "threads", "may_change", "said"),
    [
        (
            Window(pace=0.3, times=4.42, load=Load(2, 0.62), free=1, crowded=True),
            2,
            False,
            "Other processes take 0.6 of 2 cores: an iteration takes 4.4 times as long as before. It would go faster "
            "resumed with trainer.threads=1, or with trainer.adapt_threads=true.",
        ),
        (
            Window(pace=0.3, times=4.42, load=Load(2, 0.62), free=1, crowded=True),
            2,
            True,
            "Other processes take 0.6 of 2 cores: an iteration takes 4.4 times as long as before. From the next "
            "checkpoint on, 1 thread will compute.",
        ),
        (
            Window(pace=0.3, times=2.0, load=Load(2, 1.5), free=1, crowded=True),
            1,
            True,
            "Other processes take 1.5 of 2 cores: an iteration takes 2.0 times as long as before. Ending them would "
            "help.",
        ),
        (None, 2, False, "Other processes no longer slow this run down."),
    ],
)
def test_the_message_says_how_much_slower_it_is_and_what_would_help(slowed, threads, may_change, said):
    assert how_it_stands(slowed, threads, may_change) == said


@pytest.mark.parametrize("allowed", [False, True])
def test_the_number_of_threads_changes_only_at_a_checkpoint_and_if_allowed_and_is_recorded(
    start, checkpoint_of, machine, monkeypatch, allowed
):
    machine(2, taken=0.0)
    monkeypatch.setattr(module.PaceWatch, "better", 2)
    run = start("evaluation=off", f"trainer.adapt_threads={allowed}", "trainer.iterations=12")
    run.saved = 0  # so that the first checkpoint is that after an epoch
    train(run, lambda: False)
    changes = [{"iteration": 0, "threads": 1}, *[{"iteration": 6, "threads": 2}] * allowed]
    assert run.threads.changes == changes
    assert torch.get_num_threads() == run.threads.number == changes[-1]["threads"]
    checkpoint = checkpoint_of(run)["about"]
    assert (checkpoint["threads"], checkpoint["thread_changes"]) == (changes[-1]["threads"], changes)


def test_a_number_typed_at_a_resume_is_recorded_even_if_the_checkpoint_has_none(start, checkpoint_of):
    first = start("trainer.iterations=6", "evaluation=off", folder="first")
    train(first, lambda: False)
    state = checkpoint_of(first)
    del state["about"]["thread_changes"]  # as checkpoints of earlier versions are
    torch.set_num_threads(2)
    second = start("trainer.iterations=12", "evaluation=off", folder="second")
    second.load_state_dict(state)
    assert second.threads.changes == [{"iteration": 0, "threads": 1}, {"iteration": 6, "threads": 2}]
