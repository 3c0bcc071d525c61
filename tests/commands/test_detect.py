"""gan-detect: what it measures of runs of every game, of others and of other programs' images, and what it refuses."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gan_runner
from gan_runner.commands import main
from gan_runner.data import digits
from gan_runner.detection import detectors
from gan_runner.detection.changes import CHANGES
from gan_runner.detection.report import TITLES
from gan_runner.metrics import features
from tests.command_line import call

SMALL = (
    *("data.image_size=8", "data.holdout=0.25", "evaluation=off", "trainer.iterations=2", "trainer.batch_size=20"),
    *("trainer.device=cpu", "trainer.sample_rows=2", "trainer.sample_columns=2", "model.discriminator.widths=[12]"),
    *("model.generator.widths=[12]", "trainer.progress=false"),
)
PAIRS = (
    *("experiment=pix2pix", "data.image_size=16", "data.limit=96", "model.width=4", "trainer.batch_size=8"),
    *("trainer.iterations=2", "trainer.device=cpu", "evaluation=off"),
)
DOMAINS = (
    *("experiment=cyclegan", "data.image_size=16", "data.limit=96", "model.width=4", "trainer.batch_size=4"),
    *("trainer.iterations=2", "trainer.device=cpu", "evaluation=off"),
)
QUICK = {"num": 200, "device": "cpu"}
SETTINGS = [f"{key}={value}" for key, value in QUICK.items()]


@pytest.fixture(scope="module", autouse=True)
def _detectors_that_learn_little(tmp_path_factory):
    """None of these tests asks how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        for module in (features, detectors):
            patch.setattr(module, "_FEWEST_SHOWN", 512)
            patch.setattr(module, "_MOST_SHOWN", 512)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with runs: two seeds, and another recipe."""
    folder = tmp_path_factory.mktemp("detect")
    for name, more in {"run": (), "seed": ("seed=1",), "recipe": ("seed=1", "loss=wasserstein")}.items():
        gan_runner.train(*SMALL, f"hydra.run.dir={folder / name}", *more, quiet=True)
    images = np.random.default_rng(0).integers(0, 256, (150, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "noise.npz", images)
    np.save(folder / "noise.npy", images)
    return folder


@pytest.fixture(scope="module")
def answer(home):
    words = ("run=run", "others=[seed,recipe]", "samples=noise.npz", *SETTINGS)
    result = call(main.detect, home, *words)
    assert result.code == 0, result.text
    return result.out, json.loads((home / "run/detection-last.json").read_text())


def test_all_detectors_judge_all_images_unchanged_and_changed(answer):
    printed, found = answer
    names = ["this run", "seed (seed=1)", "recipe (seed=1, loss=wasserstein)", "noise.npz"]
    assert [(row["images"], row["change"]) for row in found["images"]] == [(n, c) for n in names for c in CHANGES]
    for row in (*found["images"], found["control"]):
        assert list(row["scores"]) == list(TITLES)
        for scores in row["scores"].values():
            assert 0 <= scores["auc"] <= 1
            assert scores["hits"] is not None
    assert (found["trained_on"], found["measured_on"], found["threshold_from"], found["held_out"]) == (
        100,
        100,
        100,
        True,
    )
    lines = printed.splitlines()
    assert any(line.split() == ["images", *["AUC", "AP", "hits"] * 3] for line in lines)
    for name in (*names, "control: real images", *(f"  {change}" for change in list(CHANGES)[1:])):
        assert any(line.startswith(f"{name}  ") for line in lines), name
    for sentence in found["sentences"]:
        assert " ".join(sentence.split()) in " ".join(printed.split())
    assert "A detector knows the generator that it was trained on." in " ".join(printed.split())


def test_python_gives_the_same_results_and_accepts_npy_like_npz(home, answer):
    run = gan_runner.load(home / "run")
    report = run.detect(others=[str(home / "seed"), str(home / "recipe")], samples=str(home / "noise.npy"), **QUICK)
    again, before = report.as_dict(), answer[1]
    for own, other in zip(again["images"], before["images"], strict=True):
        assert own["scores"] == other["scores"]
    assert again["control"] == before["control"]


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        ((*SMALL, "game=conditional"), None),
        ((*SMALL, "loss=wasserstein"), None),
        (PAIRS, None),
        (DOMAINS, None),
        (("experiment=fastcut", *DOMAINS[1:], "model.blocks=1", "data.holdout=0.25"), None),
        ((*SMALL, "game.packing=2"), "it judges 2 images at a time"),
    ],
    ids=["by class", "critic", "pairs", "domains", "one domain from another", "packs"],
)
def test_runs_of_every_game_can_be_judged(tmp_path, words, left_out):
    run = gan_runner.train(*words, f"hydra.run.dir={tmp_path / 'run'}", quiet=True)
    report = run.detect(**QUICK)
    d = report.of("this run", "d")
    assert (d is None) == bool(left_out)
    assert d is None or (d.accuracy is None) == ("loss=wasserstein" in words)
    assert report.of("this run", "network") is not None
    assert (left_out or "") in report.left_out.get("d", "")
    assert len(report.sentences()) >= 2


def test_a_conditional_d_does_not_judge_images_without_a_class(tmp_path, home):
    run = gan_runner.train(*SMALL, "game=conditional", f"hydra.run.dir={tmp_path / 'run'}", quiet=True)
    samples, other = str(home / "noise.npz"), str(home / "seed")
    report = run.detect(samples=samples, others=[other], **QUICK)
    assert report.of(samples, "d") is None
    assert report.of(samples, "probe") is not None
    assert report.of("this run", "d") is not None
    assert any("is given label with an image, which" in sentence for sentence in report.sentences())


def test_data_without_held_out_images_are_measured_with_a_note(tmp_path):
    run = gan_runner.train(*SMALL, "data.holdout=0", f"hydra.run.dir={tmp_path / 'run'}", quiet=True)
    report = run.detect(**QUICK)
    assert not report.about.held_out
    assert any(sentence.startswith("Nothing is held out of these data") for sentence in report.sentences())


MISTAKES = {
    "num=40": "gan-detect needs a run.",
    "run=nowhere": "run is nowhere",
    "run=run others=[nowhere]": "others is nowhere",
    "run=run others=[shape]": "others has shape, whose images are [1, 9, 9]",
    "run=run samples=nothing.npz": "samples is nothing.npz, but there is no such file or folder.",
    "run=run samples=large.npz": "its images are told from the real ones by more than they show: their size (",
    "run=run checkpoint=77": "77",
    "run=run num=1": "num is 1, but must be a whole number, at least 40",
    "run=run device=tpu": "device is tpu",
    "run=run nmu=3": "There is no key nmu here.\n  Did you mean num?",
    "run=few": "data=digits has too few real images for a detector: 90 to train on and 8 to measure on",
    "run=run output=a/b": "output is run/a/b, but there is no folder run/a",
}


@pytest.fixture(scope="module")
def mistakes(home):
    np.savez(home / "large.npz", np.full((20, 9, 9, 1), 200, np.uint8))
    for name, words in {"shape": ["data.image_size=9"], "few": ["data.limit=90", "data.holdout=0.005"]}.items():
        gan_runner.train(*SMALL, *words, f"hydra.run.dir={home / name}", quiet=True)
    return home


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_gives_one_message(mistakes, words):
    result = call(main.detect, mistakes, *words.split(), *(each for each in SETTINGS if each[:4] not in words))
    assert result.code == 1, result.text
    assert MISTAKES[words] in result.err
    assert len(result.err.splitlines()) <= 4


def test_images_that_differ_in_format_are_refused_or_all_encoded_alike(home):
    """The last command of the page, for this run."""
    page = (Path(__file__).parents[2] / "docs/detect.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^gan-detect run=\S+ samples=drawn reencode=true", page, re.MULTILINE)
    (home / "drawn").mkdir()
    for number, image in enumerate(digits.load(image_size=8, limit=120).images[:, 0].numpy()):
        Image.fromarray(image).save(home / f"drawn/{number}.jpg")
    words = shlex.split(line.replace("outputs/DATE/TIME", "run"))[1:]
    result = call(main.detect, home, *words[:-1], *SETTINGS)
    assert result.code == 1, result.text
    assert (
        "samples is drawn, but its images are told from the real ones by more than they show: their compression"
        in result.err
    )
    assert "Add reencode=true" in result.err
    result = call(main.detect, home, *words, *SETTINGS, "output=alike")
    assert result.code == 0, result.text
    printed = " ".join(result.out.split())
    assert "All images were encoded alike: compressed as JPEG of quality 75." in printed
    assert "Without that, drawn would be told from real images by their compression" in printed
    assert (home / "run/alike.json").is_file()
