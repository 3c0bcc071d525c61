import math
from functools import partial

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.objectives import ada
from gan_runner.objectives.ada import Ada
from gan_runner.objectives.augment import DiffAugment, where_few

F64 = torch.float64
close = partial(torch.testing.assert_close, rtol=0, atol=1e-5, check_dtype=False)  # matrices are float32
PAPER = {
    "flip": ada.flip,
    "quarter_turn": ada.quarter_turn,
    "shift": partial(ada.shift, furthest=0.125),
    "scale": partial(ada.scale, octaves=0.2),
    "stretch": partial(ada.stretch, octaves=0.2),
    "rotation": partial(ada.rotation, turn=1.0),
    "fractional_shift": partial(ada.fractional_shift, std=0.125),
    "brightness": partial(ada.brightness, std=0.2),
    "contrast": partial(ada.contrast, octaves=0.5),
    "luma_flip": ada.luma_flip,
    "hue": partial(ada.hue, turn=1.0),
    "saturation": partial(ada.saturation, octaves=1.0),
}
OF_PLACES = list(PAPER)[:7]
HALF = ("flip", "luma_flip")  # which leave every second image that they are applied to as it is


def ada_of(p=1.0, **operations):
    return Ada(p, target=0.6, every=4, speed=1000, operations=operations)


def pictures(count=64, channels=3, height=8, width=8):
    return torch.rand(count, channels, height, width, dtype=F64) * 2 - 1


def changed(augment, images):
    return augment.draw(images)(images)


def constant(*rows):
    """An operation that gives every image the same matrix."""
    return lambda images: torch.tensor(rows, dtype=F64).expand(len(images), -1, -1)


# ---- operations on places -----------------------------------------------------------------------------------


def rolled(image, down, right):
    """An image moved by whole pixels, its reflection coming in: by the definition, pixel by pixel."""
    _, height, width = image.shape
    twice = torch.cat([image, image.flip(2)], 2)
    twice = torch.cat([twice, twice.flip(1)], 1)
    return twice.roll((down, right), (1, 2))[:, :height, :width]


def ways(before, after, candidates):
    return [name for name, candidate in candidates(before).items() if torch.equal(candidate, after)]


@pytest.mark.parametrize(
    ("name", "candidates", "count"),
    [
        ("flip", lambda image: {"as it is": image, "mirrored": image.flip(2)}, 2),
        ("quarter_turn", lambda image: {turns: image.rot90(turns, (1, 2)) for turns in range(4)}, 4),
        (
            "shift",
            lambda image: {(down, right): rolled(image, down, right) for down in (-1, 0, 1) for right in range(-2, 3)},
            15,
        ),
    ],
)
def test_moves_by_whole_pixels_are_exact_and_every_one_equally_frequent(name, candidates, count):
    images = pictures(count=750, width=8 if name == "quarter_turn" else 16)
    seen = [
        ways(*pair, candidates) for pair in zip(images, changed(ada_of(**{name: PAPER[name]}), images), strict=True)
    ]
    assert all(len(ways_of_image) == 1 for ways_of_image in seen)
    tally = [seen.count([way]) for way in candidates(images[0])]
    assert sum(tally) == 750
    assert all(abs(times - 750 / count) < 5 * math.sqrt(750 / count) for times in tally)


def plane(height, width, across, down):
    """Images whose pixels are linear in their place, [1, 1, H, W], for which linear interpolation is exact."""
    x = torch.arange(width, dtype=F64) - (width - 1) / 2
    y = torch.arange(height, dtype=F64) - (height - 1) / 2
    return (across * x + down * y[:, None])[None, None]


