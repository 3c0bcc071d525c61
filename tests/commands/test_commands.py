"""The commands from end to end: what they leave, and what they say to mistakes."""

import json
import re
import shlex
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gan_runner.config.command_line import typed
from gan_runner.config.explaining import settings
from gan_runner.config.overrides import UNREADABLE, reading
from gan_runner.machine.files import is_name_everywhere
from gan_runner.record.sweep_folder import Sweep, folder_name
from tests.command_line import QUICK, gan_check, gan_run, gan_sample, only_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a small run has finished, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    result = gan_run(folder, *QUICK, "trainer.log_every=2", "trainer.ema=0.9", "trainer.device=cpu")
    assert result.code == 0, result.text
    return folder, result


def test_a_run_ends_by_saying_where_the_samples_are_and_how_to_open_the_dashboard(finished):
    folder, result = finished
    run = only_run(folder).relative_to(folder)
    assert result.out.splitlines()[-5:] == [
        f"Look: {run}/samples/timeline.png",
        f"Dashboard: tensorboard --logdir {run}",
        f"Next: gan-eval run={run}",
        f"      gan-sample run={run} output=grid.png",
        f"      gan-run resume={run} trainer.iterations=8",
    ]


def test_a_run_leaves_the_folder_that_the_contract_describes(finished):
    run = only_run(finished[0])
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    (events,) = (name for name in names if name.startswith("events.out.tfevents."))
    assert names - {events} == {
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/lock",
        ".hydra/overrides.yaml",
        "gan-run.log",
        "checkpoints/best.pt",
        "checkpoints/iteration_00000000.pt",
        "checkpoints/last.pt",
        "samples/iteration_00000004.png",
        "samples/timeline.png",
        "samples/timeline.gif",
        "samples/timeline.webp",
        "metrics.jsonl",
        "summary.json",
    }


def test_the_summary_has_what_the_contract_promises(finished):
    summary = json.loads((only_run(finished[0]) / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["error"] is None
    counters = {key: summary[key] for key in ("iterations", "epochs", "d_steps", "g_steps", "images", "seed")}
    assert counters == {"iterations": 4, "epochs": 1.0, "d_steps": 4, "g_steps": 4, "images": 64, "seed": 0}
    assert summary["data"] == {"name": "digits", "fingerprint": summary["data"]["fingerprint"], "count": 64}
    assert summary["device"] == "cpu"
    assert summary["precision"] in ("fp32", "bf16")
    assert summary["objective"] == summary["metrics"]["metric/frechet_cnn_16"] == summary["best"]["value"]
    assert summary["images_per_second"] == pytest.approx(2 * summary["images"] / summary["seconds"], rel=0.01)
    assert summary["alarms"] == []


SCALARS = {
    "loss/d",
    "loss/g",
    "accuracy/d",
    "accuracy/d_real",
    "accuracy/d_fake",
    "probability/real",
    "probability/fake",
    "grad_norm/d",
    "grad_norm/g",
    "learning_rate/d",
    "learning_rate/g",
    "health/diversity",
    "metric/frechet_cnn_16",
    "metric/sliced_wasserstein_16",
    "metric/diversity_16",
    "speed/images_per_second",
}


def test_metrics_and_dashboard_have_the_same_scalars(finished):
    run = only_run(finished[0])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 4]
    assert SCALARS - {tag for tag in SCALARS if tag.startswith("metric/")} <= lines[0].keys()
    assert lines[1].keys() >= SCALARS

    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == lines[1].keys() - {"iteration", "epoch"}
    for tag in lines[1].keys() - {"iteration", "epoch"}:
        (*_, last) = events.Scalars(tag)
        assert (last.step, last.value) == (4, pytest.approx(lines[1][tag], rel=1e-6))
    assert set(events.Tags()["images"]) == {"samples/fixed", "samples/random", "samples/real"}


def test_a_run_that_ends_within_an_epoch_reports_its_state(tmp_path):
    result = gan_run(tmp_path, *QUICK, "trainer.iterations=3")
    assert re.search(r"^iteration 3  D accuracy \d+%  loss D [\d.]+ G [\d.]+  Frechet [\d.]+, best$", result.out, re.M)
    assert "Unusual" not in result.text


def test_a_run_reports_unusual_settings_at_its_start(tmp_path):
    result = gan_run(tmp_path, *QUICK, "trainer.batch_size=2", "optimizer.d.lr=0")
    said = "Unusual: optimizer.d.lr is 0, trainer.batch_size is 2. Try: optimizer.d.lr=0.0002  trainer.batch_size=64."
    assert said in result.text.splitlines()
    assert json.loads((only_run(tmp_path) / "summary.json").read_text())["alarms"] == []


def test_the_log_has_both_parameter_tables_and_a_line_for_each_log_point(finished):
    log = (only_run(finished[0]) / "gan-run.log").read_text()
    assert "Total params: 14,944" in log  # 100*16 + 16 + 16*784 + 784
    assert "Total params: 12,577" in log  # 784*16 + 16 + 16 + 1
    assert re.search(r"iteration 4  D accuracy \d+%  loss D ", log)


def test_two_runs_of_one_seed_draw_the_same_samples_and_another_seed_others(finished, tmp_path):
    first = (only_run(finished[0]) / "samples/iteration_00000004.png").read_bytes()
    for seed, same in ((0, True), (1, False)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert gan_run(folder, *QUICK, "trainer.log_every=2", "trainer.ema=0.9", f"seed={seed}").code == 0
        assert ((only_run(folder) / "samples/iteration_00000004.png").read_bytes() == first) == same


def test_a_sweep_names_each_folder_by_what_it_sweeps_and_continues_after_a_failing_job(tmp_path):
    result = gan_run(tmp_path, "-m", *QUICK, "model.dropout=0.1,1.5,0.3", "optimizer.lr=1e-4")
    assert result.code == 1
    assert "model.dropout is 1.5, but must be a number, at least 0 and below 1." in result.err
    assert result.out.count("model.dropout=1.5: failed.") == 1  # which of the jobs it was
    jobs = {
        path.parent.name: json.loads(path.read_text())["status"]
        for path in tmp_path.glob("multirun/*/*/*/summary.json")
    }
    assert jobs == {"model.dropout=0.1": "finished", "model.dropout=0.3": "finished"}
    (log,) = tmp_path.glob("multirun/*/*/model.dropout=1.5/gan-run.log")
    assert "model.dropout is 1.5, but must be" in log.read_text()


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ("model.dropout=0.1,optimizer.lr=0.0001", "model.dropout=0.1,optimizer.lr=0.0001"),
        ("experiment=tf_mlp,seed=1", "experiment=tf_mlp,seed=1"),
        ("", "7"),
    ],
)
def test_a_jobs_folder_is_named_after_its_overrides(overrides, folder):
    assert folder_name(7, overrides) == folder


