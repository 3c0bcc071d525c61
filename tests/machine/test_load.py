"""What other processes take of the processor."""

import os
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from gan_runner.machine import load
from gan_runner.machine.load import Load, LoadMeter, Reading, load_between

BEFORE = Reading(at=100.0, cores=2, own=10.0, busy=50.0)


@pytest.mark.parametrize(
    ("what", "own", "busy", "taken"),
    [
        ("nobody computes", 0.0, 0.0, 0.0),
        ("this process alone, on one core", 2.0, 2.0, 0.0),
        ("this process alone, on two cores", 4.0, 4.0, 0.0),
        ("one other beside one thread of this process", 2.0, 4.0, 1.0),
        ("one other, which shares a core with one of two threads", 3.0, 4.0, 0.5),
        ("the kernel counts in hundredths of a second, this process more finely", 2.004, 2.0, 0.0),
        ("more than there is, in the rounding", 0.0, 4.02, 2.0),
    ],
)
def test_the_load_is_what_other_processes_take_of_the_cores(what, own, busy, taken):
    now = Reading(at=102.0, cores=2, own=10.0 + own, busy=50.0 + busy)
    assert load_between(BEFORE, now) == Load(2, pytest.approx(taken)), what


def test_a_measurement_covers_the_time_since_the_last_one_and_is_repeated_within_a_moment(monkeypatch):
    readings = iter(
        [
            BEFORE,
            replace(BEFORE, at=102.0, busy=51.0),
            replace(BEFORE, at=102.1, busy=51.1),
            replace(BEFORE, at=104.0, busy=54.0),
        ]
    )
    monkeypatch.setattr(load, "read", lambda: next(readings))
    meter = LoadMeter()
    assert [meter.look() for _ in range(3)] == [Load(2, 0.5), Load(2, 0.5), Load(2, 1.5)]


def test_the_load_is_unknown_if_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setattr(load, "read", lambda: None)
    assert LoadMeter().look() is None


def times(**seconds):
    return SimpleNamespace(**({"user": 0.0, "system": 0.0, "idle": 900.0} | seconds))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="elsewhere all cores count")
def test_the_cores_count_that_this_process_may_use(monkeypatch):
    cores = [times(user=1.0, nice=2.0, system=0.5, irq=0.05, softirq=0.1, steal=0.3, iowait=7.0), times(user=3.0)]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [*cores, times(user=5.0, system=2.0)])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2})
    found = load.read()
    assert found is not None
    assert (found.cores, found.busy) == (2, pytest.approx(3.95 + 7.0))


def test_a_system_that_reports_less_is_no_error(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [times(user=3.0)])
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    found = load.read()
    assert found is not None
    assert (found.cores, found.busy) == (1, 3.0)


@pytest.mark.parametrize("error", [PermissionError("not here"), FileNotFoundError("/proc/stat"), NotImplementedError()])
def test_a_system_that_reports_nothing_is_no_error(monkeypatch, error):
    def refuse(percpu):
        raise error

    monkeypatch.setattr(psutil, "cpu_times", refuse)
    assert load.read() is None


def test_the_machines_description_says_what_was_computed_on_it():
    found = load.read()
    assert found is not None
    assert found.cores <= (os.cpu_count() or 1)
    assert found.busy > found.own > 0
