"""One iteration of pix2pix as published: this runner beside a plain script as its authors wrote theirs.

    python -m benchmarks.pairs_step --size 32
    python -m benchmarks.pairs_step --size 256 --iterations 2 --rounds 2 --peak-of script

Both are in one process on one thread and make a few iterations at a time in turn, loading included. The script has
PyTorch's own modules, batch norm and dropout, two default Adams, and D's passes for real and drawn images apart. Time
is that of the processor, which other programs on the machine change little. `--peak-of` has one of the two alone, and
adds the most memory that the process took.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import statistics
import time
from collections.abc import Iterator, Mapping

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional

from benchmarks.step import OURS, Step, composed, configured, our_step
from gan_runner.config.build import load_images
from gan_runner.data.batch import SOURCE
from gan_runner.data.image_set import ImageSet, kind_of

SCRIPT = "script"
_ENLARGED = 286 / 256  # before images are cropped


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs as such scripts load them: a PIL image each, enlarged, cropped and mirrored alike."""

    def __init__(self, images: ImageSet) -> None:
        rows = torch.arange(len(images))
        self._truths, self._sources = images.pixels(rows), images.conditions(rows)[SOURCE]
        self._size = images.shape[1]
        self._enlarged = round(self._size * _ENLARGED)

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._truths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A source and its truth, float32 [C, H, W] in [-1, 1]."""
        left, top = (int(torch.randint(self._enlarged - self._size + 1, ())) for _ in range(2))
        mirrored = bool(torch.rand(()) > 0.5)
        source, truth = (self._loaded(side[index], top, left, mirrored) for side in (self._sources, self._truths))
        return source, truth

    def _loaded(self, pixels: Tensor, top: int, left: int, mirrored: bool) -> Tensor:
        picture = functional.to_pil_image(pixels).resize((self._enlarged, self._enlarged), Image.Resampling.BICUBIC)
        picture = functional.crop(picture, top, left, self._size, self._size)
        tensor = functional.to_tensor(functional.hflip(picture) if mirrored else picture)
        normalised: Tensor = functional.normalize(tensor, [0.5] * len(tensor), [0.5] * len(tensor))
        return normalised


class UNet(nn.Module):
    """The published U-Net, with as many halvings as lead to one pixel.

    Args:
        size: height and width, a power of two.
        given: channels of the source.
        drawn: channels of what is drawn.
    """

    def __init__(self, size: int, given: int, drawn: int) -> None:
        super().__init__()
        widths = [64 * min(8, 2**level) for level in range(int(math.log2(size)))]
        self.down = nn.ModuleList([nn.Conv2d(given, widths[0], 4, 2, 1)])
        for before, after in itertools.pairwise(widths[:-1]):
            convolution = nn.Conv2d(before, after, 4, 2, 1, bias=False)
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), convolution, nn.BatchNorm2d(after)))
        self.down.append(nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(widths[-2], widths[-1], 4, 2, 1)))
        self.up = nn.ModuleList()
        for level in range(len(widths) - 1, 0, -1):
            before, after = widths[level] * (1 if level == len(widths) - 1 else 2), widths[level - 1]
            layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
            layers.append(nn.BatchNorm2d(after))
            if len(widths) - level <= 3:
                layers.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * widths[0], drawn, 4, 2, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, given, size, size] to [B, drawn, size, size]."""
        skipped: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skipped.append(x)
        x = skipped.pop()
        for up in self.up:
            x = torch.cat([up(x), skipped.pop()], 1)
        drawn: Tensor = self.last(x)
        return drawn


def patch_discriminator(given: int, halvings: int) -> nn.Module:
    """The published discriminator of both images of a pair, with so many layers that halve the size."""
    layers: list[nn.Module] = [nn.Conv2d(given, 64, 4, 2, 1), nn.LeakyReLU(0.2)]
    for level in range(1, halvings + 1):
        before, after = (64 * min(8, 2**each) for each in (level - 1, level))
        stride = 2 if level < halvings else 1
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(after, 1, 4, 1, 1))


