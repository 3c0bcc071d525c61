"""A few mutated folders of each kind, the same ones every time; `benchmarks.attacks` draws thousands."""

import random

import pytest

from benchmarks import attacks


@pytest.mark.parametrize("seed", range(8))
def test_a_mutated_run_is_opened_or_refused_and_nothing_else(run, opened, seed):
    draw = random.Random(seed)
    about = attacks.mutated(draw, attacks.MUTATIONS_OF_CONFIGS, run)
    words = draw.choice(attacks.OF_A_RUN)
    opened(*words, about=f"{about}: gan-{' '.join(words)}")


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_sweep_is_opened_or_refused_and_nothing_else(sweep, opened, seed):
    draw = random.Random(seed)
    about = attacks.mutated(draw, attacks.MUTATIONS_OF_SWEEPS, sweep)
    words = draw.choice(attacks.OF_A_SWEEP)
    opened(*words, about=f"{about}: gan-{' '.join(words)}")