def test_folders_of_jobs_differ_even_if_names_cannot_contain_the_difference():
    long = "model.generator.first_weights._target_=torch.nn.init.normal_," * 5
    names = [folder_name(0, text) for text in (f"{long}a=1", f"{long}a=2", "data.root=a/b", "data.root=a_b")]
    assert len(set(names)) == 4
    assert all(len(name) < 120 for name in names)


def test_a_jobs_folder_has_a_name_that_every_system_accepts():
    texts = [
        "data.root=C:/a b\\c",
        "evaluation.at=1.",
        "aux.weight=1",
        "loss='a<b>|c?*'",
        "nul",
        "seed=1 ",
        "x=" + 300 * "y",
    ]
    names = [folder_name(0, text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(is_name_everywhere(name) for name in names)


def test_folders_of_jobs_differ_in_more_than_capitals_which_macos_and_windows_ignore(tmp_path):
    sweep = Sweep(swept=["model.name"])
    names = {
        sweep.claim(number, [f"model.name={text}"], tmp_path).folder for number, text in enumerate(("a", "A", "b"))
    }
    assert names == {"model.name=a", "model.name=A-2", "model.name=b"}


def test_nan_targets_are_detected_at_their_iteration_and_the_last_good_checkpoint_stays(tmp_path):
    result = gan_run(tmp_path, *QUICK, "trainer.log_every=4", "labels.real.value=nan", "health.on_alarm=stop")
    assert result.code == 1
    assert "not_finite: a loss is NaN or infinite, since iteration 1." in result.text
    run = only_run(tmp_path)
    state = torch.load(run / "checkpoints/last.pt", weights_only=True)
    assert state["progress"]["iteration"] == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert [alarm["name"] for alarm in summary["alarms"]] == ["not_finite"]


def test_a_run_that_fails_while_writing_leaves_one_event_file_with_the_last_samples(tmp_path):
    large = ("trainer.sample_rows=40", "trainer.sample_columns=40")  # a grid that is still being written then
    result = gan_run(tmp_path, *QUICK, *large, "trainer.log_every=4", "labels.real.value=nan", "health.on_alarm=stop")
    assert result.code == 1
    run = only_run(tmp_path)
    assert len(list(run.glob("events.out.tfevents.*"))) == 2  # the run's, and one that says that it failed
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    assert [picture.step for picture in events.Images("samples/random")] == [4]


def test_iterations_override_epochs_as_the_contract_says(tmp_path):
    assert gan_run(tmp_path, *QUICK, "trainer.epochs=5").code == 0  # QUICK types the iterations
    assert json.loads((only_run(tmp_path) / "summary.json").read_text())["iterations"] == 4


# ---- gan-sample ---------------------------------------------------------------------------------------------


def test_gan_sample_writes_the_same_images_as_a_grid_an_array_or_a_folder(finished, tmp_path):
    run = only_run(finished[0])
    for output in ("grid.png", "array.npz", "folder/"):
        result = gan_sample(tmp_path, f"run={run}", "num=5", f"output={output}", "seed=3")
        assert result.code == 0, result.text
    array = np.load(tmp_path / "array.npz")["arr_0"]
    assert (array.dtype, array.shape) == (np.uint8, (5, 28, 28, 1))
    pictures = sorted((tmp_path / "folder").iterdir())
    assert len(pictures) == 5
    for picture, pixels in zip(pictures, array, strict=True):
        with Image.open(picture) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels[..., 0])
    assert (tmp_path / "grid.png").stat().st_size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["array.npz", "folder", "grid.png"]


def test_gan_sample_uses_the_best_checkpoint_and_another_seed_draws_others(finished, tmp_path):
    run = only_run(finished[0])
    for name, extra in (("a", []), ("b", ["seed=1"]), ("c", ["checkpoint=best"])):
        assert gan_sample(tmp_path, f"run={run}", f"output={name}.npz", "num=3", *extra).code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz")["arr_0"] for name in "abc")
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, c)  # the only evaluation was at the last iteration


