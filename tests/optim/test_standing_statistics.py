import pytest
import torch
from torch import nn

from gan_runner.models import dcgan
from gan_runner.optim.standing_statistics import batch_norms, take_statistics

F64 = torch.float64


def test_statistics_are_the_plain_averages_over_the_batches_that_a_layer_gets():
    net = nn.Sequential(nn.Linear(2, 3, dtype=F64), nn.BatchNorm1d(3, momentum=0.01, dtype=F64)).eval()
    net[1](torch.full((1, 3), 100.0, dtype=F64))
    net[1].running_mean.fill_(7.0)  # of some other weights
    batches = torch.randn(4, 16, 2, dtype=F64).unbind()
    take_statistics(net, [lambda part=part: net(part) for part in batches])
    given = [net[0](part) for part in batches]
    torch.testing.assert_close(net[1].running_mean, torch.stack([part.mean(0) for part in given]).mean(0))
    torch.testing.assert_close(net[1].running_var, torch.stack([part.var(0) for part in given]).mean(0))
    assert net[1].momentum == 0.01
    assert not net[1].training


def several_kinds():
    yield "dcgan", dcgan.Generator((1, 8, 8), 5, [8, 6, 4], 0.1, 1e-3, None, None)
    yield (
        "dropout between",
        nn.Sequential(
            nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 4), nn.BatchNorm1d(4)
        ),
    )


@pytest.mark.parametrize("net", [pytest.param(net, id=name) for name, net in several_kinds()])
def test_every_layer_has_the_statistics_of_its_inputs_when_images_are_drawn(net):
    net = net.double().eval()
    latents = torch.randn(2000, 5, dtype=F64)
    take_statistics(net, [lambda: net(latents)])
    given = {}
    for layer in batch_norms(net):
        layer.register_forward_pre_hook(
            lambda layer, inputs: given.update({layer: inputs[0].transpose(0, 1).flatten(1)})
        )
    net(latents)
    assert given
    for layer, inputs in given.items():
        # But for the variance of a batch by N and by N - 1.
        torch.testing.assert_close(layer.running_mean, inputs.mean(1), rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(layer.running_var, inputs.var(1), rtol=1e-2, atol=0)


def test_layers_are_restored_if_drawing_fails():
    net = nn.Sequential(nn.BatchNorm1d(3)).eval()
    with pytest.raises(RuntimeError):
        take_statistics(net, [lambda: net(torch.zeros(2, 4))])
    assert (net[0].training, net[0].momentum) == (False, 0.1)


def test_layers_without_running_statistics_are_ignored():
    assert batch_norms(nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.LayerNorm(3))) == []
