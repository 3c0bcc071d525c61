"""One iteration: the updates of D and G that a turn names, on device memory only."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gan_runner import tags
from gan_runner.data import Batch, Loader
from gan_runner.data.batch import joined
from gan_runner.games import DrawsBesideReal, Game, WithLazyTerms, drawn_beside
from gan_runner.training.cuda_graph import CudaGraph, warn_of_eager_steps
from gan_runner.training.devices import Compute
from gan_runner.training.distributed import ALONE, World
from gan_runner.training.meters import FiniteCounter, Meter, Reading
from gan_runner.training.player import Players
from gan_runner.training.schedules import Turn

# Of each update of D in a turn, the names of the terms that it minimises apart afterwards.
Phases = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class BatchSizes:
    """Images in an update, of this process's share where several train together.

    Attributes:
        d: real images, and as many generated ones, in an update of D.
        g: generated images in an update of G.
    """

    d: int
    g: int


@dataclass
class _FixedSet:
    """The fixed images of one round of D: real ones, uint8, and generated ones."""

    real: Batch
    fake: Batch
    used: int = 0


class _DrawnOnce(nn.Module):
    """G in a turn in which D's last update and G's first draw from one input: it computes the images once.

    Args:
        net: G, whose weights stand still between the two.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self._given: tuple[Any, ...] | None = None
        self._drawn: Any = None

    def forward(self, *given: Any) -> Any:
        """Draw, or give what was drawn where this is the very input of the last call."""
        if self._given is None or len(given) != len(self._given) or any(map(operator.is_not, given, self._given)):
            self._given, self._drawn = given, self.net(*given)
        return self._drawn

    def __getattr__(self, name: str) -> Any:
        """What else a game asks G for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("net"), name)


class TrainStep:
    """Plays turns: the updates themselves, and nothing that waits for the device.

    Args:
        game: what is minimised.
        players: who plays.
        loader: where real images come from.
        sizes: images in an update.
        compute: where, and in which number format.
        world: who plays together; each its share of every batch.
    """

    def __init__(
        self,
        game: Game,
        players: Players,
        loader: Loader,
        sizes: BatchSizes,
        compute: Compute,
        world: World = ALONE,
    ) -> None:
        self._game = game
        self._players = players
        self._loader = loader
        self.sizes = sizes
        self._compute = compute
        self._world = world
        self._d_meter = Meter(compute.device, world)
        self._g_meter = Meter(compute.device, world)
        self.finite = FiniteCounter(compute.device, world)
        # Buffers that stay where they are, so that a recorded turn finds its input: by number of images.
        self._real: dict[int, Batch] = {}
        self._fixed: _FixedSet | None = None
        self._fixed_fake: Batch | None = None  # the fixed set's next batch of generated images
        self._graphs: dict[tuple[Turn, Phases], CudaGraph] = {}
        self._d_steps = 0  # so far, by which lazy terms have their turn
        on_gpu = compute.device.type == "cuda"
        recordable = players.discriminator.recordable and players.generator.recordable
        self._records = on_gpu and recordable and world.size == 1
        if on_gpu and not recordable:
            warn_of_eager_steps("an optimizer keeps its learning rate on the host, unlike optimizer=adam")

    def play(self, turn: Turn, position: int) -> int:
        """Play a turn.

        Args:
            turn: which updates to make.
            position: where in the stream of real images the turn begins, which all processes together go along.

        Returns:
            The position after it.
        """
        if turn.renew_fixed_set:
            position = self._renew_fixed_set(turn.renew_fixed_set, position)
        if turn.d_steps and turn.fixed_set:
            self._load_fixed_batch()
        elif shown := self._images_shown_in(turn):
            self._loader.load(position // self._world.size, self._buffer(shown))
            position += shown * self._world.size
        kind = (turn.kind, self._lazy_phases(turn.d_steps))
        if kind not in self._graphs:
            self._graphs[kind] = CudaGraph(partial(self._updates, *kind), self._records)
        self._graphs[kind]()
        if turn.g_steps and self._players.average is not None:
            self._players.average.statistics_of = 0
        self._d_steps += turn.d_steps
        return position

    def _lazy_phases(self, d_steps: int) -> Phases:
        """Names of the lazy terms that D minimises in extra updates after each of its next updates."""
        game = self._game
        if not isinstance(game, WithLazyTerms):
            return ((),) * d_steps
        return tuple(game.d_lazy_phase(self._d_steps + update) for update in range(d_steps))

    def read_d(self) -> Reading:
        """Totals of what D's updates measured; waits for the device."""
        return self._d_meter.read()

    def read_g(self) -> Reading:
        """Totals of what G's updates measured; waits for the device."""
        return self._g_meter.read()

    def _images_shown_in(self, turn: Turn) -> int:
        """Real images that a turn takes from the stream: D's, or G's own where it plays alone and looks at some."""
        if turn.d_steps:
            return turn.d_steps * self.sizes.d
        return self.sizes.g if self._game.g_sees_data else 0

    def _updates(self, turn: Turn, lazy: Phases) -> None:
        losses: list[Tensor] = []
        latents: Tensor | None = None
        drawn: Batch | None = None  # by G where it plays first
        drawing: _DrawnOnce | None = None
        count = self._images_shown_in(turn)
        parts = list(self._buffer(count).split(self.sizes.d if turn.d_steps else count)) if count else []
        shown = parts[0].as_float() if parts else None
        if turn.g_first:
            for _ in range(turn.g_steps):
                loss, drawn = self._g_step(self._latents(self.sizes.g), shown, self._players.generator.net)
                losses.append(loss)
        for update, part in enumerate(parts):
            shown = shown if shown is not None and not update else part.as_float()
            if turn.d_steps:
                latents = self._latents(self.sizes.d)
                if update == turn.d_steps - 1 and self._g_draws_the_same(turn, latents):
                    drawing = _DrawnOnce(self._players.generator.net)
                fake = self._fixed_fake if turn.fixed_set else drawn
                drawn = None
                if fake is None:
                    fake = self._generate(latents, shown, drawing)
                losses += self._d_step(shown, fake, lazy[update])
        for _ in range(0 if turn.g_first else turn.g_steps):
            if latents is None or not turn.same_latents:
                latents = self._latents(self.sizes.g)
            losses.append(self._g_step(latents, shown, drawing or self._players.generator.net)[0])
            latents = drawing = None
        self.finite.add(losses)

    def _g_draws_the_same(self, turn: Turn, latents: Tensor) -> bool:
        """Whether G's first update draws from the very input of D's last, these latents and the images with them."""
        if turn.g_first or turn.fixed_set or not turn.g_steps or isinstance(self._game, DrawsBesideReal):
            return False
        drawn_from_data_alone = self._game.g_sees_data and not latents.numel() and self.sizes.d == self.sizes.g
        return turn.same_latents or drawn_from_data_alone

    def _d_step(self, shown: Batch, fake: Batch, lazy: Sequence[str]) -> list[Tensor]:
        """Update D on real and generated images; gives D's losses."""
        with self._compute.arithmetic():
            outcome = self._game.d_terms(self._players.discriminator.net, shown, fake)
        loss = self._players.discriminator.minimise(outcome.terms)
        self._d_meter.add({tags.LOSS_D: loss, **outcome.measured})
        if not lazy:
            return [loss]
        assert isinstance(self._game, WithLazyTerms)
        with self._compute.arithmetic():
            terms = self._game.d_lazy_terms(self._players.discriminator.net, shown, fake, lazy)
        return [loss, self._players.discriminator.minimise(terms)]

    def _g_step(self, latents: Tensor, shown: Batch | None, net: nn.Module) -> tuple[Tensor, Batch | None]:
        """Update G, which draws by `net`, with D standing still; gives G's loss, and what it drew for D if it did.

        That is None too where D's update takes another number of images.
        """
        generator, discriminator = self._players.generator, self._players.discriminator
        if self._game.g_sees_data:
            assert shown is not None, "a turn in which G looks at images brings some"
            shown = shown.first(len(latents))
        with discriminator.frozen():
            with self._compute.arithmetic():
                outcome = self._game.g_terms(discriminator.net, net, latents, shown if self._game.g_sees_data else None)
            loss = generator.minimise(outcome.terms)
        if self._players.average is not None:
            self._players.average.update(generator.net)
        self._g_meter.add({tags.LOSS_G: loss, **outcome.measured})
        return loss, outcome.drawn if self.sizes.g == self.sizes.d else None

    def _generate(self, latents: Tensor, shown: Batch, drawing: _DrawnOnce | None = None) -> Batch:
        """What D is shown of G's; through `drawing`, G's own update finds it there with its graph."""
        with self._compute.arithmetic():
            if drawing is not None:
                return drawn_beside(self._game, drawing, latents, shown).map(Tensor.detach)
            with self._players.generator.frozen(), torch.no_grad():
                return drawn_beside(self._game, self._players.generator.net, latents, shown)

    def _latents(self, count: int) -> Tensor:
        return self._world.drawn(partial(_drawn, self._game, self._compute.device), count)

    def _buffer(self, count: int) -> Batch:
        if count not in self._real:
            self._real[count] = self._loader.buffer(count)
        return self._real[count]

    def _renew_fixed_set(self, count: int, position: int) -> int:
        """Put aside `count` real images and as many generated ones for D to learn from; gives the new position."""
        share = self._world.share(count, "schedule.fixed_set")
        real = self._loader.buffer(share)
        self._loader.load(position // self._world.size, real)
        latents = self._latents(share)
        size = self.sizes.d
        drawn = [
            self._generate(z, part.as_float()) for z, part in zip(latents.split(size), real.split(size), strict=True)
        ]
        fake = joined(drawn)
        self._fixed = _FixedSet(real, Batch(fake.images.float(), fake.conditions))
        return position + count

    def _load_fixed_batch(self) -> None:
        """Load the next batch of the fixed set, cyclically, into the buffer that D's update reads."""
        fixed, size, device = self._fixed, self.sizes.d, self._compute.device
        assert fixed is not None, "a stretch on a fixed set begins by renewing it"
        rows = torch.arange(fixed.used, fixed.used + size, device=device) % len(fixed.real)
        fixed.used = (fixed.used + size) % len(fixed.real)
        if self._fixed_fake is None:
            self._fixed_fake = fixed.fake.like(size, device)
        self._buffer(size).fill_from(fixed.real, rows)
        self._fixed_fake.fill_from(fixed.fake, rows)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        fixed = self._fixed
        return {
            "d_meter": self._d_meter.state_dict(),
            "g_meter": self._g_meter.state_dict(),
            "finite": self.finite.state_dict(),
            "d_updates": self._d_steps,
            "fixed_set": fixed
            and {
                "real": dict(fixed.real.map(self._world.interleaved).parts()),
                "fake": dict(fixed.fake.map(self._world.interleaved).parts()),
                "used": fixed.used * self._world.size,
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self._d_meter.load_state_dict(state["d_meter"])
        self._g_meter.load_state_dict(state["g_meter"])
        self.finite.load_state_dict(state["finite"])
        self._d_steps = state["d_updates"]
        fixed = state["fixed_set"]
        self._fixed = fixed and _FixedSet(
            self._restored(fixed["real"]), self._restored(fixed["fake"]), fixed["used"] // self._world.size
        )
        # A loaded optimizer keeps its moments in new tensors, which no recorded turn knows of.
        self._graphs.clear()

    def _restored(self, parts: Mapping[str, Tensor]) -> Batch:
        conditions = {name: tensor for name, tensor in parts.items() if name != "images"}
        whole = Batch(parts["images"], conditions)
        self._world.share(len(whole), "schedule.fixed_set")
        return whole.map(self._world.shard).to(self._compute.device)


def _drawn(game: Game, device: torch.device, count: int, generator: torch.Generator | None) -> Tensor:
    return game.latents(count, device, generator)
