import json
import math

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.metrics.reference import noise, reference, reference_pictures
from gan_runner.metrics.report import Row, evaluate_samples, most_alike, report, side_by_side, with_count
from gan_runner.metrics.samples import read_samples
from gan_runner.record.pictures import write_samples

CPU = torch.device("cpu")


@pytest.fixture
def drawn(halves, tmp_path):
    """A file of 400 pictures: a quarter copies, the others held out, shifted a little in grey."""
    training, held_out = halves
    images = torch.cat([training.images[:100], held_out.images[:300].clamp(max=240)])
    write_samples(images.permute(0, 2, 3, 1).numpy(), tmp_path / "drawn.npz")
    return str(tmp_path / "drawn.npz")


def evaluated(samples, metrics, real, generated):
    images = read_samples(samples, metrics.training.shape)
    return evaluate_samples(samples, images, metrics, real, generated, seed=0)


def test_the_report_compares_with_held_out_real_images_and_noise_and_keeps_both(bound, own_cache, monkeypatch):
    first = reference(bound, real=300, generated=200, seed=0)
    assert (first.count, first.real_count, first.real_of) == (300, 200, "test")
    assert first.real["frechet_cnn"] < first.noise["frechet_cnn"] / 5
    assert first.noise["memorised_cnn"] == 1.0  # of the training pictures themselves
    assert first.real["coverage_cnn"] > 5 * first.noise["coverage_cnn"]
    files = sorted(file.name for file in own_cache.iterdir())
    monkeypatch.setattr(type(bound), "measure", None)  # nothing is measured again
    monkeypatch.setattr(type(bound), "of_real", None)
    again = reference(bound, real=300, generated=200, seed=0)
    assert (again.real, again.noise) == (first.real, first.noise)
    assert sorted(file.name for file in own_cache.iterdir()) == files


def test_without_held_out_images_the_real_ones_are_the_half_outside_the_reference(metrics_of, halves):
    metrics = metrics_of()
    metrics.bind(halves[0], None, CPU)
    without = reference(metrics, real=150, generated=metrics.comparable(900), seed=0)
    assert (without.real_of, without.count, without.real_count) == ("train", 150, 224)
    assert without.real["coverage_cnn"] > 0.5
    assert without.real["memorised_cnn"] is None  # they are copies of themselves
    everything = reference(metrics, real=5000, generated=100, seed=0)
    assert (everything.count, everything.real_count) == (224, 100)
    assert everything.real["frechet_cnn"] < everything.noise["frechet_cnn"] / 5


@pytest.mark.parametrize("held_out", [True, False])
def test_the_report_compares_as_many_real_as_generated_images(metrics_of, halves, drawn, held_out):
    metrics = metrics_of(["coverage", "frechet"])
    metrics.bind(halves[0], halves[1] if held_out else None, CPU)
    for asked in (50, 300, 10_000):
        found = evaluated(drawn, metrics, real=10_000, generated=asked)
        said = found.as_dict()
        count = min(asked, 400 if held_out else 224)
        assert said["count"] == said["real_count"] == said["fingerprint"]["generated"] == count
        assert found.rows[0].name == f"coverage_cnn_{count}"
        assert f"value: {count} images; real: {count} " in found.table()
        assert max(map(len, found.table().splitlines())) <= 80


@pytest.mark.parametrize(("generated", "real", "few"), [(50, 300, True), (300, 50, True), (300, 300, False)])
def test_few_images_give_a_warning_whatever_is_cached(
    metrics_of, halves, drawn, caplog, own_cache, generated, real, few
):
    for _ in range(2):
        caplog.clear()
        metrics = metrics_of(["frechet"])
        metrics.bind(*halves, CPU)
        evaluated(drawn, metrics, real, generated)
        said = [record.getMessage() for record in caplog.records if "are few" in record.getMessage()]
        assert [text.partition(" are few")[0] for text in said] == [
            f"{generated} generated and {real} real images"
        ] * few


