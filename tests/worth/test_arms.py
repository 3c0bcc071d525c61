"""What each arm learns from: which images, how often, and that repetitions are paired."""

import pytest
import torch

from gan_runner.seeds import generator_for
from gan_runner.worth.arms import OVERSAMPLING, REAL, Pool, arms
from gan_runner.worth.classifier import Recipe, changed, counts_of, probabilities, trained

SHAPE = (1, 8, 8)


def pool(kept=(12, 4), held_back=(0, 40), generated=(20, 40)):
    """Rows of images that do not matter: kept, then held back, then generated, class by class."""
    rows, start = [], 0
    for counts in (kept, held_back, generated):
        parts = []
        for count in counts:
            parts.append(torch.arange(start, start + count))
            start += count
        rows.append(parts)
    return Pool(torch.zeros(start, *SHAPE, dtype=torch.uint8), *rows, scarce=(1,))


def arm(name, held_back=10.0):
    return next(each for each in arms(held_back) if each.name == name)


def test_images_are_added_only_to_scarce_classes():
    some = pool()
    for each in arms(10.0):
        common, scarce = some.rows(each, 0, 0)
        if each.kind == "alone":
            assert common.equal(some.generated[0])
            continue
        assert common.equal(some.kept[0]), each.name
        assert scarce[:4].equal(some.kept[1]), each.name
        assert len(scarce) == 4 + round(4 * each.ratio), each.name
        source = {"curve": some.held_back, "held back": some.held_back, "generated": some.generated}
        assert set(scarce[4:].tolist()) <= set(source.get(each.kind, some.kept)[1].tolist()), each.name


def test_repeats_contain_every_image_equally_often():
    scarce = pool().rows(arm("control: repeats x3"), 0, 0)[1]
    assert scarce.bincount(minlength=16)[12:16].tolist() == [4, 4, 4, 4]


def test_a_larger_number_of_real_images_contains_the_smaller_and_no_image_twice():
    some = pool()
    few, more = (set(some.rows(arm(f"more real x{ratio}"), 0, 3)[1].tolist()) for ratio in ("1", "10"))
    assert few < more
    assert len(more) == 44


def test_repetitions_and_the_control_use_different_real_images():
    some = pool()
    drawn = {
        tuple(some.rows(each, 0, number)[1].tolist())
        for each in (arm("more real x3"), arm("control: held-back real x3"))
        for number in range(3)
    }
    assert len(drawn) == 6


@pytest.mark.parametrize(
    ("held_back", "ratios"),
    [(120.0, [0.3, 1, 3, 10]), (10.0, [0.3, 1, 3, 10]), (1.0, [0.3, 1]), (0.5, [0.3, 0.5]), (5.0, [0.3, 1, 3, 5])],
)
def test_the_curve_ends_with_the_available_real_images(held_back, ratios):
    plan = arms(held_back)
    assert [each.ratio for each in plan if each.kind == "curve"] == ratios
    controls = {each.ratio for each in plan if each.kind in ("held back", "repeats")}
    assert controls == {min(3.0, held_back)}


def test_names_of_arms_are_all_different():
    for held_back in (0.5, 1.0, 2.345, 10.0):
        names = [each.name for each in arms(held_back)]
        assert len(set(names)) == len(names)


def learnable():
    """Two classes that differ in which half is bright; the second one has three images to learn from."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 60, (80, *SHAPE), dtype=torch.uint8, generator=generator)
    images[:40, :, :4] += 120
    images[40:, :, 4:] += 120
    return images, [torch.arange(30), torch.arange(40, 43)]


RECIPE = Recipe(updates=12, batch_size=16, seed=0, number=0)


def test_every_arm_learns_to_classify():
    images, rows = learnable()
    labels = torch.tensor([0] * 10 + [1] * 30)
    for name in ("real", "class weights", "oversampling", "shifts", "shifts and flips", "mixup"):
        net = trained(images, rows, arm(name), RECIPE)
        counts = counts_of(net, torch.cat([images[30:40], images[50:]]), labels, 2)
        assert sum(counts.predicted) == 40
        assert sum(counts.correct) >= 36, name


def test_a_classifier_is_the_same_bit_for_bit_when_trained_again():
    images, rows = learnable()
    torch.manual_seed(5)
    first = trained(images, rows, arm("shifts and flips"), RECIPE)
    torch.rand(3)
    second = trained(images, rows, arm("shifts and flips"), RECIPE)
    assert probabilities(first, images).equal(probabilities(second, images))
    other = trained(images, rows, arm("shifts and flips"), Recipe(12, 16, seed=0, number=1))
    assert not probabilities(first, images).equal(probabilities(other, images))


def test_repeats_of_every_class_learn_what_oversampling_learns():
    """Repeats of whole classes are the same distribution; with the same random numbers they are the same batches."""
    images, rows = learnable()
    repeated = [each.repeat_interleave(2) for each in rows]
    nets = [trained(images, some, OVERSAMPLING, RECIPE) for some in (rows, repeated)]
    assert probabilities(nets[0], images).equal(probabilities(nets[1], images))


def test_classes_are_equally_frequent_except_in_the_plain_arms():
    images, rows = learnable()
    rows = [rows[0], rows[1][:1]]
    images[rows[1]] = 255  # a class of one image that looks like no other
    plain, balanced = (trained(images, rows, each, RECIPE) for each in (REAL, OVERSAMPLING))
    seen = [float(probabilities(net, images[rows[1]])[0, 1]) for net in (plain, balanced)]
    assert seen[1] > seen[0]


def test_shifts_move_whole_images_and_flips_mirror_half_of_them():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    shifted = changed(images, "shifts", generator_for(0, "test"))
    moves = {
        (down, right): torch.stack(
            [images[0, 0, (torch.arange(8) + down).clamp(0, 7)][:, (torch.arange(8) + right).clamp(0, 7)]]
        )
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    kinds = [next(move for move, expected in moves.items() if each.equal(expected)) for each in shifted]
    assert set(kinds) == set(moves)
    both = changed(images, "shifts and flips", generator_for(0, "test"))
    mirrored = sum(any(each.flip(2).equal(expected) for expected in moves.values()) for each in both)
    assert 70 < mirrored < 130
    assert changed(images, "mixup", generator_for(0, "test")).equal(images)
