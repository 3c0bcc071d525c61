"""Several processes equal one, in float64 and without dropout."""

import contextlib
import copy
import datetime
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn

from gan_runner.commands.main import job_folder
from gan_runner.config.build import build
from gan_runner.errors import UserError
from gan_runner.models.synchronised_norm import synchronise_norms
from gan_runner.objectives.penalties import R1
from gan_runner.record.journal import Journal
from gan_runner.training.distributed import ALONE, Processes
from gan_runner.training.loop import Run, train

SMALL = [
    "data.limit=50",  # no multiple of a batch, nor of a number of processes
    "trainer.batch_size=12",
    "trainer.iterations=6",
    "trainer.log_every=2",
    "trainer.intervals_in=iterations",
    "trainer.sample_every=100",
    "trainer.checkpoint_every=3",
    "trainer.precision=fp32",
    "trainer.device=cpu",
    "evaluation=off",
    "model.dropout=0",
    "optimizer.lr=1e-2",
]
MLP = ["model=mlp", "model.generator.widths=[8]", "model.discriminator.widths=[8]"]
DCGAN = ["model=dcgan", "model.generator.widths=[4,4,3]", "model.discriminator.widths=[3,4]"]
ROUNDS = ["schedule=rounds", "schedule.d_steps=3", "schedule.g_steps=2", "schedule.check_every=1"]
RUNS = {
    "mlp": [*MLP, "schedule.d_steps=2", "trainer.ema=0.5"],
    "batch norm": DCGAN,
    "pairs": [*MLP, "loss=relativistic", "penalty=r1_r2", "trainer.g_batch_size=6"],
    "classes": [*MLP, "game=conditional", "game.conditioning=adc_gan", "penalty=r1", "penalty.interval=2"],
    "pairs by class": [*DCGAN, "game=conditional", "game.unconditional=1", "loss=relativistic", "penalty=r1_r2"],
    "a fixed set": [*DCGAN, *ROUNDS, "schedule.fixed_set=24", "schedule.d_accuracy=0.8"],
    "a rollback": [
        *MLP,
        "health.on_alarm=rollback",
        "health.symptoms.sure.accuracy=0",
        "health.symptoms.sure.patience=1",
    ],
    "a stream": [*MLP, "data.resident=false", "data.replacement=true", "data.flip=true"],
}
RANDOM = [*MLP, "model.dropout=0.5", "labels=noisy", "augment=ada", "augment.every=1", "augment.speed=100"]


class Notes(Journal):
    """A journal that is kept in memory."""

    def __init__(self):
        self.points, self.states = [], []

    def point(self, point, iteration, epoch):
        self.points.append({tag: value for tag, value in point.items() if not tag.startswith("speed/")})

    def checkpoint(self, state, *, best, keep):
        self.states.append(state)


def composed(*overrides):
    """The config of each run, composed once for all processes."""
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        runs = RUNS | {"random": RANDOM}
        return {name: compose("config", overrides=[*SMALL, *run, *overrides]) for name, run in runs.items()}


def play(world, config, state=None, dtype=torch.float64):
    """Train, from a checkpoint if one is given; gives the journal."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        experiment = build(config, world)
        with contextlib.closing(experiment.loader):
            run = Run(experiment, Notes())
            if state is not None:
                run.load_state_dict(state)
            train(run, lambda: False)
    finally:
        torch.set_default_dtype(before)
    return run.journal


def part(rank, size, folder, config_of):
    """What one of several processes does, and leaves in a file."""
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=60))
    world = Processes(rank, size, store, rank, size)
    found = {"norms": normalised(rank, size)}
    for name in RUNS:
        notes = play(world, config_of[name])
        found[name] = {"states": notes.states, "points": notes.points}
    found["random"] = play(world, config_of["random"], dtype=torch.float32).states
    found["resumed"] = play(world, config_of["random"], found["random"][1], dtype=torch.float32).states[-1]
    alone = torch.load(folder / "alone.pt", weights_only=True)
    found["from one"] = play(world, config_of["a fixed set"], alone).states[-1]
    found["polls"] = polled(world, rank)
    torch.save(found, folder / f"{rank}.pt")
    world.end()


def normalised(rank, size):
    """A network with batch norm on a share of a batch: what it gives, its slope's penalty, and what follows of both."""
    net, images = norms()
    if size > 1:
        synchronise_norms(net)
    images = images[rank::size].clone().requires_grad_()
    loss = net(images).square().mean() + R1(1.0)(net, images, images)
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    statistics = {name: value for name, value in net.state_dict().items() if "running" in name or "num" in name}
    return {"loss": loss.detach(), "gradients": [each.detach() for each in gradients], "statistics": statistics}


