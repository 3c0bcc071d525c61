"""A small run by class, and what the commands make of it: grids with names, pictures of a class, exports, a resume."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gan_runner
from gan_runner.commands import main
from gan_runner.data import digits
from gan_runner.errors import UserError
from gan_runner.export import load_exported
from gan_runner.objectives.latents import Normal
from gan_runner.record.pictures import NAMES_WIDTH
from gan_runner.seeds import generator_for
from gan_runner.training.asked import PURPOSE
from tests.command_line import call, gan_check, gan_run, gan_sample

SMALL = (
    *("game=conditional", "data.limit=100", "trainer.batch_size=20", "trainer.device=cpu", "trainer.precision=fp32"),
    *("model.generator.widths=[12]", "model.discriminator.widths=[12]", "trainer.ema=0.9", "trainer.progress=false"),
    *("evaluation=pixels", "evaluation.num_images=20", "trainer.intervals_in=iterations", "trainer.checkpoint_every=4"),
    *("trainer.sample_columns=3", "trainer.sample_every=4", "trainer.log_every=4", "evaluation.every=4"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_class")
    result = gan_run(folder, *SMALL, "trainer.iterations=8", "hydra.run.dir=run")
    assert result.code == 0, result.text
    return folder


def weights(run):
    players = torch.load(run / "checkpoints/last.pt", weights_only=True)["players"]
    return {
        f"{who}.{key}": value for who in ("generator", "discriminator") for key, value in players[who]["net"].items()
    }


def test_a_conditional_run_resumes_bit_for_bit(folder, tmp_path):
    assert gan_run(tmp_path, *SMALL, "trainer.iterations=4", "hydra.run.dir=run").code == 0
    assert gan_run(tmp_path, "resume=run", "trainer.iterations=8").code == 0
    expected = weights(folder / "run")
    assert "generator.embedding.weight" in expected
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name
    grid = "samples/iteration_00000008.png"
    assert (tmp_path / "run" / grid).read_bytes() == (folder / "run" / grid).read_bytes()


def test_a_run_with_a_classifier_and_lazy_penalties_resumes_bit_for_bit_and_gives_a_hint(tmp_path):
    words = (*SMALL, "game.conditioning=adc_gan", "penalty=r1", "penalty.interval=3")
    whole = gan_run(tmp_path, *words, "trainer.iterations=8", "hydra.run.dir=whole")
    assert "game.conditioning=adc_gan: A penalty holds back D's logit and not its classifier" in whole.text
    assert "Few images of some classes: " in whole.text
    assert gan_run(tmp_path, *words, "trainer.iterations=4", "hydra.run.dir=run").code == 0
    assert gan_run(tmp_path, "resume=run", "trainer.iterations=8").code == 0
    expected = weights(tmp_path / "whole")
    assert "discriminator.classes.weight" in expected
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, expected[name]), name
    for what in ("generator", "discriminator"):
        exported = call(main.export, tmp_path, "run=run", f"what={what}", f"output={what}", "device=cpu")
        assert exported.code == 0, exported.text
    images = load_exported(tmp_path / "generator").sample(6, classes=[5])
    assert load_exported(tmp_path / "discriminator").judge(images, images.label).shape == (6,)


def test_gan_check_checks_a_conditional_run_and_trains_nothing(tmp_path):
    for way in ("projection", "ac_gan"):
        result = gan_check(tmp_path, *SMALL, f"game.conditioning={way}", "hydra.run.dir=run")
        assert result.code == 0, result.text
        assert ("game.conditioning=ac_gan: " in result.text) == (way == "ac_gan")
    result = gan_check(tmp_path, *SMALL, "game.conditioning=acgan", "hydra.run.dir=run")
    assert result.code
    assert "game.conditioning is acgan" in result.text
    assert "ac_gan" in result.text
    result = gan_check(tmp_path, *SMALL, "game.conditioning=ac_gan", "game.unconditional=1", "hydra.run.dir=run")
    assert result.code
    assert "game.unconditional is 1, but game.conditioning is ac_gan" in result.text


def test_a_checkpoint_contains_the_frequency_of_each_class(folder):
    about = torch.load(folder / "run/checkpoints/last.pt", weights_only=True)["about"]
    assert about["class_counts"] == torch.bincount(digits.load(None, 100).labels, minlength=10).tolist()
    assert sum(about["class_counts"]) == 100


def test_a_grid_and_the_timeline_have_the_class_name_beside_each_row(folder):
    cell = 56 + 2
    with Image.open(folder / "run/samples/iteration_00000008.png") as grid:
        width = int(grid.info[NAMES_WIDTH])
        assert grid.size == (width + 3 * cell + 2, 10 * cell + 2)
        pixels = np.asarray(grid.convert("L"))[2:, :width]
    rows = [pixels[number * cell : (number + 1) * cell] for number in range(10)]
    assert all((row < 128).any() for row in rows), "something is written"
    assert len({row.tobytes() for row in rows}) == 10, "another name beside each"
    with Image.open(folder / "run/samples/timeline.png") as timeline:
        assert timeline.width >= 2 * (width + 3 * cell)


def test_images_of_classes_are_drawn_without_the_data(folder, monkeypatch):
    """By name or number, as many of each, and the same latents for each."""
    run = gan_runner.load(folder / "run")

    def refused(*_):
        raise AssertionError("the data are loaded")

    monkeypatch.setattr("gan_runner.config.build.load_images", refused)
    result = gan_sample(folder, "run=run", "classes=[7,3]", "num=7", "output=some.npz", "device=cpu")
    assert result.code == 0, result.text
    with np.load(folder / "some.npz") as some:
        assert some["label"].tolist() == [7, 7, 7, 7, 3, 3, 3]
        assert some["classes"].tolist() == [str(number) for number in range(10)]
        images = some["arr_0"]
    drawn = run.sample(4, classes="7", device="cpu")
    np.testing.assert_array_equal(drawn, images[:4])
    np.testing.assert_array_equal(run.sample(4, classes=["3"], device="cpu")[:3], images[4:])
    assert drawn.label.tolist() == [7] * 4
    assert drawn[:2].label is None
    assert not np.array_equal(images[0], images[4])


def test_without_a_choice_all_classes_are_drawn_equally_often_and_like_data_as_often_as_there(folder):
    run = gan_runner.load(folder / "run")
    assert run.sample(64, device="cpu").label.tolist() == [number * 10 // 64 for number in range(64)]
    counts = torch.load(folder / "run/checkpoints/last.pt", weights_only=True)["about"]["class_counts"]
    label = run.sample(100, classes="like_data", device="cpu").label
    assert np.bincount(label, minlength=10).tolist() == counts


def test_a_folder_of_images_has_one_folder_for_each_class_and_a_grid_has_their_names(folder):
    assert gan_sample(folder, "run=run", "classes=[2,5]", "num=5", "output=pictures/", "device=cpu").code == 0
    files = sorted(str(path.relative_to(folder / "pictures")) for path in (folder / "pictures").rglob("*.png"))
    assert files == ["2/00000.png", "2/00001.png", "2/00002.png", "5/00003.png", "5/00004.png"]
    assert gan_sample(folder, "run=run", "classes=[2,5]", "num=5", "output=grid.png", "device=cpu").code == 0
    with Image.open(folder / "grid.png") as grid:
        assert grid.height == 2 * 58 + 2
        assert grid.width == int(grid.info[NAMES_WIDTH]) + 3 * 58 + 2


def test_unknown_classes_and_runs_without_classes_are_refused(folder, tmp_path):
    result = gan_sample(folder, "run=run", "classes=[12]", "output=no.png")
    assert result.code
    assert "classes has 12, but there are 10 classes, 0 to 9" in result.text
    unconditional = [word for word in SMALL if word != "game=conditional"]
    assert gan_run(tmp_path, *unconditional, "trainer.iterations=1", "hydra.run.dir=run").code == 0
    result = gan_sample(tmp_path, "run=run", "classes=[3,7]", "output=no.png")
    assert result.code
    assert "classes is [3,7], but the generator of run does not draw by class." in result.text
    assert "game=conditional" in result.text


def test_an_exported_folder_draws_classes_too_and_its_discriminator_gets_them(folder):
    for what in ("generator", "discriminator"):
        result = call(main.export, folder, "run=run", f"what={what}", f"output={what}", "checkpoint=last", "device=cpu")
        assert result.code == 0, result.text
    g, d = load_exported(folder / "generator"), load_exported(folder / "discriminator")
    run = gan_runner.load(folder / "run")
    for classes in (None, [8, 1], "like_data"):
        images = g.sample(9, seed=3, classes=classes)
        np.testing.assert_array_equal(images, run.sample(9, seed=3, classes=classes, device="cpu"))
    with pytest.raises(UserError, match="classes has ten"):
        g.sample(2, classes="ten")
    logits = d.judge(images, images.label)
    assert logits.shape == (9,)
    assert not np.allclose(logits, d.judge(images, 9 - images.label))
    for label in (None, [0] * 8, [10] * 9):
        with pytest.raises(UserError, match="given the class of each as label: 9 numbers from 0 to 9"):
            d.judge(images, label)


@pytest.mark.parametrize("key", ["conditioning", "class_counts"])
def test_a_damaged_description_of_classes_is_refused(folder, tmp_path, key):
    if not (folder / "generator").exists():
        assert call(main.export, folder, "run=run", "output=generator", "checkpoint=last", "device=cpu").code == 0
    shutil.copytree(folder / "generator", tmp_path / "copy")
    described = json.loads((tmp_path / "copy/config.json").read_text())
    assert described["format_version"] == 2
    described[key] = {"conditioning": "magic", "embedding_dim": 32} if key == "conditioning" else [1, 2]
    (tmp_path / "copy/config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=f"{key} in its config.json is missing, or not as gan-export writes it"):
        load_exported(tmp_path / "copy")


def test_data_without_classes_are_refused_before_anything_is_trained(tmp_path):
    for number in range(40):
        picture = np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / f"pictures/{number}.png")
    words = ["data=image_folder", "data.root=pictures", "data.image_size=28", "data.channels=1", "data.limit=null"]
    result = gan_run(tmp_path, *SMALL, *words, "hydra.run.dir=run")
    assert result.code
    assert "game=conditional draws images by class, but these data have no classes." in result.text
    assert not (tmp_path / "run/checkpoints").exists()


def test_gan_eval_has_a_line_for_each_class_and_a_confusion_matrix(folder):
    result = call(main.evaluate, folder, "run=run", "checkpoint=last", "num=50", "real=100", "device=cpu")
    assert result.code == 0, result.text
    found = json.loads((folder / "run/evaluation-last.json").read_text())["by_class"]
    assert list(found["classes"]) == [str(number) for number in range(10)]
    asked = [sum(row) for row in found["recognised"]]
    assert sum(asked) == 50
    counts = torch.load(folder / "run/checkpoints/last.pt", weights_only=True)["about"]["class_counts"]
    assert max(abs(a - 0.5 * b) for a, b in zip(asked, counts, strict=True)) < 1, "as often as in the data"
    assert found["findings"][0].startswith("classes_ignored: classes are ignored"), "it has learned nothing yet"
    assert "of the images are recognised as the requested class (real images: " in result.text


def test_graphs_take_the_class_as_a_second_input_and_a_page_has_the_names(folder):
    onnxruntime = pytest.importorskip("onnxruntime")
    for output in ("g.onnx", "g.pt2", "g.html"):
        result = call(main.export, folder, "run=run", f"output={output}", "checkpoint=last", "device=cpu")
        assert result.code == 0, result.text
    net = gan_runner.load(folder / "run")
    expected = net.sample(5, classes=[4], device="cpu")
    latents = generator_inputs(5)
    session = onnxruntime.InferenceSession(folder / "g.onnx")
    label = np.full(5, 4, np.int64)
    (images,) = session.run(["image"], {"latent": latents, "label": label})
    np.testing.assert_allclose(np.rint(images * 127.5 + 127.5).transpose(0, 2, 3, 1), expected, atol=1)
    program = torch.export.load(folder / "g.pt2").module()
    drawn = program(torch.from_numpy(latents), torch.from_numpy(label))
    np.testing.assert_allclose(drawn.detach().numpy(), images, atol=1e-5)
    page = (folder / "g.html").read_text(encoding="utf-8")
    data = json.loads(page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    (network,) = data["networks"]
    assert network["classes"] == [str(number) for number in range(10)]
    assert network["layers"][0]["inputs"] == 100 + 10


def generator_inputs(count):
    return Normal(100, 1.0).sample(count, torch.device("cpu"), generator_for(0, PURPOSE)).numpy()


def test_networks_that_take_the_class_themselves_train_draw_and_are_exported(tmp_path):
    """Those of the conditional game from outside the package, by the game of the package."""
    plugins = str(Path(__file__).parents[1] / "plugins/conf")
    words = [word for word in SMALL if not word.startswith("model.")]
    result = gan_run(
        tmp_path, "--config-dir", plugins, *words, "model=conditional", "trainer.iterations=4", "hydra.run.dir=run"
    )
    assert result.code == 0, result.text
    weights_of_g = weights(tmp_path / "run")
    assert "generator.embed.weight" in weights_of_g, "nothing is wrapped"
    for what in ("generator", "discriminator"):
        exported = call(main.export, tmp_path, "run=run", f"what={what}", f"output={what}", "trust=tests", "device=cpu")
        assert exported.code == 0, exported.text
    images = load_exported(tmp_path / "generator", trust="tests").sample(6, classes=[5])
    d = load_exported(tmp_path / "discriminator", trust="tests")
    assert not np.allclose(d.judge(images, images.label), d.judge(images, 4 * [1] + [2, 3]))
