"""Numbers that compare with the true image: closed forms, and both baselines."""

import math

import pytest
import torch

from gan_runner.data import Batch, digits
from gan_runner.data.batch import SOURCE, TRUTH
from gan_runner.data.pairs import load
from gan_runner.errors import UserError
from gan_runner.metrics.pairs import PairMetrics, baselines, mean_picture, ssim

CPU = torch.device("cpu")


def flat(level, size=16, count=1):
    return torch.full((count, 1, size, size), level, dtype=torch.float64)


def drawn(images, truth, source=None):
    return Batch(images, {SOURCE: images if source is None else source, TRUTH: truth})


def test_the_similarity_of_two_flat_images_depends_on_their_levels():
    """Nothing varies, so the luminance alone counts: (2 x y + .01^2) / (x^2 + y^2 + .01^2) of levels in [0, 1]."""
    for one, other in ((0.2, 0.9), (0.0, 1.0), (0.5, 0.5)):
        expected = (2 * one * other + 1e-4) / (one**2 + other**2 + 1e-4)
        found = ssim(flat(2 * one - 1), flat(2 * other - 1))
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_an_image_is_like_itself_and_its_negative_is_its_opposite():
    picture = torch.rand(3, 3, 20, 20, dtype=torch.float64) * 2 - 1
    assert ssim(picture, picture).tolist() == pytest.approx([1, 1, 1])
    noise = (torch.rand(3, 1, 40, 40, dtype=torch.float64) - 0.5) * 1.9
    assert (ssim(noise, -noise) < -0.9).all()


def test_similarity_follows_its_definition_in_a_single_window():
    """Of pictures of eleven pixels there is one window: means, variances and covariance by hand."""
    one, other = torch.rand(2, 1, 1, 11, 11, dtype=torch.float64) * 2 - 1
    weights = [[math.exp(-((row - 5) ** 2 + (column - 5) ** 2) / 4.5) for column in range(11)] for row in range(11)]
    weights = torch.tensor(weights, dtype=torch.float64)
    weights /= weights.sum()
    x, y = (one[0, 0] + 1) / 2, (other[0, 0] + 1) / 2
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x, var_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
    both = (weights * (x - mean_x) * (y - mean_y)).sum()
    expected = (2 * mean_x * mean_y + 1e-4) * (2 * both + 9e-4)
    expected /= (mean_x**2 + mean_y**2 + 1e-4) * (var_x + var_y + 9e-4)
    assert float(ssim(one, other)) == pytest.approx(float(expected), rel=1e-9)


def test_images_smaller_than_the_window_are_compared_as_a_whole():
    assert float(ssim(flat(0.5, size=8), flat(0.5, size=8))) == pytest.approx(1)


@pytest.mark.parametrize("level", [-0.98, 0.0, 0.98])
def test_similarity_of_nearly_flat_images_is_exact_in_spite_of_float32_inputs(level):
    """Their variance is a small difference of large numbers."""
    one, other = level + 0.01 * torch.rand(2, 70, 3, 24, 20, dtype=torch.float64)
    in_float32 = ssim(one.float(), other.float())
    assert in_float32.dtype == torch.float32
    assert in_float32.tolist() == pytest.approx(ssim(one.float().double(), other.float().double()).tolist(), abs=1e-6)


def test_distance_is_the_mean_over_images_in_any_batches():
    batches = [drawn(flat(0.5, count=3), flat(0.0, count=3)), drawn(flat(-1.0), flat(1.0))]
    found = PairMetrics().measure(batches, {})
    assert found["l1"] == pytest.approx((3 * 0.5 + 2.0) / 4)
    assert found.keys() == set(PairMetrics.names) == set(PairMetrics.numbers)


def test_baselines_are_the_source_and_the_mean_image():
    real = [Batch(flat(-1.0, count=3)), Batch(flat(1.0))]
    mean = mean_picture(real)
    assert torch.equal(mean, flat(-0.5)[0])
    colour = torch.rand(2, 3, 8, 8, dtype=torch.float64) * 2 - 1
    grey = flat(0.25, size=8, count=2)
    found = baselines([drawn(colour, colour, grey)], colour.mean(0))
    assert list(found) == ["source", "mean"]
    assert torch.equal(found["source"][0].images, grey.expand(-1, 3, -1, -1))
    assert torch.equal(found["mean"][0].images[1], colour.mean(0))
    assert all(torch.equal(batches[0].conditions[TRUTH], colour) for batches in found.values())


def test_data_without_pairs_and_games_without_sources_are_refused():
    with pytest.raises(UserError, match="digits has no pairs"):
        PairMetrics().bind(digits.load(8, 20), None, CPU)
    with pytest.raises(UserError, match="this game draws from no images"):
        PairMetrics().measure([Batch(flat(0.0))], {})
    pairs = load("digits", "edges", "AtoB", "", False, 8, 1, 20)
    metric = PairMetrics()
    metric.bind(pairs, None, CPU)
    assert metric.reference is pairs
