import copy
import math

import pytest
import torch
from torch import nn

from gan_runner.optim.adam import Adam
from gan_runner.optim.averages import MovingAverage
from gan_runner.optim.learning_rates import Constant, Linear, TimeDecay
from gan_runner.training.player import Player, Players
from gan_runner.training.schedules import Alternating, EpochLength, Rounds, Turn

F64 = torch.float64
BOTH = pytest.mark.parametrize("model", ["mlp", "dcgan"])


def player_of(net, learning_rate=None, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=0.1)
    return Player(net, optimizer, learning_rate or Constant())


def linear(*weights):
    net = nn.Linear(len(weights), 1, bias=False, dtype=F64)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([weights], dtype=F64))
    return net


# ---- an update --------------------------------------------------------------------------------------------


def test_an_update_descends_the_sum_of_the_terms():
    net = linear(2.0, -1.0)
    x = torch.tensor([[3.0, 5.0]], dtype=F64)
    player_of(net).minimise({"one": net(x).sum(), "two": 4 * net.weight.square().sum()})
    # The slope is x + 8 w = (19, -3).
    torch.testing.assert_close(net.weight.detach(), torch.tensor([[2.0 - 1.9, -1.0 + 0.3]], dtype=F64))


def test_updates_by_adam_equal_those_of_pytorchs_plain_adam_to_rounding():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double(), torch.randn(5, 3, dtype=F64)
    by_hand = copy.deepcopy(net)
    player = player_of(net, optimizer=Adam(net.parameters(), 0.1, (0.5, 0.9), 1e-3, 0.0))
    plain = torch.optim.Adam(by_hand.parameters(), 0.1, (0.5, 0.9), 1e-3)
    for _ in range(3):
        player.minimise({"square": net(x).square().mean(), "mean": net(x).mean()})
        plain.zero_grad()
        (by_hand(x).square().mean() + by_hand(x).mean()).backward()
        plain.step()
    for own, wanted in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(own, wanted)


@pytest.mark.parametrize("lies", [torch.contiguous_format, torch.channels_last])
def test_an_update_matches_weights_and_gradients_by_index_in_any_memory_format(lies):
    other = torch.channels_last if lies is torch.contiguous_format else torch.contiguous_format
    net = nn.Conv2d(3, 2, 2, bias=False).to(memory_format=lies)
    slope = torch.randn(2, 3, 2, 2).contiguous(memory_format=other)
    (gradient,) = torch.autograd.grad((net.weight * slope).sum(), net.weight)
    assert gradient.stride() != net.weight.stride()
    # An epsilon beside which the slope is nothing makes an update a multiple of it.
    player, before = (
        player_of(net, optimizer=Adam(net.parameters(), 1e3, (0.5, 0.9), 1e3, 0.0)),
        net.weight.detach().clone(),
    )
    player.minimise({"loss": (net.weight * slope).sum()})
    torch.testing.assert_close(before - net.weight.detach(), slope, rtol=0.02, atol=1e-4)


def test_gradients_do_not_accumulate_from_one_update_to_the_next():
    net = linear(0.0)
    player = player_of(net)
    for _ in range(3):
        player.minimise({"slope 2": 2 * net.weight.sum()})
    torch.testing.assert_close(net.weight.detach(), torch.tensor([[-0.6]], dtype=F64))


def test_the_gradient_norm_is_over_all_parameters_together():
    net = nn.Linear(2, 1, dtype=F64)
    player = player_of(net)
    assert player.gradient_norm() == 0
    # The slope is (2, -3) for the weights and 6 for the bias: 4 + 9 + 36 = 7^2.
    player.minimise({"loss": (net.weight * torch.tensor([[2.0, -3.0]], dtype=F64)).sum() + 6 * net.bias.sum()})
    assert player.gradient_norm().item() == pytest.approx(7.0, rel=1e-12)


# ---- the learning rate ------------------------------------------------------------------------------------


def test_a_networks_learning_rate_is_its_optimizers_times_the_current_factor():
    net = linear(1.0)
    player = player_of(net, Linear(hold=0.0, end=0.0))
    assert player.rate == 0.1
    player.set_rate(updates=3, progress=0.75)
    assert player.rate == pytest.approx(0.025)
    player.minimise({"slope 2": 2 * net.weight.sum()})
    assert net.weight.item() == pytest.approx(1.0 - 0.05)
    player.set_rate(updates=4, progress=0.0)
    assert player.rate == pytest.approx(0.1)  # of the configured rate, not of the last


def test_a_networks_learning_rate_counts_its_own_updates():
    player = player_of(linear(1.0), TimeDecay(decay=0.5))
    player.set_rate(updates=2, progress=0.9)
    assert player.rate == player.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_a_learning_rate_that_is_a_tensor_changes_in_place():
    net = linear(1.0)
    rate = torch.tensor(0.1)
    player = player_of(net, Linear(0.0, 0.0), torch.optim.Adam(net.parameters(), lr=rate, capturable=False))
    player.set_rate(updates=0, progress=0.5)
    assert player.optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.05)