def test_gan_sample_reports_an_output_that_cannot_be_written(finished, tmp_path):
    (tmp_path / "file").touch()
    result = gan_sample(tmp_path, f"run={only_run(finished[0])}", "output=file/grid.png")
    assert result.code == 1
    assert result.err == (
        "output=file/grid.png cannot be written: file is no folder, and cannot be made one.\n"
        "  Choose another path for output.\n"
    )


def test_gan_sample_without_a_run_asks_for_one(tmp_path):
    result = gan_sample(tmp_path)
    assert (result.code, result.err) == (1, "run is required, and has no default.\n  Give it: run=...\n")


def test_gan_sample_names_the_device_by_its_own_key(finished, tmp_path):
    result = gan_sample(tmp_path, f"run={only_run(finished[0])}", "device=tpu")
    assert result.code == 1
    assert result.err == "device is tpu, but must be auto, cpu, mps, cuda or cuda:N.\n  Try device=auto.\n"


# ---- gan-check ----------------------------------------------------------------------------------------------

QUICK_CHECK = [*QUICK[:2], *QUICK[4:], "preflight.seconds=0.01"]


def test_gan_check_traces_shapes_trains_d_and_leaves_only_an_image_of_the_data(tmp_path):
    result = gan_check(tmp_path, *QUICK_CHECK, "optimizer.lr=1e-2")
    assert result.code == 0, result.text
    for said in ("64 images, batch 16x1x28x28, values -1 to 1", "14,944 parameters", "D against untrained G"):
        assert said in result.out
    assert "for 8,000 iterations" in result.out
    assert "Unusual: optimizer.lr is 0.01. Try: optimizer.lr=0.0002." in result.out
    assert "a grid of real images: gan-check.png" in result.out
    assert [path.name for path in tmp_path.iterdir()] == ["gan-check.png"]


