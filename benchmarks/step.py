"""One iteration of the recipes: this runner beside the plain PyTorch script, and Keras where it is installed.

    python -m benchmarks.step --data fashion_mnist --output step.json

All contestants run in one process, a few iterations at a time in turn, so that a machine whose speed drifts
treats them alike; the median of each contestant's rounds is compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hydra import compose, initialize_config_module
from torch import nn

from benchmarks.plain_pytorch import RECIPES, PlainScript
from gan_runner.build import Experiment, build
from gan_runner.data import ImageSet
from gan_runner.devices import PrecisionName, choose_precision

Step = Callable[[], object]


def composed(*overrides: str) -> Experiment:
    """Build the experiment that these overrides describe."""
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        return build(compose("config", overrides=list(overrides)))


def our_step(experiment: Experiment) -> Step:
    """One iteration of ours, without what happens at log points."""
    position = 0

    def step() -> None:
        nonlocal position
        turn = experiment.schedule.next_turn(experiment.stepper, experiment.pace)
        position = experiment.stepper.play(turn, position)

    return step


def products(experiment: Experiment, precision: PrecisionName) -> Step:
    """The matrix products and convolutions of one iteration, and nothing else: what no step can do without.

    D goes forward and back on a joined batch, G forward for it; then both forward, and back to G's weights.
    """
    device, settings = experiment.device, experiment.settings
    generator, discriminator = experiment.generator.net, experiment.discriminator.net
    calls: list[Step] = []
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def record(net: nn.Module, count: int, weights: bool, inputs: bool) -> None:
        """Add the products of one pass of a batch of `count`, with those gradients."""
        handles = []

        def note(layer: nn.Module, given: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
            first = layer is first_layer
            calls.append(product_of(layer, given[0].shape, weights, inputs or (weights and not first)))

        layers = [m for m in net.modules() if isinstance(m, tuple(_PRODUCTS))]
        first_layer = layers[0]
        handles = [layer.register_forward_hook(note) for layer in layers]
        is_generator = net is generator
        example = torch.zeros(count, *((experiment.latent.dim,) if is_generator else experiment.images.shape))
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

    return step


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


def interleaved(steps: dict[str, Step], iterations: int, rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds an iteration, one value a round, the contestants taking turns."""
    milliseconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(max(2, iterations // 4)):  # warm-up; on a GPU the recording too
            step()
    for _ in range(rounds):
        for name, step in steps.items():
            _synchronise(device)
            start = time.perf_counter()
            for _ in range(iterations):
                step()
            _synchronise(device)
            milliseconds[name].append(1000 * (time.perf_counter() - start) / iterations)
    return milliseconds


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def contestants(recipe: str, data: str, device: torch.device, precisions: Sequence[PrecisionName]) -> dict[str, Step]:
    """Everything that is timed for one recipe, by name; the plain script comes first."""
    common = [f"experiment={recipe}", f"data={data}", f"trainer.device={device}", "trainer.log_every=50"]
    ours = {precision: composed(*common, f"trainer.precision={precision}") for precision in precisions}
    images: ImageSet = next(iter(ours.values())).images
    steps: dict[str, Step] = {"plain PyTorch script": PlainScript(recipe, images, device, seed=0).step}
    if importlib.util.find_spec("keras") is not None:
        from benchmarks.keras_script import KerasScript

        steps["Keras"] = KerasScript(recipe, images).step
    for precision, experiment in ours.items():
        steps[f"gan-runner {precision}"] = our_step(experiment)
        steps[f"products alone {precision}"] = products(experiment, precision)
    return steps


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
        steps = contestants(recipe, options.data, device, precisions)
        result[recipe] = report(recipe, interleaved(steps, options.iterations, options.rounds, device))
    if options.output:
        options.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
