"""Real images: the formats they come in, the order a run sees them in, and how they get onto the device."""

from gan_runner.data.batch import Batch, as_float
from gan_runner.data.image_folder import FolderImages
from gan_runner.data.image_set import ImageSet, InMemoryImages
from gan_runner.data.index_sampler import IndexSampler
from gan_runner.data.loader import Loader, Resident, ResidentLoader, StreamedLoader, make_loader

__all__ = [
    "Batch",
    "FolderImages",
    "ImageSet",
    "InMemoryImages",
    "IndexSampler",
    "Loader",
    "Resident",
    "ResidentLoader",
    "StreamedLoader",
    "as_float",
    "make_loader",
]
