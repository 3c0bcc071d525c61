"""Each published recipe, held to the facts of its publication, to closed forms, and to float64 arithmetic by hand."""

import functools
import math
import re
from importlib import resources

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional

from gan_runner.config.build import build
from gan_runner.data import IndexSampler
from gan_runner.optim.adam import Adam
from gan_runner.training.progress import Progress, Timetable
from gan_runner.training.schedules import EpochLength

REPLACING = ["keras_mlp", "keras_dcgan", "minimax", "nonsaturating"]
RECIPES = ["keras_mlp", "tf_mlp", "keras_dcgan", "rounds", "minimax", "nonsaturating"]
WITH_KERAS_MLPS_PLAYERS = ["keras_mlp", "rounds", "minimax", "nonsaturating"]
ON_CPU = ("trainer.device=cpu", "trainer.precision=fp32")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Batches this small gain nothing from more, and lose much where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def composed(name, *overrides):
    with initialize_config_module("gan_runner.conf", version_base="1.3"):
        config = compose("config", overrides=[f"experiment={name}", *overrides])
    OmegaConf.set_readonly(config, True)
    return config


def built(name, *overrides):
    return build(composed(name, *ON_CPU, *overrides))


@functools.cache
def as_built(name):
    """The recipe as built, for tests that only look."""
    return built(name)


def header(name):
    text = resources.files("gan_runner.conf").joinpath("experiment", f"{name}.yaml").read_text()
    return text.splitlines()


# ---- composition ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RECIPES, "smoke"])
def test_a_recipe_begins_with_the_command_that_runs_it(name):
    package, command, *_ = header(name)
    assert package == "# @package _global_"
    found = re.fullmatch(r"# gan-run experiment=(\w+)(.*)", command)
    assert found[1] == name
    assert composed(name, *found[2].split())


@pytest.mark.parametrize("name", [*RECIPES, "smoke"])
def test_overrides_win_over_the_recipe(name):
    overrides = ("data=fashion_mnist", "trainer.iterations=200", "model.dropout=0.1")
    config, plain = composed(name, *overrides), composed(name)
    assert config.data._target_ == "gan_runner.data.fashion_mnist.load"
    assert config.trainer.iterations == 200
    assert config.model.discriminator.dropout == 0.1
    for group in ("optimizer", "learning_rate", "labels", "latent", "loss", "schedule"):
        assert config[group] == plain[group], group
    assert config.data.replacement == plain.data.replacement
    assert config.trainer.sample_every == plain.trainer.sample_every


@pytest.mark.parametrize("name", RECIPES)
def test_a_group_on_the_command_line_replaces_the_recipes_option_as_a_whole(name):
    choices = ("model=dcgan", "labels=hard", "latent=uniform", "optimizer=ttur", "evaluation=off")
    mixed, plain = composed(name, *choices), composed("smoke", *choices)
    for group in ("model", "labels", "latent", "evaluation"):
        assert mixed[group] == plain[group], group
    # ttur sets the two rates, and what it leaves open stays the recipe's.
    assert (mixed.optimizer.d.lr, mixed.optimizer.g.lr) == (4e-4, 1e-4)
    assert mixed.optimizer.d.eps == composed(name).optimizer.eps


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_adds_settings_that_its_publication_does_not_have(name):
    config = composed(name)
    assert config.data._target_ == "gan_runner.data.digits.load"  # the data set stays the user's to choose
    assert config.trainer.ema is None
    assert not config.penalty
    assert config.labels.flip == 0
    assert config.optimizer.weight_decay == 0


# ---- players --------------------------------------------------------------------------------------------

GLOROT, NORMAL_002, TRUNCATED_01 = "glorot", "normal 0.02", "truncated normal 0.1"

