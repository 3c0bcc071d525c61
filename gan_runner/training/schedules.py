"""When D plays and when G plays.

A schedule gives one turn after another; an iteration of the run is one turn.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

from gan_runner import tags
from gan_runner.errors import UserError
from gan_runner.games.game import accuracy_of
from gan_runner.ranges import Count, CountOrZero, Fraction
from gan_runner.training.meters import Reading

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Turn:
    """What one iteration plays.

    Attributes:
        d_steps: updates of D, which come first unless `g_first`.
        g_steps: updates of G.
        g_first: G's updates come first, and D is shown what the last of them drew, as far as the game hands it on.
        same_latents: G's first update draws from the latents of D's last.
        fixed_set: D learns from the fixed set of images, not from the stream.
        renew_fixed_set: images of each kind to put aside as a new fixed set before this turn; 0 for none.
    """

    d_steps: int = 0
    g_steps: int = 0
    same_latents: bool = False
    fixed_set: bool = False
    renew_fixed_set: int = 0
    g_first: bool = False

    @property
    def kind(self) -> Turn:
        """The updates alone, which are played alike every time."""
        return replace(self, renew_fixed_set=0)

    def __str__(self) -> str:
        """Name the turn: "2 x D, 1 x G"."""
        counts = (("D", self.d_steps), ("G", self.g_steps))
        updates = [f"{count} x {name}" for name, count in (counts[::-1] if self.g_first else counts) if count]
        return ", ".join(updates) + " on a new fixed set" * bool(self.renew_fixed_set)


@dataclass(frozen=True)
class EpochLength:
    """How long an epoch is: a number of images, whatever the order that they come in.

    Attributes:
        count: real images in the data set.
        batch_size: real images in an update of D.
    """

    count: int
    batch_size: int

    def updates(self, images: int | None = None) -> int:
        """Whole updates of D that `images` images are enough for (all where None), at least 1."""
        return max(1, (images or self.count) // self.batch_size)


class Scores(Protocol):
    """Where a schedule reads how the game stands; each reading waits for the device."""

    def read_d(self) -> Reading:
        """Totals of what D's updates measured."""
        ...

    def read_g(self) -> Reading:
        """Totals of what G's updates measured."""
        ...


class Schedule(Protocol):
    """A source of turns."""

    #: D's updates in a turn; None where that is not known beforehand.
    d_steps_per_turn: int | None

    def next_turn(self, scores: Scores, epoch: EpochLength) -> Turn:
        """Give the next turn."""
        ...

    def kinds_of_turn(self, iterations: int | None, epoch: EpochLength) -> dict[Turn, float]:
        """Foresee a run: each kind of turn in it, in an order they can be played in, and its share in (0, 1].

        Args:
            iterations: of the whole run; None where the game decides.
            epoch: how many updates of D an epoch is.
        """
        ...

    def status(self) -> dict[str, float]:
        """Named numbers for the dashboard, {} where there is nothing to tell."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        ...


@runtime_checkable
class Choosy(Protocol):
    """A schedule that cannot follow every game."""

    def check(self, *, classifies: bool) -> None:
        """Refuse a game that the schedule cannot follow.

        Args:
            classifies: whether the sign of a logit says "real" or "generated"; see `Game`.

        Raises:
            UserError: the game does not measure what the schedule goes by.
        """
        ...


class Alternating:
    """`d_steps` updates of D, then `g_steps` of G (Goodfellow et al. 2014, algorithm 1).

    Args:
        d_steps: updates of D in a turn.
        g_steps: updates of G in a turn.
        d_warmup: turns at the start in which D alone plays.
        same_latents: G's first update uses the latents of D's last.
        g_first: G plays before D in each turn, and D is shown the images of G's update, as CycleGAN has it.

    Raises:
        UserError: G is to play first, with latents that D has had.
    """

    def __init__(
        self, d_steps: Count, g_steps: Count, d_warmup: CountOrZero, same_latents: bool, g_first: bool = False
    ) -> None:
        if g_first and same_latents:
            raise UserError(
                "schedule.same_latents has G use the latents of D's last update, but by schedule.g_first it plays "
                "before D.",
                "Try schedule.same_latents=false.",
            )
        self.d_steps_per_turn: int | None = d_steps
        self._warmup_turn = Turn(d_steps)
        self._d_warmup = d_warmup
        self._turn = Turn(d_steps, g_steps, same_latents, g_first=g_first)
        self._played = 0

    def next_turn(self, scores: Scores, epoch: EpochLength) -> Turn:
        """D alone while warming up, then the same turn over and over."""
        self._played += 1
        return self._warmup_turn if self._played <= self._d_warmup else self._turn

    def kinds_of_turn(self, iterations: int | None, epoch: EpochLength) -> dict[Turn, float]:
        """The warm-up's turn and the one after it, so far as the run gets to them."""
        assert iterations is not None, "with D's updates in a turn known, the run's length is"
        warming_up = min(self._d_warmup, iterations) / iterations
        shares = {self._warmup_turn: warming_up, self._turn: 1.0 - warming_up}
        return {turn: share for turn, share in shares.items() if share > 0}

    def status(self) -> dict[str, float]:
        """Nothing: all turns are alike."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The number of turns played."""
        return {"played": self._played}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self._played = state["played"]


_MEASURED = {"d": "D's accuracy", "g": "the mean of D(G(z))"}


