"""What tells generated images from real ones besides what they show is found, and nothing where there is nothing."""

import functools
import io

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from gan_runner.data import digits, emoji
from gan_runner.data.encodings import encodings_of
from gan_runner.detection.changes import to_size_and_back
from gan_runner.detection.guard import Kind, Reencoding, leaks

COUNT = 60  # images of a kind


@functools.cache
def whole(name):
    if name == "digits":
        return digits.load(image_size=28, limit=None)
    return emoji.load(image_size=32, channels=3, limit=None)


def pictures(name, seed=0):
    """Two sets of different real images, uint8 [COUNT, C, H, W]."""
    images = whole(name)
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[: 2 * COUNT]
    return images.pixels(rows).split(COUNT)


def as_jpeg(images, quality, **how):
    found = []
    for image in images.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality, **how)
        with Image.open(file) as written:
            found.append(np.asarray(written).reshape(image.shape))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


def written(folder, images, ending="png", **how):
    """Images as files, which are read as detectors see them."""
    folder.mkdir()
    for number, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        picture = Image.fromarray(image.squeeze())
        picture = picture.quantize(how["colours"]) if "colours" in how else picture
        picture.save(folder / f"{number:03}.{ending}", **{key: how[key] for key in how if key != "colours"})
    files = sorted(folder.iterdir())
    read = []
    for file in files:
        with Image.open(file) as picture:
            read.append(np.asarray(picture.convert("L" if images.shape[1] == 1 else "RGB")))
    pixels = torch.from_numpy(np.stack(read)).reshape(len(images), *images.shape[2:], -1).permute(0, 3, 1, 2)
    return Kind(pixels, encodings_of(files))


def said():
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "a generator")
    return text


FILES = {
    "format: JPEG beside PNG": ({"ending": "jpg", "quality": 90}, {}, "format"),
    "format: PNG beside JPEG": ({}, {"ending": "jpg", "quality": 90}, "format"),
    "format: lossless WebP beside PNG": ({"ending": "webp", "lossless": True}, {}, "format"),
    "format: GIF beside PNG": ({"ending": "gif"}, {}, "format"),
    "format: BMP beside PNG": ({"ending": "bmp"}, {}, "format"),
    "compression: quality": ({"ending": "jpg", "quality": 90}, {"ending": "jpg", "quality": 80}, "compression"),
    "compression: quality, hardly": ({"ending": "jpg", "quality": 95}, {"ending": "jpg", "quality": 94}, "compression"),
    "compression: chroma": (
        {"ending": "jpg", "quality": 90, "subsampling": 0},
        {"ending": "jpg", "quality": 90, "subsampling": 2},
        "compression",
    ),
    "compression: lossy WebP": ({"ending": "webp", "quality": 90}, {"ending": "webp", "lossless": True}, "compression"),
    "kind of pixels: a palette": ({"colours": 16}, {}, "kind of pixels"),
    "metadata: the program's name": ({"pnginfo": said()}, {}, "metadata"),
    "metadata: dots an inch": ({"dpi": (300, 300)}, {}, "metadata"),
}


@pytest.mark.parametrize("leak", FILES)
@pytest.mark.parametrize("name", ["emoji", "digits"])
def test_an_injected_difference_of_files_is_found(tmp_path, name, leak):
    if name == "digits" and leak == "compression: chroma":
        pytest.skip("grey images have none")
    real, generated = pictures(name)
    of_generated, of_real, what = FILES[leak]
    kinds = written(tmp_path / "real", real, **of_real), written(tmp_path / "generated", generated, **of_generated)
    assert next(each.partition(" (")[0] for each in leaks(*kinds)) == what


@pytest.mark.parametrize("quality", [98, 90, 50])
@pytest.mark.parametrize("side", ["real", "generated"])
@pytest.mark.parametrize("name", ["emoji", "digits"])
def test_jpeg_is_detected_in_pixels_that_are_stored_losslessly(name, side, quality):
    real, generated = pictures(name)
    kinds = (as_jpeg(real, quality), generated) if side == "real" else (real, as_jpeg(generated, quality))
    (found,) = leaks(*map(Kind, kinds))
    assert found.startswith(f"compression (the {side} ones have the blocks of JPEG")


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("leak", ["format", "size", "compression"])
def test_each_of_ten_injected_differences_is_found(tmp_path, leak, seed):
    real, generated = pictures("emoji", seed)
    if leak == "format":
        kinds = written(tmp_path / "a", real), written(tmp_path / "b", generated, "webp", lossless=True)
    elif leak == "size":
        side = 24 + seed if seed < 8 else 25 + seed
        size = written(tmp_path / "b", torch.nn.functional.interpolate(generated.float(), (side, side)).byte())
        kinds = written(tmp_path / "a", real), Kind(to_size_and_back(generated, (side, side)), size.files, scaled=True)
    else:
        kinds = Kind(real), Kind(as_jpeg(generated, 50 + 5 * seed))
    assert [each for each in leaks(*kinds) if each.startswith(leak)]


@pytest.mark.parametrize("levels", [2, 16, 64])
@pytest.mark.parametrize("side", ["real", "generated"])
def test_few_levels_are_detected(side, levels):
    real, generated = pictures("emoji")
    few = [(each // (256 // levels)) * (255 // (levels - 1)) for each in (real, generated)]
    kinds = (few[0], generated) if side == "real" else (real, few[1])
    assert any(each.startswith(f"levels (the {side} ones have at most") for each in leaks(*map(Kind, kinds)))


ALIKE = {
    "as they are": lambda images: images,
    "JPEG": lambda images: as_jpeg(images, 85),
    "few levels": lambda images: images // 16 * 16,
    "blurred": lambda images: to_size_and_back(images, (20, 20)),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("how", ALIKE)
@pytest.mark.parametrize("name", ["emoji", "digits"])
def test_nothing_is_found_between_images_that_were_made_alike(name, how, seed):
    assert leaks(*(Kind(ALIKE[how](each)) for each in pictures(name, seed))) == []


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_nothing_is_found_between_files_that_are_written_alike(tmp_path, ending):
    real, generated = pictures("emoji")
    assert leaks(written(tmp_path / "real", real, ending), written(tmp_path / "generated", generated, ending)) == []


@pytest.mark.parametrize("name", ["emoji", "digits"])
def test_differences_that_generated_images_have_anyway_are_not_a_leak(name):
    """Noise, blur, a pattern of every second pixel as of transposed convolutions, and grey without contrast."""
    real, generated = pictures(name)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(generated.shape, generator=generator) * 6
    pattern = 4 * (torch.arange(generated.shape[-1]) % 2).float()
    for changed in (
        generated + noise,
        to_size_and_back(generated, (16, 16)).float(),
        generated + pattern,
        120 + generated / 20,
    ):
        assert leaks(Kind(real), Kind(changed.round().clamp(0, 255).byte())) == []


@pytest.mark.parametrize("quality", [95, 90, 75])
def test_encoding_alike_removes_the_leak(quality):
    real, generated = pictures("emoji")
    alike = Reencoding.of([(24, 24), (32, 32)], (32, 32))
    assert alike.size == (12, 12)
    assert leaks(*(Kind(alike(each)) for each in (real, as_jpeg(generated, quality)))) == []
    assert Reencoding.of([(32, 32)], (32, 32)).size is None
