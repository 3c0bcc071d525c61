"""Which metrics are measured, how often, and which of them decides what the best checkpoint is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol, cast

import torch
from annotated_types import Ge, Le
from torch import Tensor

from gan_runner import tags
from gan_runner.arithmetic import measuring_device
from gan_runner.contracts import described, hold_to, what_it_is
from gan_runner.data import Batch, ImageSet, Loader
from gan_runner.data.batch import SOURCE, joined
from gan_runner.data.image_set import kind_of
from gan_runner.data.loader import sampled_rows
from gan_runner.errors import UserError, closest
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.number import Number
from gan_runner.metrics.pairs import MEAN, UNCHANGED, baselines, in_place_of, mean_picture
from gan_runner.metrics.reference import noise
from gan_runner.ranges import Count, TwoOrMore

_BATCH = 256

# As many as published figures are taken from; twice as many would take four times as long, at every evaluation.
Compared = Annotated[int, Ge(2), Le(50_000)]


class Metric(Protocol):
    """One or several numbers about generated images, compared with real ones.

    Both kinds arrive as batches of float32 images in [-1, 1], [B, C, H, W], with their conditions, so that a metric
    need not hold them all. It may have `numbers`, which says of each name what it means and which end of it is good,
    and a method `fingerprint`, whose text changes whenever the numbers of the same images would.
    """

    @property
    def names(self) -> Sequence[str]:
        """The numbers that `measure` gives, the most important first; they name the features."""
        ...

    def statistics(self, real: Iterable[Batch]) -> dict[str, Tensor]:
        """Statistics of the real images that the metric needs; computed once for a data set."""
        ...

    def measure(self, fake: Iterable[Batch], real: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure generated images against `statistics`; waits for the device."""
        ...


class OnData(Metric, Protocol):
    """A metric that has to know the data set first, such as one on features."""

    @property
    def fewest(self) -> int:
        """How many images it needs at least."""
        ...

    @property
    def looks_at_held_out(self) -> bool:
        """Whether it also looks at real images that nothing was trained on."""
        ...

    @property
    def reference(self) -> ImageSet:
        """Those of the training images that `statistics` is to be of; known once the data are."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever the numbers of the same images would; known once the data are."""
        ...

    def bind(
        self, training: ImageSet, held_out: ImageSet | None, device: torch.device, learn_from: ImageSet | None = None
    ) -> None:
        """Set the data; afterwards `names` may be fewer, if the data lack something.

        Args:
            training: what the generator learns from.
            held_out: real images that it does not; None where there are none.
            device: where to compute.
            learn_from: what features are learned from; None is `training`.
        """
        ...

    def for_alarms(self, numbers: Mapping[str, float], pictures: Count) -> dict[str, float]:
        """Of what `measure` gave for so many images, what alarms look at, in [0, 1], by names without features."""
        ...

    def of_real(self, statistics: Mapping[str, Tensor], most: Count) -> tuple[dict[str, float | None], int]:
        """The numbers of real images that are not in the reference, and how many these are; see `RealNumbers`."""
        ...


@dataclass(frozen=True)
class RealNumbers:
    """What real images that are not in the reference score: a distance of few images is above 0 for these too.

    Attributes:
        metrics: each number by the tag of the generated images'; None where real images cannot tell.
        count: how many they are of: as many as are generated, or as there are.
        held_out: whether nothing was trained on them; if not, they are training images outside the reference.
        noise: the objective of as many images of noise, by its tag.
        baselines: of pairs of images what stands in the place of those that are drawn, by its name, and the numbers
            of that by their tags; see `gan_runner.metrics.pairs`.
    """

    metrics: Mapping[str, float | None]
    count: int
    held_out: bool
    noise: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = {"count": self.count, "of": "test" if self.held_out else "train", "metrics": dict(self.metrics)}
        found |= {"noise": dict(self.noise)}
        return found | ({"baselines": {k: dict(v) for k, v in self.baselines.items()}} if self.baselines else {})

    def beside(self, tag: str) -> str:
        """The scores of real images (held out, or outside the reference) and of noise; "" if neither is known."""
        said = []
        if (value := self.metrics.get(tag)) is not None:
            which = "held out" if self.held_out else "images"
            said.append(f"real images {value:.3g} ({self.count:,} {which})")
        if (value := self.noise.get(tag)) is not None:
            said.append(f"noise {value:.3g}")
        said += [f"{_IN_WORDS[name]} {found[tag]:.3g}" for name, found in self.baselines.items() if tag in found]
        return ", ".join(said)


_IN_WORDS = {UNCHANGED: "the source itself", MEAN: "the mean image"}


