"""Picture to picture, from outside the package: G colours in what is given as outlines, D answers a map (pix2pix)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gan_runner.data import Batch, InMemoryImages
from gan_runner.data import digits as shipped
from gan_runner.games import Outcome, checked_logits


class Pairs(InMemoryImages):
    """Images with a second picture each, its blurred outline, as the condition `source`."""

    def conditions(self, indices: Tensor) -> dict[str, Tensor]:
        blurred = nn.functional.avg_pool2d(self.pixels(indices).float(), 3, 1, 1)
        return {"source": blurred.round().to(torch.uint8)}


def load(image_size: int | None, limit: int | None) -> Pairs:
    images = shipped.load(image_size, limit)
    return Pairs("outlines", images.images, None, ())


class Translation:
    """G is given a picture and no latent; it minimises D's disbelief and the distance to the true picture."""

    g_sees_data = True
    classifies = True

    def __init__(self, loss, distance_weight: float) -> None:
        self.loss = loss
        self.distance_weight = distance_weight

    def latents(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        return torch.zeros(count, 0, device=device)

    def generate(self, g: nn.Module, latents: Tensor, conditions: Mapping[str, Tensor]) -> Batch:
        return Batch(g(conditions["source"]), {"source": conditions["source"]})

    def grid_conditions(self, count, columns, examples):
        return dict(examples(count).conditions)

    def _judge(self, d, batch):
        return checked_logits(d(torch.cat([batch.images, batch.conditions["source"]], 1)), len(batch))

    def d_terms(self, d, real, fake):
        on_real, on_fake = self._judge(d, real), self._judge(d, fake)
        terms = {"adversarial": nn.functional.softplus(-on_real).mean() + nn.functional.softplus(on_fake).mean()}
        measured = {
            "accuracy/d_real": (on_real > 0).float().mean().detach(),
            "accuracy/d_fake": (on_fake <= 0).float().mean().detach(),
        }
        return Outcome(terms, measured)

    def g_terms(self, d, g, latents, real):
        drawn = self.generate(g, latents, real.conditions)
        logits = self._judge(d, drawn)
        distance = self.distance_weight * (drawn.images - real.images).abs().mean()
        terms = {"adversarial": nn.functional.softplus(-logits).mean(), "distance": distance}
        return Outcome(terms, {"distance/g": distance.detach()})


class Generator(nn.Sequential):
    def __init__(self, image_shape, width: int) -> None:
        channels = image_shape[0]
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()
        )


class Discriminator(nn.Module):
    """One logit a patch, [B, h, w] (Isola et al. 2017, arXiv:1611.07004)."""

    def __init__(self, image_shape, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2 * image_shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 4, 2, 1)
        )

    def forward(self, pairs):
        return self.layers(pairs).squeeze(1)
