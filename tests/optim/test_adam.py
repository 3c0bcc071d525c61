import math

import pytest
import torch
from torch import nn

from gan_runner.optim.adam import Adam

F64 = torch.float64


def test_two_updates_of_adam_follow_the_papers_algorithm():
    """Kingma and Ba (2015, arXiv:1412.6980), algorithm 1, on one number."""
    lr, beta1, beta2, eps = 0.1, 0.5, 0.9, 1e-3
    parameter = nn.Parameter(torch.tensor([2.0], dtype=F64))
    optimizer = Adam([parameter], lr, (beta1, beta2), eps, weight_decay=0.0)
    x, m, v = 2.0, 0.0, 0.0
    for t, gradient in enumerate((0.3, -0.7), start=1):
        parameter.grad = torch.tensor([gradient], dtype=F64)
        optimizer.step()
        m, v = beta1 * m + (1 - beta1) * gradient, beta2 * v + (1 - beta2) * gradient**2
        x -= lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
        assert parameter.item() == pytest.approx(x, rel=1e-12)


def test_weight_decay_adds_its_multiple_of_the_weight_to_the_gradient():
    decayed, plain = (nn.Parameter(torch.tensor([2.0, -3.0], dtype=F64)) for _ in range(2))
    with_decay = Adam([decayed], 0.1, (0.5, 0.9), 1.0, weight_decay=0.25)
    without = Adam([plain], 0.1, (0.5, 0.9), 1.0, weight_decay=0.0)
    gradient = torch.tensor([0.3, 0.4], dtype=F64)
    decayed.grad, plain.grad = gradient, gradient + 0.25 * plain.detach()
    with_decay.step()
    without.step()
    torch.testing.assert_close(decayed, plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_learning_rate_is_a_tensor_so_that_a_recorded_step_sees_it_change():
    parameter = nn.Parameter(torch.ones(2, device="cuda"))
    optimizer = Adam([parameter], 0.1, (0.5, 0.9), 1e-8, weight_decay=0.0)
    assert optimizer.param_groups[0]["lr"].is_cuda


def test_many_updates_equal_those_of_torchs_own_adam():
    torch.manual_seed(3)
    nets = [nn.Linear(5, 4, dtype=F64) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = Adam(nets[0].parameters(), 0.01, (0.5, 0.999), 1e-7, weight_decay=0.1)
    torchs = torch.optim.Adam(nets[1].parameters(), 0.01, (0.5, 0.999), 1e-7, weight_decay=0.1)
    for _ in range(20):
        x = torch.randn(7, 5, dtype=F64)
        for net, optimizer in zip(nets, (ours, torchs), strict=True):
            net.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(nets[0].weight, nets[1].weight)
    torch.testing.assert_close(nets[0].bias, nets[1].bias)


def test_weights_in_channels_last_format_are_updated_bit_for_bit_as_others():
    torch.manual_seed(4)
    weight, gradients = torch.randn(24, 7, 3, 3), torch.randn(3, 24, 7, 3, 3)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        own = nn.Parameter(weight.clone(memory_format=layout))
        adam = Adam([own], 0.01, (0.5, 0.999), 1e-7, weight_decay=0.1)
        for gradient in gradients:
            own.grad = gradient.clone(memory_format=layout)
            adam.step()
        found.append((own.detach(), *(value for value in adam.state_dict()["squares"])))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