@pytest.mark.parametrize("name", OF_PLACES)
def test_pixels_come_from_the_place_that_the_matrix_names_if_it_is_inside(name):
    across, down = (plane(32, 32, *weights).expand(50, -1, -1, -1) for weights in ((1.0, 0.0), (0.0, 1.0)))
    augment = ada_of(**{name: PAPER[name]})
    torch.manual_seed(4)
    view = augment.draw(across)
    torch.manual_seed(4)
    torch.rand(1, 50, 1, 1)  # which operations are applied
    matrices = PAPER[name](across).to(F64)
    places = torch.stack([across[0, 0], down[0, 0], torch.ones(32, 32, dtype=F64)])
    x, y, _ = torch.einsum("bij,jhw->ibhw", matrices, places)
    inside = (x.abs() <= 15.5) & (y.abs() <= 15.5)
    assert inside.double().mean() > 0.5
    for images, wanted in ((across, x), (down, y)):
        close(view(images)[:, 0][inside], wanted[inside], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "determinant"), [("rotation", 1), ("stretch", 1), ("fractional_shift", 1)])
def test_rotations_stretches_and_moves_keep_areas(name, determinant):
    matrices = PAPER[name](pictures(count=500))
    close(torch.linalg.det(matrices), torch.full((500,), float(determinant)))


def test_scales_and_stretches_are_log_normal_and_shifts_are_normal_relative_to_the_size():
    images = pictures(count=20_000, channels=1, height=2, width=4)
    octaves = -PAPER["scale"](images)[:, 0, 0].log2()
    assert float(octaves.mean()) == pytest.approx(0, abs=0.01)
    assert float(octaves.std()) == pytest.approx(0.2, abs=0.01)
    stretched = PAPER["stretch"](images)
    close(stretched[:, 0, 0] * stretched[:, 1, 1], torch.ones(20_000))
    assert float(stretched[:, 1, 1].log2().std()) == pytest.approx(0.2, abs=0.01)
    moved = PAPER["fractional_shift"](images)
    assert float(moved[:, 0, 2].std()) == pytest.approx(0.125 * 4, abs=0.02)
    assert float(moved[:, 1, 2].std()) == pytest.approx(0.125 * 2, abs=0.02)


def test_rotations_stay_within_their_share_of_a_turn():
    images = pictures(count=5000, height=2, width=2)
    for turn in (1.0, 0.25):
        matrices = ada.rotation(images, turn=turn)
        angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0])
        assert angles.abs().max() <= math.pi * turn
        assert float(angles.std()) == pytest.approx(2 * math.pi * turn / math.sqrt(12), rel=0.05)


def test_halfway_between_two_pixels_is_their_mean_and_beyond_the_edge_is_the_reflection():
    row = torch.tensor([1.0, 3.0, 7.0], dtype=F64).view(1, 1, 1, 3)
    half = constant([1, 0, 0.5], [0, 1, 0], [0, 0, 1])
    assert changed(ada_of(half=half), row).flatten().tolist() == [2, 5, 7]
    far = constant([1, 0, 4], [0, 1, 0], [0, 0, 1])
    assert changed(ada_of(far=far), row).flatten().tolist() == [3, 1, 1]


def test_coordinates_are_changed_in_the_order_of_the_operations():
    images = pictures(count=1)
    right = constant([1, 0, -1], [0, 1, 0], [0, 0, 1])
    turned = constant([0, -1, 0], [1, 0, 0], [0, 0, 1])
    alone = changed(ada_of(turned=turned), images)[0]
    turns = next(turns for turns in range(4) if torch.equal(images[0].rot90(turns, (1, 2)), alone))
    first = changed(ada_of(right=right, turned=turned), images)[0]
    assert torch.equal(first, rolled(images[0], 0, 1).rot90(turns, (1, 2)))
    assert torch.equal(changed(ada_of(turned=turned, right=right), images)[0], rolled(alone, 0, 1))


# ---- operations on colours ----------------------------------------------------------------------------------


def grey_of(images):
    return images[:, :3].mean(1, keepdim=True)


def ratios(after, before):
    """By which factor each image was multiplied, [B], and that all its pixels were."""
    factors = (after / before).flatten(1)
    close(factors, factors[:, :1].expand_as(factors), rtol=1e-3, atol=1e-3)
    return factors[:, 0]


