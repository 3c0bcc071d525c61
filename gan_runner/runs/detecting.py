"""How well detectors tell a run's images from real ones: what gan-detect measures, and Python."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from annotated_types import Ge
from omegaconf import DictConfig
from torch import Tensor, nn

from gan_runner.bars import folded
from gan_runner.building.networks import packing_of
from gan_runner.config.build import (
    bind_to_data,
    build_game,
    discriminator_of_checkpoint,
    kind_of_checkpoint,
    load_held_out,
    plain,
    sampler_of_checkpoint,
)
from gan_runner.config.command_line import named_folders
from gan_runner.config.stored import Stored
from gan_runner.config.validation import validate
from gan_runner.contracts import described
from gan_runner.data import Batch
from gan_runner.data.batch import SOURCE, TRUTH, joined
from gan_runner.data.encodings import encodings_of, files_behind
from gan_runner.data.halves import halves
from gan_runner.data.image_set import ImageSet, batch_of, kind_of
from gan_runner.detection.changes import CHANGES
from gan_runner.detection.detectors import FEWEST, Detector, trained_network, trained_probe
from gan_runner.detection.guard import Kind, Reencoding, leaks
from gan_runner.detection.report import AS_THEY_ARE, CONTROL, OWN, Detected, DetectionReport, Name, Row
from gan_runner.detection.scores import Scores, scores_of
from gan_runner.errors import UserError
from gan_runner.files import write_text
from gan_runner.games.cycle import Judging
from gan_runner.games.game import checked_logits
from gan_runner.incidental import is_incidental
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import as_bytes, even_rows
from gan_runner.metrics.samples import Samples, read_samples_of_any_size
from gan_runner.override import values_by_key
from gan_runner.ranges import Count, Seed
from gan_runner.seeds import derived_seed
from gan_runner.training.devices import choose_device
from gan_runner.training.sampler import Sampler

if TYPE_CHECKING:
    from gan_runner.runs.saved import SavedRun

log = logging.getLogger(__name__)

SETTINGS: dict[str, object] = {
    "run": str | None,
    "others": Sequence[str] | str,
    "samples": str | None,
    "reencode": bool,
    "checkpoint": Literal["last", "best"] | Count,
    "num": Annotated[int, Ge(4 * FEWEST)],
    "output": str | None,
    "seed": Seed,
    "device": str,
    "trust": Sequence[str] | str,
}


_JUDGED_AT_ONCE = 256
_WIDTH = 80  # columns of what is printed
_FILES = 1000  # of each kind that are looked into


@dataclass(frozen=True)
class Asked:
    """What is to be measured.

    Attributes:
        others: folders of further runs.
        samples: images of another program: a folder, an .npz or an .npy; None for none.
        reencode: whether all images are scaled and compressed alike, rather than refused where that tells them apart.
        checkpoint: of the run and the others: last, best or an iteration.
        num: images of each kind at most; half trains detectors.
        seed: of what is drawn and trained.
        device: as typed.
        trust: the user's own modules that configs may name.
    """

    others: Sequence[str]
    samples: str | None
    reencode: bool
    checkpoint: str
    num: Count
    seed: Seed
    device: str
    trust: Sequence[str] | str

    @classmethod
    def of(cls, config: DictConfig, overrides: Sequence[str]) -> Asked:
        """What a composed config asks for.

        Args:
            config: of gan-detect.
            overrides: what was typed.

        Raises:
            UserError: a setting is wrong.
        """
        validate(config, SETTINGS, (), overrides)
        settings = plain(config)
        return cls(
            others=named_folders(settings["others"]),
            samples=settings["samples"],
            reencode=settings["reencode"],
            checkpoint=str(settings["checkpoint"]),
            num=settings["num"],
            seed=settings["seed"],
            device=settings["device"],
            trust=settings["trust"],
        )


@dataclass(frozen=True)
class _Real:
    """Real images, uint8 with their conditions.

    Attributes:
        to_train: what detectors are trained on.
        instead: others to train on, in the place of generated ones: the control.
        measured: what they are measured on.
        further: others, which set thresholds.
    """

    to_train: Batch
    instead: Batch
    measured: Batch
    further: Batch


@dataclass(frozen=True)
class _RunsD:
    """A run's own discriminator as a detector.

    Attributes:
        judge: the game's, from D, images and conditions to logits.
        net: D, in evaluation mode.
        device: where it lies.
        by_sign: whether a logit below 0 means generated.
        beside: the conditions that it is given with an image.
    """

    judge: Callable[[nn.Module, Tensor, Mapping[str, Tensor]], Tensor]
    net: nn.Module
    device: torch.device
    by_sign: bool
    beside: frozenset[str]

    def __call__(self, batch: Batch) -> Tensor | None:
        """Scores, float32 [N] on the CPU: each image's mean logit with the sign turned; None without conditions."""
        if not self.beside <= batch.conditions.keys():
            return None
        with torch.inference_mode():
            return torch.cat([self._of_some(part) for part in batch.split(_JUDGED_AT_ONCE)])

    def _of_some(self, batch: Batch) -> Tensor:
        shown = batch.to(self.device).as_float()
        logits = checked_logits(self.judge(self.net, shown.images, shown.conditions), len(batch))
        return -logits.reshape(len(batch), -1).mean(1).float().cpu()


