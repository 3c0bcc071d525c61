import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gan_runner.metrics.distances import classifier_score, frechet_distance, kernel_distance, moments


class Same(nn.Module):
    """Hands on what it is given; torchmetrics wants to know how many features that makes."""

    num_features = 16

    def forward(self, features):
        return features


@pytest.fixture
def clouds():
    """Two sets of features, of 300 and 250 points, that differ in mean and in spread."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(16, 16, generator=generator)
    one, other = (torch.randn(count, 16, generator=generator) for count in (300, 250))
    return one.relu() @ mixing, (1.2 * other + 0.3) @ mixing


def test_the_distance_of_normal_distributions_with_diagonal_covariances_has_a_closed_form():
    mean, variance = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, 4.0, 0.25]).double()
    other_mean, other_variance = torch.tensor([1.0, 1.0, 0.0]).double(), torch.tensor([9.0, 1.0, 0.0]).double()
    expected = 1.0 + 4.0 + (1 - 3) ** 2 + (2 - 1) ** 2 + 0.5**2
    distance = frechet_distance(mean, variance.diag(), other_mean, other_variance.diag())
    torch.testing.assert_close(distance, torch.tensor(expected).double())


def test_the_distance_is_zero_to_itself_and_symmetric(clouds):
    one, other = map(moments, clouds)
    assert frechet_distance(*one, *one).item() == pytest.approx(0.0, abs=1e-9)
    torch.testing.assert_close(frechet_distance(*one, *other), frechet_distance(*other, *one))


@pytest.mark.parametrize("count", [300, 10], ids=["many images", "fewer images than features"])
def test_frechet_distances_are_those_of_scipy_torchmetrics_and_torch_fidelity(clouds, count):
    one, other = (cloud[:count] for cloud in clouds)
    ours = frechet_distance(*moments(one), *moments(other)).item()

    theirs = FrechetInceptionDistance(feature=Same())
    theirs.update(one, real=True)
    theirs.update(other, real=False)
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-5)

    statistics = [fid_features_to_statistics(part.double()) for part in (one, other)]
    values = fid_statistics_to_metric(*statistics, verbose=False)
    assert ours == pytest.approx(values["frechet_inception_distance"], rel=1e-5)

    if count == 300:  # the root of a singular matrix is beyond SciPy's
        root = scipy.linalg.sqrtm(statistics[0]["sigma"] @ statistics[1]["sigma"]).real
        means = statistics[0]["mu"] - statistics[1]["mu"]
        by_hand = means @ means + np.trace(statistics[0]["sigma"] + statistics[1]["sigma"] - 2 * root)
        assert ours == pytest.approx(by_hand, rel=1e-6)


def test_one_feature_is_enough():
    mean, covariance = moments(torch.tensor([[0.0], [2.0]]))
    assert (mean.tolist(), covariance.tolist()) == ([1.0], [[2.0]])


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")  # it says that it keeps the features
def test_the_kernel_distance_is_that_of_torchmetrics_and_torch_fidelity(clouds):
    one, other = (cloud[:250] for cloud in clouds)
    ours = kernel_distance(one, other, seed=0).item()

    theirs = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=250)
    theirs.update(one, real=True)
    theirs.update(other, real=False)
    assert ours == pytest.approx(theirs.compute()[0].item(), rel=1e-4)

    values = kid_features_to_metric(one.double(), other.double(), kid_subsets=1, kid_subset_size=250, verbose=False)
    assert ours == pytest.approx(values["kernel_inception_distance_mean"], rel=1e-9)


def test_averages_over_subsets_are_close_to_the_whole_and_follow_the_seed(clouds):
    one, other = clouds
    whole = kernel_distance(one[:250], other, seed=0).item()
    average = kernel_distance(one, other, seed=0).item()
    assert average == pytest.approx(whole, rel=0.2)
    assert kernel_distance(one, other, seed=0).item() == average != kernel_distance(one, other, seed=1).item()


def test_the_kernel_distance_of_two_halves_of_a_set_is_zero_on_average():
    generator = torch.Generator().manual_seed(0)
    values = [kernel_distance(*torch.randn(2, 100, 4, generator=generator), seed=0).item() for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(200)
    assert min(values) < 0


def test_the_score_is_one_for_equal_answers_and_the_number_of_classes_for_certain_and_even_ones():
    assert classifier_score(torch.full((7, 10), 0.1)).item() == pytest.approx(1.0)
    assert classifier_score(torch.eye(10).repeat(3, 1)).item() == pytest.approx(10.0)
    assert classifier_score(torch.eye(10)[:2]).item() == pytest.approx(2.0)  # eight classes never drawn


def test_the_score_is_that_of_torch_fidelity():
    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    theirs = isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert classifier_score(logits.double().softmax(1)).item() == pytest.approx(theirs, rel=1e-6)