def test_lr_scale_down_lasts_through_the_schedule():
    player = player_of(linear(1.0), Linear(0.0, 0.0))
    player.lr_scale = 0.25
    player.set_rate(updates=0, progress=0.5)
    assert player.rate == pytest.approx(0.1 * 0.25 * 0.5)


# ---- numbers to reckon with -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "finite"), [(1e18, True), (1e38, False), (math.inf, False), (-math.inf, False), (math.nan, False)]
)
def test_weights_are_finite_if_their_norms_are(weight, finite):
    net = nn.Linear(20, 1)
    assert player_of(net).finite()
    nn.init.constant_(net.weight, weight)
    assert bool(player_of(net).finite()) is finite


# ---- the opponent stands still ----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("fixed_set", [False, True])
def test_while_d_is_trained_g_stays_the_same_bit_for_bit(set_up, state_of, same_bits, model, fixed_set):
    table = set_up(model, dropout=0.3, ema=0.9)
    table.step.play(Turn(1, 1), 0)  # so that everybody has gradients and statistics
    g, average, d = state_of(table.g), copy.deepcopy(table.average.net.state_dict()), state_of(table.d)
    assert any(name.startswith("gradient") for name in g)
    for number in range(2):
        table.step.play(Turn(1, fixed_set=fixed_set, renew_fixed_set=20 * (fixed_set and not number)), 8)
    assert same_bits(state_of(table.g), g)
    assert same_bits(table.average.net.state_dict(), average)
    assert not same_bits(state_of(table.d), d)


@pytest.mark.parametrize("model", ["mlp", "dcgan", "norms in d"])
def test_while_g_is_trained_d_stays_the_same_bit_for_bit(set_up, state_of, same_bits, model):
    table = set_up(model, dropout=0.3)
    table.step.play(Turn(1, 1), 0)
    d, g = state_of(table.d), state_of(table.g)
    table.step.play(Turn(g_steps=2), 8)
    assert same_bits(state_of(table.d), d)
    assert not any(torch.equal(value, g[name]) for name, value in state_of(table.g).items() if "gradient" in name)


SCHEDULES = {
    "alternating": lambda: Alternating(1, 1, d_warmup=1, same_latents=False),
    "rounds": lambda: Rounds(2, 2, "steps", 1.0, 1.0, check_every=1, d_warmup=0, fixed_set=None),
    "rounds on a fixed set": lambda: Rounds(2, 2, "steps", 1.0, 1.0, check_every=1, d_warmup=0, fixed_set=20),
}


@BOTH
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_network_that_a_turn_leaves_out_does_not_change(set_up, state_of, same_bits, schedule, model):
    table, schedule, epoch = set_up(model, dropout=0.3), schedule(), EpochLength(60, 8)
    position, turns = 0, []
    for _ in range(6):
        turn = schedule.next_turn(table.step, epoch)
        before = {"d": state_of(table.d), "g": state_of(table.g)}
        position = table.step.play(turn, position)
        letters = "d" * turn.d_steps + "g" * turn.g_steps
        after = {"d": state_of(table.d), "g": state_of(table.g)}
        assert {name for name in "dg" if not same_bits(before[name], after[name])} == set(letters)
        turns.append(letters)
    assert turns == (["d"] + ["dg"] * 5 if isinstance(schedule, Alternating) else ["d", "d", "g", "g", "d", "d"])


@BOTH
def test_gs_part_of_a_turn_leaves_no_gradients_in_d(set_up, state_of, same_bits, model):
    alone, together = set_up(model, dropout=0.3), set_up(model, dropout=0.3)
    torch.manual_seed(3)
    alone.step.play(Turn(1), 0)
    torch.manual_seed(3)
    together.step.play(Turn(1, 1), 0)
    assert same_bits(state_of(alone.d), state_of(together.d))


