"""gan-augment on the shipped digits, with networks too small to learn: what it writes, resumes and refuses."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_runner.commands import main
from gan_runner.worth.arms import arms
from tests.command_line import call, gan_run

pytestmark = pytest.mark.slow

SMALL = (
    *(
        "game=conditional",
        "data.holdout=0.25",
        "data.image_size=8",
        "trainer.batch_size=20",
        "trainer.device=cpu",
        "trainer.iterations=2",
    ),
    *("model.generator.widths=[12]", "model.discriminator.widths=[12]", "trainer.progress=false", "evaluation=off"),
    *("trainer.sample_columns=2", "trainer.sample_rows=2"),
)
QUICK = ("seeds=2", "updates=3", "batch_size=8", "device=cpu")
CUT = "data.scarce={3: 10, 7: 12}"


def gan_augment(folder, *words):
    return call(main.augment, folder, *words)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("augment")
    result = gan_run(folder, *SMALL, CUT, "hydra.run.dir=run")
    assert result.code == 0, result.text
    result = gan_augment(folder, "run=run", "output=compared", *QUICK)
    assert result.code == 0, result.text
    (folder / "printed.txt").write_text(result.text, encoding="utf-8")
    return folder


def test_the_answer_comes_first_and_the_table_after_it(home):
    printed = (home / "printed.txt").read_text(encoding="utf-8")
    lines = printed.splitlines()
    (worth,) = [number for number, line in enumerate(lines) if line.startswith("These images are worth ")]
    assert lines[worth + 1].startswith(("Yes, ", "No, ", "No verdict: "))
    head = lines[worth + 3].split()
    assert head[-4:] == ["recall", "3", "recall", "7"]
    assert "Fewer than 50 images of a class are too few for most GANs" in printed
    assert "3 (10), 7 (12)" in printed
    assert printed.index("Fewer than 50") < printed.index("Training a classifier on the")


def test_the_results_have_every_arm_and_repetition(home):
    folder = home / "compared"
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["scarce"] == ["3", "7"]
    assert answer["own_images"] == 22
    assert answer["repetitions"] == 2
    assert len(answer["answer"]) == 2
    plan = [arm.name for arm in arms(10.0)]
    assert list(answer["arms"]) == plan
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [(line["seed"], line["arm"]) for line in lines] == [(seed, name) for seed in range(2) for name in plan]
    assert len({sum(line["predicted"]) for line in lines}) == 1
    with Image.open(folder / "answer.png") as picture:
        assert picture.width > 600
    events = EventAccumulator(str(folder)).Reload()
    assert set(events.Tags()["scalars"]) >= {"worth/real", "worth/generated_x3", "worth/control_repeats_x3"}
    assert len(events.Scalars("worth/real")) == 2
    assert events.Tags()["images"] == ["worth/answer"]


def test_images_are_in_folders_by_class_with_a_manifest(home):
    folder = home / "compared"
    answer = json.loads((folder / "answer.json").read_text())
    ratio = answer["arms"][answer["generated"]]["ratio"]
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["3", "7"]
    with (folder / "manifest.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == round(ratio * 22)
    assert {line["run"] for line in lines} == {"run"}
    # An image is the one that gan-sample draws of its class, seed and number.
    line = lines[-1]
    count = len(np.load(folder / "generated.npz")["label"].tolist()) // 10
    words = ("run=run", f"classes=[{line['class']}]", f"seed={line['seed']}", f"num={count}", "device=cpu")
    assert call(main.sample, home, *words, "output=again.npz", "checkpoint=last").code == 0
    with Image.open(folder / line["file"]) as picture, np.load(home / "again.npz") as again:
        assert np.array_equal(np.asarray(picture), again["arr_0"][int(line["number"]), ..., 0])


def test_an_interrupted_comparison_ends_as_an_uninterrupted_one(home, tmp_path):
    """In the middle of a line; bit for bit, with the GAN's images drawn again and without."""
    for name in ("kept", "drawn_again"):
        folder = tmp_path / name
        shutil.copytree(home / "compared", folder)
        lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
        (folder / "results.jsonl").write_text("".join(lines[:20]) + lines[20][:15])
        for left in ("answer.json", "manifest.csv", *(["generated.npz"] if name == "drawn_again" else [])):
            (folder / left).unlink()
        shutil.rmtree(folder / "images")
        result = gan_augment(home, "run=run", f"output={folder}", *QUICK)
        assert result.code == 0, result.text
        for file in ("results.jsonl", "answer.json", "answer.png", "manifest.csv"):
            assert (folder / file).read_bytes() == (home / "compared" / file).read_bytes(), file
        assert (folder / "generated.npz").read_bytes() == (home / "compared/generated.npz").read_bytes()


