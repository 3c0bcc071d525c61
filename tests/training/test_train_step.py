import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from gan_runner.data import Batch, as_float
from gan_runner.objectives.losses import Hinge
from gan_runner.objectives.penalties import R1
from gan_runner.record.pictures import to_uint8
from gan_runner.training.schedules import Turn

F64 = torch.float64
D, G, DG, DDG = Turn(1), Turn(g_steps=1), Turn(1, 1), Turn(2, 1)


class ByHand:
    """The players of a table in float64, and their updates as one would write them for a reader.

    Real and generated images pass D one after the other, and the optimizer is PyTorch's plain Adam.
    """

    def __init__(self, table, lr, eps):
        self.table = table
        self.d, self.g = (copy.deepcopy(player.net).double() for player in (table.d, table.g))
        self.d_adam, self.g_adam = (
            torch.optim.Adam(net.parameters(), lr, (0.5, 0.999), eps) for net in (self.d, self.g)
        )

    def real(self, position, n=8):
        pixels = self.table.images.pixels(self.table.order.indices(position, n)).double()
        return pixels / 127.5 - 1

    def update_d(self, real, z, gamma=0.0):
        fake = self.g(z.double()).detach()
        real = real.clone().requires_grad_()
        on_real, on_fake = self.d(real), self.d(fake)
        # One batch of real and generated images, of which each image counts alike.
        loss = -(logsigmoid(on_real).sum() + logsigmoid(-on_fake).sum()) / (len(real) + len(fake))
        if gamma:
            slope = torch.autograd.grad(on_real.sum(), real, create_graph=True)[0]
            loss = loss + gamma / 2 * slope.flatten(1).square().sum(1).mean()
        self.d_adam.zero_grad()
        loss.backward()
        self.d_adam.step()
        return loss.item()

    def update_g(self, z):
        loss = -logsigmoid(self.d(self.g(z.double()))).mean()
        self.g_adam.zero_grad()
        loss.backward()
        self.g_adam.step()
        return loss.item()

    def assert_equals_the_table(self):
        for own, net in ((self.table.d.net, self.d), (self.table.g.net, self.g)):
            for mine, wanted in zip(own.parameters(), net.parameters(), strict=True):
                # An update moves a weight by up to 0.05, and float32 keeps 7 digits of it.
                torch.testing.assert_close(mine.double(), wanted, rtol=1e-5, atol=5e-6)


class SeeingHinge(Hinge):
    """Puts the logits that it is given into a list."""

    def __init__(self, seen):
        self._seen = seen

    def d(self, real_logits, fake_logits):
        self._seen.append((real_logits, fake_logits))
        return super().d(real_logits, fake_logits)

    def g(self, fake_logits):
        self._seen.append((fake_logits,))
        return super().g(fake_logits)


LR, EPS = 0.05, 1e-2  # an epsilon that does not blow rounding up where a gradient vanishes


def latents(n=8):
    return torch.randn(n, 5)


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_turns_update_d_and_g_as_computed_by_hand_in_float64(set_up, model):
    table = set_up(model, lr=LR, eps=EPS, g_batch_size=6)
    by_hand = ByHand(table, LR, EPS)
    position = 0
    for _ in range(3):
        position = table.step.play(DG, position)
    torch.manual_seed(0)  # as the table was left
    d_losses, g_losses = [], []
    for turn in range(3):
        d_losses.append(by_hand.update_d(by_hand.real(8 * turn), latents()))
        g_losses.append(by_hand.update_g(latents(6)))
    by_hand.assert_equals_the_table()
    assert table.step.read_d().totals["loss/d"] == pytest.approx(sum(d_losses), rel=1e-5)
    assert table.step.read_g().totals["loss/g"] == pytest.approx(sum(g_losses), rel=1e-5)
    assert (table.step.read_d().updates, table.step.read_g().updates) == (3, 3)


@pytest.mark.parametrize(("model", "channels_last"), [("mlp", False), ("dcgan", False), ("dcgan", True)])
def test_a_penalty_is_added_to_what_d_minimises(set_up, model, channels_last):
    table = set_up(model, lr=LR, eps=EPS, penalty=R1(gamma=5.0), channels_last=channels_last)
    by_hand = ByHand(table, LR, EPS)
    table.step.play(D, 0)
    torch.manual_seed(0)
    loss = by_hand.update_d(by_hand.real(0), latents(), gamma=5.0)
    by_hand.assert_equals_the_table()
    assert table.step.read_d().totals["loss/d"] == pytest.approx(loss, rel=1e-5)


