"""One iteration: the updates of D and G that a turn names, on device memory only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan_runner.data import Feed
from gan_runner.games.adversarial import Adversarial
from gan_runner.training.cuda_graph import Recording, warn_of_eager_steps
from gan_runner.training.devices import PrecisionName, arithmetic
from gan_runner.training.meters import FiniteCounter, Meter, Reading
from gan_runner.training.player import MovingAverage, Player
from gan_runner.training.schedules import Turn


def as_float(pixels: Tensor) -> Tensor:
    """Map uint8 [0, 255] to float32 [-1, 1], any shape."""
    return (pixels / 127.5).sub_(1.0)


class Stepper:
    """Plays turns.

    Args:
        game: what is minimised.
        discriminator: D.
        generator: G.
        average: G's moving average, or None.
        feed: where real images come from.
        image_shape: (C, H, W).
        batch_size: real images, and generated ones, in an update of D.
        g_batch_size: generated images in an update of G.
        device: where everything lies.
        precision: the number format of matrix products.
    """

    def __init__(
        self,
        game: Adversarial,
        discriminator: Player,
        generator: Player,
        average: MovingAverage | None,
        feed: Feed,
        image_shape: tuple[int, int, int],
        batch_size: int,
        g_batch_size: int,
        device: torch.device,
        precision: PrecisionName,
    ) -> None:
        self._game = game
        self._d = discriminator
        self._g = generator
        self._average = average
        self._feed = feed
        self._batch_size = batch_size
        self._g_batch_size = g_batch_size
        self._device = device
        self._precision: PrecisionName = precision
        self._image_shape = image_shape
        self._d_meter = Meter(game.d_readings, device)
        self._g_meter = Meter(game.g_readings, device)
        self.finite = FiniteCounter(device)
        # Buffers that stay where they are, so that a recorded turn finds its input: by number of D's updates.
        self._real: dict[int, Tensor] = {}
        self._fake = torch.empty(0)
        self._fixed_real = torch.empty(0)
        self._fixed_fake = torch.empty(0)
        self._fixed_used = 0
        self._recordings: dict[Turn, Recording] = {}
        self._records = device.type == "cuda" and discriminator.recordable and generator.recordable
        if device.type == "cuda" and not self._records:
            warn_of_eager_steps("an optimizer keeps its learning rate on the host, unlike optimizer=adam")

    def play(self, turn: Turn, position: int) -> int:
        """Play a turn.

        Args:
            turn: which updates to make.
            position: where in the stream of real images the turn begins.

        Returns:
            The position after it.
        """
        if turn.renew_fixed_set:
            position = self._renew_fixed_set(turn.renew_fixed_set, position)
        d_steps = turn.players.count("d")
        if d_steps and turn.fixed_set:
            self._load_fixed_batch()
        elif d_steps:
            real = self._real_buffer(d_steps)
            self._feed.load(position, real)
            position += len(real)
        kind = Turn(turn.players, turn.same_latents, turn.fixed_set)
        if kind not in self._recordings:
            self._recordings[kind] = Recording(partial(self._play, kind), self._records)
        self._recordings[kind]()
        return position

    def read_d(self) -> Reading:
        """Totals of what D's updates measured; waits for the device."""
        return self._d_meter.read()

    def read_g(self) -> Reading:
        """Totals of what G's updates measured; waits for the device."""
        return self._g_meter.read()

    def _play(self, turn: Turn) -> None:
        losses = []
        latents = None
        real = iter(self._real_buffer(turn.players.count("d")).split(self._batch_size))
        for player in turn.players:
            if player == "d":
                latents = self._game.latent.sample(self._batch_size, self._device)
                losses.append(self._d_step(next(real), latents, self._fake if turn.fixed_set else None))
            else:
                if latents is None or not turn.same_latents:
                    latents = self._game.latent.sample(self._g_batch_size, self._device)
                losses.append(self._g_step(latents))
                latents = None
        self.finite.add(losses)

    def _d_step(self, real: Tensor, latents: Tensor, fake: Tensor | None) -> Tensor:
        """Update D on real images, uint8, and on `fake` or else what G draws from the latents; gives D's loss."""
        with arithmetic(self._precision, self._device):
            if fake is None:
                fake = self._generate(latents)
            judgement = self._game.d_terms(as_float(real), fake)
        self._d.minimise(judgement.terms)
        readings = self._game.read_d(judgement)
        self._d_meter.add(readings)
        return readings[0]

    def _g_step(self, latents: Tensor) -> Tensor:
        """Update G, with D standing still; gives G's loss."""
        with self._d.frozen():
            with arithmetic(self._precision, self._device):
                terms, fake_logits = self._game.g_terms(latents)
            self._g.minimise(terms)
        if self._average is not None:
            self._average.update(self._g.net)
        readings = self._game.read_g(terms, fake_logits)
        self._g_meter.add(readings)
        return readings[0]

    def _generate(self, latents: Tensor) -> Tensor:
        with self._g.frozen(), torch.no_grad():
            images: Tensor = self._g.net(latents)
            return images

    def _real_buffer(self, d_steps: int) -> Tensor:
        if d_steps not in self._real:
            shape = (d_steps * self._batch_size, *self._image_shape)
            self._real[d_steps] = torch.empty(shape, dtype=torch.uint8, device=self._device)
        return self._real[d_steps]

    def _renew_fixed_set(self, count: int, position: int) -> int:
        """Put aside `count` real images and as many generated ones for D to learn from; gives the new position."""
        self._fixed_real = torch.empty((count, *self._image_shape), dtype=torch.uint8, device=self._device)
        self._feed.load(position, self._fixed_real)
        latents = self._game.latent.sample(count, self._device)
        with arithmetic(self._precision, self._device):
            batches = [self._generate(batch) for batch in latents.split(self._batch_size)]
        self._fixed_fake = torch.cat(batches).float()
        self._fixed_used = 0
        return position + count

    def _load_fixed_batch(self) -> None:
        """Put the next batch of the fixed set, round and round, where D's update looks for it."""
        count = len(self._fixed_real)
        rows = torch.arange(self._fixed_used, self._fixed_used + self._batch_size, device=self._device) % count
        self._fixed_used = (self._fixed_used + self._batch_size) % count
        if not len(self._fake):
            self._fake = torch.empty((self._batch_size, *self._image_shape), device=self._device)
        torch.index_select(self._fixed_real, 0, rows, out=self._real_buffer(1))
        torch.index_select(self._fixed_fake, 0, rows, out=self._fake)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "d_meter": self._d_meter.state_dict(),
            "g_meter": self._g_meter.state_dict(),
            "finite": self.finite.state_dict(),
            "fixed_real": self._fixed_real,
            "fixed_fake": self._fixed_fake,
            "fixed_used": self._fixed_used,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._d_meter.load_state_dict(state["d_meter"])
        self._g_meter.load_state_dict(state["g_meter"])
        self.finite.load_state_dict(state["finite"])
        self._fixed_real = state["fixed_real"].to(self._device)
        self._fixed_fake = state["fixed_fake"].to(self._device)
        self._fixed_used = state["fixed_used"]
        # A loaded optimizer keeps its moments in new tensors, which no recording knows of.
        self._recordings.clear()