def norms():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)]
    net = nn.Sequential(*layers, nn.BatchNorm1d(4, momentum=None), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    return net, torch.randn(12, 1, 4, 4, dtype=torch.float64) + 3


def polled(world, rank):
    """At which turn a wish of the last process is heard of, and what is heard."""
    poll = world.poll()
    for turn in range(100_000):
        heard = poll(15 if rank == world.size - 1 and turn >= 5 else 0)
        if heard:
            return turn, heard
    return None


@pytest.fixture(scope="module")
def config_of():
    return composed()


@pytest.fixture(scope="module")
def alone(config_of):
    """Each run by one process."""
    torch.set_num_threads(1)
    return {name: play(ALONE, config_of[name]) for name in RUNS}


@pytest.fixture(scope="module", params=[2, 3])
def several(request, alone, config_of):
    """What two processes found, and three."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(alone["a fixed set"].states[1], folder / "alone.pt")
        # Forked, after one process has imported PyTorch for them: each would take seconds for that.
        torch.multiprocessing.set_forkserver_preload(["torch", "torch.distributed", "gan_runner.training.loop"])
        context = torch.multiprocessing.start_processes(
            part, (request.param, folder, config_of), nprocs=request.param, join=False, start_method="forkserver"
        )
        deadline = time.monotonic() + 100
        while not context.join(timeout=10):  # one process at a time
            assert time.monotonic() < deadline, "they wait for each other"
        yield [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


def numbers(state):
    """Weights, running statistics and moments of both players, in one."""
    found = []

    def collect(value):
        if isinstance(value, torch.Tensor):
            found.append(value.double().flatten())
        elif isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                collect(inner)

    collect(state["players"])
    return torch.cat(found)


@pytest.mark.parametrize("name", RUNS)
def test_several_processes_train_as_one_process_does(several, alone, name):
    for state, expected in zip(several[0][name]["states"], alone[name].states, strict=True):
        torch.testing.assert_close(numbers(state), numbers(expected), rtol=1e-8, atol=1e-8)
        assert state["progress"] | {"seconds": 0} == expected["progress"] | {"seconds": 0}
        assert torch.equal(state["random"]["cpu"], expected["random"]["cpu"])
    if name != "a rollback":  # the last of which has just gone back to the first state
        moved = numbers(alone[name].states[-1]) - numbers(alone[name].states[0])
        assert moved.abs().max() > 1e-3


def test_all_processes_roll_back_together(several):
    for each in several:
        assert [state["rollback"]["count"] for state in each["a rollback"]["states"]] == [0, 1, 2]


@pytest.mark.parametrize("name", RUNS)
def test_what_is_logged_is_of_the_whole_batch(several, alone, name):
    """But for ranks, which each process can only give among its own images."""
    for point, expected in zip(several[0][name]["points"], alone[name].points, strict=True):
        assert point.keys() == expected.keys()
        for tag in point.keys() - (
            {"accuracy/d", "accuracy/d_real", "accuracy/d_fake"} if name.startswith("pairs") else set()
        ):
            assert point[tag] == pytest.approx(expected[tag], rel=1e-5, abs=1e-6), tag


def test_all_processes_have_the_same_weights_bit_for_bit(several):
    first, *others = several
    for other in others:
        for name in RUNS:
            assert torch.equal(numbers(first[name]["states"][-1]), numbers(other[name]["states"][-1]))
            assert first[name]["points"] == other[name]["points"]
        assert torch.equal(numbers(first["random"][-1]), numbers(other["random"][-1]))
        assert first["random"][-1]["game"].keys() == {"p", "signs", "images", "updates"}
        assert first["random"][-1]["game"] == other["random"][-1]["game"]


def test_a_checkpoint_resumes_bit_for_bit_with_as_many_processes(several):
    for each in several:
        assert torch.equal(numbers(each["resumed"]), numbers(each["random"][-1]))


def test_a_checkpoint_of_one_process_resumes_with_several(several, alone):
    expected = alone["a fixed set"].states[-1]
    torch.testing.assert_close(numbers(several[0]["from one"]), numbers(expected), rtol=1e-8, atol=1e-8)


def test_a_checkpoint_of_several_processes_resumes_with_one(several, alone, config_of):
    states = several[0]["a fixed set"]["states"]
    assert states[1]["step"]["fixed_set"]["real"]["images"].shape[0] == 24
    resumed = play(ALONE, config_of["a fixed set"], copy.deepcopy(states[1])).states[-1]
    torch.testing.assert_close(numbers(resumed), numbers(alone["a fixed set"].states[-1]), rtol=1e-8, atol=1e-8)


def test_batch_norm_uses_the_whole_batch_up_to_second_derivatives(several):
    expected, found = normalised(0, 1), [each["norms"] for each in several]
    size = len(found)
    torch.testing.assert_close(sum(each["loss"] for each in found) / size, expected["loss"])
    for gradient, *parts in zip(expected["gradients"], *(each["gradients"] for each in found), strict=True):
        torch.testing.assert_close(sum(parts) / size, gradient)
    for each in found:
        torch.testing.assert_close(each["statistics"], expected["statistics"])


def test_a_stop_request_to_one_process_stops_all_at_the_same_turn(several):
    (heard,) = {each["polls"] for each in several}
    turn, wish = heard
    assert wish == 15
    assert turn >= 5


class OnOneGpu(Processes):
    """Processes that share the one GPU that there is, which NCCL would not have."""

    def device(self, name):
        return "cuda:0"


def part_on_a_gpu(rank, size, folder, config_of):
    """What one of several processes on one GPU leaves in a file; alone, it talks to itself by NCCL."""
    torch.cuda.set_device(0)
    backend = "cpu:gloo,cuda:nccl" if size == 1 else "gloo"
    store = dist.FileStore(str(folder / f"store {size}"), size)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=datetime.timedelta(seconds=60))
    world = OnOneGpu(rank, size, store, rank, size)
    found = {name: play(world, config_of[name]).states for name in RUNS}
    found["random"] = play(world, config_of["random"], dtype=torch.float32).states
    found["resumed"] = play(world, config_of["random"], found["random"][1], dtype=torch.float32).states[-1]
    torch.save(found, folder / f"{size} {rank}.pt")
    world.end()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("size", [1, 2])
def test_processes_on_a_gpu_train_as_one_process_does(tmp_path, size, config_of):
    arguments = (size, tmp_path, config_of)
    torch.multiprocessing.start_processes(part_on_a_gpu, arguments, nprocs=size, start_method="spawn")
    found = [torch.load(tmp_path / f"{size} {rank}.pt", map_location="cpu") for rank in range(size)]
    config_alone = composed("trainer.device=cuda")
    for name in RUNS:
        expected = play(ALONE, config_alone[name]).states[-1]
        for each in found:
            torch.testing.assert_close(numbers(each[name][-1]), numbers(expected).cpu(), rtol=1e-6, atol=1e-6)
            assert torch.equal(numbers(each[name][-1]), numbers(found[0][name][-1]))
            assert torch.equal(each[name][-1]["random"]["device"].cpu(), expected["random"]["device"].cpu())
    for each in found:
        assert torch.equal(numbers(each["random"][-1]), numbers(found[0]["random"][-1]))
        assert torch.equal(numbers(each["resumed"]), numbers(each["random"][-1]))


@pytest.mark.parametrize(
    ("count", "remedy"),
    [(25, "Try trainer.batch_size=24 or 27."), (2, "Try trainer.batch_size=3 or 6.")],
)
def test_a_batch_that_cannot_be_divided_is_refused(count, remedy):
    world = Processes(0, 3, dist.HashStore(), 0, 3)
    assert world.share(24, "trainer.batch_size") == 8
    with pytest.raises(UserError, match="3 processes share these images, so it must be a multiple of 3") as error:
        world.share(count, "trainer.batch_size")
    assert error.value.remedy == remedy


def test_each_process_of_a_machine_uses_a_different_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    world = partial(Processes, 3, 4, dist.HashStore())
    assert world(1, 2).device("auto") == world(1, 2).device("cuda") == "cuda:1"
    assert world(1, 2).device("cpu") == "cpu"
    with pytest.raises(UserError, match="each of which takes a GPU of its own"):
        world(1, 2).device("cuda:1")
    with pytest.raises(UserError, match="started 4 processes here, but PyTorch sees 2 GPUs") as error:
        world(3, 4).device("auto")
    assert "--nproc_per_node=2" in error.value.remedy


def test_an_error_is_reported_once():
    store = dist.HashStore()
    first, second, third = (Processes(rank, 3, store, rank, 3) for rank in range(3))
    error = UserError("The file is damaged.", "Try another.")
    assert second.to_tell(error) is error
    assert third.to_tell(RuntimeError("gloo: Connection closed by peer")) is None
    told = first.to_tell(RuntimeError("gloo: Connection closed by peer"))
    assert isinstance(told, UserError)
    assert "Process 1 of this run has failed: The file is damaged." in str(told)


def test_an_error_in_all_processes_is_reported_by_the_first():
    store = dist.HashStore()
    first, second = (Processes(rank, 2, store, rank, 2) for rank in range(2))
    error = UserError("There is no such key.", "Try another.")
    assert first.to_tell(error) is error
    assert second.to_tell(error) is None


def test_a_killed_process_is_reported_in_a_message():
    told = Processes(0, 2, dist.HashStore(), 0, 2).to_tell(RuntimeError("[gloo/transport] Connection closed by peer"))
    assert isinstance(told, UserError)
    assert "Another process of this run was killed" in told.problem
