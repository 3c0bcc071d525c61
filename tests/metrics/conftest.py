"""A cache of its own for every test, and extractors of small pictures that are trained once."""

from dataclasses import dataclass

import pytest
import torch

from gan_runner.data import InMemoryImages, digits
from gan_runner.metrics import features
from gan_runner.metrics.feature_metrics import FeatureMetrics
from gan_runner.metrics.features import cnn

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def small_digits():
    """All digits as they were measured, 8x8."""
    return digits.load(None, None)


@pytest.fixture(scope="session")
def learned(small_digits, tmp_path_factory):
    """The extractor of the small digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(features, "_MOST_SHOWN", 12_000)
        return cnn(small_digits, CPU)


@pytest.fixture
def metrics_of(learned):
    """Makes metrics on the features of the small digits."""

    def make(numbers="full", neighbours=5, extractor=learned):
        def cnn(images, device):
            return extractor

        return FeatureMetrics(cnn, numbers, neighbours, seed=0)

    return make


@dataclass
class Batch:
    images: torch.Tensor


@pytest.fixture(scope="session")
def batches():
    """Cuts pictures into batches."""

    def cut(images, size=200):
        return (Batch(part) for part in images.split(size))

    return cut


@pytest.fixture(scope="session")
def halves(small_digits):
    """448 of the small digits to train on, and as many others held out."""
    rows = [torch.arange(start, start + 4 * 448, 4) for start in (0, 2)]
    return tuple(
        InMemoryImages("digits", small_digits.images[part], small_digits.labels[part], small_digits.classes)
        for part in rows
    )


@pytest.fixture
def bound(metrics_of, halves):
    """Metrics that know both halves of the data."""
    metrics = metrics_of()
    metrics.bind(*halves, torch.device("cpu"))
    return metrics
