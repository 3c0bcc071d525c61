"""The GPU of a Mac, imitated: a CPU that refuses 64-bit numbers and Adam's kernel. None of this was run on one."""

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gan_runner.arithmetic import exact, measuring_device
from gan_runner.errors import UserError
from gan_runner.optim.averages import HalfLife
from gan_runner.training.checkpoint import RandomNumbers
from gan_runner.training.devices import choose_device, choose_precision
from gan_runner.training.schedules import Turn

NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
CPU, MPS = torch.device("cpu"), torch.device("mps")


class LikeMps(TorchDispatchMode):
    """In here the CPU refuses what a Mac's GPU does, in PyTorch's words for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket is torch.ops.aten._fused_adam_:
            raise NotImplementedError("The operator 'aten::_fused_adam_' is not implemented for the MPS device.")
        found = function(*args, **(kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64 for leaf in tree_leaves(found)):
            raise TypeError(NO_FLOAT64)
        return found


@pytest.fixture
def trained(set_up):
    """Trains for some updates and gives the table, within a context in which it is set up and played."""

    def train(context, updates=12, state=None):
        with context:
            table = set_up("mlp", ema=HalfLife(100, 0.05, 8, CPU))
        if state is not None:  # loaded to the CPU, which has float64
            table.step.load_state_dict(state["step"])
            for player, saved in zip((table.d, table.g), state["players"], strict=True):
                player.load_state_dict(saved)
            table.average.load_state_dict(state["average"])
        position = 0
        with context:
            for _ in range(updates):
                position = table.step.play(Turn(1, 1), position)
        return table

    return train


def state_of(table):
    players = [player.state_dict() for player in (table.d, table.g)]
    return {"step": table.step.state_dict(), "players": players, "average": table.average.state_dict()}


def weights_of(table):
    return [tensor for net in (table.d.net, table.g.net, table.average.net) for tensor in net.state_dict().values()]


def test_training_without_float64_and_adams_kernel_gives_the_same_weights(trained):
    usual, like_mps = trained(nullcontext()), trained(LikeMps())
    torch.testing.assert_close(weights_of(like_mps), weights_of(usual), rtol=1e-4, atol=1e-5)
    one, other = like_mps.step.read_d(), usual.step.read_d()
    assert one.totals == pytest.approx(other.totals, rel=1e-4)
    assert one.updates == other.updates == 12
    assert like_mps.step.finite.first_bad() is None


def test_totals_of_several_readings_add_up(trained):
    table = trained(LikeMps(), updates=4)
    before = table.step.read_d()
    with LikeMps():
        table.step.play(Turn(1, 1), 0)
    after = table.step.read_d()
    assert after.updates == before.updates + 1 == 5
    assert after.totals["loss/d"] > before.totals["loss/d"] > 0


@pytest.mark.parametrize(("first", "then"), [(nullcontext, LikeMps), (LikeMps, nullcontext)])
def test_a_checkpoint_moves_from_one_kind_of_device_to_another(trained, first, then):
    state = state_of(trained(first(), updates=5))
    table = trained(then(), updates=1, state=state)
    assert table.step.read_d().updates == 6
    assert float(table.average.state_dict()["images"]) == 6 * 8
    assert float(table.d.optimizer.state_dict()["steps"]) == 6


def test_an_average_past_its_ramp_works_without_float64():
    with LikeMps():
        half_life = HalfLife(100, 0.05, 8, CPU)
        half_life.load_state_dict({"images": torch.tensor(torch.inf)})
        assert float(half_life.next()) == pytest.approx(0.5 ** (8 / 100))
        assert float(HalfLife(100, None, 8, CPU).next()) == pytest.approx(0.5 ** (8 / 100))


def test_metrics_are_computed_on_a_device_with_float64(monkeypatch):
    zeros = torch.zeros

    def refusing(*size, dtype=None, device=None, **more):
        if torch.device(device or "cpu").type == "mps" and dtype == torch.float64:
            raise TypeError(NO_FLOAT64)
        return zeros(*size, dtype=dtype, device=device, **more)

    monkeypatch.setattr(torch, "zeros", refusing)
    assert measuring_device(MPS) == measuring_device(CPU) == CPU
    assert exact(torch.ones(2)).dtype == torch.float64


def test_the_random_state_of_one_kind_of_gpu_is_not_loaded_into_another():
    torch.manual_seed(3)
    state = RandomNumbers(CPU).state_dict() | {"device": torch.zeros(16, dtype=torch.uint8), "kind": "mps"}
    expected = torch.rand(3)
    RandomNumbers(CPU).load_state_dict(state)
    assert torch.equal(torch.rand(3), expected)


def test_auto_chooses_a_macs_gpu_if_there_is_one_with_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", "trainer.device") == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto", "trainer.device") == choose_device("mps", "device") == MPS
    assert choose_precision("auto", MPS) == "fp32"


def test_mps_on_other_systems_gets_one_message():
    with pytest.raises(UserError, match=r"trainer.device is mps, but PyTorch sees no GPU of a Mac here"):
        choose_device("mps", "trainer.device")