def detected(run: SavedRun, asked: Asked, metrics: FeatureMetrics) -> DetectionReport:
    """Train detectors on a run's images, and measure them and its own D.

    Args:
        run: whose images they are.
        asked: what is to be measured.
        metrics: has the extractor of the probe's features; not yet bound to data.

    Raises:
        UserError: something is wrong with the run, its data, another run or the samples.
    """
    started = time.monotonic()
    device = choose_device(asked.device, "device")
    checkpoint = run.checkpoint_for(asked.checkpoint)
    state = run.load_checkpoint(checkpoint, asked.device)
    about = state["about"]
    with run.its_data() as config:
        training = run.training_images(config, state)
        piles = _of_others(run, asked, about, device)
        samples = None if asked.samples is None else read_samples_of_any_size(asked.samples, training.shape)
        if samples is not None:
            piles[str(asked.samples)] = Batch(samples.images[even_rows(len(samples.images), asked.num // 2)])
        bind_to_data(metrics, config, training, device)
        real = _real_images(metrics, asked.num)
        sampler = sampler_of_checkpoint(config, state, asked.seed, device)
        log.info("Images are drawn, and detectors trained on them.")
        beside = _to_draw_beside(config, training, real)
        to_train = _drawn_beside(sampler, "to train detectors", beside[0])
        piles = {OWN: _drawn_beside(sampler, "to measure detectors", beside[1]), **piles}
        real, to_train, piles, notes = _guarded(run, asked, metrics.reference, samples, real, to_train, piles)
        d, why = _its_d(config, state, device, piles[OWN].conditions.keys() & real.measured.conditions.keys())
    if d is not None and ((own := d(piles[OWN])) is None or not own.isfinite().all()):
        d, why = None, "it gives NaN or infinite logits"
    if d is not None and (without := [name for name, pile in piles.items() if d(pile.first(1)) is None]):
        why = f"it is given {' and '.join(sorted(d.beside))} with an image, which {', '.join(without)} lack"
    left_out: dict[Name, str] = {"d": why} if why else {}

    def trained(of: Tensor, number: int, what: str) -> dict[Name, Detector]:
        seed = derived_seed(asked.seed, "detectors", number)
        return {
            "network": trained_network(real.to_train.images, of, seed, device, f"new network learns {what}"),
            "probe": trained_probe(real.to_train.images, of, metrics.extractor),
        }

    detectors = trained(to_train.images, 0, "generated images")
    rows = [
        _row(name, change, (pile, real.measured, real.further), detectors, d)
        for name, pile in piles.items()
        for change in CHANGES
    ]
    apart = [real.measured.rows(torch.arange(first, len(real.measured), 2)) for first in (0, 1)]
    of_control = trained(real.instead.images, 1, "real images")
    control = _row(CONTROL, AS_THEY_ARE, (apart[0], apart[1], real.further), of_control, d)
    about_it = Detected(
        run=str(run.folder),
        checkpoint=checkpoint,
        iteration=state["progress"]["iteration"],
        data=f"{training.name}-{training.fingerprint}",
        trained_on=len(real.to_train),
        measured_on=len(real.measured),
        threshold_from=len(real.further),
        held_out=metrics.held_out is not None,
        extractor=f"{metrics.extractor.name}-{metrics.extractor.fingerprint}",
        seed=asked.seed,
    )
    memorised = _scores(d, (real.measured, real.to_train, real.further)) if d and about_it.held_out else None
    return DetectionReport(about_it, rows, control, left_out, memorised, notes, time.monotonic() - started)


def _real_images(metrics: FeatureMetrics, num: Count) -> _Real:
    """Real images by what they are for; those that are measured were neither trained on nor, if possible, by the run.

    Raises:
        UserError: there are too few.
    """
    to_train, unseen = metrics.reference, metrics.unseen
    least = 2 * FEWEST
    if unseen is None or len(unseen) < least or len(to_train) < least:
        there = f"{len(to_train):,} to train on and {0 if unseen is None else len(unseen):,} to measure on"
        raise UserError(
            f"data={to_train.name} has too few real images for a detector: {there}, where {least} of each are needed.",
            "Train a run on more images, or hold more out: data.holdout=0.2.",
        )
    rows = [even_rows(len(images), num)[first::2] for images in (to_train, unseen) for first in (0, 1)]
    fewest = min(map(len, rows[:2]))
    first, second, measured, further = rows
    return _Real(
        batch_of(to_train, first[:fewest]),
        batch_of(to_train, second[:fewest]),
        batch_of(unseen, measured),
        batch_of(unseen, further),
    )


def _guarded(
    run: SavedRun,
    asked: Asked,
    training: ImageSet,
    samples: Samples | None,
    real: _Real,
    to_train: Batch,
    piles: Mapping[str, Batch],
) -> tuple[_Real, Batch, dict[str, Batch], list[str]]:
    """The images as detectors see them, once nothing but what they show tells the kinds apart, and what to know of it.

    Raises:
        UserError: something else does, and they are not to be encoded alike.
    """
    own = (training.shape[1], training.shape[2])
    files = encodings_of(files_behind(training, even_rows(len(training), _FILES)))
    of_real = Kind(real.to_train.images, files, any(file.size != own[::-1] for file in files))
    found = {}
    for name, pile in piles.items():
        written = Kind(pile.images)
        if samples is not None and name == asked.samples:
            some = [samples.files[row] for row in even_rows(len(samples.files), _FILES).tolist()]
            written = Kind(pile.images, encodings_of(some), samples.sizes != {own})
        if said := leaks(of_real, written):
            found[name] = f"their {'; '.join(said)}"
    if not asked.reencode:
        for name, told in found.items():
            what = {OWN: f"run is {run.folder}", asked.samples: f"samples is {name}"}.get(name, f"others has {name}")
            raise UserError(
                f"{what}, but its images are told from the real ones by more than they show: {told}. Detectors would "
                "learn that.",
                "Add reencode=true, which scales and compresses all alike, or write both kinds in one way.",
            )
        return real, to_train, dict(piles), []
    reencode = Reencoding.of(samples.sizes if samples is not None else (), own)

    def alike(batch: Batch) -> Batch:
        return Batch(reencode(batch.images), batch.conditions)

    real = _Real(*(alike(batch) for batch in (real.to_train, real.instead, real.measured, real.further)))
    piles = {name: alike(pile) for name, pile in piles.items()}
    notes = [f"All images were encoded alike: {reencode}."]
    notes += [f"Without that, {name} would be told from real images by {told}." for name, told in found.items()]
    notes += [
        f"Even so, {name} can still be told from real images by {'; '.join(said)}: do not trust its numbers."
        for name, pile in piles.items()
        if (said := leaks(Kind(real.to_train.images), Kind(pile.images)))
    ]
    return real, alike(to_train), piles, notes


def _to_draw_beside(config: DictConfig, training: ImageSet, real: _Real) -> tuple[Batch, Batch]:
    """The images with whose conditions generated ones are drawn: to train detectors, and to measure them.

    They are the real ones, unless these are of two domains and come without what is drawn from.
    """
    if SOURCE in real.measured.conditions or kind_of(training).source is None:
        return real.to_train, real.measured
    held_out = load_held_out(config)
    sets = halves(training) if held_out is None else (training, held_out)
    first, second = (
        batch_of(images, torch.arange(len(like)) * len(images) // len(like))
        for images, like in zip(sets, (real.to_train, real.measured), strict=True)
    )
    return first, second


def _drawn_beside(sampler: Sampler, purpose: str, real: Batch) -> Batch:
    """Images that are drawn with the conditions of real ones, if the game has any: uint8, as those are."""
    drawn = joined(sampler.draw(sampler.like_these(purpose, real.as_float())))
    return Batch(as_bytes(drawn.images).cpu(), {name: real.conditions[name] for name in drawn.conditions})


def _of_others(run: SavedRun, asked: Asked, about: Mapping[str, Any], device: torch.device) -> dict[str, Batch]:
    """What other runs draw, by what differs in them.

    Raises:
        UserError: one is no run's folder, or draws images of another shape.
    """
    from gan_runner.runs.saved import SavedRun

    found: dict[str, Batch] = {}
    for folder in asked.others:
        other = SavedRun(folder, asked.trust, key="others")
        state = other.load_checkpoint(other.checkpoint_for(asked.checkpoint), asked.device)
        shapes = [list(each["image_shape"]) for each in (state["about"], about)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"others has {folder}, whose images are {shapes[0]}, but those of run={run.folder} are {shapes[1]}.",
                "Give runs whose images have the same channels, height and width.",
            )
        with other.its_data() as config:
            sampler = sampler_of_checkpoint(config, state, asked.seed, device)
            inputs = sampler.like_data("to measure detectors", asked.num // 2)
            drawn = joined(sampler.draw(inputs))
        alike = list(state["about"]["classes"]) == list(about["classes"])
        conditions = {name: value.cpu() for name, value in drawn.conditions.items() if name != TRUTH}
        found[f"{folder} ({differences(run.stored, other.stored)})"] = Batch(
            as_bytes(drawn.images).cpu(), conditions if alike else {}
        )
    return found


def differences(one: Stored, other: Stored) -> str:
    """The settings of another run that differ from those of a run, as they were typed."""
    mine, theirs = (
        {key: value for key, value in values_by_key(each.overrides).items() if not is_incidental(key)}
        for each in (one, other)
    )
    said = [f"{key}={value}" for key, value in theirs.items() if mine.get(key) != value]
    said += [f"without {key}={value}" for key, value in mine.items() if key not in theirs]
    return ", ".join(said) or "the same settings"


def _its_d(
    config: DictConfig, state: Mapping[str, Any], device: torch.device, beside: Collection[str]
) -> tuple[_RunsD | None, str]:
    """A run's D, or None and why it cannot judge images one by one."""
    packing = packing_of(plain(config.game))
    if packing > 1:
        return None, f"it judges {packing} images at a time (game.packing)"
    game = build_game(config, kind_of_checkpoint(state["about"]), device)
    judge = getattr(game, "judge", None)
    if judge is None:
        return None, f"its game, {described(game)}, has no method judge(d, images, conditions)"
    net = discriminator_of_checkpoint(config, state, device)
    if isinstance(net, Judging):  # the one of the domain that is drawn, which is shown no source
        net = net.of_images
    return _RunsD(judge, net, device, game.classifies, frozenset(beside)), ""


def _row(
    name: str,
    change: str,
    images: tuple[Batch, Batch, Batch],
    detectors: Mapping[Name, Detector],
    d: _RunsD | None,
) -> Row:
    """What all detectors say of generated images beside measured and further real ones, all of them changed alike."""
    changed = tuple(Batch(CHANGES[change](batch.images), batch.conditions) for batch in images)
    found: dict[Name, Scores | None] = {"d": None if d is None else _scores(d, changed)}
    for kind, detector in detectors.items():
        of_all = [detector(batch.images) for batch in changed]
        found[kind] = scores_of(of_all[0], of_all[1], of_all[2])
    return Row(name, change, found)


def _scores(d: _RunsD, images: Sequence[Batch]) -> Scores | None:
    of_all = [scores for batch in images if (scores := d(batch)) is not None]
    return scores_of(*of_all, by_sign=d.by_sign) if len(of_all) == len(images) else None


def tell(what: str, found: DetectionReport, output: Path) -> None:
    """Log what detectors say, and write it as JSON.

    Args:
        what: what was looked at.
        found: what they say.
        output: a path that .json is added to.
    """
    path = output.with_name(f"{output.name}.json")
    sentences = "\n".join(folded(sentence, _WIDTH) for sentence in found.sentences())
    log.info("%s\n%s\n\n%s", what, found.table(), sentences)
    write_text(path, json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    log.info("Numbers: %s", path)