# By layer with weights: its weight's shape, its parameters with biases (worked out by hand), and how it begins.
MLP_GENERATOR = [
    ((256, 100), 25_856, NORMAL_002),
    ((512, 256), 131_584, GLOROT),
    ((1024, 512), 525_312, GLOROT),
    ((784, 1024), 803_600, GLOROT),
]
MLP_DISCRIMINATOR = [
    ((1024, 784), 803_840, NORMAL_002),
    ((512, 1024), 524_800, GLOROT),
    ((256, 512), 131_328, GLOROT),
    ((1, 256), 257, GLOROT),
]
RELU_GENERATOR = [
    ((256, 128), 33_024, TRUNCATED_01),
    ((512, 256), 131_584, TRUNCATED_01),
    ((784, 512), 402_192, TRUNCATED_01),
]
RELU_DISCRIMINATOR = [
    ((512, 784), 401_920, TRUNCATED_01),
    ((256, 512), 131_328, TRUNCATED_01),
    ((1, 256), 257, TRUNCATED_01),
]
DCGAN_GENERATOR = [
    ((12_544, 100), 1_266_944, GLOROT),
    ((256, 128, 3, 3), 295_040, GLOROT),
    ((128, 64, 3, 3), 73_792, GLOROT),
    ((64, 32, 3, 3), 18_464, GLOROT),
    ((32, 1, 3, 3), 289, GLOROT),
]
DCGAN_DISCRIMINATOR = [
    ((64, 1, 3, 3), 640, GLOROT),
    ((128, 64, 3, 3), 73_856, GLOROT),
    ((256, 128, 3, 3), 295_168, GLOROT),
    ((512, 256, 3, 3), 1_180_160, GLOROT),
    ((1, 8_192), 8_193, GLOROT),
]
PLAYERS = dict.fromkeys(WITH_KERAS_MLPS_PLAYERS, (MLP_GENERATOR, MLP_DISCRIMINATOR)) | {
    "tf_mlp": (RELU_GENERATOR, RELU_DISCRIMINATOR),
    "keras_dcgan": (DCGAN_GENERATOR, DCGAN_DISCRIMINATOR),
}


def weighted(net):
    return [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]


def check_beginning(weight, how):
    """Mean, spread and bounds of a layer's first weights, each as far from its closed form as chance allows."""
    w = weight.detach().double()
    if how == GLOROT:
        area = math.prod(weight.shape[2:])
        limit = math.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
        sd = limit / math.sqrt(3)
    elif how == TRUNCATED_01:
        limit = 0.2
        sd = 0.1 * 0.8796256610  # sqrt(1 - 4 phi(2) / (2 Phi(2) - 1))
    else:
        limit, sd = 0.02 * 6, 0.02
    assert w.abs().max() <= limit
    assert abs(w.mean()) < 5 * sd / math.sqrt(w.numel())
    assert w.square().mean().sqrt() == pytest.approx(sd, rel=3.5 / math.sqrt(w.numel()))
    if how == NORMAL_002:
        assert w.abs().max() > 0.02 * 3.5  # a normal has tails
    else:
        assert w.abs().max() > limit * (1 - 10 / w.numel())


