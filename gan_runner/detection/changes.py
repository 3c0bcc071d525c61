"""What images go through on their way to a detector: JPEG, resizing, blur."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from gan_runner.data.parallel import in_chunks

JPEG_QUALITY = 75  # what Pillow writes by itself
_BLUR = 1.0  # pixels, the standard deviation
_BLURRED_AT_ONCE = 1000


def unchanged(images: Tensor) -> Tensor:
    """The images themselves."""
    return images


def through_jpeg(images: Tensor) -> Tensor:
    """Images as they are read from JPEG files of quality 75; uint8 [N, C, H, W], C 1, 3 or 4, whose fourth is kept."""
    if not len(images):
        return images

    def compress(some: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([_compressed(each) for each in some])

    rows = images[:, :3].permute(0, 2, 3, 1).contiguous().numpy()
    changed = torch.from_numpy(np.concatenate([part for _, part in in_chunks(compress, rows, "compressed")]))
    return torch.cat([changed.permute(0, 3, 1, 2), images[:, 3:]], 1)


def _compressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as written:
        return np.asarray(written).reshape(image.shape)


def to_size_and_back(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images scaled to a size and back to their own, antialiased and linear; uint8 [N, C, H, W]."""
    own = (images.shape[2], images.shape[3])
    if size == own or not len(images):
        return images
    small = interpolate(images.float(), size, mode="bilinear", antialias=True)
    return interpolate(small, own, mode="bilinear", antialias=True).round().clamp(0, 255).byte()


def resized(images: Tensor) -> Tensor:
    """Images scaled to half their height and width and back; see `to_size_and_back`."""
    height, width = images.shape[2:]
    return to_size_and_back(images, (max(1, height // 2), max(1, width // 2)))


def blurred(images: Tensor) -> Tensor:
    """Images through a Gaussian filter of one pixel; uint8 [N, C, H, W]."""
    small = min(images.shape[2:])
    kernel = min(5, small - (small % 2 == 0))  # odd, and padding reflects less than the image
    parts = [gaussian_blur(part.float(), [kernel, kernel], [_BLUR, _BLUR]) for part in images.split(_BLURRED_AT_ONCE)]
    return torch.cat([part.round().clamp(0, 255).byte() for part in parts]) if parts else images


CHANGES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "as they are": unchanged,
    "after JPEG": through_jpeg,
    "after resizing": resized,
    "after blur": blurred,
}
"""By its name in the table, what is done to generated and real images alike; uint8 [N, C, H, W] to the same."""
