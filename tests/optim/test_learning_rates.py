import math

import pytest

from gan_runner.optim.learning_rates import Constant, Cosine, Linear, TimeDecay


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_a_constant_rate_never_changes(progress):
    assert Constant().factor(12_345, progress) == 1.0


@pytest.mark.parametrize(
    ("hold", "end", "progress", "factor"),
    [
        (0.0, 0.0, 0.0, 1.0),
        (0.0, 0.0, 0.25, 0.75),
        (0.0, 0.0, 1.0, 0.0),
        (0.0, 0.2, 0.5, 0.6),
        (0.0, 0.2, 1.0, 0.2),
        (0.5, 0.0, 0.5, 1.0),
        (0.5, 0.0, 0.75, 0.5),
        (0.5, 0.0, 1.0, 0.0),
        (1.0, 0.0, 1.0, 1.0),
        (0.0, 3.0, 0.5, 2.0),  # a rate may rise
    ],
)
def test_a_linear_rate_is_constant_first_and_then_falls_linearly_to_its_end(hold, end, progress, factor):
    assert Linear(hold, end).factor(999, progress) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(
    ("end", "progress", "factor"),
    [
        (0.0, 0.0, 1.0),
        (0.0, 1 / 3, 0.75),
        (0.0, 0.5, 0.5),
        (0.0, 1.0, 0.0),
        (0.1, 0.0, 1.0),
        (0.1, 0.5, 0.55),
        (0.1, 1.0, 0.1),
        (0.0, 0.25, (2 + math.sqrt(2)) / 4),
    ],
)
def test_a_cosine_rate_falls_along_half_a_cosine_to_its_end(end, progress, factor):
    assert Cosine(end).factor(999, progress) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize("decay", [0.0, 1e-8, 0.5])
def test_time_decay_is_that_of_keras_which_counts_the_first_update_as_zero(decay):
    # keras/optimizers.py, Adam.get_updates: lr = lr * (1. / (1. + self.decay * self.iterations))
    lr = 2e-4
    for iterations in (0, 1, 468, 187_200):
        keras = lr * (1.0 / (1.0 + decay * iterations))
        assert lr * TimeDecay(decay).factor(iterations, progress=0.9) == pytest.approx(keras, rel=1e-15)