def test_each_update_of_d_in_a_turn_gets_fresh_real_and_fresh_generated_images(set_up):
    table = set_up(lr=LR, eps=EPS)
    by_hand = ByHand(table, LR, EPS)
    assert table.step.play(DDG, 4) == 20
    torch.manual_seed(0)
    by_hand.update_d(by_hand.real(4), latents())
    by_hand.update_d(by_hand.real(12), latents())
    by_hand.update_g(latents())
    by_hand.assert_equals_the_table()


def test_ds_last_update_and_gs_first_share_latents_where_the_turn_says_so(set_up):
    table = set_up(lr=LR, eps=EPS)
    by_hand = ByHand(table, LR, EPS)
    table.step.play(Turn(2, 2, same_latents=True), 0)
    torch.manual_seed(0)
    first, shared, last = latents(), latents(), latents()
    by_hand.update_d(by_hand.real(0), first)
    by_hand.update_d(by_hand.real(8), shared)
    by_hand.update_g(shared)
    by_hand.update_g(last)
    by_hand.assert_equals_the_table()


@pytest.mark.parametrize(("turn", "draws"), [(DG, 2), (Turn(1, 1, same_latents=True), 1), (Turn(2, 2, True), 3)])
def test_g_draws_once_if_ds_last_update_and_its_own_first_share_latents(set_up, turn, draws):
    table, drawn = set_up(), []
    table.g.net.register_forward_hook(lambda net, given, images: drawn.append(images))
    table.step.play(turn, 0)
    assert len(drawn) == draws


def test_a_turn_without_d_leaves_the_position_in_the_data(set_up):
    table = set_up()
    assert table.step.play(G, 24) == 24
    assert table.step.read_d().updates == 0


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_a_joined_batch_gives_d_the_logits_of_two_separate_passes(set_up, model):
    table = set_up(model)
    real, fake = torch.rand(5, 1, 8, 8), torch.rand(7, 1, 8, 8)
    seen = []
    table.game.loss = SeeingHinge(seen)
    table.game.d_terms(table.d.net, Batch(real), Batch(fake))
    (logits,) = seen
    torch.testing.assert_close(logits[0], table.d.net(real))
    torch.testing.assert_close(logits[1], table.d.net(fake))


# ---- the fixed set ----------------------------------------------------------------------------------------


def test_d_is_trained_on_the_fixed_set_repeatedly_until_it_is_renewed(set_up):
    table = set_up(lr=LR, eps=EPS)
    by_hand = ByHand(table, LR, EPS)
    new, same = Turn(1, fixed_set=True, renew_fixed_set=12), Turn(1, fixed_set=True)
    assert table.step.play(new, 0) == 12
    assert table.step.play(same, 12) == 12
    table.step.play(G, 12)
    assert table.step.play(new, 12) == 24

    torch.manual_seed(0)

    def rows_of(position, rows, z):
        return by_hand.real(position, 12)[rows], z[rows]

    def draw():  # an update on a fixed set draws latents, too, and leaves them
        latents()

    first = latents(12)
    draw()
    by_hand.update_d(*rows_of(0, [*range(8)], first))
    draw()
    by_hand.update_d(*rows_of(0, [8, 9, 10, 11, 0, 1, 2, 3], first))
    by_hand.update_g(latents())
    second = latents(12)
    draw()
    by_hand.update_d(*rows_of(12, [*range(8)], second))
    by_hand.assert_equals_the_table()


def test_a_fixed_set_smaller_than_a_batch_repeats_its_images(set_up):
    table = set_up(lr=LR, eps=EPS)
    by_hand = ByHand(table, LR, EPS)
    table.step.play(Turn(1, fixed_set=True, renew_fixed_set=3), 0)
    torch.manual_seed(0)
    rows = [0, 1, 2, 0, 1, 2, 0, 1]
    by_hand.update_d(by_hand.real(0, 3)[rows], latents(3)[rows])
    by_hand.assert_equals_the_table()


# ---- the same again ---------------------------------------------------------------------------------------

TURNS = [
    DG,
    DDG,
    Turn(1, 1, same_latents=True),
    Turn(1, fixed_set=True, renew_fixed_set=20),
    Turn(1, fixed_set=True),
    G,
    DG,
]


def played(table, turns, position=0):
    for turn in turns:
        position = table.step.play(turn, position)
    return position