def test_more_repetitions_are_added_to_the_existing_ones(home, tmp_path):
    shutil.copytree(home / "compared", tmp_path / "more")
    result = gan_augment(home, "run=run", f"output={tmp_path / 'more'}", "seeds=3", *QUICK[1:])
    assert result.code == 0, result.text
    before, after = ((folder / "results.jsonl").read_bytes() for folder in (home / "compared", tmp_path / "more"))
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") * 3 // 2


NOT_RESULTS = [
    "[]",
    '{"arm": 3, "seed": 0, "recognised": []}',
    '{"arm": ["real"], "seed": 0, "recognised": [[1]]}',
    '{"arm": "real", "seed": 0, "recognised": [[1]]}',
    '{"arm": "real", "seed": 0, "correct": "many", "predicted": "few"}',
    '{"arm": "real", "seed": true, "correct": null, "predicted": null}',
]


def test_invalid_lines_are_removed_from_the_results(home, tmp_path):
    """Among them counts of fewer classes and of more, of other numbers of images, below zero and of no list."""
    folder = shutil.copytree(home / "compared", tmp_path / "odd")
    content = (folder / "results.jsonl").read_text()
    line = json.loads(content.splitlines()[0])
    correct, predicted = line["correct"], line["predicted"]
    first, second, *rest = predicted
    odd = [
        {"correct": correct[1:], "predicted": predicted[1:]},
        {"correct": [*correct, 0], "predicted": [*predicted, 0]},
        {"correct": [each + 1 for each in predicted]},
        {"correct": [10**6] * len(correct)},
        {"correct": [-1, *correct[1:]]},
        {"correct": [float(each) for each in correct]},
        {"correct": [[each] for each in correct]},
        {"predicted": [first + 1, second, *rest]},
        {"predicted": [first + second + 1, -1, *rest]},
        {"predicted": [0] * len(predicted)},
        {"predicted": None},
    ]
    odd = [json.dumps({**line, **each}) for each in odd]
    (folder / "results.jsonl").write_text("\n".join([*NOT_RESULTS, *odd, content]))
    result = gan_augment(home, "run=run", f"output={folder}", *QUICK)
    assert result.code == 0, result.text
    for file in ("results.jsonl", "answer.json", "manifest.csv"):
        assert (folder / file).read_bytes() == (home / "compared" / file).read_bytes(), file
    assert not list(folder.glob("images.*")), "they are the same images"


def test_images_of_another_comparison_are_not_used(home, tmp_path):
    folder = shutil.copytree(home / "compared", tmp_path / "other")
    with np.load(folder / "generated.npz") as stored:
        arrays = dict(stored)
    for changed in ({"label": arrays["label"][::-1].copy()}, {"nearest": arrays["nearest"] + 10**6}):
        np.savez(folder / "generated.npz", **arrays | changed)
        result = gan_augment(home, "run=run", f"output={folder}", *QUICK)
        assert result.code == 1
        assert "generated.npz is damaged" in result.err


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """A folder whose classes have numbers for names, which are not those of their places: 1, 10, 2."""
    folder = tmp_path_factory.mktemp("numbered")
    random = np.random.default_rng(0)
    for split, counts in {"train": {"1": 24, "2": 30, "10": 36}, "test": {"1": 3, "2": 3, "10": 3}}.items():
        for name, count in counts.items():
            (folder / "set" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "set" / split / name / f"{number}.png")
    return folder


OF_NUMBERED = (
    *("data=image_folder", "data.root=set", "data.image_size=8", "data.channels=1", "gan.model=mlp"),
    *(
        "gan.trainer.minutes=null",
        "gan.trainer.iterations=1",
        "gan.trainer.batch_size=8",
        "gan.model.generator.widths=[12]",
        *QUICK,
    ),
)


