"""One iteration of CycleGAN as published: this runner beside a plain script as its authors wrote theirs, and FastCUT.

    python -m benchmarks.domains_step --size 32
    python -m benchmarks.domains_step --size 128 --iterations 1 --rounds 3
    python -m benchmarks.domains_step --rounds 1 --peak-of gan-runner

All are in one process on one thread and make a few iterations at a time in turn, loading included. The script has
PyTorch's own modules, a pool on the host that decides by Python's random numbers, six passes of generators for G's
update, and D's passes for real and drawn images apart. Time is that of the processor, which other programs on the
machine change little. `--peak-of` has one of the three alone, and adds the most memory that the process took.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.pairs_step import SCRIPT, Pairs, halvings_of, in_turns, print_peak
from benchmarks.step import OURS, Step, composed, configured, our_step
from gan_runner.config.build import load_images
from gan_runner.data.image_set import ImageSet, kind_of

FASTCUT = "fastcut"
_POOL = 50


class TwoPiles(Dataset[tuple[Tensor, Tensor]]):
    """Images of two domains as such scripts load them: the second of each at random."""

    def __init__(self, images: ImageSet) -> None:
        self._pairs = Pairs(images)

    def __len__(self) -> int:
        """Images of the larger domain."""
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A source and an image, float32 [C, H, W] in [-1, 1]."""
        source, _ = self._pairs[index]
        _, image = self._pairs[random.randrange(len(self._pairs))]
        return source, image


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
            layers += [] if last else [nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to the same shape."""
        changed: Tensor = x + self.layers(x)
        return changed


def generator(given: int, drawn: int, blocks: int) -> nn.Module:
    """The published generator."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(given, 64, 7), nn.InstanceNorm2d(64), nn.ReLU(inplace=True)]
    for width in (64, 128):
        layers += [nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(inplace=True)]
    layers += [ResidualBlock(256) for _ in range(blocks)]
    for width in (256, 128):
        layers.append(nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1))
        layers += [nn.InstanceNorm2d(width // 2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(64, drawn, 7), nn.Tanh())


def discriminator(given: int, halvings: int) -> nn.Module:
    """The published discriminator of patches, with so many layers that halve the size."""
    layers: list[nn.Module] = [nn.Conv2d(given, 64, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    after = 64
    for level in range(1, halvings + 1):
        before, after = (64 * min(8, 2**each) for each in (level - 1, level))
        layers += [nn.Conv2d(before, after, 4, 2 if level < halvings else 1, 1), nn.InstanceNorm2d(after)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers, nn.Conv2d(after, 1, 4, 1, 1))


class Pool:
    """Drawn images of earlier iterations."""

    def __init__(self) -> None:
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """The images, or some that were drawn earlier in their place."""
        out = []
        for image in images.detach().unsqueeze(1):
            if len(self._images) < _POOL:
                self._images.append(image)
                out.append(image)
            elif random.random() > 0.5:
                place = random.randrange(_POOL)
                out.append(self._images[place].clone())
                self._images[place] = image
            else:
                out.append(image)
        return torch.cat(out)


class PlainCycle:
    """The training loop of such a script; a call of `step` is one iteration, loading included."""

    def __init__(self, images: ImageSet, halvings: int, blocks: int, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        kind = kind_of(images)
        assert kind.source is not None, "these are two domains"
        a, b = kind.source[0], kind.shape[0]
        self.g, self.f = generator(a, b, blocks), generator(b, a, blocks)
        self.d_a, self.d_b = discriminator(a, halvings), discriminator(b, halvings)
        for net in (self.g, self.f, self.d_a, self.d_b):
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.normal_(layer.weight, std=0.02)
        of_g, of_d = ((self.g, self.f), (self.d_a, self.d_b))
        self._optimizer_g, self._optimizer_d = (
            torch.optim.Adam(itertools.chain(*(net.parameters() for net in nets)), lr=2e-4, betas=(0.5, 0.999))
            for nets in (of_g, of_d)
        )
        self._loader = DataLoader(TwoPiles(images), batch_size=batch, shuffle=True, drop_last=True)
        self._batches: Iterator[list[Tensor]] = iter(())
        self._gan, self._l1 = nn.MSELoss(), nn.L1Loss()
        self._pools = {"a": Pool(), "b": Pool()}

    def step(self) -> None:
        """Train both generators, then both discriminators."""
        a, b = self._next_batch()
        fake_b, fake_a = self.g(a), self.f(b)
        again_a, again_b = self.f(fake_b), self.g(fake_a)

        for net in (self.d_a, self.d_b):
            net.requires_grad_(False)
        self._optimizer_g.zero_grad()
        identity = self._l1(self.g(b), b) + self._l1(self.f(a), a)
        of_a, of_b = self.d_a(fake_a), self.d_b(fake_b)
        adversarial = self._gan(of_b, torch.ones_like(of_b)) + self._gan(of_a, torch.ones_like(of_a))
        cycle = self._l1(again_a, a) + self._l1(again_b, b)
        (adversarial + 10 * cycle + 5 * identity).backward()
        self._optimizer_g.step()

        for net in (self.d_a, self.d_b):
            net.requires_grad_(True)
        self._optimizer_d.zero_grad()
        for net, real, fake, name in ((self.d_b, b, fake_b, "b"), (self.d_a, a, fake_a, "a")):
            of_real, of_fake = net(real), net(self._pools[name].query(fake))
            loss = self._gan(of_real, torch.ones_like(of_real)) + self._gan(of_fake, torch.zeros_like(of_fake))
            (0.5 * loss).backward()
        self._optimizer_d.step()

    def _next_batch(self) -> list[Tensor]:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self._loader)
            batch = next(self._batches)
        return batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=6, help="residual blocks of the script and of all of ours")
    parser.add_argument("--iterations", type=int, default=5, help="iterations of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-of", choices=[SCRIPT, OURS, FASTCUT], help="have this one alone, and add its peak")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = ["data.dataset=emoji", "data.transform=dark_on_light", f"data.image_size={options.size}"]
    words += [f"trainer.batch_size={options.batch}", "trainer.device=cpu", "trainer.precision=fp32"]
    words += ["trainer.threads=1", "evaluation=off", f"model.blocks={options.blocks}"]

    def script() -> Step:
        images = load_images(configured("experiment=cyclegan", *words))
        return PlainCycle(images, halvings_of(options.size), options.blocks, options.batch, seed=0).step

    def ours(experiment: str) -> Step:
        return our_step(composed(f"experiment={experiment}", *words))

    makers: dict[str, Callable[[], Step]] = {
        SCRIPT: script,
        OURS: partial(ours, "cyclegan"),
        FASTCUT: partial(ours, FASTCUT),
    }
    contestants = {name: make() for name, make in makers.items() if options.peak_of in (None, name)}
    about = f"{options.size} pixels, {options.batch} a batch, {options.blocks} blocks"
    taken = in_turns(contestants, options.rounds, options.iterations, about)
    if options.peak_of:
        print_peak(about, options.peak_of)
        return
    for one, other, said in ((SCRIPT, OURS, "the script"), (FASTCUT, OURS, "FastCUT")):
        ratios = [first / second for first, second in zip(taken[one], taken[other], strict=True)]
        print(f"{about}: {said} takes {statistics.median(ratios):.2f} times as long as our CycleGAN")


if __name__ == "__main__":
    main()
