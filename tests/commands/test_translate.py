"""A run of pairs from its start to the images of gan-translate: what it records, resumes, and makes of a folder."""

import base64
import io
import json
import logging
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gan_runner
from gan_runner.building import networks
from gan_runner.commands import main
from gan_runner.config import build
from gan_runner.errors import UserError
from gan_runner.models import residual_translator
from gan_runner.record.pictures import CELL, GAP
from gan_runner.report.runs import read_run
from gan_runner.report.thumbnails import Thumbnails
from gan_runner.training.translating import Found
from tests.command_line import call, gan_check

PAGE, EXPORTING = ((Path(__file__).parents[2] / f"docs/{name}.md").read_text() for name in ("translate", "export"))
pytestmark = pytest.mark.usefixtures("judge_that_learns_little")

SMALL = {
    "experiment": "pix2pix_recommended",
    "data": {"limit": 96, "image_size": 16},
    "model": {"width": 4},
    "evaluation": {"every": 8, "num_images": 1000},
    "trainer": {
        "batch_size": 8,
        "log_every": 4,
        "sample_every": 8,
        "checkpoint_every": 4,
        "intervals_in": "iterations",
        "device": "cpu",
        "precision": "fp32",
        "sample_rows": 2,
    },
    "logger": {"images": True},
}
LENGTH = 8
HELD_OUT = 179  # every tenth of the digits


def train(folder, iterations, **more):
    return gan_runner.train(f"hydra.run.dir={folder}", f"trainer.iterations={iterations}", quiet=True, **SMALL, **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory, judge_that_learns_little):
    return train(tmp_path_factory.mktemp("pairs") / "run", LENGTH)