def test_only_gs_own_updates_change_its_running_statistics(set_up):
    table = set_up("dcgan")
    table.step.play(Turn(2, 1), 0)
    counts = [int(v) for k, v in table.g.net.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts == [1, 1, 1]


def test_a_frozen_network_still_normalises_by_the_batch_and_is_unfrozen_even_after_an_error(set_up):
    table = set_up("dcgan")
    net, latents = table.g.net, torch.randn(8, 5)
    images = net(latents)
    with table.g.frozen():
        torch.testing.assert_close(net(latents), images)
        assert not net(latents).requires_grad
    with pytest.raises(ZeroDivisionError), table.g.frozen():
        raise ZeroDivisionError
    assert net(latents).requires_grad
    assert all(module.track_running_stats for module in net.modules() if isinstance(module, nn.BatchNorm2d))


# ---- checkpoints ------------------------------------------------------------------------------------------


@BOTH
def test_a_network_and_its_optimizer_resume_from_their_state_bit_for_bit(set_up, state_of, same_bits, model):
    table, other = set_up(model), set_up(model, seed=1)
    table.step.play(Turn(1, 1), 0)
    for name in ("d", "g"):
        getattr(other, name).load_state_dict(copy.deepcopy(getattr(table, name).state_dict()))
        torch.testing.assert_close(getattr(other, name).gradient_norm(), getattr(table, name).gradient_norm())
    for each in (table, other):
        torch.manual_seed(5)
        each.step._loader = table.step._loader
        each.step.play(Turn(1, 1), 8)
    assert same_bits(state_of(table.d), state_of(other.d))
    assert same_bits(state_of(table.g), state_of(other.g))


def test_a_resumed_network_has_the_learning_rate_that_is_configured_now():
    before, now = (player_of(net, optimizer=torch.optim.SGD(net.parameters(), lr=lr)) for net, lr in
                   ((linear(1.0), 0.1), (linear(5.0), 0.3)))  # fmt: skip
    now.load_state_dict(copy.deepcopy(before.state_dict()))
    assert now.net.weight.item() == 1.0
    assert now.rate == now.optimizer.param_groups[0]["lr"] == 0.3


# ---- the moving average -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("decay", "n"), [(0.9, 1), (0.9, 7), (0.999, 3), (0.0, 2)])
def test_an_average_of_constant_weights_closes_the_gap_by_its_decay_at_each_update(decay, n):
    start, source = linear(2.0, -3.0), linear(5.0, 1.0)
    average = MovingAverage(copy.deepcopy(start), decay)
    for _ in range(n):
        average.update(source)
    expected = source.weight + decay**n * (start.weight - source.weight)
    torch.testing.assert_close(average.net.weight, expected.detach())
    torch.testing.assert_close(source.weight.detach(), torch.tensor([[5.0, 1.0]], dtype=F64))


def test_an_average_weights_each_past_state_by_its_age():
    average, source = MovingAverage(linear(0.0), 0.5), linear(0.0)
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(source.weight, value)
        average.update(source)
    assert average.net.weight.item() == pytest.approx(1 / 8 + 2 / 4 + 3 / 2)


def test_an_average_ignores_gs_running_statistics_and_is_in_evaluation_mode(set_up):
    table = set_up("dcgan", ema=0.9)
    before = {name: value.clone() for name, value in table.average.net.named_buffers()}
    table.step.play(Turn(1), 0)
    assert table.average.statistics_of > 0
    table.step.play(Turn(1, 2), 0)
    assert table.average.statistics_of == 0
    assert not table.average.net.training
    assert not any(parameter.requires_grad for parameter in table.average.net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in table.average.net.named_buffers())
    assert not torch.equal(next(table.g.net.parameters()), next(table.average.net.parameters()))


# ---- recording --------------------------------------------------------------------------------------------


def test_a_network_whose_learning_rate_is_a_number_on_the_host_cannot_be_recorded():
    net = linear(1.0)
    adam = Adam(net.parameters(), lr=0.1, betas=(0.5, 0.9), eps=1e-8, weight_decay=0.0)
    assert not player_of(net).recordable
    assert not player_of(net, optimizer=adam).recordable  # on a CPU, where there is nothing to record


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kinds", [(Turn(1), Turn(1, 1)), (Turn(1, 1), Turn(1))])
def test_the_gradient_norm_is_that_of_the_last_update_in_any_recording(set_up, kinds):
    table = set_up(device=torch.device("cuda"))
    for kind in kinds:
        for _ in range(5):
            table.step.play(kind, 0)
    table.step.play(kinds[0], 0)
    before = table.d.gradient_norm().item()
    place = [parameter.grad.data_ptr() for parameter in table.d.net.parameters()]
    table.step.play(kinds[0], 8)
    assert table.d.gradient_norm().item() != before
    assert [parameter.grad.data_ptr() for parameter in table.d.net.parameters()] == place


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e25], ids=["NaN", "infinite", "finite with an infinite norm"])
@pytest.mark.parametrize("place", ["weights", "gradient"])
@pytest.mark.parametrize("letter", ["d", "g"])
def test_a_norm_that_is_not_finite_is_noticed_in_either_network(set_up, letter, place, value):
    table = set_up()
    players = Players(table.d, table.g, None)
    assert players.not_finite() is None, "before the first update there is no gradient"
    for player in (table.d, table.g):
        for parameter in player.net.parameters():
            parameter.grad = torch.ones_like(parameter)
    assert players.not_finite() is None
    parameter = next(players.by_letter()[letter].net.parameters())
    with torch.no_grad():
        (parameter if place == "weights" else parameter.grad).fill_(value)
    said = f"{letter.upper()}'s weights have" if place == "weights" else f"{letter.upper()}'s gradient has"
    assert players.not_finite() == f"{said} no finite norm"
