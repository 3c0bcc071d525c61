"""How well images of two domains become each other, where nobody knows what any of them should become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from gan_runner.arithmetic import exact
from gan_runner.data import Batch, ImageSet
from gan_runner.data.batch import (
    CYCLED,
    CYCLED_TARGET,
    DRAWN_SOURCE,
    IMAGE_LABEL,
    NOISY_CYCLED,
    NOISY_CYCLED_TARGET,
    SOURCE,
    SOURCE_LABEL,
    TARGET,
    TRUTH,
)
from gan_runner.data.loader import sampled_rows
from gan_runner.data.transforms import with_channels
from gan_runner.data.unpaired import Unpaired
from gan_runner.errors import UserError
from gan_runner.metrics.feature_metrics import NUMBERS, FeatureMetrics, pictures
from gan_runner.metrics.features import Features, Learn, even_rows
from gan_runner.metrics.number import Number
from gan_runner.metrics.pairs import PairMetrics, ssim
from gan_runner.ranges import Count, Seed

_OF_FEATURES = ("frechet", "coverage")
_BACK = "_back"
_AT_ONCE = 500
_FEW_LEVELS = 4 / 127.5  # of 256: an error that grows by less through noise hides nothing

CHANGE = Number(None, "how far what is drawn is from its input, where 1 is as far as two inputs are from each other")
VARIETY = Number("higher", "how much what is drawn differs, where 1 is as much as real images do")
KEPT = Number("higher", "share whose class survives, by a classifier of the domain that is drawn")
CYCLE = Number("lower", "mean distance of images that were drawn there and back from what they were")
NOISY = Number("lower", "the same, with noise of one level of 256 in between")


class UnpairedMetrics:
    """Numbers of images that are drawn from another domain, in the direction of the data and back (`_back`).

    Fréchet distance and coverage, on features learned from the domain that is drawn; the share of images whose class
    survives, by a classifier of that domain, where both domains have the same classes; how far images are from their
    inputs, and how much they differ; the distance of what comes back, without and with noise of one level in between;
    and L1 and SSIM to the true partners where those of the held-out images are known.

    Args:
        extractor: see `FeatureMetrics`.
        neighbours: see there.
        seed: see there.
        both_ways: whether the game draws both ways; if not, there is nothing `_back`, and nothing comes back.
    """

    looks_at_held_out = True

    def __init__(self, extractor: Learn, neighbours: Count, seed: Seed, both_ways: bool) -> None:
        self._seed = seed
        self._named = getattr(extractor, "func", extractor).__name__
        self._there = FeatureMetrics(extractor, _OF_FEATURES, neighbours, seed)
        self._back = FeatureMetrics(extractor, _OF_FEATURES, neighbours, seed) if both_ways else None
        self._training: Unpaired | None = None
        self._partners = False
        self._labelled = False

    @classmethod
    def like(cls, metrics: FeatureMetrics, both_ways: bool) -> UnpairedMetrics:
        """Those with the extractor and the settings of other metrics."""
        return cls(metrics.learn, metrics.neighbours, metrics.seed, both_ways)

    @property
    def numbers(self) -> dict[str, Number]:
        """What each number is, by its name; before `bind`, without what not all data have."""
        found = {f"frechet_{self._named}": NUMBERS["frechet"], f"coverage_{self._named}": NUMBERS["coverage"]}
        found |= {"classes_kept": KEPT} if self._labelled else {}
        found |= {"change": CHANGE, "variety": VARIETY}
        found |= dict(PairMetrics.numbers) if self._partners else {}
        if self._back is None:
            return found
        found |= {"cycle_l1": CYCLE, "cycle_noise_l1": NOISY}
        both = {f"frechet_{self._named}_both": Number("lower", "mean of both directions", title="Frechet distance")}
        return both | found | {f"{name}{_BACK}": number for name, number in found.items()}

    @property
    def names(self) -> Sequence[str]:
        """See `Metric`."""
        return list(self.numbers)

    @property
    def fewest(self) -> int:
        """See `OnData`."""
        return self._there.fewest

    @property
    def reference(self) -> ImageSet:
        """See `OnData`; of the direction of the data."""
        return self._there.reference

    def fingerprint(self) -> str:
        """See `OnData`."""
        return " ".join(["unpaired 1", *(metrics.fingerprint() for metrics in self._directions)])

    @property
    def _directions(self) -> list[FeatureMetrics]:
        return [self._there] if self._back is None else [self._there, self._back]

    def bind(
        self, training: ImageSet, held_out: ImageSet | None, device: torch.device, learn_from: ImageSet | None = None
    ) -> None:
        """See `OnData`; an extractor is learned of each domain that is drawn.

        Raises:
            UserError: the data are no two domains.
        """
        if not isinstance(training, Unpaired):
            raise UserError(
                f"evaluation holds {type(self).__name__}, which looks at two domains without pairs, but "
                f"{training.name} has none.",
                "Try evaluation=fast, or data=unpaired.",
            )
        assert held_out is None or isinstance(held_out, Unpaired)
        assert learn_from is None or isinstance(learn_from, Unpaired)
        self._training = training
        self._partners = held_out is not None and held_out.partners
        for metrics, name in zip(self._directions, ("images", "sources"), strict=False):
            domains = (None if each is None else getattr(each, name) for each in (training, held_out, learn_from))
            drawn, judged, learned = domains
            assert drawn is not None
            metrics.bind(drawn, judged, device, learned)
        count = len(training.class_names)
        self._labelled = count > 1 and all(metrics.extractor.classes == count for metrics in self._directions)

    def statistics(self, real: Iterable[Batch]) -> dict[str, Tensor]:
        """See `Metric`; of as many images of each domain."""
        counts: list[int] = []

        def counted() -> Iterator[Batch]:
            for batch in real:
                counts.append(len(batch))
                yield batch

        found = {f"there {name}": value for name, value in self._there.statistics(counted()).items()}
        if self._back is not None:
            reference = self._back.reference
            rows = sampled_rows(len(reference), min(len(reference), sum(counts)), self._seed)
            batches = [Batch(reference.pixels(part)).as_float() for part in rows.split(_AT_ONCE)]
            found |= {f"back {name}": value for name, value in self._back.statistics(batches).items()}
        return found

    def measure(self, fake: Iterable[Batch], real: Mapping[str, Tensor]) -> dict[str, float]:
        """See `Metric`.

        Raises:
            UserError: the images were not drawn from another domain, or in one direction only.
        """
        fake = list(fake)
        needed = {SOURCE, TARGET} | (set() if self._back is None else {DRAWN_SOURCE, CYCLED, CYCLED_TARGET})
        if not all(needed <= batch.conditions.keys() for batch in fake):
            raise UserError(
                f"evaluation holds {type(self).__name__}, which looks at images of two domains, drawn "
                f"{'from each other' if self._back is not None else 'one from the other'}, but this game draws none.",
                "Try evaluation=fast, or game=cycle.",
            )

        def of(name: str) -> Tensor | None:
            return torch.cat([batch.conditions[name] for batch in fake]) if name in fake[0].conditions else None

        source, target = of(SOURCE), of(TARGET)
        assert source is not None
        assert target is not None
        images = torch.cat([batch.images for batch in fake])
        truth = target if TRUTH in fake[0].conditions else None
        found = self._direction(self._there, "there ", real, images, source, target, of(SOURCE_LABEL), truth)
        if self._back is None:
            return found
        found |= _cycle(of(CYCLED), of(NOISY_CYCLED), source)
        drawn = of(DRAWN_SOURCE)
        assert drawn is not None
        truth = None if truth is None else source
        back = self._direction(self._back, "back ", real, drawn, target, source, of(IMAGE_LABEL), truth)
        back |= _cycle(of(CYCLED_TARGET), of(NOISY_CYCLED_TARGET), target)
        name = f"frechet_{self._named}"
        both = {f"{name}_both": (found[name] + back[name]) / 2}
        return both | found | {f"{name}{_BACK}": value for name, value in back.items()}

    def _direction(
        self,
        metrics: FeatureMetrics,
        prefix: str,
        real: Mapping[str, Tensor],
        drawn: Tensor,
        inputs: Tensor,
        others: Tensor,
        label: Tensor | None,
        truth: Tensor | None,
    ) -> dict[str, float]:
        """The numbers of one direction.

        Args:
            metrics: on the features of the domain that is drawn.
            prefix: of its statistics.
            real: the statistics.
            drawn: what was drawn, [N, C, H, W].
            inputs: from what.
            others: real images of the domain that is drawn.
            label: the class of each input; None where it has none.
            truth: the true partners; None where nobody knows them.
        """
        parts = [metrics.extractor(some) for some in drawn.split(_AT_ONCE)]
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        seen = Features(
            torch.cat([part.vectors for part in parts]), torch.cat(probabilities) if probabilities else None
        )
        own = {name.removeprefix(prefix): value for name, value in real.items() if name.startswith(prefix)}
        found = metrics.numbers_of(seen, own)
        if self._labelled:
            assert label is not None
            assert seen.probabilities is not None
            found["classes_kept"] = float((seen.probabilities.argmax(1).cpu() == label.cpu()).double().mean())
        given = with_channels(inputs, drawn.shape[1])
        apart = _l1(given, given.roll(1, 0))
        found["change"] = _l1(drawn, given) / apart if apart else 0.0
        spread = float(exact(others).var(0).mean())
        found["variety"] = float(exact(drawn).var(0).mean()) / spread if spread else 1.0
        if self._partners and truth is not None:
            found |= {"l1": _l1(drawn, truth), "ssim": float(ssim(drawn, truth).mean())}
        return found

    def for_alarms(self, numbers: Mapping[str, float], images: Count) -> dict[str, float]:
        """Of both directions the worse: coverage, change, variety, and what the cycle hides.

        `hidden` is the share of the cycle's error that noise of one level makes, and 0 where that is a few levels.
        """
        ways = [""] if self._back is None else ["", _BACK]
        coverage = min(numbers[f"coverage_{self._named}{way}"] for way in ways)
        shares = {"coverage": coverage, **{name: min(numbers[f"{name}{way}"] for way in ways) for name in _WATCHED}}
        if self._back is not None:
            errors = [(numbers[f"cycle_l1{way}"], numbers[f"cycle_noise_l1{way}"]) for way in ways]
            shares["hidden"] = max(1 - own / noisy if noisy - own > _FEW_LEVELS else 0.0 for own, noisy in errors)
        return shares

    def of_real(self, statistics: Mapping[str, Tensor], most: Count) -> tuple[dict[str, float | None], int]:
        """See `OnData`; of the numbers on features, and of classes how many the classifier recognises."""
        numbers: dict[str, float | None] = dict.fromkeys(self.names)
        counts = []
        for metrics, prefix, way in zip(self._directions, ("there ", "back "), ("", _BACK), strict=False):
            own = {name.removeprefix(prefix): value for name, value in statistics.items() if name.startswith(prefix)}
            found, count = metrics.of_real(own, most)
            if self._labelled and metrics.unseen is not None and count:
                found["classes_kept"] = _accuracy(metrics, metrics.unseen, count)
            numbers |= {f"{name}{way}": value for name, value in found.items()}
            counts.append(count)
        there, back = (numbers.get(f"frechet_{self._named}{way}") for way in ("", _BACK))
        if there is not None and back is not None:
            numbers[f"frechet_{self._named}_both"] = (there + back) / 2
        return numbers, min(counts)


_WATCHED = ("change", "variety")

OfSources: TypeAlias = PairMetrics | UnpairedMetrics
"""Metrics that look at what images were drawn from as well."""


def _cycle(cycled: Tensor | None, noisy: Tensor | None, images: Tensor) -> dict[str, float]:
    assert cycled is not None
    assert noisy is not None
    return {"cycle_l1": _l1(cycled, images), "cycle_noise_l1": _l1(noisy, images)}


def _accuracy(metrics: FeatureMetrics, images: ImageSet, count: Count) -> float:
    """The share of images whose class the extractor's classifier recognises, of so many of a set."""
    assert images.labels is not None
    rows = even_rows(len(images), count)
    found = [metrics.extractor(part.images).probabilities for part in pictures(images, rows)]
    taken = torch.cat([each.argmax(1).cpu() for each in found if each is not None])
    return float((taken == images.labels[rows]).double().mean())


def _l1(images: Tensor, others: Tensor) -> float:
    return float((exact(images) - exact(others)).abs().mean())
