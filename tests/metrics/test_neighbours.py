import math

import pytest
import scipy.stats
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from gan_runner.metrics import neighbours
from gan_runner.metrics.neighbours import (
    balls,
    copying_test,
    fidelity_and_coverage,
    memorised,
    nearest,
    own_distances,
    share_of_good,
    squared_distances,
)

F64 = torch.float64


def points(count, dim=4, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", 100)


def all_numbers(real, fake, k):
    return fidelity_and_coverage(balls(real, k), fake, k)


def test_distances_by_blocks_equal_the_whole_table(small_blocks):
    one, other = points(23), 100 + points(30, seed=1)
    blocks = [(start, block.clone()) for start, block in squared_distances(one, other)]
    assert [start for start, _ in blocks] == [0, 3, 6, 9, 12, 15, 18, 21]
    expected = torch.cdist(one.double(), other.double()).square()
    torch.testing.assert_close(torch.cat([block for _, block in blocks]), expected)


def test_equal_points_have_distance_zero_however_far_from_the_origin():
    cloud = 1000 + points(50)
    [(_, block)] = squared_distances(cloud, cloud)
    assert block.diagonal().tolist() == [0.0] * 50
    assert (nearest(cloud, cloud, 1)[0] == 0).all()


def test_a_copy_is_distinguished_from_near_twins_of_its_original():
    cloud = (100 * points(40)).repeat_interleave(4, 0) + 1e-3 * points(160, seed=1)
    near, which = nearest(cloud, cloud, 2)
    assert which[:, 0].tolist() == list(range(160))
    assert (which[:, 1] // 4).tolist() == [number // 4 for number in range(160)]
    assert near[:, 0].max() == 0 < near[:, 1].min()


def test_the_nearest_neighbours_are_sorted_and_exclude_the_point_itself(small_blocks):
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0], [15.0]])
    near, which = nearest(torch.tensor([[6.0], [0.2]]), line, 3)
    assert which.tolist() == [[3, 2, 1], [0, 1, 2]]
    torch.testing.assert_close(near[0].sqrt(), torch.tensor([1.0, 3.0, 5.0]).double())
    assert own_distances(line).sqrt().tolist() == [1.0, 1.0, 2.0, 4.0, 8.0]
    assert balls(line, 2).radii.sqrt().tolist() == pytest.approx([3.0, 2.0, 3.0, 6.0, 12.0])


def test_precision_and_recall_are_those_of_torch_fidelity(small_blocks):
    real, fake = points(200), 0.7 * points(150, seed=1) + 0.4
    ours = all_numbers(real, fake, k=3)
    for save_memory in (False, True):
        theirs = prc_features_to_metric(fake, real, prc_neighborhood=3, save_cpu_ram=save_memory, verbose=False)
        assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-3)
        assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-3)


def test_density_and_coverage_follow_their_definitions(small_blocks):
    real, fake, k = points(60), 0.8 * points(50, seed=1), 4
    radii = torch.cdist(real, real).kthvalue(k + 1).values  # itself is the nearest
    inside = torch.cdist(fake, real) <= radii
    ours = all_numbers(real, fake, k)
    assert ours["density"] == pytest.approx((inside.sum() / (k * 50)).item())
    assert ours["coverage"] == pytest.approx(inside.any(0).double().mean().item())


def test_clipped_metrics_follow_their_paper(small_blocks):
    real, fake, k = points(61), 1.3 * points(50, seed=1), 4
    among = torch.cdist(real, real)
    radii = among.kthvalue(k + 1).values
    short = radii.clamp(max=radii.median())
    counts = (torch.cdist(fake, real) <= short).sum(1)
    own_counts = ((among <= short) & ~torch.eye(61, dtype=torch.bool)).sum(1)
    expected = (counts / k).clamp(max=1).mean() / (own_counts / k).clamp(max=1).mean()
    ours = all_numbers(real, fake, k)
    assert ours["clipped_density"] == pytest.approx(expected.item())

    covered = ((torch.cdist(fake, real) <= radii).sum(0).clamp(max=k) / k).double().mean().item()

    def chances(good):  # of fewer than k in a ball, by SciPy
        return [scipy.stats.betabinom.pmf(few, good, k, 61 - k) for few in range(k)]

    curve = [1 - sum((k - few) * chance for few, chance in enumerate(chances(good))) / k for good in range(51)]
    first = next((good for good, value in enumerate(curve) if value >= covered), 51)
    assert ours["clipped_coverage"] == pytest.approx(first / 51)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_clipped_metrics_give_the_share_of_good_images_among_outliers_where_plain_ones_do_not(share):
    real, good = points(1500), points(1500, seed=1)
    fake = torch.cat([good[: int(share * 1500)], 50 + points(1500, seed=2)[int(share * 1500) :]])
    ours = all_numbers(real, fake, k=5)
    assert ours["clipped_density"] == pytest.approx(share, abs=0.04)
    assert ours["clipped_coverage"] == pytest.approx(share, abs=0.04)
    assert ours["coverage"] > share + 0.1 or share == 0.2


@pytest.mark.parametrize("equal", [60, 120, 200])
def test_among_equal_real_images_all_those_in_a_ball_count(equal):
    real = points(200)
    real[:equal] = real[0]
    k, ours = 5, balls(real, 5)
    distances = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    inside = distances <= ours.clipped_radii[:, None] * (1 + 1e-9)
    expected = ((inside.sum(0) - 1).clamp(max=k) / k).double().mean()
    assert float(ours.clipped_fidelity) == pytest.approx(float(expected))
    if equal == 200:  # half of the pictures are that one, and half are far away
        fake = torch.cat([real[:100], real[:100] + 50])
        assert all_numbers(real, fake, k)["clipped_density"] == pytest.approx(0.5)


