"""gan-eval: a table, JSON, and a picture, with real ones and noise beside; of a run, or of any program's pictures."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gan_runner.commands import main
from gan_runner.data import digits
from gan_runner.detection import detectors
from gan_runner.metrics import features
from gan_runner.metrics.feature_metrics import FAST
from gan_runner.runs import judging
from gan_runner.training.sampler import STATISTICS_OF
from tests.command_line import QUICK, call, gan_run

SMALL = ["num=120", "real=200"]


def gan_eval(folder, *arguments):
    return call(main.evaluate, folder, *arguments)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("GAN_CACHE", str(cache))
    monkeypatch.setattr(features, "_MOST_SHOWN", 2_000)  # what has to be learned need not be learned well


def test_a_run_is_evaluated_beside_real_images_and_noise(tmp_path):
    assert gan_run(tmp_path, *QUICK, "data.limit=600", "hydra.run.dir=run").code == 0
    result = gan_eval(tmp_path, "run=run", "checkpoint=last", *SMALL)
    assert result.code == 0, result.text
    found = json.loads((tmp_path / "run/evaluation-last.json").read_text())
    name = "frechet_cnn_120"
    assert found["real"][name] < found["metrics"][name]
    assert found["better"][name] == "lower"
    assert (found["fingerprint"]["checkpoint"], found["iteration"]) == ("last", 4)
    assert "fingerprint: data=digits-" in result.out
    assert found["fingerprint"]["average"] is True
    for word in (name, "real", "noise", "coverage_cnn_120"):
        assert word in result.out
    with Image.open(tmp_path / "run/evaluation-last.png") as picture:
        assert picture.width > 100


def test_images_of_any_program_are_evaluated_alike(tmp_path):
    images = digits.load(image_size=28, limit=120).images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "real.npz", images)
    np.savez(tmp_path / "noise.npz", np.random.default_rng(0).integers(0, 256, images.shape, np.uint8))
    scores = {}
    for name in ("real", "noise"):
        result = gan_eval(tmp_path, f"samples={name}.npz", "data=digits", f"output={name}", *SMALL)
        assert result.code == 0, result.text
        scores[name] = json.loads((tmp_path / f"{name}.json").read_text())["metrics"]
    assert scores["real"]["frechet_cnn_120"] < 0.2 * scores["noise"]["frechet_cnn_120"]
    assert scores["real"]["memorised_cnn_120"] > 0.9  # they are training pictures


def test_a_network_measures_how_often_it_tells_them_from_real_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "MOST_SHOWN", 1000)
    monkeypatch.setattr(detectors, "_FEWEST_SHOWN", 1000)
    images = digits.load(image_size=28, limit=240).images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "noise.npz", np.random.default_rng(0).integers(0, 256, images.shape, np.uint8))
    words = ["samples=noise.npz", "data=digits", "detector=true", "metrics.numbers=frechet", *SMALL]
    result = gan_eval(tmp_path, *words)
    assert result.code == 0, result.text
    found = json.loads((tmp_path / "evaluation.json").read_text())["told_from_real"]
    assert found["count"] == 60
    assert found["accuracy"] > 0.9
    assert f"told from real {found['accuracy']:.1%} of the time by a network" in result.out


def test_several_runs_are_reported_one_by_one_and_then_together(tmp_path):
    for name, seed in (("a", 0), ("b,c", 1)):
        assert gan_run(tmp_path, *QUICK, "data.limit=600", f"seed={seed}", f"hydra.run.dir='{name}'").code == 0
    assert gan_run(tmp_path, *QUICK, "data.limit=300", "hydra.run.dir=less").code == 0
    result = gan_eval(tmp_path, "run=[a,b,c,less]", "metrics.numbers=[frechet,coverage]", *SMALL)
    assert result.code == 0, result.text
    together = result.out.splitlines()[result.out.splitlines().index("") + 1 :]
    assert together[0].split() == ["metric", "a", "b,c", "real", "noise", "better"]
    found = {name: json.loads((tmp_path / name / "evaluation-best.json").read_text()) for name in ("a", "b,c", "less")}
    for name in ("a", "b,c"):
        assert f"{found[name]['metrics']['frechet_cnn_120']:.4g}" in together[1].split()
    assert together[-1].startswith("less is not compared with a: data is digits-")


def test_every_metric_of_the_default_data_has_the_value_of_real_images_beside_it(tmp_path):
    assert gan_run(tmp_path, *QUICK, "hydra.run.dir=run").code == 0
    assert gan_eval(tmp_path, "run=run", "num=120", "metrics.numbers=[frechet,coverage]").code == 0
    found = json.loads((tmp_path / "run/evaluation-best.json").read_text())
    assert all(value is not None for value in found["real"].values())


def test_held_out_images_are_compared_with_for_any_chosen_metrics(tmp_path):
    assert gan_run(tmp_path, *QUICK, "data.limit=600", "data.holdout=0.2", "hydra.run.dir=run").code == 0
    assert gan_eval(tmp_path, "run=run", "metrics.numbers=frechet", *SMALL).code == 0
    found = json.loads((tmp_path / "run/evaluation-best.json").read_text())
    assert (found["real_of"], found["real_count"]) == ("test", 120)


def test_an_evaluation_is_named_as_it_was_requested(tmp_path):
    images = digits.load(image_size=28, limit=120).images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "real.npz", images)
    for name in ("eval.v2", "eval.v3"):
        asked = [f"output={name}", "metrics.numbers=[frechet,frechet]"]
        assert gan_eval(tmp_path, "samples=real.npz", "data=digits", *asked, *SMALL).code == 0
    assert {path.name for path in tmp_path.glob("eval*")} == {
        f"eval.v{n}.{end}" for n in (2, 3) for end in ("json", "png")
    }


def test_the_data_of_a_run_from_another_folder_are_found(tmp_path):
    (tmp_path / "there/pictures").mkdir(parents=True)
    for number, pixels in enumerate(digits.load(image_size=28, limit=40).images):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / f"there/pictures/{number:02}.png")
    data = ["data=image_folder", "data.root=pictures", "data.image_size=28", "evaluation=pixels"]
    assert gan_run(tmp_path / "there", *QUICK, *data, "hydra.run.dir=run").code == 0
    result = gan_eval(tmp_path, "run=there/run", "num=40", "metrics.numbers=[frechet]")
    assert result.code == 0, result.text
    (tmp_path / "there/pictures").rename(tmp_path / "moved")
    result = gan_eval(tmp_path, "run=there/run", "num=40", "metrics.numbers=[frechet]")
    assert result.code == 1
    assert "the images that it was trained on are not available" in result.err
    assert "samples=PATH data=NAME" in result.err


def test_evaluated_images_are_never_held_out_themselves(tmp_path):
    images = digits.load(image_size=28, limit=120).images.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "real.npz", images)
    asked = ["data=digits", "data.holdout=0.5", "data.split=test", "output=found"]
    assert gan_eval(tmp_path, "samples=real.npz", *asked, *SMALL).code == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["fingerprint"]["split"], found["real_of"]) == ("test", "train")
    assert "copying_z_cnn_120" not in found["metrics"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [("num=3", "evaluation.at_end.num is 3"), ("metrics.numbers=[modes]", "numbers holds modes")],
)
def test_missing_requirements_of_a_final_evaluation_are_reported_before_training(tmp_path, wrong, problem):
    result = gan_run(tmp_path, *QUICK, "evaluation=full", f"evaluation.at_end.{wrong}", "hydra.run.dir=run")
    assert result.code == 1
    assert result.err.startswith(problem)
    assert "epoch" not in result.out


def test_a_run_with_nothing_left_to_do_is_not_evaluated_again(tmp_path):
    assert gan_run(tmp_path, *QUICK, "hydra.run.dir=run").code == 0
    assert "Nothing is left to do" in gan_run(tmp_path, "resume=run", "evaluation=full").text
    assert not list((tmp_path / "run").glob("evaluation-*"))


def test_the_best_is_that_of_the_branch_that_the_run_has_taken(tmp_path):
    often = ["trainer.intervals_in=iterations", "trainer.checkpoint_every=2", "trainer.keep=all", "evaluation.every=2"]
    later = ["trainer.iterations=12", "evaluation.objective=diversity", "evaluation.goal=higher", "optimizer.lr=1e-2"]
    assert gan_run(tmp_path, *QUICK, *often, *later, "trainer.ema=null", "hydra.run.dir=run").code == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["best"]["iteration"] > 6
    # Nothing better comes this time.
    result = gan_run(tmp_path, "resume=run", "resume_from=4", "trainer.iterations=6", "optimizer.lr=0")
    assert result.code == 0, result.text
    best = json.loads((tmp_path / "run/summary.json").read_text())["best"]
    assert gan_eval(tmp_path, "run=run", "checkpoint=best", "metrics.numbers=frechet", *SMALL).code == 0
    assert json.loads((tmp_path / "run/evaluation-best.json").read_text())["iteration"] == best["iteration"] <= 4


def test_a_run_that_ended_before_its_first_evaluation_is_evaluated_at_its_last_checkpoint(tmp_path):
    unmeasured = [word for word in QUICK if not word.startswith("evaluation.")]
    assert gan_run(tmp_path, *unmeasured, "evaluation=off", "hydra.run.dir=run").code == 0
    result = gan_eval(tmp_path, "run=run", "metrics.numbers=frechet", *SMALL)
    assert result.code == 0, result.text
    assert "run has no best checkpoint" in result.text
    found = json.loads((tmp_path / "run/evaluation-last.json").read_text())
    assert (found["iteration"], found["fingerprint"]["checkpoint"]) == (4, "last")


def test_a_checkpoint_whose_average_has_gs_statistics_draws_with_its_own(tmp_path):
    """As those of earlier versions have; a new one holds them already."""
    small = ["model=dcgan", "model.generator.widths=[8,6,4]", "model.discriminator.widths=[4,6]", "evaluation=pixels"]
    assert gan_run(tmp_path, *QUICK, *small, "hydra.run.dir=run").code == 0
    last = tmp_path / "run/checkpoints/last.pt"
    drawn = []
    for name in ("new", "old"):
        assert call(main.sample, tmp_path, "run=run", "num=9", f"output={name}.npz").code == 0
        drawn.append(np.load(tmp_path / f"{name}.npz")["arr_0"])
        state = torch.load(last)
        players = state["players"]
        assert players["averaging"].pop("statistics_of", None) == (STATISTICS_OF if name == "new" else None)
        copied = {key: value for key, value in players["generator"]["net"].items() if "running" in key}
        assert copied
        players["average"].update(copied)
        torch.save(state, last)
    assert np.array_equal(*drawn)


def test_a_run_reports_the_value_of_as_many_real_images(tmp_path):
    result = gan_run(tmp_path, *QUICK, "data.holdout=0.2", "hydra.run.dir=run")
    assert result.code == 0, result.text
    real = json.loads((tmp_path / "run/summary.json").read_text())["real"]
    assert (real["count"], real["of"]) == (16, "test")
    value = real["metrics"]["metric/frechet_cnn_16"]
    assert f"real images {value:.3g} (16 held out), noise " in result.out


WRONG = {
    "no run at all": (["run=[]"], "run is [], but must name a run.", "run=A,B"),
    "data beside a run": (["run=a", "data=mnist"], "data=mnist is given together with run=a", "Leave data=mnist out"),
    "no numbers": (["samples=small.npz", "metrics.numbers=[]"], "numbers is [], but must hold one.", "numbers=full"),
    "no folder for it": (["samples=small.npz", "output=no/where"], "there is no folder no.", "mkdir -p no"),
    "nothing to look at": ([], "needs a run or samples", "run=outputs/DATE/TIME"),
    "both": (["run=a", "samples=b"], "needs a run or samples", "samples=PATH"),
    "no such run": (["run=nowhere"], "there is no such folder", "run=outputs/DATE/TIME"),
    "no such samples": (["samples=nowhere.npz"], "samples is nowhere.npz", ""),
    "another size": (["samples=small.npz"], "samples is small.npz", ""),
    "too few": (["samples=few.npz"], "3 images", "Draw more"),
    "a misspelt key": (["nm=3"], "There is no key nm here", "num"),
}


@pytest.mark.parametrize(("arguments", "problem", "remedy"), WRONG.values(), ids=WRONG)
def test_a_mistake_gives_one_message(tmp_path, arguments, problem, remedy):
    np.savez(tmp_path / "small.npz", np.zeros((200, 14, 14, 1), np.uint8))
    np.savez(tmp_path / "few.npz", np.full((3, 28, 28, 1), 200, np.uint8))
    result = gan_eval(tmp_path, *arguments)
    assert result.code == 1
    assert problem in result.err
    assert remedy in result.err
    assert "Traceback" not in result.text


def test_a_fast_evaluation_has_the_metrics_that_a_run_measures(tmp_path):
    assert gan_run(tmp_path, *QUICK, "data.limit=600", "hydra.run.dir=run").code == 0
    assert gan_eval(tmp_path, "run=run", "evaluation=fast", *SMALL).code == 0
    found = json.loads((tmp_path / "run/evaluation-best.json").read_text())
    assert set(found["metrics"]) == {f"{number}_cnn_120" for number in FAST}


def test_a_full_evaluation_ends_a_run_with_what_gan_eval_reports_for_its_checkpoints(tmp_path):
    few = ["evaluation.at_end.num=120", "evaluation.at_end.real=200"]
    result = gan_run(tmp_path, *QUICK, "data.limit=600", "evaluation=full", *few, "hydra.run.dir=run")
    assert result.code == 0, result.text
    assert "run, the best checkpoint\n" in result.out
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert gan_eval(tmp_path, "run=run", "checkpoint=last", "output=again", *SMALL).code == 0
    ended, again = (
        json.loads((tmp_path / "run" / f"{name}.json").read_text()) for name in ("evaluation-last", "again")
    )
    assert ended == again
    assert summary["at_end"]["last"] == again["metrics"]
    assert summary["at_end"].keys() == {"best", "last"}
    assert (tmp_path / "run/evaluation-best.png").is_file()


def test_a_run_ends_when_its_objective_has_not_improved_for_the_allowed_number_of_evaluations(tmp_path):
    never_better = ["evaluation.objective=diversity", "evaluation.goal=lower", "optimizer.lr=1e-2"]
    often = ["trainer.intervals_in=iterations", "evaluation.every=1", "trainer.iterations=200"]
    result = gan_run(tmp_path, *QUICK, *often, *never_better, "evaluation.stop_after=3", "hydra.run.dir=run")
    assert result.code == 0, result.text
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["iterations"] == summary["best"]["iteration"] + 3 < 200
    assert f"Ended at iteration {summary['iterations']}: metric/diversity_16 has not improved for 3 evaluations" in (
        result.out
    )
    again = gan_run(tmp_path, "resume=run")
    assert "Nothing is left to do" in again.text
    assert "evaluation.stop_after=null" in again.text


def test_too_few_images_for_features_are_reported_before_training(tmp_path):
    result = gan_run(tmp_path, *QUICK, "evaluation.num_images=4")
    assert result.code == 1
    assert result.err.splitlines()[0] == (
        "evaluation.num_images is 4, but evaluation.metrics.features needs at least 6 images."
    )


def test_modes_of_a_run_on_stacked_images_are_counted(tmp_path):
    small = ["data.count=9000", "trainer.batch_size=8", "trainer.iterations=2", "evaluation=off"]
    model = ["model=dcgan", "model.generator.widths=[8,8,8,4]", "model.discriminator.widths=[4,8,8,8]"]
    gan_run(tmp_path, "data=stacked", *model, *small, "hydra.run.dir=stacks")
    result = gan_eval(
        tmp_path, "run=stacks", "checkpoint=last", "num=300", "real=200", "metrics.numbers=[modes,modes_kl]"
    )
    assert result.code == 0, result.text
    found = json.loads((tmp_path / "stacks/evaluation-last.json").read_text())
    real, drawn = found["real"], found["metrics"]
    assert real["modes_cnn_300"] > 100 > drawn["modes_cnn_300"] >= 1
    assert real["modes_kl_cnn_300"] < drawn["modes_kl_cnn_300"]