@pytest.mark.parametrize(("scarce", "counts"), [("{1: 12, 10: 14}", [12, 14, 30]), ("0.5", [12, 18, 15])])
def test_the_gan_is_trained_only_on_kept_images_if_class_names_are_numbers(numbered, monkeypatch, scarce, counts):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gan_runner.commands.augment.compare", interrupted)
    output = f"of-{sum(counts)}"
    words = (*OF_NUMBERED, f"scarce={scarce}", f"output={output}")
    result = gan_augment(numbered, *words)
    assert result.code == 130
    folder = numbered / output
    found = "set: 90 images in 3 classes"
    assert result.out.count(found) == 1, "though its images are loaded twice"
    assert found in (folder / "gan/gan-run.log").read_text(encoding="utf-8")
    config = (folder / "gan/.hydra/config.yaml").read_text()
    assert "widths:\n    - 12\n" in config, "gan.model.generator.widths"
    about = torch.load(folder / "gan/checkpoints/last.pt", weights_only=True)["about"]
    assert about["classes"] == ["1", "10", "2"]
    assert about["class_counts"] == counts
    if scarce == "0.5":  # a run elsewhere that a link leads to is left alone, and another one trained
        (folder / "gan").rename(numbered / "elsewhere")
        (folder / "gan").symlink_to(numbered / "elsewhere", target_is_directory=True)
        before = {path: path.stat().st_mtime_ns for path in (numbered / "elsewhere").rglob("*")}
        assert gan_augment(numbered, *words).code == 130
        assert (folder / "gan-2/checkpoints/last.pt").is_file()
        assert {path: path.stat().st_mtime_ns for path in (numbered / "elsewhere").rglob("*")} == before


def test_other_settings_start_another_comparison(home):
    result = gan_augment(home, "run=run", "output=compared", *QUICK, "updates=4")
    assert result.code == 1
    assert "started with updates=3, but updates is 4 now" in result.err


def test_it_trains_the_gan_as_gan_run_does_and_says_how_to_resume(tmp_path, monkeypatch):
    """Half of every class is kept; the GAN is a run like any other; stopped after that, nothing is trained twice."""

    def interrupted(*_):
        raise KeyboardInterrupt

    words = (
        "data.image_size=8",
        "data.limit=320",
        "gan.model=mlp",
        "gan.trainer.minutes=null",
        "gan.trainer.iterations=2",
        *QUICK,
    )
    with monkeypatch.context() as patch:
        patch.setattr("gan_runner.commands.augment.compare", interrupted)
        result = gan_augment(tmp_path, *words)
    assert result.code == 130
    assert "There are no test images, so data.holdout=0.25" in result.out
    (folder,) = tmp_path.glob("outputs/*/*-augment")
    again = f"gan-augment {' '.join(words)} output={folder.relative_to(tmp_path)}"
    assert f"To resume: {again}" in result.out
    config = (folder / "gan/.hydra/config.yaml").read_text()
    assert "_target_: gan_runner.games.conditional.Conditional" in config
    about = torch.load(folder / "gan/checkpoints/last.pt", weights_only=True)["about"]
    counts = about["class_counts"]
    assert 10 < min(counts) <= max(counts) < 22, "half of 320 images of ten classes"
    assert sum(counts) < 160
    written = (folder / "gan/checkpoints/last.pt").stat().st_mtime_ns
    result = gan_augment(tmp_path, *again.split()[1:], "updates=2", "batch_size=4")
    assert "started with updates=3" in result.err
    result = gan_augment(tmp_path, *again.split()[1:])
    assert result.code == 0, result.text
    assert (folder / "gan/checkpoints/last.pt").stat().st_mtime_ns == written
    assert json.loads((folder / "answer.json").read_text())["scarce"] == [str(number) for number in range(10)]


@pytest.fixture(scope="module")
def mistakes(home, tmp_path_factory):
    """Runs and folders that cannot be meant."""
    folder = tmp_path_factory.mktemp("mistakes")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)

    def write(place, count):
        (folder / place).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(pixels + number).save(folder / place / f"{number}.png")

    write("plain", 20)
    for split, counts in {"train": {"cat": 20, "dog": 20, "owl": 4}, "test": {"cat": 3, "dog": 3, "owl": 3}}.items():
        for name, count in counts.items():
            write(f"few/{split}/{name}", count)
    for split, names in {"train": ["cat", "dog", "owl"], "test": ["cat", "owl"]}.items():
        for name in names:
            write(f"untested/{split}/{name}", 20)
    for split, count in {"train": 12, "test": 3}.items():
        for name in ("cat", "dog"):
            write(f"small/{split}/{name}", count)
    for place in ("train/cat", "train/dog", "test"):
        write(f"unsorted/{place}", 15)
    (folder / "other").mkdir()
    (folder / "other/notes.txt").write_text("mine")
    assert gan_run(folder, *SMALL, CUT, "game=adversarial", "hydra.run.dir=unconditional").code == 0
    assert gan_run(folder, *SMALL, "hydra.run.dir=all").code == 0
    return folder