def test_the_reference_is_evenly_spaced_and_noise_follows_its_seed(halves):
    training, _ = halves
    parts = torch.cat([part.images for part in reference_pictures(training, 300)])
    assert torch.equal(parts, training.images[torch.arange(300) * 448 // 300])
    one, same, other = (torch.cat([part.images for part in noise((1, 8, 8), 700, seed)]) for seed in (0, 0, 1))
    assert one.shape == (700, 1, 8, 8)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.float().mean() == pytest.approx(127.5, abs=2)


def test_images_of_any_program_are_evaluated_from_a_file(bound, halves, drawn):
    training, _ = halves
    found = evaluated(drawn, bound, real=300, generated=200)
    named = {row.name: row for row in found.rows}
    assert named["frechet_cnn_200"].real < named["frechet_cnn_200"].value < named["frechet_cnn_200"].noise
    assert named["memorised_cnn_200"].value > named["memorised_cnn_200"].real
    assert 0 <= named["frechet_cnn_200"].place <= 1
    assert (found.fingerprint.real, found.fingerprint.generated) == (300, 200)
    assert found.fingerprint.extractor == f"cnn-{bound.extractor.fingerprint}"
    assert found.fingerprint.average is None

    lines = found.table().splitlines()
    assert lines[0].split() == ["metric", "value", "real", "noise", "better"]
    below = lines[len(found.rows) + 1 :]
    assert below[:3] == [
        "value: 200 images; real: 200 held-out images",
        "noise: as many images of noise (memorised: copies of training images)",
        "reference: 300 training images",
    ]
    assert below[3].startswith(f"fingerprint: data=digits-{training.fingerprint}  held_out=digits-")
    assert " ".join(below[3:]).split() == f"fingerprint: {found.fingerprint}".split()

    stored = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert stored["metrics"]["coverage_cnn_200"] == named["coverage_cnn_200"].value
    assert stored["fingerprint"]["data"] == f"digits-{training.fingerprint}"
    assert sum(shares["generated"] for shares in stored["classes"].values()) == pytest.approx(1)


def test_several_runs_are_in_one_table_except_those_of_another_fingerprint(bound, drawn):
    one, more = (evaluated(drawn, bound, real=300, generated=count) for count in (200, 300))
    lines = side_by_side({"a": one, "b": one, "c": more}).splitlines()
    assert lines[0].split() == ["metric", "a", "b", "real", "noise", "better"]
    assert lines[1].split()[1] == lines[1].split()[2]
    assert lines[-1] == "c is not compared with a: generated is 200 and 300."


def test_the_reports_image_shows_copies_classes_and_bars(bound, drawn):
    found = evaluated(drawn, bound, real=300, generated=400)
    page = found.picture()
    assert page.mode == "RGB"
    assert min(page.size) > 200
    assert len(page.getcolors(1 << 20)) > 10
    assert found.suspects.shape == (8, 1, 8, 8)
    assert found.originals.shape == (8, 3, 1, 8, 8)
    assert torch.equal(found.suspects, found.originals[:, 0])  # the copies are told, each beside its original


def test_suspected_copies_are_sorted_by_distance_with_rows_of_the_training_set(bound, halves):
    training, held_out = halves
    images = torch.cat([held_out.images[:20], training.images[5:6], held_out.images[20:40]])
    suspects, originals = most_alike(bound.extractor(images).vectors, bound, count=3, k=2)
    assert suspects[0] == 20
    assert originals[0, 0] == 5
    assert originals.shape == (3, 2)


def test_too_few_samples_are_refused_with_the_number_that_is_needed(bound, halves, tmp_path):
    write_samples(halves[0].images[:3].permute(0, 2, 3, 1).numpy(), tmp_path / "few.npz")
    with pytest.raises(UserError) as error:
        evaluated(str(tmp_path / "few.npz"), bound, real=300, generated=100)
    assert "it holds 3 images, where the metrics need 6." in str(error.value)


def test_floats_of_a_generator_are_evaluated_as_the_bytes_of_a_file(bound, halves):
    images = halves[1].images[:200]
    what = {"real": 300, "seed": 0, "average": True, "checkpoint": "best"}
    one = report(images, bound, **what)
    other = report(images.float() / 127.5 - 1, bound, **what)
    assert one.as_dict() == other.as_dict()
    assert one.fingerprint.checkpoint == "best"


@pytest.mark.parametrize(
    ("count", "name"), [(10_000, "frechet_cnn_10k"), (1_000, "frechet_cnn_1k"), (1_797, "frechet_cnn_1797")]
)
def test_names_contain_the_number_of_images(count, name):
    assert with_count("frechet_cnn", count) == name


def test_a_bar_needs_real_images_noise_and_a_good_end():
    row = Row("a", 2.0, 1.0, 5.0, "lower", "")
    assert row.place == 0.25
    for lacking in (Row("a", None, 1.0, 5.0, "lower", ""), Row("a", 2.0, None, 5.0, "lower", "")):
        assert lacking.place is None
    assert Row("a", 2.0, 1.0, 5.0, None, "").place is None
    assert Row("a", 1.0, 1.0, 1.0, "lower", "").place is None
    assert Row("a", 0.8, 0.9, 0.1, "higher", "").place == pytest.approx(0.125)
    assert not math.isnan(row.place)
