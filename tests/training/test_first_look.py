"""A part of the user's own that breaks its contract is told so by name before anything is trained."""

import copy

import pytest
import torch
from omegaconf import OmegaConf, open_dict

from gan_runner.config.build import build
from gan_runner.errors import UserError
from gan_runner.training.first_look import first_look
from tests.command_line import QUICK, gan_check, gan_run

HERE = "tests.plugins.broken"
SMALL = ["trainer.batch_size=4", "trainer.device=cpu", "evaluation.num_images=8", "data.limit=20"]


def part(name, **settings):
    return {"_target_": f"{HERE}.{name}", **settings}


def model(g="none", d="none"):
    return {
        "latent_dim": 5,
        "generator": part("Generator", latent_dim=5, fault=g),
        "discriminator": part("Discriminator", fault=d),
    }


def metric(name):
    return {
        "_target_": "gan_runner.metrics.evaluation.Evaluation",
        **{"every": 1, "num_images": 8, "objective": "mine", "goal": "lower"},
        "metrics": {"my_metric": part(name)},
    }


def feeding(name):
    return {**part(name), "resident": "auto", "replacement": False, "workers": 0}


BROKEN = {
    "a loss of one number an image": ("loss", part("OneAnImage"), "loss (", "tensor of shape [4] from d", ".mean()"),
    "a loss of nothing": ("loss", part("Nothing"), "loss (", "None from g", ".mean()"),
    "a loss that left the tensors": ("loss", part("PlainNumber"), "loss (", "a float from d", ".mean()"),
    "a loss cut off from G": ("loss", part("Detached"), "loss (", "none of G's weights", "detach()"),
    "a penalty of one number an image": ("penalty", part("Penalty"), "penalty (", "tensor of shape [4]", ".mean()"),
    "a lazy penalty of one an image": ("penalty", part("LazyPenalty"), "penalty (", "tensor of shape [4]", ".mean()"),
    "a loss with a method missing": ("loss", part("WithoutG"), "loss is", "has no g;", "AdversarialLoss"),
    "a loss without a value for a setting": ("loss", part("AsksForMore"), "AsksForMore", "margin", "YAML"),
    "images of another size": ("model", model(g="smaller"), "model.generator (", "[4, 1, 8, 8]", "[4, 1, 28, 28]"),
    "images without rows": ("model", model(g="flat"), "model.generator (", "[4, 784]", "image_shape"),
    "pictures beyond [-1, 1]": ("model", model(g="no tanh"), "model.generator (", "must lie in [-1, 1]", "tanh"),
    "no pictures": ("model", model(g="nothing"), "model.generator (", "None", "image_shape"),
    "pictures of bytes": ("model", model(g="bytes"), "model.generator (", "uint8", "floats"),
    "logits in a column": ("model", model(d="column"), "model.discriminator (", "8x1 for 8 images", "[B]"),
    "weights that do nothing": ("model", model(d="unused"), "model.discriminator (", "forgotten.weight", "forward"),
    "no network": ("model.generator", part("no_network"), "model.generator (", "3, a int", "torch.nn.Module"),
    "images of floats": ("data", feeding("floats"), "data (", "a float32 tensor", "torch.uint8"),
    "images of two channels": ("data", feeding("two_channels"), "data (", "[2, 28, 28]", "[N, C, H, W]"),
    "fewer labels than images": ("data", feeding("too_few_labels"), "data (", "an int64 tensor of shape [3]", "[20]"),
    "fewer classes than labels": ("data", feeding("too_few_classes"), "data (", "for 1 classes", "`classes`"),
    "images that are a tensor": ("data", feeding("bare_tensor"), "data is torch.Tensor", "fingerprint", "ImageSet"),
    "a metric without a dict": ("evaluation", metric("NoDict"), "evaluation.metrics.my_metric (", "1.0", "dict"),
    "a metric with another name": (
        "evaluation",
        metric("OtherName"),
        "evaluation.metrics.my_metric (",
        "yours",
        "mine",
    ),
    "a metric of tensors": ("evaluation", metric("TensorInside"), "evaluation.metrics.my_metric (", "tensor", "float("),
    "no statistics": ("evaluation", metric("NoStatistics"), "evaluation.metrics.my_metric (", "None", "{}"),
    "a metric without names": (
        "evaluation",
        metric("WithoutNames"),
        "evaluation.metrics.my_metric is",
        "names",
        "Metric",
    ),
    "a schedule without turns": ("schedule", part("Schedule"), "schedule (", "'D, then G'", "Turn("),
    "a schedule without a state": ("schedule", part("OnlyTurns"), "schedule is", "state_dict", "Schedule"),
    "a game without an outcome": ("game", part("NoOutcome"), "game (", "d_terms", "gan_runner.Game"),
    "a game without a batch": ("game", part("NoBatch"), "game (", "generate", "gan_runner.Game"),
    "a game that measures plain numbers": ("game", part("MeasuresNumbers"), "game (", "mine as 1.0", "gan_runner.Game"),
}


