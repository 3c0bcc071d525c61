import contextlib
import copy
import logging

import pytest
import torch

from gan_runner.objectives.penalties import R1
from gan_runner.training import cuda_graph
from gan_runner.training.cuda_graph import CudaGraph
from gan_runner.training.schedules import Turn


@pytest.mark.parametrize("calls", [0, 1, 3, 4, 5, 10])
def test_on_a_cpu_every_call_runs_the_work_exactly_once_and_immediately(calls):
    done = []
    graph = CudaGraph(lambda: done.append(len(done)), records=False)
    for number in range(calls):
        graph()
        assert done == list(range(number + 1))


def test_an_error_in_the_work_reaches_the_caller():
    graph = CudaGraph(lambda: 1 / 0, records=False)
    with pytest.raises(ZeroDivisionError):
        graph()


gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@gpu
@needs_gpu
def test_on_a_gpu_too_every_call_runs_the_work_exactly_once():
    total = torch.zeros((), device="cuda")
    graph = CudaGraph(lambda: total.add_(1), records=True)
    for number in range(1, 9):
        graph()
        assert total.item() == number


@gpu
@needs_gpu
def test_a_recording_draws_fresh_random_numbers_at_every_call():
    drawn = torch.empty(4, device="cuda")
    graph = CudaGraph(lambda: drawn.copy_(torch.rand(4, device="cuda")), records=True)
    seen = []
    for _ in range(8):
        graph()
        seen.append(tuple(drawn.tolist()))
    assert len(set(seen)) == 8


@gpu
@needs_gpu
def test_work_that_cannot_be_recorded_runs_once_per_call_and_says_so_once(caplog):
    total = torch.zeros((), device="cuda")
    drawn = []

    def work():
        total.add_(1)
        drawn.append(torch.rand((), device="cuda").item())  # waits for the device, which no recording can

    cuda_graph.warn_of_eager_steps.cache_clear()
    stream = torch.cuda.current_stream()
    with caplog.at_level(logging.WARNING):
        for graph in (CudaGraph(work, records=True), CudaGraph(work, records=True)):
            before = total.item()
            for number in range(1, 9):
                graph()
                assert total.item() == before + number
    assert torch.cuda.current_stream() == stream
    assert len(set(drawn)) == 16
    assert sum("cannot be recorded" in message for message in caplog.messages) == 1


def test_the_reason_for_eager_steps_is_logged_once(caplog):
    cuda_graph.warn_of_eager_steps.cache_clear()
    with caplog.at_level(logging.WARNING):
        for reason in ("too wide", "too deep", "too wide"):
            cuda_graph.warn_of_eager_steps(reason)
    assert [message.rpartition(": ")[2] for message in caplog.messages] == ["too wide", "too deep"]


TURNS = [Turn(1, 1)] * 10


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("model", "penalty"), [("mlp", None), ("mlp", R1(gamma=5.0)), ("dcgan", None)])
def test_recorded_turns_equal_eager_ones_bit_for_bit_and_never_wait_for_the_device(
    set_up, state_of, same_bits, never_waiting, monkeypatch, model, penalty, precision
):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    how = {"dropout": 0.3, "ema": 0.9, "channels_last": model == "dcgan", "precision": precision, "penalty": penalty}
    states = []
    for warm_up_calls in (3, 1000):  # the latter never gets to record
        monkeypatch.setattr(cuda_graph, "_WARM_UP_CALLS", warm_up_calls)
        table = set_up(model, device=torch.device("cuda"), **how)
        torch.cuda.manual_seed(3)
        position = 0
        for number, turn in enumerate(TURNS):
            # By the fifth turn everything is recorded, and the first pass over the 60 images is not yet over.
            with never_waiting() if number >= 5 else contextlib.nullcontext():
                position = table.step.play(turn, position)
        states.append([state_of(table.d), state_of(table.g), table.average.net.state_dict()])
    assert all(same_bits(one, other) for one, other in zip(*states, strict=True))


@gpu
@needs_gpu
def test_a_recorded_turn_sees_a_learning_rate_that_changes(set_up, state_of, same_bits):
    table = set_up(device=torch.device("cuda"))
    for number in range(6):
        table.step.play(Turn(1), 8 * number)
    table.d.lr_scale = 0.0
    table.d.set_rate(updates=6, progress=0.5)
    before = {name: value.clone() for name, value in table.d.net.state_dict().items()}
    table.step.play(Turn(1), 48)
    assert same_bits(before, table.d.net.state_dict())


@gpu
@needs_gpu
def test_turns_are_recorded_again_after_a_checkpoint_is_loaded(set_up, state_of, same_bits):
    """A loaded optimizer has new moments, which the old recording does not know of."""
    table = set_up(device=torch.device("cuda"))
    for number in range(6):
        table.step.play(Turn(1, 1), 8 * number)
    parts = ("d", "g", "step")
    state = copy.deepcopy({name: getattr(table, name).state_dict() for name in parts})
    random = torch.cuda.get_rng_state()
    ends = []
    for _ in range(2):
        for name in parts:
            getattr(table, name).load_state_dict(copy.deepcopy(state[name]))
        torch.cuda.set_rng_state(random)
        for number in range(6, 12):
            table.step.play(Turn(1, 1), 8 * number)
        ends.append([state_of(table.d), state_of(table.g)])
    assert all(same_bits(one, other) for one, other in zip(*ends, strict=True))
