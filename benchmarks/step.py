"""The time of an iteration of the recipes: gan-runner, a plain PyTorch script, and Keras if it is installed.

    python -m benchmarks.step --data fashion_mnist --output step.json

Each runs in its own process, so that none inherits another's settings. They alternate every few iterations, so that
changes in the machine's speed affect all alike. The medians over the rounds are compared.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from torch import nn

from benchmarks.plain_pytorch import RECIPES, PlainScript
from gan_runner.commands.main import OPENMP
from gan_runner.config.build import build, load_images
from gan_runner.training.cuda_graph import CudaGraph
from gan_runner.training.devices import PrecisionName, choose_precision
from gan_runner.training.experiment import Experiment

Step = Callable[[], object]
OURS = "gan-runner"

Timed = Callable[[int], float]  # makes so many iterations, gives the milliseconds of one


def configured(*overrides: str) -> DictConfig:
    """Compose the config that these overrides describe."""
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        return compose("config", overrides=list(overrides))


def composed(*overrides: str) -> Experiment:
    """Build the experiment that these overrides describe."""
    return build(configured(*overrides))


def our_step(experiment: Experiment) -> Step:
    """One iteration of ours, without what happens at log points."""
    position = 0

    def step() -> None:
        nonlocal position
        turn = experiment.schedule.next_turn(experiment.step, experiment.epoch)
        position = experiment.step.play(turn, position)

    return step


def products(experiment: Experiment, precision: PrecisionName) -> Step:
    """The matrix products and convolutions of one iteration, and nothing else: what no step can do without.

    D goes forward and back on a joined batch, G forward for it; then both forward, and back to G's weights.
    """
    device, settings = experiment.compute.device, experiment.settings
    generator, discriminator = experiment.players.generator.net, experiment.players.discriminator.net
    calls: list[Step] = []
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def record(net: nn.Module, count: int, weights: bool, inputs: bool) -> None:
        """Add the products of one pass of a batch of `count`, with those gradients."""

        def note(layer: nn.Module, given: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
            first = layer is first_layer
            calls.append(product_of(layer, given[0].shape, weights, inputs or (weights and not first)))

        layers = [m for m in net.modules() if isinstance(m, tuple(_PRODUCTS))]
        first_layer = layers[0]
        handles = [layer.register_forward_hook(note) for layer in layers]
        is_generator = net is generator
        example = torch.zeros(
            count, *(experiment.game.latents(1, device).shape[1:] if is_generator else experiment.images.shape)
        )
        with torch.no_grad():
            net.eval()(example.to(device))
            net.train()
        for handle in handles:
            handle.remove()

    def product_of(layer: nn.Module, shape: torch.Size, weights: bool, inputs: bool) -> Step:
        alike = _alike(layer).to(device, dtype)
        given = torch.randn(shape, device=device, dtype=dtype, requires_grad=inputs)
        if given.dim() == 4:
            alike = alike.to(memory_format=torch.channels_last)
            given = given.detach().to(memory_format=torch.channels_last).requires_grad_(inputs)
        wanted = [*(alike.parameters() if weights else ()), *([given] if inputs else ())]
        outward = torch.randn_like(alike(given))

        def run() -> None:
            if wanted:
                torch.autograd.grad(alike(given), wanted, outward)
            else:
                with torch.no_grad():
                    alike(given)

        return run

    count, g_count = settings.batch_size, settings.g_batch_size
    record(generator, count, weights=False, inputs=False)
    record(discriminator, 2 * count, weights=True, inputs=False)
    record(generator, g_count, weights=True, inputs=False)
    record(discriminator, g_count, weights=False, inputs=True)

    def step() -> None:
        for call in calls:
            call()

    return CudaGraph(step, records=device.type == "cuda")


# PyTorch's own layers, and what they are made from.
_PRODUCTS: dict[type[nn.Module], list[str]] = {
    nn.Linear: ["in_features", "out_features"],
    nn.Conv2d: ["in_channels", "out_channels", "kernel_size", "stride", "padding"],
    nn.ConvTranspose2d: ["in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding"],
}


def _alike(layer: nn.Module) -> nn.Module:
    """PyTorch's layer of the same sizes, without a bias."""
    kind = next(kind for kind in _PRODUCTS if isinstance(layer, kind))
    return kind(**{name: getattr(layer, name) for name in _PRODUCTS[kind]}, bias=False)


