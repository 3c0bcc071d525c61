"""Inception features, to compare with published FIDs; their weights are downloaded.

They learned photographs of 1000 kinds of things at 299x299 pixels: on small or grey images they rank poorly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gan_runner.data.image_set import ImageSet
from gan_runner.errors import UserError
from gan_runner.metrics.features import Extractor, Features, as_bytes

_LAYERS = ("2048", "logits_unbiased")
_AT_ONCE = 50


def inception(images: ImageSet, device: torch.device) -> Extractor:
    """The features of the published Fréchet inception distance, by torch-fidelity, which downloads the weights once.

    Args:
        images: the data set, of which nothing is learned.
        device: where the network works.

    Raises:
        UserError: torch-fidelity is not installed, or the weights cannot be had.
    """
    del images
    return InceptionExtractor(device)


class InceptionExtractor:
    """An `Extractor` of 2048 features and 1008 classes.

    Grey images are shown to it in three equal channels, and transparent ones on white.
    """

    name = "inception"
    dim = 2048
    classes = 1008
    fingerprint = "inception-v3-compat-2015-12-05"

    def __init__(self, device: torch.device) -> None:
        try:
            # Late, because it takes seconds, and because most do without.
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise UserError(
                "The extractor inception needs torch-fidelity, which is not installed.",
                "In the clone of gan-runner, try pip install -e '.[inception]', or the extractor cnn, without it.",
            ) from error
        try:
            net = FeatureExtractorInceptionV3("inception-v3-compat", list(_LAYERS))
        except OSError as error:
            raise UserError(
                f"The extractor inception could not download its weights: {error}",
                "Check the connection, or try the extractor cnn, which needs none.",
            ) from error
        self._net = net.to(device).eval().requires_grad_(False)
        self._device = device

    def __call__(self, images: Tensor) -> Features:
        """See `Extractor`."""
        vectors, probabilities = [], []
        with torch.inference_mode():
            for part in images.split(_AT_ONCE):
                shown = _in_three_channels(as_bytes(part.to(self._device)))
                features, logits = self._net(shown)
                vectors.append(features)
                probabilities.append(logits.softmax(1))
        return Features(torch.cat(vectors), torch.cat(probabilities))


def _in_three_channels(images: Tensor) -> Tensor:
    """Colour, uint8 [N, 3, H, W], of images of 1, 3 or 4 channels; the fourth says how opaque a pixel is."""
    if images.shape[1] < 4:
        return images.expand(-1, 3, -1, -1)
    opaque = images[:, 3:].float() / 255
    return (images[:, :3] * opaque + 255 * (1 - opaque)).round().byte()