class Rounds:
    """Rounds: D alone until it tells them apart, then G alone until it is believed, and again.

    A turn is one update of whoever plays. A player's stretch ends when its goal is reached, measured as a mean
    over the last `check_every` updates, or at its limit. With both goals null it lasts to its limit: k
    epochs of D, then some of G.

    Args:
        d_steps: limit of D's stretch, in `unit`.
        g_steps: limit of G's stretch, in `unit`.
        unit: "steps" counts updates; "epochs" counts as many updates as it takes to show D what it learns from.
        d_accuracy: D's goal: its accuracy on real and generated images together; null for none.
        g_probability: G's goal: the mean of D(G(z)), which only a D that classifies gives; null for none.
        check_every: updates between two looks at the goal.
        d_warmup: updates that D's first stretch lasts at least.
        fixed_set: real images, and as many generated ones, that D learns from throughout a stretch; null
            takes fresh ones for every update.
    """

    def __init__(
        self,
        d_steps: Count,
        g_steps: Count,
        unit: Literal["steps", "epochs"],
        d_accuracy: Fraction | None,
        g_probability: Fraction | None,
        check_every: Count,
        d_warmup: CountOrZero,
        fixed_set: Count | None,
    ) -> None:
        self.d_steps_per_turn: int | None = None  # decided by the game
        if unit == "steps" and d_warmup > d_steps:
            raise UserError(
                f"schedule.d_warmup is {d_warmup}, but schedule.d_steps ends D's stretch after {d_steps} updates.",
                f"Try schedule.d_warmup={d_steps} or schedule.d_steps={d_warmup}.",
            )
        self._limits = {"d": d_steps, "g": g_steps}
        self._unit = unit
        self._goals = {"d": d_accuracy, "g": g_probability}
        self._check_every = check_every
        self._d_warmup = d_warmup
        self._fixed_set = fixed_set
        self._round = 0
        self._player = "g"
        self._steps = 0  # in this stretch; none is under way before the first turn
        self._since: Reading | None = None

    def check(self, *, classifies: bool) -> None:
        """See `Choosy`."""
        goal = self._goals["g"]
        if goal is not None and not classifies:
            raise UserError(
                f"schedule.g_probability is {goal:g}, but this loss does not classify: what D gives a generated image "
                "is no probability that it could reach.",
                "Try schedule.g_probability=null, which lets G play to schedule.g_steps, or loss=nonsaturating.",
            )

    def next_turn(self, scores: Scores, epoch: EpochLength) -> Turn:
        """Continue the round, or begin the next one."""
        verdict = "the start" if self._round == 0 else self._verdict(scores, epoch)
        if verdict:
            self._begin_stretch(verdict, scores)
        self._steps += 1
        if self._player == "g":
            return Turn(g_steps=1)
        if self._fixed_set is None:
            return Turn(d_steps=1)
        return Turn(d_steps=1, fixed_set=True, renew_fixed_set=self._fixed_set if self._steps == 1 else 0)

    def kinds_of_turn(self, iterations: int | None, epoch: EpochLength) -> dict[Turn, float]:
        """D's turns and G's, as if every round went to its limit; how soon a goal is reached is not known before."""
        d, g = self._limit("d", epoch), self._limit("g", epoch)
        if self._fixed_set is None:
            turns = {Turn(d_steps=1): d, Turn(g_steps=1): g}
        else:
            first = Turn(d_steps=1, fixed_set=True, renew_fixed_set=self._fixed_set)
            turns = {first: 1, first.kind: d - 1, Turn(g_steps=1): g}
        return {turn: count / (d + g) for turn, count in turns.items() if count > 0}

    def _limit(self, player: str, epoch: EpochLength) -> int:
        """Upper limit of a player's updates in a round."""
        limit = self._limits[player]
        return limit if self._unit == "steps" else limit * epoch.updates(self._fixed_set)

    def _verdict(self, scores: Scores, epoch: EpochLength) -> str:
        """Why the round is over, in words; empty while it is not."""
        limit = self._limit(self._player, epoch)
        warming_up = self._round == 1 and self._player == "d" and self._steps < self._d_warmup
        goal = self._goals[self._player]
        if goal is not None and self._steps % self._check_every == 0:
            now = self._read(scores)
            assert self._since is not None
            means = now.means_since(self._since)
            self._since = now
            value = accuracy_of(means) if self._player == "d" else means[tags.PROBABILITY_FAKE]
            if value >= goal and not warming_up:
                return f"{_MEASURED[self._player]} reached {value:.3f} after {self._steps} updates"
        return f"the limit of {limit} updates" if self._steps >= limit else ""

    def _begin_stretch(self, reason: str, scores: Scores) -> None:
        self._player = "g" if self._player == "d" else "d"
        self._round += self._player == "d"
        self._steps = 0
        self._since = self._read(scores)
        log.info("Round %d: %s plays, after %s.", self._round, self._player.upper(), reason)

    def _read(self, scores: Scores) -> Reading:
        return scores.read_d() if self._player == "d" else scores.read_g()

    def status(self) -> dict[str, float]:
        """The round, who plays (0 is D, 1 is G), and the updates made in this stretch."""
        return {
            "schedule/round": float(self._round),
            "schedule/player": float(self._player == "g"),
            "schedule/steps": float(self._steps),
        }

    def state_dict(self) -> dict[str, Any]:
        """Round, player, counters, and the totals at the last look."""
        since = self._since and {"totals": self._since.totals, "updates": self._since.updates}
        return {"round": self._round, "player": self._player, "steps": self._steps, "since": since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        self._round, self._player, self._steps = state["round"], state["player"], state["steps"]
        self._since = state["since"] and Reading(**state["since"])
