import torch

from gan_runner.data import digits, stacked
from gan_runner.data.halves import halves


def test_both_halves_together_are_the_set_with_its_labels():
    whole = digits.load(None, None)
    even, odd = halves(whole)
    assert (len(even), len(odd)) == (899, 898)
    for first, half in enumerate((even, odd)):
        rows = torch.arange(len(half))
        assert torch.equal(half.pixels(rows), whole.images[first::2])
        assert torch.equal(half.labels, whole.labels[first::2])
        assert torch.equal(half.conditions(rows)["label"], half.labels)
    assert len({even.fingerprint, odd.fingerprint, whole.fingerprint}) == 3


def test_a_limit_moves_no_image_from_one_half_to_the_other():
    for half, limited in zip(halves(digits.load(None, None)), halves(digits.load(None, 101)), strict=True):
        assert torch.equal(limited.pixels(torch.arange(len(limited))), half.pixels(torch.arange(len(limited))))


def test_stacks_of_the_two_halves_share_no_image_of_the_source():
    whole = stacked.load("digits", "nowhere", False, None, 300, 0, None)
    even, odd = halves(whole)
    for first, half in enumerate((even, odd)):
        assert len(half) == 300
        rows = 2 * half.layers + first  # of the source
        assert torch.equal(half.pixels(torch.arange(300)), whole.source.images[rows.flatten()].view(300, 3, 8, 8))
        labels = whole.source.labels[rows]
        assert torch.equal(half.labels, labels[:, 0] * 100 + labels[:, 1] * 10 + labels[:, 2])
