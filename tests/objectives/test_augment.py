import pytest
import torch

from gan_runner.objectives.augment import Adaptive, DiffAugment

F64 = torch.float64
NOTHING = {"brightness": 0.0, "saturation": 0.0, "contrast": 0.0, "translation": 0.0, "cutout": 0.0}
PAPER = {"brightness": 0.5, "saturation": 1.0, "contrast": 0.5, "translation": 0.125, "cutout": 0.5}


def only(p=1.0, **sizes):
    return DiffAugment(p=p, **{**NOTHING, **sizes})


def pictures(count=64, channels=3, size=16):
    return torch.rand(count, channels, size, size, dtype=F64) * 2 - 1


def changed(augment, images):
    return augment.draw(images)(images)


# ---- what each change does --------------------------------------------------------------------------------


def test_brightness_adds_one_bounded_number_to_an_image():
    images = pictures()
    added = (changed(only(brightness=0.5), images) - images).flatten(1)
    assert added.std(dim=1).max() < 1e-6
    assert added.abs().max() <= 0.5
    assert added[:, 0].min() < -0.3
    assert added[:, 0].max() > 0.3


def test_saturation_scales_a_pixels_distance_from_its_grey_between_0_and_2():
    images = pictures()
    after = changed(only(saturation=1.0), images)
    grey = images.mean(1, keepdim=True)
    torch.testing.assert_close(after.mean(1, keepdim=True), grey)
    factors = ((after - grey) / (images - grey)).flatten(1)
    assert (factors - factors[:, :1]).abs().max() < 1e-4
    assert 0 <= factors[:, 0].min() < 0.3
    assert 1.7 < factors[:, 0].max() <= 2


def test_saturation_leaves_grey_images_unchanged_bit_for_bit():
    images = pictures(channels=1)
    assert torch.equal(changed(only(saturation=1.0), images), images)


def test_contrast_scales_a_pixels_distance_from_the_images_mean():
    images = pictures(channels=1)
    after = changed(only(contrast=0.5), images)
    mean = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(after.mean((1, 2, 3), keepdim=True), mean)
    factors = ((after - mean) / (images - mean)).flatten(1)
    assert (factors - factors[:, :1]).abs().max() < 1e-4
    assert 0.5 <= factors[:, 0].min() < 0.6
    assert 1.4 < factors[:, 0].max() <= 1.5


def shifted(image, down, right):
    """An image moved by whole pixels, with zeros where nothing was."""
    _, height, width = image.shape
    moved = torch.zeros_like(image)
    rows, columns = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    moved[:, rows, columns] = image[:, slice(max(-down, 0), height + min(-down, 0)),
                                    slice(max(-right, 0), width + min(-right, 0))]  # fmt: skip
    return moved


def test_translation_moves_an_image_by_whole_pixels_up_to_an_eighth_and_fills_with_zeros():
    images = pictures(count=200)[:, :, :, :8]  # 16 by 8: two rows and one column either way
    seen = set()
    for before, after in zip(images, changed(only(translation=0.125), images), strict=True):
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in (-1, 0, 1)
            if torch.equal(shifted(before, down, right), after)
        ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) == 15


@pytest.mark.parametrize("size", [15, 16])
def test_cutout_blanks_a_square_of_half_the_side_that_may_lie_across_the_edge(size):
    images = pictures(count=300, size=size) + 3  # no pixel is 0 by itself
    after = changed(only(cutout=0.5), images)
    gone = after == 0
    assert torch.equal(after[~gone], images[~gone])
    assert torch.equal(gone[:, :1].expand_as(gone), gone)  # the same in every channel
    rows, columns = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    assert torch.equal(gone[:, 0].sum((1, 2)), rows * columns)
    assert int(rows.max()) == int(columns.max()) == 8
    assert int(rows.min()) == int(columns.min()) == 4


def test_together_the_changes_are_applied_in_their_order():
    images = pictures(count=8)
    torch.manual_seed(3)
    after = changed(DiffAugment(p=1.0, **PAPER), images)
    steps = images
    for name, size in PAPER.items():
        torch.manual_seed(3)
        steps = changed(only(**{name: size}), steps)
    torch.testing.assert_close(after, steps)


# ---- how often --------------------------------------------------------------------------------------------


def test_with_probability_0_images_stay_the_same_bit_for_bit():
    images = pictures()
    assert torch.equal(changed(DiffAugment(p=0.0, **PAPER), images), images)


@pytest.mark.parametrize("name", ["brightness", "saturation", "contrast", "translation", "cutout"])
def test_each_change_applies_with_its_probability(name):
    images = pictures(count=2000, size=8)
    touched = (changed(only(p=0.3, **{name: 0.5}), images) != images).flatten(1).any(1)
    assert float(touched.double().mean()) == pytest.approx(0.3, abs=0.05)