def test_real_images_score_about_one():
    ours = all_numbers(points(1500), points(1500, seed=1), k=5)
    assert ours["clipped_density"] > 0.95
    assert ours["clipped_coverage"] > 0.95
    assert ours["density"] == pytest.approx(1.0, abs=0.05)
    assert ours["coverage"] == pytest.approx(1 - 2**-5, abs=0.02)  # the paper's expectation, 1 - 1 / 2^k


def test_one_outlier_ruins_the_plain_metrics_and_not_the_clipped_ones():
    real = torch.cat([points(300), torch.full((1, 4), 30.0)])
    fake = 20 + points(300, seed=1)
    ours = all_numbers(real, fake, k=5)
    assert ours["precision"] == 1.0
    assert ours["density"] > 0.19
    assert ours["clipped_density"] == 0.0


def test_the_curve_of_good_images_starts_at_zero_and_ends_at_all():
    assert share_of_good(0.0, 100, 50, 5) == 0.0
    assert share_of_good(1.0, 100, 50, 5) == 1.0
    half = [share_of_good(value, 10_000, 10_000, 5) for value in (0.3, 0.5, 0.7)]
    assert half == sorted(half)


@pytest.mark.parametrize("k", [1, 5])
def test_copies_of_the_reference_are_in_balls_and_on_their_edges(k):
    real = points(300)
    ours = all_numbers(real, real, k)
    # Each lies in its own ball and in those of whoever it is a neighbour of; those on the very edge count for all but
    # the density, as in the authors' code.
    assert ours["density"] == pytest.approx(1.0)
    assert (ours["precision"], ours["recall"], ours["coverage"]) == (1.0, 1.0, 1.0)


def test_images_closer_than_a_neighbour_are_memorised_and_so_are_equal_ones():
    training = torch.tensor([[0.0], [1.0], [5.0], [5.0]])
    fake = torch.tensor([[0.4], [-1.5], [5.0], [4.9], [1.9]])
    near, which = (found[:, 0] for found in nearest(fake, training, 1))
    # 0.4 and 1.9 are nearer than 1; -1.5 is not; of two equal training pictures only an exact copy counts.
    assert memorised(near, which, own_distances(training)) == pytest.approx(3 / 5)


def in_one_cell(fake, held_out):
    return copying_test(fake, held_out, torch.zeros(len(fake)).long(), torch.zeros(len(held_out)).long())


def mann_whitney(fake, held_out):
    """SciPy's z of the two, by its p-value."""
    theirs = scipy.stats.mannwhitneyu(fake, held_out, alternative="less", use_continuity=False, method="asymptotic")
    return scipy.stats.norm.ppf(theirs.pvalue)


def test_the_copying_test_in_one_cell_is_that_of_mann_and_whitney():
    fake, held_out = points(60, 1)[:, 0].square(), points(80, 1, seed=1)[:, 0].square() + 0.3
    z, p = in_one_cell(fake, held_out)
    assert z == pytest.approx(mann_whitney(fake, held_out), rel=1e-6)
    assert p == pytest.approx(scipy.stats.norm.cdf(z), rel=1e-6)
    assert in_one_cell(held_out, fake)[0] == pytest.approx(-z)


def test_equal_distances_share_their_ranks():
    fake, held_out = torch.tensor([0.0, 0.0, 1.0, 2.0]).repeat(3), torch.tensor([0.0, 1.0, 1.0, 3.0, 3.0]).repeat(3)
    assert in_one_cell(fake, held_out)[0] == pytest.approx(mann_whitney(fake, held_out))
    assert in_one_cell(torch.zeros(13), torch.zeros(14)) == (0.0, 0.5)
    assert math.isfinite(in_one_cell(torch.zeros(13), torch.ones(14))[0])


def test_cells_are_weighted_by_held_out_images_and_skipped_if_they_have_few_images():
    fake, held_out = points(110, 1)[:, 0].square(), points(125, 1, seed=1)[:, 0].square()
    fake_cells, held_out_cells = (
        torch.repeat_interleave(torch.tensor(counts)) for counts in ((40, 60, 9, 1), (30, 60, 35))
    )
    z, p = copying_test(fake, held_out, fake_cells, held_out_cells)
    scores = [mann_whitney(fake[fake_cells == cell], held_out[held_out_cells == cell]) for cell in (0, 1)]
    shares = [30 / 90, 60 / 90]
    expected = sum(share * score for share, score in zip(shares, scores, strict=True))
    assert z == pytest.approx(expected, rel=1e-6)
    assert p == pytest.approx(scipy.stats.norm.cdf(expected / math.hypot(*shares)), rel=1e-6)
    assert all(map(math.isnan, copying_test(fake[:9], held_out, fake_cells[:9], held_out_cells)))


def test_held_out_images_of_another_class_mix_are_not_reported_as_copies():
    """One class lies ten times as near to the training set as the other: as trousers do, and bags do not."""
    near, far = torch.rand(400, dtype=F64), 10 * torch.rand(400, dtype=F64)
    held_out, cells = torch.cat([near[:200], far[:200]]), torch.arange(2).repeat_interleave(200)
    fake, fake_cells = torch.cat([near[200:], far[200:220]]), torch.arange(2).repeat_interleave(torch.tensor([200, 20]))
    assert in_one_cell(fake, held_out)[0] < -6
    z, p = copying_test(fake, held_out, fake_cells, cells)
    assert abs(z) < 2
    assert p > 0.02
    copied = torch.cat([near[200:], torch.zeros(20, dtype=F64)])
    assert copying_test(copied, held_out, fake_cells, cells)[1] < 1e-4
