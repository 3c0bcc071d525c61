"""What can be seen in the numbers of log points: one class a symptom."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Literal

from gan_runner.errors import printable
from gan_runner.games.game import accuracy_of
from gan_runner.health import advice
from gan_runner.health.advice import Help
from gan_runner.ranges import Count, CountOrZero, Fraction, NonNegative, Positive
from gan_runner.tags import (
    ACCURACY_D,
    ACCURACY_FAKE,
    ACCURACY_REAL,
    CLASS_ACCURACY,
    CLASS_ACCURACY_REAL,
    CLASS_CHANCE,
    CLASS_ERROR,
    CLASS_SHARES_OFF,
    CLASS_SPREAD,
    DISTANCE,
    DIVERSITY,
    GRAD_NORM_G,
    JUDGED,
    PROBABILITY_FAKE,
    PROBABILITY_REAL,
    REPEATS,
    UNTRAINED,
)

Point = Mapping[str, float]

_NAMED = 5  # classes in a message


@dataclass(frozen=True)
class Moment:
    """The counters of a run.

    Attributes:
        iteration: turns played.
        d_steps: updates of D.
        g_steps: updates of G.
    """

    iteration: int
    d_steps: int
    g_steps: int


@dataclass(frozen=True)
class Observation:
    """A symptom that was seen at a log point.

    Attributes:
        what: what is wrong, in words with numbers.
        since: the log point at which it began; None where that is this one.
    """

    what: str
    since: Moment | None = None


class Symptom(ABC):
    """Something that can be seen in the measurements of a log point.

    A class of your own sets the attributes and gives `observe`; one that remembers earlier log points gives `forget`,
    `suspect`, `state_dict` and `load_state_dict` too.

    Attributes:
        tags: the measurements that it is judged by. While a player stands still, there are none of its own.
        patience: updates that the symptom must last to be an alarm.
        clock: whose updates those are. While that player stands still, no time passes.
        helps: what usually helps.
        where: settings by dotted key, one of which has to be unusual for the symptom to count; () where it always does.
        of_some_runs: whether most runs measure no such thing: the log has it from when it was first judged.
    """

    tags: tuple[str, ...]
    patience: int
    clock: Literal["d", "g"] = "g"
    helps: tuple[Help, ...] = ()
    where: tuple[str, ...] = ()
    of_some_runs: bool = False

    @abstractmethod
    def observe(self, point: Point, now: Moment) -> Observation | None:
        """Look for the symptom.

        Args:
            point: the last value of every one of its tags, of which one at least is new, and all that is measured now.
            now: the log point's place in the run.

        Returns:
            None where nothing is wrong.
        """

    def updates(self, moment: Moment) -> int:
        """What its clock shows."""
        return moment.d_steps if self.clock == "d" else moment.g_steps

    def forget(self) -> None:
        """Forget earlier log points, as after a rollback."""
        return

    @property
    def suspect(self) -> int | None:
        """The earliest iteration that a coming alarm may name as the symptom's beginning, besides what is seen now."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint."""
        return