def test_brightness_adds_a_normal_number_and_contrast_multiplies_by_a_log_normal_one():
    images = pictures(count=4000, height=2, width=2)
    added = (changed(ada_of(brightness=PAPER["brightness"]), images) - images).flatten(1)
    close(added, added[:, :1].expand_as(added))
    assert float(added[:, 0].std()) == pytest.approx(0.2, abs=0.02)
    octaves = ratios(changed(ada_of(contrast=PAPER["contrast"]), images), images).log2()
    assert float(octaves.std()) == pytest.approx(0.5, abs=0.05)


def test_luma_flip_negates_the_grey_and_keeps_the_rest():
    images = pictures()
    after = changed(ada_of(luma_flip=ada.luma_flip), images)
    close(after - grey_of(after), images - grey_of(images))
    signs = ratios(grey_of(after), grey_of(images))
    assert sorted({round(float(sign)) for sign in signs}) == [-1, 1]


def test_saturation_multiplies_the_distance_from_the_grey_by_a_log_normal_number():
    images = pictures(count=4000, height=2, width=2)
    after = changed(ada_of(saturation=PAPER["saturation"]), images)
    close(grey_of(after), grey_of(images))
    octaves = ratios(after - grey_of(after), images - grey_of(images)).log2()
    assert float(octaves.std()) == pytest.approx(1.0, abs=0.1)


