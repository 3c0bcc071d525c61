"""Metrics on features: one pass over the images gives all of them.

Each name ends in what the features are of, as in `frechet_cnn`, since numbers on other features are other numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gan_runner import tags
from gan_runner.contracts import what_it_is
from gan_runner.data.halves import halves
from gan_runner.data.image_set import ImageSet
from gan_runner.data.stacked import StackedImages
from gan_runner.data.unpaired import domain_drawn
from gan_runner.errors import UserError, closest
from gan_runner.metrics import cache, distances, neighbours
from gan_runner.metrics.by_class import ClassJudge, tells_classes
from gan_runner.metrics.cells import k_means, nearest_centre
from gan_runner.metrics.features import Extractor, Features, Learn, even_rows, features_of
from gan_runner.metrics.modes import modes
from gan_runner.metrics.number import Number
from gan_runner.ranges import Count, Seed

_log = logging.getLogger(__name__)

TRAINING_PICTURES = 60_000
"""Training images that copies are looked for among; of more, that many at even distances."""

_COMPUTED = 3
"""Grows whenever what is kept of images is computed in another way, so that nothing older is taken for it."""

_CELLS = 10
"""In how many cells copies are tested for, at most, where the extractor knows no classes; about as many as the sets
that it was tried on have classes."""

_HELD_OUT_IN_A_CELL = 50
"""Held-out images that there are for each of those cells, on average at least."""

_AT_ONCE = 500

DRAWN = 0.25
"""A class counts as drawn from this part on of the share that it has among the real images. A classifier takes
a few images of any class for another, so that a single one says nothing."""


NUMBERS: Mapping[str, Number] = {
    "frechet": Number("lower", "distance of two normal distributions (Heusel et al. 2017)", title="Frechet distance"),
    "kernel": Number("lower", "kernel distance, degree 3 (Bińkowski et al. 2018)"),
    "precision": Number("higher", "share of generated images near a real one (Kynkäänniemi et al. 2019)"),
    "recall": Number("higher", "share of real images near a generated one (Kynkäänniemi et al. 2019)"),
    "density": Number("higher", "how near to how many real images; 1 for real ones (Naeem et al. 2020)"),
    "coverage": Number("higher", "share of real images with a generated one near (Naeem et al. 2020)"),
    "clipped_density": Number("higher", "share of good images, by fidelity (Salvy et al. 2025)"),
    "clipped_coverage": Number("higher", "share of good images, by coverage (Salvy et al. 2025)"),
    "score": Number("higher", "sure of each class, and all classes there (Salimans et al. 2016)", "classes"),
    "classes": Number("higher", "classes that are drawn", "classes"),
    "class_entropy": Number("higher", "how evenly the classes are drawn, in nats", "classes"),
    "modes": Number("higher", "classes that one image at least shows (Srivastava et al. 2017)", "modes"),
    "modes_kl": Number("lower", "divergence of modes' frequencies from the data's, in nats (Lin et al. 2018)", "modes"),
    "memorised": Number("lower", "share closer to a training image than that to another", "training"),
    "copying_z": Number(None, "distance to training images against held-out ones' of the like", "held out"),
    "copying_p": Number(None, "how likely a copying_z so low is by chance; below .001: copies", "held out"),
}

FAST = ("frechet", "precision", "recall", "coverage", "classes", "class_entropy")
"""What takes a moment and tells most, for use during a run."""

_FIDELITY = ("precision", "recall", "density", "coverage", "clipped_density", "clipped_coverage")


class Pictures(Protocol):
    """A batch: `images` is [B, C, H, W], uint8, or floating in [-1, 1]."""

    @property
    def images(self) -> Tensor:
        """The images."""


@dataclass(frozen=True)
class Part:
    """A batch of images without conditions."""

    images: Tensor


def pictures(images: ImageSet, rows: Tensor) -> Iterator[Part]:
    """Images of a set in batches of uint8 [B, C, H, W]."""
    return (Part(images.pixels(part)) for part in rows.split(_AT_ONCE))


class FeatureMetrics:
    """The numbers of `NUMBERS` on the features of one extractor.

    `bind` says which data is meant and comes before all else; what comes out of `statistics` is worth keeping.

    Args:
        extractor: makes the extractor; the function's name is what the numbers' names end in.
        numbers: which to compute: one name or several; or `fast`, those of `FAST`, or `full`, of which the data has
            what they need.
        neighbours: the k of nearest neighbours.
        seed: of the kernel distance's subsets.

    Raises:
        UserError: there is no such number, or the extractor is none.
    """

    def __init__(self, extractor: Learn, numbers: Sequence[str] | str, neighbours: Count, seed: Seed) -> None:
        known: Sequence[str] | None = {"fast": FAST, "full": tuple(NUMBERS)}.get(str(numbers))
        asked = [numbers] if isinstance(numbers, str) else list(dict.fromkeys(numbers))
        if not asked:
            raise UserError(
                "numbers is [], but must hold one.", "Try numbers=full, or a list such as [frechet,coverage]."
            )
        for number in asked if known is None else ():
            if number not in NUMBERS:
                raise UserError(
                    f"numbers holds {number}, but must be of: {', '.join(NUMBERS)}.",
                    f"Try {closest(number, list(NUMBERS)) or 'frechet'}, or numbers=full.",
                )
        if not callable(extractor):
            raise UserError(
                f"extractor is {what_it_is(extractor)}, but must be a function that makes one for images.",
                "Let it have a _target_ with _partial_: true, such as gan_runner.metrics.features.cnn.",
            )
        self._as_data_allow = known is not None
        self.neighbours = neighbours
        self.seed = seed
        self.learn = extractor
        self._numbers = asked if known is None else list(known)
        self._extractor: Extractor | None = None
        self._training: ImageSet | None = None
        self._held_out: ImageSet | None = None
        self._device = torch.device("cpu")
        self._modes: Tensor | None = None  # how often each comes, where the data are stacks
        self._classes_there = 0  # of the extractor's, those that the training images have
        self._classes_in_reference = 0  # and of these, those that the reference shows
        self._reference: ImageSet | None = None
        self._unseen: ImageSet | None = None
        self._known: tuple[Tensor, Tensor] | None = None
        self._originals: dict[str, Tensor] | None = None
        self._class_judge: tuple[Count, ClassJudge] | None = None  # and the images beside which it was made
        self._judged_by_class: dict[str, float] = {}  # of the last images that were drawn by class
        self._warned_of: set[tuple[int, int]] = set()  # counts that are few; every evaluation would say it again

    @property
    def names(self) -> list[str]:
        """The numbers' names; before `bind`, those of `fast` and `full` include what the data may lack."""
        return list(self.numbers)

    @property
    def numbers(self) -> dict[str, Number]:
        """What each number is, by its name."""
        named = getattr(self.learn, "func", self.learn).__name__
        return {f"{number}_{named}": NUMBERS[number] for number in self._numbers}

    @property
    def extractor(self) -> Extractor:
        """The extractor; `bind` makes it."""
        assert self._extractor is not None, "bind comes first"
        return self._extractor

    @property
    def training(self) -> ImageSet:
        """What the generator learns from, as `bind` was told."""
        assert self._training is not None, "bind comes first"
        return self._training

    @property
    def held_out(self) -> ImageSet | None:
        """The real images that the generator did not learn from, as `bind` was told."""
        return self._held_out

    @property
    def reference(self) -> ImageSet:
        """The training images that generated ones are compared with: all, or the extractor's half."""
        assert self._reference is not None, "bind comes first"
        return self._reference

    @property
    def unseen(self) -> ImageSet | None:
        """Real images that the extractor was not trained on: the held-out ones, or the other half.

        None where there are too few for numbers of their own.
        """
        return self._unseen

    def comparable(self, count: Count) -> int:
        """How many images to measure, at most, so that the same number of real ones can be measured too."""
        return count if self._unseen is None else min(count, len(self._unseen))

    def fingerprint(self) -> str:
        """The extractor's, which `bind` makes, and the settings'."""
        return f"{self.extractor.fingerprint}-{self.neighbours}-{self.seed}-{_COMPUTED}"

    @property
    def looks_at_held_out(self) -> bool:
        """Whether a number needs images that were held out."""
        return any(NUMBERS[number].needs == "held out" for number in self._numbers)

    @property
    def key(self) -> str:
        """The cache key of `statistics`, in addition to the images."""
        wanted = [self._wants(*_FIDELITY), self._wants("score", "classes", "class_entropy")]
        return f"{self.extractor.name}_{cache.digest(self.extractor.fingerprint, self.neighbours, wanted, _COMPUTED)}"

    def bind(
        self, training: ImageSet, held_out: ImageSet | None, device: torch.device, learn_from: ImageSet | None = None
    ) -> None:
        """Set the data, and make the extractor, which may take a minute the first time.

        Where nothing is held out, the extractor learns one half of the images alone (see `data.halves`), and that
        half is the reference: real images that it had learned would be no measure of what a generator can come to.

        Args:
            training: what the generator learned from.
            held_out: real images that it did not; None where there are none.
            device: where to compute.
            learn_from: what the extractor learns; None is `training`. A set of which a run uses a small part
                makes a better judge whole.

        Raises:
            UserError: a number was asked for that the data lacks something for.
        """
        training = domain_drawn(training)
        held_out, learn_from = (None if each is None else domain_drawn(each) for each in (held_out, learn_from))
        self._training, self._held_out, self._device = training, held_out, device
        learned = training if learn_from is None else learn_from
        self._reference, self._unseen = training, held_out
        if held_out is None:
            # Rows that a limit takes out of a sorted set may be of either half of the whole.
            learned = self._in_two(learned if _begins_with(learned, training) else training)[0]
            self._reference, self._unseen = self._in_two(training)
        elif len(held_out) < self.fewest:
            self._unseen = None
        self._extractor = self.learn(learned, device)
        self._known = self._originals = None
        self._class_judge, self._judged_by_class = None, {}
        self._modes = None
        if isinstance(training, StackedImages) and self.extractor.classes:
            self._modes = training.mode_frequencies
        self._classes_there = self.extractor.classes
        if self._modes is not None:
            self._classes_there = int((self._modes > 0).sum())
        elif training.labels is not None:
            self._classes_there = min(len(training.labels.unique()), self.extractor.classes)
        lacking = {
            "classes": self.extractor.classes == 0,
            "modes": self._modes is None,
            "held out": held_out is None,
            "training": False,
            None: False,
        }
        missing = [number for number in self._numbers if lacking[NUMBERS[number].needs]]
        if missing and not self._as_data_allow:
            raise _lacks(missing[0], training.name, self.extractor.name)
        self._numbers = [number for number in self._numbers if number not in missing]

    def _in_two(self, images: ImageSet) -> tuple[ImageSet, ImageSet | None]:
        return halves(images) if len(images) >= 2 * self.fewest else (images, None)

    def statistics(self, real: Iterable[Pictures]) -> dict[str, Tensor]:
        """Compute the statistics that generated images are compared with, once.

        Args:
            real: the reference, a sample of the training images.

        Raises:
            UserError: there are too few.
        """
        seen = self._seen(real, "real")
        kept = {"features": seen.vectors}
        kept["mean"], kept["covariance"] = distances.moments(seen.vectors)
        if self._wants(*_FIDELITY):
            around = neighbours.balls(seen.vectors, self.neighbours)
            kept["radii"], kept["clipped_fidelity"] = around.radii, around.clipped_fidelity
        if seen.probabilities is not None and self._wants("score", "classes", "class_entropy"):
            kept["class_counts"] = seen.probabilities.argmax(1).bincount(minlength=self.extractor.classes)
        return kept

    def measure(self, fake: Iterable[Pictures], real: Mapping[str, Tensor]) -> dict[str, float]:
        """Compute the numbers of generated images.

        Args:
            fake: the generated images.
            real: what `statistics` gave.

        Returns:
            Each number by its name, without how many images it is of.

        Raises:
            UserError: there are too few images, or they have another shape than the data.
        """
        fake = list(fake)
        seen = self._seen(fake, "generated")
        if (label := _label_of(fake)) is not None and tells_classes(self):
            self._judged_by_class = self._judge_of(len(label)).judge(seen, label).judged
        return self.numbers_of(seen, real)

    def _judge_of(self, count: Count) -> ClassJudge:
        if self._class_judge is None or self._class_judge[0] != count:
            self._class_judge = (count, ClassJudge(self, count, count, distances=False))
        return self._class_judge[1]

    def numbers_of(self, seen: Features, real: Mapping[str, Tensor]) -> dict[str, float]:
        """As `measure`, of features that were extracted already."""
        vectors = seen.vectors
        self._warn_of_few(len(vectors), len(real["features"]))
        kept = {name: value.to(vectors.device) for name, value in real.items()}
        numbers: dict[str, float] = {}
        if self._wants("frechet"):
            mean, covariance = distances.moments(vectors)
            numbers["frechet"] = float(
                distances.frechet_distance(kept["mean"], kept["covariance"], mean, covariance).clamp(min=0)
            )
        if self._wants("kernel"):
            numbers["kernel"] = float(distances.kernel_distance(kept["features"], vectors, self.seed))
        if self._wants(*_FIDELITY):
            around = neighbours.Balls(kept["features"], kept["radii"], kept["clipped_fidelity"])
            numbers |= neighbours.fidelity_and_coverage(around, vectors, self.neighbours)
        if seen.probabilities is not None and "class_counts" in kept:
            numbers |= class_numbers(seen.probabilities, kept["class_counts"])
            self._classes_in_reference = int((kept["class_counts"] > 0).sum())
        if seen.probabilities is not None and self._modes is not None and self._wants("modes", "modes_kl"):
            drawn = seen.probabilities.argmax(1).cpu()
            numbers["modes"], numbers["modes_kl"] = modes(drawn, self._modes)
        if self._wants("memorised", "copying_z", "copying_p"):
            originals = self.originals
            near, which = (found[:, 0] for found in neighbours.nearest(vectors, self.known[0], 1))
            numbers["memorised"] = neighbours.memorised(near, which, originals["own"])
            if "held_out" in originals:
                cells = self._cells(seen, originals.get("centres"))
                numbers["copying_z"], numbers["copying_p"] = neighbours.copying_test(
                    near, originals["held_out"], cells, originals["held_out_cells"]
                )
        return {name: numbers[number] for name, number in zip(self.names, self._numbers, strict=True)}

    def for_alarms(self, numbers: Mapping[str, float], pictures: Count) -> dict[str, float]:
        """The share that is drawn of the classes that so many images can show, and coverage, where measured.

        Of images that were drawn by class, `ByClass.judged` besides.

        `classes` counts those alone that the reference shows too; so does what a share of 1 would be.
        """
        found = {number: numbers[name] for name, number in zip(self.names, self._numbers, strict=True)}
        shares = {"coverage": found["coverage"]} if "coverage" in found else {}
        if "classes" in found:
            every = self._classes_there
            # On average, by a G that draws all equally often.
            shown = self._classes_in_reference * (1 - (1 - 1 / every) ** pictures)
            shares["classes"] = min(1.0, found["classes"] / shown)
        return shares | {tag.removeprefix(tags.JUDGED): value for tag, value in self._judged_by_class.items()}

    def of_real(self, statistics: Mapping[str, Tensor], most: Count) -> tuple[dict[str, float | None], int]:
        """The metrics of real images that are not in the reference: the best that a generator can be expected to reach.

        Args:
            statistics: what `statistics` gave.
            most: how many images to look at, if there are as many.

        Returns:
            Each number by its name, None where the images cannot tell, such as on copying where nothing was held
            out; and how many images they are of.
        """
        numbers: dict[str, float | None] = dict.fromkeys(self.names)
        if self._unseen is None:
            return numbers, 0
        count = min(most, len(self._unseen))
        seen = self._seen(pictures(self._unseen, even_rows(len(self._unseen), count)), "real")
        numbers |= self.numbers_of(seen, statistics)
        if self._held_out is None:  # they are copies of themselves
            numbers |= dict.fromkeys(self.on_copying)
        return numbers, count

    @property
    def on_copying(self) -> list[str]:
        """Names of the numbers that tell whether training images are copied."""
        return [name for name, number in self.numbers.items() if number.needs in ("training", "held out")]

    @property
    def known(self) -> tuple[Tensor, Tensor]:
        """The training images that copies are looked for among: features [N, dim], and rows of the set, int64 [N]."""
        if self._known is None:
            assert self._training is not None, "bind comes first"
            training, extractor = self._training, self.extractor
            digest = cache.digest(extractor.fingerprint, training.fingerprint, TRAINING_PICTURES)
            kept = cache.kept(
                f"features_{training.name}_{digest}.pt",
                lambda: {"features": features_of(training, TRAINING_PICTURES, extractor)[0].cpu()},
            )
            rows = even_rows(len(training), TRAINING_PICTURES)
            self._known = kept["features"].to(self._device), rows.to(self._device)
        return self._known

    @property
    def originals(self) -> dict[str, Tensor]:
        """Distances between training images, and to held-out ones; computed at first use, and cached.

        `own` is the squared distance of each of `known` to the nearest other one, `held_out` that of each held-out
        image to the nearest of them; float64. `held_out_cells` is where each of those lies: in its class, or nearest
        to which of `centres`.
        """
        if self._originals is None:
            assert self._training is not None, "bind comes first"
            sets = [images.fingerprint for images in (self._training, self._held_out) if images is not None]
            digest = cache.digest(self.extractor.fingerprint, sets, TRAINING_PICTURES, _COMPUTED)
            kept = cache.kept(f"originals_{self._training.name}_{digest}.pt", self._compare_originals)
            self._originals = {key: value.to(self._device) for key, value in kept.items()}
        return self._originals

    def _compare_originals(self) -> dict[str, Tensor]:
        _log.info("Training images are compared with each other, once.")
        features, _ = self.known
        found = {"own": neighbours.own_distances(features)}
        if self._held_out is not None:
            others, classes = features_of(self._held_out, TRAINING_PICTURES, self.extractor)
            found["held_out"] = neighbours.nearest(others, features, 1)[0][:, 0]
            if classes is None:
                cells = max(1, min(_CELLS, len(others) // _HELD_OUT_IN_A_CELL))
                found["centres"] = k_means(features, cells, seed=0)
                classes = nearest_centre(others, found["centres"])
            found["held_out_cells"] = classes
        return {key: value.cpu() for key, value in found.items()}

    @staticmethod
    def _cells(seen: Features, centres: Tensor | None) -> Tensor:
        if seen.probabilities is not None:
            return seen.probabilities.argmax(1)
        assert centres is not None, "without classes there are centres"
        return nearest_centre(seen.vectors, centres)

    def _wants(self, *numbers: str) -> bool:
        return not set(numbers).isdisjoint(self._numbers)

    def _seen(self, batches: Iterable[Pictures], what: str) -> Features:
        parts = [self.extractor(batch.images) for batch in batches]
        count = sum(len(part.vectors) for part in parts)
        if count < self.fewest:
            raise UserError(
                f"There are {count} {what} images, and the metrics on features need at least {self.fewest}.",
                "Evaluate more images, or lower neighbours.",
            )
        rows = [part.probabilities for part in parts if part.probabilities is not None]
        return Features(torch.cat([part.vectors for part in parts]), torch.cat(rows) if rows else None)

    def _warn_of_few(self, count: int, real: int) -> None:
        """Warn once if there are too few images for an accurate Fréchet distance."""
        dim = self.extractor.dim
        if min(count, real) > dim or not self._wants("frechet") or (count, real) in self._warned_of:
            return
        self._warned_of.add((count, real))
        _log.warning(
            "%s generated and %s real images are few for a Fréchet distance on %s features.\n"
            "  It is too high for so few; compare it only with that of as many images.",
            *(count, real, dim),
        )

    @property
    def fewest(self) -> int:
        """How many images the numbers need."""
        return max(2, self.neighbours + 1)


def _begins_with(images: ImageSet, first: ImageSet) -> bool:
    """Whether a set begins with the images of another one, as far as their classes tell."""
    if images.labels is None or first.labels is None:
        return True
    return torch.equal(images.labels[: len(first)], first.labels)


def _label_of(batches: Sequence[Pictures]) -> Tensor | None:
    """The class that each image of some batches was drawn as, int64 [N]; None where none was asked for."""
    labels = [conditions["label"] for each in batches if "label" in (conditions := getattr(each, "conditions", {}))]
    return torch.cat(labels) if batches and len(labels) == len(batches) else None


def class_numbers(probabilities: Tensor, real_counts: Tensor) -> dict[str, float]:
    """Which classes are drawn, by what the extractor takes each image for.

    Args:
        probabilities: of the generated images, [M, classes].
        real_counts: real images of each class by the same judge, int64 [classes].

    Returns:
        `score` (see `distances.classifier_score`); `classes`, how many of those that real images have come with at
        least a quarter of their share there; `class_entropy` of their shares in nats, ln(classes) where all are drawn
        equally often.
    """
    counts = probabilities.argmax(1).bincount(minlength=len(real_counts))
    shares, real_shares = (part.double() / part.sum() for part in (counts, real_counts))
    return {
        "score": float(distances.classifier_score(probabilities)),
        "classes": float(((shares >= DRAWN * real_shares) & (counts > 0) & (real_counts > 0)).sum()),
        "class_entropy": float(torch.special.entr(shares).sum()),
    }


def _lacks(number: str, data: str, extractor: str) -> UserError:
    if NUMBERS[number].needs == "classes":
        return UserError(
            f"numbers holds {number}, which needs classes, but {data} has no labels that {extractor} could learn.",
            f"Leave {number} out, use numbers=full, or give the data labels: for a folder, one folder a class.",
        )
    if NUMBERS[number].needs == "modes":
        return UserError(
            f"numbers holds {number}, which counts the modes of stacks, but {data} is none, or {extractor} knows no "
            "classes.",
            f"Leave {number} out, use numbers=full, or try data=stacked with the extractor cnn.",
        )
    return UserError(
        f"numbers holds {number}, which needs images that were held out, but {data} has none.",
        f"Leave {number} out, or use numbers=full. data.holdout=0.1, where there is such a key, holds some out.",
    )