def test_the_probability_is_read_in_place_at_every_draw():
    augment, images = DiffAugment(p=0.0, **PAPER), pictures()
    augment.p.fill_(1.0)
    assert not torch.equal(changed(augment, images), images)


# ---- views ------------------------------------------------------------------------------------------------


def test_a_view_makes_the_same_change_at_every_call_and_another_draw_another_one():
    images, augment = pictures(), DiffAugment(p=1.0, **PAPER)
    view = augment.draw(images)
    assert torch.equal(view(images), view(images))
    assert not torch.equal(augment.draw(images)(images), view(images))


def test_a_view_of_several_batches_at_once_changes_each_in_the_same_way():
    images, others = pictures(), pictures()
    view = DiffAugment(p=1.0, **PAPER).draw(images)
    torch.testing.assert_close(view(torch.cat([images, others])), torch.cat([view(images), view(others)]))


def test_each_image_is_changed_independently():
    images = pictures()
    view = DiffAugment(p=1.0, **PAPER).draw(images)
    others = torch.cat([images[:1], pictures(63)])
    torch.testing.assert_close(view(others)[0], view(images)[0])


def test_gradients_of_first_and_second_order_pass():
    images = pictures(count=2, size=6).requires_grad_()
    view = DiffAugment(p=1.0, **PAPER).draw(images)
    assert torch.autograd.gradcheck(view, images)
    assert torch.autograd.gradgradcheck(lambda x: view(x).square(), images)


@pytest.mark.parametrize("channels_last", [False, True])
def test_neither_memory_format_nor_autocast_changes_the_result(channels_last):
    images = pictures().float()
    view = DiffAugment(p=1.0, **PAPER).draw(images)
    laid_out = images.contiguous(memory_format=torch.channels_last) if channels_last else images
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(view(laid_out), view(images))
        assert view(images).dtype == torch.float32


# ---- the adaptive chance ----------------------------------------------------------------------------------


def adaptive(p=0.0, target=0.6, every=4, speed=1000):
    return Adaptive(p=p, **PAPER, target=target, every=every, speed=speed)


SURE, UNSURE = torch.full((10,), 2.0), torch.tensor([1.0, -1.0] * 5)


def test_p_rises_while_d_is_too_confident_by_the_images_since_and_falls_otherwise():
    augment = adaptive()
    chances = []
    for logits in [SURE] * 8 + [UNSURE] * 4:
        augment.adapt(logits, 10)
        chances.append(round(float(augment.p), 6))
    # 40 of 1,000 images between two changes
    assert chances == [0, 0, 0, 0.04, 0.04, 0.04, 0.04, 0.08, 0.08, 0.08, 0.08, 0.04]


def test_the_signs_of_all_updates_since_the_last_change_count():
    augment = adaptive(p=0.5)
    for logits in (SURE, SURE, SURE, UNSURE):  # E sign = 0.75, above 0.6
        augment.adapt(logits, 10)
    assert float(augment.p) == pytest.approx(0.54)
    for logits in (SURE, SURE, UNSURE, UNSURE):  # 0.5, below
        augment.adapt(logits, 10)
    assert float(augment.p) == pytest.approx(0.5)


def test_p_does_not_change_at_its_target():
    augment = adaptive(p=0.5, target=0.0, every=1)
    augment.adapt(UNSURE, 10)
    assert float(augment.p) == 0.5


@pytest.mark.parametrize(("start", "logits", "end"), [(0.99, SURE, 1.0), (0.01, -SURE, 0.0)])
def test_p_stays_a_probability(start, logits, end):
    augment = adaptive(p=start, every=1, speed=10)
    augment.adapt(logits, 10)
    assert float(augment.p) == end


def test_a_map_of_patches_counts_as_its_mean():
    augment = adaptive(p=0.5, every=1)
    augment.adapt(torch.ones(10, 3, 3), 10)
    assert float(augment.p) == pytest.approx(0.51)


def test_a_checkpoint_keeps_the_adaptive_probability_and_loads_in_place():
    one, other = adaptive(), adaptive()
    address = other.p.data_ptr()
    for _ in range(6):
        one.adapt(SURE, 10)
    other.load_state_dict(one.state_dict())
    assert other.p.data_ptr() == address
    for _ in range(2):
        one.adapt(SURE, 10)
        other.adapt(SURE, 10)
    assert float(one.p) == float(other.p) == pytest.approx(0.08)


def test_a_fixed_probability_comes_from_the_config_and_not_from_the_checkpoint():
    augment = DiffAugment(p=0.5, **PAPER)
    augment.adapt(SURE, 10)
    assert float(augment.p) == 0.5
    assert augment.state_dict() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_synchronises_with_the_device(never_waiting):
    augment = adaptive().cuda()
    images = torch.rand(8, 3, 16, 16, device="cuda", requires_grad=True)
    logits = torch.ones(8, device="cuda")
    for _ in range(2):
        with never_waiting():
            augment.draw(images)(images).sum().backward()
            augment.adapt(logits, 8)
