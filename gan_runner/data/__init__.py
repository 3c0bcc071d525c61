"""Real images: the formats they come in, the order a run sees them in, and how they get onto the device."""

from gan_runner.data.batch import Batch, as_float
from gan_runner.data.feed import Feed, Resident, ResidentFeed, StreamedFeed, make_feed
from gan_runner.data.image_folder import FolderImages
from gan_runner.data.image_set import ImageSet, InMemoryImages
from gan_runner.data.order import Order

__all__ = [
    "Batch",
    "Feed",
    "FolderImages",
    "ImageSet",
    "InMemoryImages",
    "Order",
    "Resident",
    "ResidentFeed",
    "StreamedFeed",
    "as_float",
    "make_feed",
]