def test_gan_check_of_a_sweep_checks_every_job_and_fails_for_the_impossible_one(tmp_path):
    widths = "model.generator.widths=[8,8,4]"
    result = gan_check(
        tmp_path, "-m", *QUICK_CHECK[:2], "model=dcgan", widths, "model.discriminator.widths=[8,8]",
        "preflight.seconds=0.01", "data.image_size=29,28", "optimizer.lr=1e-2",
    )  # fmt: skip
    assert result.code == 1
    verdicts = [line for line in result.out.splitlines() if line.startswith(("ready", "fails"))]
    assert [line[:5] for line in verdicts] == ["fails", "ready"]
    assert "model=dcgan cannot draw 29x29 images" in verdicts[0]
    assert [path.name for path in tmp_path.iterdir()] == ["gan-check.png"]


def test_gan_check_reports_a_d_that_cannot_learn(tmp_path):
    result = gan_check(tmp_path, *QUICK_CHECK, "optimizer.d.lr=0", "preflight.d_updates=20")
    assert result.code == 1
    assert "after 20 updates against the untrained G, but must reach 90%" in result.text


def test_gan_check_trains_both_networks_of_a_schedule_by_rounds(tmp_path):
    result = gan_check(tmp_path, *QUICK_CHECK, "schedule=rounds", "optimizer.lr=1e-2", "trainer.iterations=50")
    assert result.code == 0, result.text
    assert "iteration 1 x D " in result.out
    assert "iteration 1 x G " in result.out


def test_gan_check_runs_the_warm_up_and_what_follows(tmp_path):
    result = gan_check(tmp_path, *QUICK_CHECK, "schedule.d_warmup=5", "optimizer.lr=1e-2")
    assert result.code == 0, result.text
    assert "iteration 1 x D " in result.out
    assert "iteration 1 x D, 1 x G " in result.out


def test_gan_check_runs_a_stretch_on_a_fixed_set(tmp_path):
    rounds = ["schedule=rounds", "schedule.fixed_set=32"]
    result = gan_check(tmp_path, *QUICK_CHECK, *rounds, "optimizer.lr=1e-2", "trainer.iterations=50")
    assert result.code == 0, result.text
    for said in ("iteration 1 x D on a new fixed set ", "iteration 1 x D  ", "iteration 1 x G  "):
        assert said in result.out


def test_gan_check_evaluates_as_a_run_would_before_it_reports_the_memory(tmp_path):
    """An evaluation that fails shows that there was one, besides that of the first look."""
    broken = "evaluation.metrics.diversity._target_=tests.plugins.broken.FailsTheSecondTime"
    with pytest.raises(ValueError, match="measured twice"):
        gan_check(tmp_path, *QUICK_CHECK, broken, "evaluation.num_images=16", "optimizer.lr=1e-2")


def test_gan_check_of_an_existing_run_is_refused(tmp_path):
    result = gan_check(tmp_path, "resume=outputs/date/time")
    assert result.code == 1
    assert "resume is outputs/date/time, but gan-check checks a run before it begins." in result.err


# ---- mistakes -----------------------------------------------------------------------------------------------