FOLDER = "data=image_folder data.image_size=8 data.channels=1"
MISTAKES = {
    f"{FOLDER} data.root=plain": ("has no classes", "Try a data set with classes"),
    f"{FOLDER} data.root=few": (
        "Class owl has 2 images to train on, but needs at least 5",
        "remove the class from the data",
    ),
    f"{FOLDER} data.root=untested": ("has no test images of class dog", "data.holdout"),
    "scarce={33: 50}": ("scarce has 33, but there are 10 classes, 0 to 9", "Try 'scarce={"),
    "data=image_folder data.root=few data.channels=1 scarce={dgo: 9}": ("scarce has dgo", "Try 'scarce={dog: 9}'."),
    "scarce={3: 5000}": ("scarce keeps 5,000 images of class 3, but there are ", "Try 'scarce={3: "),
    "scarce={3: 130}": ("at least half as many as are kept", "Keep "),
    f"{FOLDER} data.root=small scarce={{cat: 8}}": ("and at least 5", "Keep at most 7 of it."),
    "scarce={3: 4}": ("Class 3 has 4 images to train on, but needs at least 5", "Keep more of it with scarce"),
    "data=image_folder data.image_size=8 data.root=unsorted": (
        "has test images without classes",
        "one folder for each",
    ),
    "scarce=1.5": ("scarce is 1.5, but must be", "scarce"),
    "scarce=null": ("scarce is None, which cuts no class", "Try scarce=0.5"),
    "data.scarce=0.5": ("data.scarce", "scarce"),
    "run=unconditional": ("its generator cannot draw images of a given class", "gan-run experiment=conditional"),
    "run=all": ("was trained on all images of its data", "Train it with data.scarce=0.5"),
    "run=unconditional gan.game=paired": ("gan.game=paired is given together with run", "Leave out gan.game=paired"),
    "run=unconditional data=digits": ("data=digits is given together with run=unconditional", "Leave out data=digits"),
    "run=nowhere": ("run is nowhere", ""),
    "output=other": ("that folder was not written by gan-augment", "a new folder"),
    "seeds=1": ("seeds is 1, but must be a whole number, at least 2", "Give seeds"),
    "confidence=2": ("confidence is 2, but must be", "confidence"),
    "data.split=test": ("data.split is test, but gan-augment trains on one split", "Leave data.split out"),
    "data.holdout=0": ("data.holdout is 0", "data.holdout=0.1"),
    "gan.game=adversarial": ("this GAN would draw images of no given class", "Try gan.game=conditional."),
    "gan.data.scarce=0.9": ("would be trained on other images than those that scarce keeps", "data.KEY=VALUE"),
    "gan.optimizer.lr=-1": ("gan.optimizer.lr is -1", "Try gan.optimizer.lr="),
    "gan.optimizer.lrr=1": ("no key gan.optimizer.lrr here", "Try: gan-augment gan.optimizer.lr=1 seeds=2"),
    "gan.optimizer.beta=[0,0.9]": ("no key gan.optimizer.beta here", "Try: gan-augment 'gan.optimizer.betas=[0,0.9]'"),
    "gan.model=mpl": ("gan.model is mpl, but must be", "Try gan.model=mlp."),
    "gan.modle=mlp": ("no key gan.modle here", "Try: gan-augment gan.model=mlp seeds=2"),
    "gan.model=resnet gan.model.dropout=0.1": ("gan.model.dropout is 0.1, but", "gan.model."),
    "gan.trainer.iterations=9": ("gan.trainer.minutes is 10 and gan.trainer.iterations is 9", "Try gan.trainer."),
    "gan.data.limit=0": ("gan.data.limit is 0", "Try gan.data.limit=null"),
}
GAN = re.compile(r"(?<![.\w])(experiment|game|loss|model|optimizer|trainer)[.=]\w")  # a setting without gan.


@pytest.mark.parametrize("words", MISTAKES)
def test_impossible_settings_are_refused_before_training(mistakes, words):
    parts = [part.replace("~", " ") for part in words.replace(": ", ":~").split(" ")]
    before = sorted(mistakes.rglob("*"))
    result = gan_augment(mistakes, *parts, *(word for word in QUICK if word.split("=")[0] not in words))
    problem, remedy = MISTAKES[words]
    assert (result.code, "Traceback" in result.err) == (1, False), result.text
    assert problem in result.err, result.text
    assert remedy in result.err, result.text
    if "gan." in words and "run=" not in words:
        assert not GAN.search(result.err), result.err
    assert len(result.err.strip().splitlines()) <= 3
    assert sorted(mistakes.rglob("*")) == before
