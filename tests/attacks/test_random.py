"""A few mutated folders of each kind, the same ones every time; `benchmarks.attacks` draws thousands."""

import random

import pytest

from benchmarks import attacks, mutations

OF_A_RUN = {"configs": mutations.OF_CONFIGS, "checkpoints": mutations.OF_CHECKPOINTS, "files": mutations.OF_FILES}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", OF_A_RUN)
def test_a_mutated_run_is_opened_or_refused_without_harm(run, opened, kind, seed):
    draw = random.Random(f"{kind} {seed}")
    about = mutations.mutated(draw, OF_A_RUN[kind], run)
    words = draw.choice(attacks.OF_A_RUN)
    opened(*words, about=f"{about}: gan-{' '.join(words)}")


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_sweep_is_opened_or_refused_without_harm(sweep, opened, seed):
    draw = random.Random(seed)
    about = mutations.mutated(draw, mutations.OF_SWEEPS, sweep)
    words = draw.choice(attacks.OF_A_SWEEP)
    opened(*words, about=f"{about}: gan-{' '.join(words)}")


@pytest.mark.parametrize("seed", range(12))
def test_a_mutated_export_is_loaded_or_refused_without_harm(export, opened, seed):
    draw = random.Random(seed)
    about = mutations.mutated(draw, mutations.OF_EXPORTS, export)
    opened("load", "export", about=about)
