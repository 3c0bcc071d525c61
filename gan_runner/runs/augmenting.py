"""How much a run's images help a classifier of its data: train the run, draw images, train classifiers, compare."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from signal import SIGINT
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, open_dict
from torch import Tensor

from gan_runner import tags
from gan_runner.bars import Bar, on_a_terminal
from gan_runner.config.build import build_game, load_images
from gan_runner.data import ImageSet
from gan_runner.data.classes import FEW, class_counts, with_few_images
from gan_runner.data.image_set import kind_of
from gan_runner.data.notes import silently
from gan_runner.data.parallel import in_chunks
from gan_runner.data.scarce import Scarce, counts_to_keep, images_at, kept_and_held_back
from gan_runner.data.splits import NoTestSplitError
from gan_runner.errors import UserError, printable
from gan_runner.files import appending, is_empty_folder, is_folder, unused_folder, write_text
from gan_runner.override import key_of
from gan_runner.ranges import Count, CountOrZero, Seed, TwoOrMore
from gan_runner.record.data_folder import DataFolder
from gan_runner.record.loggers import RunToLog, opened_log
from gan_runner.record.pictures import save_atomically
from gan_runner.record.tensorboard import TensorBoard
from gan_runner.runs.composing import checked_config, new_name
from gan_runner.runs.in_python import train
from gan_runner.runs.saved import SavedRun
from gan_runner.runs.surroundings import one_at_a_time
from gan_runner.seeds import derived_seed
from gan_runner.training.sampler import examples_of
from gan_runner.worth import generated as generated_images
from gan_runner.worth.answer import Answer
from gan_runner.worth.arms import GENERATED_RATIOS, OVERSAMPLING, Arm, Pool, arms, images_added
from gan_runner.worth.classifier import Recipe, counts_of, images_shown, trained
from gan_runner.worth.generated import Filters, Generated
from gan_runner.worth.picture import picture_of
from gan_runner.worth.scores import Counts, Scores, scores_of

log = logging.getLogger(__name__)

FEWEST = 5
"""The fewest images of a class to train on, and the fewest to hold back."""
HELD_OUT = 0.25
"""The share of the images that is held out for testing if the data set has no test images."""
_LEAST_HELD_BACK = 0.5  # held-back real images of a class, as a multiple of the kept ones
_MOST_GENERATED = 50_000  # generated images in an arm
_MOST_ALONE = 20_000  # in the arm with generated images only
_RESULTS, _SETTINGS, _GENERATED = "results.jsonl", "settings.json", "generated.npz"
_KEYS_OF_RESULTS = {"arm", "seed", "correct", "predicted"}
_ANSWER = "answer"


@dataclass(frozen=True)
class Asked:
    """The settings of a comparison.

    Attributes:
        seeds: number of repetitions.
        updates: of each classifier.
        batch_size: images in each update.
        filters: which generated images are left out.
        seed: of all random numbers.
        checkpoint: of the run: last, best or an iteration.
        device: where classifiers are trained and images drawn.
    """

    seeds: TwoOrMore
    updates: Count
    batch_size: TwoOrMore
    filters: Filters
    seed: Seed
    checkpoint: str
    device: torch.device


@dataclass(frozen=True, eq=False)
class RealImages:
    """The real images of a comparison.

    Attributes:
        whole: all training images.
        test: the test images.
        test_labels: their classes, numbered as in `whole`.
        kept: rows of `whole` that the GAN and the classifiers are trained on.
        held_back: rows of `whole` that only the arms with more real images are trained on.
        scarce: the classes that are cut.
    """

    whole: ImageSet
    test: ImageSet
    test_labels: Tensor
    kept: Tensor
    held_back: Tensor
    scarce: tuple[int, ...]

    def by_class(self, rows: Tensor) -> list[Tensor]:
        """Rows of `whole`, split by class."""
        assert self.whole.labels is not None
        labels = self.whole.labels[rows]
        return [rows[labels == number] for number in range(len(self.whole.classes))]

    @property
    def counts(self) -> list[int]:
        """The number of kept images of each scarce class."""
        kept = self.by_class(self.kept)
        return [len(kept[number]) for number in self.scarce]

    @property
    def learned(self) -> ImageSet:
        """The images that the GAN is trained on."""
        return images_at(self.whole, self.kept)


def real_images(config: DictConfig, scarce: Scarce, key: str, *, hold_out: bool) -> RealImages:
    """Load the real images and split them into test, kept and held-back images.

    Args:
        config: has the data; its `data.holdout` is set if test images have to be held out.
        scarce: how many images of each class to keep.
        key: the setting that says so, for messages.
        hold_out: whether images may be held out if the data set has no test images.

    Raises:
        UserError: the data have no classes, or a class has too few images to train on, to hold back or to test on.
    """
    _check_split(config)
    whole = load_images(config, scarce=None)
    if class_counts(whole) is None:
        raise UserError(
            f"data={whole.name} has no classes, but gan-augment trains a classifier.",
            "Try a data set with classes, such as data=fashion_mnist, or a folder with one subfolder for each class.",
        )
    held_out = config.data.get("holdout")
    test = _test_images(config, hold_out=hold_out)
    if config.data.get("holdout") != held_out:
        whole = load_images(config, scarce=None)
    counts = class_counts(whole)
    assert counts is not None
    to_keep = counts_to_keep(whole, scarce, key)
    cut = tuple(number for number, count in enumerate(to_keep) if count < counts[number])
    for number, count in enumerate(to_keep):
        name = printable(whole.classes[number])
        if count < FEWEST:
            raise UserError(
                f"Class {name} has {count:,} images to train on, but needs at least {FEWEST}.",
                f"Keep more of it with {key}, or remove the class from the data.",
            )
        if number in cut and counts[number] - count < max(FEWEST, _LEAST_HELD_BACK * count):
            most = min(int(counts[number] / (1 + _LEAST_HELD_BACK)), counts[number] - FEWEST)
            raise UserError(
                f"{key} keeps {count:,} of the {counts[number]:,} images of class {name}, which leaves too few to "
                f"compare with: at least half as many as are kept, and at least {FEWEST}.",
                f"Keep at most {most:,} of it."
                if most >= FEWEST
                else "Keep all of it, or remove the class from the data.",
            )
    if not cut:
        raise UserError(
            f"{key} is {_shown(scarce)}, which cuts no class, so no real images are held back to compare with.",
            f"Try {key}=0.5, which keeps half of every class.",
        )
    kept, held_back = kept_and_held_back(whole, scarce, key)
    return RealImages(whole, test, _test_labels(test, whole), kept, held_back, cut)


def _check_split(config: DictConfig) -> None:
    """Refuse data whose training images would also be the test images.

    Raises:
        UserError: `data.split` is test, or the data set has no setting `split`.
    """
    split = config.data.get("split")
    if split == "test":
        raise UserError(
            "data.split is test, but gan-augment trains on one split and tests on the other.",
            "Leave data.split out.",
        )
    if split is None:
        raise UserError(
            f"data ({config.data._target_}) has no setting split, so it has no test images.",
            "Give it a parameter split (train or test), and its YAML file the line split: train.",
        )


def _test_images(config: DictConfig, *, hold_out: bool) -> ImageSet:
    """The test images: those of the data set, or held-out ones if it has none and that is allowed."""
    try:
        with silently():  # findings in its folder were reported when the training images were loaded
            return load_images(config, split="test", limit=None)
    except NoTestSplitError:
        if not hold_out or config.data.get("holdout") != 0:
            raise
    log.info("There are no test images, so data.holdout=%g: this share of the images is held out.", HELD_OUT)
    with open_dict(config.data):
        config.data.holdout = HELD_OUT
    return load_images(config, split="test", limit=None)


def _test_labels(test: ImageSet, whole: ImageSet) -> Tensor:
    """The classes of the test images, int64, numbered as those of the training images.

    Raises:
        UserError: a class has training images but no test images, or the other way round.
    """
    there = class_counts(test)
    if there is None or test.labels is None:  # such as a folder of test images without subfolders, or with only one
        raise UserError(
            f"data={whole.name} has test images without classes.",
            f"Put them into one folder for each class, or hold out a share of the images with data.holdout={HELD_OUT}.",
        )
    tested = {name for name, count in zip(test.classes, there, strict=True) if count}
    for name in (*whole.classes, *test.classes):
        if (name in tested) == (name in whole.classes):
            continue
        what = "test images" if name in whole.classes else "training images"
        raise UserError(
            f"data={whole.name} has no {what} of class {printable(name)}.",
            f"Add some to its {what}, or hold out a share of the images with data.holdout={HELD_OUT}.",
        )
    numbers = [whole.classes.index(name) if name in tested else -1 for name in test.classes]
    return torch.tensor(numbers)[test.labels]


def tell_few(real: RealImages) -> None:
    """Warn before training if a class has very few images."""
    if few := with_few_images(real.whole.classes, [len(rows) for rows in real.by_class(real.kept)]):
        log.warning(
            "Fewer than %d images of a class are too few for most GANs to learn it, and images of such a GAN usually "
            "make a classifier worse: %s.",
            FEW,
            few,
        )


def open_folder(output: str | None, settings: Mapping[str, object]) -> Path:
    """The folder of a comparison: a new one, or an earlier one with the same settings, which is resumed.

    Raises:
        UserError: something else is in the folder, or its settings differ.
    """
    if output is None:
        name = new_name("outputs")
        folder = unused_folder(name.with_name(f"{name.name}-augment"))
    else:
        folder = Path(output)
        if folder.exists() and not is_folder(folder):
            raise UserError(f"output is {output}, but that is not a folder.", "Give the path of a new folder.")
        stored = DataFolder(folder).json(_SETTINGS) if is_folder(folder) else {}
        if not stored and is_folder(folder) and not is_empty_folder(folder):
            raise UserError(
                f"output is {output}, but that folder was not written by gan-augment.",
                "Give the path of a new folder.",
            )
        for name_, value in settings.items():
            if stored and stored.get(name_) != value:
                raise UserError(
                    f"output is {output}, which gan-augment has started with {name_}={stored.get(name_)}, but "
                    f"{name_} is {value} now.",
                    "Use the same settings, or another output.",
                )
        folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _SETTINGS, json.dumps(settings, indent=2) + "\n")
    return folder


def check_gan(data: Sequence[str], settings: Sequence[str], real: RealImages) -> None:
    """Refuse a GAN that gan-run would refuse, that does not draw by class, or that would learn other images.

    Nothing is trained or written.

    Args:
        data: the overrides of the data.
        settings: further overrides.
        real: the real images.

    Raises:
        UserError: see above.
    """
    config = checked_config([*data, *settings])
    if any(key_of(word).split(".")[0] == "data" for word in settings):
        with silently():
            if load_images(config).fingerprint != real.learned.fingerprint:
                raise UserError(
                    "With these settings of gan.data the GAN would be trained on other images than those that scarce "
                    "keeps, so held-back images may be among them.",
                    "Leave settings of gan.data out and give them as data.KEY=VALUE.",
                )
    game = build_game(config, kind_of(real.learned), torch.device("cpu"))
    if "label" not in game.grid_conditions(1, 1, examples_of(real.learned, config.seed)):
        raise UserError(
            "gan-augment adds images to some classes, but this GAN would draw images of no given class: its game is "
            f"{config.game._target_}.",
            "Try gan.game=conditional.",
        )


def trained_gan(folder: Path, words: Sequence[str], trust: Sequence[str] | str) -> SavedRun:
    """Train the GAN of a comparison in its folder, as gan-run does, or resume it there.

    Args:
        folder: of the comparison.
        words: overrides for gan-run.
        trust: modules of the user's own that its config may name.

    Raises:
        UserError: gan-run's errors.
        SystemExit: the training was interrupted.
    """
    place, number = folder / "gan", 2
    while os.path.lexists(place) and not (is_folder(place) and (place / "checkpoints/last.pt").is_file()):
        place, number = folder / f"gan-{number}", number + 1
    if place.exists():
        run = SavedRun(place, trust)
        if run.status != "finished":
            run = run.resume()
    else:
        run = train(*words, f"hydra.run.dir={place}")
    if run.status != "finished":
        sys.exit(128 + SIGINT)
    return run


def learned_others(run: SavedRun, real: RealImages, checkpoint: str) -> bool:
    """Whether a run was trained on images other than `real.learned`."""
    about = run.load_checkpoint(checkpoint, "cpu")["about"]
    return bool(about["data_fingerprint"] != real.learned.fingerprint)


def compare(folder: Path, run: SavedRun, real: RealImages, asked: Asked) -> Answer:
    """Draw images and train all classifiers, except for those that the folder has already.

    Args:
        folder: of the comparison.
        run: a run by class, trained on `real.learned`.
        real: the real images.
        asked: the settings.

    Raises:
        UserError: the filters leave too few images, or nothing can be written.
    """
    with one_at_a_time():
        known = _known(folder, run, real, asked)
        plan = _arms(real)
        pool, test, labels = _pool(real, known, asked)
        of_each: list[int] = labels.bincount(minlength=len(real.whole.classes)).tolist()
        done = _results(folder, of_each)
        total = len(plan) * asked.seeds
        with Bar(total=total, desc="classifiers", unit="", leave=False, disable=not on_a_terminal()) as bar:
            for number in range(asked.seeds):
                recipe = Recipe(asked.updates, asked.batch_size, asked.seed, number)
                for arm in plan:
                    if (arm.name, number) not in done:
                        net = trained(pool.images, pool.rows(arm, asked.seed, number), arm, recipe)
                        counts = counts_of(net, test, labels, len(of_each))
                        line = {"arm": arm.name, "seed": number, **asdict(counts)}
                        with appending(folder / _RESULTS) as file:
                            file.write(json.dumps(line) + "\n")
                        done[arm.name, number] = scores_of(counts, of_each)
                    bar.update()
                log.info("Repetition %d of %d: %d classifiers are trained.", number + 1, asked.seeds, len(plan))
    scores = {arm.name: [done[arm.name, number] for number in range(asked.seeds)] for arm in plan}
    return Answer(plan, scores, real.whole.classes, real.scarce, real.counts)


def _ratios(real: RealImages) -> tuple[float, ...]:
    own = sum(real.counts)
    return tuple(ratio for ratio in GENERATED_RATIOS if ratio == 1 or ratio * own <= _MOST_GENERATED)


def _arms(real: RealImages) -> list[Arm]:
    kept, held_back = real.by_class(real.kept), real.by_class(real.held_back)
    return arms(min(len(held_back[number]) / len(kept[number]) for number in real.scarce), _ratios(real))


def _known(folder: Path, run: SavedRun, real: RealImages, asked: Asked) -> Generated:
    """The generated images with the judge's confidence: those in the folder, or newly drawn ones."""
    kept, names = real.by_class(real.kept), real.whole.classes
    recipe = Recipe(asked.updates, asked.batch_size, derived_seed(asked.seed, "judge"), 0)
    alone = min(max(map(len, kept)), images_shown(recipe, len(names)), -(-_MOST_ALONE // len(names)))
    most = max(_ratios(real))
    counts = [
        max(alone, images_added(most, len(rows)) if number in real.scarce else 0) for number, rows in enumerate(kept)
    ]
    if (folder / _GENERATED).is_file():
        known = generated_images.load(folder / _GENERATED)
        if not known.fits(real.whole.shape, counts, len(real.whole)):
            raise UserError(
                f"{folder / _GENERATED} is damaged: it does not have the images of this comparison.",
                "Delete it; the images will be drawn again.",
            )
        return known
    pixels = _pixels(real.learned)
    labels = real.learned.labels
    assert labels is not None
    own = [(labels == number).nonzero().flatten() for number in range(len(names))]
    log.info("Training a classifier on the %s real images, to judge the generated ones.", f"{len(labels):,}")
    judge = trained(pixels.to(asked.device), own, OVERSAMPLING, recipe)

    def draw(numbers: Sequence[int], count: int, seed: int) -> NDArray[np.uint8]:
        classes = [names[number] for number in numbers]
        return np.asarray(run.sample(count * len(numbers), seed, asked.checkpoint, str(asked.device), classes))

    log.info("Drawing %s images.", f"{sum(counts):,}")
    known = generated_images.generate(draw, counts, judge, pixels, labels, names, asked.filters, asked.seed)
    known = replace(known, nearest=real.kept[known.nearest])  # rows of the whole set
    generated_images.save(known, folder / _GENERATED)
    return known


def _pixels(images: ImageSet) -> Tensor:
    return torch.cat([part for _, part in in_chunks(images.pixels, torch.arange(len(images)), "read")])


def _pool(real: RealImages, known: Generated, asked: Asked) -> tuple[Pool, Tensor, Tensor]:
    assert real.whole.labels is not None
    pool = Pool(
        torch.cat([_pixels(real.whole), known.images]).to(asked.device),
        real.by_class(real.kept),
        real.by_class(real.held_back),
        [len(real.whole) + known.of_class(number) for number in range(len(real.whole.classes))],
        real.scarce,
    )
    return pool, _pixels(real.test).to(asked.device), real.test_labels


def _results(folder: Path, of_each: Sequence[CountOrZero]) -> dict[tuple[str, int], Scores]:
    """The scores of the classifiers that are trained already. Damaged and half-written lines are removed from the file.

    Args:
        folder: of the comparison.
        of_each: test images of each class.
    """
    lines = [line for line in DataFolder(folder).json_lines(_RESULTS) if _is_result(line, of_each)]
    write_text(folder / _RESULTS, "".join(f"{json.dumps(line)}\n" for line in lines))
    return {
        (line["arm"], line["seed"]): scores_of(Counts(line["correct"], line["predicted"]), of_each) for line in lines
    }


def _is_result(line: Mapping[str, object], of_each: Sequence[CountOrZero]) -> bool:
    """Whether a line has what `compare` writes: an arm, a repetition, and counts of all test images."""
    if line.keys() != _KEYS_OF_RESULTS or type(line["arm"]) is not str or type(line["seed"]) is not int:
        return False
    correct, predicted = line["correct"], line["predicted"]
    if not (_are_counts(correct, len(of_each)) and _are_counts(predicted, len(of_each))):
        return False
    possible = all(right <= min(there, taken) for right, there, taken in zip(correct, of_each, predicted, strict=True))
    return possible and sum(predicted) == sum(of_each)


def _are_counts(value: object, classes: Count) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list) and len(value) == classes and all(type(count) is int and count >= 0 for count in value)
    )