def test_hue_rotates_colours_around_the_grey_ones():
    images = pictures(count=2000, height=2, width=2)
    after = changed(ada_of(hue=PAPER["hue"]), images)
    close(grey_of(after), grey_of(images))
    close(after.norm(dim=1), images.norm(dim=1))
    third = ada.hue(images, turn=1.0)
    angles = torch.acos(((third[:, :3, :3].diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert float(angles.mean()) == pytest.approx(math.pi / 2, abs=0.1)


@pytest.mark.parametrize("name", ["hue", "saturation"])
def test_of_grey_images_hue_and_saturation_change_nothing(name):
    images = pictures(channels=1)
    close(changed(ada_of(**{name: PAPER[name]}), images), images)


@pytest.mark.parametrize("name", ["brightness", "contrast", "luma_flip"])
def test_a_grey_image_changes_as_one_in_colour_with_equal_channels_does(name):
    images, augment = pictures(channels=1), ada_of(**{name: PAPER[name]})
    torch.manual_seed(2)
    grey = changed(augment, images)
    torch.manual_seed(2)
    close(changed(augment, images.expand(-1, 3, -1, -1)), grey.expand(-1, 3, -1, -1))


def test_a_fourth_channel_moves_along_and_keeps_its_value():
    images = pictures(channels=4)
    colours = {name: PAPER[name] for name in PAPER if name not in OF_PLACES}
    assert torch.equal(changed(ada_of(**colours), images)[:, 3], images[:, 3])
    assert not torch.equal(changed(ada_of(shift=PAPER["shift"]), images)[:, 3], images[:, 3])


# ---- how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 12), (4, 8, 8)])
def test_with_probability_0_images_stay_the_same_bit_for_bit(shape):
    channels, height, width = shape
    images = pictures(8, channels, height, width)
    for version in (images, images.float()):
        assert torch.equal(changed(ada_of(0.0, **PAPER), version), version)


@pytest.mark.parametrize("name", list(PAPER))
def test_each_operation_applies_with_its_probability(name):
    images = pictures(count=2000, height=16, width=16)
    touched = (changed(ada_of(0.3, **{name: PAPER[name]}), images) - images).flatten(1).abs().amax(1) > 1e-6
    same = {"quarter_turn": 1 / 4, "shift": 1 / 25}.get(name, 1 / 2 if name in HALF else 0)
    assert float(touched.double().mean()) == pytest.approx(0.3 * (1 - same), abs=0.05)


def test_with_quarter_turns_upright_images_stay_the_most_frequent():
    p, images = 0.8, pictures(count=4000, channels=1, height=2, width=2)
    after = changed(ada_of(p, quarter_turn=ada.quarter_turn), images)
    shares = [float((after == images.rot90(k, (2, 3))).flatten(1).all(1).double().mean()) for k in range(4)]
    assert shares == pytest.approx([1 - p + p / 4] + [p / 4] * 3, abs=0.03)


def test_an_operation_that_is_switched_off_is_left_out():
    images = pictures()
    assert torch.equal(changed(ada_of(flip=None, hue=None), images), images)
    assert torch.equal(changed(ada_of(), images), images)


# ---- views --------------------------------------------------------------------------------------------------


def test_a_view_makes_the_same_change_at_every_call_and_of_several_batches_alike():
    images, others = pictures(), pictures()
    view = ada_of(**PAPER).draw(images)
    assert torch.equal(view(images), view(images))
    close(view(torch.cat([images, others])), torch.cat([view(images), view(others)]))


def test_the_same_random_numbers_make_the_same_change():
    images, augment = pictures(), ada_of(**PAPER)
    views = []
    for _ in range(2):
        torch.manual_seed(5)
        views.append(augment.draw(images)(images))
    assert torch.equal(*views)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gradients_of_first_and_second_order_pass(channels):
    images = pictures(2, channels, 3, 4).requires_grad_()
    view = ada_of(**PAPER).draw(images)
    assert torch.autograd.gradcheck(view, images)
    assert torch.autograd.gradgradcheck(lambda x: view(x).square(), images)


@pytest.mark.parametrize("channels_last", [False, True])
def test_neither_memory_format_nor_autocast_changes_the_result(channels_last):
    images, augment = pictures().float(), ada_of(**PAPER)
    torch.manual_seed(6)
    wanted = changed(augment, images)
    laid_out = images.contiguous(memory_format=torch.channels_last) if channels_last else images
    torch.manual_seed(6)
    with torch.autocast("cpu", torch.bfloat16):
        after = changed(augment, laid_out)
    close(after, wanted)
    assert after.dtype == torch.float32


# ---- the chance, and what is refused ------------------------------------------------------------------------


def test_the_probability_follows_ds_confidence_and_is_kept_in_a_checkpoint():
    augment, other = ada_of(0.0, **PAPER), ada_of(0.0, **PAPER)
    for _ in range(4):
        augment.adapt(torch.full((10,), 2.0), 10)
    assert float(augment.p) == pytest.approx(0.04)
    other.load_state_dict(augment.state_dict())
    assert float(other.p) == float(augment.p)


@pytest.mark.parametrize("operation", [3, "flip"])
def test_an_operation_that_is_not_a_function_is_refused_with_the_key(operation):
    with pytest.raises(UserError, match=r"augment\.operations\.mine is .* null"):
        ada_of(mine=operation)


@pytest.mark.parametrize("shape", [(64, 2, 2), (4, 4), (1, 3, 3)])
def test_an_operation_that_gives_no_matrix_for_each_image_is_refused(shape):
    with pytest.raises(UserError, match=r"augment\.operations\.mine .* gives a float32 tensor of shape"):
        ada_of(mine=lambda images: torch.zeros(shape)).draw(pictures())


def test_auto_augments_only_small_training_sets():
    few = DiffAugment(1.0, 0.5, 1.0, 0.5, 0.125, 0.5)
    assert where_few(few, at_most=500, num_images=500) is few
    assert where_few(few, at_most=500, num_images=501) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_synchronises_with_the_device(never_waiting):
    augment = ada_of(0.5, **PAPER).cuda()
    images = torch.rand(8, 3, 16, 16, device="cuda", requires_grad=True)
    for _ in range(2):
        with never_waiting():
            augment.draw(images)(images).sum().backward()