def _check_statistics(key: str, metric: Metric, statistics: object) -> None:
    if not isinstance(statistics, dict) or not all(isinstance(each, Tensor) for each in statistics.values()):
        raise UserError(
            f"{key} ({described(metric)}) gives {what_it_is(statistics)} from statistics, but must give a dict of "
            "tensors.",
            "An empty one, {}, will do where it needs none.",
        )


def _check_numbers(key: str, metric: Metric, numbers: object) -> None:
    if (
        not isinstance(numbers, dict)
        or sorted(numbers) != sorted(metric.names)
        or not all(isinstance(value, int | float) for value in numbers.values())
    ):
        raise UserError(
            f"{key} ({described(metric)}) gives {what_it_is(numbers)} from measure, but must give a dict with a number "
            f"for each of its names: {', '.join(metric.names)}.",
            "Return such as {name: float(value)} with the names that the class has in `names`.",
        )


def _measurable(batch: Batch) -> Batch:
    return batch.to(measuring_device(batch.images.device))


class RealImages:
    """The real images that an evaluation compares with.

    Args:
        loader: where they come from.
        seed: which ones are taken, where not all are.
    """

    def __init__(self, loader: Loader, seed: int) -> None:
        self._loader = loader
        self._seed = seed

    @property
    def fingerprint(self) -> str:
        """Changes when the images do."""
        return f"{self._loader.images.fingerprint} {self._seed}"

    @property
    def images(self) -> ImageSet:
        """All of them."""
        return self._loader.images

    def batches(self, count: int) -> Iterator[Batch]:
        """A number of them, float32 in [-1, 1]; if there are fewer, some are repeated."""
        yield from (_measurable(part.as_float()) for part in self._loader.sample(count, self._seed).split(_BATCH))

    def batches_of(self, part: ImageSet, most: int) -> Iterator[Batch]:
        """Up to so many of a part of them, each once, float32 in [-1, 1]; without conditions unless it is all."""
        count = min(most, len(part))
        if part is self._loader.images:
            yield from self.batches(count)
        else:
            for rows in sampled_rows(len(part), count, self._seed).split(_BATCH):
                yield Batch(part.pixels(rows)).as_float()


@dataclass(frozen=True)
class AtEnd:
    """The evaluation at the end of a run, as gan-eval does it.

    Args:
        checkpoints: which.
        num: images that are drawn.
        real: real images to compare with.
        metrics: the numbers.
    """

    checkpoints: Sequence[Literal["best", "last"]]
    num: TwoOrMore
    real: TwoOrMore
    metrics: FeatureMetrics

    def check(self) -> None:
        """Refuse fewer images than the numbers need.

        Raises:
            UserError: there are fewer.
        """
        for key, count in {"num": self.num, "real": self.real}.items():
            if count < self.metrics.fewest:
                raise UserError(
                    f"evaluation.at_end.{key} is {count}, but its metrics need at least {self.metrics.fewest}.",
                    f"Try evaluation.at_end.{key}=10000.",
                )


