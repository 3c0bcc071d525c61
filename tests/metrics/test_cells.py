import torch

from gan_runner.metrics.cells import k_means, nearest_centre

F64 = torch.float64


def test_centres_of_separate_groups_are_their_means_and_cells_are_the_groups():
    groups = [torch.randn(size, 3, dtype=F64) + 50 * place for place, size in enumerate((20, 30, 40))]
    centres = k_means(torch.cat(groups), 3, seed=0)
    centres = centres[centres[:, 0].argsort()]
    torch.testing.assert_close(centres, torch.stack([group.mean(0) for group in groups]))
    assert [nearest_centre(group, centres).unique().tolist() for group in groups] == [[0], [1], [2]]


def test_fewer_distinct_points_than_centres_are_no_error():
    assert k_means(torch.zeros(5, 2), 3, seed=0).tolist() == [[0.0, 0.0]] * 3


def test_the_same_seed_gives_the_same_centres():
    points = torch.randn(100, 4)
    assert torch.equal(k_means(points, 7, seed=3), k_means(points, 7, seed=3))
