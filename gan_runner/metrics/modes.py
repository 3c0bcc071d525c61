"""How many of a data set's modes are drawn, and how evenly."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_runner.ranges import Count


def modes(predicted: Tensor, real: Tensor, count: Count) -> tuple[int, float]:
    """Count modes, and measure how far their frequencies are from those of the data.

    The protocol of VEEGAN (Srivastava et al. 2017, arXiv:1705.07761, section 4.2) and PacGAN (Lin et al. 2018,
    arXiv:1712.04086, section 4.1.2) takes 26,000 images of stacked digits, whose modes are the 1,000 numbers: a
    classifier of single digits reads each channel.

    Args:
        predicted: the mode that a judge sees in each generated image, int64 [N] in [0, count), N at least 1.
        real: the mode of each real image, int64 [M], M at least 1.
        count: modes of the data.

    Returns:
        How many modes at least one generated image shows, and the Kullback-Leibler divergence of the generated
        frequencies p from the real ones q, sum of p log(p / q), in nats: 0 where they are alike, infinite where
        something is drawn that the data do not know.
    """
    drawn = torch.bincount(predicted, minlength=count).double()
    known = torch.bincount(real, minlength=count).double()
    p, q = drawn / drawn.sum(), known / known.sum()
    return int((drawn > 0).sum()), float((torch.xlogy(p, p) - torch.xlogy(p, q)).sum())