def config_with(compose_config, key, node, *overrides):
    config = compose_config(*SMALL, "penalty=none", *overrides)  # r1 reads from a model's node, which is replaced
    OmegaConf.set_readonly(config, False)
    with open_dict(config):
        OmegaConf.update(config, key, node, merge=False)
    return config


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_component_is_reported_with_key_class_rule_and_suggestion(compose_config, fault):
    key, node, told_of, said, helps = BROKEN[fault]
    with pytest.raises(UserError) as caught:
        first_look(build(config_with(compose_config, key, node)))
    assert caught.value.problem.startswith(told_of) or told_of in caught.value.problem
    assert HERE in caught.value.problem or "torch.Tensor" in caught.value.problem
    assert said in caught.value.problem
    assert helps in str(caught.value)


def test_an_error_in_a_custom_component_keeps_its_traceback_and_says_whose_it_is(compose_config):
    experiment = build(config_with(compose_config, "loss", part("Raises")))
    with pytest.raises(ValueError, match="something of mine") as caught:
        first_look(experiment)
    assert caught.value.__notes__ == [f"This is loss ({HERE}.Raises), tried out on a first batch."]
    assert caught.traceback[-1].path.name == "broken.py"


def test_components_that_keep_their_contracts_are_accepted(compose_config):
    config = config_with(compose_config, "loss", part("Loss"))
    with open_dict(config):
        config.model = model()
        config.evaluation = metric("Metric")
    first_look(build(config))


def state_of(experiment):
    parts = (experiment.players, experiment.step, experiment.schedule, experiment.game)
    return copy.deepcopy([part.state_dict() for part in parts])


def flat(value):
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in flat(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in flat(inner)]
    return [value]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=dcgan", "penalty=r1", "penalty.interval=4"],
        ["labels=noisy", "schedule=rounds"],
        ["loss=relativistic"],
        ["augment=ada", "augment.p=0.5"],
    ],
)
def test_the_first_look_changes_nothing(compose_config, overrides):
    experiment = build(compose_config(*SMALL, "trainer.precision=fp32", *overrides))
    torch.rand(3)
    before, numbers = state_of(experiment), torch.get_rng_state()
    first_look(experiment)
    assert torch.equal(torch.get_rng_state(), numbers)
    for old, new in zip(flat(before), flat(state_of(experiment)), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
    for player in experiment.players.by_letter().values():
        assert all(parameter.grad is None and parameter.requires_grad for parameter in player.net.parameters())


@pytest.mark.parametrize("command", [gan_run, gan_check])
def test_the_commands_run_the_first_look_before_anything_is_trained(tmp_path, command):
    (tmp_path / "conf/loss").mkdir(parents=True)
    (tmp_path / "conf/loss/mine.yaml").write_text(f"# one an image\n_target_: {HERE}.OneAnImage\n")
    result = command(tmp_path, "--config-dir", "conf", "loss=mine", *QUICK)
    assert result.code == 1
    assert f"loss ({HERE}.OneAnImage) gives a float32 tensor of shape [16] from d" in result.text
    assert "Traceback" not in result.text
    assert not list(tmp_path.glob("outputs/*/*/checkpoints"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss._target_=null", "loss._target_ is null, but must name a class or function"),
        ("loss._target_=3", "loss._target_ is 3, but must name a class or function"),
        ("loss._target_=os.path", "loss._target_ is os.path, but that is not a class or function"),
        ("evaluation.metrics.diversity=5", "To leave it out, type ~evaluation.metrics.diversity."),
        ("health.symptoms.collapse=5", "To leave it out, type ~health.symptoms.collapse."),
        ("latent.dim=50", "model.generator (gan_runner.models.mlp.Generator) fails on a first batch"),
    ],
)
def test_a_setting_that_builds_no_component_is_explained(tmp_path, override, said):
    result = gan_run(tmp_path, *QUICK, override)
    assert result.code == 1
    assert said in result.text
    assert "Traceback" not in result.text


def test_a_batch_of_one_image_that_batch_norm_cannot_take_is_explained(compose_config):
    experiment = build(compose_config(*SMALL, "model=dcgan", "trainer.batch_size=1"))
    with pytest.raises(UserError, match=r"model.generator \(gan_runner.models.dcgan.Generator\) fails .* 1 value"):
        first_look(experiment)
