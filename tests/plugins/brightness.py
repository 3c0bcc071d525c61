"""A streamed metric with kept statistics of the real images and two numbers, from outside the package."""

import torch

CALLS = []


class Brightness:
    """How far generated images are from real ones in mean brightness and in its spread."""

    names = ("brightness_pixels", "spread_pixels")

    def statistics(self, real):
        CALLS.append("statistics")
        values = torch.cat([batch.images.mean((1, 2, 3)) for batch in real])
        return {"mean": values.mean(), "std": values.std()}

    def measure(self, fake, real):
        values = torch.cat([batch.images.mean((1, 2, 3)) for batch in fake])
        return {
            "brightness_pixels": float((values.mean() - real["mean"]).abs()),
            "spread_pixels": float((values.std() - real["std"]).abs()),
        }
