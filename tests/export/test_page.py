"""Pages hold the network as exactly as there is room; what they cannot run is one message."""

import json
import re
from functools import partial

import pytest
import torch
from torch import nn

from gan_runner import UserError
from gan_runner.export import load_exported, page
from gan_runner.export.description import Description
from gan_runner.export.layers import layers_of, run
from gan_runner.models import dcgan, mlp, residual_translator, resnet, unet
from gan_runner.models.both_ways import Translators
from gan_runner.models.patch_features import WithPatchFeatures

NORMAL = {"_target_": "gan_runner.objectives.latents.Normal", "dim": 6, "std": 1.0}


def describe(shape, latent=NORMAL, source=None):
    facts = {"iteration": 1000, "data": {"name": "</script><b>"}}
    given = {"source_shape": list(source)} if source else {}
    return Description("generator", shape, (), {"_target_": "x"}, 1, {"latent": latent}, facts, given)


def with_statistics(net):
    """The network with batch norm as after training: with statistics, scales and shifts that do something."""
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        for tensor in (norm.running_mean, norm.bias.data):
            tensor.normal_()
        for tensor in (norm.running_var, norm.weight.data):
            tensor.uniform_(0.5, 2.0)
    return net.eval()


def make_dcgan(shape):
    return with_statistics(dcgan.Generator(shape, 6, [8, 6, 4, 4], 0.1, 1e-3, None, None))


LEAKY = partial(nn.LeakyReLU, 0.2)


def make_mlp(shape, activation=LEAKY, smoothing=False):
    return mlp.Generator(shape, 6, [16], activation, None, None, smoothing).eval()


NETWORKS = {
    "dcgan": (make_dcgan((1, 8, 12)), (1, 8, 12)),
    "dcgan in colours that doubles more often": (make_dcgan((3, 64, 40)), (3, 64, 40)),
    "mlp in colours": (make_mlp((3, 4, 6), nn.SiLU), (3, 4, 6)),
    "mlp": (make_mlp((1, 5, 3), nn.ELU), (1, 5, 3)),
    "mlp with transparency": (make_mlp((4, 3, 4)), (4, 3, 4)),
    "mlp that smooths": (make_mlp((3, 5, 4), smoothing=True), (3, 5, 4)),
}


def make_unet(shape, source, norm="instance"):
    return with_statistics(unet.Generator(shape, source, 3, norm, 0.5, None))


def make_residual(shape, source, norm="instance"):
    return with_statistics(residual_translator.Generator(shape, source, 3, 2, norm, None))


TRANSLATORS = {
    "unet down to one pixel": (make_unet((3, 16, 16), (1, 16, 16)), (1, 16, 16)),
    "unet of padded images": (make_unet((1, 14, 11), (3, 14, 11)), (3, 14, 11)),
    "unet with batch norm": (make_unet((1, 16, 8), (1, 16, 8), "batch"), (1, 16, 8)),
    "residual translator": (make_residual((4, 9, 14), (4, 9, 14)), (4, 9, 14)),
    "residual translator without norm": (make_residual((1, 8, 8), (1, 8, 8), "none"), (1, 8, 8)),
    "both ways": (
        Translators(make_residual((1, 8, 8), (3, 8, 8)), make_residual((3, 8, 8), (1, 8, 8))),
        (3, 8, 8),
    ),
    "with patch features": (WithPatchFeatures(make_residual((3, 12, 8), (3, 12, 8)), 4), (3, 12, 8)),
}
for name, (net, source) in TRANSLATORS.items():
    NETWORKS[name] = (net, (net(torch.zeros(1, *source)).shape[1:]))


def inputs_of(name, count):
    """What a network is given, and the same as rows of numbers, pixels before channels."""
    if name not in TRANSLATORS:
        latents = torch.randn(count, 6)
        return latents, latents
    source = torch.rand(count, *TRANSLATORS[name][1]) * 2 - 1
    return source, source.permute(0, 2, 3, 1).flatten(1)


def described(name):
    net, shape = NETWORKS[name]
    return net, shape, describe(shape, source=TRANSLATORS[name][1] if name in TRANSLATORS else None)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_with_batch_norm_folded_in_compute_what_the_network_does(name, tmp_path):
    net, (channels, height, width) = NETWORKS[name]
    given, rows = inputs_of(name, 3)
    x = run(layers_of(tmp_path / "x.html", net), rows.double())
    images = x.view(3, height, width, channels).permute(0, 3, 1, 2)
    torch.testing.assert_close(images.float(), net(given), atol=1e-5, rtol=0)


def test_the_weights_are_as_precise_as_the_size_allows(tmp_path, monkeypatch):
    net, shape = NETWORKS["dcgan in colours that doubles more often"]
    output, apart = tmp_path / "x.html", {}
    for _ in range(3):
        written = page.write_page(output, net, describe(shape))
        apart[written.precision] = written.levels
        monkeypatch.setattr(page, "LARGEST", output.stat().st_size - 1)
        output.unlink()
    assert list(apart) == ["float32", "float16", "int8"]
    assert apart["float32"] <= apart["float16"] <= 1
    assert apart["int8"] <= 16
    with pytest.raises(UserError, match="with a byte a weight"):
        page.write_page(output, net, describe(shape))
    assert not output.exists()


@pytest.mark.parametrize(
    ("net", "shape", "latent", "said"),
    [
        (resnet.Generator((1, 8, 8), 6, [4], [1], 2), (1, 8, 8), NORMAL, "gan_runner.models.resnet.Generator"),
        (make_mlp((1, 4, 4), nn.Mish), (1, 4, 4), NORMAL, "has a Mish"),
        (make_mlp((2, 4, 4)), (2, 4, 4), NORMAL, "1, 3 or 4 channels"),
    ],
)
def test_a_network_that_a_page_cannot_run_gives_one_message_with_what_to_do_instead(tmp_path, net, shape, latent, said):
    with pytest.raises(UserError, match=said) as refused:
        page.write_page(tmp_path / "x.html", net, describe(shape, latent))
    assert "output=NAME" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_page_has_the_direction_of_the_data_alone_if_both_are_too_large(tmp_path, monkeypatch):
    net, _, description = described("both ways")
    output, precisions, both_ways = tmp_path / "x.html", [], True
    while both_ways:
        written = page.write_page(output, net, description)
        precisions.append(written.precision)
        both_ways = written.both_ways
        data = json.loads(re.search(r'id="data">(.*)</script>', output.read_text())[1])
        assert [network["direction"] for network in data["networks"]] == ["A to B", "B to A"][: 1 + both_ways]
        monkeypatch.setattr(page, "LARGEST", output.stat().st_size - 1)
    assert precisions[:3] == ["float32", "float16", "int8"]
    assert len(precisions) == 4


def test_a_translator_too_large_for_a_page_is_refused_with_a_smaller_width(tmp_path, monkeypatch):
    net, _, description = described("unet down to one pixel")
    monkeypatch.setattr(page, "LARGEST", 10_000)
    with pytest.raises(UserError, match="with a byte a weight") as refused:
        page.write_page(tmp_path / "x.html", net, description)
    assert "model.width=16" in refused.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_only_a_generator_can_be_a_page(export, folder):
    result = export("run=run", "output=d.html", "what=discriminator")
    assert result.code == 1
    assert "what=discriminator draws none" in result.err
    assert not (folder / "d.html").exists()


def test_the_page_of_a_run_is_complete(exported_as, exported):
    content = exported_as(".html").read_text()
    assert "http" not in content.replace("http-equiv", "")
    assert load_exported(exported).description.facts["data"]["name"] in content