def _rows(saved: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows of a checkpoint's table of numbers.

    Raises:
        ValueError: they are not equally long, or hold something else, which would fail in the middle of training.
    """
    if len({len(row) for row in saved}) > 1 or not all(
        isinstance(value, int | float) for row in saved for value in row
    ):
        raise ValueError("a table of what was measured holds something else than numbers")
    return saved


def _restored(row: Sequence[Any]) -> list[Any]:
    """A row as the moment that its first three numbers are, and the rest."""
    return [Moment(*row[:3]), *row[3:]]


class OnAverage(Symptom):
    """A symptom judged by means over the log points of its patience, so that one good reading does not reset it.

    Args:
        patience: see `Symptom`.
    """

    def __init__(self, patience: CountOrZero) -> None:
        self.patience = patience
        self._window: list[tuple[Moment, tuple[float, ...]]] = []  # oldest first

    def values(self, point: Point) -> tuple[float, ...]:
        """What of a log point is averaged: its tags, unless a class says otherwise."""
        return tuple(point[tag] for tag in self.tags)

    @abstractmethod
    def judge(self, means: Sequence[float], now: Moment) -> str:
        """Say what is wrong with the means, in words; "" where nothing is."""

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        if self._window and self.updates(self._window[-1][0]) == self.updates(now):
            since, _ = self._window.pop()  # its player has stood still: the newest value stands for all of that time
        else:
            since = now
        self._window.append((since, self.values(point)))
        while len(self._window) > 1 and self.updates(now) - self.updates(self._window[1][0]) >= self.patience:
            del self._window[0]
        what = self.judge(self._means(), now)
        return Observation(what, self._window[0][0]) if what else None

    def _means(self) -> list[float]:
        columns = zip(*(values for _, values in self._window), strict=True)
        return [math.fsum(column) / len(self._window) for column in columns]

    @property
    def newest(self) -> tuple[float, ...]:
        """The values of the last log point."""
        return self._window[-1][1]

    def full(self, now: Moment) -> bool:
        """Whether the means are over the whole patience."""
        return bool(self._window) and self.updates(now) - self.updates(self._window[0][0]) >= self.patience

    def forget(self) -> None:
        """See `Symptom`."""
        self._window = []

    @property
    def suspect(self) -> int | None:
        """See `Symptom`."""
        return self._window[0][0].iteration if self._window else None

    def state_dict(self) -> dict[str, Any]:
        """See `Symptom`."""
        return {"window": [[*astuple(moment), *values] for moment, values in self._window]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Symptom`."""
        self._window = [(moment, tuple(values)) for moment, *values in map(_restored, _rows(state["window"]))]


class AgainstBest(OnAverage):
    """A symptom of one number, whose mean over one patience is compared with the best such mean so far.

    A lucky log point is no measure, and before the patience is over nothing is said.

    Args:
        patience: see `Symptom`.
    """

    lower_is_better: bool

    def __init__(self, patience: Count) -> None:
        super().__init__(patience)
        self._best: tuple[float, int] | None = None  # the best mean, and the iteration that it is of

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        (mean,) = means
        if not self.full(now):
            return ""
        if self._best is None or (mean < self._best[0] if self.lower_is_better else mean > self._best[0]):
            self._best = (mean, now.iteration)
        return self.compare(mean, *self._best)

    @abstractmethod
    def compare(self, mean: float, best: float, iteration: int) -> str:
        """Say what is wrong with a mean beside the best one and the iteration that it is of; "" where nothing is."""

    def forget(self) -> None:
        """See `Symptom`."""
        super().forget()
        self._best = None

    def state_dict(self) -> dict[str, Any]:
        """See `Symptom`."""
        return super().state_dict() | {"best": self._best and list(self._best)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Symptom`."""
        super().load_state_dict(state)
        self._best = state["best"] and (float(state["best"][0]), int(state["best"][1]))


# ---- what D shows ---------------------------------------------------------------------------------------


class Sure(OnAverage):
    """D is nearly always right, for long: G does not improve, however strong its gradient is.

    The loss that G is advised to minimise has a gradient that never vanishes; that G moves does not mean that it
    gains. A D that warms up alone is meant to become sure: only G's updates count.

    Args:
        accuracy: D's mean accuracy from which it counts.
        patience: see `Symptom`.
    """

    # While G alone plays, D stands still: right about real images as before, about generated ones as measured now.
    tags = (ACCURACY_REAL, ACCURACY_FAKE)
    helps = (advice.slower_d, advice.smooth_labels, advice.more_dropout, advice.penalty, advice.nonsaturating)
    consequence = ", and G gains nothing on it"

    def __init__(self, accuracy: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._accuracy = accuracy

    def values(self, point: Point) -> tuple[float, ...]:
        """D's accuracy."""
        return (accuracy_of(point),)

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        (accuracy,) = means
        return f"D is right {accuracy:.1%} of the time{self.consequence}" if accuracy >= self._accuracy else ""


class Ahead(Sure):
    """D is right most of the time, for long, where a setting that would explain it lies outside of its usual range.

    A D that is as far ahead with usual settings is often on its way to a good game; with a rate a hundred times too
    high it costs G's images most of their variety, though not all of it.

    Args:
        accuracy: D's mean accuracy from which it counts.
        where: see `Symptom`.
        patience: see `Symptom`.
    """

    consequence = ""

    def __init__(self, accuracy: Fraction, where: Sequence[str], patience: CountOrZero) -> None:
        super().__init__(accuracy, patience)
        self.where = tuple(where)


class Saturated(Symptom):
    """D is nearly always right and G's gradient has vanished, so that G cannot learn (Arjovsky and Bottou 2017).

    Args:
        accuracy: D's accuracy from which it counts as nearly always right.
        gradient: norm of G's gradient up to which it counts as vanished.
        patience: see `Symptom`.
    """

    tags = (ACCURACY_REAL, ACCURACY_FAKE, GRAD_NORM_G)
    helps = (advice.nonsaturating, advice.smooth_labels, advice.slower_d, advice.more_dropout)

    def __init__(self, accuracy: Fraction, gradient: NonNegative, patience: CountOrZero) -> None:
        self._accuracy = accuracy
        self._gradient = gradient
        self.patience = patience

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        accuracy, gradient = accuracy_of(point), point[GRAD_NORM_G]
        if not (accuracy >= self._accuracy and gradient <= self._gradient):
            return None
        return Observation(f"D is right {accuracy:.1%} of the time and G's gradient has vanished (norm {gradient:.2g})")


class CoinToss(OnAverage):
    """D cannot tell real from generated, so that its gradient teaches G nothing.

    D's accuracy goes by the sign of its logits, which says nothing where the targets of real images lie below one half:
    such a D calls everything generated and can still tell them apart. So what it gives real images and generated ones,
    where that is a probability, must be alike too. And a game that has come to its end looks the same: at its
    equilibrium D gives one half to everything (Goodfellow et al. 2014, proposition 1). So images that have come near
    real ones are well.

    Args:
        accuracy: D's mean accuracy up to which it is no better than a coin.
        gap: mean of D(x) - D(G(z)) up to which the two are alike.
        patience: see `Symptom`.
        distance: sliced Wasserstein distance of G's images to real images now, as a share of the untrained G's, below
            which they are near; 0 where none are.
    """

    tags = (ACCURACY_D,)
    clock = "d"
    helps = (advice.faster_d, advice.slower_g, advice.more_d_steps, advice.less_dropout)

    def __init__(
        self, accuracy: Fraction, gap: Fraction, patience: CountOrZero, distance: NonNegative = 0.0
    ) -> None:  # a run from before there was a distance goes on without
        super().__init__(patience)
        self._accuracy = accuracy
        self._gap = gap
        self._distance = distance

    def values(self, point: Point) -> tuple[float, ...]:
        """D's accuracy, and by how much D(x) is above D(G(z)): 0 where a logit is no probability."""
        return (point[ACCURACY_D], point.get(PROBABILITY_REAL, 0.0) - point.get(PROBABILITY_FAKE, 0.0))

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        observation = super().observe(point, now)
        return None if point.get(DISTANCE, math.inf) < self._distance else observation

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        accuracy, gap = means
        if not (accuracy <= self._accuracy and gap <= self._gap):
            return ""
        by_chance = "no better than chance" if accuracy >= 1 - self._accuracy else "less often than by chance"
        return f"D is right {accuracy:.1%} of the time, {by_chance}"


class Constant(Symptom):
    """A loss has stopped changing.

    Args:
        tag: the loss that is watched.
        points: log points that are compared.
        spread: highest minus lowest of them, against their size, up to which they count as equal.
        patience: see `Symptom`.
    """

    helps = (advice.slower_d, advice.slower_g, advice.nonsaturating, advice.another_seed)

    def __init__(self, tag: str, points: Count, spread: NonNegative, patience: CountOrZero) -> None:
        self.tags = (tag,)
        self._points = points
        self._spread = spread
        self._equal: list[tuple[Moment, float]] = []  # the newest log points that are equal, oldest first
        self.patience = patience

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        (tag,) = self.tags
        self._equal = [*self._equal, (now, point[tag])][-self._points :]
        while self._equal and not self._stands_still():
            del self._equal[0]
        if len(self._equal) < self._points:
            return None
        return Observation(f"{tag} has not changed from {point[tag]:.4g}", self._equal[0][0])

    def _stands_still(self) -> bool:
        values = [value for _, value in self._equal]
        return max(values) - min(values) <= self._spread * max(map(abs, values))

    def forget(self) -> None:
        """See `Symptom`."""
        self._equal = []

    @property
    def suspect(self) -> int | None:
        """See `Symptom`."""
        return self._equal[0][0].iteration if self._equal else None

    def state_dict(self) -> dict[str, Any]:
        """See `Symptom`."""
        return {"equal": [[*astuple(moment), value] for moment, value in self._equal]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Symptom`."""
        self._equal = [(moment, value) for moment, value in map(_restored, _rows(state["equal"]))]


# ---- what G's images show -----------------------------------------------------------------------------


class Collapse(OnAverage):
    """G draws the same image whatever its latent, the same few, or many that differ too little (mode collapse).

    An untrained G may well draw nothing but one shade of grey: that is a beginning, not a collapse. So a G whose
    images are as far from real ones as they were at the start, and as different from each other, is left to
    `NoProgress`.

    Args:
        diversity: mean distance between two generated images, against that of real ones, up to which they are one
            image.
        repeats: share of generated images that nearly equal another one from which they are a few images; null where
            that is not looked at.
        moved: change of the distance from real images, as a share of the untrained G's, from which G has left its
            beginning.
        patience: see `Symptom`.
        where: see `Symptom`.
    """

    tags = (DIVERSITY, REPEATS, DISTANCE)
    helps = (advice.slower_d, advice.slower_g, advice.smooth_labels, advice.larger_batch, advice.penalty)

    def __init__(
        self,
        diversity: Positive,
        repeats: Positive | None,
        moved: Fraction,
        patience: CountOrZero,
        where: Sequence[str] = (),
    ) -> None:
        super().__init__(patience)
        self.where = tuple(where)
        self._diversity = diversity
        self._repeats = repeats
        self._moved = moved

    def values(self, point: Point) -> tuple[float, ...]:
        """The three, and how different from each other the untrained G's images were."""
        untrained = point.get(f"{UNTRAINED}diversity", math.inf)
        return (point[DIVERSITY], point[REPEATS], point[DISTANCE], untrained)

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        diversity, repeats, distance, untrained = means
        if abs(1 - distance) < self._moved and diversity > 0.5 * untrained:
            return ""
        if max(diversity, self.newest[0]) <= self._diversity:  # G has recovered
            return f"images from different latents differ {diversity:.1%} as much as real ones do"
        if self._repeats is not None and min(repeats, self.newest[1]) >= self._repeats:
            return f"{repeats:.0%} of the images from different latents nearly equal another one"
        return ""


class NoProgress(OnAverage):
    """G's images are no nearer to real ones than those that it drew before it was trained.

    Args:
        distance: mean sliced Wasserstein distance to real images, as a share of the untrained G's, from which there is
            no progress.
        patience: see `Symptom`.
    """

    tags = (DISTANCE,)
    helps = (advice.faster_g, advice.slower_d, advice.smooth_labels, advice.nonsaturating, advice.penalty)

    def __init__(self, distance: Positive, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._distance = distance

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        (distance,) = means
        if not distance >= self._distance:
            return ""
        return f"G's images are {distance:.2f} times as far from real ones as before it was trained"


class Worse(AgainstBest):
    """G's images have been nearer to real ones than they are now, by far and for long.

    Args:
        factor: on the best distance, from which the present one is worse.
        patience: see `Symptom`.
    """

    tags = (DISTANCE,)
    lower_is_better = True
    helps = (advice.slower_d, advice.slower_g, advice.average, advice.decay, advice.penalty)

    def __init__(self, factor: Positive, patience: Count) -> None:
        super().__init__(patience)
        self._factor = factor

    def compare(self, mean: float, best: float, iteration: int) -> str:
        """See `AgainstBest`."""
        if not mean > self._factor * best:
            return ""
        return f"G's images are {mean / best:.1f} times as far from real ones as up to iteration {iteration}"


class FewClasses(OnAverage):
    """G draws few of the classes that the data have, as a classifier sees them; only where the evaluation counts them.

    Args:
        share: mean share of the classes up to which they are few.
        patience: see `Symptom`.
    """

    tags = (f"{JUDGED}classes",)
    helps = Collapse.helps

    def __init__(self, share: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._share = share

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        (share,) = means
        if max(share, self.newest[0]) > self._share:  # G has recovered
            return ""
        return f"G draws {share:.0%} of the classes that the data have"


class Narrower(AgainstBest):
    """G's images have covered far more of the real ones than they do now; only where the evaluation has coverage.

    Args:
        factor: on the best coverage, up to which the present one has shrunk.
        patience: see `Symptom`.
    """

    tags = (f"{JUDGED}coverage",)
    lower_is_better = False
    helps = Collapse.helps

    def __init__(self, factor: Fraction, patience: Count) -> None:
        super().__init__(patience)
        self._factor = factor

    def compare(self, mean: float, best: float, iteration: int) -> str:
        """See `AgainstBest`."""
        if not max(mean, self.newest[0]) <= self._factor * best:  # G has recovered
            return ""
        return f"G's images cover {mean:.0%} of the real ones, and covered {best:.0%} up to iteration {iteration}"


# ---- what images show that are drawn from another domain -------------------------------------------------


class InputCopied(OnAverage):
    """G draws what it is given, unchanged; only where the evaluation looks at two domains without pairs.

    Args:
        change: mean distance between what is drawn and its input, up to which it is the same, where 1 is the distance
            between two inputs; of two directions the smaller one.
        patience: see `Symptom`.
    """

    tags = (f"{JUDGED}change",)
    of_some_runs = True
    helps = (advice.less_identity, advice.less_cycle, advice.faster_d, advice.another_seed)

    def __init__(self, change: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._change = change

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        if max(means[0], self.newest[0]) > self._change:  # G has recovered
            return ""
        return f"G changes its input by {means[0]:.1%} of what lies between two inputs"


class OneOutput(OnAverage):
    """G draws nearly the same image from every input; only where the evaluation looks at two domains without pairs.

    Args:
        variety: variance of what is drawn, as a share of real images', up to which it is one image; of two directions
            the smaller one.
        patience: see `Symptom`.
    """

    tags = (f"{JUDGED}variety",)
    of_some_runs = True
    helps = (advice.more_cycle, *Collapse.helps)

    def __init__(self, variety: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._variety = variety

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        if max(means[0], self.newest[0]) > self._variety:  # G has recovered
            return ""
        return f"what G draws from different inputs varies {means[0]:.1%} as much as real images do"


class HiddenInNoise(OnAverage):
    """Images hide what they were drawn from in changes that nobody sees (Chu et al. 2017, arXiv:1712.02950).

    Then the cycle is perfect, and noise of one level of 256 breaks it.

    Args:
        share: of the cycle's error with such noise, from which on it is the noise that makes it.
        patience: see `Symptom`.
    """

    tags = (f"{JUDGED}hidden",)
    of_some_runs = True
    helps = (advice.less_cycle, advice.penalty, advice.average)

    def __init__(self, share: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._share = share

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        if min(means[0], self.newest[0]) < self._share:
            return ""
        return f"noise of one level in what is drawn makes {means[0]:.0%} of the error of what comes back"


# ---- what images by class show, where an evaluation's extractor tells the classes apart ------------------

_OF_CLASS = f"{CLASS_SPREAD}/"
_BY_CHANCE = 3.0  # standard errors that may be chance


class ClassesIgnored(OnAverage):
    """G draws what it likes, whatever class is asked for.

    Args:
        share: part of the way from chance to the accuracy on real images up to which it counts, in accuracy of a
            classifier on the classes that were asked for.
        patience: see `Symptom`.
    """

    tags = (CLASS_ACCURACY, CLASS_ACCURACY_REAL, CLASS_CHANCE, CLASS_ERROR)
    of_some_runs = True
    helps = (advice.projection, advice.slower_d, advice.penalty)

    def __init__(self, share: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._share = share

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        accuracy, real, chance, error = means
        if real - chance <= _BY_CHANCE * error:  # labels that say nothing: see `OddLabels`
            return ""
        if not max(accuracy, self.newest[0]) < chance + self._share * (real - chance):  # G has recovered
            return ""
        return (
            f"classes are ignored: {accuracy:.1%} of the images are taken for the class that was asked for, where "
            f"chance gives {chance:.1%} and real images have {real:.1%}"
        )


class ClassCollapsed(OnAverage):
    """G draws images of a class that hardly differ.

    Args:
        spread: variance of the features of a class's images, as a share of that of its real images, up to which it
            counts.
        patience: see `Symptom`.
    """

    tags = (CLASS_SPREAD,)
    of_some_runs = True
    helps = Collapse.helps

    def __init__(self, spread: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._spread = spread
        self._names: list[str] = []

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`; starts again where other classes are judged than before, as too few images of one are not."""
        names = [tag.removeprefix(_OF_CLASS) for tag in point if tag.startswith(_OF_CLASS)]
        if names != self._names:
            self.forget()
            self._names = names
        return super().observe(point, now)

    def values(self, point: Point) -> tuple[float, ...]:
        """The spread of each class."""
        return tuple(point[f"{_OF_CLASS}{name}"] for name in self._names)

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        of_each = {name: max(pair) for name, *pair in zip(self._names, means, self.newest, strict=True)}
        found = {name: spread for name, spread in of_each.items() if spread <= self._spread}
        if not found:
            return ""
        which = ", ".join(f"{printable(name)} ({spread:.1%})" for name, spread in list(found.items())[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return f"images of a class vary less than {self._spread:.0%} as much as its real ones: {which}{more}"

    def state_dict(self) -> dict[str, Any]:
        """See `Symptom`."""
        return super().state_dict() | {"names": list(self._names)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Symptom`."""
        super().load_state_dict(state)
        self._names = [str(name) for name in state["names"]]
        if any(len(values) != len(self._names) for _, values in self._window):
            raise ValueError("there is a spread for each class")


class ClassesTooEasy(OnAverage):
    """A classifier recognises generated images better than real ones: G draws the typical ones and leaves out others.

    Ravuri and Vinyals (2019, arXiv:1905.10887).

    Args:
        margin: by how much accuracy is above that on real images from which it counts, if that is more than chance.
        patience: see `Symptom`.
    """

    tags = (CLASS_ACCURACY, CLASS_ACCURACY_REAL, CLASS_ERROR)
    of_some_runs = True
    helps = (advice.projection, advice.slower_d, advice.larger_batch, advice.penalty)

    def __init__(self, margin: Fraction, patience: CountOrZero) -> None:
        super().__init__(patience)
        self._margin = margin

    def judge(self, means: Sequence[float], now: Moment) -> str:
        """See `OnAverage`."""
        accuracy, real, error = means
        if not min(accuracy, self.newest[0]) > real + max(self._margin, _BY_CHANCE * error):
            return ""
        return (
            f"classes are easier to recognise than in real images, {accuracy:.1%} against {real:.1%}: G draws the "
            "typical images of a class and leaves out others"
        )


class ClassShares(Symptom):
    """Classes of generated images come more or less often than in the data, so that D learns how often a class comes.

    Args:
        share: of the images that would have to be of other classes from which it counts; what chance does is
            taken off.
    """

    tags = (CLASS_SHARES_OFF,)
    of_some_runs = True
    patience = 0

    def __init__(self, share: Fraction) -> None:
        self._share = share

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        if point[CLASS_SHARES_OFF] < self._share:
            return None
        return Observation(
            f"{point[CLASS_SHARES_OFF]:.0%} of the generated images would have to be of other classes to come as "
            "often as in the data: D learns how often a class comes instead of what it looks like. Give generated "
            "images the classes of the real batch"
        )


class OddLabels(Symptom):
    """The labels say nothing about the real images: a classifier that learned them recognises no others.

    Args:
        gain: part of the way from chance to certainty up to which the accuracy on real images counts as chance.
    """

    tags = (CLASS_ACCURACY_REAL, CLASS_CHANCE)
    of_some_runs = True
    patience = 0

    def __init__(self, gain: Fraction) -> None:
        self._gain = gain

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        real, chance = point[CLASS_ACCURACY_REAL], point[CLASS_CHANCE]
        if real > chance + self._gain * (1 - chance):
            return None
        return Observation(
            f"the labels do not fit the real images: a classifier that learned them recognises {real:.1%} of others, "
            f"where chance gives {chance:.1%}; look at the labels that data names"
        )


# ---- what the data show ---------------------------------------------------------------------------------


class OddData(Symptom):
    """The real images are all alike, or noise: nothing that a GAN could learn to draw.

    Args:
        contrast: root mean square difference of a pixel between two real images, in [0, 2], up to which all are alike.
        smoothness: correlation of neighbouring pixels, in magnitude, up to which images are noise.
    """

    tags = ("data/contrast", "data/smoothness")
    patience = 0

    def __init__(self, contrast: NonNegative, smoothness: Fraction) -> None:
        self._contrast = contrast
        self._smoothness = smoothness

    def observe(self, point: Point, now: Moment) -> Observation | None:
        """See `Symptom`."""
        contrast, smoothness = point["data/contrast"], point["data/smoothness"]
        if contrast <= self._contrast:
            return Observation("the real images are all alike: look at samples/real, and at the files that data names")
        if abs(smoothness) <= self._smoothness:
            return Observation(
                f"the real images are noise (neighbouring pixels correlate by {smoothness:.2f}): look at samples/real, "
                "and at the files that data names"
            )
        return None


def seen_at_once(symptoms: Mapping[str, Symptom], point: Point) -> list[str]:
    """What is wrong by one evaluation alone, whether it will last or not: a sentence for each symptom.

    Args:
        symptoms: by name, nothing seen yet; those that other numbers are needed for are left out.
        point: what the evaluation has judged, by tag.
    """
    said, now = [], Moment(0, 0, 0)
    for name, symptom in symptoms.items():
        if point.keys() >= set(symptom.tags):
            observation = symptom.observe(point, now)
            said += [f"{name}: {observation.what}."] if observation is not None else []
    return said
