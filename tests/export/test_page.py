"""Pages hold the network as exactly as there is room; what they cannot run is one message."""

from functools import partial

import pytest
import torch
from torch import nn

from gan_runner import UserError
from gan_runner.export import load_exported, page
from gan_runner.export.description import Description
from gan_runner.models import dcgan, mlp, resnet

NORMAL = {"_target_": "gan_runner.objectives.latents.Normal", "dim": 6, "std": 1.0}


def describe(shape, latent=NORMAL):
    facts = {"iteration": 1000, "data": {"name": "</script><b>"}}
    return Description("generator", shape, (), {"_target_": "x"}, 1, {"latent": latent}, facts)


def make_dcgan(shape):
    net = dcgan.Generator(shape, 6, [8, 6, 4, 4], 0.1, 1e-3, None, None).eval()
    for norm in (module for module in net.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        for tensor in (norm.running_mean, norm.bias.data):
            tensor.normal_()
        for tensor in (norm.running_var, norm.weight.data):
            tensor.uniform_(0.5, 2.0)
    return net


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


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_with_batch_norm_folded_in_compute_what_the_network_does(name, tmp_path):
    net, (channels, height, width) = NETWORKS[name]
    z = torch.randn(3, 6)
    x = z.double()
    for layer in page.layers_of(tmp_path / "x.html", net):
        x = layer.run(x)
    images = x.view(3, height, width, channels).permute(0, 3, 1, 2)
    torch.testing.assert_close(images.float(), net(z), atol=1e-5, rtol=0)


def test_the_weights_are_as_precise_as_the_size_allows(tmp_path, monkeypatch):
    net, shape = NETWORKS["dcgan in colours that doubles more often"]
    output, apart = tmp_path / "x.html", {}
    for _ in range(3):
        precision, levels = page.write_page(output, net, describe(shape))
        apart[precision] = levels
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


def test_only_a_generator_can_be_a_page(export, folder):
    result = export("run=run", "output=d.html", "what=discriminator")
    assert result.code == 1
    assert "what=discriminator draws none" in result.err
    assert not (folder / "d.html").exists()


def test_the_page_of_a_run_is_complete(exported_as, exported):
    content = exported_as(".html").read_text()
    assert "http" not in content.replace("http-equiv", "")
    assert load_exported(exported).description.facts["data"]["name"] in content