@pytest.mark.parametrize("name", RECIPES)
def test_networks_have_the_published_layers_and_initial_weights(name):
    experiment = as_built(name)
    players = (experiment.players.generator, experiment.players.discriminator)
    for player, expected in zip(players, PLAYERS[name], strict=True):
        layers = weighted(player.net)
        assert [tuple(layer.weight.shape) for layer in layers] == [shape for shape, _, _ in expected]
        assert [layer.weight.numel() + layer.bias.numel() for layer in layers] == [count for _, count, _ in expected]
        for layer, (_, _, how) in zip(layers, expected, strict=True):
            check_beginning(layer.weight, how)
            assert not layer.bias.any()
        norms = [m for m in player.net.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        in_all = sum(parameter.numel() for parameter in player.net.parameters())
        assert in_all == sum(count for _, count, _ in expected) + sum(2 * norm.num_features for norm in norms)


@pytest.mark.parametrize(
    ("name", "activation", "dropout", "hidden"),
    [(name, nn.LeakyReLU, 0.3, 3) for name in WITH_KERAS_MLPS_PLAYERS] + [("tf_mlp", nn.ReLU, 0.3, 2)],
)
def test_mlps_have_the_published_activations_and_dropout(name, activation, dropout, hidden):
    experiment = as_built(name)
    net, judging = experiment.players.generator.net, list(experiment.players.discriminator.net.layers)
    drawing = [*net.layers, *net.output]
    assert [type(m) for m in drawing] == [nn.Linear, activation] * hidden + [nn.Linear, nn.Tanh]
    assert [type(m).__name__ for m in judging] == (
        ["Flatten", *["Linear", activation.__name__, "Dropout"] * hidden, "Linear"]
    )
    if activation is nn.LeakyReLU:
        assert {m.negative_slope for m in drawing + judging if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert [m.p for m in judging if type(m).__name__ == "Dropout"] == [dropout] * hidden


def shapes_through(net, example):
    """The output shape of every layer with weights, without the batch."""
    shapes = []
    hooks = [layer.register_forward_hook(lambda *io: shapes.append(tuple(io[2].shape[1:]))) for layer in weighted(net)]
    with torch.no_grad():
        net(example)
    for hook in hooks:
        hook.remove()
    return shapes


def test_the_dcgan_has_the_published_shapes_norms_activations_and_dropout():
    experiment = built("keras_dcgan")
    drawing, judging = experiment.players.generator.net, experiment.players.discriminator.net
    assert shapes_through(drawing, torch.randn(2, 100)) == [
        (256 * 7 * 7,),
        (128, 14, 14),
        (64, 28, 28),
        (32, 28, 28),
        (1, 28, 28),
    ]
    assert shapes_through(judging, torch.randn(2, 1, 28, 28)) == [
        (64, 14, 14),
        (128, 7, 7),
        (256, 4, 4),
        (512, 4, 4),
        (1,),
    ]
    block = ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    assert [type(m).__name__ for m in drawing.dense] == ["Linear", "BatchNorm1d", "ReLU"]
    assert [type(m).__name__ for m in drawing.layers] == block * 3 + ["ConvTranspose2d", "Tanh"]
    norms = [m for m in drawing.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == [12_544, 128, 64, 32]
    # Keras: running = 0.9 * running + 0.1 * batch, and 0.001 under the root.
    assert {(m.momentum, m.eps) for m in norms} == {(0.1, 1e-3)}
    assert all(bool((m.weight == 1).all()) and not m.bias.any() for m in norms)
    assert [type(m).__name__ for m in judging.layers] == (
        ["Conv2d", "LeakyReLU", "Dropout"] * 4 + ["Flatten", "Linear"]
    )
    assert {m.negative_slope for m in judging.layers if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert [m.p for m in judging.layers if type(m).__name__ == "Dropout"] == [0.4] * 4


# ---- optimizers -----------------------------------------------------------------------------------------

ADAM = dict.fromkeys(RECIPES, (2e-4, (0.5, 0.999), 1e-7)) | {"tf_mlp": (1e-4, (0.9, 0.999), 1e-8)}


@pytest.mark.parametrize("name", RECIPES)
def test_both_networks_have_the_published_adam(name):
    experiment = as_built(name)
    for player in (experiment.players.discriminator, experiment.players.generator):
        optimizer = player.optimizer
        (group,) = optimizer.param_groups
        assert isinstance(optimizer, Adam)
        assert (group["lr"], optimizer.betas, optimizer.eps) == ADAM[name]
        assert len(group["params"]) == len(list(player.net.parameters()))


@pytest.mark.parametrize("name", RECIPES)
def test_the_learning_rate_is_constant_except_for_the_dcgans_time_decay(name):
    experiment, lr = built(name), ADAM[name][0]
    decay = 1e-8 if name == "keras_dcgan" else 0.0
    for player in (experiment.players.discriminator, experiment.players.generator):
        for updates in (0, 1, 5_000, 10**8):
            player.set_rate(updates, progress=0.5)
            rate = player.optimizer.param_groups[0]["lr"]
            assert rate == pytest.approx(lr / (1 + decay * updates), rel=1e-12)


# ---- targets and latents --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "real"), [("keras_mlp", 0.9), ("tf_mlp", 1.0), ("rounds", 1.0), ("minimax", 1.0), ("nonsaturating", 1.0)]
)
def test_fixed_targets_are_those_of_the_recipe(name, real):
    labels = as_built(name).game.loss.labels
    assert labels.real(5, CPU).tolist() == pytest.approx([real] * 5)
    assert labels.fake(5, CPU).tolist() == [0.0] * 5
    assert labels.generator(5, CPU).tolist() == [1.0] * 5


def moments_within(low, high):
    """Mean and standard deviation of a standard normal restricted to [low, high]."""

    def density(x):
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    mass = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    mean = (density(low) - density(high)) / mass
    variance = 1 + (low * density(low) - high * density(high)) / mass - mean**2
    return mean, math.sqrt(variance)


def check_within(values, low, high):
    mean, sd = moments_within(low, high)
    width = high - low
    assert low <= values.min() < low + 0.01 * width
    assert high - 0.01 * width < values.max() <= high
    assert values.mean().item() == pytest.approx(mean, abs=5 * sd / math.sqrt(values.numel()))
    assert values.std().item() == pytest.approx(sd, rel=5 / math.sqrt(values.numel()))


def test_noisy_targets_are_normal_and_truncated_to_the_published_ranges_for_g_too():
    labels = as_built("keras_dcgan").game.loss.labels
    n = 20_000
    check_within(labels.real(n, CPU), 0.7, 1.2)
    check_within(labels.fake(n, CPU), 0.0, 0.3)
    check_within(labels.generator(n, CPU), 0.7, 1.2)


@pytest.mark.parametrize("name", RECIPES)
def test_latents_are_those_of_the_recipe(name):
    experiment = as_built(name)
    latents = experiment.game.latent.sample(1_000, CPU)
    assert latents.shape == (1_000, 128 if name == "tf_mlp" else 100)
    if name == "keras_dcgan":
        check_within(latents, -1.0, 1.0)
    else:
        assert latents.mean().item() == pytest.approx(0, abs=5 / math.sqrt(latents.numel()))
        assert latents.std().item() == pytest.approx(1, rel=4 / math.sqrt(latents.numel()))
        assert latents.abs().max() > 3.5


# ---- batches, intervals ---------------------------------------------------------------------------------


def recorded_inputs(net):
    inputs = []
    net.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach().clone()))
    return inputs


def play(experiment, turns=1):
    position, played = 0, []
    for _ in range(turns):
        played.append(experiment.schedule.next_turn(experiment.step, experiment.epoch))
        position = experiment.step.play(played[-1], position)
    return played


NARROW_DCGAN = ("model.generator.widths=[4,4,4,4]", "model.discriminator.widths=[4,4,4,4]")


@pytest.mark.parametrize(
    ("name", "d_batch", "g_batch", "drawings"),
    [
        ("keras_mlp", 128, 128, [128, 128]),
        ("tf_mlp", 256, 256, [256]),  # the tutorial draws once, for both updates
        ("keras_dcgan", 128, 256, [128, 256]),
        ("minimax", 128, 128, [128, 128]),
        ("nonsaturating", 128, 128, [128, 128]),
    ],
)
def test_an_iteration_shows_d_one_joined_batch_and_then_updates_g(name, d_batch, g_batch, drawings):
    experiment = built(name, *(NARROW_DCGAN if name == "keras_dcgan" else ()))
    players = experiment.players
    judged, drawn_from = recorded_inputs(players.discriminator.net), recorded_inputs(players.generator.net)
    (turn,) = play(experiment)
    assert (turn.d_steps, turn.g_steps) == (1, 1)
    assert [len(z) for z in drawn_from] == drawings
    assert [len(images) for images in judged] == [2 * d_batch, g_batch]
    order = IndexSampler(len(experiment.images), 0, replacement=name in REPLACING)
    real = experiment.images.images[order.indices(0, d_batch)]
    torch.testing.assert_close(judged[0][:d_batch], real.float() / 127.5 - 1)
    assert not any(torch.equal(drawn_from[0], other) for other in drawn_from[1:])


def test_the_keras_recipes_and_those_based_on_them_draw_real_images_with_replacement():
    assert [name for name in RECIPES if composed(name).data.replacement] == REPLACING


def epochs_with_pictures(timetable, up_to):
    per_epoch = 60_000 // 128

    def at(epoch, turns):
        iteration = epoch * per_epoch + turns
        return Progress(iteration=iteration, images=iteration * 128)

    return [epoch for epoch in range(1, up_to + 1) if timetable.due(at(epoch, -1), at(epoch, 0)).samples]


@pytest.mark.parametrize("name", ["keras_mlp", "minimax", "nonsaturating"])
def test_keras_mlp_draws_10x10_at_epoch_1_and_every_20_of_400_epochs_of_468_iterations(name):
    settings = as_built(name).settings
    timetable = Timetable(settings, EpochLength(60_000, 128), 1, None)
    assert timetable.iterations(Progress()) == 400 * 468
    assert epochs_with_pictures(timetable, 60) == [1, 20, 40, 60]
    assert (settings.sample_columns, settings.sample_rows) == (10, 10)


def test_tf_mlp_draws_8x8_and_saves_after_every_one_of_500_epochs():
    settings = as_built("tf_mlp").settings
    assert Timetable(settings, EpochLength(60_000, 256), 1, None).iterations(Progress()) == 500 * 234
    assert (settings.intervals_in, settings.sample_every, settings.checkpoint_every) == ("epochs", 1, 1)
    assert (settings.sample_columns, settings.sample_rows) == (8, 8)


def test_keras_dcgan_draws_5x5_and_saves_every_100_iterations():
    settings = as_built("keras_dcgan").settings
    assert (settings.intervals_in, settings.sample_every, settings.checkpoint_every) == ("iterations", 100, 100)
    assert (settings.sample_columns, settings.sample_rows) == (5, 5)
    assert settings.iterations == 5_000


# ---- one step against float64 by hand -------------------------------------------------------------------


def doubled(net):
    """Weights by name, in float64, ready to be differentiated by."""
    return {name: p.detach().double().requires_grad_() for name, p in net.named_parameters()}


def mlp_by_hand(x, weights, activation, last):
    names = sorted({int(re.search(r"\d+", name)[0]) for name in weights})
    for number in names:
        x = functional.linear(x, weights[f"layers.{number}.weight"], weights[f"layers.{number}.bias"])
        x = last(x) if number == names[-1] else activation(x)
    return x


def leaky(x):
    return torch.where(x > 0, x, 0.2 * x)


def rectified(x):
    return x.clamp(min=0)


def normalised(x, gain, shift):
    """Batch norm by the batch's own statistics, as Keras computes it."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
    mean = x.mean(axes, keepdim=True)
    variance = (x - mean).square().mean(axes, keepdim=True)
    return (x - mean) / (variance + 1e-3).sqrt() * gain.view(shape) + shift.view(shape)


def dcgan_draws(z, w):
    x = functional.linear(z, w["dense.0.weight"], w["dense.0.bias"])
    x = rectified(normalised(x, w["dense.1.weight"], w["dense.1.bias"]))
    x = x.reshape(len(z), 7, 7, 256).permute(0, 3, 1, 2)  # Keras' order: row, column, channel
    for number, stride in ((0, 2), (3, 2), (6, 1)):
        kernel, bias = w[f"layers.{number}.weight"], w[f"layers.{number}.bias"]
        x = functional.conv_transpose2d(x, kernel, bias, stride, padding=1, output_padding=stride - 1)
        x = rectified(normalised(x, w[f"layers.{number + 1}.weight"], w[f"layers.{number + 1}.bias"]))
    return functional.conv_transpose2d(x, w["layers.9.weight"], w["layers.9.bias"], padding=1).tanh()


def dcgan_judges(x, w):
    for number, stride in ((0, 2), (3, 2), (6, 2), (9, 1)):
        x = leaky(functional.conv2d(x, w[f"layers.{number}.weight"], w[f"layers.{number}.bias"], stride, padding=1))
    return functional.linear(x.permute(0, 2, 3, 1).flatten(1), w["layers.13.weight"], w["layers.13.bias"])[:, 0]


def players_by_hand(name):
    """How the recipe's G draws and its D judges, as functions of the weights."""
    if name == "keras_dcgan":
        return dcgan_draws, dcgan_judges
    activation = rectified if name == "tf_mlp" else leaky

    def draw(z, weights):
        return mlp_by_hand(z, weights, activation, torch.tanh).reshape(len(z), 1, 28, 28)

    def judge(images, weights):
        return mlp_by_hand(images.flatten(1), weights, activation, lambda x: x)[:, 0]

    return draw, judge


def cross_entropies(logits, targets):
    return -targets * functional.logsigmoid(logits) - (1 - targets) * functional.logsigmoid(-logits)


def d_loss_by_hand(name, real, fake, real_targets, fake_targets):
    of_real, of_fake = cross_entropies(real, real_targets), cross_entropies(fake, fake_targets)
    if name in ("keras_mlp", "keras_dcgan", "rounds"):
        return torch.cat([of_real, of_fake]).mean()
    return of_real.mean() + of_fake.mean()


def g_loss_by_hand(name, fake, targets):
    if name == "minimax":
        return torch.log(1 - torch.sigmoid(fake)).mean()
    return cross_entropies(fake, targets).mean()


def mean_of(reading, tag):
    return reading.totals[tag] / reading.updates


STEP = ("model.dropout=0", "trainer.batch_size=8")
SEED = 123


@pytest.mark.parametrize("name", ["keras_mlp", "tf_mlp", "keras_dcgan", "minimax", "nonsaturating"])
def test_the_losses_and_the_update_of_one_step_equal_those_computed_by_hand_in_float64(name):
    experiment = built(name, *STEP, *(("trainer.g_batch_size=16",) if name == "keras_dcgan" else ()))
    draw, judge = players_by_hand(name)
    d_before, g_before = doubled(experiment.players.discriminator.net), doubled(experiment.players.generator.net)

    torch.manual_seed(SEED)
    play(experiment)
    d_after = doubled(experiment.players.discriminator.net)

    torch.manual_seed(SEED)
    order = IndexSampler(len(experiment.images), 0, composed(name).data.replacement)
    real = experiment.images.images[order.indices(0, 8)].double() / 127.5 - 1
    latents = experiment.game.latent.sample(8, CPU)
    labels = experiment.game.loss.labels
    real_targets, fake_targets = labels.real(8, CPU).double(), labels.fake(8, CPU).double()
    d_logits = judge(torch.cat([real, draw(latents.double(), g_before)]), d_before)
    d_loss = d_loss_by_hand(name, d_logits[:8], d_logits[8:], real_targets, fake_targets)
    assert mean_of(experiment.step.read_d(), "loss/d") == pytest.approx(d_loss.item(), rel=2e-6)

    if name != "tf_mlp":
        latents = experiment.game.latent.sample(16 if name == "keras_dcgan" else 8, CPU)
    # D stands still while G moves, so G meets D as D's own update left it.
    g_logits = judge(draw(latents.double(), g_before), d_after)
    g_loss = g_loss_by_hand(name, g_logits, labels.generator(len(latents), CPU).double())
    assert mean_of(experiment.step.read_g(), "loss/g") == pytest.approx(g_loss.item(), rel=2e-6)

    lr, _, eps = ADAM[name]
    for net, before, loss in (
        (experiment.players.discriminator.net, d_before, d_loss),
        (experiment.players.generator.net, g_before, g_loss),
    ):
        check_first_adam_update(net, before, torch.autograd.grad(loss, list(before.values())), lr, eps)


def check_first_adam_update(net, before, gradients, lr, eps):
    """Adam's first update, its averages corrected for their start at zero, is lr * g / (|g| + eps)."""
    for (name, after), gradient in zip(net.named_parameters(), gradients, strict=True):
        telling = gradient.abs() > 1e-6  # a bias before batch norm has no gradient but rounding
        if not telling.any():
            continue
        step = (before[name] - after.detach().double()).detach()
        expected = lr * gradient / (gradient.abs() + eps)
        # Rounding to float32 can put a unit on the other side of its kink: a few weights may differ.
        alike = (step - expected).abs()[telling] < 0.01 * lr
        assert alike.double().mean() > 0.99, name


def test_minimax_and_nonsaturating_differ_only_in_gs_loss():
    minimax, nonsaturating = composed("minimax"), composed("nonsaturating")
    assert minimax.loss._target_ != nonsaturating.loss._target_
    for group in ("data", "model", "optimizer", "labels", "latent", "schedule", "trainer"):
        assert minimax[group] == nonsaturating[group], group
    logits = torch.tensor([-3.0, 0.0, 2.0])
    d_losses = {as_built(name).game.loss.d(logits, logits).item() for name in ("minimax", "nonsaturating")}
    assert len(d_losses) == 1
    undecided = torch.zeros(4)
    assert as_built("minimax").game.loss.d(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert as_built("minimax").game.loss.g(undecided).item() == pytest.approx(-math.log(2))
    assert as_built("nonsaturating").game.loss.g(undecided).item() == pytest.approx(math.log(2))


# ---- keras_dcgan: the accuracy that was always 0 --------------------------------------------------------


def test_the_dcgans_accuracy_counts_real_against_generated_where_the_published_one_is_always_0():
    experiment = built("keras_dcgan", *NARROW_DCGAN, "optimizer.d.lr=0.01")
    logits = []
    experiment.players.discriminator.net.register_forward_hook(lambda *io: logits.append(io[2].detach()))
    turns = 10
    play(experiment, turns)
    of_d = logits[::2]
    assert [len(batch) for batch in of_d] == [256] * turns
    reading = experiment.step.read_d()
    right_on_real = torch.stack([(batch[:128] > 0).double().mean() for batch in of_d]).mean().item()
    right_on_fake = torch.stack([(batch[128:] <= 0).double().mean() for batch in of_d]).mean().item()
    assert mean_of(reading, "accuracy/d_real") == pytest.approx(right_on_real, abs=1e-6)
    assert mean_of(reading, "accuracy/d_fake") == pytest.approx(right_on_fake, abs=1e-6)
    assert 0.5 * (right_on_real + right_on_fake) > 0.5

    # What Keras reports of the same answers: a rounded probability against a soft target.
    labels = experiment.game.loss.labels
    targets = torch.cat([labels.real(128, CPU), labels.fake(128, CPU)])
    assert not any((batch.sigmoid().round() == targets).any() for batch in of_d)


def test_the_dcgan_warns_once_that_targets_above_1_make_the_loss_unbounded(caplog):
    experiment = built("keras_dcgan", *NARROW_DCGAN, *STEP)
    play(experiment, 3)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "1.2" in warnings[0]
    assert "no lower bound" in warnings[0]


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "keras_dcgan"])
def test_recipes_with_targets_up_to_1_give_no_warning(name, caplog):
    built(name)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


