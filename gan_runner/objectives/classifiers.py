"""Losses of a classifier beside D: it says of which class an image is, and G is to draw images that it recognises.

To add one, write a class here and name it in `CLASSIFIERS`, by the value of `game.conditioning` that chooses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class ClassifierLoss(Protocol):
    """What D minimises as a classifier, and what G minimises against it; each is a 0-d mean over images."""

    #: Answers of the classifier for each class; an image has a logit for each, [B, answers_per_class * C].
    answers_per_class: ClassVar[int]
    #: What to know before choosing it, a sentence or two.
    caveat: ClassVar[str]

    def d(self, real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor) -> Tensor:
        """D's loss from the classifier's logits for real and for generated images, and their classes, int64 [B]."""
        ...

    def g(self, fake: Tensor, label: Tensor) -> Tensor:
        """G's loss from the classifier's logits for what G has drawn, and the classes that were asked for."""
        ...


class Auxiliary:
    """AC-GAN: a classifier learns real and generated images by their classes (Odena et al. 2017, arXiv:1610.09585).

    G is rewarded for images that are easy to recognise, also where real ones are not: classes become narrow.
    """

    answers_per_class: ClassVar[int] = 1
    caveat: ClassVar[str] = (
        "G is rewarded for images that are easy to recognise, so that classes become narrower than the data's. Watch "
        "the coverage of each class in gan-eval."
    )

    def d(self, real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor) -> Tensor:
        """-log C(y|x) - log C(y|G(z, y)): the paper's -L_C (equation 3), each a mean."""
        return _cross_entropy(real, real_label) + _cross_entropy(fake, fake_label)

    def g(self, fake: Tensor, label: Tensor) -> Tensor:
        """-log C(y|G(z, y))."""
        return _cross_entropy(fake, label)


class Discriminative:
    """ADC-GAN: a classifier tells apart real and generated images of each class (Hou et al. 2022, arXiv:2107.10060).

    Answer y is a real image of class y, answer C + y a generated one, so that G is rewarded for what real images of
    the class have and generated ones have not, and not for what is merely easy to recognise.
    """

    answers_per_class: ClassVar[int] = 2
    caveat: ClassVar[str] = (
        "A penalty holds back D's logit and not its classifier, which may learn small data by heart."
    )

    def d(self, real: Tensor, real_label: Tensor, fake: Tensor, fake_label: Tensor) -> Tensor:
        """-log C(y, real|x) - log C(y, generated|G(z, y)), each a mean."""
        return _cross_entropy(real, real_label) + _cross_entropy(fake, fake_label + fake.shape[1] // 2)

    def g(self, fake: Tensor, label: Tensor) -> Tensor:
        """-log C(y, real|G(z, y)) + log C(y, generated|G(z, y)): the difference of two logits."""
        return _cross_entropy(fake, label) - _cross_entropy(fake, label + fake.shape[1] // 2)


CLASSIFIERS: Mapping[str, type[ClassifierLoss]] = {"ac_gan": Auxiliary, "adc_gan": Discriminative}
"""By the value of `game.conditioning`."""


def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    return cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), label)