MISTAKES = {
    "a seed too large": (
        ["seed=99999999999999999"],
        "seed is 99999999999999999, but must be a whole number, at least 0 and below 4294967296.",
        "Try seed=0",
    ),
    "a misspelt key": (["trainer.epoch=5"], "There is no key trainer.epoch here.", "Did you mean trainer.epochs?"),
    "a misspelt key behind a plus": (
        ["+trainer.epoch=5"],
        "trainer.epoch is 5, but there is no such key: nothing reads it.",
        "Did you mean trainer.epochs?",
    ),
    "an invented key": (["+typo=1"], "typo is 1, but nothing reads it here.", "Leave it out"),
    "an invented group": (["+foo/bar=baz"], "foo/bar is baz, but nothing reads it here.", "Leave it out"),
    "epochs where the iterations are set": (
        ["experiment=smoke", "trainer.epochs=900"],
        "trainer.epochs is 900, but trainer.iterations is 30 and overrides it.",
        "Try trainer.iterations=null trainer.epochs=900, or leave trainer.epochs out.",
    ),
    "a choice that an experiment does not fit": (
        ["experiment=tf_mlp", "loss=hinge"],
        "loss.joined is false, set by a file, but nothing in this choice of loss reads it.",
        "Leave out loss=..., or the experiment that sets it, or add ~loss.joined.",
    ),
    "an unknown choice": (["model=mlpp"], "model is mlpp, but must be dcgan, keras_dcgan", "Try model=mlp."),
    "no choice of a group": (["model=null"], "model is empty, but a group needs one", "Leave model out"),
    "a number for a choice": (
        ["learning_rate=0.001"],
        "learning_rate is 0.001, but must be constant, cosine, linear or time_decay.",
        "Try optimizer.lr=0.001.",
    ),
    "a number for the choice of another group": (
        ["model=3"],
        "model is 3, but must be dcgan, keras_dcgan",
        "Try model=dcgan.",
    ),
    "more pictures than can be compared with each other": (
        ["evaluation.num_images=100000"],
        "evaluation.num_images is 100000, but must be a whole number, at least 2 and at most 50000.",
        "Try evaluation.num_images=1000, which is its default.",
    ),
    "no log": (
        ["hydra/job_logging=disabled"],
        "The log cannot be set up: ",
        "the overrides of hydra",
    ),
    "numbers for a choice": (["model=[1,2]"], "model is [1, 2], but must be dcgan, keras_dcgan", "Try model=dcgan."),
    "a number for a group taken away": (
        ["~latent=1"],
        "~latent removes a required setting.",
        "Leave ~latent=1 out.",
    ),
    "another name of a choice": (["loss=wgan"], "loss is wgan, but must be hinge, ", "Try loss=wasserstein."),
    "a part of another name of a choice": (
        ["penalty=GP"],
        "penalty is GP, but must be ",
        "Try penalty=gradient_penalty.",
    ),
    "a key of other choices": (
        ["data.root=pictures"],
        "There is no key data.root here.",
        "It is a setting of data=cifar10, data=fashion_mnist, data=huggingface, data=idx, data=image_folder",
    ),
    "the end of a key of settings": (
        ["symptoms.collapse=null"],
        "There is no key symptoms.collapse here.",
        "Did you mean health.symptoms.collapse?",
    ),
    "the end of a key": (
        ["symptoms.collapse.diversity=0.2"],
        "There is no key symptoms.collapse.diversity here.",
        "Did you mean health.symptoms.collapse.diversity?",
    ),
    "the end of a key of a part": (
        ["metrics.diversity=null"],
        "There is no key metrics.diversity here.",
        "Did you mean evaluation.metrics.diversity?",
    ),
    "a key without its group": (
        ["lr=1e-3"],
        "There is no key lr here.",
        "Did you mean optimizer.lr, optimizer.d.lr or optimizer.g.lr?",
    ),
    "a misspelt group of a key": (
        ["trainr.epochs=3"],
        "There is no key trainr.epochs here.",
        "Did you mean trainer.epochs?",
    ),
    "a misspelt key of a choice of one's own": (
        ["--config-dir", "own", "loss=mine", "loss.margn=1"],
        "There is no key loss.margn here.",
        "Did you mean loss.margin?",
    ),
    "a file that is no YAML": (
        ["--config-dir", "own", "loss=broken"],
        "A YAML file of the config cannot be read",
        "Correct it",
    ),
    "a file that names no class": (
        ["--config-dir", "own", "loss=nameless"],
        "loss has no _target_, which names the class or function to make it with.",
        "Add a line such as _target_: my_module.MyClass",
    ),
    "no value": (["trainer.epochs"], "trainer.epochs lacks an equals sign", "Try: gan-run trainer.epochs=auto"),
    "a value that cannot be read": (
        ["model.generator.widths=[16"],
        "model.generator.widths is [16, but must be a list, each a whole number",
        "Try 'model.generator.widths=[",
    ),
    "a path of any letters": (
        ["data=image_folder", "data.root=a=b [x], (1)"],
        "data.root is a=b [x], (1), but there is no such folder.",
        "data=digits",
    ),
    "a home that nobody has": (
        ["data=image_folder", "data.root=~nobody-of-this-name/one"],
        "data.root is ~nobody-of-this-name/one, but there is no such folder.",
        "data=digits",
    ),
    "a value that follows no other": (["seed=${trainer.nope}"], "'trainer.nope' not found", "Look for the ${...}"),
    "a batch beyond all memory": (
        ["trainer.batch_size=99999999999999", "data.limit=64"],
        "A batch of 99,999,999,999,999 images",
        "trainer.batch_size=",
    ),
    "a group taken away": (["~penalty"], "~penalty removes a required setting.", "Leave ~penalty out."),
    "an infinite number": (
        ["optimizer.lr=inf"],
        "optimizer.lr is inf, but must be a number",
        "Try optimizer.lr=0.0002",
    ),
    "a folder that is a file": (["hydra.run.dir=file"], "file cannot be used: File exists.", "Give another folder"),
    "an unknown group": (["modle=mlp"], "There is no key modle here.", "Did you mean model?"),
    "a word for a number": (
        ["trainer.epochs=ten"],
        "trainer.epochs is ten, but must be a whole number, at least 1 or auto.",
        "Try trainer.epochs=auto, which is its default.",
    ),
    "a number out of range": (
        ["optimizer.lr=-1"],
        "optimizer.lr is -1, but must be a number, at least 0.",
        "Try optimizer.lr=0.0002, which is its default.",
    ),
    "a fraction for a count": (
        ["trainer.batch_size=1.5"],
        "trainer.batch_size is 1.5, but must be a whole number, at least 1.",
        "Try trainer.batch_size=32",
    ),
    "a word that is none of the choices": (
        ["trainer.precision=fp16"],
        "trainer.precision is fp16, but must be auto, fp32 or bf16.",
        "Try trainer.precision=auto",
    ),
    "an override without effect": (
        ["optimizer=ttur", "optimizer.lr=1e-3"],
        "optimizer.lr is 0.001, but nothing reads it here.",
        "Set optimizer.d.lr and optimizer.g.lr instead",
    ),
    "labels that a loss ignores": (
        ["loss=hinge", "labels=smooth"],
        "labels is smooth, but loss=hinge takes no targets and would ignore them.",
        "Try labels=hard, or loss=nonsaturating",
    ),
    "no GPU": (["trainer.device=cuda:9"], "trainer.device is cuda:9, but PyTorch sees", "Try trainer.device=auto"),
    "no such device": (
        ["trainer.device=tpu"],
        "trainer.device is tpu, but must be auto, cpu, mps, cuda or cuda:N.",
        "Try trainer.device=auto.",
    ),
    "a size that the model cannot draw": (
        ["model=dcgan", "data.image_size=29"],
        "model=dcgan cannot draw 29x29 images: it doubles its size twice, so height and width must be multiples of 4.",
        "data.image_size is 29. Try data.image_size=28 or 32.",
    ),
    "an empty interval": (
        ["latent=uniform", "latent.low=2"],
        "latent.low is 2 and latent.high is 1.0: low must be below high.",
        "Try latent.low=0 or latent.high=3.",
    ),
    "an interval of one number": (
        ["latent=uniform", "latent.low=1"],
        "latent.low is 1 and latent.high is 1.0: low must be below high.",
        "Try latent.low=0 or latent.high=2.",
    ),
    "an empty interval of one of the labels": (
        ["labels=noisy", "labels.real.low=1.5"],
        "labels.real.low is 1.5 and labels.real.high is 1.2: low must be below high.",
        "Try labels.real.low=0.2 or labels.real.high=2.5.",
    ),
    "labels of a G that has none": (
        ["loss=minimax", "labels.generator.value=0.8"],
        "labels.generator.value=0.8 has no effect: in loss=minimax G has no targets of its own",
        "Leave out labels.generator.value=0.8, or try loss=nonsaturating.",
    ),
    "real images that do not make packs": (
        ["game.packing=3", "trainer.batch_size=7", "trainer.g_batch_size=6"],
        "game.packing is 3, the images that D judges at a time, but trainer.batch_size is 7, which is no multiple",
        "Try trainer.batch_size=6 or 9, or game.packing=1.",
    ),
    "generated images that do not make packs": (
        ["game.packing=3", "trainer.batch_size=6", "trainer.g_batch_size=2"],
        "trainer.g_batch_size is 2, which is no multiple of it.",
        "Try trainer.g_batch_size=3 or 6, or game.packing=1.",
    ),
    "dropout of D alone beside a finite difference": (
        ["penalty=finite_difference", "model.discriminator.dropout=0.3"],
        "model.discriminator.dropout is 0.3 and makes them differ by chance.",
        "Try model.discriminator.dropout=0, or penalty=r1.",
    ),
    "a penalty by the name of the loss": (
        ["penalty=several", "+penalty@penalty.parts.adversarial=r1"],
        "penalty.parts has a penalty named adversarial, but that name is reserved.",
        "Give it another",
    ),
    "targets where there are none to draw": (
        ["labels=noisy", "labels.real.std=0.03"],
        "A normal distribution of mean 0 and std 0.03 has nothing between low=0.7 and high=1.2, 23 standard deviations",
        "Try a larger std",
    ),
    "several penalties that are none": (
        ["penalty=several"],
        "penalty is several, but penalty.parts has none.",
        "Try penalty=several +penalty@penalty.parts.r1=r1, or penalty=none.",
    ),
    "a ramp that leads nowhere": (
        ["trainer.ema=null", "trainer.ema_ramp_up=0.5"],
        "trainer.ema_ramp_up is 0.5, but this run has no moving average",
        "Try trainer.ema=0.99 beside it",
    ),
    "no stage": (["model=resnet", "model.blocks=[]"], "model.blocks is []", "Leave model.blocks out."),
    "no convolution": (
        ["model=dcgan", "model.discriminator.widths=[]"],
        "model.discriminator.widths is [], but a dcgan's D needs a convolution.",
        "leave model.discriminator.widths out.",
    ),
    "latents that cannot be shared": (
        ["schedule.same_latents=true", "trainer.g_batch_size=16"],
        "schedule.same_latents is true, but trainer.batch_size is 32 and trainer.g_batch_size is 16",
        "Try trainer.g_batch_size=32",
    ),
    "an objective that is not measured": (
        ["evaluation.objective=fid"],
        "evaluation.objective is fid, but must be one of the metrics: frechet_cnn, precision_cnn, recall_cnn, ",
        "Try evaluation.objective=frechet_cnn.",
    ),
    "a class that does not exist": (
        ["loss._target_=nowhere.Loss"],
        "loss._target_ is nowhere.Loss, but no such class or function can be imported.",
        "Check its spelling",
    ),
    "a value that is missing": (["data=idx"], "data.root is required", "Give it: data.root=..."),
    "data that are not there": (
        ["data=mnist", "data.root=nowhere"],
        "data.root is nowhere, but mnist is in none of: nowhere/MNIST/raw",
        "data=digits, which ships inside the package.",
    ),
    "a folder without pictures": (["data=image_folder", "data.root=empty"], "data.root is empty", "data=digits"),
    "a truncated file": (["data=idx", "data.root=truncated"], "ends after 16 of 3,152 bytes", "data=digits"),
    "a folder that is no run": (
        ["resume=empty"],
        "resume is empty, but that is not the folder of a run: it has no .hydra/config.yaml.",
        "Try resume=outputs/DATE/TIME",
    ),
    "a folder that is not there": (
        ["resume=nowhere"],
        "resume is nowhere, but there is no such folder.",
        "Try resume=",
    ),
    "a launcher that is not installed": (
        ["-m", "hydra/launcher=rq"],
        "hydra/launcher is rq, but must be basic",
        "pip install hydra-rq-launcher.",
    ),
    "a sweeper that is not installed": (
        ["-m", "hydra/sweeper=nevergrad"],
        "hydra/sweeper is nevergrad, but must be basic",
        "pip install hydra-nevergrad-sweeper.",
    ),
    "a folder that is no run, behind two pluses": (
        ["++resume='empty'"],
        "resume is empty, but that is no",
        "Try resume=",
    ),
    "a sweep that resumes": (["-m", "resume=empty"], "resume is for one run, but -m", "Leave out -m, or"),
}