# ---- rounds ---------------------------------------------------------------------------------------------

SHORT_ROUNDS = ("schedule.d_steps=10", "schedule.g_steps=10", "trainer.batch_size=32")


def copy_of(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def unchanged(net, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_rounds_stops_each_network_at_a_goal_or_a_limit():
    schedule = OmegaConf.to_container(composed("rounds").schedule)
    assert schedule.pop("_target_") == "gan_runner.training.schedules.Rounds"
    assert schedule == {
        "fixed_set": 1000,
        "unit": "steps",
        "d_steps": 500,
        "d_accuracy": 0.95,
        "g_steps": 500,
        "g_probability": 0.5,
        "check_every": 10,
        "d_warmup": 0,
    }


def test_rounds_trains_d_on_a_fixed_set_of_1000_and_1000_then_g_then_d_on_a_new_set():
    # Goals out of reach, so that the limits end every stretch.
    experiment = built("rounds", *SHORT_ROUNDS, "schedule.d_accuracy=1", "schedule.g_probability=1")
    d, g = experiment.players.discriminator.net, experiment.players.generator.net
    judged = recorded_inputs(d)
    position = 0
    for stretch in ("d", "g", "d"):
        d_before, g_before = copy_of(d), copy_of(g)
        for step in range(10):
            turn = experiment.schedule.next_turn(experiment.step, experiment.epoch)
            assert (turn.d_steps, turn.g_steps) == ((1, 0) if stretch == "d" else (0, 1))
            assert turn.renew_fixed_set == (1000 if stretch == "d" and step == 0 else 0)
            position = experiment.step.play(turn, position)
        assert unchanged(d, d_before) == (stretch == "g")
        assert unchanged(g, g_before) == (stretch == "d")
        if stretch == "d":
            fixed = experiment.step.state_dict()["fixed_set"]
            real, fake = fixed["real"]["images"], fixed["fake"]["images"]
            assert len(real) == len(fake) == 1000
            # D's last batch: 32 images of each kind, from where nine batches of 32 have gone before.
            rows = slice(9 * 32, 10 * 32)
            torch.testing.assert_close(judged[-1][:32], real[rows].float() / 127.5 - 1)
            torch.testing.assert_close(judged[-1][32:], fake[rows])
    order = IndexSampler(len(experiment.images), 0, replacement=False)
    expected = experiment.images.images[order.indices(1000, 1000)]
    assert torch.equal(real, expected)
    assert position == 2000


def test_the_first_losses_of_both_stretches_of_a_round_equal_those_computed_by_hand_in_float64():
    experiment = built("rounds", *STEP, "schedule.d_steps=1", "schedule.g_steps=1")
    draw, judge = players_by_hand("rounds")
    d_before, g_before = doubled(experiment.players.discriminator.net), doubled(experiment.players.generator.net)
    torch.manual_seed(SEED)
    assert [(turn.d_steps, turn.g_steps) for turn in play(experiment, 2)] == [(1, 0), (0, 1)]
    d_after = doubled(experiment.players.discriminator.net)

    torch.manual_seed(SEED)
    for_the_set = experiment.game.latent.sample(1000, CPU).double()
    experiment.game.latent.sample(8, CPU)  # drawn for D's update, which takes its images from the set
    order = IndexSampler(len(experiment.images), 0, replacement=False)
    real = experiment.images.images[order.indices(0, 8)].double() / 127.5 - 1
    logits = judge(torch.cat([real, draw(for_the_set[:8], g_before)]), d_before)
    d_loss = d_loss_by_hand("rounds", logits[:8], logits[8:], torch.ones(8), torch.zeros(8))
    assert mean_of(experiment.step.read_d(), "loss/d") == pytest.approx(d_loss.item(), rel=2e-6)
    latents = experiment.game.latent.sample(8, CPU).double()
    g_loss = g_loss_by_hand("rounds", judge(draw(latents, g_before), d_after), torch.ones(8))
    assert mean_of(experiment.step.read_g(), "loss/g") == pytest.approx(g_loss.item(), rel=2e-6)