def timed(step: Step, device: torch.device) -> Timed:
    """Time a step where it is."""

    def run(iterations: int) -> float:
        synchronise(device)
        start = time.perf_counter()
        for _ in range(iterations):
            step()
        synchronise(device)
        return 1000 * (time.perf_counter() - start) / iterations

    return run


def in_own_process(make: Callable[[], Step], device: torch.device, environment: Mapping[str, str]) -> Timed:
    """Time a step in a new process, which starts with these variables and ends with this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        context.Process(target=_serve, args=(theirs, make, device), daemon=True).start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    theirs.close()

    def run(iterations: int) -> float:
        ours.send(iterations)
        milliseconds: float = ours.recv()
        return milliseconds

    return run


def _serve(connection: Connection, make: Callable[[], Step], device: torch.device) -> None:
    run = timed(make(), device)
    with contextlib.suppress(EOFError):  # the other end is gone: all is measured
        while True:
            connection.send(run(connection.recv()))


def interleaved(contestants: Mapping[str, Timed], iterations: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds an iteration, one value a round, the contestants taking turns."""
    for run in contestants.values():
        run(max(5, iterations // 4))  # warm-up; on a GPU the recording too
    milliseconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            milliseconds[name].append(run(iterations))
    return milliseconds


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def contestants(
    recipe: str, data: str, device: torch.device, precisions: Sequence[PrecisionName]
) -> dict[str, Callable[[], Step]]:
    """What makes each step that is timed for one recipe, by name; the plain script comes first."""
    common = [f"experiment={recipe}", f"data={data}", f"trainer.device={device}"]
    makers: dict[str, Callable[[], Step]] = {"plain PyTorch script": partial(_plain, recipe, common, device)}
    if importlib.util.find_spec("keras") is not None:
        makers["Keras"] = partial(_keras, recipe, common)
    for precision in precisions:
        overrides = [*common, f"trainer.precision={precision}"]
        makers[f"{OURS} {precision}"] = partial(_ours, overrides)
        makers[f"products alone {precision}"] = partial(_products, overrides, precision)
    return makers


def _plain(recipe: str, overrides: Sequence[str], device: torch.device) -> Step:
    return PlainScript(recipe, load_images(configured(*overrides)), device, seed=0).step


def _keras(recipe: str, overrides: Sequence[str]) -> Step:
    from benchmarks.keras_script import KerasScript

    return KerasScript(recipe, load_images(configured(*overrides))).step


def _ours(overrides: Sequence[str]) -> Step:
    return our_step(composed(*overrides))


def _products(overrides: Sequence[str], precision: PrecisionName) -> Step:
    return products(composed(*overrides), precision)


def machine(device: torch.device) -> dict[str, object]:
    """What was measured on."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else capabilities.get("cpu_name"),
        "threads": torch.get_num_threads(),
        "amx_bf16": capabilities.get("amx_bf16"),
        "avx512_bf16": capabilities.get("avx512_bf16"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def report(recipe: str, milliseconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Print a table, and give it as numbers: median, lowest and highest, and the ratio of the plain script to it."""
    baseline, *_ = milliseconds
    print(f"\n{recipe}: milliseconds an iteration\n{'':28} median   lowest  highest   plain/this")
    table = {}
    for name, values in milliseconds.items():
        ratio = statistics.median(a / b for a, b in zip(milliseconds[baseline], values, strict=True))
        row = {"median": statistics.median(values), "lowest": min(values), "highest": max(values), "ratio": ratio}
        table[name] = row
        print(f"{name:26} {row['median']:8.2f} {row['lowest']:8.2f} {row['highest']:8.2f} {ratio:10.2f}x")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=list(RECIPES), action="append", help="default: all")
    parser.add_argument("--data", default="digits", help="any 28x28 grey data set of conf/data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=20, help="iterations of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="write the table as JSON")
    options = parser.parse_args()
    device = torch.device(options.device)
    best = choose_precision("auto", device)
    precisions: list[PrecisionName] = ["fp32"] if best == "fp32" else ["bf16", "fp32"]
    result: dict[str, object] = {"machine": machine(device)}
    print(result["machine"])
    for recipe in options.recipe or RECIPES:
        running = {
            name: in_own_process(make, device, OPENMP if name.startswith(OURS) else {})
            for name, make in contestants(recipe, options.data, device, precisions).items()
        }
        result[recipe] = report(recipe, interleaved(running, options.iterations, options.rounds))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
