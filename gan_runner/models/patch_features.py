"""A generator with heads that make vectors of what its encoder sees, to compare patches by (arXiv:2007.15651)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gan_runner.contracts import described
from gan_runner.errors import UserError
from gan_runner.ranges import Count

DIM = 256  # as published, of the vectors and between the two layers of a head


class WithPatchFeatures(nn.Module):
    """Draws as its generator does; the heads are trained with it, and used by nothing else.

    Args:
        net: the generator, which has `layers_seen(images)`, and of those layers `channels_seen`.
        dim: of the vectors.

    Raises:
        UserError: the generator has no such methods.
    """

    def __init__(self, net: nn.Module, dim: Count = DIM) -> None:
        super().__init__()
        if not hasattr(net, "layers_seen") or not hasattr(net, "channels_seen"):
            raise UserError(
                f"model.generator ({described(net)}) does not tell what its encoder sees, by which this game compares "
                "patches.",
                "Try model=residual_translator, or give it layers_seen(images) and channels_seen.",
            )
        self.net = net
        seen: Sequence[int] = net.channels_seen  # type: ignore[assignment]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Linear(dim, dim)) for channels in seen
        )
        for layer in self.heads.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, source: Tensor) -> Tensor:
        """Draw an image [B, C, H, W] from each source [B, C', H, W]."""
        images: Tensor = self.net(source)
        return images

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """What the generator's encoder sees at several layers, [B, C, h, w] each."""
        found: Sequence[Tensor] = self.net.layers_seen(images)  # type: ignore[operator]
        return found

    def embedded(self, layer: int, features: Tensor) -> Tensor:
        """Features of one layer, [..., C], as vectors [..., dim]."""
        vectors: Tensor = self.heads[layer](features)
        return vectors