class PlainPairs:
    """The training loop of such a script; a call of `step` is one iteration, loading included."""

    def __init__(self, images: ImageSet, halvings: int, batch: int, seed: int) -> None:
        torch.manual_seed(seed)
        kind = kind_of(images)
        assert kind.source is not None, "these are pairs"
        channels, size, _ = kind.shape
        self.generator = UNet(size, kind.source[0], channels)
        self.discriminator = patch_discriminator(channels + kind.source[0], halvings)
        for net in (self.generator, self.discriminator):
            for layer in net.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.normal_(layer.weight, std=0.02)
        self._optimizer_g = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self._optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self._loader = DataLoader(Pairs(images), batch_size=batch, shuffle=True, drop_last=True)
        self._batches: Iterator[list[Tensor]] = iter(())
        self._gan, self._l1 = nn.BCEWithLogitsLoss(), nn.L1Loss()

    def step(self) -> None:
        """Train D, then G, with what G has drawn once."""
        source, truth = self._next_batch()
        fake = self.generator(source)

        self.discriminator.requires_grad_(True)
        self._optimizer_d.zero_grad()
        of_fake = self.discriminator(torch.cat([source, fake.detach()], 1))
        of_real = self.discriminator(torch.cat([source, truth], 1))
        loss_d = 0.5 * (self._gan(of_fake, torch.zeros_like(of_fake)) + self._gan(of_real, torch.ones_like(of_real)))
        loss_d.backward()
        self._optimizer_d.step()

        self.discriminator.requires_grad_(False)
        self._optimizer_g.zero_grad()
        of_fake = self.discriminator(torch.cat([source, fake], 1))
        loss_g = self._gan(of_fake, torch.ones_like(of_fake)) + 100 * self._l1(fake, truth)
        loss_g.backward()
        self._optimizer_g.step()

    def _next_batch(self) -> list[Tensor]:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self._loader)
            batch = next(self._batches)
        return batch


def milliseconds(step: Step, iterations: int) -> float:
    """Of the processor's time that an iteration takes."""
    start = time.process_time()
    for _ in range(iterations):
        step()
    return 1000 * (time.process_time() - start) / iterations


def in_turns(contestants: Mapping[str, Step], rounds: int, iterations: int, about: str) -> dict[str, list[float]]:
    """Run each in turn, round by round, and print its median.

    Args:
        contestants: what makes an iteration, by name.
        rounds: how often each has its turn.
        iterations: in a turn.
        about: what a printed line begins with.

    Returns:
        Milliseconds of an iteration, for each contestant and round.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for step in contestants.values():
        milliseconds(step, 2)
    for _ in range(rounds):
        for name, step in contestants.items():
            taken[name].append(milliseconds(step, iterations))
    for name, values in taken.items():
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{about}: {name:10} {statistics.median(values):8.1f} ms per iteration {spread}")
    return taken


def halvings_of(size: int) -> int:
    """Layers of the discriminator that halve the size, as many as ours has for images of so many pixels each way."""
    return max(1, min(3, math.ceil(math.log2(size)) - 3))


def print_peak(about: str, name: str) -> None:
    """Print the most memory that this process has taken."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{about}: {name} took {peak:.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="pix2pix")
    parser.add_argument("--size", type=int, default=32, help="pixels, a power of two")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10, help="iterations of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak-of", choices=[SCRIPT, OURS], help="have this one alone, and add its peak of memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    words = [f"experiment={options.experiment}", "data.dataset=emoji", "data.transform=grey"]
    words += [f"data.image_size={options.size}", f"trainer.batch_size={options.batch}", "trainer.device=cpu"]
    words += ["trainer.threads=1", "evaluation=off"]
    contestants: dict[str, Step] = {}
    if options.peak_of != OURS:
        images = load_images(configured(*words))
        contestants[SCRIPT] = PlainPairs(images, halvings_of(options.size), options.batch, seed=0).step
    if options.peak_of != SCRIPT:
        contestants[OURS] = our_step(composed(*words))
    about = f"{options.experiment}, {options.size} pixels, {options.batch} a batch"
    taken = in_turns(contestants, options.rounds, options.iterations, about)
    if len(taken) == 2:
        ratios = [script / ours for script, ours in zip(taken[SCRIPT], taken[OURS], strict=True)]
        print(f"{about}: the script takes {statistics.median(ratios):.2f} times as long")
    if options.peak_of:
        print_peak(about, options.peak_of)


if __name__ == "__main__":
    main()
