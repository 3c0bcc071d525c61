import copy
import math

import pytest
import torch
from torch import nn

from gan_runner.config.build import build
from gan_runner.optim.averages import HalfLife, MovingAverage, half_life_of

CPU = torch.device("cpu")


def linear(*weights):
    layer = nn.Linear(len(weights), 1, bias=False, dtype=torch.float64)
    layer.weight.data[0] = torch.tensor(weights, dtype=torch.float64)
    return layer


@torch.no_grad()
def zeroed(module):
    for weights in module.parameters(recurse=False):
        weights.zero_()


@pytest.mark.parametrize("batch", [16, 64])
def test_after_the_half_life_in_images_half_of_the_gap_is_left_for_any_batch_size(batch):
    average = MovingAverage(linear(0.0), HalfLife(640, None, batch, CPU))
    for _ in range(640 // batch):
        average.update(linear(1.0))
    assert average.net.weight.item() == pytest.approx(0.5, rel=1e-5)


def test_the_decay_is_that_of_its_formula_while_it_ramps_up_and_after():
    half_life = HalfLife(half_life=100, ramp_up=0.5, batch=10, device=CPU)
    decays = [float(half_life.next()) for _ in range(40)]
    expected = [0.5 ** (10 / max(min(100, 0.5 * 10 * update), 1e-8)) for update in range(40)]
    assert decays == pytest.approx(expected, rel=1e-6)
    assert decays[0] == 0.0
    assert decays[-1] == pytest.approx(0.5 ** (10 / 100))


@pytest.mark.parametrize("decay", [0.5, 0.99, 0.9999])
def test_a_decay_an_update_is_a_half_life_in_images_at_every_batch_size(decay):
    for batch in (1, 32):
        assert float(HalfLife(half_life_of(decay, batch), None, batch, CPU).next()) == pytest.approx(decay)


@pytest.mark.parametrize(("ramp", "kept"), [("0.05", 0.0), ("null", 0.9)])
def test_the_ramp_of_the_settings_holds_for_a_decay_an_update_too(compose_config, ramp, kept):
    average = build(compose_config("trainer.ema=0.9", f"trainer.ema_ramp_up={ramp}")).players.average
    before = [weights.clone() for weights in average.net.parameters()]
    average.update(copy.deepcopy(average.net).apply(zeroed))
    for now, then in zip(average.net.parameters(), before, strict=True):
        torch.testing.assert_close(now, kept * then)


def test_the_first_update_of_a_ramp_takes_the_weights_as_they_are():
    average = MovingAverage(linear(5.0, -3.0), HalfLife(1e6, 0.05, 8, CPU))
    average.update(linear(1.0, 2.0))
    assert average.net.weight.tolist() == [[1.0, 2.0]]


def test_images_are_counted_beyond_the_range_of_float32():
    half_life = HalfLife(half_life=1e12, ramp_up=0.05, batch=1, device=CPU)
    half_life.load_state_dict({"images": torch.tensor(2.0**26, dtype=torch.float64)})
    half_life.next()
    assert half_life.state_dict()["images"].item() == 2**26 + 1


def test_a_checkpoint_keeps_the_position_in_the_ramp_and_loads_in_place():
    one, other = (HalfLife(1000, 0.05, 8, CPU) for _ in range(2))
    for _ in range(5):
        one.next()
    address = other.state_dict()["images"].data_ptr()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert other.state_dict()["images"].data_ptr() == address
    assert float(other.next()) == float(one.next()) > 0


def test_an_average_made_with_another_decay_is_kept_and_needs_no_ramp():
    average = MovingAverage(linear(1.0), HalfLife(100, 0.05, 50, CPU))
    average.load_state_dict(MovingAverage(linear(1.0), 0.99).state_dict())
    average.update(linear(0.0))
    assert average.net.weight.item() == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_a_plain_decay_closes_the_same_share_of_the_gap_at_every_update(decay):
    average = MovingAverage(linear(2.0, -3.0), decay)
    for _ in range(4):
        average.update(linear(5.0, 1.0))
    torch.testing.assert_close(
        average.net.weight, torch.tensor([[5 - 3 * decay**4, 1 - 4 * decay**4]], dtype=torch.float64)
    )


def test_a_half_life_and_the_equal_plain_decay_give_the_same_average():
    by_decay = MovingAverage(linear(2.0, -3.0), 0.5 ** (8 / 100))
    by_images = MovingAverage(linear(2.0, -3.0), HalfLife(100, None, 8, CPU))
    for value in (1.0, 4.0, -2.0):
        for average in (by_decay, by_images):
            average.update(linear(value, 3 * value))
    torch.testing.assert_close(by_images.net.weight, by_decay.net.weight, rtol=1e-6, atol=0)


def test_buffers_are_copied_except_those_of_batch_norm():
    source = nn.Sequential(nn.BatchNorm1d(3))
    source.register_buffer("played", torch.zeros(2))
    average = MovingAverage(copy.deepcopy(source), HalfLife(1000, None, 8, CPU))
    source(torch.randn(16, 3) + 4)
    source.played += 3
    average.update(source)
    assert average.net.played.tolist() == [3.0, 3.0]
    assert average.net[0].running_mean.tolist() == [0.0, 0.0, 0.0]
    assert average.net[0].num_batches_tracked == 0
    assert not average.net.training


def test_a_checkpoint_says_from_how_many_images_batch_norm_statistics_are():
    average = MovingAverage(linear(1.0), 0.99)
    for pictures in (0, 256, math.inf):
        average.statistics_of = pictures
        again = MovingAverage(linear(1.0), HalfLife(100, 0.05, 50, CPU))
        again.load_state_dict(average.state_dict())
        assert again.statistics_of == pictures
    again.load_state_dict({})  # of an earlier version, which copied G's
    assert again.statistics_of == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_synchronises_with_the_device(never_waiting):
    source = nn.Linear(3, 2).cuda()
    average = MovingAverage(copy.deepcopy(source), HalfLife(1000, 0.05, 8, torch.device("cuda")))
    average.update(source)
    with never_waiting():
        average.update(source)