class Evaluation:
    """Which metrics are measured, how often, and which of them decides what the best checkpoint is.

    Args:
        every: epochs or iterations (as `trainer.intervals_in` says) between two evaluations.
        num_images: real images, and generated ones, that each metric sees; each is compared with every other.
        metrics: what is measured, null for what is not; a name in the config is for addressing a part there.
        objective: the number that decides which checkpoint is the best.
        goal: whether the objective is better when it is lower or higher.
        stop_after: evaluations in a row without a new best after which a run ends; None for none.
        at_end: what is looked at once the run has finished; None for nothing.

    Raises:
        UserError: the objective is none of the numbers, or a metric is none.
    """

    def __init__(
        self,
        every: Count,
        num_images: Compared,
        metrics: Mapping[str, Metric | None],
        objective: str,
        goal: Literal["lower", "higher"],
        stop_after: Count | None = None,
        at_end: AtEnd | None = None,
    ) -> None:
        self.every = every
        self.num_images = num_images
        self.metrics = {name: metric for name, metric in metrics.items() if metric is not None}
        self.goal = goal
        self.stop_after = stop_after
        self.at_end = at_end
        self._objective = objective
        for name, metric in self.metrics.items():
            hold_to(metric, Metric, f"evaluation.metrics.{name}")
        #: The metrics that have to know the data, by their names in the config.
        self.on_data = {
            name: hold_to(cast("OnData", metric), OnData, f"evaluation.metrics.{name}")
            for name, metric in self.metrics.items()
            if hasattr(type(metric), "bind")
        }
        self._check_objective()
        self._kept: dict[tuple[str, str], dict[str, Tensor]] = {}
        self._real_numbers: RealNumbers | None = None
        self._held_out = False

    @property
    def descriptions(self) -> dict[str, str]:
        """What each number means, and which way is better, by its tag; of those that say so, and of the objective."""
        told: dict[str, str] = {}
        for metric in self.metrics.values():
            numbers: Mapping[str, Number] = getattr(metric, "numbers", {})
            told |= {self._tag(name): str(number) for name, number in numbers.items()}
        told.setdefault(self.objective, f"{self.goal.capitalize()} is better.")
        return told

    def bind(
        self, training: ImageSet, held_out: ImageSet | None, device: torch.device, learn_from: ImageSet | None = None
    ) -> None:
        """Set the metrics' data, which may take a minute if an extractor is trained; see `OnData.bind`.

        Raises:
            UserError: the data lack what the objective or a metric needs, or `num_images` are too few.
        """
        if kind_of(training).source is not None:  # there is one image to draw from each source
            drawn_from = training if held_out is None else held_out
            pairs = getattr(drawn_from, "in_both", len(drawn_from))
            fewest = max([2, *(metric.fewest for metric in self.on_data.values())])
            if pairs < min(fewest, self.num_images):
                raise UserError(
                    f"Images are drawn from {pairs} {'training' if held_out is None else 'held-out'} pairs of "
                    f"{training.name}, but the evaluation needs at least {fewest}.",
                    "Hold out more pairs, or try evaluation=off.",
                )
            self.num_images = min(self.num_images, pairs)
        for name, metric in self.on_data.items():
            if self.num_images < metric.fewest:
                raise UserError(
                    f"evaluation.num_images is {self.num_images}, but evaluation.metrics.{name} needs at least "
                    f"{metric.fewest} images.",
                    f"Try evaluation.num_images=1000, or evaluation.metrics.{name}=null and another objective.",
                )
            if len(training) < metric.fewest:
                raise UserError(
                    f"{training.name} has {len(training)} images, but evaluation.metrics.{name} needs at least "
                    f"{metric.fewest}.",
                    "Try a larger data.limit, or evaluation=pixels.",
                )
            metric.bind(training, held_out, device, learn_from)
        self._held_out = held_out is not None
        self._check_objective()

    @property
    def looks_at_held_out(self) -> bool:
        """Whether a metric needs real images that nothing was trained on."""
        return any(metric.looks_at_held_out for metric in self.on_data.values())

    @property
    def objective(self) -> str:
        """The tag of the number that decides which checkpoint is the best."""
        return self._tag(self._objective)

    @property
    def tags(self) -> list[str]:
        """The tags of all numbers."""
        return [self._tag(name) for name in self._names()]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What two values of the objective must have in common to be compared."""
        said: dict[str, Any] = {"objective": self._objective, "goal": self.goal, "num_images": self.num_images}
        how = getattr(self._measuring, "fingerprint", None)
        return said | ({"metric": how()} if how else {})

    def _names(self) -> list[str]:
        return [name for metric in self.metrics.values() for name in metric.names]

    def _check_objective(self) -> None:
        names = self._names()
        if self._objective not in names:
            raise UserError(
                f"evaluation.objective is {self._objective}, but must be one of the metrics: {', '.join(names)}.",
                f"Try evaluation.objective={closest(self._objective, names) or next(iter(names), 'frechet_cnn')}.",
            )
        described_by: Mapping[str, Number] = getattr(self._measuring, "numbers", {})
        better = described_by[self._objective].better if self._objective in described_by else None
        if better not in (None, self.goal):
            raise UserError(
                f"evaluation.goal is {self.goal}, but evaluation.objective is {self._objective}, which is better when "
                f"{better}.",
                f"Try evaluation.goal={better}.",
            )

    @property
    def _measuring(self) -> Metric:
        """The metric that measures the objective."""
        return next(metric for metric in self.metrics.values() if self._objective in metric.names)

    def _tag(self, name: str) -> str:
        thousands, rest = divmod(self.num_images, 1000)
        return f"{tags.METRIC}{name}_{self.num_images if rest else f'{thousands}k'}"

    def measure(self, real: RealImages, fake: Sequence[Batch], only: Collection[str] | None = None) -> dict[str, float]:
        """Give every number by its tag.

        Args:
            real: what to compare with.
            fake: `num_images` generated images, float32 in [-1, 1].
            only: the metrics to measure, by their names in the config; None measures all.

        Raises:
            UserError: a metric, a part of the user's own, gives something else than numbers.
        """
        measured: dict[str, float] = {}
        fake = [_measurable(batch) for batch in fake]
        for name, metric in self.metrics.items():
            if only is not None and name not in only:
                continue
            key, kept = f"evaluation.metrics.{name}", (name, real.fingerprint)
            first = kept not in self._kept
            if first:
                on_data = self.on_data.get(name)
                batches = real.batches_of(on_data.reference, self.num_images) if on_data else None
                statistics = metric.statistics(batches or real.batches(self.num_images))
                _check_statistics(key, metric, statistics)
                self._kept[kept] = statistics
                if on_data:
                    self._look_at_real(on_data, statistics)
            numbers = metric.measure(fake, self._kept[kept])
            _check_numbers(key, metric, numbers)
            if first and metric is self._measuring:
                self._look_at_noise(metric, self._kept[kept], fake)
            if first:
                self._look_at_baselines(metric, self._kept[kept], fake, real)
            measured |= {self._tag(each): value for each, value in numbers.items()}
        return measured

    @property
    def real(self) -> RealNumbers | None:
        """What real images score by the metrics that know the data; None before the first evaluation."""
        return self._real_numbers

    def _look_at_real(self, metric: OnData, statistics: Mapping[str, Tensor]) -> None:
        numbers, count = metric.of_real(statistics, self.num_images)
        if count:
            known = self._known_numbers
            told = {self._tag(name): value for name, value in numbers.items()}
            self._real_numbers = replace(known, metrics={**known.metrics, **told}, count=count)

    def _look_at_noise(self, metric: Metric, statistics: Mapping[str, Tensor], fake: Sequence[Batch]) -> None:
        channels, height, width = fake[0].images.shape[1:]
        parts = noise((channels, height, width), self.num_images, seed=0)
        batches = [_measurable(Batch(part.images).as_float()) for part in parts]
        if SOURCE in fake[0].conditions:
            batches = in_place_of(fake, joined(batches).images)
        numbers = metric.measure(batches, statistics)
        noise_of = {self._tag(self._objective): numbers[self._objective]}
        self._real_numbers = replace(self._known_numbers, noise=noise_of)

    def _look_at_baselines(
        self, metric: Metric, statistics: Mapping[str, Tensor], fake: Sequence[Batch], real: RealImages
    ) -> None:
        if not all(SOURCE in batch.conditions for batch in fake):
            return
        found = dict(self._known_numbers.baselines)
        for name, batches in baselines(fake, mean_picture(real.batches(self.num_images))).items():
            numbers = metric.measure(batches, statistics)
            found[name] = {**found.get(name, {}), **{self._tag(each): value for each, value in numbers.items()}}
        self._real_numbers = replace(self._known_numbers, baselines=found)

    @property
    def _known_numbers(self) -> RealNumbers:
        return self._real_numbers or RealNumbers({}, 0, self._held_out)

    @property
    def scale(self) -> str:
        """The objective in words, which way of it is better, and what real images and noise have."""
        better = f"{self.objective_in_words}: {self.goal} is better"
        beside = self.real.beside(self.objective) if self.real is not None and self.objective is not None else ""
        return f"{better}; {beside}." if beside else f"{better}."

    @property
    def objective_in_words(self) -> str:
        """What people call the objective, such as "Frechet distance"."""
        numbers: Mapping[str, Number] = getattr(self._measuring, "numbers", {})
        title = numbers[self._objective].title if self._objective in numbers else ""
        return title or self._objective.replace("_", " ").capitalize()

    def for_alarms(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Of what `measure` gave, what alarms look at: shares in [0, 1] under `judged/`."""
        found: dict[str, float] = {}
        for metric in self.on_data.values():
            numbers = {name: measured[self._tag(name)] for name in metric.names}
            found |= metric.for_alarms(numbers, self.num_images)
        return {f"{tags.JUDGED}{name}": share for name, share in found.items()}

    def improves(self, value: float, best: float | None) -> bool:
        """Whether an objective is better than the best so far; NaN and infinite values never are."""
        if not math.isfinite(value):
            return False
        return best is None or self.to_minimise(value) < self.to_minimise(best)

    def to_minimise(self, value: float) -> float:
        """The objective with its sign changed if higher is better, for sweepers that search."""
        return -value if self.goal == "higher" else value


class NoEvaluation:
    """What stands in the place of an `Evaluation` where nothing is measured, and no checkpoint is the best."""

    every: None = None
    num_images = 0
    goal: None = None
    stop_after: None = None
    at_end: None = None
    objective: None = None
    fingerprint: None = None
    real: None = None
    scale = ""
    objective_in_words = ""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self.on_data: dict[str, OnData] = {}
        self.tags: list[str] = []
        self.descriptions: dict[str, str] = {}

    def measure(self, real: RealImages, fake: Sequence[Batch], only: Collection[str] | None = None) -> dict[str, float]:
        """Nothing."""
        return {}

    def for_alarms(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Nothing."""
        return {}

    def improves(self, value: float, best: float | None) -> bool:
        """Never."""
        return False

    def to_minimise(self, value: float) -> float:
        """The value itself."""
        return value