@pytest.fixture
def pictures(tmp_path):
    """A folder of images of several sizes and formats, one of which is none."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in {
        "a.png": (16, 16, 3),
        "b.jpg": (40, 30, 3),
        "below/c.bmp": (9, 64, 3),
        "a.gif": (20, 20),
    }.items():
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    (folder / "broken.png").write_bytes(b"<html>no image</html>")
    return folder


def test_a_run_on_pairs_records_metrics_beside_baselines_on_held_out_pairs(run):
    measured = run.metrics
    assert {f"metric/l1_{HELD_OUT}", f"metric/ssim_{HELD_OUT}"} <= measured.keys()
    real = run.summary["real"]
    assert real["baselines"].keys() == {"source", "mean"}
    for numbers in real["baselines"].values():
        assert measured.keys() == numbers.keys()
    assert "model.latent_dim" not in (run.folder / "gan-run.log").read_text(), "what nothing uses is not called unusual"
    assert "l1/g" in json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_gan_check_accepts_a_run_on_pairs(tmp_path):
    small = ["experiment=pix2pix_recommended", "evaluation=pixels", "data.limit=24", "data.image_size=16"]
    quick = ["model.width=4", "trainer.batch_size=8", "trainer.device=cpu", "preflight.seconds=0.01"]
    result = gan_check(tmp_path, *small, *quick, "optimizer.lr=1e-2")
    assert result.code == 0, result.text
    assert re.search("conditions +source 8x1x16x16, label 8", result.out)


def test_a_grid_has_source_drawn_image_and_true_image_side_by_side(run):
    with Image.open(run.folder / f"samples/iteration_{LENGTH:08d}.png") as picture:
        grid = np.asarray(picture).astype(int)
    step = CELL // 16 * 16 + GAP
    assert grid.shape == (2 * step + GAP, 9 * step + GAP)
    cells = grid[GAP:step, GAP:].reshape(-1)  # the first row
    assert cells.size
    source = grid[GAP:step, GAP:step]
    assert set(np.unique(source)) <= {0, 255}, "edges are lines on paper"
    assert len(np.unique(grid[GAP:step, 2 * step + GAP : 3 * step])) > 2, "the truth is a digit"


def test_a_comparison_shows_input_output_and_truth_of_a_pair_together(run):
    record = read_run(run.folder, "run")
    (strip,) = (shown := Thumbnails(5, 12, 1000, 1000)).strips([record], shown.times([record]))
    assert (record.problems, strip.cells) == ([], ["input", "output", "truth"])
    assert (strip.width, strip.height) == (3 * 17 - 1, 2 * 17 - 1)


def test_it_resumes_bit_for_bit(run, tmp_path):
    stopped = train(tmp_path / "stopped", LENGTH // 2)
    resumed = stopped.resume(iterations=LENGTH, quiet=True)
    one, other = (each.load_checkpoint("last", "cpu")["players"] for each in (run, resumed))
    for who in ("discriminator", "generator"):
        for name, value in one[who]["net"].items():
            assert torch.equal(value, other[who]["net"][name]), f"{who}.{name}"
    for name, value in one["average"].items():
        assert torch.equal(value, other["average"][name])
    assert run.metrics == resumed.metrics


def test_a_folder_is_translated_under_the_same_names_and_broken_files_are_reported(run, pictures, tmp_path, caplog):
    caplog.set_level(logging.INFO, "gan_runner")
    assert run.translate_folder(pictures, tmp_path / "out", device="cpu") == 4
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png"))
    assert written == ["a.gif.png", "a.png.png", "b.png", "below/c.png"]
    assert "1 file is a web page, HTML (broken.png)" in caplog.text
    for name in written:
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.size, picture.mode) == ((16, 16), "L")
    alone = run.translate_folder(pictures / "b.jpg", tmp_path / "alone", device="cpu")
    assert alone == 1
    assert (tmp_path / "alone/b.png").read_bytes() == (tmp_path / "out/b.png").read_bytes()
    with pytest.raises(UserError, match="exists already, and nothing is overwritten"):
        run.translate_folder(pictures, tmp_path / "out")


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_the_generator_is_exported_as_a_graph_from_sources_to_images(run, tmp_path, ending):
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)
    source = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    if ending == ".onnx":
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = tmp_path / f"g{ending}"
    run.export(path, device="cpu")
    if ending == ".pt2":
        drawn = torch.export.load(path).module()(source)
    else:
        session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        drawn = torch.from_numpy(session.run(["image"], {"source": source.numpy()})[0])
    levels = ((drawn + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(levels, np.asarray(run.translate(images, device="cpu")), atol=0.51)


@pytest.mark.parametrize("output", ["d", "d.html", "d.pt2"])
def test_the_discriminator_of_such_a_run_is_not_exported(run, tmp_path, output):
    with pytest.raises(UserError, match="only the generator is exported"):
        run.export(tmp_path / output, what="discriminator", device="cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def exported(run):
    assert run.export(run.folder.parent / "coloured", device="cpu").endswith("it draws the same images bit for bit.")
    return run.folder.parent / "coloured"


def test_an_exported_folder_translates_as_the_run_does_in_any_batch_and_from_files(run, exported, pictures, tmp_path):
    network = gan_runner.load(exported)
    images = np.random.default_rng(1).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    expected = np.asarray(run.translate(images, device="cpu"))
    assert np.array_equal(network.translate(images), expected)
    assert np.array_equal(network.translate(images[3:4]), expected[3:4])
    for translate in (run.translate_folder, network.translate_folder):
        assert translate(pictures, tmp_path / "out") == 4
        (tmp_path / "out").rename(tmp_path / translate.__self__.__class__.__name__)
    for name in ("a.gif.png", "a.png.png", "b.png", "below/c.png"):
        assert (tmp_path / "Exported" / name).read_bytes() == (tmp_path / "SavedRun" / name).read_bytes()
    for wrong, said in (
        (lambda: network.sample(2), "draws nothing without them"),
        (lambda: network.judge(images), r"Use translate\(images\)"),
        (lambda: network.translate(images, direction="BtoA"), "draws AtoB alone"),
        (lambda: network.translate(images, direction="both"), "must be AtoB or BtoA"),
        (lambda: network.translate(images[0]), r"but must be uint8 \[N, H, W, C\]"),
        (lambda: network.translate_folder(tmp_path / "none", tmp_path / "new"), "there is no such folder"),
    ):
        with pytest.raises(UserError, match=said):
            wrong()


def test_the_card_of_such_a_folder_shows_pairs_and_its_python_code_and_the_pages_work(
    exported, pictures, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pictures.rename("drawings")
    Path("coloured").symlink_to(exported)
    text = (exported / "README.md").read_text()
    assert "![From the left: input, output, truth](grid.png)" in text
    assert "pipeline_tag: image-to-image" in text
    assert "| Drawn from | images of that size, grey |" in text
    assert f"l1_{HELD_OUT} |" in text
    with Image.open(exported / "grid.png") as grid:
        assert json.loads(grid.text["cells"]) == ["input", "output", "truth"]
    _, of_the_page = re.findall(r"```python\n(.*?)```", EXPORTING, re.DOTALL)
    names = {"sources": np.zeros((2, 16, 16, 1), np.uint8)}
    for code in (*re.findall(r"```python\n(.*?)```", text, re.DOTALL), of_the_page):
        exec(code, names)
        assert names.pop("images").shape == (2, 16, 16, 1)
    assert len(list(Path("results").rglob("*.png"))) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"direction": None},
        {"direction": "up"},
        {"partners": 1},
        {"partners": False},
        {"conditioning": {}},
        {"conditioning": {"source_shape": [1, 16]}},
        {"conditioning": {"source_shape": [2, 16, 16]}},
        {"conditioning": {"source_shape": [3, 16, 16]}},
        {"conditioning": {"source_shape": [1, 16, 8]}},
        {"conditioning": {"source_shape": [1, 16, 16], "embedding_dim": 3}},
        {"image_shape": [1, 4096, 4096], "conditioning": {"source_shape": [1, 4096, 4096]}},
        {"image_shape": [3, 16, 16]},
        {"drawing": {"latent": {"_target_": "gan_runner.objectives.latents.Normal", "dim": 9, "std": 1.0}}},
        {"what": "discriminator"},
        {"format_version": 4},
    ],
    ids=str,
)
def test_a_folder_that_contradicts_itself_is_refused(exported, tmp_path, change):
    shutil.copytree(exported, tmp_path / "copied")
    path = tmp_path / "copied/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError):
        gan_runner.load(tmp_path / "copied")


def test_a_page_to_draw_on_has_the_network_and_held_out_sources_to_begin_with(run, tmp_path):
    said = run.export(tmp_path / "g.html", device="cpu")
    assert re.fullmatch(r"open it in a browser. Its weights are float32; a pixel differs by at most [01] of 255.", said)
    page = (tmp_path / "g.html").read_text()
    (data,) = json.loads(re.search(r'id="data">(.*)</script>', page)[1])["networks"]
    held_out = build.load_held_out(run.data_config())
    sources = held_out.conditions(torch.arange(HELD_OUT))["source"][:, 0].numpy()
    assert len(data["examples"]) == 12
    for text in data["examples"]:
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            assert (np.asarray(picture) == sources).all((1, 2)).any()
    assert (data["source"], data["paper"], data["levels"]) == ([16, 16, 1], [255], [0, 255])


@pytest.mark.parametrize(
    ("names", "results"),
    [
        (["a.jpg", "b.png"], ["a.png", "b.png"]),
        (["a.jpg", "a.png"], ["a.jpg.png", "a.png.png"]),
        (["a.jpg", "a.jpg.webp", "a.png"], ["a.jpg.png", "a.jpg.webp.png", "a.png.png"]),
        (["a", "a.gif", "b/a.gif"], ["a.png", "a.gif.png", "b/a.png"]),
        (["A.jpg", "a.png"], ["A.jpg.png", "a.png.png"]),
        (["a.b.c", "a.b.d", "a.e"], ["a.b.c.png", "a.b.d.png", "a.png"]),
        (["a.x", "a.x.x", "a.x.x.x", "a.y"], ["a.x.png", "a.x.x.png", "a.x.x.x.png", "a.y.png"]),
    ],
)
def test_no_two_results_have_the_same_name(names, results):
    assert Found("pictures", Path("pictures"), names).results == results


def test_names_of_very_many_images_take_no_time():
    names = [f"{number // 2}.{'jpg' if number % 2 else 'png'}" for number in range(100_000)]
    assert Found("pictures", Path("pictures"), names).results == [f"{name}.png" for name in names]


def folders_of_pairs(folder, held_out=8):
    for side in "AB":
        for split, count in (("train", 16), ("test", held_out)):
            (folder / side / split).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (16, 16), 10 * number).save(folder / f"{side}/{split}/{number}.png")
    return {"root": "A", "other_root": "B", "image_size": 16, "channels": 1, "source_channels": 1}


def test_a_run_with_two_relative_folders_resumes_and_draws_from_anywhere(tmp_path, monkeypatch, caplog):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    data = folders_of_pairs(home)
    monkeypatch.chdir(home)
    small = SMALL | {"data": data, "evaluation": "off"}
    gan_runner.train("data=paired_folder", "hydra.run.dir=run", "trainer.iterations=1", quiet=True, **small)
    monkeypatch.chdir(elsewhere)
    run = gan_runner.load(home / "run")
    drawn = run.sample(4, checkpoint="last", device="cpu")
    run.export("page.html", checkpoint="last", device="cpu")
    resumed = run.resume(iterations=2, quiet=True)
    assert resumed.summary["iterations"] == 2
    stored = (home / "run/.hydra/config.yaml").read_text()
    assert "  root: A\n" in stored
    assert "  other_root: B\n" in stored
    (home / "B").rename(home / "C")
    with pytest.raises(UserError, match=r"images of its data, which are not available: data\.other_root is B"):
        run.sample(4, checkpoint="last", device="cpu")
    assert drawn.shape == (4, 16, 16, 1)
    run.export("without.html", checkpoint="last", device="cpu")
    assert "The page has no images to begin with. What this run draws depends on images of its data" in caplog.text
    assert [text.count("iVBOR") for text in map(Path.read_text, (Path("page.html"), Path("without.html")))] == [8, 0]


def test_fewer_held_out_pairs_than_the_metrics_need_are_reported_before_training(tmp_path, monkeypatch):
    data = folders_of_pairs(tmp_path, held_out=3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="drawn from 3 held-out pairs of paired_folder, but the evaluation needs at le"):
        gan_runner.train("data=paired_folder", "hydra.run.dir=run", quiet=True, **(SMALL | {"data": data}))


def test_arrays_are_translated_as_their_files_are(run, pictures, tmp_path):
    run.translate_folder(pictures / "a.png", tmp_path / "out", device="cpu")
    with Image.open(pictures / "a.png") as picture:
        array = np.asarray(picture)
    drawn = run.translate(np.stack([array, array[::-1]]), device="cpu")
    with Image.open(tmp_path / "out/a.png") as picture:
        assert np.array_equal(drawn[0, ..., 0], np.asarray(picture))
    assert drawn.shape == (2, 16, 16, 1)
    with pytest.raises(UserError, match=r"images are float64 \[2, 8\], but must be uint8"):
        run.translate(np.zeros((2, 8)))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "nowhere", "there is no such folder or file"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "that folder has no images"),
        (lambda folder: folder / "pictures/broken.png", "none of its images can be read"),
    ],
)
def test_an_input_without_usable_images_is_refused(run, pictures, tmp_path, make, problem):
    with pytest.raises(UserError, match=problem):
        run.translate_folder(make(tmp_path), tmp_path / "out", device="cpu")


def test_gan_eval_shows_the_metrics_of_pairs_and_the_baselines(run):
    found = run.evaluate("num=1000", "real=96", "device=cpu", "metrics.numbers=fast")
    named = {row.name: row for row in found.rows}
    assert {f"l1_{HELD_OUT}", f"ssim_{HELD_OUT}"} <= named.keys()
    assert all(row.baselines.keys() == {"source", "mean"} for row in found.rows)
    assert named[f"l1_{HELD_OUT}"].value == pytest.approx(run.metrics[f"metric/l1_{HELD_OUT}"], rel=1e-5)
    head = found.table().splitlines()[0].split()
    assert head == ["metric", "value", "real", "noise", "source", "mean", "better"]
    assert found.as_dict()["source"][f"l1_{HELD_OUT}"] == named[f"l1_{HELD_OUT}"].baselines["source"]


def test_the_pages_command_translates_and_a_run_without_pairs_is_refused(run, pictures, tmp_path):
    pictures.rename(tmp_path / "drawings")
    (line,) = set(re.findall(r"gan-translate run=outputs[^#`\n]*", PAGE))
    words = shlex.split(line.replace("outputs/DATE/TIME", str(run.folder)))[1:]
    result = call(main.translate, tmp_path, *words, "device=cpu")
    assert result.code == 0, result.text
    assert "4 images with the best checkpoint: coloured" in result.text
    assert (tmp_path / "coloured/below/c.png").is_file()
    unpaired = gan_runner.train(
        "data.limit=16",
        "trainer.iterations=1",
        "trainer.batch_size=8",
        "evaluation=off",
        f"hydra.run.dir={tmp_path}/unpaired",
        quiet=True,
    )
    result = call(main.translate, tmp_path, f"run={unpaired.folder}", "input=drawings", "output=none", "device=cpu")
    assert result.code == 1
    assert "whose generator does not take images" in result.err


@pytest.mark.parametrize("source", ["no shape", [1, 2], [1, 16, 10**9], [7, 16, 16], {"a": 1}])
def test_an_untrusted_checkpoint_with_another_source_is_refused(run, tmp_path, pictures, source):
    copied = tmp_path / "copied"
    shutil.copytree(run.folder, copied)
    for path in (copied / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        state["about"]["source_shape"] = source
        torch.save(state, path)
    with pytest.raises(UserError):
        gan_runner.load(copied).translate_folder(pictures, tmp_path / "out", device="cpu")


def test_images_that_would_not_fit_into_memory_while_drawn_are_refused(run, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(networks, "free_memory", lambda device: 10**4)
    with pytest.raises(UserError, match=r"images are of 16x16 pixels. To draw one takes [^$]*, and cpu has"):
        run.translate_folder(pictures, tmp_path / "out", device="cpu")


def test_the_memory_for_drawing_depends_only_on_the_size_of_the_images(monkeypatch):
    """A checkpoint of convolutions may tell of any size: nothing as large is made to find out."""
    monkeypatch.setattr(networks, "free_memory", lambda device: 10**10)
    net = residual_translator.Generator((1, 8, 8), (1, 8, 8), 4, 1, "instance", None)
    with pytest.raises(UserError, match=r"images are of 16380x16380 pixels. To draw one takes"):
        networks.check_room_to_draw(net, (1, 2**14 - 4, 2**14 - 4), torch.device("cpu"), "The checkpoint")
    networks.check_room_to_draw(net, (1, 64, 64), torch.device("cpu"), "The checkpoint")