@pytest.mark.parametrize("model", ["mlp", "dcgan"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(set_up, state_of, same_bits, model):
    states = []
    for seed in (1, 1, 2):
        table = set_up(model, seed=seed, dropout=0.3)
        played(table, TURNS)
        states.append((state_of(table.d), state_of(table.g), table.step.read_d(), table.step.read_g()))
    assert all(same_bits(states[0][n], states[1][n]) for n in (0, 1))
    assert states[0][2:] == states[1][2:]
    assert not any(same_bits(states[0][n], states[2][n]) for n in (0, 1))


@pytest.mark.parametrize("stop", range(1, len(TURNS)))
def test_a_step_resumes_from_its_state_bit_for_bit(set_up, state_of, same_bits, stop):
    whole, other = set_up(dropout=0.3, ema=0.9), set_up(dropout=0.3, ema=0.9)
    torch.manual_seed(7)
    position = played(whole, TURNS[:stop])
    parts = ("d", "g", "step")
    state = copy.deepcopy({name: getattr(whole, name).state_dict() for name in parts})
    random = torch.get_rng_state()
    played(whole, TURNS[stop:], position)
    for name in parts:
        getattr(other, name).load_state_dict(state[name])
    torch.set_rng_state(random)
    played(other, TURNS[stop:], position)
    assert same_bits(state_of(whole.d), state_of(other.d))
    assert same_bits(state_of(whole.g), state_of(other.g))
    assert (whole.step.read_d(), whole.step.read_g()) == (other.step.read_d(), other.step.read_g())


# ---- what is watched --------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [D, G, DG])
def test_the_iteration_in_which_a_loss_becomes_nan_is_recorded(set_up, turn):
    table = set_up()
    position = played(table, [DG, DG])
    assert table.step.finite.first_bad() is None
    with torch.no_grad():
        next(table.d.net.parameters()).fill_(torch.nan)
    played(table, [turn, DG], position)
    assert table.step.finite.first_bad() == 3


def test_the_average_follows_every_update_of_g_and_none_of_d(set_up):
    table = set_up(ema=0.75, lr=LR)
    weights = [p.detach().clone() for p in table.g.net.parameters()]
    played(table, [D, G])
    for start, now, average in zip(weights, table.g.net.parameters(), table.average.net.parameters(), strict=True):
        torch.testing.assert_close(average, 0.75 * start + 0.25 * now.detach())


# ---- pixels -----------------------------------------------------------------------------------------------


def test_every_pixel_value_survives_the_conversion_to_float_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    floats = as_float(pixels)
    assert floats.dtype == torch.float32
    assert (floats.min().item(), floats.max().item()) == (-1.0, 1.0)
    back = torch.as_tensor(to_uint8(floats))
    assert torch.equal(back.flatten(), pixels.flatten())
    exact = torch.arange(256, dtype=F64) / 127.5 - 1
    torch.testing.assert_close(floats.flatten().double(), exact, rtol=0, atol=1.2e-7)
    assert torch.equal(pixels.flatten(), torch.arange(256, dtype=torch.uint8))  # not changed on the way


FIXED = Turn(1, fixed_set=True, renew_fixed_set=16)


@pytest.mark.parametrize("turn", [D, G, FIXED], ids=["d", "g", "fixed set"])
@pytest.mark.parametrize(("precision", "number_format"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_every_matrix_product_of_a_turn_has_the_runs_precision(set_up, turn, precision, number_format):
    table = set_up(precision=precision)
    formats = set()
    layers = [layer for player in (table.d, table.g) for layer in player.net.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.register_forward_hook(lambda _layer, _given, result: formats.add(result.dtype))
    table.step.play(turn, 0)
    assert formats == {number_format}


def test_losses_are_computed_from_float32_logits_in_any_precision(set_up):
    table = set_up()
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    seen = []
    table.game.loss = SeeingHinge(seen)
    with torch.autocast("cpu", torch.bfloat16):
        of_d = table.game.d_terms(table.d.net, Batch(images), Batch(images))
        of_g = table.game.g_terms(table.d.net, table.g.net, torch.randn(4, 5), None)
    (real_logits, fake_logits), (logits_of_g,) = seen
    for tensor in (real_logits, fake_logits, logits_of_g, of_d.terms["adversarial"], of_g.terms["adversarial"]):
        assert tensor.dtype == torch.float32


@pytest.mark.parametrize("ema", [None, 0.9])
def test_every_update_of_g_is_measured_with_and_without_a_moving_average(set_up, ema):
    table = set_up(ema=ema)
    for _ in range(3):
        table.step.play(DG, 0)
    assert table.step.read_g().updates == 3
