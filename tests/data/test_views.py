"""The ways to show an image: each is a mirrored or cropped version, and a pair has the same one on both sides."""

import pytest
import torch

from gan_runner.data import Batch, make_loader
from gan_runner.data.batch import SOURCE
from gan_runner.data.views import Views, views_of

RAMP = torch.arange(0, 160, 20, dtype=torch.uint8).expand(1, 1, 6, 8)  # brighter to the right by 20 a pixel


def test_every_crop_and_every_mirrored_crop_has_a_number():
    assert len(Views()) == 1
    assert len(Views(flip=True)) == 2
    assert len(Views(margin=(2, 3))) == 12
    assert len(Views(flip=True, margin=(2, 3))) == 24
    assert views_of((3, 256, 256), flip=True, random_crop=30 / 256).margin == (30, 30), "as published: 286 pixels"
    assert views_of((3, 32, 64), flip=False, random_crop=0.125).margin == (4, 8)


def test_a_crop_starts_at_its_row_and_column_of_the_enlarged_image():
    """Enlarged from 8 to 12 columns, the ramp rises by 40 / 3 a pixel; from one crop to the next it moves by that."""
    views = Views(margin=(3, 4))
    shown = views.show(Batch(RAMP.repeat(20, 1, 1, 1)), torch.arange(20)).images.float()
    assert shown.shape == (20, 1, 6, 8)
    assert torch.equal(shown[:5].repeat(4, 1, 1, 1), shown), "rows of a ramp are alike"
    for column in range(1, 5):
        assert torch.equal(shown[column, ..., :-1], shown[column - 1, ..., 1:])
    assert (shown[2, 0, 0].diff()[1:-1] - 40 / 3).abs().max() <= 1
    tall = views.show(Batch(RAMP.transpose(2, 3).repeat(20, 1, 1, 1)[..., :6, :]), torch.arange(20)).images
    assert torch.equal(tall[0, ..., 1:, :], tall[5, ..., :-1, :]), "the next row is the next but four"


def test_a_mirrored_crop_is_the_mirror_image_of_the_crop():
    pictures = torch.randint(0, 256, (8, 3, 6, 8), dtype=torch.uint8)[:1].repeat(40, 1, 1, 1)
    plain = Views(margin=(3, 4)).show(Batch(pictures), torch.arange(40) // 2).images
    both = Views(flip=True, margin=(3, 4)).show(Batch(pictures), torch.arange(40)).images
    assert torch.equal(both[0::2], plain[0::2])
    assert torch.equal(both[1::2], plain[1::2].flip(-1))


class PairsOfOne:
    """Pairs in which source and image are the same picture, the source in three channels."""

    name, shape, labels, classes, fingerprint = "same", (1, 8, 8), torch.arange(5), tuple("abcde"), "0"
    _all = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)

    def __len__(self):
        return 5

    def pixels(self, indices):
        return self._all[indices]

    def conditions(self, indices):
        return {SOURCE: self._all[indices].repeat(1, 3, 1, 1), "label": self.labels[indices]}


@pytest.mark.parametrize("flip", [False, True])
def test_both_images_of_a_pair_are_cropped_alike_in_memory_and_in_a_stream(flip):
    found = []
    for resident in (True, False):
        loader = make_loader(
            PairsOfOne(),
            resident=resident,
            replacement=False,
            workers=0,
            batch=10,
            seed=2,
            device=torch.device("cpu"),
            flip=flip,
            random_crop=0.25,
        )
        batch = loader.buffer(10)
        loader.load(0, batch)
        assert torch.equal(batch.images.expand(-1, 3, -1, -1), batch.conditions[SOURCE])
        by_class = batch.conditions["label"].argsort(stable=True)
        assert not torch.equal(batch.images[by_class[0::2]], batch.images[by_class[1::2]]), "another crop in each pass"
        found.append(batch.images)
        stored = loader.sample(5, 0)
        assert torch.equal(stored.images, PairsOfOne().pixels(stored.conditions["label"])), "judges see them uncropped"
        shown = loader.sample(5, 0, as_shown=True)
        assert not torch.equal(shown.images, stored.images)
    assert torch.equal(*found)
