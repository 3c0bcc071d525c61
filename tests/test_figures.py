"""Figures that a page gives and a file of benchmarks/ records are the same."""

import json
import re
from pathlib import Path
from statistics import mean, median, stdev

import pytest

from benchmarks.alarms import passed, table

ROOT = Path(__file__).parent.parent
RECOMMENDED = (ROOT / "docs/evidence/recommended.md").read_text(encoding="utf-8")
CONDITIONAL = (ROOT / "docs/conditional.md").read_text(encoding="utf-8")
SPEED = (ROOT / "docs/evidence/speed.md").read_text(encoding="utf-8")


def recorded(name):
    return [json.loads(line) for line in (ROOT / f"benchmarks/{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def rows_of(text, heading):
    """The cells of a table that begins with these, a list a row."""
    lines = text[text.index(f"| {heading} |") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def check(said, values):
    """Hold `1.59 ± .07`, or `.75`, to values that it is the mean and the standard deviation of."""
    for figure, value in zip(said.split(" ± "), (mean(values), stdev(values) if len(values) > 1 else 0), strict=False):
        digits = len(figure.partition(".")[2])
        assert float(figure) == pytest.approx(value, abs=0.501 * 10**-digits), (said, values)


FREE_OF_MOMENTUM = re.compile(r"experiment=recommended model=dcgan|model=dcgan( trainer\.precision=fp32)?")
RUNS = {
    "`experiment=keras_dcgan`, 7 min": lambda run: "keras_dcgan" in run,
    "recommended dcgan, betas (.5, .999), 7 min": lambda run: "widths" in run and "betas" not in run,
    "recommended dcgan, 7 min": FREE_OF_MOMENTUM.fullmatch,
    "recommended dcgan, 30 min": FREE_OF_MOMENTUM.fullmatch,
    "recommended dcgan, betas (.5, .999), 45 s": lambda run: "widths" in run,
    "`experiment=keras_mlp`, 4 min": lambda run: "keras_mlp" in run,
    "recommended mlp, 4 min": lambda run: run.startswith("model=mlp") and "relativistic" not in run,
}
NUMBERS = ["frechet_cnn_10k", "coverage_cnn_10k", "frechet_cnn_b_10k", "coverage_cnn_b_10k"]


def test_recommended_runs_at_equal_time_are_as_recorded():
    runs = recorded("recommended") + [each | each["metrics"] for each in recorded("equal_time")]
    table = rows_of(RECOMMENDED, "| iterations | seeds | Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage")
    assert [row[0] for row in table] == [*RUNS, "recommended resnet, 7 min"]  # of which one run is recorded
    for name, iterations, seeds, *said in table[:-1]:
        same = [
            each for each in runs if each.get("iterations") == int(iterations.replace(",", "")) and NUMBERS[0] in each
        ]
        same = [each for each in same if RUNS[name](each["run"])]
        assert len({each["seed"] for each in same}) == len(same) == int(seeds), name
        for number, figure in zip(NUMBERS, said, strict=True):
            check(figure, [each[number] for each in same])


SEARCHED = {
    "recommended mlp, before": "experiment=recommended model.generator.smoothing=false",
    "neighbours averaged": "experiment=recommended model.generator.smoothing=true",
    "gamma 1 besides": "experiment=recommended model.r1.gamma=1 model.generator.smoothing=true",
    "first weights besides": "experiment=recommended model.generator.smoothing=true model.r1.gamma=1 "
    "first_weights=xavier",
    "default mlp, before": "model=mlp model.generator.smoothing=false",
    "all three, and an average of .995": "trainer.ema=0.995 model.generator.smoothing=true model.r1.gamma=1 "
    "first_weights=xavier",
}


def test_the_search_against_grain_is_as_recorded():
    runs = {each["run"]: each for each in recorded("defaults") if each["minutes"] is None}
    table = rows_of(
        RECOMMENDED.partition("## Grain")[2], "| iterations | Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage"
    )
    assert [row[0] for row in table] == list(SEARCHED)
    for name, iterations, *said in table:
        run = runs[SEARCHED[name]]
        assert run["iterations"] == int(iterations.replace(",", ""))
        for number, figure in zip(NUMBERS, said, strict=True):
            check(figure, [run["metrics"][number.replace("10k", "898")]])


def test_runs_by_the_clock_are_as_recorded():
    runs = [each for each in recorded("equal_time") if each["minutes"] is not None]
    table = rows_of(RECOMMENDED, "| iterations | Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage")
    assert len(table) == len(runs)
    for _, iterations, *said in table:
        (run,) = (each for each in runs if each["iterations"] == int(iterations.replace(",", "")))
        for number, figure in zip(NUMBERS, said, strict=True):
            check(figure, [run["metrics"][number]])


AVERAGES = {
    "decay .99 from the start": "trainer.ema=0.99 trainer.ema_ramp_up=null",
    "decay .998 from the start": "trainer.ema=0.998 trainer.ema_ramp_up=null",
    "half-life .05 of the images so far": "trainer.ema=0.9999 trainer.ema_ramp_up=0.05",
    "half-life .2 of the images so far": "trainer.ema=0.9999 trainer.ema_ramp_up=0.2",
}


def test_the_lengths_of_the_average_are_as_recorded():
    run = "experiment=recommended model=dcgan "
    runs = {(each["run"], each["iterations"]): each for each in recorded("recommended") if each["round"] == 5}
    columns = "| after 310 iterations | coverage | after 1,000 | coverage | after 2,900 | coverage"
    table = rows_of(RECOMMENDED, columns)
    assert [row[0] for row in table] == list(AVERAGES)
    for name, *said in table:
        for iterations, distance, coverage in zip((310, 1000, 2900), said[::2], said[1::2], strict=True):
            of_run = runs[run + AVERAGES[name], iterations]
            check(distance, [of_run["frechet_cnn_5k"]])
            check(coverage, [of_run["coverage_cnn_5k"]])


def test_augmentations_with_few_images_are_as_recorded():
    runs = {(each["augment"], each["iterations"]): each for each in recorded("few")}
    columns = "iterations | none: Fréchet | coverage | `ada`: Fréchet | coverage | `diffaugment`: Fréchet | coverage"
    for iterations, *said in rows_of(RECOMMENDED, columns):
        for column, augment in enumerate(("none", "ada augment.speed=20000", "diffaugment")):
            run = runs[augment, int(iterations)]
            assert run["p"] < 0.01
            check(said[2 * column], [run["metrics"]["frechet_cnn"]])
            check(said[2 * column + 1], [run["metrics"]["coverage_cnn"]])


def test_the_gain_by_classes_is_as_recorded():
    runs = {(each["run"], each.get("iterations")): each for each in recorded("recommended") if each["round"] in (5, 7)}
    names = {
        "`experiment=recommended`": "experiment=recommended model=dcgan trainer.ema=0.9999 trainer.ema_ramp_up=0.05",
        "`experiment=conditional`": "experiment=conditional model=dcgan data=fashion_mnist",
    }
    table = rows_of(CONDITIONAL, "| iterations | Fréchet, `cnn` | coverage | Fréchet, `cnn_b`")
    assert [row[0] for row in table] == 2 * list(names)
    for name, iterations, *said in table:
        run = runs[names[name], int(iterations.replace(",", ""))]
        for number, figure in zip(("frechet_cnn", "coverage_cnn", "frechet_cnn_b"), said, strict=True):
            check(figure, [run[f"{number}_5k"]])


EXPERIMENTS = ("", "experiment=recommended ", "experiment=conditional ")


def test_the_gain_by_classes_on_digits_is_as_recorded():
    runs = [each for each in recorded("defaults") if each.get("processor_minutes")]
    names = [f"`{experiment}model={model}`" for model in ("mlp", "dcgan") for experiment in EXPERIMENTS]
    table = rows_of(CONDITIONAL, "| Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage")
    assert [row[0] for row in table] == names
    for name, *said in table:
        same = [each["metrics"] for each in runs if each["run"] == name.strip("`")]
        assert len(same) == 2
        for number, figure in zip(NUMBERS, said, strict=True):
            check(figure, [median(each[number.replace("10k", "898")] for each in same)])


def test_what_runs_by_class_draw_is_as_recorded():
    runs, classifiers = recorded("by_class"), recorded("generated_alone")
    distance, coverage, recognised, worst, alone = rows_of(CONDITIONAL, "| five seeds | real")
    for number, row in zip(NUMBERS, (distance, coverage), strict=False):
        check(row[1], [each["metrics"][number] for each in runs])
    assert {each["seed"] for each in runs} == set(range(5))
    check(recognised[1].replace("%", ""), [100 * each["recognised"] for each in runs])
    assert recognised[2] == f"{runs[0]['recognised_real']:.1%}"
    check(worst[1], [each["worst_coverage"] for each in runs])
    of_a_run = {}
    for each in classifiers:
        of_a_run.setdefault(tuple(each["run"]), []).append(100 * each["generated"])
    assert len(of_a_run) == len(runs)
    check(alone[1].replace("%", ""), [mean(each) for each in of_a_run.values()])
    check(alone[2].replace("%", ""), [100 * mean(each["real"] for each in classifiers)])
    assert [each["alarms"] for each in runs] == [[]] * len(runs)


def test_the_figures_of_emoji_are_as_recorded():
    runs = [each for each in recorded("recommended") if each["round"] == 6]
    columns = "| Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage | memorised"
    table = rows_of(RECOMMENDED.partition("## Colour")[2], columns)
    numbers = ("frechet_cnn", "coverage_cnn", "frechet_cnn_b", "coverage_cnn_b", "memorised_cnn_b")
    for (name, *said), run in zip(table, runs, strict=True):
        assert f"{run['iterations']:,} iterations" in name if "iterations" in run else name.split()[-1] in run["run"]
        for number, figure in zip(numbers, said, strict=True):
            check(figure, [run[f"{number}_1520"]])


def test_statistics_of_the_average_are_as_recorded():
    runs = recorded("average_statistics")
    table = rows_of(RECOMMENDED, "iterations | statistics of G | of 256 latents | of 2,048 | of 10,240")
    for iterations, *said in table:
        same = [each["frechet_cnn_5k"] for each in runs if each["iterations"] == int(iterations)]
        for taken_of, figure in zip(("of G", "256", "2048", "10240"), said, strict=True):
            check(figure, [each[taken_of] for each in same])


def test_ratios_of_speed_follow_from_the_times():
    script, *others = rows_of(SPEED, "median ms per iteration (ratio to the script) | `keras_mlp` | `keras_dcgan`")
    for _, *said in others:
        for column, figure in enumerate(said, 1):
            taken, ratio = re.fullmatch(r"([\d.]+) \(([\d.]+)x\)", figure).groups()
            check(ratio, [float(script[column]) / float(taken)])


def test_the_readme_says_how_many_times_as_fast():
    heading = "median ms per iteration (ratio to the script) | `keras_mlp` | `keras_dcgan`"
    said = []
    for text in SPEED.split("## On a GPU"):
        (row,) = (row for row in rows_of(text, heading) if row[0].startswith("gan-runner, bf16"))
        said.append(" to ".join(sorted((cell.partition("(")[2].removesuffix("x)") for cell in row[1:]), key=float)))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{said[0]} times a plain PyTorch script on 2 cores, {said[1]} times on an H100" in readme


def test_the_readme_has_the_runs_by_the_clock():
    runs = {(each["iterations"], each["minutes"]): each["metrics"] for each in recorded("equal_time")}
    by_the_clock = rows_of(RECOMMENDED, "| iterations | Fréchet, `cnn` | coverage | Fréchet, `cnn_b` | coverage")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = rows_of(readme, "| Fréchet distance, lower is better | real images covered")[1:]
    assert len(table) == len(by_the_clock)
    for (name, frechet, covered), (_, iterations, *_) in zip(table, by_the_clock, strict=True):
        amount, unit = re.search(r"(\d+) (minutes|seconds)$", name).groups()
        minutes = float(amount) / (60 if unit == "seconds" else 1)
        metrics = runs[int(iterations.replace(",", "")), minutes]
        check(frechet, [metrics["frechet_cnn_10k"]])
        check(covered.rstrip("%"), [100 * metrics["coverage_cnn_10k"]])


def test_times_are_those_of_the_runs_by_the_clock_and_of_the_page_on_speed():
    times = (ROOT / "docs/times.md").read_text(encoding="utf-8")
    by_the_clock = {each["iterations"] for each in recorded("equal_time") if each["minutes"]}
    for row in rows_of(times, "run | machine | iterations | time | command")[:4]:
        assert int(row[2].replace(",", "")) in by_the_clock
    heading = "median ms per iteration (ratio to the script) | `keras_mlp` | `keras_dcgan`"
    cpu, gpu = ({row[0]: row[1:] for row in rows_of(text, heading)} for text in SPEED.split("## On a GPU"))
    measured = (cpu["gan-runner, fp32"], cpu["gan-runner, bf16 (the default here)"])
    measured += (gpu["gan-runner, bf16 (the default there)"],)
    table = rows_of(times, "an iteration of | 2 cores, fp32 | 2 cores with AVX-512 bf16 | one H100, bf16")
    for (_, *said), *figures in zip(table, *measured, strict=True):
        assert [cell.removesuffix(" ms") for cell in said] == [figure.partition(" ")[0] for figure in figures]


def test_times_by_model_and_size_are_as_recorded():
    times = (ROOT / "docs/times.md").read_text(encoding="utf-8")
    table = rows_of(times, "settings | image | batch | an iteration | peak memory")
    rows = recorded("expected")
    assert [row[0] for row in table] == [f"`{row['setting']}`" for row in rows]
    for (_, image, batch, milliseconds, memory), row in zip(table, rows, strict=True):
        assert (image, batch) == ("x".join(map(str, row["image"])), str(row["batch"]))
        check(milliseconds.removesuffix(" ms"), [row["milliseconds"]])
        check(memory.removesuffix(" MB").replace(",", ""), [row["megabytes"]])


def test_the_cost_of_wider_networks_is_as_recorded():
    times = (ROOT / "docs/times.md").read_text(encoding="utf-8")
    table = rows_of(times, "image | `model.widening` | parameters of G | of D | an iteration")
    for (image, widening, of_g, of_d, ratio), row in zip(table, recorded("widths"), strict=True):
        assert (image, float(widening)) == (f"3x{row['size']}x{row['size']}", row["widening"])
        assert [int(figure.replace(",", "")) for figure in (of_g, of_d)] == row["parameters"]
        check(ratio, [row["ratio"]])


def test_times_beside_other_programs_are_as_recorded():
    rows = recorded("busy")
    table = rows_of(SPEED, "ms per iteration | `mlp`, no busy")
    assert [name for name, *_ in table] == list(rows[0]["milliseconds"])
    for name, *said in table:
        for figure, row in zip(said, rows, strict=True):
            milliseconds, share = re.fullmatch(r"([\d.]+) \(([\d.]+)\)", figure).groups()
            check(milliseconds, [row["milliseconds"][name]])
            check(share, [min(row["milliseconds"].values()) / row["milliseconds"][name]])


def test_faults_found_by_alarms_are_as_recorded():
    page = (ROOT / "docs/evidence/alarms.md").read_text(encoding="utf-8")
    sentence = "{} of {} faulty runs raise an alarm that names the cause, and {} of {} healthy runs raise none"
    for experiment in ("recommended", "plain"):
        runs = [each for each in recorded("alarms") if each["experiment"] == experiment]
        healthy = [each for each in runs if each["fault"].startswith("healthy")]
        faulty = [each for each in runs if each not in healthy]
        counts = [count for some in (faulty, healthy) for count in (sum(map(passed, some)), len(some))]
        assert sentence.format(*counts) in " ".join(page.split())
        if experiment == "recommended":
            assert table(runs) in page


def test_alarms_at_the_defaults_and_by_class_are_as_recorded():
    runs = [each for each in recorded("alarms") if each["experiment"] in (None, "conditional")]
    healthy = [each for each in runs if each["fault"].startswith("healthy")]
    by_class = [each for each in healthy if "by_class" in each["fault"]]
    evidence = (ROOT / "docs/evidence/alarms.md").read_text(encoding="utf-8")
    assert table(runs) in evidence
    counts = sum(map(passed, healthy)), len(healthy), len(by_class)
    assert "{} of {} healthy runs raise none; {} of them are by class".format(*counts) in " ".join(evidence.split())


def test_the_page_on_alarms_has_the_totals_of_the_record():
    healthy = [each for each in recorded("alarms") if each["fault"].startswith("healthy")]
    faulty = [each for each in recorded("alarms") if each["experiment"] == "recommended" and each not in healthy]
    recommended, default = ([each for each in healthy if each["experiment"] == name] for name in ("recommended", None))
    by_class = [each for each in default if "by_class" in each["fault"]]
    assert all(map(passed, recommended + default))
    page = " ".join((ROOT / "docs/alarms.md").read_text(encoding="utf-8").split())
    assert f"{sum(map(passed, faulty))} of {len(faulty)} faulty runs raised an alarm that named the cause" in page
    assert f"none of {len(recommended)} healthy ones did" in page
    assert f"nor any of {len(default)} at the defaults, {len(by_class)} of them by class" in page


def test_the_worth_of_generated_images_is_as_recorded():
    page = (ROOT / "docs/augment.md").read_text(encoding="utf-8")
    words = " ".join(page.replace("<br>", "").replace("> ", "").split())
    runs = recorded("augment")
    for run in runs:
        assert run["command"] in words
        assert " ".join(run["answer"]) in words
        for control in run["controls"].values():
            worth = f"worth {control['real_images']} ({control['low']} to {control['high']})"
            assert control["right"]
            assert worth in words
    rows = {row[0]: row[1:] for row in rows_of(page, "arm | F1 of the scarce classes | accuracy")}
    fashion, digits = (run["arms"] for run in runs)
    assert rows.keys() == fashion.keys()
    for arm, said in rows.items():
        for figure, name in zip(said, ("f1_of_scarce", "accuracy"), strict=True):
            middle, half = figure.split(" ±")
            check(middle, [100 * fashion[arm][name]["mean"]])
            check(half, [100 * (fashion[arm][name]["high"] - fashion[arm][name]["mean"])])
    alone = re.search(
        r"only on generated images is right for ([\d.]+)% of the test images, .* real images for ([\d.]+)%", words
    )
    check(alone[1], [100 * digits["generated alone"]["accuracy"]["mean"]])
    check(alone[2], [100 * digits["oversampling"]["accuracy"]["mean"]])


def test_controls_of_other_seeds_are_as_recorded():
    words = " ".join((ROOT / "docs/augment.md").read_text(encoding="utf-8").split())
    runs = recorded("augment_controls")
    held_back, repeats = zip(*([each["real_images"] for each in run["controls"].values()] for run in runs), strict=True)
    for worth in (held_back, repeats, [run["worth"]["real_images"] for run in runs]):
        *first, last = map(str, worth)
        assert f"worth {', '.join(first)} and {last}" in words
    assert all(control["right"] for run in runs for control in run["controls"].values())
    assert {run["verdict"] for run in runs} == {"no"}


def test_metrics_of_pairs_are_as_recorded():
    page = (ROOT / "docs/translate.md").read_text(encoding="utf-8")
    table = rows_of(page, "pairs | iterations | L1 | SSIM | Fréchet distance")
    expected = []
    for names, pairs in (("lines to colours", "colours"), ("edges to clothes", "edges")):
        runs = {run["run"]: run for run in recorded("pairs") if run["pairs"] == pairs}
        for baseline, its_name in (("source", "the source unchanged"), ("mean", "the mean image")):
            (scores,) = {tuple(run[baseline].items()) for run in runs.values()}
            expected.append((f"{names}: {its_name}", "", dict(scores)))
        expected += [
            (f"{names}: `{name}`", f"{runs[name]['iterations']:,}", runs[name]["metrics"])
            for name in ("experiment=pix2pix", "experiment=pix2pix_recommended")
        ]
        published, recommended = (runs[f"experiment=pix2pix{which}"]["metrics"] for which in ("", "_recommended"))
        assert recommended["l1"] < published["l1"]
        assert recommended["ssim"] > published["ssim"]
        assert recommended["frechet"] < published["frechet"]
    assert [row[:2] for row in table] == [[name, iterations] for name, iterations, _ in expected]
    for (*_, l1, ssim, frechet), (_, _, found) in zip(table, expected, strict=True):
        check(l1, [found["l1"]])
        check(ssim, [found["ssim"]])
        check(frechet, [found["frechet"]])