with initialize_config_module("gan_runner.conf", version_base="1.3"):
    COMPOSED = compose("config")
KEYS = {
    *settings(COMPOSED),
    *map(str, COMPOSED),
    "experiment",
    "data.root",
    "resume",
    "hydra/launcher",
    "hydra/sweeper",
}


def suggestions_in(message):
    """Every `key=value` that a message says to type, as it stands there, but for those with DATE and the like."""
    found = re.findall(r"(?:Try|or|beside|add) ('[^'\n]+=[^'\n]*'|[\w@./~+-]+=[^\s']+)", message)
    return [word.rstrip(".,;:?") for word in found if not re.search(r"[A-Z]{3}|\.\.\.", word)]


@pytest.mark.parametrize(("arguments", "problem", "remedy"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gives_one_message_with_key_value_and_suggestion_and_overwrites_nothing(
    tmp_path, arguments, problem, remedy
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    own = tmp_path / "own/loss"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: gan_runner.objectives.losses.NonSaturating\nmargin: 1.0")
    (own / "broken.yaml").write_text("a: [")
    (own / "nameless.yaml").write_text("joined: true")
    (tmp_path / "truncated").mkdir()
    header = struct.pack(">IIII", 0x803, 4, 28, 28)
    (tmp_path / "truncated/train-images-idx3-ubyte").write_bytes(header)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = gan_run(tmp_path, *arguments)
    assert result.code == 1
    assert problem in result.err
    assert remedy in result.err
    assert result.text.count(problem) == 1
    assert len(result.err.splitlines()) <= 4
    for noise in ("Traceback", "Error executing job"):
        assert noise not in result.text
    for suggestion in suggestions_in(result.err):
        (word,) = shlex.split(suggestion)
        assert suggestion == shlex.quote(word)  # fit to be pasted, into zsh too
        key, _, value = typed([word]).overrides[0].partition("=")
        assert reading(value) is not UNREADABLE
        assert key in KEYS or any(key.partition(".")[0] in argument for argument in arguments), suggestion
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.rglob("best.pt"))


@pytest.mark.parametrize("override", ["hydra.run.dir=here", "++hydra.run.dir=here"])
def test_a_run_is_not_overwritten_by_another_with_its_folder(tmp_path, override):
    assert gan_run(tmp_path, *QUICK, "hydra.run.dir=here").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    result = gan_run(tmp_path, *QUICK, override, "seed=1")
    assert result.code == 1
    assert "hydra.run.dir is here, but there is a run already, and runs are not overwritten." in result.text
    assert "Try resume=here to resume it, or another hydra.run.dir." in result.text
    assert before == {path: path.read_bytes() for path in (tmp_path / "here").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "folder"), [([], "hydra.run.dir"), (["-m", "hydra.sweep.subdir=job"], "hydra.sweep.dir")]
)
def test_starts_in_the_same_second_get_different_folders(tmp_path, arguments, folder):
    for _ in range(2):
        result = gan_run(tmp_path, *arguments, *QUICK, folder + "=${new_folder:outputs/date/12-00-00}")
        assert result.code == 0, result.text
    assert [path.name for path in sorted(tmp_path.glob("outputs/date/*"))] == ["12-00-00", "12-00-00-2"]
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_a_summary_is_valid_json_even_if_a_metric_is_nan(tmp_path):
    assert gan_run(tmp_path, *QUICK, "labels.real.value=nan").code == 1

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    run = only_run(tmp_path)
    for text in ((run / "summary.json").read_text(), *(run / "metrics.jsonl").read_text().splitlines()):
        json.loads(text, parse_constant=refuse)
    assert json.loads((run / "summary.json").read_text())["metrics"]["metric/diversity_16"] is None


BROKEN = """
from gan_runner.models import mlp


class Discriminator(mlp.Discriminator):
    def forward(self, images):
        raise ZeroDivisionError("a bug of my own")
"""


def test_a_custom_component_that_fails_leaves_its_traceback_in_the_log(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    result = gan_run(tmp_path, *QUICK, "model.discriminator._target_=broken.Discriminator")
    assert result.code == 1
    log = (only_run(tmp_path) / "gan-run.log").read_text()
    for text in (log, result.text):
        assert "This is a bug, in gan-runner or in a component of your own." in text
        assert 'raise ZeroDivisionError("a bug of my own")' in text
        assert text.count('raise ZeroDivisionError("a bug of my own")') == 1
    assert json.loads((only_run(tmp_path) / "summary.json").read_text())["status"] == "failed"


def test_every_command_has_its_own_help(tmp_path):
    pages = {
        name: command(tmp_path, "--help")
        for name, command in {"gan-run": gan_run, "gan-check": gan_check, "gan-sample": gan_sample}.items()
    }
    for name, page in pages.items():
        assert page.code == 0
        assert page.out.startswith(f"{name}: ")
        assert f"  {name} " in page.out
        assert "Powered by Hydra" not in page.out
    for line in ("model: dcgan, keras_dcgan, keras_mlp, mlp", "gan-run -m key=value1,value2", "gan-run resume=FOLDER"):
        assert line in pages["gan-run"].out
    assert len(pages["gan-run"].out.splitlines()) <= 56
    assert "preflight.seconds" in pages["gan-check"].out
    assert "model: dcgan, keras_dcgan, keras_mlp, mlp" not in pages["gan-sample"].out


def test_help_does_not_import_torch(tmp_path):
    code = "import sys; sys.argv[1:] = ['--help']; from gan_runner.commands.main import run; run()"
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); {code}"
    result = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "False"
