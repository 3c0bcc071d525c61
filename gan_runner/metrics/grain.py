"""How grainy generated images are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gan_runner.metrics.feature_metrics import Pictures
from gan_runner.metrics.number import Number


def noise_variance(images: Tensor) -> Tensor:
    """Variance of the noise in the pixels of each image, estimated (Immerkær 1996, doi 10.1006/cviu.1996.0060).

    Second differences along both axes leave nothing of what varies along one of them or linearly; of independent
    noise with variance v in each pixel, their mean square is 36 v.

    Args:
        images: [B, C, H, W].

    Returns:
        [B]; NaN if an image is less than 3 pixels high or wide, which has no second differences.
    """
    if min(images.shape[2:]) < 3:
        return torch.full((len(images),), torch.nan, device=images.device)
    second = torch.tensor([1.0, -2.0, 1.0], device=images.device)
    pixels = images.flatten(0, 1)[:, None].float()
    left = conv2d(conv2d(pixels, second.view(1, 1, 3, 1)), second.view(1, 1, 1, 3))
    return left.square().mean((1, 2, 3)).view(images.shape[:2]).mean(1) / 36.0


class Grain:
    """Standard deviation of the noise in generated images, against that in real ones.

    1 where they are as grainy; above 1 where pixels vary independently of their neighbours, as those of a fully
    connected G; below 1 where images are smooth or blurred. Features hardly see weak noise: extractors average over
    neighbouring pixels.
    """

    numbers: ClassVar[Mapping[str, Number]] = {
        "grain": Number(None, "noise from pixel to pixel, as in the real images at 1, grainy above, blurred below"),
    }
    names: ClassVar[tuple[str, ...]] = tuple(numbers)

    def statistics(self, real: Iterable[Pictures]) -> dict[str, Tensor]:
        """The mean variance of the noise in real images, 0-d."""
        return {"variance": torch.cat([noise_variance(batch.images) for batch in real]).mean()}

    def measure(self, fake: Iterable[Pictures], real: Mapping[str, Tensor]) -> dict[str, float]:
        """See `Metric`."""
        variance = torch.cat([noise_variance(batch.images) for batch in fake]).mean()
        return {"grain": float((variance / real["variance"]).sqrt())}