def write_answer(folder: Path, answer: Answer, run: SavedRun) -> None:
    """Write the answer as JSON, as an image and for TensorBoard, and the generated images in one folder per class."""
    known = generated_images.load(folder / _GENERATED)
    facts = _facts(known, answer)
    write_text(folder / f"{_ANSWER}.json", json.dumps(answer.as_dict() | facts, indent=2, allow_nan=False) + "\n")
    picture = picture_of(answer)
    save_atomically(picture, folder / f"{_ANSWER}.png")
    board = TensorBoard(flush_seconds=30, charts={"Worth": [tags.WORTH]})
    with contextlib.closing(opened_log(board, RunToLog(folder))) as file:
        for number in range(len(answer.scores[OVERSAMPLING.name])):
            values = {f"{tags.WORTH}{_as_tag(arm)}": float(answer.score(arm)[number]) for arm in answer.arms}
            file.scalars(values, number + 1)
        file.image(f"{tags.WORTH}{_ANSWER}", picture, 1)
        file.text(f"{tags.WORTH}{_ANSWER}", "\n\n".join([*answer.sentences(), f"```\n{answer.table()}\n```"]), 1)
    best = answer.generated.ratio
    own = zip(answer.scarce, answer.counts, strict=True)
    rows = [known.of_class(number)[: images_added(best, count)] for number, count in own]
    generated_images.write_folder(known.rows(torch.cat(rows)), answer.classes, folder, str(run.folder))


def _facts(known: Generated, answer: Answer) -> dict[str, Any]:
    rows = torch.cat([known.of_class(number) for number in answer.scarce])
    confidence = known.confidence[rows]
    return {
        "generated_images": {
            "judged": len(rows),
            "copied": int(known.copied[rows].sum()),
            "confidence_below_0.5": int((confidence < 0.5).sum()),
            "confidence_below_0.9": int((confidence < 0.9).sum()),
            "left_out_by_filters": int(known.left_out[list(answer.scarce)].sum()),
        }
    }


def _as_tag(arm: Arm) -> str:
    return arm.name.replace(": ", "_").replace(" ", "_")


def _shown(scarce: Scarce) -> str:
    return str(dict(scarce)) if isinstance(scarce, Mapping) else str(scarce)
